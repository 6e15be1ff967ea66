"""Scenario 15: the guard stops a poisoned run; `undo` takes one back, with no blocklist entry and
no analyst's loss.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers import stix
from helpers.bridge import NOW, Bridge, actions
from helpers.command import run

from stixbridge import times
from stixbridge.config.build import make_pipelines
from stixbridge.errors import ConfigError
from stixbridge.pipeline.guard import ChangeCount, Guard
from stixbridge.pipeline.summary import Summary

A, B, C, POISON = "198.51.100.1", "198.51.100.2", "198.51.100.3", "8.8.8.8"
Json = dict[str, Any]


def bridge_to(misp: MispDouble, folder: Path, **more: Any) -> Bridge:
    return Bridge(folder, {"misp": {"type": "misp", "url": misp.url, "key": misp.key}}, **more)


def undo(bridge: Bridge, number: int) -> Summary:
    (pipeline,) = make_pipelines(bridge.config, bridge.store, ("acme",))
    try:
        return pipeline.undo(number, times.microseconds(NOW))
    finally:
        pipeline.close()


def live(misp: MispDouble) -> dict[str, bool]:
    """The live values and whether they detect."""
    return {
        row["value"]: row["to_ids"]
        for event in misp.events.values()
        for row in event["Attribute"]
        if not row["deleted"]
    }


# The guard


def test_a_run_that_adds_too_much_writes_nothing_until_it_is_confirmed(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path, guard={"add": "10"})
    many = [stix.indicator(f"198.51.100.{at}") for at in range(11)]
    summary = bridge.poll(*many)
    assert summary.status == 1
    assert "would add 11 attributes, more than 10; nothing was written" in summary.errors[0]
    assert "--confirm" in summary.errors[0]
    assert (misp.writes(), bridge.run().status) == ([], 1)
    assert bridge.run(confirmed=True).status == 0
    assert len(live(misp)) == 11
    assert bridge.poll(*[stix.indicator(f"192.0.2.{at}") for at in range(10)]).status == 0
    bridge.close()


def test_a_run_that_withdraws_too_much(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path, guard={"withdraw": "20%"})
    many = [stix.indicator(f"198.51.100.{at}") for at in range(10)]
    assert bridge.poll(*many).status == 0
    gone = [{**one, "revoked": True, "modified": stix.LATER} for one in many[:3]]
    summary = bridge.poll(*gone)
    assert "would withdraw 3 attributes, more than 20% of 10" in summary.errors[0]
    assert all(live(misp).values())
    assert bridge.run(confirmed=True).status == 0
    assert sum(live(misp).values()) == 7
    bridge.close()


def six() -> list[Json]:
    return [stix.indicator(f"198.51.100.{at}") for at in range(1, 7)]


def test_the_guard_counts_what_the_other_source_of_an_event_says(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(
        misp, tmp_path, sources={"umbra": {"type": "files"}}, guard={"withdraw": "2"}
    )
    *most, last = six()
    assert bridge.poll(*most, stix.report("wave", most), source="acme").errors == []
    assert bridge.poll(last, stix.report("wave", [last]), source="umbra").errors == []
    newer = stix.indicator("198.51.100.6", modified=stix.LATER, description="newer")
    assert bridge.poll(newer, source="umbra").errors == []
    bridge.close()


def test_what_a_rule_holds_is_not_withdrawn(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path, guard={"withdraw": "2"})
    assert bridge.poll(*six(), stix.report("wave", six())).errors == []
    bridge.close()
    rule = {"name": "look", "when": 'event.info == "wave"', "then": [{"hold": "look first"}]}
    bridge = bridge_to(misp, tmp_path, guard={"withdraw": "2"}, enrich={"rules": [rule]})
    assert actions(bridge.run(replay=True)) == {"held by a rule": 1}
    assert len(live(misp)) == 6
    bridge.close()


def limited(misp: MispDouble, folder: Path, max_tlp: str, **guard: str) -> Bridge:
    return Bridge(
        folder,
        {"misp": {"type": "misp", "url": misp.url, "key": misp.key, "max_tlp": max_tlp}},
        guard=guard,
    )


def test_what_a_ceiling_takes_out_is_withdrawn(misp: MispDouble, tmp_path: Path) -> None:
    bridge = limited(misp, tmp_path, "tlp:green", withdraw="2")
    assert bridge.poll(*six(), stix.report("wave", six(), tlp="green")).errors == []
    summary = bridge.poll(stix.report("wave", six(), tlp="red", modified=stix.LATER))
    assert "would withdraw 6 attributes" in summary.errors[0]
    assert len(live(misp)) == 6
    bridge.close()


def test_what_a_ceiling_lets_in_is_added(misp: MispDouble, tmp_path: Path) -> None:
    bridge = limited(misp, tmp_path, "tlp:green", add="2")
    assert bridge.poll(*six(), stix.report("wave", six(), tlp="amber")).errors == []
    assert misp.events == {}
    bridge.close()
    bridge = limited(misp, tmp_path, "tlp:amber", add="2")
    assert "would add 6 attributes" in bridge.run(replay=True).errors[0]
    assert misp.events == {}
    bridge.close()


def test_the_guard_looks_at_all_parts_of_a_large_run_before_the_first_is_written(
    misp: MispDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stixbridge.pipeline.batches.BATCH", 5)
    bridge = bridge_to(misp, tmp_path, guard={"add": "30"})
    many = [stix.indicator(f"198.51.100.{at}") for at in range(31)]
    reports = [stix.report(f"report {at}", many[at * 3 : at * 3 + 3]) for at in range(10)]
    assert bridge.poll(*many, *reports).status == 1
    assert misp.writes() == []
    bridge.close()


@pytest.mark.parametrize(
    ("limit", "there", "stops"),
    [("5", 0, True), ("6", 0, False), ("10%", 59, True), ("10%", 60, False), ("1%", 0, False)],
)
def test_limits(limit: str, there: int, stops: bool) -> None:
    assert (Guard(add=limit).problem(ChangeCount(added=6), there) is not None) is stops
    assert (Guard(withdraw=limit).problem(ChangeCount(withdrawn=6), there) is not None) is stops


# Undo


def test_undo_takes_back_what_a_run_brought_and_nothing_else(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path)
    good = [stix.indicator(value) for value in (A, B)]
    bridge.poll(*good, stix.report("good", good))
    before = {uuid: json.dumps(event["Attribute"]) for uuid, event in misp.events.items()}
    poison = [stix.indicator(POISON), stix.indicator(C)]
    renamed = {**good[0], "name": "poisoned", "modified": stix.LATER}
    run = bridge.poll(*poison, stix.report("bad", [poison[0]]), renamed)
    assert {POISON, C} <= live(misp).keys()
    bad = stix.uuid_in(stix.stix_id("report", "bad"))
    summary = undo(bridge, run.run)
    assert (summary.errors, summary.status, summary.changed) == ([], 0, 4)
    assert live(misp) == {A: True, B: True}
    kept = stix.uuid_in(stix.stix_id("report", "good"))
    (row,) = [row for row in misp.events[kept]["Attribute"] if row["value"] == A]
    assert row["comment"] in {
        old["comment"] for old in json.loads(before[kept]) if old["value"] == A
    }
    assert misp.events[bad]["info"] == "[withdrawn] bad"
    assert not any("delete" in request.path for request in misp.writes())
    # neither the next poll, which brings it all again, nor a replay brings it back
    writes = len(misp.writes())
    assert bridge.run(full=True).errors == []
    assert bridge.run(replay=True).errors == []
    assert len(misp.writes()) == writes
    assert live(misp) == {A: True, B: True}
    bridge.close()


def test_a_newer_version_of_what_was_taken_back_comes_in(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path)
    run = bridge.poll(stix.indicator(POISON))
    undo(bridge, run.run)
    assert live(misp) == {}
    bridge.poll(stix.indicator(POISON, modified=stix.LATER, name="vouched for"))
    assert live(misp) == {POISON: True}
    bridge.close()


def test_two_versions_of_one_run_both_go(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path)
    bridge.poll(stix.indicator(B))
    for name, modified in (("a", stix.EARLY), ("b", stix.LATER)):
        (tmp_path / "acme" / f"{name}.json").write_text(
            json.dumps(stix.bundle([stix.indicator(A, modified=modified)]))
        )
    run = bridge.run()
    assert run.pages == 2
    undo(bridge, run.run)
    assert live(misp) == {B: True}
    bridge.close()


def test_links_that_are_taken_back(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path)
    one, two = stix.indicator(A), stix.indicator(B)
    bridge.poll(one, two, stix.report("wave", [one, two]))
    run = bridge.poll(stix.relationship(one, "related-to", two), stix.sighting(one))
    (event,) = misp.events.values()
    assert sum(len(row.get("Relationship") or ()) for row in event["Attribute"]) == 1
    assert undo(bridge, run.run).errors == []
    assert live(misp) == {A: True, B: True}
    assert bridge.poll(stix.indicator(A, modified=stix.LATER, name="again")).errors == []
    bridge.close()


def test_undo_of_a_run_that_found_things_gone(
    misp: MispDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with TaxiiDouble() as server:
        server.add_collection("All")
        server.add("All", [stix.indicator(A), stix.indicator(B)])
        source = {"type": "taxii21", "url": server.url, "vanished": "delete", "compare_every": "1d"}
        bridge = bridge_to(misp, tmp_path, source=source)
        bridge.run(now="2026-01-10T00:00:00Z")
        server.remove("All", stix.indicator(A)["id"])
        run = bridge.run(now="2026-01-12T00:00:00Z")
        assert live(misp) == {B: True}
        undo(bridge, run.run)
        assert live(misp) == {A: True, B: True}
        bridge.close()


def test_what_analysts_did_in_between_stays(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path)
    good = [stix.indicator(value) for value in (A, B)]
    bridge.poll(*good, stix.report("wave", good))
    run = bridge.poll(
        stix.indicator(POISON),
        stix.report("wave", [*good, stix.indicator(POISON)], modified=stix.LATER),
    )
    uuid = stix.uuid_in(stix.stix_id("report", "wave"))
    rows = {row["value"]: row["uuid"] for row in misp.events[uuid]["Attribute"]}
    misp.analyst_edit(rows[A], comment="seen at our gateway")
    misp.analyst_tag(rows[B], "mine")
    misp.analyst_tag(uuid, "case:open")
    undo(bridge, run.run)
    found = {row["value"]: row for row in misp.events[uuid]["Attribute"]}
    assert found[POISON]["deleted"]
    assert found[A]["comment"] == "seen at our gateway"
    assert "mine" in [tag["name"] for tag in found[B]["Tag"]]
    assert "case:open" in [tag["name"] for tag in misp.events[uuid]["Tag"]]
    bridge.close()


def test_a_member_of_a_report_that_is_taken_back_goes_where_it_was(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path)
    bridge.poll(stix.indicator(A))
    (collecting,) = misp.events
    run = bridge.poll(stix.report("wave", [stix.indicator(A)]))
    undo(bridge, run.run)
    assert [row["deleted"] for row in misp.events[collecting]["Attribute"]] == [False]
    assert live(misp) == {A: True}
    bridge.close()


def test_undo_of_what_is_no_run(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path)
    bridge.poll(stix.indicator(A))
    quiet = bridge.run()
    for number in (quiet.run, 99):
        with pytest.raises(ConfigError, match=f"run {number} of pipeline acme brought nothing"):
            undo(bridge, number)
    assert actions(bridge.run()) == {}
    bridge.close()


def test_the_command(misp: MispDouble, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(misp.key)
    (tmp_path / "in").mkdir()
    (tmp_path / "stixbridge.toml").write_text(f"""
