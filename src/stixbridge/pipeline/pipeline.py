"""The file to read first: one pipeline, from its source to its sinks.

A run does four things, each of which can be cut at any moment and done again:

1. `_pull`: pages from the source into the store; the watermark moves in the transaction that stores the page
   (`pulling`).
2. `_work`: what the changed objects affect is made again as MISP events, in memory, some at a time (`making`).
3. `_deliver`: each event to each sink, when it is not what was delivered before; recorded once the sink has
   confirmed (`delivering`).
4. `_finish`: only now are the changed objects done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stixbridge import stopping, times
from stixbridge.envelopes import Delivered
from stixbridge.errors import ConfigError, ServerError, StixbridgeError
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.model import Converted
from stixbridge.pipeline.deliver import Deliverer, Pass
from stixbridge.pipeline.deliver import Made as MadeEvents
from stixbridge.pipeline.guard import Guard, Toll
from stixbridge.pipeline.make import Batch, Made, Maker
from stixbridge.pipeline.pull import Progress, Puller, Reach
from stixbridge.pipeline.records import elements
from stixbridge.pipeline.select import placements
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job
from stixbridge.sinks.misp.foreign import event_in_misp
from stixbridge.sources.base import Source
from stixbridge.stix.reader import Entry

_OVERLAP = 600_000_000
"""Microseconds that are looked at again: clocks differ."""


@dataclass(slots=True)
class Summary:
    """What one run did.

    Attributes:
        pipeline: its name.
        run: its number, for `undo`.
        pages: pages that came.
        entries: entries in them.
        changed: objects that were new or newer.
        events: events by what became of them, over all sinks: created, updated, unchanged, withdrawn, held, …
        ledger: of the changed objects, and notes about events.
        errors: what failed; empty after a good run.
        status: the exit status that this asks for.
        deliveries: (sink, what became of one event), in order; of the body only the title.
        waiting: something was left for the next run.
        volume: in a dry run, what would be sent: attributes, objects, tags, clusters; what of it the sink lacks.
    """

    pipeline: str
    run: int = 0
    pages: int = 0
    entries: int = 0
    changed: int = 0
    events: dict[str, int] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    errors: list[str] = field(default_factory=list)
    status: int = 0
    deliveries: list[tuple[str, Delivery]] = field(default_factory=list)
    waiting: bool = False
    volume: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON data."""
        return {
            "pipeline": self.pipeline,
            "run": self.run,
            "pages": self.pages,
            "entries": self.entries,
            "changed": self.changed,
            "events": self.events,
            "changes": self._changes(),
            "volume": self.volume,
            "ledger": self.ledger.to_dict(),
            "errors": self.errors,
        }

    def _changes(self) -> dict[str, list[str]]:
        """UUID of an event -> what would change in it, in all sinks."""
        found: dict[str, list[str]] = {}
        for _, delivery in self.deliveries:
            if delivery.changes:
                found.setdefault(delivery.event, []).extend(delivery.changes)
        return found


@dataclass(slots=True)
class _Run:
    """What a run is asked for, and what became of it so far."""

    number: int
    moment: int
    summary: Summary
    replay: bool = False
    full: bool = False
    confirmed: bool = False


