"""Ways in which servers misbehave: everything comes, or the run ends and names what helps.

Each test has a server that is strict but for one thing.
"""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
from doubles.taxii import Request, Taxii20Double, TaxiiDouble, for_objects
from doubles.taxii.http import Answer
from helpers.pull import Pull
from servers.reading import ids, indicator

from stixbridge.errors import ServerError
from stixbridge.http import Auth, Http
from stixbridge.pipeline.pull import PullPolicy
from stixbridge.sources.taxii.v20 import Taxii20
from stixbridge.sources.taxii.v21 import Taxii21

pytestmark = pytest.mark.usefixtures("waits")
ALL = [indicator(number) for number in range(25)]
IDS = sorted(ids(ALL))
Change = Callable[[dict[str, Any]], Any]


def filled(*, apart: float = 3600, kind: type[TaxiiDouble] = TaxiiDouble, **switches: Any) -> Any:
    """A server with 25 objects, each `apart` seconds later, on pages of ten."""
    server = kind(page_size=10)
    for name, value in switches.items():
        setattr(server, name, value)
    server.add_collection("All")
    for batch in [[item] for item in ALL] if apart else [ALL]:
        server.add("All", batch)
        server.clock_step(apart - 1)
    return server


def bodies(change: Change) -> Callable[[Request, Answer], Answer]:
    """Pages of objects with another body; `change` gets the envelope."""

    def changed(request: Request, answer: Answer) -> Answer:
        if not for_objects(request):
            return answer
        body = change(json.loads(answer.body))
        return replace(answer, body=body if isinstance(body, bytes) else json.dumps(body).encode())

    return changed


def everything(pull: Pull, server: AbstractContextManager[TaxiiDouble], **settings: Any) -> None:
    """One poll brings everything, the next one nothing."""
    with server as running:
        assert pull(running.url, **settings).errors == []
        assert pull.ids == IDS
        again = pull(running.url, **settings)
        assert (again.errors, again.changed) == ([], 0)


# more and next


@pytest.mark.parametrize("yes", ["true", "True", 1, "1"])
def test_more_in_any_form(pull: Pull, yes: object) -> None:
    def change(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "more": yes if value.get("more") else "false"} if value else value

    everything(pull, filled(change=bodies(change)))


@pytest.mark.parametrize("apart", [0, 3600])
@pytest.mark.parametrize("said", [{"more": False}, {}], ids=["no", "nothing"])
def test_next_is_followed_though_more_does_not_say_so(
    pull: Pull, apart: float, said: dict[str, bool]
) -> None:
    def change(value: dict[str, Any]) -> dict[str, Any]:
        return {**{key: item for key, item in value.items() if key != "more"}, **said}

    everything(pull, filled(apart=apart, change=bodies(change)))


def test_a_next_after_the_end_that_is_refused_is_the_end(pull: Pull) -> None:
    """OpenCTI gives a `next` on the last page, too."""
    with filled(next_with_more_false=True) as server:
        server.fail_next(400, when=lambda request: request.query.get("next") == "next-3")
        assert pull(server.url).errors == []
        assert pull.ids == IDS


def test_more_without_next_over_one_time_asks_for_larger_pages(pull: Pull) -> None:
    with filled(apart=0, more_without_next=True) as server:
        server.page_size = 100
        assert pull(server.url, page_size=10).errors == []
        assert pull.ids == IDS


@pytest.mark.parametrize("switch", ["more_without_next", "same page"])
def test_paging_that_is_broken_names_what_helps(pull: Pull, switch: str) -> None:
    first: list[bytes] = []

    def same(request: Request, answer: Answer) -> Answer:
        if for_objects(request):
            first.append(answer.body)
            return replace(answer, body=first[0])
        return answer

    switches = {"change": same} if switch == "same page" else {switch: True}
    with filled(apart=0, **switches) as server:
        (error,) = pull(server.url).errors
        assert "set another page_size, or report it to the operator" in error
        assert len(server.requests) < 12