[sources.acme]
type = "files"
paths = ["in"]
[sinks.misp]
type = "misp"
url = "{misp.url}"
key = {{ file = "key" }}
[pipelines.acme]
source = "acme"
sinks = ["misp"]
guard = {{ add = "2", withdraw = "90%" }}
""")
    (tmp_path / "in" / "a.json").write_text(
        json.dumps(stix.bundle([stix.indicator(A), stix.indicator(B)]))
    )
    assert run("run", cwd=tmp_path).returncode == 0
    (tmp_path / "in" / "b.json").write_text(
        json.dumps(
            stix.bundle([stix.indicator(C), stix.indicator(POISON), stix.indicator("1.1.1.1")])
        )
    )
    stopped = run("run", cwd=tmp_path)
    assert (stopped.returncode, "would add 3 attributes" in stopped.stdout) == (1, True)
    assert run("run", "--confirm", cwd=tmp_path).returncode == 0
    assert len(live(misp)) == 5
    shown = run("status", cwd=tmp_path).stdout
    assert "run 2 brought 3 objects (stixbridge undo 2)" in shown
    rehearsed = run("undo", "2", "--dry-run", cwd=tmp_path)
    assert (rehearsed.returncode, f"- ip-dst {POISON}" in rehearsed.stdout) == (0, True)
    assert len(live(misp)) == 5
    assert run("undo", "2", cwd=tmp_path).returncode == 0
    assert live(misp).keys() == {A, B}
    wrong = run("undo", "77", cwd=tmp_path)
    assert (wrong.returncode, "there is no run 77" in wrong.stderr) == (2, True)


def test_two_runs_that_changed_the_same_are_taken_back_one_after_the_other(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path)
    first = bridge.poll(stix.indicator(A, name="first"), stix.indicator(B)).run
    second = bridge.poll(stix.indicator(A, name="second", modified=stix.LATER)).run
    assert undo(bridge, second).errors == []
    ((row,),) = [
        [row for row in stored["Attribute"] if row["value"] == A] for stored in misp.events.values()
    ]
    assert row["comment"] == "first"
    assert undo(bridge, first).errors == []
    assert live(misp) == {}
    assert actions(bridge.poll(stix.indicator(A, name="third", modified=stix.LAST))) == {
        "updated": 1
    }
    assert live(misp) == {A: True}
    bridge.close()


def test_what_a_run_brought_that_was_killed_can_be_taken_back(
    misp: MispDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = bridge_to(misp, tmp_path)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bridge.store.runs, "end_poll", killed)
        with pytest.raises(KeyboardInterrupt):
            bridge.poll(stix.indicator(A))
    number = bridge.store.database.rows("SELECT max(number) AS number FROM runs")[0]["number"]
    bridge.poll(stix.indicator(B))
    assert live(misp) == {A: True, B: True}
    assert undo(bridge, number).errors == []
    assert live(misp) == {B: True}
    bridge.close()


def test_of_a_run_that_a_later_one_overtook_the_newer_versions_stay_and_that_is_said(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path)
    first = bridge.poll(stix.indicator(A, name="first"), stix.indicator(B)).run
    second = bridge.poll(stix.indicator(A, name="second", modified=stix.LATER)).run
    summary = undo(bridge, first)
    assert live(misp) == {A: True}
    (entry,) = [
        entry for entry in summary.ledger.entries if entry.get("path") == f"undo: run {first}"
    ]
    assert "1 objects of run 1 came in a newer version since" in entry["target"]
    undo(bridge, second)
    assert live(misp) == {}
    bridge.close()


def test_a_report_that_is_revoked_is_withdrawn_and_its_members_stay(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path)
    one = stix.indicator(A)
    wave = stix.report("wave", [one])
    bridge.poll(one, wave)
    summary = bridge.poll({**wave, "revoked": True, "modified": stix.LATER})
    assert summary.errors == []
    event_uuid = stix.uuid_in(wave["id"])
    assert misp.events[event_uuid]["info"] == "[withdrawn] wave"
    assert [
        row["value"] for row in misp.events[event_uuid]["Attribute"] if not row["deleted"]
    ] == []
    assert live(misp) == {A: True}
    assert len(misp.events) == 2
    assert actions(bridge.run()) == {}
    bridge.close()
