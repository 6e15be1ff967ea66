"""Scenario 16: a MISP that an older script filled.

Its events are recognised, and left, adopted or extended.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import Bridge, reasons

from stixbridge.queries.dead_letters import dead_letters, retry
from stixbridge.store import Store

A, B, C, OLD = "198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.99"
Json = dict[str, Any]
REPORT = stix.uuid_in(stix.stix_id("report", "wave"))
THEIRS = "0b0ad1b5-5d2c-4a53-9b38-91a6b6e0c6a1"


@pytest.fixture
def misp(misp: MispDouble) -> MispDouble:
    """A MISP with the event of a report as an older script left it, and an analyst's work since."""
    common = {
        "type": "ip-dst",
        "category": "Network activity",
        "timestamp": "1767600000",
        "distribution": "5",
    }
    misp.analyst_event(
        {
            "uuid": REPORT,
            "info": "wave (by the script)",
            "date": "2026-01-05",
            "threat_level_id": "2",
            "analysis": "2",
            "distribution": "0",
            "timestamp": "1767600000",
            "Attribute": [
                {
                    "uuid": THEIRS,
                    "value": A,
                    "to_ids": False,
                    "comment": "cleared by an analyst",
                    **common,
                },
                {
                    "uuid": THEIRS[:-1] + "2",
                    "value": OLD,
                    "to_ids": True,
                    "comment": "ours alone",
                    **common,
                },
            ],
        }
    )
    misp.analyst_tag(THEIRS, "mine")
    misp.forget = misp.requests.clear  # type: ignore[attr-defined]
    misp.requests.clear()
    return misp


def bridge_to(misp: MispDouble, folder: Path, foreign: str) -> Bridge:
    return Bridge(
        folder, {"misp": {"type": "misp", "url": misp.url, "key": misp.key, "foreign": foreign}}
    )


def poll(bridge: Bridge, *more: Json, members: tuple[str, ...] = (A, B)) -> Any:
    found = [stix.indicator(value) for value in members]
    return bridge.poll(*found, stix.report("wave", found), *more)


def rows(misp: MispDouble, uuid: str = REPORT) -> dict[str, Json]:
    return {row["value"]: row for row in misp.events[uuid]["Attribute"] if not row["deleted"]}


def test_skip_leaves_it_as_it_is_and_says_so(misp: MispDouble, tmp_path: Path) -> None:
    before = copy.deepcopy(misp.events)
    bridge = bridge_to(misp, tmp_path, "skip")
    summary = poll(bridge)
    assert (summary.events, summary.status) == ({"foreign": 1}, 1)
    assert "left as it is" in reasons(summary)["foreign"][0]
    assert misp.events == before
    assert [letter.key for letter in dead_letters(bridge.store)] == [f"event:misp/{REPORT}"]
    bridge.close()


def test_adopt_adds_what_is_missing_and_changes_nothing_that_is_there(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path, "adopt")
    summary = poll(bridge)
    assert (summary.events, summary.status, summary.errors) == ({"updated": 1}, 0, [])
    assert "taken over" in reasons(summary)["adopted"][0]
    assert len(misp.events) == 1
    found = rows(misp)
    assert found.keys() == {A, B, OLD}
    assert (found[A]["uuid"], found[A]["to_ids"], found[A]["comment"]) == (
        THEIRS,
        False,
        "cleared by an analyst",
    )
    assert "mine" in [tag["name"] for tag in found[A]["Tag"]]
    assert misp.events[REPORT]["info"] == "wave (by the script)"
    writes = len(misp.writes())
    assert bridge.run().errors == []
    assert len(misp.writes()) == writes
    bridge.close()


def test_what_was_adopted_is_kept_up_to_date(misp: MispDouble, tmp_path: Path) -> None:
    """Under the UUIDs that MISP has: a member that joins, one that is revoked, one that leaves."""
    bridge = bridge_to(misp, tmp_path, "adopt")
    poll(bridge)
    ends = stix.indicator(A, modified=stix.LATER, revoked=True)
    joined = stix.report("wave", [stix.indicator(A), stix.indicator(C)], modified=stix.LATER)
    assert bridge.poll(ends, stix.indicator(C), joined).errors == []
    found = rows(misp)
    assert found.keys() == {A, C, OLD}
    assert found[A]["uuid"] == THEIRS
    assert [one["type"] for one in found[A]["Sighting"]] == ["2"]  # it has expired
    assert OLD in found  # never ours, never touched
    bridge.close()


