"""The file to read first: one pipeline, from its source to its sinks.

A run does four things, each of which can be cut at any moment and done again:

1. `_pull`: pages from the source into the store; the watermark moves in the transaction that stores the page
   (`pulling`).
2. `_work`: what the changed objects affect is made again as MISP events, in memory, some at a time (`making`).
3. `_deliver`: each event to each sink, when it is not what was delivered before; recorded once the sink has confirmed.
4. `_finish`: only now are the changed objects done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import stopping, times
from .affected import placements
from .errors import ConfigError, ServerError, StixbridgeError
from .guard import Guard, Toll
from .ledger import Ledger, Outcome, Reason
from .making import Batch, Made, Maker
from .misp.model import Converted, MispEvent
from .pulling import Progress, Puller, Reach
from .records import StoreRecord, digest_in, elements
from .sinks.delivery import (
    SETTLED,
    UNFINISHED,
    WITHDRAWN,
    Delivery,
    Job,
    Last,
    Sink,
    State,
    emptied,
    merge,
    put_back,
    takes_away,
)
from .sinks.foreign import carriers
from .sources.page import Source
from .stix.read import Entry
from .store.store import Delivered

_OVERLAP = 600_000_000
"""Microseconds that are looked at again: clocks differ."""
# States that no later run changes by itself: waiting for them would be for ever.
_FINAL = frozenset({State.FOREIGN, State.BLOCKED, State.REFUSED})


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
            "changes": {delivery.event: delivery.changes for _, delivery in self.deliveries if delivery.changes},
            "volume": self.volume,
            "ledger": self.ledger.to_dict(),
            "errors": self.errors,
        }


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
        self, now: int | None = None, *, replay: bool = False, full: bool = False, confirmed: bool = False
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
        rows = self.store.query("SELECT * FROM runs WHERE number = :number AND pipeline = :name",
                                number=number, name=self.name)  # fmt: skip
        if not rows or rows[0]["seq_after"] is None or rows[0]["seq_after"] == rows[0]["seq_before"]:
            raise ConfigError(f"run {number} of pipeline {self.name} brought nothing; stixbridge status lists the runs")
        run = self._begin(now, confirmed=True)
        ids = self.store.take_back(self.source.name, number, rows[0]["seq_before"], rows[0]["seq_after"])
        run.summary.changed = len(ids)
        return self._rest(run)

    def _begin(self, now: int | None, *, replay: bool = False, full: bool = False, confirmed: bool = False) -> _Run:
        moment = times.now() if now is None else now
        summary = Summary(self.name, ledger=Ledger(times.to_text(moment)))
        summary.run = self.store.begin_run(self.name, moment)
        return _Run(summary.run, moment, summary, replay, full, confirmed)

    def _rest(self, run: _Run) -> Summary:
        """Make, deliver and finish what is to be done."""
        moment = run.moment
        self._ask_analysts(run)
        done, expiry = self.store.progress(self.name)
        seq = self.store.last_seq(self.source.name)
        changed = set(self.store.changed(self.source.name, 0 if run.replay else done))
        changed.update(self.store.expired(self.source.name, expiry, moment))
        told, heard = self.store.resuppressed(self.name)
        changed.update(told)
        after = self.maker.expired_after
        if after is not None:
            changed.update(self.store.expired(self.source.name, expiry - after, moment - after))
        rejected = self.store.rejected(self.source.name, done)
        batches = self.maker.batches(changed, whole=run.replay or done == 0) or [Batch()]
        complete = self._guarded(run, batches) and self._work(run, batches, rejected)
        if complete and (changed or rejected or seq != done or moment > expiry):
            self.store.set_progress(self.name, seq, max(moment, expiry))
        if complete and heard is not None:
            self.store.set_heard(self.name, heard)
        self._finish(run.summary, run.number, moment)
        return run.summary

    # 1. pull

    def _pull(self, run: _Run) -> None:
        summary = run.summary
        # two pipelines of one source don't ask it at the same time
        with self.store.lock(f"source {self.source.name}"):
            before = self.store.last_seq(self.source.name)
            pulled = self._puller.pull(run.moment, full=run.full)
            self.store.run_brought(run.number, before, self.store.last_seq(self.source.name))
        summary.pages, summary.entries, summary.changed = pulled.pages, pulled.entries, pulled.changed
        summary.ledger.merge(pulled.ledger)
        for error in pulled.errors:
            self._failed(summary, error)

    # 2. make

    def _ask_analysts(self, run: _Run) -> None:
        """Put on the suppression list what analysts marked as false positives since they were asked last."""
        for sink in self.sinks:
            moment = times.now()
            try:
                found = sink.false_positives(self.store.looked(sink.name) - _OVERLAP)
            except ServerError as error:
                self._failed(run.summary, error)
                continue
            if found is None:
                self.say(f"{sink.name}: this key may not read sightings: false positives of analysts are not seen")
                continue
            for value, said in found:
                self.store.suppress(value, f"marked as a false positive in {sink.name}", moment, said=said)
            self.store.set_looked(sink.name, moment)

    def _guarded(self, run: _Run, batches: list[Batch]) -> bool:
        """Whether the guard lets a run go on; it looks at all of it before anything is written to a sink."""
        if self.guard is None or run.confirmed:
            return True
        tolls = [Toll() for _ in self.sinks]
        for batch in batches:
            stopping.check()
            made = self.maker.make(batch.changed, [], run.moment, batch.named) if batch.changed else Made()
            for uuid, row in made.wanted.items():
                for sink, toll in zip(self.sinks, tolls, strict=True):
                    held = self.store.delivered(sink.name, uuid)
                    before = held.body if held is not None else {}
                    toll.add(before, {} if row is None or row.dropped or row.held else row.event)
        there = self.store.attribute_count(self.name)
        for sink, toll in zip(self.sinks, tolls, strict=True):
            problem = self.guard.problem(toll, there)
            if problem is not None:
                run.summary.errors.append(f"{sink.name}: {problem}. Look with --dry-run; then stixbridge run --confirm")
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
            named.update(id_ for one in batches for id_ in one.changed if id_.startswith("relationship--"))
        for at, batch in enumerate(batches, 1):
            stopping.check()
            made = Made()
            if at == len(batches):
                # what no event named after all is looked at by itself
                batch.changed |= named - summary.ledger.accounts.keys()
            if batch.changed or (rejected and at == 1):
                made = self.maker.make(batch.changed, rejected if at == 1 else [], run.moment, named)
                accounts = made.ledger.accounts
                made.ledger.restrict(
                    {id_ for id_ in accounts if id_ in batch.changed or accounts[id_][0] is Outcome.MAPPED}
                    | (accounts.keys() - summary.ledger.accounts.keys())
                )
                summary.ledger.merge(made.ledger)
            if len(batches) > 1:
                self.say(f"{self.name}: part {at} of {len(batches)}, {len(made.wanted)} events")
            complete &= self._work_on(run, made.wanted, last=at == len(batches))
        return complete and not summary.waiting

    def _work_on(self, run: _Run, wanted: dict[str, Converted | None], *, last: bool) -> bool:
        """Deliver some events to every sink, and record where things are; True when every sink took them."""
        # on record before any sink has it: after a cut, or while one of the sinks fails, it is known where things are
        for uuid, row in wanted.items():
            if row is not None:
                self.store.place_also(self.name, uuid, placements(row))
        self._staying: dict[str, set[str]] = {}
        complete = True
        delivered: dict[str, int] = dict.fromkeys(wanted, 0)
        for sink in self.sinks:
            try:
                # two pipelines don't deliver to one sink at the same time: they may share an event
                with self.store.lock(f"sink {sink.name}"):
                    for delivery in self._deliver(run, sink, wanted, last=last):
                        if delivery.event in delivered:
                            delivered[delivery.event] += 1
            except ServerError as error:
                complete = False
                self._failed(run.summary, error)
        for uuid, count in delivered.items():
            if count == len(self.sinks):
                self._place(uuid, wanted[uuid])
        return complete

    # 3. deliver

    def _deliver(self, run: _Run, sink: Sink, wanted: dict[str, Converted | None], *, last: bool) -> Iterator[Delivery]:
        """Deliver to one sink: what adds first, what only withdraws last, so that nothing is ever missing between."""
        summary, moment = run.summary, run.moment
        jobs: list[Job] = []
        stranded: dict[str, State] = {}
        for uuid, row in wanted.items():
            if row is not None and row.held:
                summary.ledger.note(uuid, sink.name, Outcome.DROPPED, Reason.RULE, f"held: {row.held}")
                self._count(sink, Delivery(uuid, State.HELD, {}, "held by a rule"), summary)
                # what was elsewhere stays there, and the next run asks the rule again
                stranded.update(dict.fromkeys(row.stix_ids, State.HELD))
                summary.waiting = True
                continue
            if row is not None and row.sinks is not None and sink.name not in row.sinks:
                row = None  # routed elsewhere: what was delivered here before is withdrawn
            job = self._job(sink, uuid, row, moment, again=run.replay)
            if job is None:
                held = self.store.delivered(sink.name, uuid)
                if held is not None and row is not None and held.state in _FINAL:
                    stranded.update(dict.fromkeys(row.stix_ids, State(held.state)))
                yield self._unchanged(sink, uuid, summary)
            else:
                jobs.append(job)
        for uuid in self.store.unfinished(sink.name, self.name) if last else ():
            if uuid not in wanted:
                held = self.store.delivered(sink.name, uuid)
                jobs.append(self._made(sink, merge(self.store.wanted(sink.name, uuid)), held, moment, None))
        jobs.sort(key=lambda job: (takes_away(job), str(job.event["uuid"])))
        by_uuid = {str(job.event["uuid"]): job for job in jobs}
        for line in sink.limits() if jobs else ():
            self.say(f"{sink.name}: {line}")
        # a sink may work on several at a time, but on none that takes away before those that add are done
        for kind in (0, 1, 2):
            some = [job for job in jobs if takes_away(job) == kind]
            if not some:
                continue
            for delivery in sink.deliver(self._in_order(some, wanted, stranded, summary)):
                self._acknowledge(sink, by_uuid[delivery.event], delivery, moment, summary)
                row = wanted.get(delivery.event)
                if delivery.state not in SETTLED and row is not None:
                    stranded.update(dict.fromkeys(row.stix_ids, delivery.state))
                yield delivery

    def _in_order(
        self, jobs: list[Job], wanted: dict[str, Converted | None], stranded: dict[str, State], summary: Summary
    ) -> Iterator[Job]:
        """Hand out jobs; what did not arrive in its new event is put back into the one that it would leave."""
        for job in jobs:
            stopping.check()
            uuid = str(job.event["uuid"])
            if stranded and job.last is not None and takes_away(job) and uuid in wanted:
                row = wanted[uuid]
                there = {id_ for id_, _, _, _ in self.store.members(self.name, [uuid])}
                staying = (there - set(row.stix_ids if row is not None else ())) & stranded.keys()
                if staying:
                    summary.waiting |= not all(stranded[id_] in _FINAL for id_ in staying)
                    self._staying.setdefault(uuid, set()).update(staying)
                    put_back(job, self.store.elements_of(self.name, uuid, staying))
            yield job

    def _job(self, sink: Sink, uuid: str, row: Converted | None, moment: int, *, again: bool) -> Job | None:
        """The job of one event; None where it is delivered as it is wanted.

        With `again` what a sink would not take is offered once more: `foreign` may have changed, or the sink.
        """
        held = self.store.delivered(sink.name, uuid)
        if row is None or row.dropped:
            if held is None:
                return None
            body = emptied(held.body)
        else:
            body = row.event
        event = merge(self.store.want(sink.name, uuid, self.name, body))
        if held is not None and held.digest == digest_in(event, sink):
            waiting = held.state in UNFINISHED or (again and held.state in (State.FOREIGN, State.REFUSED))
            unpublished = self._publish(row) and not held.published and held.state == State.DELIVERED
            if not waiting and not unpublished:
                return None
        return self._made(sink, event, held, moment, row)

    def _made(self, sink: Sink, event: MispEvent, held: Delivered | None, moment: int, row: Converted | None) -> Job:
        uuid = str(event["uuid"])
        last = Last(State(held.state), held.body, held.published, held.intents) if held is not None else None

        def stix() -> list[dict[str, Any]]:
            return self.maker.behind(row.stix_ids) if row is not None else []

        record = StoreRecord(self.store, sink.name, uuid, moment)
        return Job(event, last, record, self._publish(row), stix, moment // 1_000_000)

    def _publish(self, row: Converted | None) -> bool:
        """Whether an event shall be published: what a rule says goes before what the pipeline says."""
        return row.publish if row is not None and row.publish is not None else self.maker.enrich.publish

    def _unchanged(self, sink: Sink, uuid: str, summary: Summary) -> Delivery:
        delivery = Delivery(uuid, State.DELIVERED, {}, "unchanged")
        self._count(sink, delivery, summary)
        return delivery

    def _acknowledge(self, sink: Sink, job: Job, delivery: Delivery, moment: int, summary: Summary) -> None:
        self.store.set_delivered(
            sink.name,
            delivery.event,
            delivery.state,
            delivery.body,
            moment=moment,
            digest=b"" if delivery.incomplete else digest_in(job.event, sink),
            published=delivery.published,
            notes=delivery.notes,
            aliases=carriers(delivery.body),
        )
        if delivery.intents:
            self.store.intend(sink.name, delivery.event, delivery.intents)
        if delivery.action == "updated" and str(job.event.get("info", "")).startswith(WITHDRAWN):
            delivery.action = "withdrawn"
        for id_, outcome, reason, target in delivery.notes:
            where = f"{sink.name}: {job.event.get('info', '')}"
            summary.ledger.note(id_ or delivery.event, where, outcome, reason, target)
        self._count(sink, delivery, summary)
        self.say(f"{sink.name}: {delivery.action} {delivery.event} {job.event.get('info', '')}")

    @staticmethod
    def _count(sink: Sink, delivery: Delivery, summary: Summary) -> None:
        summary.events[delivery.action] = summary.events.get(delivery.action, 0) + 1
        slim = replace(delivery, body={"info": delivery.body.get("info", "")})
        summary.deliveries.append((sink.name, slim))

    def _place(self, uuid: str, row: Converted | None) -> None:
        """Record what is in an event, once every sink has it; and what had to stay there."""
        staying = self._staying.get(uuid, set())
        held = [] if row is None else placements(row)
        held += [
            {"id": id_, "collecting": int(collecting), "day": day}
            for id_, _, collecting, day in self.store.members(self.name, [uuid])
            if id_ in staying
        ]
        kept = self.store.elements_of(self.name, uuid, staying)
        self.store.place(
            self.name, uuid, held, [*(elements(row) if row is not None and not row.dropped else ()), *kept]
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
        plain["ledger"] = {key: plain["ledger"][key] for key in ("objects", "outcomes", "properties")}
        plain["reasons"] = summary.ledger.reasons
        self.store.end_run(number, max(moment, times.now()), plain)
        self.store.forget_history(moment)
