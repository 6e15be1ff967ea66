"""The third step of a run: each event to each sink, when it is not what was delivered before.

What adds goes first, what only withdraws last, so that nothing is ever missing between; what did not arrive in its new
event stays in the one that it would leave, as strictly marked as it is by now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stixbridge import stopping, tlp
from stixbridge.envelopes import Delivered, Wanted
from stixbridge.errors import StixbridgeError
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import Converted, MispEvent, level_of
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.records import StoreRecord, digest_in
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import (
    OURS,
    SETTLED,
    UNFINISHED,
    Delivery,
    Job,
    LastDelivery,
    Note,
    State,
)
from stixbridge.sinks.fields import wider
from stixbridge.sinks.merge import merge
from stixbridge.sinks.places import carriers
from stixbridge.sinks.withdrawal import (
    CLOSED,
    WITHDRAWN,
    parts,
    put_back,
    staying_in,
    takes_away,
    withdrawn,
)
from stixbridge.store import Store
from stixbridge.store.deliveries import DeliveryRow

# States that no later run changes by itself: waiting for them would be for ever.
_FINAL = frozenset({State.FOREIGN, State.BLOCKED, State.REFUSED})

Made = dict[str, Converted | None]
"""UUID of an event -> the event as it was made; None for one that nothing is in any more."""


@dataclass(frozen=True, slots=True)
class _Stranded:
    """An object whose new event is not in the sink.

    Attributes:
        state: where the delivery of that event stands.
        level: the TLP level that the object has there; `CLOSED` for a marking that is no level.
    """

    state: State
    level: str | None


@dataclass(slots=True)
class Pass:
    """One delivery of some events to one sink.

    Attributes:
        sink: the sink.
        made: the events.
        moment: of the run, microseconds.
        again: offer what the sink would not take, once more.
        stranded: STIX id -> why its new event is not in the sink.
        staying: UUID of an event -> STIX ids that stay in it for that reason.
        told: UUID of an event -> what the first of two steps said of it.
        waiting: something was left for the next run.
    """

    sink: Sink
    made: Made
    moment: int
    again: bool = False
    stranded: dict[str, _Stranded] = field(default_factory=dict)
    staying: dict[str, set[str]] = field(default_factory=dict)
    told: dict[str, list[Note]] = field(default_factory=dict)
    waiting: bool = False

    def strand(self, uuid: str, state: State) -> None:
        """Note that an event is not in the sink."""
        row = self.made.get(uuid)
        if row is not None:
            self.stranded.update(
                (id_, _Stranded(state, level)) for id_, level in _levels(row).items()
            )


Told = Callable[[Sink, Job | None, Delivery], None]
"""Takes what became of an event; without a job where nothing was to be done."""


class Deliverer:
    """Delivers the events of one pipeline.

    Args (of the constructor):
        maker: makes them; has the store.
        tell: takes what became of each.
        say: called with a line of text now and then.
        fail: called for an event that could not be delivered, while the others are.
    """

    def __init__(
        self,
        maker: Maker,
        tell: Told,
        say: Callable[[str], None],
        fail: Callable[[StixbridgeError], None],
    ) -> None:
        self._maker = maker
        self._name = maker.pipeline
        self._store: Store = maker.store
        self._tell = tell
        self._say = say
        self._fail = fail

    def deliver(self, one: Pass, *, last: bool) -> Iterator[str]:
        """Deliver events to a sink.

        Args:
            one: which, where.
            last: also take up what earlier runs left unfinished.

        Yields:
            UUIDs of events that were dealt with.

        Raises:
            ServerError: when the sink fails as a whole; what was not yielded is not delivered.
        """
        sink, jobs = one.sink, list[Job]()
        for uuid, row in one.made.items():
            if row is not None and row.held:
                why: Note = (None, Outcome.DROPPED, Reason.RULE, f"held: {row.held}")
                self._tell(
                    sink,
                    None,
                    Delivery(uuid, State.HELD, Delivered({}), "held by a rule", notes=[why]),
                )
                one.strand(
                    uuid, State.HELD
                )  # what was elsewhere stays there, and the next run asks the rule again
                one.waiting = True
                continue
            job = self._job(one, uuid, row)
            if job is not None:
                jobs.append(job)
                continue
            held = self._store.deliveries.delivered(sink.name, uuid)
            if held is not None and row is not None and held.state in _FINAL:
                one.strand(uuid, State(held.state))
            self._tell(sink, None, Delivery(uuid, State.DELIVERED, Delivered({}), "unchanged"))
            yield uuid
        for uuid in self._store.deliveries.unfinished(sink.name, self._name) if last else ():
            if uuid not in one.made:
                event = merge(self._store.deliveries.wanted(sink.name, uuid))
                jobs.append(
                    self._job_of(
                        one, event, self._store.deliveries.delivered(sink.name, uuid), None
                    )
                )
        _inherit(sink, jobs)
        jobs.sort(key=lambda job: (takes_away(job), str(job.event["uuid"])))
        for line in sink.limits() if jobs else ():
            self._say(f"{sink.name}: {line}")
        for phase in self._phases(one, jobs):
            for job, delivery in self._sent(one, phase):
                delivery.notes[:0] = [
                    note for note in one.told.get(delivery.event, ()) if note not in delivery.notes
                ]
                self._took(one, job, delivery)
                self._tell(sink, job, delivery)
                if delivery.state is not State.FAILED:
                    yield delivery.event

    def _phases(self, one: Pass, jobs: list[Job]) -> Iterator[list[Job]]:
        """What may be in flight at a time: none that takes away before those that add are done."""
        kinds: list[list[Job]] = [[], [], []]
        for job in jobs:
            kinds[takes_away(job)].append(job)
        yield kinds[0]
        if self._exchange(one, kinds[1]):
            # what they exchange is in both first
            failed: set[str] = set()
            for job, delivery in self._sent(one, [_adding_only(job) for job in kinds[1]]):
                self._took(one, job, delivery)
                one.told[delivery.event] = [
                    note for note in delivery.notes if note[2] is Reason.CONFLICT
                ]
                if delivery.state is State.FAILED:
                    failed.add(delivery.event)
                    self._tell(one.sink, job, delivery)
            kinds[1] = [
                replace(job, last=self._last(one.sink, uuid))
                for job in kinds[1]
                if (uuid := str(job.event["uuid"])) not in failed
            ]
        yield kinds[1]
        yield kinds[2]

    def _exchange(self, one: Pass, jobs: list[Job]) -> bool:
        """Whether something leaves one of some events for another of them."""
        joins: set[str] = set()
        leaves: set[str] = set()
        for job in jobs:
            row = one.made.get(str(job.event["uuid"]))
            if row is None or job.last is None:
                continue
            new = parts(job.event) - parts(job.last.body)
            joins.update(id_ for uuid in new for id_ in row.elements.get(uuid, ()))
            there = {
                id_
                for id_, *_ in self._store.placements.members(self._name, [str(job.event["uuid"])])
            }
            leaves |= there - set(row.stix_ids)
        return bool(joins & leaves)

    def _sent(self, one: Pass, jobs: list[Job]) -> Iterator[tuple[Job, Delivery]]:
        if not jobs:
            return
        by_uuid = {str(job.event["uuid"]): job for job in jobs}
        for delivery in one.sink.deliver(self._in_order(one, jobs)):
            yield by_uuid[delivery.event], delivery

    def _in_order(self, one: Pass, jobs: list[Job]) -> Iterator[Job]:
        """Hand out jobs; what did not arrive in its new event is put back into the one that it would leave."""
        for job in jobs:
            stopping.check()
            uuid = str(job.event["uuid"])
            if one.stranded and job.last is not None and takes_away(job) and uuid in one.made:
                row = one.made[uuid]
                there = {id_ for id_, _, _, _ in self._store.placements.members(self._name, [uuid])}
                staying = (
                    there - set(row.stix_ids if row is not None else ())
                ) & one.stranded.keys()
                if staying:
                    one.waiting |= not all(one.stranded[id_].state in _FINAL for id_ in staying)
                    one.staying.setdefault(uuid, set()).update(staying)
                    levels = {id_: one.stranded[id_].level for id_ in staying}
                    put_back(
                        job, self._store.placements.elements_of(self._name, uuid, staying), levels
                    )
            yield job

    def _took(self, one: Pass, job: Job, delivery: Delivery) -> None:
        """Record what became of a job."""
        if delivery.error is not None:
            self._fail(delivery.error)
            one.waiting = True
        else:
            self._acknowledge(one.sink, job, delivery, one.moment)
        if delivery.state not in SETTLED and not delivery.arrived:
            one.strand(delivery.event, delivery.state)

    def preview(self, sink: Sink, uuid: str, row: Converted | None) -> tuple[MispEvent, MispEvent]:
        """An event as it is in a sink, and as it would be; nothing is written."""
        held = self._store.deliveries.delivered(sink.name, uuid)
        before: MispEvent = {}
        if held is not None and held.state in OURS:
            before = _allowed(sink, held.delivered.as_wanted())
        if (row is not None and row.held) or (
            held is not None and held.state in (State.FOREIGN, State.BLOCKED)
        ):
            return before, before
        wanted = wanted_of(row_for(sink, row), held)
        if wanted is None:
            return before, {}
        others = self._store.deliveries.wanted(sink.name, uuid, but=self._name)
        return before, _allowed(sink, merge([*others, wanted]))

    # jobs

    def _job(self, one: Pass, uuid: str, row: Converted | None) -> Job | None:
        """The job of one event; None where it is delivered as it is wanted.

        With `again` what a sink would not take is offered once more: `foreign` may have changed, or the sink; and all,
        where the sink brings back what it lost.
        """
        sink = one.sink
        held = self._store.deliveries.delivered(sink.name, uuid)
        row = row_for(sink, row)
        own = wanted_of(row, held)
        if own is None:
            return None
        event = merge(self._store.deliveries.want(sink.name, uuid, self._name, own))
        if held is not None and held.digest == digest_in(event, sink):
            waiting = held.state in UNFINISHED or (
                one.again and held.state in (State.FOREIGN, State.REFUSED)
            )
            lost = one.again and sink.restores and held.state in (State.DELIVERED, State.BLOCKED)
            unpublished = (
                self._publish(event) and not held.published and held.state == State.DELIVERED
            )
            if not waiting and not unpublished and not lost:
                return None
        return self._job_of(one, event, held, row)

    def _job_of(
        self, one: Pass, wanted: Wanted, held: DeliveryRow | None, row: Converted | None
    ) -> Job:
        uuid = wanted.uuid

        def stix() -> list[dict[str, Any]]:
            ids = (
                row.stix_ids
                if row is not None
                else [id_ for id_, *_ in self._store.placements.members(self._name, [uuid])]
            )
            return self._maker.behind(ids)

        record = StoreRecord(self._store, one.sink.name, uuid, one.moment)
        return Job(
            wanted, _last(held), record, self._publish(wanted), stix, one.moment // 1_000_000
        )

    def _last(self, sink: Sink, uuid: str) -> LastDelivery | None:
        return _last(self._store.deliveries.delivered(sink.name, uuid))

    def _publish(self, wanted: Wanted) -> bool:
        """Whether an event shall be published: a rule decides before the setting of the pipeline does."""
        return self._maker.enrich.publish if wanted.publish is None else wanted.publish

    def _acknowledge(self, sink: Sink, job: Job, delivery: Delivery, moment: int) -> None:
        self._store.deliveries.set_delivered(
            sink.name,
            delivery.event,
            delivery.state,
            delivery.delivered,
            moment=moment,
            digest=b"" if delivery.incomplete else digest_in(job.wanted, sink),
            published=delivery.published,
            notes=delivery.notes,
            aliases=carriers(delivery.delivered),
        )
        if delivery.edits:
            self._store.deliveries.begin_edits(sink.name, delivery.event, delivery.edits)
        if delivery.action == "updated" and str(job.event.get("info", "")).startswith(WITHDRAWN):
            delivery.action = "withdrawn"


def _inherit(sink: Sink, jobs: list[Job]) -> None:
    """Let what others did to a value that moves from one event to another go with it."""
    leaving: list[tuple[Job, dict[str, tuple[str, str]]]] = []
    for job in jobs:
        if job.last is not None and job.last.state in OURS and takes_away(job):
            wanted = parts(job.event)
            rows = job.last.body.get("Attribute") or ()
            leaving.append(
                (
                    job,
                    {
                        str(row["uuid"]): _said(row)
                        for row in rows
                        if str(row["uuid"]) not in wanted
                    },
                )
            )
    said = {key for _, rows in leaving for key in rows.values()}
    new: dict[tuple[str, str], list[tuple[Job, str]]] = {}
    for job in jobs if said else ():
        known = parts(job.last.body) if job.last is not None else set()
        for row in job.event.get("Attribute") or ():
            if _said(row) in said and str(row["uuid"]) not in known:
                new.setdefault(_said(row), []).append((job, str(row["uuid"])))
    for job, rows in leaving:
        moved = {uuid: key for uuid, key in rows.items() if key in new}
        if job.last is None or not moved:
            continue
        for uuid, work in sink.analyst_edits(job.last.delivered, set(moved)).items():
            for other, own in new[moved[uuid]]:
                told = not _looser(
                    other.event, job.last.body
                )  # what somebody wrote for fewer is not for more
                kept = {
                    key: value
                    for key, value in work.items()
                    if told or key in ("to_ids", "deleted")
                }
                if kept:
                    other.inherited[own] = kept


def _looser(event: MispEvent, other: MispEvent) -> bool:
    """Whether an event is for more readers than another."""
    ranks = [tlp.RANK.get(level_of(one) or "", -1) for one in (event, other)]
    return ranks[0] < ranks[1] or wider(event.get("distribution"), other.get("distribution"))


def _said(row: Mapping[str, Any]) -> tuple[str, str]:
    """What an attribute says: it has another UUID in another event."""
    return str(row["type"]), str(row["value"])


def _allowed(sink: Sink, wanted: Wanted) -> MispEvent:
    """An event without what may not go into a sink; empty where all of it may not."""
    allowed = sink.allowed(wanted, [])
    return {} if allowed is None else allowed.event


def row_for(sink: Sink, row: Converted | None) -> Converted | None:
    """An event as a sink is to have it: none where it is routed elsewhere; what was delivered before is withdrawn."""
    if row is not None and row.sinks is not None and sink.name not in row.sinks:
        return None
    return row


def wanted_of(row: Converted | None, held: DeliveryRow | None) -> Wanted | None:
    """An event as a pipeline wants it to be; None where there is to be none, and never was."""
    if row is None or row.dropped:
        return withdrawn(held.delivered) if held is not None else None
    # the name of a cluster tells what it is about
    public = not row.closed and level_of(row.event) != "red"
    return Wanted.of(
        row.event,
        restricted=row.closed,
        restricted_parts=row.restricted,
        clusters=row.clusters if public else (),
        publish=row.publish,
    )


def _last(held: DeliveryRow | None) -> LastDelivery | None:
    if held is None:
        return None
    return LastDelivery(State(held.state), held.delivered, held.published, held.edits)


def _adding_only(job: Job) -> Job:
    """A job that takes nothing away yet."""
    copy = replace(job, publish=False, whole=False)
    if job.last is not None:
        event = dict(job.event)
        for name in ("Attribute", "Object", "EventReport"):
            wanted = {str(part["uuid"]) for part in event.get(name) or ()}
            leaving = [
                staying_in(job.event, part, {level_of(job.last.body)})
                for part in job.last.body.get(name) or ()
                if str(part["uuid"]) not in wanted
            ]
            event[name] = [*(event.get(name) or ()), *leaving]
        copy.wanted = replace(job.wanted, event=event)
    return copy


def _levels(row: Converted) -> dict[str, str | None]:
    """How strictly each object is marked in an event; `CLOSED` where a marking that is no level holds it."""
    event = level_of(row.event)
    found: dict[str, str | None] = dict.fromkeys(row.stix_ids, CLOSED if row.closed else event)
    for name in ("Attribute", "Object"):
        for part in row.event.get(name) or ():
            own = tlp.strictest([level_of(part), *map(level_of, part.get("Attribute") or ())])
            closed = part.get("distribution") == "0" and own in (None, event)
            for id_ in row.elements.get(str(part["uuid"]), ()):
                if found.get(id_) != CLOSED:
                    found[id_] = CLOSED if closed else tlp.strictest([found.get(id_), own])
    return found
