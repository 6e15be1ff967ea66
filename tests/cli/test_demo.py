"""`stixbridge demo`: runs, says what it did, writes a feed, and changes nothing the second time."""

import json
from pathlib import Path

import pytest
from doubles.misp import MispDouble

from stixbridge.cli import main
from stixbridge.demo.sample import pages
from stixbridge.mapping import TABLES


def test_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MISP_URL", raising=False)
    for _ in range(2):
        assert main(["demo", "-o", str(tmp_path / "demo-out")]) == 0
        out = capsys.readouterr().out
        assert "47 entries, 47 new or newer; events: 3 created, 1 left out" in out
        assert "44 mapped, 3 dropped" in out
        assert "What to type next" in out
    manifest = json.loads((tmp_path / "demo-out" / "feed" / "manifest.json").read_bytes())
    assert len(manifest) == 3


def test_demo_delivers_to_a_misp_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MispDouble() as misp:
        monkeypatch.setenv("MISP_URL", misp.url)
        monkeypatch.setenv("MISP_KEY", misp.key)
        assert main(["demo", "-o", str(tmp_path)]) == 0
        assert len(misp.events) == 4
        assert len(misp.find("192.0.2.40")) == 1
        assert misp.drops == []


def test_the_sample_shows_what_feeds_hold() -> None:
    shown = {obj["type"] for page in pages() for obj in page}
    assert {
        "indicator",
        "report",
        "relationship",
        "sighting",
        "observed-data",
        "file",
        "malware",
    } <= shown
    assert {type_ for type_ in shown if not type_.startswith("x-")} <= set(TABLES)
