"""TAXII 2.1 as a source: which collections, and that paging loses nothing, on a server that
misbehaves in every way.
"""

from typing import Any

import pytest
from doubles.taxii import Request, TaxiiDouble, for_objects
from helpers.pull import Pull
from servers.reading import EVERYTHING, Stix, ids, indicator

from stixbridge import times
from stixbridge.errors import ConfigError, ServerError
from stixbridge.http import Http
from stixbridge.sources.taxii.v21 import MEDIA_TYPE, Taxii21

pytestmark = pytest.mark.usefixtures("waits")

ALL = sorted(ids(EVERYTHING))
FIRST = "2026-01-01T00:00:00.000000Z"
JAVASCRIPT = "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)"


def for_next(request: Request) -> bool:
    return "next" in request.query


def for_collections(request: Request) -> bool:
    return request.path.endswith("/collections/")


def queries(server: TaxiiDouble) -> list[dict[str, str]]:
    return [request.query for request in server.requests if for_objects(request)]


def filled(*, spread: bool, apart: float = 1, **options: Any) -> TaxiiDouble:
    """A server with everything on pages of ten: all at one time, or each object at its own."""
    server = TaxiiDouble(page_size=10, **options)
    server.add_collection("All")
    for batch in [[item] for item in EVERYTHING] if spread else [EVERYTHING]:
        server.add("All", batch)
        server.clock_step(apart - 1)
    return server


# Finding collections


def listed(server: TaxiiDouble, url: str | None = None, *wanted: str) -> list[str]:
    source = Taxii21(url or server.url, collections=wanted)
    try:
        return [collection.title for collection in source.collections()]
    finally:
        source.close()


@pytest.mark.parametrize("relative", [False, True])
def test_collections_of_all_api_roots_that_may_be_read(relative: bool) -> None:
    with TaxiiDouble(api_roots=3, relative_roots=relative) as server:
        server.add_collection("One", root=1)
        server.add_collection("Three", root=3)
        server.add_collection("Secret", root=3, can_read=False)
        assert listed(server) == ["One", "Three"]


def test_collections_by_title_id_and_alias() -> None:
    with TaxiiDouble() as server:
        server.add_collection("One")
        two = server.add_collection("Two", id="no-uuid")
        assert listed(server, None, "One") == ["One"]
        assert listed(server, None, two, "One", "Two") == ["Two", "One"]
        row = {"id": "x", "title": "Aliased", "alias": "short", "can_read": True}
        server.fail_next(200, {"collections": [row]}, when=for_collections)
        assert listed(server, None, "short") == ["Aliased"]


def test_every_wrong_collection_is_named_at_once_with_what_there_is() -> None:
    with TaxiiDouble() as server:
        server.add_collection("One")
        server.add_collection("Secret", can_read=False)
        with pytest.raises(ConfigError) as caught:
            listed(server, None, "Oen", "Secret")
        assert len(caught.value.problems) == 2
        assert "'Oen'" in caught.value.problems[0]
        assert "One, Secret" in caught.value.problems[0]
        assert "'Secret' may not be read" in caught.value.problems[1]


@pytest.mark.parametrize("slash", ["/", ""])
def test_the_url_of_an_api_root_or_of_collections_or_of_one(slash: str) -> None:
    with TaxiiDouble() as server:
        server.add_collection("One")
        two = server.add_collection("Two")
        assert listed(server, server.api_root.rstrip("/") + slash) == ["One", "Two"]
        assert listed(server, f"{server.api_root}collections{slash}") == ["One", "Two"]
        assert listed(server, f"{server.api_root}collections/{two}{slash}") == ["Two"]


@pytest.mark.parametrize("status", [403, 404])
def test_an_api_root_without_information_is_one_all_the_same(status: int) -> None:
    with TaxiiDouble() as server:
        server.add_collection("One")
        server.fail_next(status)
        assert listed(server, server.api_root) == ["One"]


def test_the_same_collection_id_at_two_api_roots_is_two_collections(pull: Pull) -> None:
    """Each with a watermark of its own: that of the first would hide what the second has."""
    with TaxiiDouble(api_roots=2) as server:
        server.add_collection("Early", id="shared", root=2)
        server.add("Early", EVERYTHING[:5])
        server.clock_step(86400)
        server.add_collection("Late", id="shared", root=1)
        server.add("Late", EVERYTHING[5:])
        assert pull(server.url).errors == []
        assert pull.ids == ALL


