"""The contract of a sink: every event arrives once, and nothing goes where it may not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import pytest

from stixbridge.envelopes import Wanted
from stixbridge.errors import StixbridgeError
from stixbridge.pipeline.records import StoreRecord, last_delivery, record_delivery
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, State
from stixbridge.sinks.withdrawal import emptied
from stixbridge.store import Store

Event = dict[str, Any]
_NOW = 1_768_003_200  # 2026-01-10, seconds
_RUNS = 4
"""Runs after which everything has to be there, although one write failed."""


class Target(ABC):
    """A double of the place that a sink writes to; a context manager.

    Attributes:
        writes: how many writes the double has taken or refused; requests that only read do not
            count.
    """

    writes: int = 0

    @abstractmethod
    def sink(self, max_tlp: str | None = None) -> Sink:
        """Make a sink that writes here.

        Args:
            max_tlp: its ceiling; None for the default of the sink.
        """

    @abstractmethod
    def values(self) -> Mapping[str, list[str]]:
        """The values that a reader finds here: UUID of an event -> the values of its attributes.

        Events without values and parts that are marked as deleted may be left out.
        """

    @abstractmethod
    def fail(self, write: int, *, stored: bool) -> None:
        """Let a write fail, once.

        Args:
            write: counted from now, from 1.
            stored: whether it takes effect all the same, as when only its answer is lost.
        """

    def close(self) -> None:  # noqa: B027 - not every double has something to close
        """Stop the double."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass
class Run:
    """One run of a pipeline, as far as a sink is concerned.

    Attributes:
        store: where deliveries are recorded.
        deliveries: the result of each event, by its UUID.
        error: the error that ended the run, or that an event failed with.
    """

    store: Store
    deliveries: dict[str, Delivery]
    error: StixbridgeError | None = None

    @property
    def actions(self) -> list[str]:
        """The action of each delivery, in order of the UUIDs."""
        return [self.deliveries[uuid].action for uuid in sorted(self.deliveries)]


def deliver(store: Store, sink: Sink, *events: Event) -> Run:
    """Deliver events as a pipeline does, with the records of earlier runs.

    Args:
        store: has the records.
        sink: closed in the end.
        events: how they are wanted.
    """
    run = Run(store, {})
    jobs = {str(event["uuid"]): _job(store, sink, event) for event in events}
    try:
        for delivery in sink.deliver(iter(jobs.values())):
            run.deliveries[delivery.event] = delivery
            if delivery.state is State.FAILED:
                run.error = delivery.error
            elif not sink.dry:
                record_delivery(store, sink, jobs[delivery.event], delivery, _NOW * 1_000_000)
    except StixbridgeError as error:
        run.error = error
    finally:
        sink.close()
    return run


def _job(store: Store, sink: Sink, event: Event) -> Job:
    wanted = Wanted.of(event)
    last = last_delivery(store.deliveries.delivered(sink.name, wanted.uuid))
    record = StoreRecord(store, sink.name, wanted.uuid, _NOW * 1_000_000)
    return Job(wanted, last, record, now=_NOW)


