"""A new version of a context object that no event shows remakes nothing, and what shows arrives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import stix
from helpers.stix import Stix

from stixbridge import times
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.pipeline.summary import Summary
from stixbridge.sinks.files import FilesSink
from stixbridge.sources.base import Collection, Page, Source
from stixbridge.stix.reader import read_value
from stixbridge.store import Store

NOW = times.microseconds("2026-02-01T00:00:00Z")


class Feed(Source):
    """Brings what it is given, once."""

    def __init__(self) -> None:
        self.name = "acme"
        self.waiting: list[Stix] = []

    def collections(self) -> list[Collection]:
        return [Collection("c", "c")]

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        brought, self.waiting = self.waiting, []
        yield Page(read_value(brought).entries, None)


class Bridge:
    """A pipeline to a folder."""

    def __init__(self, folder: Path) -> None:
        self.feed = Feed()
        self.folder = folder / "out"
        self.store = Store(folder / "s.db")
        self.maker = Maker("p", "acme", self.store)
        self._pipeline = Pipeline(self.maker, self.feed, [FilesSink(self.folder)])

    def poll(self, *objects: Stix, replay: bool = False) -> Summary:
        self.feed.waiting = list(objects)
        summary = self._pipeline.run(NOW, replay=replay)
        assert summary.errors == []
        return summary

    @property
    def events(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def malware(name: str, **more: Any) -> Stix:
    return {
        "type": "malware",
        "spec_version": "2.1",
        "id": stix.stix_id("malware", "m"),
        "created": stix.EARLY,
        "modified": stix.EARLY,
        "name": name,
        "is_family": True,
        **more,
    }


def world(context: Stix) -> list[Stix]:
    """Reports that name a context object, and an indicator in none that is linked to it."""
    rows = [stix.indicator(f"192.0.2.{at}") for at in range(9)]
    reports = [stix.report(f"report {at}", [rows[at], context]) for at in range(4)]
    links = [stix.relationship(row, "indicates", context) for row in rows[:2] + rows[-1:]]
    return [*rows, *reports, *links, context]


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    made = Bridge(tmp_path)
    yield made
    made.store.close()


def test_what_no_event_shows_remakes_nothing(bridge: Bridge) -> None:
    bridge.poll(*world(malware("Emotet")))
    before = bridge.events
    summary = bridge.poll(malware("Emotet", lang="en", modified=stix.LATER))
    assert (summary.changed, summary.events, bridge.events) == (1, {}, before)
    assert summary.ledger.outcomes["mapped"] == 1
    assert bridge.poll(replay=True).events == {"unchanged": len(before)}


@pytest.mark.parametrize("name", ["Emotet", "Unheard-of example"])
@pytest.mark.parametrize(
    "change",
    [
        {"description": "new"},
        {"name": "Another example"},
        {"aliases": ["Alias example"]},
        {"labels": ["label"]},
        {"confidence": 20},
        {"revoked": True},
        {"is_family": False},
        {"external_references": [{"source_name": "x", "url": "https://x.example/"}]},
        {"object_marking_refs": [stix.MARKINGS["red"]]},
        {"kill_chain_phases": [{"kill_chain_name": "k", "phase_name": "p"}]},
        {"malware_types": ["bot"]},
        {"x_example": "custom"},
    ],
)
def test_whatever_shows_arrives(bridge: Bridge, name: str, change: Stix) -> None:
    bridge.poll(*world(malware(name)))
    bridge.poll({**malware(name), "modified": stix.LATER, **change})
    events = bridge.events
    assert set(bridge.poll(replay=True).events) == {"unchanged"}
    assert bridge.events == events


def test_an_update_that_was_not_delivered_is_not_the_base(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name changes in a run that is cut, then the description: the name arrives."""
    bridge.poll(*world(malware("Emotet")))
    with monkeypatch.context() as patch:
        patch.setattr(bridge.maker, "make", None)
        with pytest.raises(TypeError):
            bridge.poll(malware("Another example", modified=stix.LATER))
    bridge.poll(malware("Another example", description="new", modified=stix.LAST))
    assert all(b"Another example" in event for event in bridge.events.values())
