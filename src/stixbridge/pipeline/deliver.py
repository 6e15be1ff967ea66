"""The third step of a run: each event goes to each sink, when it is not as it was delivered before.

Jobs that add something go first, those that only withdraw last, so that nothing is ever missing
between. An object that did not arrive in its new event stays in the one that it would leave, marked
as strictly as it is by now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from stixbridge import stopping
from stixbridge.envelopes import Delivered, Wanted
from stixbridge.errors import StixbridgeError
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import Converted, MispEvent, level_of
from stixbridge.pipeline.carry import carry_edits
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.records import StoreRecord, digest_in, last_delivery, record_delivery
from stixbridge.pipeline.wanted import MadeEvents, for_sink, levels_in, wanted_of
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import OURS, SETTLED, UNFINISHED, Delivery, Job, Note, State
from stixbridge.sinks.fields import PARTS, by_uuid, rows_of
from stixbridge.sinks.merge import merge
from stixbridge.sinks.withdrawal import WITHDRAWN, parts, put_back, staying_in, takes_away
from stixbridge.store import Store
from stixbridge.store.deliveries import DeliveryRow

_FINAL = frozenset({State.FOREIGN, State.BLOCKED, State.REFUSED})
"""States that no later run changes by itself: waiting for them would be for ever."""


@dataclass(frozen=True, slots=True)
class _Undelivered:
    """An object whose new event is not in the sink.

    Attributes:
        state: where the delivery of that event stands.
        level: the TLP level that the object has there; `CLOSED` for a marking that is not a level.
    """

    state: State
    level: str | None


@dataclass(slots=True)
class SinkRun:
    """One delivery of some events to one sink.

    Attributes:
        sink: the sink.
        made: the events.
        moment: of the run, microseconds.
        replay: offer again what the sink would not take.
        undelivered: STIX id -> why its new event is not in the sink.
        staying: UUID of an event -> STIX ids that stay in it for that reason.
        first_notes: UUID of an event -> notes of the first of two steps.
        waiting: something was left for the next run.
    """

    sink: Sink
    made: MadeEvents
    moment: int
    replay: bool = False
    undelivered: dict[str, _Undelivered] = field(default_factory=dict)
    staying: dict[str, set[str]] = field(default_factory=dict)
    first_notes: dict[str, list[Note]] = field(default_factory=dict)
    waiting: bool = False

    def note_undelivered(self, uuid: str, state: State) -> None:
        """Note that an event is not in the sink."""
        row = self.made.get(uuid)
        if row is not None:
            self.undelivered.update(
                (id_, _Undelivered(state, level)) for id_, level in levels_in(row).items()
            )


Tell = Callable[[Sink, Job | None, Delivery], None]
"""Takes the result of an event; without a job where nothing was to be done."""


class Deliverer:
    """Delivers the events of one pipeline.

    Args (of the constructor):
        maker: makes them; has the store.
        tell: takes the result of each.
        say: called with a line of text now and then.
        fail: called for an event that could not be delivered, while the others are.
    """

    def __init__(
        self,
        maker: Maker,
        tell: Tell,
        say: Callable[[str], None],
        fail: Callable[[StixbridgeError], None],
    ) -> None:
        self._maker = maker
        self._name = maker.pipeline
        self._store: Store = maker.store
        self._tell = tell
        self._say = say
        self._fail = fail

    def deliver(self, run: SinkRun, *, last: bool) -> Iterator[str]:
        """Deliver events to a sink.

        Args:
            run: the events, and the sink.
            last: also take up what earlier runs left unfinished.

        Yields:
            UUIDs of events that need nothing more.

        Raises:
            ServerError: when the sink fails as a whole; events that were not yielded are not
                delivered.
        """
        jobs: list[Job] = []
        for uuid, row in run.made.items():
            if row is not None and row.held:
                self._hold(run, uuid, row.held)
                continue
            job = self._job(run, uuid, row)
            if job is None:
                self._leave(run, uuid, row)
                yield uuid
            else:
                jobs.append(job)
        jobs.extend(self._unfinished(run) if last else ())
        carry_edits(run.sink, jobs)
        jobs.sort(key=lambda job: (takes_away(job), job.uuid))
        for line in run.sink.limits() if jobs else ():
            self._say(f"{run.sink.name}: {line}")
        for phase in self._phases(run, jobs):
            for job, delivery in self._send(run, phase):
                earlier = run.first_notes.get(delivery.event, ())
                delivery.notes[:0] = [note for note in earlier if note not in delivery.notes]
                self._record(run, job, delivery)
                self._tell(run.sink, job, delivery)
                if delivery.state is not State.FAILED:
                    yield delivery.event

    def preview(self, sink: Sink, uuid: str, row: Converted | None) -> tuple[MispEvent, MispEvent]:
        """An event as it is in a sink, and as it would be; nothing is written."""
        last = self._store.deliveries.delivered(sink.name, uuid)
        before: MispEvent = {}
        if last is not None and last.state in OURS:
            before = _allowed(sink, last.delivered.as_wanted())
        is_held = row is not None and row.held
        if is_held or (last is not None and last.state in (State.FOREIGN, State.BLOCKED)):
            return before, before
        wanted = wanted_of(for_sink(sink, row), last)
        if wanted is None:
            return before, {}
        others = self._store.deliveries.wanted(sink.name, uuid, but=self._name)
        return before, _allowed(sink, merge([*others, wanted]))

    # jobs

    def _hold(self, run: SinkRun, uuid: str, why: str) -> None:
        """Hold an event back for a rule, which the next run asks again.

        Objects of it that are in other events stay there.
        """
        note: Note = (None, Outcome.DROPPED, Reason.RULE, f"held: {why}")
        delivery = Delivery(uuid, State.HELD, Delivered({}), "held by a rule", notes=[note])
        self._tell(run.sink, None, delivery)
        run.note_undelivered(uuid, State.HELD)
        run.waiting = True

    def _leave(self, run: SinkRun, uuid: str, row: Converted | None) -> None:
        """Leave an event that is delivered as it is wanted, or that the sink never takes."""
        last = self._store.deliveries.delivered(run.sink.name, uuid)
        if last is not None and row is not None and last.state in _FINAL:
            run.note_undelivered(uuid, State(last.state))
        self._tell(run.sink, None, Delivery(uuid, State.DELIVERED, Delivered({}), "unchanged"))

    def _job(self, run: SinkRun, uuid: str, row: Converted | None) -> Job | None:
        """The job of one event; None where it is delivered as it is wanted."""
        row = for_sink(run.sink, row)
        last = self._store.deliveries.delivered(run.sink.name, uuid)
        offer = wanted_of(row, last)
        if offer is None:
            return None
        wanted = merge(self._store.deliveries.want(run.sink.name, uuid, self._name, offer))
        unchanged = last is not None and last.digest == digest_in(wanted, run.sink)
        if last is not None and unchanged and not self._is_offered_again(run, wanted, last):
            return None
        return self._job_of(run, wanted, last, row)

    def _is_offered_again(self, run: SinkRun, wanted: Wanted, last: DeliveryRow) -> bool:
        """Whether an event goes to the sink although nothing in it changed.

        A replay offers again what the sink would not take: `foreign` may have changed, or the sink;
        and everything, where the sink brings back what it lost.
        """
        if last.state in UNFINISHED:
            return True
        if self._publish(wanted) and not last.published and last.state == State.DELIVERED:
            return True
        if not run.replay:
            return False
        lost = run.sink.restores and last.state in (State.DELIVERED, State.BLOCKED)
        return lost or last.state in (State.FOREIGN, State.REFUSED)

    def _unfinished(self, run: SinkRun) -> Iterator[Job]:
        """Jobs of events that earlier runs left unfinished."""
        deliveries = self._store.deliveries
        for uuid in deliveries.unfinished(run.sink.name, self._name):
            if uuid not in run.made:
                wanted = merge(deliveries.wanted(run.sink.name, uuid))
                yield self._job_of(run, wanted, deliveries.delivered(run.sink.name, uuid), None)

    def _job_of(
        self, run: SinkRun, wanted: Wanted, last: DeliveryRow | None, row: Converted | None
    ) -> Job:
        def stix() -> list[dict[str, Any]]:
            ids = row.stix_ids if row is not None else self._members(wanted.uuid)
            return self._maker.behind(ids)

        record = StoreRecord(self._store, run.sink.name, wanted.uuid, run.moment)
        publish, now = self._publish(wanted), run.moment // 1_000_000
        return Job(wanted, last_delivery(last), record, publish, stix, now)

    def _members(self, uuid: str) -> list[str]:
        """STIX ids of the objects that are in an event by the record."""
        return [id_ for id_, *_ in self._store.placements.members(self._name, [uuid])]

    def _publish(self, wanted: Wanted) -> bool:
        """Whether an event shall be published: a rule goes before the setting of the pipeline."""
        return self._maker.enrich.publish if wanted.publish is None else wanted.publish

    # phases

    def _phases(self, run: SinkRun, jobs: list[Job]) -> Iterator[list[Job]]:
        """Jobs that may be under way at a time: those that add come before those that take away."""
        kinds: list[list[Job]] = [[], [], []]
        for job in jobs:
            kinds[takes_away(job)].append(job)
        yield kinds[0]
        if self._exchange(run, kinds[1]):
            kinds[1] = self._add_first(run, kinds[1])
        yield kinds[1]
        yield kinds[2]

    def _exchange(self, run: SinkRun, jobs: list[Job]) -> bool:
        """Whether an object leaves one of some events for another of them."""
        joins: set[str] = set()
        leaves: set[str] = set()
        for job in jobs:
            row = run.made.get(job.uuid)
            if row is not None and job.last is not None:
                new = parts(job.event) - parts(job.last.body)
                joins.update(id_ for uuid in new for id_ in row.elements.get(uuid, ()))
                leaves |= set(self._members(job.uuid)) - set(row.stix_ids)
        return bool(joins & leaves)

    def _add_first(self, run: SinkRun, jobs: list[Job]) -> list[Job]:
        """Let events that exchange objects have all of them first; the jobs that are left then."""
        failed: set[str] = set()
        for job, delivery in self._send(run, [_adding_only(job) for job in jobs]):
            self._record(run, job, delivery)
            run.first_notes[delivery.event] = [
                note for note in delivery.notes if note[2] is Reason.CONFLICT
            ]
            if delivery.state is State.FAILED:
                failed.add(delivery.event)
                self._tell(run.sink, job, delivery)
        return [self._renewed(run, job) for job in jobs if job.uuid not in failed]

    def _renewed(self, run: SinkRun, job: Job) -> Job:
        """A job after its first step."""
        row = self._store.deliveries.delivered(run.sink.name, job.uuid)
        return replace(job, last=last_delivery(row))

    def _send(self, run: SinkRun, jobs: list[Job]) -> Iterator[tuple[Job, Delivery]]:
        if not jobs:
            return
        by_event = {job.uuid: job for job in jobs}
        for delivery in run.sink.deliver(self._in_order(run, jobs)):
            yield by_event[delivery.event], delivery

    def _in_order(self, run: SinkRun, jobs: Iterable[Job]) -> Iterator[Job]:
        """Hand out jobs, with what has to stay in their events."""
        for job in jobs:
            stopping.check()
            if run.undelivered and job.uuid in run.made and takes_away(job):
                self._put_back(run, job)
            yield job

    def _put_back(self, run: SinkRun, job: Job) -> None:
        """Let objects that did not arrive in their new event stay in the one of a job."""
        row = run.made[job.uuid]
        leaving = set(self._members(job.uuid)) - set(row.stix_ids if row is not None else ())
        staying = {id_: run.undelivered[id_] for id_ in leaving & run.undelivered.keys()}
        if not staying:
            return
        run.waiting |= not all(undelivered.state in _FINAL for undelivered in staying.values())
        run.staying.setdefault(job.uuid, set()).update(staying)
        elements = self._store.placements.elements_of(self._name, job.uuid, set(staying))
        put_back(job, elements, {id_: undelivered.level for id_, undelivered in staying.items()})

    def _record(self, run: SinkRun, job: Job, delivery: Delivery) -> None:
        """Record the result of a job."""
        if delivery.error is not None:
            self._fail(delivery.error)
            run.waiting = True
        else:
            record_delivery(self._store, run.sink, job, delivery, run.moment)
            withdrawn = str(job.event.get("info", "")).startswith(WITHDRAWN)
            if delivery.action == "updated" and withdrawn:
                delivery.action = "withdrawn"
        if delivery.state not in SETTLED and not delivery.arrived:
            run.note_undelivered(delivery.event, delivery.state)


def _allowed(sink: Sink, wanted: Wanted) -> MispEvent:
    """An event without everything that may not go into a sink; empty where all of it may not."""
    allowed = sink.allowed(wanted, [])
    return {} if allowed is None else allowed.event


def _adding_only(job: Job) -> Job:
    """A job that takes nothing away yet."""
    copy = replace(job, publish=False, whole=False)
    if job.last is not None:
        event, level = dict(job.event), level_of(job.last.body)
        for name in PARTS:
            wanted = by_uuid(event, name)
            leaving = [
                staying_in(job.event, part, {level})
                for uuid, part in by_uuid(job.last.body, name).items()
                if uuid not in wanted
            ]
            event[name] = [*rows_of(event, name), *leaving]
        copy.wanted = replace(job.wanted, event=event)
    return copy