@pytest.mark.parametrize(
    "answer",
    [
        {"api_roots": ["http://[bad/"]},
        {"api_roots": ["http://127.0.0.1:99999/"]},
        {"collections": 5},
        {"collections": [{"id": "a\x00b", "can_read": True}]},
        {"collections": [{"id": "a b?c#d", "can_read": True}]},
    ],
)
def test_nonsense_instead_of_a_resource_is_a_clear_error(pull: Pull, answer: Stix) -> None:
    with TaxiiDouble() as server:
        server.fail_next(
            200, answer, when=for_collections if "collections" in answer else lambda _: True
        )
        summary = pull(server.url)
        assert (summary.status, len(summary.errors), pull.ids) == (3, 1, [])


# Parameters and watermark


@pytest.mark.parametrize("since", [None, "5d", "2026-01-05T01:00:00+01:00"])
def test_all_parameters_go_with_every_page(
    pull: Pull, monkeypatch: pytest.MonkeyPatch, since: str | None
) -> None:
    monkeypatch.setattr(times, "now", lambda: times.microseconds("2026-01-10T00:00:00.000000Z"))
    base = {"limit": "7"} | ({"added_after": "2026-01-05T00:00:00.000000Z"} if since else {})
    with TaxiiDouble(page_size=10) as server:
        server.add_collection("All")
        server.add("All", EVERYTHING, "2026-01-06T00:00:00.000000Z")
        pull(server.url, page_size=7, since=since)
        assert queries(server) == [
            base,
            *({**base, "next": f"next-{number}"} for number in (1, 2, 3)),
        ]
        assert {tuple(request.headers.get_all("Accept")) for request in server.requests} == {
            (MEDIA_TYPE,)
        }
        assert pull.ids == ALL


@pytest.mark.parametrize(
    ("overlap", "start"),
    [("10m", "2025-12-31T23:50:00.000000Z"), ("0s", "2025-12-31T23:59:59.999999Z")],
)
def test_a_later_poll_starts_an_overlap_before_the_servers_time(
    pull: Pull, monkeypatch: pytest.MonkeyPatch, overlap: str, start: str
) -> None:
    monkeypatch.setattr(times, "now", lambda: times.microseconds("2031-01-01T00:00:00.000000Z"))
    with filled(spread=False) as server:
        assert pull(server.url, since="2025-01-01").changed == len(ALL)
        assert pull.watermarks == [FIRST]
        server.requests.clear()
        again = pull(server.url, since="2025-01-01", overlap=overlap)
        assert (again.changed, again.entries, again.errors) == (0, len(ALL), [])
        assert {query["added_after"] for query in queries(server)} == {start}
        assert pull.watermarks == [FIRST]


def test_what_becomes_visible_late_is_found(pull: Pull) -> None:
    with filled(spread=False) as server:
        server.visible_later("All", [indicator(60)])
        server.add("All", [indicator(61)])
        assert pull(server.url).changed == len(ALL) + 1
        server.reveal()
        server.clock_step(-300)
        server.add("All", [indicator(62)])
        assert pull(server.url).changed == 2
        assert pull.watermarks == ["2026-01-01T00:00:02.000000Z"]
        assert pull(server.url).changed == 0


def test_a_new_version_changes_and_a_deleted_object_stays(pull: Pull) -> None:
    with filled(spread=False) as server:
        pull(server.url)
        server.add("All", [indicator(3, "2026-02-01T00:00:00.000Z")])
        server.remove("All", indicator(4)["id"])
        assert pull(server.url).changed == 1
        assert pull.ids == ALL
        assert pull.store.objects.load("acme", [indicator(3)["id"]])[indicator(3)["id"]][0][
            "modified"
        ].startswith("2026-02")


def test_without_times_of_the_server_every_poll_is_a_full_one(pull: Pull) -> None:
    with filled(spread=True) as server:
        server.no_date_headers = True
        for changed in (len(ALL), 0):
            server.requests.clear()
            assert pull(server.url).changed == changed
            assert queries(server)[0] == {"limit": "1000"}
        assert pull.watermarks == [None]


