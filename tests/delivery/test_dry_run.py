"""A dry run tells what the run then does, by what MISP has, and writes nothing."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import NOW, Bridge, reasons
from helpers.command import run as command

from stixbridge import times
from stixbridge.config.build import make_pipelines
from stixbridge.pipeline.dry_run import rehearse
from stixbridge.pipeline.summary import Summary
from stixbridge.sinks.event_diff import event_diff

pytestmark = pytest.mark.misp_double(clusters={'misp-galaxy:threat-actor="known"': {}})

A, B, C, D = (f"198.51.100.{number}" for number in range(1, 5))
Json = dict[str, Any]
_HEADERS = {"Accept": "application/json"}
REPORT = stix.uuid_in(stix.stix_id("report", "wave"))


def text(objects: list[Json]) -> str:
    return json.dumps(stix.bundle(objects))


def rehearsed(bridge: Bridge, **how: Any) -> Summary:
    (pipeline,) = make_pipelines(bridge.config, bridge.store, ("acme",))
    try:
        return rehearse(pipeline, times.microseconds(NOW), **how)
    finally:
        pipeline.close()


def _row(misp: MispDouble, value: str) -> Json:
    (found,) = [
        row for event in misp.events.values() for row in event["Attribute"] if row["value"] == value
    ]
    return dict(found)


def _first(bridge: Bridge, misp: MispDouble) -> None:
    found = [stix.indicator(A), stix.indicator(B), stix.indicator(C)]
    bridge.poll(*found, stix.report("wave", found), stix.indicator(D))


def _nothing(bridge: Bridge, misp: MispDouble) -> None: ...


def _an_analyst_worked(bridge: Bridge, misp: MispDouble) -> None:
    _first(bridge, misp)
    misp.analyst_edit(_row(misp, A)["uuid"], comment="an analyst's", to_ids=False)
    misp.analyst_delete(_row(misp, B)["uuid"])
    misp.analyst_tag(_row(misp, C)["uuid"], "tlp:red")


def _analyst_deleted_the_event(bridge: Bridge, misp: MispDouble) -> None:
    _first(bridge, misp)
    httpx.post(
        f"{misp.url}/events/delete/{misp.events[REPORT]['id']}",
        headers=_HEADERS | {"Authorization": misp.key},
        json={},
    )


def _a_script_made_it(bridge: Bridge, misp: MispDouble) -> None:
    common = {
        "type": "ip-dst",
        "category": "Network activity",
        "timestamp": "1767600000",
        "distribution": "5",
    }
    row = {
        "uuid": "0b0ad1b5-5d2c-4a53-9b38-91a6b6e0c6a1",
        "value": A,
        "to_ids": False,
        "comment": "x",
        **common,
    }
    made = {
        "uuid": REPORT,
        "info": "wave",
        "date": "2026-01-05",
        "threat_level_id": "2",
        "analysis": "2",
    }
    misp.analyst_event({**made, "distribution": "0", "timestamp": "1767600000", "Attribute": [row]})


def _newer() -> list[Json]:
    """Each changes, one ends, one leaves, one comes, and the report has another title."""
    changed = [
        stix.indicator(value, modified=stix.LATER, name=f"newer {value}") for value in (A, B, C)
    ]
    ended = stix.indicator(C, modified=stix.LATER, revoked=True)
    wave = {
        **stix.report("wave", [*changed[:2], stix.indicator(D)], modified=stix.LATER),
        "name": "the second wave",
    }
    return [*changed[:2], ended, wave]


Before = Callable[[Bridge, MispDouble], None]
CASES: dict[str, tuple[dict[str, Any], Before]] = {
    "all is new": ({}, _nothing),
    "an update": ({}, _first),
    "an update that is published": ({"keep_published": True}, _first),
    "what analysts did stays": ({}, _an_analyst_worked),
    "whose word counts": (
        {"conflicts": {"comment": "ours"}, "deleted": "restore"},
        _an_analyst_worked,
    ),
    "the event is gone": ({}, _analyst_deleted_the_event),
    "a script's event is left": ({"foreign": "skip"}, _a_script_made_it),
    "a script's event is taken over": ({"foreign": "adopt"}, _a_script_made_it),
    "a script's event is extended": ({"foreign": "extend"}, _a_script_made_it),
    "a script's event by its title": (
        {"foreign": "adopt", "recognise": "title"},
        _a_script_made_it,
    ),
    "several events": ({"split": 1}, _first),
    "in pieces": ({"chunk": 1}, _first),
    "empty events go": ({"empty": "delete"}, _first),
    "a ceiling": ({"max_tlp": "tlp:green"}, _first),
}


@pytest.mark.parametrize("case", CASES)
def test_it_tells_what_the_run_then_does(misp: MispDouble, tmp_path: Path, case: str) -> None:
    settings, before = CASES[case]
    enrich = {"publish": case == "an update that is published"}
    sink = {"type": "misp", "url": misp.url, "key": misp.key, **settings}
    bridge = Bridge(tmp_path, {"misp": sink}, enrich=enrich)
    before(bridge, misp)
    if before is _nothing:
        found = [stix.indicator(A), stix.indicator(B)]
        objects = [*found, stix.report("wave", found)]
    else:
        objects = _newer()
    stored = copy.deepcopy(misp.events)
    writes = len(misp.writes())
    (tmp_path / "acme" / "zz.json").write_text(text(objects))

    summary = rehearsed(bridge)
    assert (misp.events, len(misp.writes())) == (stored, writes)
    did = bridge.run()

    assert summary.events == did.events
    assert summary.status == did.status
    assert reasons(summary) == reasons(did)
    done = {
        uuid: event_diff(stored.get(uuid, {}), misp.events.get(uuid, {}))
        for uuid in stored.keys() | misp.events.keys()
    }
    lines = sorted(
        line
        for lines in done.values()
        for line in lines
        if not _of_a_deleted_event(line, stored, misp)
    )
    shown = [line for _, delivery in summary.deliveries for line in delivery.changes]
    extra = [
        line
        for line in shown
        if line.startswith(("~ event", "+ event", "~ published", "- the event"))
    ]
    assert sorted(line for line in shown if line not in extra) == lines
    flags = [
        (stored.get(uuid, {}).get("published", False), now["published"])
        for uuid, now in misp.events.items()
    ]
    assert sum(line.startswith("~ published") for line in extra) == sum(
        was != now for was, now in flags
    )
    gone = stored.keys() - misp.events.keys()
    assert sum(line == "- the event itself" for line in extra) == len(gone)
    assert rehearsed(bridge).events == bridge.run().events
    bridge.close()


def _of_a_deleted_event(line: str, stored: Json, misp: MispDouble) -> bool:
    """Of an event that is gone one line says so, not one for each part."""
    gone = [event for uuid, event in stored.items() if uuid not in misp.events]
    return any(line in event_diff(event, {}) for event in gone)


def test_it_knows_which_tags_and_clusters_are_new(misp: MispDouble, tmp_path: Path) -> None:
    sink = {"type": "misp", "url": misp.url, "key": misp.key, "clusters": "private"}
    bridge = Bridge(tmp_path, {"misp": sink}, enrich={"tags": ["tlp:green", 'ours:kind="x"']})
    one = stix.indicator(A)
    actor = {
        **stix.indicator("x"),
        "type": "intrusion-set",
        "id": stix.stix_id("intrusion-set", "Rusty Bear"),
    }
    del actor["pattern"], actor["pattern_type"], actor["valid_from"]
    actor["name"] = "Rusty Bear"
    misp.store.tag({"name": "tlp:green"}, _admin())
    (tmp_path / "acme" / "a.json").write_text(
        text([one, actor, stix.relationship(one, "indicates", actor)])
    )
    volume = rehearsed(bridge).volume
    assert volume["new clusters"] == 1
    assert volume["new tags"] == volume["tags"] - 1
    assert misp.writes() == []
    bridge.close()


def _admin() -> Any:
    from doubles.misp.model import ROLES

    return ROLES["admin"]


def test_what_a_key_may_not_do_is_part_of_it(tmp_path: Path) -> None:
    with MispDouble(role="user") as misp:
        bridge = Bridge(tmp_path, {"misp": {"type": "misp", "url": misp.url, "key": misp.key}})
        (tmp_path / "acme" / "a.json").write_text(text([stix.indicator(A, tlp="red")]))
        summary = rehearsed(bridge)
        assert summary.events == {"held": 1}
        assert "tlp:red does not exist" in reasons(summary)["held:marking"][0]
        assert misp.writes() == []
        bridge.close()


def test_a_misp_that_can_t_be_asked_is_an_error_and_the_store_tells_the_rest(
    tmp_path: Path,
) -> None:
    (tmp_path / "in.json").write_text(text([stix.indicator(A)]))
    (tmp_path / "key").write_text("k" * 40)
    (tmp_path / "stixbridge.toml").write_text("""
