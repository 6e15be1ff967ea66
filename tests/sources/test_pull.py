"""What a source is asked for, and what is made of it: windows, missing references, what vanished,
reading ahead.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble, for_objects
from helpers import stix
from helpers.bridge import Bridge, actions
from helpers.pull import Pull

from stixbridge import times
from stixbridge.pipeline import batches
from stixbridge.pipeline.pull import PullPolicy
from stixbridge.sources.base import Page
from stixbridge.sources.read_ahead import ahead
from stixbridge.sources.window import Window

pytestmark = pytest.mark.usefixtures("waits")

A, B = "198.51.100.1", "198.51.100.2"
Stix = dict[str, Any]


def ids(*objects: Stix) -> list[str]:
    return sorted(item["id"] for item in objects)


def asked_by_id(server: TaxiiDouble) -> list[str]:
    return [
        request.query["match[id]"] for request in server.requests if "match[id]" in request.query
    ]


# The window


def test_a_window_by_type_lets_markings_and_identities_in(pull: Pull, server: TaxiiDouble) -> None:
    identity = {
        "type": "identity",
        "spec_version": "2.1",
        "id": stix.stix_id("identity", "x"),
        "name": "X",
    }
    server.add("All", [stix.indicator(A), stix.report("wave", [stix.indicator(A)]), identity])
    summary = pull(server.url, pull_policy=PullPolicy(Window(frozenset({"indicator"}))))
    assert pull.ids == ids(stix.indicator(A), identity)
    assert (summary.entries, summary.ledger.reasons["filtered"]) == (3, 1)


def test_a_window_by_confidence_and_age(pull: Pull, server: TaxiiDouble) -> None:
    low, high, unsaid = (
        stix.indicator(A, confidence=20),
        stix.indicator(B, confidence=80),
        stix.indicator("198.51.100.3"),
    )
    actor = {
        **stix.indicator("old"),
        "type": "threat-actor",
        "id": stix.stix_id("threat-actor", "x"),
        "name": "x",
    }
    old = stix.indicator("198.51.100.4", modified="2025-01-01T00:00:00.000Z")
    server.add("All", [low, high, unsaid, old, {**actor, "modified": "2020-01-01T00:00:00.000Z"}])
    window = Window(max_age=times.duration("30d"), min_confidence=50)
    summary = pull(server.url, pull_policy=PullPolicy(window, ask=False))
    assert pull.ids == ids(high, unsaid, actor)
    assert summary.ledger.reasons["filtered"] == 2


def test_a_newer_version_of_what_is_here_comes_in_though_the_window_is_smaller(
    pull: Pull, server: TaxiiDouble
) -> None:
    server.add("All", [stix.indicator(A, confidence=80)])
    pull_policy = PullPolicy(Window(min_confidence=50))
    pull(server.url, pull_policy=pull_policy)
    server.add("All", [stix.indicator(A, confidence=10, revoked=True, modified=stix.LATER)])
    assert pull(server.url, pull_policy=pull_policy).changed == 1
    assert pull.store.objects.load("acme", pull.ids)[pull.ids[0]][0]["revoked"] is True


def test_filters_go_to_the_server(pull: Pull, server: TaxiiDouble) -> None:
    server.add("All", [stix.indicator(A), stix.indicator(A, modified=stix.LATER), stix.address(B)])
    match = {"type": ["indicator", "malware"], "version": ["all"], "spec_version": ["2.1"]}
    assert pull(server.url, match=match).entries == 2
    sent = next(request.query for request in server.requests if request.path.endswith("/objects/"))
    assert {name: sent[name] for name in sent if name.startswith("match")} == {
        "match[type]": "indicator,malware",
        "match[version]": "all",
        "match[spec_version]": "2.1",
    }


def test_full_asks_for_everything_again(pull: Pull, server: TaxiiDouble) -> None:
    server.add("All", [stix.indicator(A)], "2026-01-01T00:00:00.000000Z")
    server.add("All", [stix.indicator(B)], "2026-01-05T00:00:00.000000Z")
    assert pull(server.url).entries == 2
    assert pull(server.url).entries == 1  # the overlap
    assert pull(server.url, full=True).entries == 2


# One request a collection


def test_a_poll_with_nothing_new_is_one_request_a_collection(
    pull: Pull, server: TaxiiDouble
) -> None:
    server.add_collection("More")
    for title in ("All", "More"):
        server.add(title, [stix.indicator(f"{title}.example", "[domain-name:value = 'x.example']")])
    pull(server.url)
    before = len(server.requests)
    assert pull(server.url).errors == []
    assert len(server.requests) - before == 2


def test_collections_are_asked_for_again_after_a_day_and_when_one_is_gone(
    pull: Pull, server: TaxiiDouble
) -> None:
    server.add("All", [stix.indicator(A)])
    pull(server.url)
    server.add_collection("New")
    server.add("New", [stix.indicator(B)])
    assert pull(server.url).changed == 0
    assert pull(server.url, now="2026-01-11T01:00:00Z").changed == 1
    server.fail_next(403, when=for_objects)
    assert pull(server.url, now="2026-01-11T02:00:00Z").errors
    before = len(server.requests)
    pull(server.url, now="2026-01-11T03:00:00Z")
    assert len(server.requests) - before > 2


def test_another_choice_of_collections_is_asked_for_at_once(
    pull: Pull, server: TaxiiDouble
) -> None:
    server.add_collection("New")
    server.add("New", [stix.indicator(B)])
    assert pull(server.url, collections=["All"]).changed == 0
    assert pull(server.url, collections=["New"]).changed == 1


# What others refer to


def test_what_a_report_refers_to_is_asked_for_once(pull: Pull, server: TaxiiDouble) -> None:
    """A member from before `since`, the identity behind it, and one that the server lacks."""
    identity = {
        "type": "identity",
        "spec_version": "2.1",
        "id": stix.stix_id("identity", "x"),
        "name": "X",
    }
    member = stix.indicator(A, created_by_ref=identity["id"])
    server.add("All", [member, identity], "2025-01-01T00:00:00.000000Z")
    server.add(
        "All", [stix.report("wave", [member, stix.indicator(B)])], "2026-01-09T00:00:00.000000Z"
    )
    summary = pull(server.url, since="2026-01-05T00:00:00Z")
    assert summary.errors == []
    assert pull.ids == ids(member, identity, stix.report("wave", []))
    assert len(asked_by_id(server)) == 2  # the members; then what the one refers to
    assert stix.indicator(B)["id"] in asked_by_id(server)[0]
    pull(server.url)
    assert len(asked_by_id(server)) == 2
    server.add("All", [stix.indicator(B)], "2026-01-09T01:00:00.000000Z")
    assert pull(server.url).changed == 1


def test_nothing_is_asked_for_where_that_is_off(pull: Pull, server: TaxiiDouble) -> None:
    server.add("All", [stix.report("wave", [stix.indicator(A)])])
    pull(server.url, pull_policy=PullPolicy(ask=False))
    assert asked_by_id(server) == []


@pytest.mark.parametrize("how", ["ignores", "refuses"])
def test_a_server_that_can_not_be_asked_so_is_left_in_peace(
    pull: Pull, server: TaxiiDouble, how: str
) -> None:
    server.add("All", [stix.report("wave", [stix.indicator(A)]), stix.address(B)])
    if how == "ignores":
        server.ignores_match = True
    else:
        server.fail_next(400, when=lambda request: "match[id]" in request.query, times=9)
    assert pull(server.url).errors == []
    assert len(asked_by_id(server)) == 1
    assert pull.ids == ids(stix.report("wave", []), stix.address(B))
    assert pull(server.url).errors == []
    assert len(asked_by_id(server)) == 1


def test_what_the_window_leaves_out_is_asked_for_once(
    pull: Pull, server: TaxiiDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not shut out what is behind it in the queue."""
    monkeypatch.setattr("stixbridge.pipeline.pull._ASKED_AT_ONCE", 5)
    old = [stix.indicator(f"10.0.0.{at}", modified="2024-01-01T00:00:00.000Z") for at in range(12)]
    good = [stix.indicator(f"10.0.1.{at}") for at in range(12)]
    server.add("All", old + good, "2025-01-01T00:00:00.000000Z")
    server.add("All", [stix.report("wave", old + good)], "2026-01-09T00:00:00.000000Z")
    pull_policy = PullPolicy(Window(max_age=times.duration("30d")))
    for _ in range(6):
        pull(server.url, since="2026-01-05T00:00:00Z", pull_policy=pull_policy)
    assert len(pull.ids) == 13
    asked = [id_ for ids in asked_by_id(server) for id_ in ids.split(",")]
    assert len(asked) == len(set(asked)) == 24