def test_a_date_without_zone_is_utc_wherever_the_bridge_runs(
    pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As local time, west of Greenwich, it would be hours late and hide what comes in them."""
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with filled(spread=False) as server:
            server.date_header_format = JAVASCRIPT
            assert pull(server.url).changed == len(ALL)
            assert pull.watermarks in ([FIRST], [None])
            server.clock_step(3600)
            server.add("All", [indicator(70)])
            assert pull(server.url).changed == 1
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "stamp", ["0001-01-01T00:00:00Z", "", "undefined", "-", "1" * 500, "9" * 20 + "-01-01"]
)
def test_a_time_that_is_none_moves_nothing(pull: Pull, stamp: str) -> None:
    with filled(spread=False) as server:
        for _ in range(2):
            body = {"more": True, "next": "next-0", "objects": [indicator(80)]}
            server.fail_next(200, body, {"X-TAXII-Date-Added-Last": stamp}, when=for_objects)
            assert pull(server.url).errors == []
            assert pull.ids == sorted([*ALL, indicator(80)["id"]])
            assert pull.watermarks == [FIRST]


def test_the_overlap_and_since_are_checked() -> None:
    for settings in (
        {"overlap": "ten"},
        {"overlap": "2026-01-01T00:00:00Z"},
        {"since": "yesterday"},
    ):
        with pytest.raises(ConfigError):
            Taxii21("http://127.0.0.1/", **settings)


# Misbehaviour

COMPLETE: list[dict[str, Any]] = [
    {},
    {"next_consumed_once": True},
    {"empty_page_with_more": 3},
    {"empty_page_with_more": 3, "null_objects": True, "next_consumed_once": True},
    {"more_on_last_page": True},
    {"more_on_last_page": True, "undefined_headers": "empty"},
    {"next_with_more_false": True},
    {"no_limit_max": True},
    {"null_objects": True, "more_on_last_page": True},
    {"omit_objects": False, "more_on_last_page": True},
    {"content_type": "application/json"},
    {"content_type": "text/html; charset=utf-8"},
    {"no_date_headers": True},
    {"undefined_headers": True},
    {"date_header_format": "%a %b %d %Y"},
    {"date_header_format": JAVASCRIPT},
]


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("switches", COMPLETE, ids=str)
def test_every_object_arrives_once(pull: Pull, switches: dict[str, Any], spread: bool) -> None:
    with filled(spread=spread) as server:
        vars(server).update(switches)
        summary = pull(server.url)
        assert (summary.errors, summary.status, summary.changed) == ([], 0, len(ALL))
        assert pull.ids == ALL
        assert pull(server.url).changed == 0


@pytest.mark.parametrize("shape", ["more_without_next", "bundle_instead_of_envelope"])
def test_pages_by_header_only(pull: Pull, shape: str) -> None:
    with filled(spread=True) as server:
        setattr(server, shape, True)
        summary = pull(server.url)
        assert (summary.errors, pull.ids) == ([], ALL)


@pytest.mark.parametrize("shape", ["more_without_next", "bundle_instead_of_envelope"])
def test_pages_by_header_only_over_objects_of_one_time_lose_nothing_in_silence(
    pull: Pull, shape: str
) -> None:
    """A page ends between objects of one time: `added_after` of that time jumps over the rest."""
    with TaxiiDouble(page_size=10) as server:
        server.add_collection("All")
        for batch in (EVERYTHING[:5], EVERYTHING[5:13], EVERYTHING[13:]):
            server.add("All", batch)
        setattr(server, shape, True)
        summary = pull(server.url)
        assert pull.ids == ALL or summary.status == 3


@pytest.mark.parametrize("apart", [1, 3600], ids=["in the overlap", "hours apart"])
@pytest.mark.parametrize("pages", [1, 2])
def test_a_next_that_always_dies_early_does_not_stop_the_bridge(
    pull: Pull, pages: int, apart: float
) -> None:
    with filled(spread=True, apart=apart) as server:
        server.next_dies_after = pages
        summary = pull(server.url)
        assert (pull.ids, summary.errors) == (ALL, [])


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({"not_advancing": True}, "neither next nor an X-TAXII-Date-Added-Last that advances"),
        ({"more_without_next": True, "no_date_headers": True}, "neither next nor"),
        ({"more_without_next": True, "undefined_headers": True}, "neither next nor"),
        ({"next_dies_after": 1}, "`next` has expired"),
        ({"next_dies_after": 1, "no_date_headers": True}, "`next` has expired"),
    ],
    ids=str,
)
def test_what_can_not_be_read_ends_in_a_clear_error(
    pull: Pull, switches: dict[str, Any], said: str
) -> None:
    with filled(spread=False) as server:
        vars(server).update(switches)
        summary = pull(server.url)
        (error,) = summary.errors
        assert summary.status == 3
        assert said in error
        assert len(server.requests) < 30
        assert [row["error"] for row in pull.store.database.rows("SELECT error FROM cursors")] == [
            error
        ]
        for name in switches:
            setattr(server, name, False if name != "next_dies_after" else None)
        assert pull(server.url).errors == []
        assert pull.ids == ALL


@pytest.mark.parametrize("objects", [[], [indicator(1)]], ids=["empty pages", "the same page"])
def test_a_server_that_goes_round_for_ever_is_left(pull: Pull, objects: list[Stix]) -> None:
    """As one that ignores `next` and makes a new one each time."""
    with filled(spread=False) as server:
        for number in range(500):
            body = {"more": True, "next": f"round-{number}", "objects": objects}
            server.fail_next(200, body, when=for_objects)
        summary = pull(server.url)
        server.violations.clear()
        assert (summary.status, len(summary.errors)) == (3, 1)
        assert len(server.requests) < 400


# Faults on the way


def damage(server: TaxiiDouble, fault: str, times: int = 1, when: Any = for_next) -> None:
    match fault:
        case "drop":
            server.drop_next(times=times, when=when)
        case "cut":
            server.cut_next(bytes=40, times=times, when=when)
        case "hang":
            server.hang_next(times=times, when=when)
        case "page":
            server.fail_next(200, "<!DOCTYPE html><title>Log in</title>", times=times, when=when)
        case "broken":
            server.fail_next(
                200, '{"more": false, "objects": [{"type": "ind', times=times, when=when
            )
        case "list":
            server.fail_next(200, "[]", times=times, when=when)
        case "nothing":
            server.fail_next(200, b"", times=times, when=when)
        case "error":
            server.fail_next(
                200, {"title": "try later", "http_status": "503"}, times=times, when=when
            )
        case _:
            server.fail_next(int(fault), times=times, when=when)


FAULTS = [
    "drop",
    "cut",
    "hang",
    "page",
    "broken",
    "list",
    "nothing",
    "error",
    "400",
    "404",
    "429",
    "500",
    "503",
]


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("consumed", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_page_that_does_not_arrive_is_read_from_the_watermark(
    pull: Pull, fault: str, consumed: bool, spread: bool
) -> None:
    with filled(spread=spread, apart=3600) as server:
        server.next_consumed_once = consumed
        damage(server, fault)
        summary = pull(server.url, http=Http(server.url, accept=MEDIA_TYPE, timeout=0.3))
        assert (summary.errors, summary.changed, pull.ids) == ([], len(ALL), ALL)
        asked = queries(server)
        assert "next" not in asked[2]
        # all of one time: no time is safe before the end
        assert asked[2].get("added_after", "") <= ("2026-01-01T09:00:00.000000Z" if spread else "")
        if not consumed:
            tokens = [query["next"] for query in asked if "next" in query]
            assert len(tokens) == len(set(tokens))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_page_that_never_arrives_ends_in_a_clear_error_and_loses_nothing(
    pull: Pull, fault: str
) -> None:
    with filled(spread=False) as server:
        damage(server, fault, times=100)
        summary = pull(server.url, http=Http(server.url, accept=MEDIA_TYPE, timeout=0.1))
        (error,) = summary.errors
        assert summary.status == 3
        assert f"127.0.0.1:{server.port}" in error
        assert "Traceback" not in error
        assert len(server.requests) < 30
    with filled(spread=False) as server:
        assert pull(server.url).errors == []
        assert pull.ids == ALL


@pytest.mark.parametrize("fault", ["drop", "cut", "429", "500", "503"])
def test_the_first_page_is_asked_for_again(pull: Pull, fault: str) -> None:
    with filled(spread=False) as server:
        damage(server, fault, times=2, when=for_objects)
        assert pull(server.url).errors == []
        assert (pull.ids, queries(server)[:3]) == (ALL, [{"limit": "1000"}] * 3)


def test_one_collection_that_fails_does_not_hold_up_the_others(pull: Pull) -> None:
    with filled(spread=False) as server:
        other = server.add_collection("Other")
        server.add("Other", [indicator(90)])
        server.fail_next(
            404, {"title": "gone"}, when=lambda one: for_objects(one) and other not in one.path
        )
        summary = pull(server.url)
        assert (summary.status, len(summary.errors), pull.ids) == (3, 1, [indicator(90)["id"]])
        assert "not found, or not allowed" in summary.errors[0]


def test_pages_are_stored_before_the_next_is_asked_for() -> None:
    with filled(spread=True) as server:
        server.page_size = 4
        source = Taxii21(server.url)
        (collection,) = source.collections()
        marks = []
        for number, page in enumerate(source.pages(collection, None), 1):
            assert len(queries(server)) == number
            marks.append(page.watermark)
        # three pages until the order of the list is proven
        seconds = (15, 19, 23, 26)
        assert marks == [None, None, None] + [
            f"2026-01-01T00:00:{second:02}.000000Z" for second in seconds
        ]
        server.drop_next(times=100)
        with pytest.raises(ServerError):
            list(source.pages(collection, marks[3]))
        source.close()
