"""Rules in a pipeline: what is held, routed, published or left out, what replay changes, and what a
dry run shows.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers.bridge import Bridge
from helpers.command import run as command
from helpers.stix import LATER, bundle, indicator, report

from stixbridge import ConfigError
from stixbridge.config.build import make_pipelines, open_store
from stixbridge.config.reader import load
from stixbridge.pipeline.dry_run import rehearse
from stixbridge.queries.find import find

ONE, TWO = indicator("198.51.100.1"), indicator("198.51.100.2")
A_REPORT = report("A", [ONE, TWO])


def misp_of(double: MispDouble) -> dict[str, Any]:
    return {"type": "misp", "url": double.url, "key": double.key}


def rule(then: dict[str, Any], when: str | None = None) -> dict[str, Any]:
    return {"name": "it", "then": then, **({"when": when} if when else {})}


def test_what_is_held_is_not_delivered_and_what_was_delivered_stays(tmp_path: Path) -> None:
    with MispDouble() as misp:
        held = {"rules": [rule({"hold": "too much: {event.attributes}"}, "event.attributes > 2")]}
        bridge = Bridge(tmp_path, {"misp": misp_of(misp)}, enrich=held)
        bridge.poll(A_REPORT, ONE, TWO)
        (event,) = misp.events.values()
        three = indicator("198.51.100.3")
        summary = bridge.poll(three, report("A", [ONE, TWO, three], modified=LATER))
        bridge.close()
        assert summary.events == {"held by a rule": 1}
        assert [row["target"] for row in summary.ledger.entries if row.get("reason") == "rule"] == [
            "held: too much: 3"
        ]
        assert len(event["Attribute"]) == 2


def test_a_rule_routes_and_what_was_elsewhere_is_withdrawn(tmp_path: Path) -> None:
    with MispDouble() as inner, MispDouble() as outer:
        route = {"rules": [rule({"route": ["inner"]}, 'event.info == "A, inside"')]}
        bridge = Bridge(tmp_path, {"inner": misp_of(inner), "outer": misp_of(outer)}, enrich=route)
        bridge.poll(A_REPORT, ONE, TWO)
        assert (len(inner.events), len(outer.events)) == (1, 1)
        bridge.poll({**A_REPORT, "name": "A, inside", "modified": LATER})
        bridge.close()
        assert [row["info"] for row in inner.events.values()] == ["A, inside"]
        (gone,) = outer.events.values()
        assert gone["info"].startswith("[withdrawn]")
        assert all(row["deleted"] for row in gone["Attribute"])


@pytest.mark.parametrize(("pipeline", "said"), [(False, True), (True, False)])
def test_a_rule_decides_about_publishing(pipeline: bool, said: bool, tmp_path: Path) -> None:
    with MispDouble() as misp:
        bridge = Bridge(
            tmp_path,
            {"misp": misp_of(misp)},
            enrich={"publish": pipeline, "rules": [rule({"publish": said})]},
        )
        bridge.poll(A_REPORT, ONE, TWO)
        bridge.close()
        assert [row["published"] for row in misp.events.values()] == [said]


def test_an_event_that_a_rule_leaves_out_is_withdrawn(tmp_path: Path) -> None:
    with MispDouble() as misp:
        bridge = Bridge(
            tmp_path,
            {"misp": misp_of(misp)},
            enrich={"rules": [rule({"drop": True}, 'event.info == "B"')]},
        )
        bridge.poll(A_REPORT, ONE, TWO)
        summary = bridge.poll({**A_REPORT, "name": "B", "modified": LATER})
        again = bridge.poll()
        bridge.close()
        assert summary.events == {"withdrawn": 1}
        assert again.events == {}
        assert all(row["deleted"] for event in misp.events.values() for row in event["Attribute"])


CONFIG = """
[store]
path = "s.db"
[sources.acme]
type = "files"
paths = ["in"]
[sinks.misp]
type = "misp"
url = "{url}"
key = {{ file = "key" }}
[pipelines.acme]
source = "acme"
sinks = ["misp"]
enrich = {{ rules = ["rules.toml"] }}
"""
RULES = """
[[rules]]
name = "first"
when = 'attribute.value == "198.51.100.1"'
then = [{{ {action} }}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text(json.dumps(bundle([A_REPORT, ONE, TWO])))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_replay_brings_new_rules_to_what_was_delivered_as_a_diff(folder: Path) -> None:
    with MispDouble() as misp:
        (folder / "stixbridge.toml").write_text(CONFIG.format(url=misp.url))
        (folder / "key").write_text(misp.key)
        (folder / "rules.toml").write_text(RULES.format(action="set_to_ids = false"))
        assert command("run", cwd=folder).returncode == 0
        (event,) = misp.events.values()
        mine = next(row for row in event["Attribute"] if row["value"] == "198.51.100.2")
        mine["comment"] = "seen by an analyst"
        (folder / "rules.toml").write_text(RULES.format(action="add_tags = ['a:b']"))
        (folder / "in" / "a.json").unlink()  # nothing is asked from the source

        writes, size = len(misp.writes()), (folder / "s.db").stat().st_mtime_ns
        shown = command("replay", "--dry-run", cwd=folder)
        assert shown.returncode == 0, shown.stderr
        assert "~ ip-dst 198.51.100.1: to_ids: 'False' → 'True'" in shown.stdout
        assert "+ ip-dst 198.51.100.1: a:b" in shown.stdout
        assert "198.51.100.2" not in shown.stdout
        assert (len(misp.writes()), (folder / "s.db").stat().st_mtime_ns) == (writes, size)

        done = command("replay", "--json", cwd=folder)
        assert json.loads(done.stdout)[0]["events"] == {"updated": 1}
        rows = {row["value"]: row for row in event["Attribute"]}
        assert [tag["name"] for tag in rows["198.51.100.1"]["Tag"]] == ["a:b"]
        assert rows["198.51.100.1"]["to_ids"] is True
        assert rows["198.51.100.2"]["comment"] == "seen by an analyst"
        assert json.loads(command("replay", "--json", cwd=folder).stdout)[0]["events"] == {
            "unchanged": 1
        }


def test_a_dry_run_shows_what_would_be_created_and_writes_nothing(folder: Path) -> None:
    with MispDouble() as misp:
        (folder / "stixbridge.toml").write_text(CONFIG.format(url=misp.url))
        (folder / "key").write_text(misp.key)
        (folder / "rules.toml").write_text(RULES.format(action="drop = true"))
        shown = command("run", "--dry-run", cwd=folder)
        assert "+ ip-dst 198.51.100.2" in shown.stdout
        assert "198.51.100.1" not in shown.stdout.split("events")[1].split("note")[0]
        assert misp.writes() == []
        assert not (folder / "s.db").exists()
        plain = json.loads(command("run", "--dry-run", "--json", cwd=folder).stdout)
        ((changes),) = plain[0]["changes"].values()
        assert "+ ip-dst 198.51.100.2" in changes


def test_find_says_which_rules_touched_a_value(folder: Path) -> None:
    with MispDouble() as misp:
        (folder / "stixbridge.toml").write_text(CONFIG.format(url=misp.url))
        (folder / "key").write_text(misp.key)
        (folder / "rules.toml").write_text(RULES.format(action="set_to_ids = false"))
        assert command("run", cwd=folder).returncode == 0
        config = load(folder / "stixbridge.toml")
        store = open_store(config)
        (row,) = find(config, store, "198.51.100.1")
        store.close()
        assert [(one["rule"], one["action"]) for one in row["touched"]] == [("first", "set_to_ids")]
        assert "rule first: set_to_ids" in command("find", "198.51.100.1", cwd=folder).stdout


def test_a_broken_rule_file_stops_the_run_before_anything_is_asked(folder: Path) -> None:
    with MispDouble() as misp:
        (folder / "stixbridge.toml").write_text(CONFIG.format(url=misp.url))
        (folder / "key").write_text(misp.key)
        (folder / "rules.toml").write_text(RULES.format(action="set_to_idz = false"))
        done = command("run", cwd=folder)
        assert done.returncode == 2
        assert "did you mean 'set_to_ids'" in done.stderr
        assert "rules.toml:2" in done.stderr
        assert "Traceback" not in done.stderr
        assert misp.requests == []


def test_rules_commands(folder: Path) -> None:
    (folder / "good.toml").write_text(
        RULES.format(action="set_to_ids = false")
        + "\n[[tests]]\nname = 'off'\nfile = 'in/a.json'\nexpect = "
        '["events[0].Attribute.exists(a, !a.to_ids)"]\n'
    )
    (folder / "bad.toml").write_text(
        RULES.format(action="set_to_ids = true")
        + "\n[[tests]]\nname = 'off'\nfile = 'in/a.json'\n"
        + 'expect = ["events[0].Attribute.all(a, !a.to_ids)", "event"]\n'
    )
    check = command("rules", "check", "good.toml", "bad.toml", cwd=folder)
    assert (check.returncode, "first  (attribute" in check.stdout) == (0, True)
    assert command("rules", "test", "good.toml", cwd=folder).returncode == 0
    failed = command("rules", "test", "bad.toml", cwd=folder)
    assert failed.returncode == 1
    assert "does not hold: events[0]" in failed.stdout
    assert "unknown name 'event'; did you mean 'events'" in failed.stdout
    explained = command("rules", "explain", "in/a.json", "--rules", "good.toml", cwd=folder)
    assert "first  on ip-dst 198.51.100.1" in explained.stdout
    assert "- to_ids: True" in explained.stdout
    assert "+ to_ids: False" in explained.stdout
    converted = command(
        "convert", "in/a.json", "--rules", "good.toml", "--now", "2026-01-10T00:00:00Z", cwd=folder
    )
    assert '"to_ids":false' in converted.stdout
    assert command("rules", "check", "none.toml", cwd=folder).returncode == 2


def test_rehearsing_asks_modules_into_a_copy(folder: Path) -> None:
    with MispDouble() as misp:
        (folder / "stixbridge.toml").write_text(CONFIG.format(url=misp.url))
        (folder / "key").write_text(misp.key)
        (folder / "rules.toml").write_text(RULES.format(action="publish = true"))
        config = load(folder / "stixbridge.toml")
        store = open_store(config)
        (pipeline,) = make_pipelines(config, store)
        summary = rehearse(pipeline)
        pipeline.close()
        assert summary.events == {"created": 1}
        assert store.database.rows("SELECT count(*) AS n FROM objects")[0]["n"] == 0
        store.close()


def test_holding_loses_nothing_that_was_elsewhere(tmp_path: Path) -> None:
    with MispDouble() as misp:
        held = {"rules": [rule({"hold": "wait"}, 'event.kind == "report"')]}
        bridge = Bridge(tmp_path, {"misp": misp_of(misp)}, enrich=held)
        bridge.poll(ONE, TWO)
        bridge.poll(report("A", [ONE]))
        bridge.poll()
        bridge.close()
        (event,) = misp.events.values()
        assert {row["value"] for row in event["Attribute"] if not row["deleted"]} == {
            "198.51.100.1",
            "198.51.100.2",
        }
        # released by a changed rule, at the next run
        bridge = Bridge(tmp_path, {"misp": misp_of(misp)}, enrich={})
        bridge.poll()
        bridge.close()
        held_now = {
            event["info"]: {row["value"] for row in event["Attribute"] if not row["deleted"]}
            for event in misp.events.values()
        }
        assert {frozenset(values) for values in held_now.values()} == {
            frozenset({"198.51.100.1"}),
            frozenset({"198.51.100.2"}),
        }


def test_what_is_dropped_is_looked_at_again(tmp_path: Path) -> None:
    with MispDouble() as misp:
        rules = {"rules": [rule({"drop": True}, "event.attributes >= 2")]}
        bridge = Bridge(tmp_path, {"misp": misp_of(misp)}, enrich=rules)
        bridge.poll(ONE, TWO)
        bridge.poll(indicator("198.51.100.3"))
        bridge.close()
        assert misp.events == {}


def test_a_sink_that_is_none_is_found_before_the_run(tmp_path: Path) -> None:
    with MispDouble() as misp:
        bridge = Bridge(
            tmp_path, {"misp": misp_of(misp)}, enrich={"rules": [rule({"route": ["mips"]})]}
        )
        with pytest.raises(ConfigError, match="a rule routes to 'mips'"):
            bridge.poll(ONE)
        bridge.close()
