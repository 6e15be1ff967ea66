"""Upkeep of a bridge: dead letters, one instance, backups, the history, and how things stand."""

import json
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers import stix
from helpers.bridge import Bridge, actions
from helpers.command import run

from stixbridge.errors import ConfigError, StoreError
from stixbridge.pipeline import make
from stixbridge.queries.dead_letters import dead_letters, drop, retry, show
from stixbridge.queries.find import find
from stixbridge.queries.status import status
from stixbridge.store import Store

A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"


def values(misp: MispDouble) -> list[str]:
    return sorted(
        row["value"]
        for event in misp.events.values()
        for row in event["Attribute"]
        if not row["deleted"]
    )


# Dead letters


@pytest.fixture
def allergic(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A conversion that fails on what names one of these, as a mistake of ours would make it."""
    bad: list[str] = []
    original = make.Maker._convert

    def convert(self: Any, affected: Any, rejected: Any, moment: int) -> Any:
        for obj, _ in affected.objects.values():
            if obj.get("name") in bad:
                raise ZeroDivisionError(f"a mistake about {obj['name']}")
        return original(self, affected, rejected, moment)

    monkeypatch.setattr(make.Maker, "_convert", convert)
    return bad


def test_an_object_that_the_conversion_fails_on_stops_nothing(
    misp: MispDouble, bridge: Bridge, allergic: list[str]
) -> None:
    allergic += ["poison", "venom"]
    poison, venom = stix.indicator(A, name="poison"), stix.indicator(C, name="venom")
    summary = bridge.poll(
        poison, stix.indicator(B), stix.report("wave", [venom, stix.indicator(B)]), venom
    )
    assert (summary.errors, summary.ledger.reasons["dead-letter"]) == ([], 2)
    assert values(misp) == [B]
    found = dead_letters(bridge.store)
    assert [letter.key for letter in found] == sorted(
        f"object:acme/{item['id']}" for item in (poison, venom)
    )
    assert {letter.reason for letter in found} == {
        "ZeroDivisionError: a mistake about poison",
        "ZeroDivisionError: a mistake about venom",
    }
    assert bridge.run().errors == []
    assert show(bridge.store, f"object:acme/{poison['id']}")["object"]["acme"]["name"] == "poison"
    # mended by an update: tried again, and settled
    allergic.remove("poison")
    assert "converts it again" in retry(bridge.store, f"object:acme/{poison['id']}")
    assert bridge.run().errors == []
    assert values(misp) == [A, B]
    drop(bridge.store, f"object:acme/{venom['id']}")
    assert dead_letters(bridge.store) == []
    assert [letter.key for letter in dead_letters(bridge.store, settled=True)] == [
        f"object:acme/{venom['id']}"
    ]


def test_a_mistake_that_takes_two_objects(
    misp: MispDouble, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = make.Maker._convert

    def convert(self: Any, affected: Any, rejected: Any, moment: int) -> Any:
        if sum(obj.get("name") == "half" for obj, _ in affected.objects.values()) > 1:
            raise KeyError("two halves")
        return original(self, affected, rejected, moment)

    monkeypatch.setattr(make.Maker, "_convert", convert)
    bridge.poll(stix.indicator(A, name="half"), stix.indicator(B))
    assert bridge.poll(stix.indicator(C, name="half")).errors == []
    assert values(misp) == [A, B]  # what came last is put aside
    assert len(dead_letters(bridge.store)) == 1


def test_what_no_object_is_to_blame_for_puts_none_aside(
    misp: MispDouble, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, failures = make.Maker._convert, iter([RuntimeError("by chance")])

    def convert(self: Any, affected: Any, rejected: Any, moment: int) -> Any:
        for error in failures:
            raise error
        return original(self, affected, rejected, moment)

    monkeypatch.setattr(make.Maker, "_convert", convert)
    assert bridge.poll(stix.indicator(A), stix.indicator(B)).errors == []
    assert (values(misp), dead_letters(bridge.store)) == ([A, B], [])


def test_a_newer_version_of_what_was_put_aside_is_tried(
    misp: MispDouble, bridge: Bridge, allergic: list[str]
) -> None:
    allergic.append("poison")
    bridge.poll(stix.indicator(A, name="good"), stix.indicator(B))
    bridge.poll(stix.indicator(A, name="poison", modified=stix.LATER))
    assert (values(misp), len(dead_letters(bridge.store))) == ([B], 1)
    bridge.poll(stix.indicator(A, name="mended", modified=stix.LAST))
    assert (values(misp), dead_letters(bridge.store)) == ([A, B], [])


def test_an_event_that_was_refused_is_tried_again(misp: MispDouble, bridge: Bridge) -> None:
    misp.fail_next(
        403, {"errors": {"Event": {"info": ["no"]}}, "message": "Could not add"}, path="/events/add"
    )
    assert bridge.poll(stix.report("wave", [stix.indicator(A)]), stix.indicator(A)).status == 1
    (letter,) = dead_letters(bridge.store)
    assert letter.key == f"event:misp/{stix.uuid_in(stix.stix_id('report', 'wave'))}"
    assert letter.what == "wave"
    assert "refused" in letter.reason
    assert "no" in letter.reason
    assert actions(bridge.run()) == {}
    assert show(bridge.store, letter.key)["event"]["info"] == "wave"
    drop(bridge.store, letter.key)
    assert dead_letters(bridge.store) == []
    retry(bridge.store, letter.key)
    assert actions(bridge.run()) == {"created": 1}
    assert (dead_letters(bridge.store, settled=True), values(misp)) == ([], [A])


def test_an_entry_that_is_no_object(bridge: Bridge) -> None:
    bad = {"type": "indicator", "id": "no id at all"}
    assert bridge.poll(bad, stix.indicator(A)).status == 1
    (letter,) = dead_letters(bridge.store)
    assert letter.key.startswith("entry:acme/")
    assert letter.reason == "invalid-object"
    assert bridge.run().status == 0  # told once
    assert "read again" in retry(bridge.store, letter.key)
    assert dead_letters(bridge.store) == []
    assert bridge.run(full=True).status == 1
    drop(bridge.store, letter.key)
    assert (dead_letters(bridge.store), bridge.run(full=True).status) == ([], 0)


def test_a_key_of_none(bridge: Bridge) -> None:
    for act in (show, retry, drop):
        with pytest.raises(ConfigError, match="no dead letter 'object:acme/x'"):
            act(bridge.store, "object:acme/x")


def test_the_command(tmp_path: Path) -> None:
    write(tmp_path, {"type": "indicator", "id": "no id"}, stix.indicator(A))
    assert run("run", cwd=tmp_path).returncode == 1
    listed = json.loads(run("dead-letters", "--json", cwd=tmp_path).stdout)
    (key,) = [letter["key"] for letter in listed]
    assert f"{key}  " in run("dead-letters", cwd=tmp_path).stdout
    assert "1 dead letter;" not in run("status", cwd=tmp_path).stdout
    assert "dead letters: 1" in run("status", cwd=tmp_path).stdout
    assert (
        json.loads(run("dead-letters", "show", key, cwd=tmp_path).stdout)["reason"]
        == "invalid-object"
    )
    assert "no longer listed" in run("dead-letters", "drop", key, cwd=tmp_path).stdout
    assert run("dead-letters", cwd=tmp_path).stdout == "0 dead letters\n"
    wrong = run("dead-letters", "retry", "event:x/y", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "stixbridge: there is no dead letter 'event:x/y'; stixbridge dead-letters lists them\n",
    )


# One instance, backups, history


def write(folder: Path, *objects: Any) -> None:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "a.json").write_text(
        json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects})
    )
    (folder / "stixbridge.toml").write_text("""
[sources.acme]
type = "files"
paths = ["in"]
[sinks.out]
type = "files"
path = "out"
[pipelines.acme]
source = "acme"
sinks = ["out"]
""")


def test_one_instance_works_with_a_store(tmp_path: Path) -> None:
    write(tmp_path, stix.indicator(A))
    store = Store(tmp_path / "stixbridge.db")
    with store.claimed():
        for command in (("run",), ("replay",), ("dead-letters", "drop", "event:a/b")):
            done = run(*command, cwd=tmp_path)
            assert done.returncode == 2
            assert "another stixbridge (process " in done.stderr
        for command in (("run", "--dry-run"), ("status",), ("find", A), ("backup", "copy.db")):
            assert "another stixbridge" not in run(*command, cwd=tmp_path).stderr
    assert run("run", cwd=tmp_path).returncode == 0
    store.close()


def test_a_backup_is_a_store(tmp_path: Path) -> None:
    write(tmp_path, stix.indicator(A))
    assert run("run", cwd=tmp_path).returncode == 0
    done = run("backup", "copy.db", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "copy.db written\n")
    # what came after it, and was not yet written into the file when the process was killed, is
    # forgotten
    write(tmp_path, stix.indicator(B))
    killed = Store(tmp_path / "stixbridge.db")
    killed.suppression.add("after", "the backup", 0)
    for name in ("", "-wal", "-shm"):
        (tmp_path / f"kept{name}").write_bytes((tmp_path / f"stixbridge.db{name}").read_bytes())
    killed.close()
    for name in ("", "-wal", "-shm"):
        (tmp_path / f"kept{name}").replace(tmp_path / f"stixbridge.db{name}")
    assert run("restore", "copy.db", cwd=tmp_path).stdout == "stixbridge.db is now as copy.db was\n"
    write(tmp_path, stix.indicator(A))
    assert run("suppress", cwd=tmp_path).stdout == "nothing is suppressed\n"
    again = run("run", cwd=tmp_path)
    assert (again.returncode, "0 new or newer" in again.stdout) == (0, True)
    wrong = run("restore", "nothing.db", cwd=tmp_path)
    assert (wrong.returncode, "no such file" in wrong.stderr) == (2, True)
    with Store(tmp_path / "stixbridge.db").claimed():
        assert "another stixbridge" in run("restore", "copy.db", cwd=tmp_path).stderr
    wrong = run("backup", "nowhere/copy.db", cwd=tmp_path)
    assert (wrong.returncode, "make it first" in wrong.stderr) == (2, True)


def test_a_backup_that_can_not_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "stixbridge.db")
    (tmp_path / "copy.db").mkdir()
    with pytest.raises(StoreError, match="check the folder's rights"):
        store.backup(tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db"]
    store.close()


def test_old_runs_and_pages_are_forgotten_and_objects_are_not(bridge: Bridge) -> None:
    bridge.store.history = 86_400_000_000 * 30
    bridge.poll(stix.indicator(A), now="2026-01-10T00:00:00Z")
    bridge.run(now="2026-01-11T00:00:00Z")
    count = "SELECT (SELECT count(*) FROM runs) AS runs, (SELECT count(*) FROM pages) AS pages"
    assert bridge.store.database.rows(count)[0]["runs"] == 2
    bridge.run(now="2026-06-01T00:00:00Z")
    assert bridge.store.database.rows(count) == [{"runs": 1, "pages": 0}]
    assert len(bridge.store.database.rows("SELECT * FROM objects")) == 1


# How things stand


def test_status_says_how_things_stand(
    misp: MispDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "*")
    with TaxiiDouble() as server:
        other = server.add_collection("Broken")
        server.add_collection("All")
        server.add("All", [stix.indicator(A)], "2026-01-09T22:00:00.000000Z")
        server.fail_next(404, when=lambda request: other in request.path, times=9)
        sinks = {"misp": {"type": "misp", "url": misp.url, "key": misp.key}}
        bridge = Bridge(tmp_path, sinks, source={"type": "taxii21", "url": server.url}, every="1h")
        assert bridge.run(now="2026-01-10T00:00:00Z").status == 3
    found = status(bridge.config, bridge.store)
    rows = {row["title"]: row for row in found["collections"]}
    assert (rows["All"]["lag"], rows["All"]["error"]) == ("2:00:00", None)
    assert (rows["Broken"]["lag"], "404" in rows["Broken"]["error"]) == (None, True)
    assert found["sources"] == [{"source": "acme", "objects": 1, "vanished": 0}]
    (pipeline,) = found["pipelines"]
    assert pipeline["last_run"] == "2026-01-10T00:00:00.000000Z"
    assert pipeline["next_run"] == "2026-01-10T01:00:00.000000Z"
    assert (pipeline["finished"], len(pipeline["errors"])) == (True, 1)
    bridge.close()


def test_find_knows_the_halves_of_a_value_and_the_store_is_for_its_owner(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, {"out": {"type": "files", "path": str(tmp_path / "out")}})
    pattern = "[network-traffic:dst_ref.value = '198.51.100.7' AND network-traffic:dst_port = 443]"
    bridge.poll(stix.indicator("traffic", pattern))
    for what in ("198.51.100.7", "443", "198.51.100.7|443"):
        assert [row["id"] for row in find(bridge.config, bridge.store, what)] == [
            stix.stix_id("indicator", "traffic")
        ]
    for what in ("198.51.100", "%", "198.51.100._", "44"):
        assert find(bridge.config, bridge.store, what) == []
    bridge.close()
    assert (tmp_path / "stixbridge.db").stat().st_mode & 0o077 == 0