[sources.acme]
type = "files"
paths = ["in.json"]
[sinks.misp]
type = "misp"
url = "http://127.0.0.1:9"
key = { file = "key" }
[pipelines.acme]
source = "acme"
sinks = ["misp"]
""")
    done = command("run", "--dry-run", cwd=tmp_path)
    assert done.returncode == 3
    assert f"+ ip-dst {A}" in done.stdout
    assert "by the store alone" in done.stdout
    assert not (tmp_path / "stixbridge.db").exists()


@pytest.mark.parametrize("kind", ["feed", "files"])
def test_a_folder_is_read_and_not_made(tmp_path: Path, kind: str) -> None:
    bridge = Bridge(tmp_path, {"out": {"type": kind, "path": str(tmp_path / "out")}})
    (tmp_path / "acme" / "a.json").write_text(text([stix.indicator(A), stix.indicator(B)]))
    summary = rehearsed(bridge)
    assert summary.events == {"created": 1}
    assert f"+ ip-dst {A}" in summary.deliveries[0][1].changes
    assert not (tmp_path / "out").exists()
    bridge.run()
    files = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "acme" / "b.json").write_text(
        text([stix.indicator(A, modified=stix.LATER, revoked=True)])
    )
    (lines,) = [
        delivery.changes for _, delivery in rehearsed(bridge).deliveries if delivery.changes
    ]
    assert f"~ ip-dst {A}: to_ids: 'True' → 'False'" in lines
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files
    bridge.close()
