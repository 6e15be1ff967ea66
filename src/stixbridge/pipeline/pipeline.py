"""The file to read first: one pipeline, from its source to its sinks.

A run takes these steps. Each may be cut at any moment and taken again: the store says what is to be
done.

1. `begin`: a run has a number and a moment.
2. `poll`: pages from the source into the store; the watermark moves in the transaction that stores
   the page (`pull`).
3. `plan`: the events that the changed objects affect, in batches that fit into memory (`affected`,
   `batches`).
4. `make`: the events of a batch (`make`).
5. `deliver`: each event to each sink, when it is not what was delivered before; recorded once the
   sink has confirmed (`deliver`).
6. `settle`: where the objects are is recorded, once every sink has an event.
7. `finish`: only now are the changed objects done.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from stixbridge import stopping, times
from stixbridge.api import without_collector
from stixbridge.envelopes import Delivered
from stixbridge.errors import ConfigError, ServerError
from stixbridge.ledger import Account, Outcome, Reason
from stixbridge.pipeline.batches import Batch
from stixbridge.pipeline.deliver import Deliverer, SinkRun
from stixbridge.pipeline.guard import ChangeCount, Guard
from stixbridge.pipeline.make import Made, Maker, Plan
from stixbridge.pipeline.pull import Progress, Puller, PullPolicy
from stixbridge.pipeline.records import elements
from stixbridge.pipeline.run import Run, Settling, Work
from stixbridge.pipeline.run_ledger import RunLedger
from stixbridge.pipeline.select import placements
from stixbridge.pipeline.summary import Summary
from stixbridge.pipeline.wanted import MadeEvents
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job
from stixbridge.sinks.places import event_in_sink
from stixbridge.sources.base import Source

_OVERLAP = 600_000_000
"""Microseconds that are looked at again: clocks differ."""


class Pipeline:
    """Joins a source, the conversion, enrichment and sinks.

    Args (of the constructor):
        maker: makes its events; names the pipeline and has its store.
        source: where objects come from.
        sinks: where events go.
        pull_policy: what the source is asked for besides what is new.
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
        pull_policy: PullPolicy | None = None,
        guard: Guard | None = None,
        guard_stops: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.maker = maker
        self.name = maker.pipeline
        self.store = maker.store
        self.source = source
        self.sinks = list(sinks)
        self.pull_policy = pull_policy
        self.guard = guard
        self._guard_stops = guard_stops
        self.say = progress or (lambda _: None)
        self._puller = Puller(source, maker.store, pull_policy, progress=progress)

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
        """One run.

        Servers that fail are in the summary's `errors`; what they did not take is done at the next
        run.

        Args:
            now: the reference time, microseconds.
            replay: ask no source; make everything that is in the store again, as after a change of
                rules or version.
            full: ask the source for everything, not for what is new.
            confirmed: whatever the guard says.

        Raises:
            StoreError: when the store can't be used.
            ConfigError: when the source or a sink can't be used as configured.
        """
        with _collected_afterwards():
            run = self.begin(now, replay=replay, full=full, confirmed=confirmed)
            if not replay:
                self.poll(run)
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
                f"run {number} of pipeline {self.name} brought nothing; stixbridge status lists "
                "the runs"
            )
        with _collected_afterwards():
            run = self.begin(now, confirmed=True)
            ids, stay = self.store.inbox.take_back(
                self.source.name, number, row["seq_before"], row["seq_after"]
            )
            run.summary.changed = len(ids)
            if stay:
                text = (
                    f"{stay} objects of run {number} came in a newer version since, which "
                    "stays: undo those runs, too"
                )
                run.summary.ledger.note(
                    self.name, f"undo: run {number}", Outcome.PRESERVED, Reason.SUPERSEDED, text
                )
            return self._rest(run)

    def _rest(self, run: Run) -> Summary:
        """Make, deliver and finish what is to be done."""
        self.ask_analysts(run)
        work = self.plan(run)
        complete = self._guard_allows(run, work.plan) and self._work(run, work)
        self.finish(run, work, complete=complete)
        return run.summary

    # the steps

    def begin(
        self,
        now: int | None = None,
        *,
        replay: bool = False,
        full: bool = False,
        confirmed: bool = False,
    ) -> Run:
        """Open a run; the arguments are those of `run`."""
        moment = times.now() if now is None else now
        number = self.store.runs.begin(self.name, moment)
        summary = Summary(self.name, number, ledger=RunLedger(times.to_text(moment)))
        return Run(number, moment, summary, replay, full, confirmed)

    def poll(self, run: Run) -> None:
        """Pull what is new from the source into the store."""
        summary, source = run.summary, self.source.name
        # two pipelines of one source don't ask it at the same time
        with self.store.lease(f"source {source}"):
            self.store.runs.begin_poll(run.number, source, self.store.objects.last_seq(source))
            pulled = self._puller.pull(run.moment, full=run.full)
            self.store.runs.end_poll(run.number, self.store.objects.last_seq(source))
        summary.pages, summary.entries, summary.changed = (
            pulled.pages,
            pulled.entries,
            pulled.changed,
        )
        summary.ledger.merge(pulled.ledger)
        for error in pulled.errors:
            summary.fail(error)

    def ask_analysts(self, run: Run) -> None:
        """Put new false positives of analysts on the suppression list."""
        suppression = self.store.suppression
        for sink in self.sinks:
            moment = times.now()
            try:
                marks = sink.false_positives(suppression.last_asked(sink.name) - _OVERLAP)
            except ServerError as error:
                run.summary.fail(error)
                continue
            if marks is None:
                self.say(
                    f"{sink.name}: this key may not read sightings: false positives of analysts "
                    "are not seen"
                )
                continue
            for value, marked in marks:
                why = f"marked as a false positive in {sink.name}"
                suppression.add(value, why, moment, marked=marked)
            suppression.set_asked(sink.name, moment)

    def plan(self, run: Run) -> Work:
        """Find what changed since the last complete run, and the events that this affects."""
        objects, moment = self.store.objects, run.moment
        done, expiry = self.store.runs.progress(self.name)
        seq = objects.last_seq(self.source.name)
        for sink in self.sinks if done and not run.replay else ():
            if not self.store.deliveries.knows(sink.name) and self.store.placements.attribute_count(
                self.name
            ):
                self.say(
                    f"{sink.name}: earlier events are not there yet; stixbridge replay delivers "
                    "them"
                )
        changed = set(objects.changed(self.source.name, 0 if run.replay else done))
        changed.update(objects.expired(self.source.name, expiry, moment))
        resuppressed, applied = self.store.suppression.affected(self.name)
        changed.update(resuppressed)
        after = self.maker.policy.expired_after
        if after is not None:
            changed.update(objects.expired(self.source.name, expiry - after, moment - after))
        rejected = objects.rejected(self.source.name, done)
        news = bool(changed or rejected) or seq != done or moment > expiry
        whole = run.replay or done == 0
        plan = self.maker.plan(changed, moment, done=done, whole=whole)
        run.summary.ledger.add(plan.unshown)
        return Work(plan, rejected, seq, applied, news)

    def make(self, run: Run, work: Work, batch: Batch) -> Made:
        """Make the events of a batch, and account for what is in them."""
        plan = work.plan
        made = self.maker.make(plan, batch, work.rejected if plan.is_first(batch) else ())
        gc.collect(0)  # what the conversion left, while it is young
        alone = len(plan.batches) <= 1

        def counts(id_: str, account: Account) -> bool:
            mapped = account[0] is Outcome.MAPPED
            return id_ in plan.changed and (alone or mapped or id_ in made.inside)

        run.summary.ledger.merge(made.ledger, counts)
        # on record before any sink has it: after a cut, or while a sink fails, it is known where
        # things are
        self.store.placements.add_all(
            self.name,
            {uuid: placements(row) for uuid, row in made.wanted.items() if row is not None},
        )
        return made

    def deliver(
        self, run: Run, sink: Sink, made: MadeEvents, settling: Settling, *, last: bool
    ) -> None:
        """Deliver the events of a batch to a sink."""
        sink_run = SinkRun(sink, made, run.moment, run.replay, staying=settling.staying)
        try:
            # two pipelines don't deliver to one sink at the same time: they may share an event
            with self.store.lease(f"sink {sink.name}"):
                for uuid in self._deliverer(run).deliver(sink_run, last=last):
                    if uuid in settling.counts:
                        settling.counts[uuid] += 1
        except ServerError as error:
            settling.complete = False
            run.summary.fail(error)
        run.summary.waiting |= sink_run.waiting

    def settle(self, made: MadeEvents, settling: Settling) -> None:
        """Record what is in the events that every sink has, and what had to stay there."""
        contents = {}
        for uuid, count in settling.counts.items():
            if count != len(self.sinks):
                continue
            row, staying = made[uuid], settling.staying.get(uuid, set())
            rows = [] if row is None else placements(row)
            if staying:
                rows += [
                    (id_, int(collecting), day)
                    for id_, _, collecting, day in self.store.placements.members(self.name, [uuid])
                    if id_ in staying
                ]
            shown = list(elements(row)) if row is not None and not row.dropped else []
            if staying:
                shown += [
                    (row["uuid"], row["id"], row["kind"], row["type"], row["value"])
                    for row in self.store.placements.elements_of(self.name, uuid, staying)
                ]
            contents[uuid] = (rows, shown)
        self.store.placements.replace_all(self.name, contents)

    def finish(self, run: Run, work: Work, *, complete: bool) -> None:
        """Record how far the pipeline has come, and close the run."""
        if complete and work.news:
            _, expiry = self.store.runs.progress(self.name)
            self.store.runs.set_progress(self.name, work.seq, max(run.moment, expiry))
        if complete and work.applied is not None:
            self.store.suppression.set_applied(self.name, work.applied)
        summary = run.summary
        if not summary.status and summary.ledger.alarming:
            summary.status = 1
        self.store.runs.end(run.number, max(run.moment, times.now()), summary.to_record())
        self.store.forget_history(run.moment)

    # one after the other

    def _work(self, run: Run, work: Work) -> bool:
        """Make and deliver all batches; True when nothing is left to do."""
        plan, complete = work.plan, True
        batches = plan.batches or [Batch()]
        later: list[Batch] = []
        for at, batch in enumerate(batches, 1):
            stopping.check()
            made = self.make(run, work, batch) if self._has_work(work, batch) else Made()
            if len(batches) > 1:
                self.say(f"{self.name}: part {at} of {len(batches)}, {len(made.wanted)} events")
            if made.open:
                # what joins it from outside depends on where that will be
                later.append(batch)
            else:
                last = at == len(batches) and not later
                complete &= self._delivered(run, made, last=last)
        for batch in later:
            stopping.check()
            made = self.make(run, work, batch)
            complete &= self._delivered(run, made, last=batch is later[-1])
        ledger = run.summary.ledger
        ledger.merge(self.maker.account(plan, ledger.unaccounted(plan.changed)))
        return complete and not run.summary.waiting

    def _has_work(self, work: Work, batch: Batch) -> bool:
        plan = work.plan
        return bool(
            work.rejected or plan.emptied or batch.containers or batch.collecting or batch.loose
        )

    def _delivered(self, run: Run, made: Made, *, last: bool) -> bool:
        """Deliver the events of a batch to every sink; True when every sink took them."""
        settling = Settling(dict.fromkeys(made.wanted, 0))
        for sink in self.sinks:
            self.deliver(run, sink, made.wanted, settling, last=last)
        self.settle(made.wanted, settling)
        return settling.complete

    def _guard_allows(self, run: Run, plan: Plan) -> bool:
        """Whether the guard lets a run go on.

        It looks at all of it before anything is written to a sink.
        """
        if self.guard is None or run.confirmed:
            return True
        counts = [ChangeCount() for _ in self.sinks]
        deliverer = self._deliverer(run)
        for batch in plan.batches:
            stopping.check()
            for uuid, row in self.maker.make(plan, batch).wanted.items():
                for sink, count in zip(self.sinks, counts, strict=True):
                    count.add(*deliverer.preview(sink, uuid, row))
        existing = self.store.placements.attribute_count(self.name)
        for sink, count in zip(self.sinks, counts, strict=True):
            problem = self.guard.problem(count, existing)
            if problem is not None:
                run.summary.errors.append(
                    f"{sink.name}: {problem}. Look with --dry-run; then stixbridge run --confirm"
                )
                run.summary.status = max(run.summary.status, 1)
                return not self._guard_stops
        return True

    def _deliverer(self, run: Run) -> Deliverer:
        def tell(sink: Sink, job: Job | None, delivery: Delivery) -> None:
            self._tell(run.summary, sink, job, delivery)

        return Deliverer(self.maker, tell, self.say, run.summary.fail)

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
            place = event_in_sink(delivery.delivered) if adopted else delivery.event
            self.say(f"{sink.name}: {delivery.action} {place} {title}")


@contextmanager
def _collected_afterwards() -> Iterator[None]:
    """Keep the cycle collector out of a run, and let it collect once at the end."""
    with without_collector():
        yield
    gc.collect()
