"""A dry run: everything but writing, on a copy of the store, with sinks that only read."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stixbridge.envelopes import Delivered, Wanted
from stixbridge.errors import ServerError
from stixbridge.misp.model import MispEvent, all_attributes, tag_names
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.pipeline.summary import Summary
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, Note, State
from stixbridge.sinks.event_diff import event_diff
from stixbridge.sinks.misp.tags import with_plain_tags
from stixbridge.sinks.withdrawal import emptied, parts


def rehearse(
    pipeline: Pipeline,
    now: int | None = None,
    *,
    replay: bool = False,
    full: bool = False,
    undo: int | None = None,
) -> Summary:
    """Run a pipeline without writing anything.

    Each MISP is asked for its events, so that the summary tells what a run would do. A MISP that
    does not answer is an error in the summary, and the changes in it are told by the store alone.

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
                pull_policy=pipeline.pull_policy,
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
                summary.errors.append(f"{problem}; its changes are told here by the store alone")
                summary.status = max(summary.status, problem.exit_status)
            return summary
        finally:
            copy.close()


def _readable(sink: Sink, problems: list[ServerError]) -> Sink:
    """A sink for a dry run; where the sink can't be read, one that asks no server."""
    dry = sink.for_dry_run()
    try:
        dry.limits()
    except ServerError as error:
        problems.append(error)
        return _ByRecord(sink)
    return dry


class _Measured(Sink):
    """A sink of a dry run that counts what would be sent.

    Args (of the constructor):
        sink: from `Sink.for_dry_run`.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink.name, settings=sink.settings)
        self.restores, self.dry = sink.restores, True
        self._sink = sink
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

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted | None:
        """As the sink allows."""
        return self._sink.allowed(wanted, notes)

    def analyst_edits(self, delivered: Delivered, uuids: set[str]) -> dict[str, dict[str, Any]]:
        """As the sink finds them."""
        return self._sink.analyst_edits(delivered, uuids)

    def limits(self) -> list[str]:
        """Those of the sink."""
        return self._sink.limits()

    def false_positives(self, since: int) -> list[tuple[str, int]] | None:
        """Those in the sink."""
        return self._sink.false_positives(since)

    def _measure(self, event: MispEvent, present: set[str]) -> None:
        """Count what is new in an event."""
        attributes = all_attributes(event)
        self._volume["attributes"] += sum(str(row["uuid"]) not in present for row in attributes)
        self._volume["objects"] += sum(
            str(row["uuid"]) not in present for row in event.get("Object") or ()
        )
        for part in (event, *attributes):
            self._tags.update(tag_names(part))

    def total(self) -> Counter[str]:
        """How much would be sent, and how much of it the sink does not have yet."""
        clusters = sum(name.startswith("misp-galaxy:") for name in self._tags)
        count = self._volume + Counter({"tags": len(self._tags) - clusters, "clusters": clusters})
        return count + Counter(self._sink.missing(self._tags)) if self._tags else count


class _ByRecord(Sink):
    """In place of a sink that can't be read: tells changes by the record of what was delivered.

    Args (of the constructor):
        sink: the sink.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink.name, settings=sink.settings)
        self.restores, self.dry = sink.restores, True
        self._sink = sink

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted | None:
        """As the sink allows."""
        return self._sink.allowed(wanted, notes)

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Tell what would change in each event as it was delivered; see `Sink`."""
        for job in jobs:
            notes: list[Note] = []
            before = with_plain_tags(job.last.delivered) if job.last is not None else {}
            recorded = job.last is not None and job.last.state is not State.OUT
            allowed = self.allowed(job.wanted, notes)
            if allowed is None and not recorded:
                delivered = Delivered.of(job.wanted)
                yield Delivery(job.uuid, State.OUT, delivered, "left out", notes=notes)
                continue
            action = "left out" if allowed is None else "updated" if recorded else "created"
            event = emptied(before) if allowed is None else allowed.event
            changes = event_diff(before if recorded else {}, event)
            yield Delivery(
                job.uuid, State.DELIVERED, Delivered(event), action, notes=notes, changes=changes
            )