def test_extend_makes_an_event_of_ours_beside_it(misp: MispDouble, tmp_path: Path) -> None:
    before = copy.deepcopy(misp.events[REPORT])
    bridge = bridge_to(misp, tmp_path, "extend")
    summary = poll(bridge)
    assert (summary.events, summary.status) == ({"created": 1}, 0)
    assert misp.events[REPORT] == before
    (event_uuid,) = [uuid for uuid in misp.events if uuid != REPORT]
    assert misp.events[event_uuid]["extends_uuid"] == REPORT
    assert rows(misp, event_uuid).keys() == {A, B}
    poll(bridge, stix.indicator(C), members=(A, B, C))
    assert bridge.poll(stix.report("wave", [stix.indicator(C)], modified=stix.LATER)).errors == []
    assert rows(misp, event_uuid).keys() == {C}
    assert misp.events[REPORT] == before
    writes = len(misp.writes())
    assert bridge.run().errors == []
    assert len(misp.writes()) == writes
    bridge.close()


@pytest.mark.parametrize("foreign", ["adopt", "extend"])
def test_a_change_of_mind_is_a_replay(misp: MispDouble, tmp_path: Path, foreign: str) -> None:
    bridge = bridge_to(misp, tmp_path, "skip")
    poll(bridge)
    bridge.close()
    again = bridge_to(misp, tmp_path, foreign)
    assert again.run().events == {}
    assert again.run(replay=True).status == 0
    assert {A, B} <= {value for uuid in misp.events for value in rows(misp, uuid)}
    assert dead_letters(again.store) == []
    again.close()


def test_one_alone_by_its_dead_letter(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path, "skip")
    poll(bridge)
    bridge.close()
    again = bridge_to(misp, tmp_path, "adopt")
    retry(again.store, f"event:misp/{REPORT}")
    assert again.run().events == {"updated": 1}
    again.close()


def test_a_lost_store_finds_its_events_again(misp: MispDouble, tmp_path: Path) -> None:
    """What the bridge made itself, without its memory: adopted, with nothing doubled and no
    analyst's work undone.
    """
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    bridge = bridge_to(misp, tmp_path / "first", "skip")
    one = stix.indicator(C)
    bridge.poll(one, stix.report("own", [one]))
    bridge.close()
    event_uuid = stix.uuid_in(stix.stix_id("report", "own"))
    misp.analyst_edit(rows(misp, event_uuid)[C]["uuid"], to_ids=False)
    before = copy.deepcopy(rows(misp, event_uuid))
    fresh = bridge_to(misp, tmp_path / "second", "adopt")
    assert fresh.poll(one, stix.report("own", [one])).status == 0
    assert rows(misp, event_uuid) == before
    assert isinstance(fresh.store, Store)
    fresh.close()


# recognised by title


SCRIPT, OLDER = "7c0ad1b5-5d2c-4a53-9b38-91a6b6e0c6b1", "7c0ad1b5-5d2c-4a53-9b38-91a6b6e0c6b2"


@pytest.fixture
def scripted() -> Iterator[MispDouble]:
    """A script made an event of the report at every poll, under UUIDs of its own; a third of the
    title is unlike it.
    """
    with MispDouble() as double:
        for number, (event_uuid, stored) in enumerate(
            {OLDER: [A], SCRIPT: [A, OLD], THEIRS: ["203.0.113.200"]}.items()
        ):
            rows = [
                {"uuid": f"{event_uuid[:-2]}{number}{at}", "type": "ip-dst",
                 "category": "Network activity", "value": value,
                 "to_ids": False, "timestamp": "1767600000"}
                for at, value in enumerate(stored)
            ]  # fmt: skip
            double.analyst_event(
                {"uuid": event_uuid, "info": "wave", "date": "2026-01-09",
                 "timestamp": str(1767600000 + number),
                 "Attribute": rows}
            )  # fmt: skip
        double.requests.clear()
        yield double