class SinkContract:
    """The contract of a sink. Subclasses define the fixture `target`."""

    @pytest.fixture
    def target(self) -> Target:
        """The double of the place, without events."""
        raise NotImplementedError("define the fixture `target`: a stixbridge.testing.Target")

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """A store without records."""
        store = Store(tmp_path / "contract.db")
        yield store
        store.close()

    def test_every_event_arrives_once(self, target: Target, store: Store) -> None:
        """Each value of each event can be read once, and the deliveries say so."""
        run = deliver(store, target.sink(), *_events())
        assert run.error is None
        assert run.actions == ["created"] * 3
        assert {delivery.state for delivery in run.deliveries.values()} == {State.DELIVERED}
        assert _sorted(target) == _wanted(_events())

    def test_an_unchanged_event_is_not_written(self, target: Target, store: Store) -> None:
        """Delivered again as it is, an event is `unchanged` and nothing is written."""
        deliver(store, target.sink(), *_events())
        before = target.writes
        run = deliver(store, target.sink(), *_events())
        assert run.actions == ["unchanged"] * 3
        assert target.writes == before

    def test_a_change_arrives(self, target: Target, store: Store) -> None:
        """A new value is added, and one that is no longer wanted is gone for a reader."""
        deliver(store, target.sink(), *_events())
        run = deliver(store, target.sink(), *_changed())
        assert (run.error, run.actions) == (None, ["updated", "unchanged", "updated"])
        assert _sorted(target) == _wanted(_changed())

    def test_a_withdrawn_event_has_no_values(self, target: Target, store: Store) -> None:
        """An event without parts takes its values away; wanted again, they come back."""
        first, *others = _events()
        deliver(store, target.sink(), first, *others)
        run = deliver(store, target.sink(), emptied(first))
        assert run.error is None
        assert _sorted(target) == _wanted(others)
        run = deliver(store, target.sink(), first)
        assert run.error is None
        assert _sorted(target) == _wanted([first, *others])

    @pytest.mark.parametrize("stored", [False, True], ids=["refused", "answer lost"])
    def test_a_delivery_can_be_cut_at_any_write(
        self, target: Target, store: Store, stored: bool
    ) -> None:
        """One write fails: later runs bring every event, once."""
        before = target.writes
        deliver(store, target.sink(), *_events())
        writes = target.writes - before
        assert writes, "the double counts no writes"
        for write in range(1, writes + 1):
            events = [_renumbered(event, write) for event in _events()]
            target.fail(write, stored=stored)
            runs = [deliver(store, target.sink(), *events) for _ in range(_RUNS)]
            assert runs[-1].error is None, f"write {write} failed once: {runs[-1].error}"
            assert runs[-1].actions == ["unchanged"] * 3, f"write {write} failed"
            values = {
                uuid: rows for uuid, rows in _sorted(target).items() if uuid in _uuids(events)
            }
            assert values == _wanted(events), f"write {write} failed"

    @pytest.mark.parametrize("stored", [False, True], ids=["refused", "answer lost"])
    def test_a_change_can_be_cut_at_any_write(
        self, target: Target, store: Store, stored: bool
    ) -> None:
        """One write of a change fails: later runs bring it."""
        deliver(store, target.sink(), *_events())
        before = target.writes
        deliver(store, target.sink(), *_changed())
        for write in range(1, target.writes - before + 1):
            deliver(store, target.sink(), *_events())
            target.fail(write, stored=stored)
            runs = [deliver(store, target.sink(), *_changed()) for _ in range(_RUNS)]
            assert runs[-1].error is None, f"write {write} failed once: {runs[-1].error}"
            assert _sorted(target) == _wanted(_changed()), f"write {write} failed"

    def test_a_failed_write_is_told(self, target: Target, store: Store) -> None:
        """An event that could not be written is no `delivered` one."""
        target.fail(1, stored=False)
        run = deliver(store, target.sink(), _events()[0])
        assert run.error is not None, "the write failed, and the delivery looks as if it had not"

    def test_nothing_above_the_ceiling_goes_in(self, target: Target, store: Store) -> None:
        """Events and attributes that are stricter than `max_tlp` stay out, and a note says so."""
        red, mixed = _event(1, level="red"), _event(2)
        mixed["Attribute"].append(_attribute(2, 9, level="red"))
        run = deliver(store, target.sink("tlp:amber"), red, mixed)
        assert run.error is None
        assert _sorted(target) == _wanted([_event(2)])
        assert run.deliveries[red["uuid"]].state is State.OUT
        for delivery in run.deliveries.values():
            assert "tlp:red" in str(delivery.notes)

    def test_an_event_that_gets_too_strict_is_withdrawn(self, target: Target, store: Store) -> None:
        """Delivered as GREEN and RED by now: its values go, and its new title does not come."""
        deliver(store, target.sink("tlp:amber"), _event(1), _event(2))
        strict = {**_event(1, level="red"), "info": "a secret title"}
        run = deliver(store, target.sink("tlp:amber"), strict)
        assert (run.error, run.actions) == (None, ["left out"])
        assert _sorted(target) == _wanted([_event(2)])
        run = deliver(store, target.sink("tlp:amber"), _event(1))
        assert _sorted(target) == _wanted([_event(1), _event(2)])

    def test_a_dry_run_tells_what_a_run_then_does(self, target: Target, store: Store) -> None:
        """A dry run writes nothing; its actions are those of the run, and it lists the changes."""
        for events in (_events(), _events(), _changed(), [emptied(_events()[0])]):
            writes, values = target.writes, _sorted(target)
            dry = deliver(store, target.sink().for_dry_run(), *events)
            assert (target.writes, _sorted(target)) == (writes, values), "the dry run wrote"
            run = deliver(store, target.sink(), *events)
            assert dry.error is run.error is None
            assert dry.actions == run.actions
            for uuid, delivery in dry.deliveries.items():
                changed = run.deliveries[uuid].action != "unchanged"
                assert bool(delivery.changes) == changed, delivery.action
                assert run.deliveries[uuid].changes == []

    def test_a_sink_can_be_closed_twice(self, target: Target) -> None:
        """The bridge closes what it made, whatever happened before."""
        sink = target.sink()
        sink.close()
        sink.close()


def _sorted(target: Target) -> dict[str, list[str]]:
    return {uuid: sorted(values) for uuid, values in target.values().items() if values}


def _wanted(events: list[Event]) -> dict[str, list[str]]:
    return {event["uuid"]: sorted(row["value"] for row in event["Attribute"]) for event in events}


def _uuids(events: list[Event]) -> set[str]:
    return {event["uuid"] for event in events}


def _events() -> list[Event]:
    return [_event(number) for number in (1, 2, 3)]


def _changed() -> list[Event]:
    """The first gets one more value, the third has other values."""
    first, second, third = _events()
    first["Attribute"].append(_attribute(1, 8))
    third["Attribute"] = [_attribute(3, 9)]
    return [first, second, third]


def _renumbered(event: Event, by: int) -> Event:
    """The same event under other UUIDs."""
    number = int(UUID(event["uuid"])) & 0xFF
    return _event(number + 10 * by)


def _uuid(number: int) -> str:
    """A UUID as a conversion derives them: of version 5."""
    return str(UUID(int=(0xABCD << 112) | number, version=5))


def _event(number: int, *, level: str = "green") -> Event:
    return {
        "uuid": _uuid(number),
        "info": f"contract {number}",
        "date": "2026-01-10",
        "threat_level_id": "4",
        "analysis": "2",
        "distribution": "0",
        "published": False,
        "timestamp": str(_NOW - 86_400),
        "Tag": [{"name": f"tlp:{level}"}],
        "Attribute": [_attribute(number, part) for part in (1, 2)],
        "Object": [],
    }


def _attribute(event: int, number: int, *, level: str | None = None) -> Event:
    attribute = {
        "uuid": _uuid((event << 16) | number),
        "type": "domain",
        "category": "Network activity",
        "value": f"host{number}.event{event}.example",
        "to_ids": True,
        "disable_correlation": False,
        "distribution": "5" if level is None else "0",
        "comment": "",
        "timestamp": str(_NOW - 86_400),
    }
    return attribute if level is None else {**attribute, "Tag": [{"name": f"tlp:{level}"}]}