def test_a_collection_that_knows_none_of_them_stops_no_other(
    pull: Pull, server: TaxiiDouble
) -> None:
    first = server.add_collection("First")
    server.add_collection("Second")
    server.add("Second", [stix.indicator(A)], "2025-01-01T00:00:00.000000Z")
    server.add("First", [stix.report("wave", [stix.indicator(A)])], "2026-01-09T00:00:00.000000Z")
    server.fail_next(
        404, when=lambda request: "match[id]" in request.query and first in request.path
    )
    assert pull(server.url, since="2026-01-05T00:00:00Z").errors == []
    assert stix.indicator(A)["id"] in pull.ids


# What the source has no longer


def bridge_to(server: TaxiiDouble, misp: MispDouble, folder: Path, **source: Any) -> Bridge:
    source = {"type": "taxii21", "url": server.url, **source}
    return Bridge(
        folder, {"misp": {"type": "misp", "url": misp.url, "key": misp.key}}, source=source
    )


def attributes(misp: MispDouble, value: str) -> list[Stix]:
    return [
        row for event in misp.events.values() for row in event["Attribute"] if row["value"] == value
    ]


@pytest.mark.parametrize("policy", ["keep", "tag", "to_ids_off", "delete"])
def test_what_vanished_follows_the_policy_and_may_come_back(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path, policy: str
) -> None:
    server.add("All", [stix.indicator(A), stix.indicator(B)])
    compared = {} if policy == "keep" else {"compare_every": "1d"}
    bridge = bridge_to(server, misp, tmp_path, vanished=policy, **compared)
    assert actions(bridge.run(now="2026-01-10T00:00:00Z")) == {"created": 1}
    server.remove("All", stix.indicator(A)["id"])
    bridge.run(now="2026-01-10T12:00:00Z")  # not yet time for a comparison
    assert [row["deleted"] for row in attributes(misp, A)] == [False]
    bridge.run(now="2026-01-11T12:00:00Z")
    (row,) = attributes(misp, A)
    tagged = [tag["name"] for tag in row.get("Tag", [])]
    assert {
        "keep": row["to_ids"] and not row["deleted"],
        "tag": tagged == ['stixbridge:source="vanished"'],
        "to_ids_off": not row["to_ids"] and not row["deleted"],
        "delete": row["deleted"],
    }[policy]
    assert any("/manifest/" in request.path for request in server.requests) is (policy != "keep")
    (other,) = attributes(misp, B)
    assert other["to_ids"] and not other["deleted"] and not other.get("Tag")
    server.add("All", [stix.indicator(A)])
    assert bridge.run(now="2026-01-12T13:00:00Z").errors == []
    (row,) = attributes(misp, A)
    assert not row["deleted"]
    assert 'stixbridge:source="vanished"' not in [tag["name"] for tag in row.get("Tag", [])]
    bridge.close()


