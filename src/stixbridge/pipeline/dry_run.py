"""A dry run: everything but writing, on a copy of the store, with sinks that read and imagine what they write."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stixbridge.envelopes import Delivered
from stixbridge.errors import ServerError
from stixbridge.misp.model import MispEvent, all_attributes, tag_names
from stixbridge.pipeline.pipeline import Pipeline, Summary
from stixbridge.sinks.base import Delivery, Job, Note, Sink, State, emptied, parts
from stixbridge.sinks.event_diff import told
from stixbridge.sinks.misp.tags import with_plain_tags


def rehearse(
    pipeline: Pipeline,
    now: int | None = None,
    *,
    replay: bool = False,
    full: bool = False,
    undo: int | None = None,
) -> Summary:
    """A dry run: everything but writing.

    A MISP is asked what it has, so that what is told is what a run would do; one that can't be asked is an error in the
    summary, and what is told of it is by the store alone.

    Args:
        pipeline: as configured; its store is only read, and so are its sinks.
        now: the reference time, microseconds.
        replay: as for `Pipeline.run`.
        full: the same.
        undo: the number of a run to take back.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = pipeline.store.copy_to(Path(folder) / "dry.db")
        try:
            problems: list[ServerError] = []
            sinks = [_Measured(_readable(sink, problems)) for sink in pipeline.sinks]
            dry = Pipeline(
                pipeline.maker.on(copy),
                pipeline.source,
                sinks,
                reach=pipeline.reach,
                guard=pipeline.guard,
                guard_stops=False,
                progress=pipeline.say,
            )
            summary = (
                dry.undo(undo, now) if undo is not None else dry.run(now, replay=replay, full=full)
            )
            for sink in sinks:
                summary.volume = dict(Counter(summary.volume) + sink.total())
            for problem in problems:
                summary.errors.append(f"{problem}; what is told of it here is by the store alone")
                summary.status = max(summary.status, problem.exit_status)
            return summary
        finally:
            copy.close()


def _readable(sink: Sink, problems: list[ServerError]) -> Sink:
    """The rehearsal of a sink that can be read; else one that asks nobody."""
    rehearsal = sink.rehearsal()
    try:
        rehearsal.limits()
    except ServerError as error:
        problems.append(error)
        return _Unasked(sink)
    return rehearsal


class _Measured:
    """A rehearsing sink that counts what would be sent.

    Args (of the constructor):
        sink: from `Sink.rehearsal`.
    """

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self.settings = sink.settings
        self.restores = sink.restores
        self._sink = sink
        self.allowed = sink.allowed
        self.limits = sink.limits
        self.others_work = sink.others_work
        self.false_positives = sink.false_positives
        self.rehearsal = sink.rehearsal
        self.lacks = sink.lacks
        self.close = sink.close
        self._volume: Counter[str] = Counter()
        self._tags: set[str] = set()

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Deliver, and count; see `Sink`."""
        before: dict[str, set[str]] = {}

        def seen() -> Iterator[Job]:
            for job in jobs:
                before[job.uuid] = parts(job.last.body) if job.last is not None else set()
                yield job

        for delivery in self._sink.deliver(seen()):
            if delivery.changes:
                self._measure(delivery.body, before.pop(delivery.event))
            yield delivery

    def _measure(self, event: MispEvent, there: set[str]) -> None:
        """Count what is new in an event."""
        attributes = all_attributes(event)
        self._volume["attributes"] += sum(str(row["uuid"]) not in there for row in attributes)
        self._volume["objects"] += sum(
            str(row["uuid"]) not in there for row in event.get("Object") or ()
        )
        for part in (event, *attributes):
            self._tags.update(tag_names(part))

    def total(self) -> Counter[str]:
        """What would be sent, and what the sink does not have yet."""
        clusters = sum(name.startswith("misp-galaxy:") for name in self._tags)
        found = self._volume + Counter({"tags": len(self._tags) - clusters, "clusters": clusters})
        return found + Counter(self.lacks(self._tags)) if self._tags else found


class _Unasked:
    """In place of a sink that can't be asked: what was delivered is what is there.

    Args (of the constructor):
        sink: the sink.
    """

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self.settings = sink.settings
        self.restores = sink.restores
        self.allowed = sink.allowed

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Say what would change in what was delivered; see `Sink`."""
        for job in jobs:
            uuid, notes = job.uuid, list[Note]()
            before = with_plain_tags(job.last.delivered) if job.last is not None else {}
            there = job.last is not None and job.last.state is not State.OUT
            allowed = self.allowed(job.wanted, notes)
            if allowed is None and not there:
                delivered = Delivered.of(job.wanted)
                yield Delivery(uuid, State.OUT, delivered, "left out", notes=notes)
                continue
            action = "left out" if allowed is None else "updated" if there else "created"
            event = emptied(before) if allowed is None else allowed.event
            yield Delivery(
                uuid,
                State.DELIVERED,
                Delivered(event),
                action,
                notes=notes,
                changes=told(before if there else {}, event),
            )

    def others_work(self, delivered: Delivered, uuids: set[str]) -> dict[str, dict[str, Any]]:
        """None that is known."""
        return {}

    def limits(self) -> list[str]:
        """None: it is asked nothing."""
        return []

    def false_positives(self, since: int) -> list[tuple[str, int]]:
        """None: it is asked nothing."""
        return []

    def rehearsal(self) -> Sink:
        """Itself."""
        return self

    def lacks(self, tags: set[str]) -> dict[str, int]:
        """Nothing that is known."""
        return {}

    def close(self) -> None:
        """Nothing to close."""
