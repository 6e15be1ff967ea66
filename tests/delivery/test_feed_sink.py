"""The feed folder: what MISP reads of it, and what it must find there when something changes or
goes.
"""

import csv
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from helpers import delivering, stix
from helpers.bridge import Bridge, actions, reasons
from helpers.delivering import Delivering, attribute, event, tags
from helpers.stix import LAST, LATER, address, indicator, relationship, report, uuid_in

from stixbridge.errors import ConfigError
from stixbridge.sinks.delivery import State
from stixbridge.sinks.feed.signing import Signer
from stixbridge.sinks.feed.sink import FeedSink

IP = "198.51.100.7"
OTHER = "198.51.100.8"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"


class Folder:
    """Reads the folder as MISP does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "manifest.json").read_text()))

    def event(self, uuid: str) -> dict[str, Any]:
        return dict(json.loads((self.path / f"{uuid}.json").read_text())["Event"])

    def only(self) -> dict[str, Any]:
        """The one event that is in the manifest."""
        (uuid,) = self.manifest
        return self.event(uuid)

    def part(self, value: str) -> dict[str, Any]:
        """The one attribute with a value, deleted or not."""
        found = []
        for uuid in self.manifest:
            event = self.event(uuid)
            inner = [row for obj in event["Object"] for row in obj["Attribute"]]
            found += [row for row in [*event["Attribute"], *inner] if row["value"] == value]
        assert len(found) == 1, found
        return found[0]

    def hashes(self) -> set[tuple[str, str]]:
        """(MD5 of a value, event)."""
        with (self.path / "hashes.csv").open(newline="") as file:
            return {(row[0], row[1]) for row in csv.reader(file)}

    def content(self) -> dict[str, tuple[bytes, int]]:
        """Every file with its content and the time it was written."""
        return {
            file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in self.path.iterdir()
        }

    def text(self) -> str:
        """All that anyone can read there."""
        return "".join(file.read_text() for file in self.path.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "feed")


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    made = Bridge(tmp_path, {"feed": {"type": "feed", "path": str(tmp_path / "feed")}})
    yield made
    made.close()


def digest(value: str) -> str:
    return md5(value.encode(), usedforsecurity=False).hexdigest()


def live(part: dict[str, Any]) -> bool:
    return part.get("deleted") in (None, False)


# what is there


def test_an_event_has_what_misp_needs(folder: Folder, bridge: Bridge) -> None:
    wave = report("wave", [indicator(IP)], tlp="green", description="What happened")
    assert actions(bridge.poll(wave, indicator(IP))) == {"created": 1}
    event_uuid = uuid_in(wave["id"])
    event = folder.event(event_uuid)
    assert (event["uuid"], event["info"], event["date"], event["published"]) == (
        event_uuid,
        "wave",
        "2026-01-05",
        True,
    )
    assert (
        set(event["Orgc"]) == {"name", "uuid"} and event["publish_timestamp"] == event["timestamp"]
    )
    assert {"name": "tlp:green", "colour": "#33FF00"} in event["Tag"]
    assert [row["name"] for row in event["EventReport"]] == ["Description"]
    entry = folder.manifest[event_uuid]
    assert entry == {name: event[name] for name in entry}
    assert set(entry) == {"Orgc", "Tag", "info", "date", "analysis", "threat_level_id", "timestamp"}
    assert folder.hashes() == {(digest(IP), event_uuid)}


def test_the_organisation_is_the_configured_one(folder: Folder, tmp_path: Path) -> None:
    orgc = {"name": "ACME", "uuid": "6f6a5f2e-7f0c-4b52-8c1b-4d3f0a9c2e11"}
    bridge = Bridge(tmp_path, {"feed": {"type": "feed", "path": str(folder.path), "orgc": orgc}})
    bridge.poll(indicator(IP))
    bridge.close()
    assert folder.only()["Orgc"] == orgc and next(iter(folder.manifest.values()))["Orgc"] == orgc


def test_each_half_of_a_composite_is_hashed(folder: Folder, bridge: Bridge) -> None:
    bridge.poll(
        indicator("file", f"[file:name = 'evil.exe' AND file:hashes.MD5 = '{MD5}']"),
        indicator(
            "pair",
            (
                "[domain-name:value = 'evil.example' AND domain-name:resolves_to_refs[*].value = "
                "'192.0.2.1']"
            ),
        ),
        indicator("url", "[url:value = 'http://evil.example/a|b']"),
    )
    (event_uuid,) = folder.manifest
    assert folder.hashes() == {
        (digest(value), event_uuid)
        for value in ("evil.exe", MD5, "evil.example", "192.0.2.1", "http://evil.example/a|b")
    }  # fmt: skip


def test_nothing_changes_on_a_second_run(folder: Folder, bridge: Bridge) -> None:
    one, two = indicator(IP, tlp="green"), indicator(OTHER, tlp="amber")
    bridge.poll(one, two, report("wave", [one]), relationship(one, "related-to", two))
    bridge.poll(
        report("wave", [two], modified=LATER), now="2026-01-10T01:00:00Z"
    )  # leaves tombstones
    before = folder.content()
    summary = bridge.run(now="2026-01-11T00:00:00Z")
    assert summary.errors == [] and folder.content() == before
    replay = bridge.poll(one, two, report("wave", [one]), now="2026-01-12T00:00:00Z")
    assert replay.errors == [] and folder.content() == before


def test_a_cut_run_is_finished_by_the_next(
    folder: Folder, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stixbridge.sinks.feed import sink

    real = sink.write_atomically

    def cut(path: Path, data: bytes) -> None:
        if path.name in ("manifest.json", "hashes.csv"):
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(sink, "write_atomically", cut)
    with pytest.raises(KeyboardInterrupt):
        bridge.poll(indicator(IP))
    assert not (folder.path / "manifest.json").exists()
    monkeypatch.undo()
    bridge.run()
    assert folder.only()["Attribute"][0]["value"] == IP
    assert {value for value, _ in folder.hashes()} == {digest(IP)}


# what changes


def test_a_change_is_seen_by_newer_timestamps(folder: Folder, bridge: Bridge) -> None:
    bridge.poll(indicator(IP), indicator(OTHER))
    (event_uuid,) = folder.manifest
    event, before, other = folder.event(event_uuid), folder.part(IP), folder.part(OTHER)
    bridge.poll(indicator(IP, modified=LATER, name="C2"))
    now = folder.event(event_uuid)
    assert folder.part(IP)["comment"] == "C2"
    assert int(folder.part(IP)["timestamp"]) > int(before["timestamp"])
    assert int(now["timestamp"]) > int(event["timestamp"])
    assert folder.manifest[event_uuid]["timestamp"] == now["timestamp"] == now["publish_timestamp"]
    assert folder.part(OTHER) == other


def test_a_clock_that_stands_still_still_makes_newer_timestamps(
    folder: Folder, bridge: Bridge
) -> None:
    seen = []
    for number in range(3):
        stamp = f"2026-01-06T00:00:00.{number}00Z"
        bridge.poll(
            indicator(IP, modified=stamp, name=f"name {number}"), now="2026-01-06T00:00:01Z"
        )
        seen.append((int(folder.only()["timestamp"]), int(folder.part(IP)["timestamp"])))
    assert seen[0][0] < seen[1][0] < seen[2][0] and seen[0][1] < seen[1][1] < seen[2][1]


def test_a_withdrawn_part_stays_as_a_tombstone(folder: Folder, bridge: Bridge) -> None:
    one, two = indicator(IP), indicator(OTHER)
    file = indicator("file", f"[file:hashes.MD5 = '{MD5}' AND file:size = 42]")
    bridge.poll(one, two, file, report("wave", [one, two, file], description="text"))
    event_uuid = uuid_in(report("wave", [])["id"])
    before = folder.event(event_uuid)
    bridge.poll(report("wave", [one], modified=LATER))
    event = folder.event(event_uuid)
    old = {
        row["uuid"]: row for name in ("Attribute", "Object", "EventReport") for row in before[name]
    }
    now = {
        row["uuid"]: row for name in ("Attribute", "Object", "EventReport") for row in event[name]
    }
    assert set(now) == set(old)
    gone = {uuid for uuid, row in now.items() if not live(row)}
    stays = next(row["uuid"] for row in before["Attribute"] if row["value"] == IP)
    assert gone == set(old) - {stays}
    for uuid in gone:
        assert int(now[uuid]["timestamp"]) > int(old[uuid]["timestamp"])
    (obj,) = event["Object"]
    assert all(row["deleted"] and row["timestamp"] == obj["timestamp"] for row in obj["Attribute"])
    assert event["EventReport"][0]["content"] == ""
    assert now[stays] == old[stays]
    assert {value for value, holder in folder.hashes() if holder == event_uuid} == {digest(IP)}


def test_a_part_that_comes_back_says_that_it_lives(folder: Folder, bridge: Bridge) -> None:
    """MISP keeps a part deleted that comes again without `deleted: false`."""
    one, two = indicator(IP), indicator(OTHER)
    wave = report("wave", [one, two])
    event_uuid = uuid_in(wave["id"])
    bridge.poll(one, two, wave)
    bridge.poll(report("wave", [one], modified=LATER))
    (stone,) = [row for row in folder.event(event_uuid)["Attribute"] if row["value"] == OTHER]
    bridge.poll(report("wave", [one, two], modified=LAST))
    (again,) = [row for row in folder.event(event_uuid)["Attribute"] if row["value"] == OTHER]
    assert stone["deleted"] is True and again["deleted"] is False
    assert int(again["timestamp"]) > int(stone["timestamp"])
    before = folder.content()
    bridge.run(now="2026-01-12T00:00:00Z")
    assert folder.content() == before


def test_a_tag_that_goes_stays_as_deleted(folder: Folder, bridge: Bridge) -> None:
    one = indicator(IP, tlp="green", labels=["a"])
    wave = report("wave", [one], tlp="green")
    bridge.poll(one, wave)
    bridge.poll(
        indicator(IP, tlp="amber", modified=LATER),
        report("wave", [one], tlp="amber", modified=LATER),
    )
    event = folder.only()
    for part in (event, event["Attribute"][0]):
        marks = {
            tag["name"]: tag.get("deleted", False)
            for tag in part["Tag"]
            if tag["name"].startswith("tlp:")
        }
        assert marks == {"tlp:green": True, "tlp:amber": False}
    shown = {tag["name"] for tag in folder.manifest[event["uuid"]]["Tag"]}
    assert "tlp:amber" in shown and "tlp:green" not in shown


def test_an_expired_indicator_loses_to_ids(folder: Folder, bridge: Bridge) -> None:
    bridge.poll(indicator(IP, valid_until="2026-01-11T00:00:00Z"), now="2026-01-10T00:00:00Z")
    before = folder.part(IP)
    bridge.run(now="2026-01-11T00:00:00Z")
    after = folder.part(IP)
    assert (before["to_ids"], after["to_ids"], live(after)) == (True, False, True)
    assert int(after["timestamp"]) > int(before["timestamp"])
    assert [row["type"] for row in after["Sighting"]] == ["2"]


def test_a_withdrawn_event_stays_in_the_manifest(folder: Folder, bridge: Bridge) -> None:
    one = indicator(IP, tlp="green")
    bridge.poll(one)
    (event_uuid,) = folder.manifest
    before = folder.manifest[event_uuid]
    bridge.poll(report("wave", [one]))
    assert len(folder.manifest) == 2
    event = folder.event(event_uuid)
    assert event["info"] == f"[withdrawn] {before['info']}"
    assert event["Attribute"] and not any(live(row) for row in event["Attribute"])
    assert int(folder.manifest[event_uuid]["timestamp"]) > int(before["timestamp"])
    assert folder.manifest[event_uuid]["info"] == event["info"]
    assert {holder for _, holder in folder.hashes()} == {uuid_in(report("wave", [])["id"])}
    stored = folder.content()
    bridge.run(now="2026-01-12T00:00:00Z")
    assert folder.content() == stored


# what must not be there


def test_red_stays_out(folder: Folder, bridge: Bridge) -> None:
    inside = indicator(OTHER)
    summary = bridge.poll(
        indicator(IP, tlp="red"),
        inside,
        report("secret plan", [inside], tlp="red"),
        indicator("192.0.2.1", tlp="amber"),
    )
    assert summary.errors == []
    assert [row["info"] for row in folder.manifest.values()] == [
        "acme – indicators 2026-01-05 (TLP:AMBER)"
    ]
    assert not {"secret plan", IP, OTHER} & set(folder.text().split('"'))
    assert {value for value, _ in folder.hashes()} == {digest("192.0.2.1")}
    assert "marking" in reasons(summary)


def test_red_stays_out_of_a_green_report(folder: Folder, bridge: Bridge) -> None:
    red = indicator(IP, tlp="red", name="from Bob", description="first line\nBob told us")
    wave = report("wave", [red, indicator(OTHER)], tlp="green")
    assert (
        bridge.poll(
            red, indicator(OTHER), wave, relationship(red, "related-to", indicator(OTHER))
        ).errors
        == []
    )
    text = folder.text()
    assert OTHER in text
    assert IP not in text
    assert "Bob" not in text
    assert folder.hashes() == {(digest(OTHER), uuid_in(wave["id"]))}


def test_red_is_let_in_where_the_configuration_says_so(folder: Folder, tmp_path: Path) -> None:
    bridge = Bridge(
        tmp_path, {"feed": {"type": "feed", "path": str(folder.path), "max_tlp": "tlp:red"}}
    )
    bridge.poll(indicator(IP, tlp="red"))
    bridge.close()
    assert folder.part(IP)["value"] == IP


def test_red_stays_out_of_a_sink_made_by_hand(folder: Folder) -> None:
    event_uuid = "6f6a5f2e-7f0c-4b52-8c1b-4d3f0a9c2e11"
    wanted = event(event_uuid, attribute(event_uuid, IP), Tag=tags("tlp:red"))
    assert Delivering(FeedSink(folder.path))(wanted).state is State.OUT
    assert not list(folder.path.iterdir())


def test_amber_stays_out_where_the_configuration_says_so(folder: Folder, tmp_path: Path) -> None:
    bridge = Bridge(
        tmp_path, {"feed": {"type": "feed", "path": str(folder.path), "max_tlp": "tlp:green"}}
    )
    bridge.poll(indicator(IP, tlp="amber"), indicator(OTHER, tlp="green"))
    bridge.close()
    assert IP not in folder.text() and folder.part(OTHER)["value"] == OTHER


def test_an_event_that_turns_red_is_withdrawn_without_its_news(
    folder: Folder, bridge: Bridge
) -> None:
    one, two = indicator(IP), indicator(OTHER)
    wave = report("wave", [one], tlp="green", description="old text")
    bridge.poll(one, two, wave)
    event_uuid = uuid_in(wave["id"])
    before = folder.manifest[event_uuid]
    bridge.poll(
        {
            **report("wave", [one, two], tlp="red", modified=LATER, description="new text"),
            "name": "Operation Bob",
        }
    )
    event = folder.event(event_uuid)
    assert event["info"] == "[withdrawn] wave"
    assert not any(live(row) for name in ("Attribute", "EventReport") for row in event[name])
    assert int(folder.manifest[event_uuid]["timestamp"]) > int(before["timestamp"])
    assert not any(word in folder.text() for word in ("Operation Bob", "new text", "old text"))
    stored = folder.content()
    bridge.run(now="2026-01-12T00:00:00Z")
    assert folder.content() == stored


def test_a_part_that_turns_red_is_a_tombstone(folder: Folder, bridge: Bridge) -> None:
    one, two = indicator(IP), indicator(OTHER)
    bridge.poll(one, two, report("wave", [one, two], tlp="green"))
    bridge.poll(indicator(IP, tlp="red", modified=LATER, name="from Bob"))
    assert live(folder.part(OTHER)) and not live(folder.part(IP))
    assert "Bob" not in folder.text()
    assert {value for value, _ in folder.hashes()} == {digest(OTHER)}


def test_what_can_not_be_marked_stays_out(folder: Folder, bridge: Bridge) -> None:
    """A marking that no tag can express keeps its element at distribution 0; a folder knows no
    distribution.
    """
    unknown = {
        **indicator(IP),
        "object_marking_refs": ["marking-definition--00000000-0000-4000-8000-00000000000e"],
    }
    bridge.poll(unknown, indicator(OTHER), report("wave", [unknown, indicator(OTHER)], tlp="green"))
    assert folder.part(OTHER)["value"] == OTHER
    assert IP not in folder.text()


def test_a_report_that_can_not_be_marked_stays_out(folder: Folder, bridge: Bridge) -> None:
    unknown = ["marking-definition--00000000-0000-4000-8000-00000000000e"]
    bridge.poll(
        indicator(IP),
        {**report("wave", [indicator(IP)]), "object_marking_refs": unknown},
        indicator(OTHER),
    )
    assert folder.part(OTHER)["value"] == OTHER
    assert IP not in folder.text() and "wave" not in folder.text()


# trouble


def test_a_level_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"purple.*tlp:red"):
        FeedSink(tmp_path / "feed", max_tlp="purple")


def test_a_manifest_that_is_none_is_not_overwritten(folder: Folder, bridge: Bridge) -> None:
    folder.path.mkdir(exist_ok=True)
    (folder.path / "manifest.json").write_text("my notes")
    with pytest.raises(ConfigError, match="manifest"):
        bridge.poll(indicator(IP))
    assert (folder.path / "manifest.json").read_text() == "my notes"


def test_an_observable_that_becomes_an_indicator_keeps_its_uuid(
    folder: Folder, bridge: Bridge
) -> None:
    wave = report("wave", [address(IP), indicator(IP)])
    bridge.poll(wave, address(IP))
    before = folder.part(IP)
    bridge.poll(indicator(IP))
    after = folder.part(IP)
    assert (before["uuid"], before["to_ids"], after["to_ids"]) == (after["uuid"], False, True)
    assert int(after["timestamp"]) > int(before["timestamp"])


# a signature


@pytest.fixture
def gnupg(tmp_path: Path) -> Iterator[Path]:
    """A GnuPG folder with a key of its own."""
    if shutil.which("gpg") is None:
        pytest.skip("needs GnuPG")
    with tempfile.TemporaryDirectory(
        prefix="gpg"
    ) as place:  # the agent's socket wants a short path
        home = Path(place)
        home.chmod(0o700)
        gpg(
            home,
            "--passphrase",
            "",
            "--quick-generate-key",
            "feed@example.org",
            "ed25519",
            "sign",
            "never",
        )
        yield home
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def gpg(home: Path, *arguments: str) -> int:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode


def holds(home: Path, folder: Path) -> bool:
    """What a partner does."""
    verified = (
        gpg(home, "--verify", str(folder / "SHA256SUMS.asc"), str(folder / "SHA256SUMS")) == 0
    )
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    summed = subprocess.run(check, cwd=folder, capture_output=True, check=False)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    there = {path.name for path in folder.iterdir()} - {"SHA256SUMS", "SHA256SUMS.asc"}
    return verified and summed.returncode == 0 and {line.split("  ")[1] for line in lines} == there


def test_a_folder_is_signed_after_each_change(gnupg: Path, tmp_path: Path) -> None:
    folder = tmp_path / "feed"
    settings = {
        "type": "feed",
        "path": str(folder),
        "sign": "feed@example.org",
        "gnupg_home": str(gnupg),
    }
    bridge = Bridge(tmp_path, {"feed": settings})
    assert bridge.poll(stix.indicator("198.51.100.1")).errors == []
    assert holds(gnupg, folder)
    before = (folder / "SHA256SUMS.asc").read_bytes()
    bridge.run()
    assert (folder / "SHA256SUMS.asc").read_bytes() == before
    one = stix.indicator("198.51.100.2")
    bridge.poll(one, stix.report("wave", [one]))
    assert holds(gnupg, folder)
    event = next(folder.glob("*-*.json"))
    event.write_bytes(event.read_bytes() + b" ")
    assert not holds(gnupg, folder)
    bridge.close()


def test_a_signature_that_was_cut_is_made_in_the_next_run(
    gnupg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "feed"
    settings = {
        "type": "feed",
        "path": str(folder),
        "sign": "feed@example.org",
        "gnupg_home": str(gnupg),
    }
    bridge = Bridge(tmp_path, {"feed": settings})
    bridge.poll(stix.indicator("198.51.100.1"))
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Signer, "sign", killed)
        with pytest.raises(KeyboardInterrupt):
            bridge.poll(stix.indicator("198.51.100.2"))
    assert not holds(gnupg, folder)
    assert bridge.run().errors == []
    assert holds(gnupg, folder)
    bridge.close()


@pytest.mark.parametrize("key", ["nobody@example.org", "--version"])
def test_a_key_that_is_none_is_said_before_anything_is_done(gnupg: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=r"sign: .*'(nobody@example.org|--version)'"):
        Signer(key, gnupg)


# analyst data, references, lost files


def test_a_note_about_a_report_is_in_its_event(folder: Folder, bridge: Bridge) -> None:
    one = stix.indicator("198.51.100.1")
    wave = stix.report("wave", [one])
    note = {
        "type": "note", "spec_version": "2.1", "id": stix.stix_id("note", "n"),
        "created": stix.EARLY, "modified": stix.EARLY, "content": "look at it",
        "object_refs": [wave["id"]],
    }  # fmt: skip
    bridge.poll(one, wave, note)
    (stored,) = folder.only()["Note"]
    assert stored["note"] == "look at it"
    before = folder.only()
    bridge.poll(one)
    assert folder.only() == before


def test_a_reference_that_goes_stays_as_a_tombstone(tmp_path: Path) -> None:
    event_uuid = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
    obj, part = delivering.file_object(event_uuid), delivering.attribute(event_uuid, "198.51.100.1")
    reference = {
        "uuid": delivering.derived(event_uuid, "ref"), "object_uuid": obj["uuid"],
        "referenced_uuid": part["uuid"], "relationship_type": "connects-to", "comment": "",
        "timestamp": str(delivering.SECONDS),
    }  # fmt: skip
    deliver = delivering.Delivering(FeedSink(tmp_path))
    deliver(delivering.event(event_uuid, part, Object=[{**obj, "ObjectReference": [reference]}]))
    deliver(delivering.event(event_uuid, part, Object=[obj]))
    (stored,) = json.loads((tmp_path / f"{event_uuid}.json").read_text())["Event"]["Object"][0][
        "ObjectReference"
    ]
    assert stored["deleted"] is True
    assert int(stored["timestamp"]) > delivering.SECONDS - 1


def test_an_event_whose_file_was_lost_is_newer_than_the_manifest_says(tmp_path: Path) -> None:
    event_uuid = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
    part = delivering.attribute(event_uuid, "198.51.100.1")
    deliver = delivering.Delivering(FeedSink(tmp_path))
    deliver(delivering.event(event_uuid, part))
    deliver(delivering.event(event_uuid, {**part, "comment": "newer"}))
    listed = json.loads((tmp_path / "manifest.json").read_text())[event_uuid]["timestamp"]
    (tmp_path / f"{event_uuid}.json").unlink()
    older = delivering.event(
        event_uuid, {**part, "to_ids": False}, timestamp=str(delivering.SECONDS - 1_000)
    )
    deliver(older)
    assert int(json.loads((tmp_path / "manifest.json").read_text())[event_uuid]["timestamp"]) > int(
        listed
    )


def test_an_emoji_is_mended_in_a_feed_too(tmp_path: Path) -> None:
    event_uuid = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
    made = delivering.event(
        event_uuid, delivering.attribute(event_uuid, "198.51.100.1", comment="x\N{FIRE}y")
    )
    delivery = delivering.Delivering(FeedSink(tmp_path))(made)
    assert [reason for _, reason in delivering.noted(delivery)] == ["mended"]
    (row,) = json.loads((tmp_path / f"{event_uuid}.json").read_text())["Event"]["Attribute"]
    assert row["comment"] == r"x\u{1F525}y"