def by_title(misp: MispDouble, folder: Path, foreign: str) -> Bridge:
    sink = {
        "type": "misp",
        "url": misp.url,
        "key": misp.key,
        "foreign": foreign,
        "recognise": "title",
    }
    return Bridge(folder, {"misp": sink})


def test_without_being_told_to_a_title_means_nothing(scripted: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(scripted, tmp_path, "adopt")
    assert poll(bridge).events == {"created": 1}
    bridge.close()


def test_a_scripts_event_is_left_alone(scripted: MispDouble, tmp_path: Path) -> None:
    before = copy.deepcopy(scripted.events)
    bridge = by_title(scripted, tmp_path, "skip")
    summary = poll(bridge)
    assert (summary.events, summary.status) == ({"foreign": 1}, 1)
    assert f"{SCRIPT} is in MISP and not ours" in "\n".join(reasons(summary)["foreign"])
    assert f"more events of this title are left as they are: {OLDER}" in "\n".join(
        reasons(summary)["foreign"]
    )
    assert scripted.events == before
    bridge.close()


def test_a_scripts_event_is_taken_over_and_kept_up_to_date(
    scripted: MispDouble, tmp_path: Path
) -> None:
    others = {uuid: copy.deepcopy(scripted.events[uuid]) for uuid in (OLDER, THEIRS)}
    bridge = by_title(scripted, tmp_path, "adopt")
    assert poll(bridge).events == {"updated": 1}
    assert rows(scripted, SCRIPT).keys() == {A, B, OLD}
    assert not rows(scripted, SCRIPT)[A]["to_ids"]
    assert scripted.events[SCRIPT]["date"] == "2026-01-09"
    ends = stix.indicator(A, modified=stix.LATER, revoked=True)
    joined = stix.report("wave", [stix.indicator(A), stix.indicator(C)], modified=stix.LATER)
    assert bridge.poll(ends, stix.indicator(C), {**joined, "name": "wave two"}).errors == []
    assert rows(scripted, SCRIPT).keys() == {A, C, OLD}
    assert scripted.events[SCRIPT]["info"] == "wave two"
    assert [one["type"] for one in rows(scripted, SCRIPT)[A]["Sighting"]] == ["2"]
    assert {uuid: scripted.events[uuid] for uuid in others} == others
    (day,) = scripted.events.keys() - {SCRIPT, *others}
    assert rows(scripted, day).keys() == {B}  # it left the report
    writes = len(scripted.writes())
    assert bridge.run(replay=True).errors == []
    assert len(scripted.writes()) == writes
    bridge.close()


def test_a_scripts_event_is_extended(scripted: MispDouble, tmp_path: Path) -> None:
    before = copy.deepcopy(scripted.events)
    bridge = by_title(scripted, tmp_path, "extend")
    assert poll(bridge).events == {"created": 1}
    (event_uuid,) = scripted.events.keys() - before.keys()
    assert scripted.events[event_uuid]["extends_uuid"] == SCRIPT
    assert bridge.poll(stix.report("wave", [stix.indicator(A)], modified=stix.LATER)).errors == []
    assert rows(scripted, event_uuid).keys() == {A}
    assert {uuid: scripted.events[uuid] for uuid in before} == before
    bridge.close()


def test_two_reports_of_one_title_are_two_events(tmp_path: Path) -> None:
    """What the bridge itself delivered is never taken for a script's."""
    with MispDouble() as misp:
        bridge = by_title(misp, tmp_path, "adopt")
        one = stix.indicator(A)
        bridge.poll(one, {**stix.report("first", [one]), "name": "weekly"})
        bridge.poll({**stix.report("second", [one]), "name": "weekly"})
        assert len(misp.events) == 2
        bridge.close()


@pytest.mark.parametrize("info", ["!wave", "%", "wa%", "a & b | c", "wave"])
def test_a_title_is_no_pattern(tmp_path: Path, info: str) -> None:
    with MispDouble() as misp:
        row = {"type": "ip-dst", "category": "Network activity", "value": A}
        misp.analyst_event({"uuid": SCRIPT, "info": "water", "Attribute": [row]})
        bridge = by_title(misp, tmp_path, "adopt")
        one = stix.indicator(A)
        assert bridge.poll(one, {**stix.report("first", [one]), "name": info}).events == {
            "created": 1
        }
        bridge.close()