# Order and time


def test_newest_first_and_a_page_that_is_lost(pull: Pull) -> None:
    """The watermark waits for the end, since what is older has not come."""
    with filled(newest_first=True) as server:
        server.fail_next(500, times=99, when=lambda request: "next" in request.query)
        assert pull(server.url).errors
        assert pull.watermarks in ([], [None])
        server.fail_next(500, times=0)
        server._faults.clear()
        assert pull(server.url).errors == []
        assert pull.ids == IDS
        assert pull(server.url).changed == 0


@pytest.mark.parametrize("times_failed", [1, 2, 99])
def test_an_order_that_shows_late_loses_nothing(
    pull: Pull, times_failed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pages ascend by chance, and the page that shows otherwise does not arrive."""
    server = TaxiiDouble(page_size=2)
    server.add_collection("All")
    for number, hour in enumerate([1, 2, 3, 4, 9, 10, 5, 6]):
        server.add("All", [ALL[number]], f"2026-01-02T{hour:02}:00:00.000000Z")

    def in_no_order(collection: Any, query: Any) -> Any:
        after = query.get("added_after", "")
        return [record for record in collection.records if record.date_added > after]

    monkeypatch.setattr("doubles.taxii.double.select", in_no_order)
    with server:
        fourth = {f"next-{number}" for number in (3, 6, 9, 12)}
        server.fail_next(
            500, times=times_failed, when=lambda request: request.query.get("next") in fourth
        )
        pull(server.url)
        server._faults.clear()
        assert pull(server.url).errors == []
    assert pull.ids == sorted(ids(ALL[:8]))


def test_a_date_in_the_future_does_not_move_the_watermark(pull: Pull) -> None:
    server = TaxiiDouble(page_size=10)
    server.add_collection("All")
    for item in ALL[:5]:
        server.add("All", [item])
    server.add("All", ALL[5:6], "2083-01-01T00:00:00.000000Z")
    with server:
        assert pull(server.url).errors == []
        server.clock_step(3600)
        server.add("All", ALL[6:8])
        assert pull(server.url).changed == 2
    assert pull.ids == sorted(ids(ALL[:8]))
    assert (pull.watermarks[0] or "")[:4] == "2026"


# The form of requests


@pytest.mark.parametrize("pattern", [r"[^.]*\.\d{3}Z", r"[^.]*Z"], ids=["three digits", "none"])
def test_the_form_of_added_after_is_found_once_and_remembered(pull: Pull, pattern: str) -> None:
    with filled(added_after=re.compile(pattern)) as server:
        pull(server.url)
        for _ in range(2):
            assert pull(server.url).errors == []
        server.requests.clear()
        assert pull(server.url).errors == []
        assert len(server.requests) == 1
    assert pull.ids == IDS


def test_a_server_without_added_after_is_read_whole(pull: Pull) -> None:
    with filled(added_after=re.compile("never")) as server:
        everything(pull, server)


@pytest.mark.parametrize(
    "answer", [(413, "Payload Too Large"), (504, "too slow"), (400, "limit must not exceed 20")]
)
def test_pages_become_smaller_until_the_server_takes_them(
    pull: Pull, answer: tuple[int, str]
) -> None:
    with filled(largest_limit=70, too_large=answer) as server:
        assert pull(server.url).errors == []
        server.requests.clear()
        assert pull(server.url).errors == []
        assert len(server.requests) == 1, "the size that worked is remembered"
    assert pull.ids == IDS


def test_an_accept_header_without_version(pull: Pull) -> None:
    server = filled(accept="application/taxii+json")
    with server:
        assert pull(server.url).errors == []
        assert pull.ids == IDS
        server.violations.clear()  # the first question has the header of the specification
        assert pull(server.url).errors == []


# Quiet answers


@pytest.mark.parametrize("quiet", [(404, b"{}"), (204, b""), (200, b"")])
def test_nothing_new_in_every_form(pull: Pull, quiet: tuple[int, bytes]) -> None:
    def nothing(request: Request, answer: Answer) -> Answer:
        new = for_objects(request) and "added_after" in request.query
        return Answer(*quiet) if new else answer

    with filled() as server:
        pull(server.url)
        server.change = nothing
        assert pull(server.url).errors == []
        server.change = lambda _, answer: answer
        server.add("All", [indicator(77)])
        assert pull(server.url).changed == 1


def test_an_empty_answer_in_the_middle_is_not_an_end(pull: Pull) -> None:
    with filled() as server:
        pull(server.url)
        server.add("All", [indicator(number) for number in range(50, 75)])
        server.fail_next(200, b"", when=lambda request: "next" in request.query)
        assert pull(server.url).errors == []
        assert len(pull.ids) == 50


# Discovery and collections


def told(server: TaxiiDouble, url: str | None = None, **settings: Any) -> str:
    source = Taxii21(url or server.url, **settings)
    try:
        with pytest.raises(ServerError) as caught:
            source.collections()
    finally:
        source.close()
    return str(caught.value)


def for_path(end: str, body: Any, status: int = 200) -> Callable[[Request, Answer], Answer]:
    def change(request: Request, answer: Answer) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Answer(status, content) if request.path.endswith(end) else answer

    return change


def test_one_dead_api_root_stops_no_other(pull: Pull) -> None:
    with filled() as server:
        server.extra_roots.append(server.api_root.replace("api1", "beta"))
        summary = pull(server.url)
        assert pull.ids == IDS
        assert "discovery at" in summary.errors[0]
        assert "/beta/collections/" in summary.errors[0]


@pytest.mark.parametrize(
    "body", [{}, {"collections": None}, {"collections": []}, {"collections": [{"id": ""}]}]
)
def test_nothing_to_read_is_an_error(body: dict[str, Any]) -> None:
    with filled(change=for_path("/collections/", body)) as server:
        assert "no collection that can be read" in told(server)


def test_collections_that_may_not_be_read_are_counted(pull: Pull) -> None:
    rows = [{"id": "a", "title": "A", "can_read": "false"}, {"id": 7, "can_read": False}]
    with filled(change=for_path("/collections/", {"collections": rows})) as server:
        assert "2 collections, none of which can be read with these" in told(server)


def test_numbers_as_ids_and_rights_as_text(pull: Pull) -> None:
    rows = [{"id": 7, "can_read": "true"}, {"id": "x", "can_read": "false"}]
    with filled(change=for_path("/collections/", {"collections": rows})) as server:
        assert [item.id for item in Taxii21(server.url).collections()] == ["7"]


def test_no_api_roots_is_an_error() -> None:
    with filled(change=for_path("/taxii2/", {"title": "x", "api_roots": []})) as server:
        assert "names no API root" in told(server)


def test_the_default_alone_is_followed(pull: Pull) -> None:
    with filled() as server:
        server.change = for_path("/taxii2/", {"title": "x", "default": server.api_root})
        everything(pull, server)


@pytest.mark.parametrize("end", ["objects/", "objects/?limit=10", "manifest"])
def test_urls_as_people_paste_them(pull: Pull, end: str) -> None:
    with filled() as server:
        (collection,) = Taxii21(server.url).collections()
        assert pull(collection.url + end).errors == []
        assert pull.ids == IDS


def test_a_host_alone_is_asked_for_discovery_where_it_is_known_to_be(pull: Pull) -> None:
    with filled() as server:
        assert pull(server.url.removesuffix("taxii2/")).errors == []
        assert pull.ids == IDS


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "bundle", "objects": []}, 'type = "https"'),
        (b"<html><title>Sign in</title></html>", "a web page 'Sign in', not TAXII"),
        (b'<taxii_11:Status_Message xmlns:taxii_11="x"/>', "TAXII 1.x"),
        (b"", "answered with nothing"),
        ([], "answered with a list"),
        ({"error": "unknown"}, "neither discovery nor an API root"),
    ],
)
def test_what_is_not_taxii_is_told_as_what_it_is(body: Any, expected: str) -> None:
    def change(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("/collections/"):
            return Answer(404, b"{}")
        return Answer(200, body if isinstance(body, bytes) else json.dumps(body).encode())

    with filled(change=change) as server:
        assert expected in told(server)


def test_the_other_version_is_named() -> None:
    with filled(kind=Taxii20Double) as server:
        assert 'set type = "taxii20"' in told(server)
        server.violations.clear()
    with filled() as server:
        with pytest.raises(ServerError, match='set type = "taxii21"'):
            Taxii20(server.url).collections()
        server.violations.clear()


def test_a_21_server_that_ignores_accept_is_told_to_a_20_client(pull: Pull) -> None:
    with filled(kind=Taxii20Double) as server:
        server.change = bodies(lambda value: {"objects": value["objects"], "more": True})
        (error,) = pull(server.url, kind=Taxii20).errors
        assert 'set type = "taxii21"' in error


def test_roots_on_another_host_are_explained() -> None:
    with filled() as server:
        server.change = for_path("/taxii2/", {"api_roots": ["http://127.0.0.1:9/root/"]})
        text = told(server)
        assert "on another host: behind a reverse proxy it may be wrong" in text


# TAXII 2.0


def test_collections_of_20_are_paged(pull: Pull) -> None:
    server = Taxii20Double(page_size=3)
    server.collections_at_once = 2
    for number in range(5):
        server.add_collection(f"C{number}")
        server.add(f"C{number}", ALL[number * 5 : number * 5 + 5])
    with server:
        assert pull(server.url, kind=Taxii20).errors == []
        assert pull.ids == IDS


def test_206_without_content_range_is_a_part(pull: Pull) -> None:
    server = filled(kind=Taxii20Double)
    server.content_range = False
    with server:
        assert pull(server.url, kind=Taxii20).errors == []
        assert pull.ids == IDS


# Errors that don't end, waits


def test_a_server_that_fails_on_match_id_is_left_in_peace_for_a_day(pull: Pull) -> None:
    report = {**indicator(90), "type": "report", "id": "report--" + indicator(90)["id"][11:]}
    report["object_refs"] = [indicator(99)["id"]]

    def failing(request: Request, answer: Answer) -> Answer:
        return Answer(500) if "match[id]" in request.query else answer

    with filled(change=failing) as server:
        server.add("All", [report])
        assert pull(server.url).errors == []
        server.add("All", [{**report, "modified": "2026-01-05T00:00:00.000Z"}])
        server.requests.clear()
        assert pull(server.url, now="2026-01-10T12:00:00Z").errors == []
        assert not [request for request in server.requests if "match[id]" in request.query]
        server.add("All", [{**report, "modified": "2026-01-06T00:00:00.000Z"}])
        pull(server.url, now="2026-01-11T12:00:00Z")
        assert [request for request in server.requests if "match[id]" in request.query]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_manifest_that_is_refused_is_not_an_error_for_ever(pull: Pull, status: int) -> None:
    policy = PullPolicy(compare_every=1)
    with filled(change=for_path("/manifest/", {}, status)) as server:
        assert pull(server.url, pull_policy=policy).errors == []
    assert pull.ids == IDS


def test_a_manifest_that_is_cut_short_withdraws_nothing(pull: Pull) -> None:
    policy = PullPolicy(compare_every=1)

    def cut(request: Request, answer: Answer) -> Answer:
        if not request.path.endswith("/manifest/"):
            return answer
        return Answer(200, json.dumps({"objects": json.loads(answer.body)["objects"][:8]}).encode())

    def vanished() -> int:
        sql = "SELECT count(*) AS n FROM objects WHERE vanished IS NOT NULL"
        return int(pull.store.database.rows(sql)[0]["n"])

    with filled(change=cut) as server:
        # what came in the same poll is not gone
        assert pull(server.url, pull_policy=policy).errors == []
        assert vanished() == 0
        # a manifest that misses more than half is doubted
        assert pull(server.url, pull_policy=policy, now="2026-01-11T00:00:00Z").errors == []
        assert vanished() == 0
        # a full poll says the same: it is believed
        for item in ALL[8:]:
            server.remove("All", item["id"])
        pull(server.url, pull_policy=policy, now="2026-01-12T00:00:00Z", full=True)
        assert vanished() == 17


def test_a_wait_of_an_hour_is_kept_by_the_next_run(pull: Pull) -> None:
    with filled() as server:
        server.fail_next(429, headers={"Retry-After": "3600"}, times=9, when=for_objects)
        assert "it asks to wait 3600 s" in pull(server.url).errors[0]
        server.requests.clear()
        (error,) = pull(server.url, now="2026-01-10T00:59:00Z").errors
        assert "is not asked again before 2026-01-10T01:00:00Z" in error
        assert server.requests == []
        server._faults.clear()
        assert pull(server.url, now="2026-01-10T01:00:01Z").errors == []
        assert pull.ids == IDS


def test_the_rate_holds_across_runs(pull: Pull, waits: list[float]) -> None:
    from stixbridge.http import pace

    with filled() as server:
        for _ in range(2):
            pace._PACES.clear()  # as another process
            pull(server.url, rate_limit="5/10m")
        assert any(wait > 500 for wait in waits)


# Bodies


def test_junk_entries_are_counted_one_by_one(pull: Pull) -> None:
    junk = [None, "x", 7, {}]
    change = bodies(lambda value: {**value, "objects": value.get("objects", []) + junk})
    with filled(change=change) as server:
        pull(server.url)
        found = pull.store.database.rows("SELECT id, path FROM rejects")
        assert len(found) == 12
        pull(server.url, full=True)
        assert len(pull.store.database.rows("SELECT id FROM rejects")) == 12


@pytest.mark.parametrize("shape", ["list", "lines", "mark", "bundles"])
def test_other_bodies_than_envelopes_are_read(pull: Pull, shape: str) -> None:
    def change(value: dict[str, Any]) -> Any:
        objects = value.get("objects", [])
        bundles = [
            {"type": "bundle", "id": f"bundle--{n}", "objects": [o]} for n, o in enumerate(objects)
        ]
        return {
            "list": objects,
            "lines": "\n".join(map(json.dumps, objects)).encode(),
            "mark": b"\xef\xbb\xbf" + json.dumps(value).encode(),
            "bundles": {**value, "objects": bundles},
        }[shape]

    with filled(change=bodies(change)) as server:
        server.page_size = 100
        assert pull(server.url).errors == []
        assert pull.ids == IDS


def test_revocations_without_a_new_version_all_come(pull: Pull) -> None:
    with filled() as server:
        pull(server.url)
        server.clock_step(3600)
        for item in ALL[:20]:
            server.remove("All", item["id"])
            server.add("All", [{**item, "revoked": True}])
        assert pull(server.url).changed == 20
        assert pull(server.url).changed == 0
    stored = pull.store.objects.load("acme", IDS)
    assert sum(obj.get("revoked") is True for obj, _ in stored.values()) == 20


def test_credentials_are_not_sent_to_roots_elsewhere(pull: Pull) -> None:
    with filled() as server, TaxiiDouble(auth=("me", "secret-word")) as elsewhere:
        server.change = for_path("/taxii2/", {"api_roots": [elsewhere.api_root]})
        source = Taxii21(server.url, http=Http(server.url, accept=server.accept, auth=ME))
        server._accepted.append(("Authorization", "Basic bWU6c2VjcmV0LXdvcmQ="))
        with pytest.raises(ServerError, match="not sent, since this is another host"):
            source.collections()
        source.close()


ME = Auth(user="me", password="secret-word")