class Pipeline:
    """Joins a source, the conversion, enrichment and sinks.

    Args (of the constructor):
        maker: makes its events; names the pipeline and has its store.
        source: where objects come from.
        sinks: where events go.
        reach: what the source is asked for besides what is new.
        guard: what a run may add and withdraw without being confirmed.
        guard_stops: whether it stops a run, or only says that it would.
        progress: called with a line of text now and then.
    """

    def __init__(
        self,
        maker: Maker,
        source: Source,
        sinks: Sequence[Sink],
        *,
        reach: Reach | None = None,
        guard: Guard | None = None,
        guard_stops: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.maker = maker
        self.name = maker.pipeline
        self.store = maker.store
        self.source = source
        self.sinks = list(sinks)
        self.reach = reach
        self.guard = guard
        self._guard_stops = guard_stops
        self.say = progress or (lambda _: None)
        self._puller = Puller(source, maker.store, reach, progress=progress)

    def close(self) -> None:
        """Let go of all connections."""
        self.source.close()
        self.maker.enrich.close()
        for sink in self.sinks:
            sink.close()

    def run(
        self,
        now: int | None = None,
        *,
        replay: bool = False,
        full: bool = False,
        confirmed: bool = False,
    ) -> Summary:
        """One pass. Servers that fail are in the summary's `errors`; what they did not take is done at the next run.

        Args:
            now: the reference time, microseconds.
            replay: ask no source; make everything that is in the store again, as after a change of rules or version.
            full: ask the source for everything, not for what is new.
            confirmed: whatever the guard says.

        Raises:
            StoreError: when the store can't be used.
            ConfigError: when the source or a sink can't be used as configured.
        """
        run = self._begin(now, replay=replay, full=full, confirmed=confirmed)
        if not replay:
            self._pull(run)
        return self._rest(run)

    def undo(self, number: int, now: int | None = None) -> Summary:
        """Take back what a run brought: the objects of its poll, out of every event they are in.

        Args:
            number: of the run.
            now: the reference time, microseconds.

        Raises:
            ConfigError: when this pipeline had no such run, or it brought nothing.
        """
        row = self.store.runs.get(number)
        if (
            row is None
            or row["pipeline"] != self.name
            or row["seq_after"] is None
            or row["seq_after"] == row["seq_before"]
        ):
            raise ConfigError(
                f"run {number} of pipeline {self.name} brought nothing; stixbridge status lists the runs"
            )
        run = self._begin(now, confirmed=True)
        ids, stay = self.store.inbox.take_back(
            self.source.name, number, row["seq_before"], row["seq_after"]
        )
        run.summary.changed = len(ids)
        if stay:
            text = f"{stay} objects of run {number} came in a newer version since, which stays: undo those runs, too"
            run.summary.ledger.note(
                self.name, f"undo: run {number}", Outcome.PRESERVED, Reason.SUPERSEDED, text
            )
        return self._rest(run)

    def _begin(
        self, now: int | None, *, replay: bool = False, full: bool = False, confirmed: bool = False
    ) -> _Run:
        moment = times.now() if now is None else now
        summary = Summary(self.name, ledger=Ledger(times.to_text(moment)))
        summary.run = self.store.runs.begin(self.name, moment)
        return _Run(summary.run, moment, summary, replay, full, confirmed)

    def _rest(self, run: _Run) -> Summary:
        """Make, deliver and finish what is to be done."""
        moment = run.moment
        self._ask_analysts(run)
        done, expiry = self.store.runs.progress(self.name)
        seq = self.store.objects.last_seq(self.source.name)
        for sink in self.sinks if done and not run.replay else ():
            if not self.store.deliveries.knows(sink.name) and self.store.placements.attribute_count(
                self.name
            ):
                self.say(
                    f"{sink.name}: what came before is not there yet; stixbridge replay brings it"
                )
        changed = set(self.store.objects.changed(self.source.name, 0 if run.replay else done))
        changed.update(self.store.objects.expired(self.source.name, expiry, moment))
        told, heard = self.store.suppression.affected(self.name)
        changed.update(told)
        after = self.maker.expired_after
        if after is not None:
            changed.update(
                self.store.objects.expired(self.source.name, expiry - after, moment - after)
            )
        rejected = self.store.objects.rejected(self.source.name, done)
        batches = self.maker.batches(changed, whole=run.replay or done == 0) or [Batch()]
        complete = self._guarded(run, batches) and self._work(run, batches, rejected)
        if complete and (changed or rejected or seq != done or moment > expiry):
            self.store.runs.set_progress(self.name, seq, max(moment, expiry))
        if complete and heard is not None:
            self.store.suppression.set_applied(self.name, heard)
        self._finish(run.summary, run.number, moment)
        return run.summary

    # 1. pull

    def _pull(self, run: _Run) -> None:
        summary = run.summary
        # two pipelines of one source don't ask it at the same time
        with self.store.lease(f"source {self.source.name}"):
            self.store.runs.begin_poll(
                run.number, self.source.name, self.store.objects.last_seq(self.source.name)
            )
            pulled = self._puller.pull(run.moment, full=run.full)
            self.store.runs.end_poll(run.number, self.store.objects.last_seq(self.source.name))
        summary.pages, summary.entries, summary.changed = (
            pulled.pages,
            pulled.entries,
            pulled.changed,
        )
        summary.ledger.merge(pulled.ledger)
        for error in pulled.errors:
            self._failed(summary, error)

    # 2. make

    def _ask_analysts(self, run: _Run) -> None:
        """Put on the suppression list what analysts marked as false positives since they were asked last."""
        for sink in self.sinks:
            moment = times.now()
            try:
                found = sink.false_positives(
                    self.store.suppression.last_asked(sink.name) - _OVERLAP
                )
            except ServerError as error:
                self._failed(run.summary, error)
                continue
            if found is None:
                self.say(
                    f"{sink.name}: this key may not read sightings: false positives of analysts are not seen"
                )
                continue
            for value, said in found:
                self.store.suppression.add(
                    value, f"marked as a false positive in {sink.name}", moment, said=said
                )
            self.store.suppression.set_asked(sink.name, moment)

    def _guarded(self, run: _Run, batches: list[Batch]) -> bool:
        """Whether the guard lets a run go on; it looks at all of it before anything is written to a sink."""
        if self.guard is None or run.confirmed:
            return True
        tolls = [Toll() for _ in self.sinks]
        deliverer = self._deliverer(run)
        for batch in batches:
            stopping.check()
            made = (
                self.maker.make(batch.changed, [], run.moment, batch.named)
                if batch.changed
                else Made()
            )
            for uuid, row in made.wanted.items():
                for sink, toll in zip(self.sinks, tolls, strict=True):
                    toll.add(*deliverer.preview(sink, uuid, row))
        there = self.store.placements.attribute_count(self.name)
        for sink, toll in zip(self.sinks, tolls, strict=True):
            problem = self.guard.problem(toll, there)
            if problem is not None:
                run.summary.errors.append(
                    f"{sink.name}: {problem}. Look with --dry-run; then stixbridge run --confirm"
                )
                run.summary.status = max(run.summary.status, 1)
                return not self._guard_stops
        return True

    def _work(self, run: _Run, batches: list[Batch], rejected: list[Entry]) -> bool:
        """Make and deliver what changed, and what was cut or held before; True when nothing is left to do."""
        complete = True
        summary = run.summary
        # accounted wherever an event names it: it may be shown by another one than that it came with
        named: set[str] = set().union(*(one.named for one in batches))
        if len(batches) > 1:
            named.update(
                id_ for one in batches for id_ in one.changed if id_.startswith("relationship--")
            )
        for at, batch in enumerate(batches, 1):
            stopping.check()
            made = Made()
            if at == len(batches):
                # what no event named after all is looked at by itself
                batch.changed |= named - summary.ledger.accounts.keys()
            if batch.changed or (rejected and at == 1):
                made = self.maker.make(
                    batch.changed, rejected if at == 1 else [], run.moment, named
                )
                accounts = made.ledger.accounts
                made.ledger.restrict(
                    {
                        id_
                        for id_ in accounts
                        if id_ in batch.changed or accounts[id_][0] is Outcome.MAPPED
                    }
                    | (accounts.keys() - summary.ledger.accounts.keys())
                )
                summary.ledger.merge(made.ledger)
            if len(batches) > 1:
                self.say(f"{self.name}: part {at} of {len(batches)}, {len(made.wanted)} events")
            complete &= self._deliver(run, made.wanted, last=at == len(batches))
        return complete and not summary.waiting

    # 3. deliver

    def _deliver(self, run: _Run, wanted: MadeEvents, *, last: bool) -> bool:
        """Deliver some events to every sink, and record where things are; True when every sink took them."""
        # on record before any sink has it: after a cut, or while one of the sinks fails, it is known where things are
        for uuid, row in wanted.items():
            if row is not None:
                self.store.placements.add(self.name, uuid, placements(row))
        staying: dict[str, set[str]] = {}
        complete = True
        delivered: dict[str, int] = dict.fromkeys(wanted, 0)
        deliverer = self._deliverer(run)
        for sink in self.sinks:
            one = Pass(sink, wanted, run.moment, run.replay, staying=staying)
            try:
                # two pipelines don't deliver to one sink at the same time: they may share an event
                with self.store.lease(f"sink {sink.name}"):
                    for uuid in deliverer.deliver(one, last=last):
                        if uuid in delivered:
                            delivered[uuid] += 1
            except ServerError as error:
                complete = False
                self._failed(run.summary, error)
            run.summary.waiting |= one.waiting
        for uuid, count in delivered.items():
            if count == len(self.sinks):
                self._place(uuid, wanted[uuid], staying.get(uuid, set()))
        return complete

    def _deliverer(self, run: _Run) -> Deliverer:
        def tell(sink: Sink, job: Job | None, delivery: Delivery) -> None:
            self._tell(run.summary, sink, job, delivery)

        return Deliverer(self.maker, tell, self.say, lambda error: self._failed(run.summary, error))

    def _tell(self, summary: Summary, sink: Sink, job: Job | None, delivery: Delivery) -> None:
        """Account for what became of an event."""
        title = job.event.get("info", "") if job is not None else ""
        for id_, outcome, reason, target in delivery.notes:
            where = f"{sink.name}: {title}" if job is not None else sink.name
            summary.ledger.note(id_ or delivery.event, where, outcome, reason, target)
        summary.events[delivery.action] = summary.events.get(delivery.action, 0) + 1
        slim = replace(delivery, delivered=Delivered({"info": delivery.body.get("info", "")}))
        summary.deliveries.append((sink.name, slim))
        if job is not None:
            adopted = delivery.delivered.adopted is not None
            place = event_in_misp(delivery.delivered) if adopted else delivery.event
            self.say(f"{sink.name}: {delivery.action} {place} {title}")

    def _place(self, uuid: str, row: Converted | None, staying: set[str]) -> None:
        """Record what is in an event, once every sink has it; and what had to stay there."""
        held = [] if row is None else placements(row)
        held += [
            {"id": id_, "collecting": int(collecting), "day": day}
            for id_, _, collecting, day in self.store.placements.members(self.name, [uuid])
            if id_ in staying
        ]
        kept = self.store.placements.elements_of(self.name, uuid, staying)
        self.store.placements.replace(
            self.name,
            uuid,
            held,
            [*(elements(row) if row is not None and not row.dropped else ()), *kept],
        )

    # 4. finish

    def _failed(self, summary: Summary, error: StixbridgeError) -> None:
        summary.errors.append(str(error))
        summary.status = max(summary.status, error.exit_status)

    def _finish(self, summary: Summary, number: int, moment: int) -> None:
        if not summary.status and summary.ledger.alarming:
            summary.status = 1
        plain = summary.to_dict()
        del plain["changes"], plain["volume"]
        plain["ledger"] = {
            key: plain["ledger"][key] for key in ("objects", "outcomes", "properties")
        }
        plain["reasons"] = summary.ledger.reasons
        self.store.runs.end(number, max(moment, times.now()), plain)
        self.store.forget_history(moment)
