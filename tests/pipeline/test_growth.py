"""The work of a run grows with what changed, and a batch is bounded by what its events hold.

Counted are the objects that conversions are given, not seconds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import stix
from helpers.stix import Stix

from stixbridge import times
from stixbridge.conversion.settings import ConvertSettings
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.sinks.files import FilesSink
from stixbridge.sources.base import Collection, Page, Source
from stixbridge.stix.reader import read_value
from stixbridge.store import Store

NOW = times.microseconds("2026-02-01T00:00:00Z")
SMALL = 25
LARGE = 8 * SMALL


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
    """A pipeline that counts the objects of each conversion."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.sizes: list[int] = []
        self.feed = Feed()
        self._store = Store(folder / "s.db")
        maker = Maker("p", "acme", self._store, settings=ConvertSettings(group="day"))
        convert = maker._convert

        def counted(selection: Any, *rest: Any) -> Any:
            self.sizes.append(len(selection.objects))
            return convert(selection, *rest)

        monkeypatch.setattr(maker, "_convert", counted)
        self._pipeline = Pipeline(maker, self.feed, [FilesSink(folder / "out")])

    def poll(self, objects: list[Stix]) -> list[int]:
        """Run with some objects; the sizes of the conversions."""
        self.feed.waiting = objects
        self.sizes.clear()
        summary = self._pipeline.run(NOW)
        assert summary.errors == []
        return list(self.sizes)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stixbridge.pipeline.batches.BATCH", 10)


def actor() -> Stix:
    """An actor."""
    return {
        "type": "threat-actor",
        "spec_version": "2.1",
        "id": stix.stix_id("threat-actor", "example"),
        "created": stix.EARLY,
        "modified": stix.EARLY,
        "name": "APT Example",
    }


def days_apart(count: int) -> list[Stix]:
    """Indicators that were created on seven days and modified on five others."""
    return [
        stix.indicator(
            f"host {at}",
            f"[domain-name:value = 'h{at}.example']",
            created=f"2026-01-0{at % 7 + 1}T00:00:00.000Z",
            modified=f"2026-01-1{at % 5}T00:00:00.000Z",
        )
        for at in range(count)
    ]


def linked(count: int) -> list[Stix]:
    """The same with an actor that all of them indicate."""
    group = actor()
    rows = days_apart(count)
    return [*rows, group, *(stix.relationship(row, "indicates", group) for row in rows)]


def in_reports(count: int) -> list[Stix]:
    """Reports of five indicators each, and an actor that all of them name."""
    group = actor()
    rows = days_apart(count)
    reports = [
        stix.report(f"report {at}", [*rows[at : at + 5], group]) for at in range(0, count, 5)
    ]
    return [*rows, group, *reports]


@pytest.mark.parametrize("kind", [days_apart, linked, in_reports])
def test_a_first_run_is_linear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    small = sum(Bridge(tmp_path / "small", monkeypatch).poll(kind(SMALL)))
    large = sum(Bridge(tmp_path / "large", monkeypatch).poll(kind(LARGE)))
    assert large <= 8 * 1.3 * small


def test_equal_values_of_different_days_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = [
        stix.indicator(
            f"again {at}",
            f"[domain-name:value = 'h{at}.example']",
            created="2026-01-20T00:00:00.000Z",
        )
        for at in range(LARGE)
    ]
    sizes = Bridge(tmp_path / "b", monkeypatch).poll([*days_apart(LARGE), *twice])
    assert sum(sizes) <= 2.2 * LARGE


def test_a_context_that_all_reports_name_is_remade_in_bounded_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = Bridge(tmp_path / "b", monkeypatch)
    bridge.poll(in_reports(LARGE))
    renamed = {**actor(), "aliases": ["Other"], "modified": stix.LATER}
    sizes = bridge.poll([renamed])
    assert len(sizes) >= LARGE / 10
    assert max(sizes) <= 30


def test_one_new_object_remakes_its_event_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = Bridge(tmp_path / "b", monkeypatch)
    bridge.poll(in_reports(LARGE))
    changed = {**days_apart(1)[0], "modified": stix.LATER, "name": "another"}
    assert sum(bridge.poll([changed])) <= 10
