"""A dry run: everything but writing, with sinks that only say what they would be asked to do."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .misp.model import MispEvent, all_attributes, tag_names
from .pipeline import Pipeline, Summary
from .sinks.changes import told
from .sinks.delivery import Delivery, Job, Note, Sink, State, emptied, parts
from .sinks.tags import with_plain_tags


def rehearse(
    pipeline: Pipeline,
    now: int | None = None,
    *,
    replay: bool = False,
    full: bool = False,
    undo: int | None = None,
) -> Summary:
    """A dry run: everything but writing. Works on a copy of the store, with sinks that only say what they would do.

    Args:
        pipeline: as configured; neither its store nor its sinks are touched.
        now: the reference time, microseconds.
        replay: as for `Pipeline.run`.
        full: the same.
        undo: the number of a run to take back.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = pipeline.store.copy_to(Path(folder) / "dry.db")
        try:
            sinks = [_Rehearsal(sink) for sink in pipeline.sinks]
            dry = Pipeline(
                pipeline.maker.on(copy),
                pipeline.source,
                sinks,
                reach=pipeline.reach,
                guard=pipeline.guard,
                guard_stops=False,
                progress=pipeline.say,
            )
            summary = dry.undo(undo, now) if undo is not None else dry.run(now, replay=replay, full=full)
            for sink in sinks:
                summary.volume = dict(Counter(summary.volume) + Counter(sink.volume))
            return summary
        finally:
            copy.close()


class _Rehearsal:
    """A sink that writes nothing and says what a real one would be asked to do."""

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self.settings = sink.settings
        self._allowed = sink.allowed
        self.volume: Counter[str] = Counter()
        self._tags: set[str] = set()

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        for job in jobs:
            uuid, notes = str(job.event["uuid"]), list[Note]()
            before = with_plain_tags(job.last.body) if job.last is not None else {}
            there = job.last is not None and job.last.state is not State.OUT
            event = self._allowed(job.event, notes)
            if event is None and not there:
                yield Delivery(uuid, State.OUT, job.event, "left out", notes=notes)
                continue
            action = "left out" if event is None else "updated" if there else "created"
            event = emptied(before) if event is None else event
            self._measure(event, before)
            yield Delivery(
                uuid, State.DELIVERED, event, action, notes=notes, changes=told(before if there else {}, event)
            )

    def _measure(self, event: MispEvent, before: MispEvent) -> None:
        """Count what is new in an event."""
        there = parts(before)
        attributes = all_attributes(event)
        self.volume["attributes"] += sum(str(row["uuid"]) not in there for row in attributes)
        self.volume["objects"] += sum(str(row["uuid"]) not in there for row in event.get("Object") or ())
        tags = {name for part in (event, *attributes) for name in tag_names(part)} - self._tags
        self._tags |= tags
        clusters = sum(name.startswith("misp-galaxy:") for name in tags)
        self.volume["tags"] += len(tags) - clusters
        self.volume["clusters"] += clusters

    def allowed(self, event: MispEvent, notes: list[Note]) -> MispEvent | None:
        """As the sink itself says."""
        return self._allowed(event, notes)

    def limits(self) -> list[str]:
        """None: it is asked nothing."""
        return []

    def false_positives(self, since: int) -> list[tuple[str, int]]:
        """None: it is asked nothing."""
        return []

    def close(self) -> None:
        """Nothing to close."""
