"""Polls that bring objects bit by bit end where one poll that brings them all ends: in the same
events.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers.bridge import Bridge
from helpers.generated import bundles
from helpers.length import at_length
from helpers.stix import Stix, indicator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stixbridge import times
from stixbridge.conversion.settings import ConvertSettings
from stixbridge.envelopes import Delivered
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, State
from stixbridge.sources.base import Collection, Page, Source
from stixbridge.stix.reader import read_value
from stixbridge.store import Store

NOW = times.microseconds("2026-02-01T00:00:00Z")


class Polls(Source):
    """A source that brings what it is given, once."""

    name = "acme"

    def __init__(self) -> None:
        self.waiting: list[Stix] = []

    def collections(self) -> list[Collection]:
        return [Collection("c", "c")]

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        brought, self.waiting = self.waiting, []
        # one time for all, so that the day of what has no time of its own is the same
        yield Page(read_value(brought).entries, None, times.microseconds("2026-01-05T12:00:00Z"))

    def close(self) -> None:
        pass


class Held(Sink):
    """A sink that holds what it was given last."""

    def __init__(self) -> None:
        super().__init__("held")
        self.events: dict[str, dict[str, Any]] = {}

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        for job in jobs:
            self.events[job.uuid] = job.event
            yield Delivery(job.uuid, State.DELIVERED, Delivered.of(job.wanted), "updated")

    def shown(self) -> dict[str, dict[str, Any]]:
        """The events that hold something, without times: an event's time is that of its newest
        part.
        """
        return {
            uuid: bare(event)
            for uuid, event in self.events.items()
            if not event["info"].startswith("[withdrawn]")
        }


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items() if key != "timestamp" and item != []}
    return [bare(item) for item in value] if isinstance(value, list) else value


def polled(
    polls: list[list[Stix]], group: str, counts: list[Any] | None = None
) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "s.db")
        source, sink = Polls(), Held()
        maker = Maker("p", "acme", store, settings=ConvertSettings(group=group))
        for objects in polls:
            source.waiting = objects
            summary = Pipeline(maker, source, [sink]).run(NOW)
            assert summary.errors == []
            if counts is not None:
                counts.append((summary.ledger.outcomes, summary.ledger.reasons))
        store.close()
        return sink.shown()


def lasting(obj: Stix) -> bool:
    """Whether an object's life does not end: what ends after it was delivered stays, and else is
    never there.
    """
    return obj.get("revoked") is not True and "valid_until" not in obj


# each example is several runs: a failing one is shown as it is, not made smaller for minutes
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)


MANY = settings(
    max_examples=at_length(400),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=QUICK,
)
POLLS = (
    bundles(),
    st.randoms(use_true_random=False),
    st.integers(2, 4),
    st.sampled_from(["report", "creator", "input"]),
)


def check(objects: list[Stix], chance: Any, count: int, group: str) -> None:
    """Hold several polls, which bring the objects in any order, against one."""
    objects = [obj for obj in objects if lasting(obj)]
    parts: list[list[Stix]] = [[] for _ in range(count)]
    for obj in objects:
        parts[chance.randrange(count)].append(obj)
    bit_by_bit, at_once = polled(parts, group), polled([objects], group)
    assert bit_by_bit.keys() == at_once.keys()
    for uuid, event in at_once.items():
        assert bit_by_bit[uuid] == event


@pytest.mark.long
@settings(MANY, max_examples=40)
@given(*POLLS)
def test_bit_by_bit_ends_where_all_at_once_does(
    objects: list[Stix], chance: Any, count: int, group: str
) -> None:
    check(objects, chance, count, group)


@pytest.mark.slow
@MANY
@given(*POLLS)
def test_bit_by_bit_at_length(objects: list[Stix], chance: Any, count: int, group: str) -> None:
    check(objects, chance, count, group)


@pytest.mark.long
@settings(MANY, max_examples=40)
@given(bundles(), st.integers(1, 9), st.sampled_from(["report", "creator", "day"]))
def test_in_parts_ends_where_all_at_once_does(objects: list[Stix], batch: int, group: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stixbridge.pipeline.batches.BATCH", batch)
        in_parts: list[Any] = []
        parts = polled([objects], group, in_parts)
    at_once: list[Any] = []
    assert parts == polled([objects], group, at_once)
    assert in_parts == at_once  # the ledger too


@pytest.mark.long
@settings(MANY, max_examples=40)
@given(bundles(), st.integers(0, 2**40), st.sampled_from(["report", "creator", "day"]))
def test_what_is_taken_back_leaves_what_was_there_before(
    objects: list[Stix], bits: int, group: str
) -> None:
    """Two polls, of which the second is undone, end where the first alone does; markings, which
    stay, come first.
    """
    objects = list({obj["id"]: obj for obj in objects if lasting(obj)}.values())
    first = [
        obj
        for at, obj in enumerate(objects)
        if obj["type"] == "marking-definition" or bits >> at & 1
    ]
    second = [obj for obj in objects if obj not in first]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "s.db")
        source, sink = Polls(), Held()
        pipeline = Pipeline(
            Maker("p", "acme", store, settings=ConvertSettings(group=group)), source, [sink]
        )
        source.waiting = first
        pipeline.run(NOW)
        source.waiting = second
        number = pipeline.run(NOW).run
        if store.database.rows(
            "SELECT 1 FROM runs WHERE number = :number AND seq_after > seq_before", number=number
        ):
            assert pipeline.undo(number, NOW).errors == []
        source.waiting = second  # it comes again, and stays out
        assert pipeline.run(NOW).errors == []
        store.close()
    assert sink.shown() == polled([first], group)


@pytest.mark.parametrize("group", ["report", "day", "creator", "input"])
def test_what_comes_later_joins_the_collecting_event(group: str, tmp_path: Path) -> None:
    with MispDouble() as misp:
        bridge = Bridge(
            tmp_path, {"misp": {"type": "misp", "url": misp.url, "key": misp.key}}, group=group
        )
        for value in ("198.51.100.1", "198.51.100.2", "198.51.100.3"):
            bridge.poll(indicator(value))
        bridge.close()
        (event,) = misp.events.values()
        live = {row["value"] for row in event["Attribute"] if not row["deleted"]}
        assert live == {"198.51.100.1", "198.51.100.2", "198.51.100.3"}