def test_an_empty_manifest_withdraws_nothing(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    server.add("All", [stix.indicator(A)])
    bridge = bridge_to(server, misp, tmp_path, vanished="delete", compare_every="1d")
    bridge.run(now="2026-01-10T00:00:00Z")
    server.remove("All", stix.indicator(A)["id"])
    assert actions(bridge.run(now="2026-01-12T00:00:00Z")) == {}
    assert [row["deleted"] for row in attributes(misp, A)] == [False]
    bridge.close()


def test_a_manifest_that_breaks_off_withdraws_nothing(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    server.add("All", [stix.indicator(f"198.51.100.{at}") for at in range(25)])
    bridge = bridge_to(server, misp, tmp_path, vanished="delete", compare_every="1d")
    bridge.run(now="2026-01-10T00:00:00Z")
    server.fail_next(
        500, times=9, when=lambda request: "/manifest/" in request.path and "next" in request.query
    )
    summary = bridge.run(now="2026-01-12T00:00:00Z")
    assert (summary.status, len(summary.errors)) == (3, 1)
    assert not any(row["deleted"] for event in misp.events.values() for row in event["Attribute"])
    bridge.close()


def test_what_the_manifest_lists_again_is_there_again(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    """A glitch of the server: no poll brings the object anew, since its time is an old one."""
    server.add("All", [stix.indicator(A)], "2026-01-01T00:00:00.000000Z")
    server.add("All", [stix.indicator(B)], "2026-01-09T00:00:00.000000Z")
    bridge = bridge_to(server, misp, tmp_path, vanished="delete", compare_every="1d")
    bridge.run(now="2026-01-10T00:00:00Z")
    kept = list(server._collections["All"].records)
    server.remove("All", stix.indicator(A)["id"])
    bridge.run(now="2026-01-12T00:00:00Z")
    assert attributes(misp, A)[0]["deleted"]
    server._collections["All"].records[:] = kept
    bridge.run(now="2026-01-14T00:00:00Z")
    assert not attributes(misp, A)[0]["deleted"]
    bridge.close()


@pytest.mark.parametrize("how", ["an empty manifest", "a collection that may not be read"])
def test_a_collection_that_is_not_itself_withdraws_nothing(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path, how: str
) -> None:
    other = server.add_collection("Other")
    server.add("All", [stix.indicator(A)])
    server.add("Other", [stix.indicator(B)])
    bridge = bridge_to(server, misp, tmp_path, vanished="delete", compare_every="1d")
    bridge.run(now="2026-01-10T00:00:00Z")
    if how == "an empty manifest":
        server.fail_next(
            200, {}, when=lambda request: "/manifest/" in request.path and other in request.path
        )
    else:
        server._collections["Other"].can_read = False
    bridge.run(now="2026-01-12T00:00:00Z")
    assert [row["deleted"] for row in attributes(misp, B)] == [False]
    bridge.close()


def test_a_marking_that_vanished_still_marks(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    marking = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": stix.stix_id("marking-definition", "own"),
        "created": stix.EARLY,
        "definition_type": "tlp",
        "definition": {"tlp": "red"},
    }
    server.add(
        "All", [marking, stix.indicator(A, object_marking_refs=[marking["id"]]), stix.indicator(B)]
    )
    bridge = bridge_to(
        server, misp, tmp_path, vanished="delete", compare_every="1d", default_tlp="tlp:green"
    )
    bridge.run(now="2026-01-10T00:00:00Z")
    server.remove("All", marking["id"])
    assert bridge.run(now="2026-01-12T00:00:00Z").errors == []
    server.add("All", [stix.indicator(A, object_marking_refs=[marking["id"]], modified=stix.LATER)])
    assert bridge.run(now="2026-01-12T01:00:00Z").errors == []
    (row,) = [row for row in attributes(misp, A) if not row["deleted"]]
    assert [tag["name"] for tag in row["Tag"]] == ["tlp:red"]
    bridge.close()


def test_a_server_without_a_manifest_is_asked_for_it_once(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    server.add("All", [stix.indicator(A)])
    server.fail_next(404, times=9, when=lambda request: "/manifest/" in request.path)
    bridge = bridge_to(server, misp, tmp_path, vanished="delete", compare_every="1d")
    for hour in range(3):
        assert bridge.run(now=f"2026-01-10T0{hour}:00:00Z").status == 0
    assert sum("/manifest/" in request.path for request in server.requests) == 1
    bridge.close()


def test_relationships_that_vanished_stop_nothing(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    malware = {
        **stix.indicator("x"),
        "type": "malware",
        "id": stix.stix_id("malware", "x"),
        "name": "Emotet",
    }
    link = stix.relationship(stix.indicator(A), "indicates", malware)
    server.add("All", [stix.indicator(A), {**malware, "is_family": True}, link])
    bridge = bridge_to(server, misp, tmp_path, vanished="delete", compare_every="1d")
    bridge.run(now="2026-01-10T00:00:00Z")
    server.remove("All", link["id"])
    assert bridge.run(now="2026-01-12T00:00:00Z").errors == []
    server.add("All", [stix.indicator(A, revoked=True, modified=stix.LATER)])
    summary = bridge.run(now="2026-01-12T02:00:00Z")
    assert (summary.errors, "dead-letter" in summary.ledger.reasons) == ([], False)
    assert not attributes(misp, A)[0]["to_ids"]
    bridge.close()


# Reading ahead


def test_pages_are_read_ahead_and_no_further() -> None:
    read: list[int] = []
    enough = threading.Event()

    def pages() -> Iterator[Page]:
        for number in range(10):
            read.append(number)
            if number == 3:
                enough.set()
            yield Page([], str(number))

    found = ahead(pages(), room=2)
    assert next(found).watermark == "0"
    assert enough.wait(5)
    # one is held here, two wait, one is in the hand of the reader
    assert read == [0, 1, 2, 3]
    assert [page.watermark for page in found] == [str(number) for number in range(1, 10)]


def test_what_fails_ahead_fails_after_the_pages_before_it() -> None:
    def pages() -> Iterator[Page]:
        yield Page([], "0")
        raise ValueError("broken")

    found = ahead(pages())
    assert next(found).watermark == "0"
    with pytest.raises(ValueError, match="broken"):
        next(found)


def test_a_reader_whose_pages_nobody_takes_ends() -> None:
    ended = threading.Event()

    def pages() -> Iterator[Page]:
        try:
            while True:
                yield Page([], "x")
        finally:
            ended.set()

    source = pages()
    found = ahead(source)
    next(found)
    found.close()
    for thread in threading.enumerate():
        if thread.name == "pages":
            thread.join(5)
    source.close()
    assert ended.is_set()


# In parts


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_a_large_change_is_worked_on_in_parts_with_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    def end(folder: Path) -> tuple[Any, dict[str, int], dict[str, int]]:
        folder.mkdir()
        found = []
        for at in range(60):
            found.append(
                stix.indicator(
                    f"198.51.100.{at}", modified=f"2026-01-{at % 5 + 1:02}T00:00:00.000Z"
                )
            )
        reports = [stix.report(f"report {at}", found[at * 6 : at * 6 + 4]) for at in range(8)]
        links = [
            stix.relationship(found[at], "related-to", found[at + 5]) for at in range(0, 50, 7)
        ]
        common = {"spec_version": "2.1", "created": stix.EARLY, "modified": stix.EARLY}
        malware, actor, maker = (
            {"type": kind, "id": stix.stix_id(kind, name), "name": name, **common}
            for kind, name in (
                ("malware", "Emotet"),
                ("threat-actor", "Nobody"),
                ("identity", "Maker"),
            )
        )
        malware["is_family"] = True
        found[3]["created_by_ref"] = maker["id"]
        links += [stix.relationship(one, "indicates", malware) for one in found[::2]]
        links += [actor, malware, maker]
        with MispDouble() as misp:
            bridge = Bridge(folder, {"misp": {"type": "misp", "url": misp.url, "key": misp.key}})
            summary = bridge.poll(*links, *found, *reports)
            assert actions(bridge.run()) == {}
            bridge.close()
            return misp.snapshot(), summary.ledger.outcomes, summary.ledger.reasons

    whole = end(tmp_path / "whole")
    monkeypatch.setattr(batches, "BATCH", batch)
    assert end(tmp_path / "parts") == whole
