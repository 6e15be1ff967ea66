"""What the pipeline and every sink agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from stixbridge import tlp
from stixbridge.envelopes import Adoption, Delivered, Edit, Wanted
from stixbridge.errors import ServerError
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent, level_of, set_level

Note = tuple[str | None, Outcome, Reason, str | None]
"""(UUID of an element or None for the event, outcome, reason, what a reader should know)."""


class State(StrEnum):
    """Where the delivery of an event stands; kept in the store.

    `failed`: nothing is known of it, and what was on record stays; this is never recorded. `adding`: its creation was
    begun. `deleting`: so was its deletion. `waiting`: it is ours and in the sink, and an
    update of it could not be delivered; the recorded body is what is there. `held`: not created, tried again at every
    run. `out`: left out on purpose.
    """

    ADDING = "adding"
    DELETING = "deleting"
    DELIVERED = "delivered"
    WAITING = "waiting"
    HELD = "held"
    FOREIGN = "foreign"
    BLOCKED = "blocked"
    REFUSED = "refused"
    OUT = "out"
    FAILED = "failed"


UNFINISHED = frozenset({State.ADDING, State.DELETING, State.WAITING, State.HELD})
"""States that a run takes up again though nothing changed."""

OURS = frozenset({State.DELIVERED, State.WAITING})
"""States of an event that is in the sink and ours; the recorded body is what is there."""

SETTLED = frozenset({State.DELIVERED, State.OUT})
"""States in which what an event holds is where it should be."""

CLOSED = "closed"
"""In place of a TLP level: a marking that is not a TLP level."""


@dataclass(frozen=True, slots=True)
class LastDelivery:
    """How an event was delivered before.

    Attributes:
        state: where the delivery stands.
        delivered: the event as it is in the sink.
        published: whether we published it.
        edits: edits that were begun since; the parts of them that arrived are ours too.
    """

    state: State
    delivered: Delivered
    published: bool = False
    edits: tuple[Edit, ...] = ()

    @property
    def body(self) -> MispEvent:
        """The event as it is in the sink, under our UUIDs."""
        return self.delivered.body


class Record(Protocol):
    """Records every write before it is sent."""

    def begin(self, state: State, delivered: Delivered) -> None:
        """An event is about to be created or deleted: from here on it may be in the sink, or not."""

    def begin_edits(self, edits: tuple[Edit, ...]) -> None:
        """An event is about to be edited."""

    def known(self, uuid: str) -> bool:
        """Whether an event of this UUID in the sink was delivered there, or carries one that was."""


class _NoRecord:
    """For a delivery without a store."""

    def begin(self, state: State, delivered: Delivered) -> None: ...

    def begin_edits(self, edits: tuple[Edit, ...]) -> None: ...

    def known(self, uuid: str) -> bool:
        return False


@dataclass(slots=True)
class Job:
    """One event to deliver.

    Attributes:
        wanted: the event as it shall be.
        last: how it was delivered before, or None.
        record: records each write before it is sent.
        publish: whether it shall be published once it is complete.
        stix: the STIX objects behind it, for a sink that hands them over as they are.
        now: seconds.
        whole: False for the first of two steps; a dry run tells its changes with the second.
        publish_again: the event was published in MISP, and is to be published again after the edit.
        inherited: UUID of a new attribute -> edits of an analyst at its value in the event that it comes from
            (`carry_over`).
    """

    wanted: Wanted
    last: LastDelivery | None
    record: Record = field(default_factory=_NoRecord)
    publish: bool = False
    stix: Callable[[], list[dict[str, Any]]] = list
    now: int = 0
    whole: bool = True
    publish_again: bool = False
    inherited: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def uuid(self) -> str:
        """The UUID of the event."""
        return self.wanted.uuid

    @property
    def event(self) -> MispEvent:
        """The event as it shall be."""
        return self.wanted.event

    def begin(self, state: State, delivered: Delivered) -> None:
        """Record that the event is about to be created or deleted; the next run goes on from there after a cut."""
        self.record.begin(state, delivered)
        self.last = LastDelivery(state, delivered)

    def begin_edit(self, edit: Edit) -> None:
        """Record that the event is about to be edited."""
        last = self.last or LastDelivery(State.WAITING, Delivered.of(self.wanted))
        self.last = replace(last, edits=(*last.edits, edit))
        self.record.begin_edits(self.last.edits)


@dataclass(frozen=True, slots=True)
class PartRecord:
    """The record of a write that is a part of a job: it records the event of the whole job.

    Args (of the constructor):
        job: the whole.
        adopted: how the event was adopted, to be recorded with it.
    """

    job: Job
    adopted: Adoption | None = None

    def begin(self, state: State, delivered: Delivered) -> None:
        """Record the whole event: the body of the part has other UUIDs, or is not all of it."""
        self.job.begin(state, Delivered.of(self.job.wanted, adopted=self.adopted))

    def begin_edits(self, edits: tuple[Edit, ...]) -> None:
        """Record the newest edit, after those of other parts."""
        self.job.begin_edit(edits[-1])

    def known(self, uuid: str) -> bool:
        """As for the whole."""
        return self.job.record.known(uuid)


@dataclass(slots=True)
class Delivery:
    """What became of a job.

    Attributes:
        event: the UUID of the event.
        state: where its delivery stands now.
        delivered: the event as it is in the sink by now.
        published: whether it is published by us.
        action: `created`, `updated`, `unchanged`, or the name of the state.
        notes: for a reader.
        changes: in a dry run, a line for each thing that would change.
        edits: edits of earlier runs whose end is still not known.
        incomplete: tags or fields were dropped, and are sent again when the event is made again.
        arrived: everything in the event is in the sink; only its publication is to be tried again.
        error: why nothing is known of it (`State.FAILED`).
    """

    event: str
    state: State
    delivered: Delivered
    action: str
    published: bool = False
    notes: list[Note] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    edits: tuple[Edit, ...] = ()
    incomplete: bool = False
    arrived: bool = False
    error: ServerError | None = None

    @property
    def body(self) -> MispEvent:
        """The event as it is in the sink by now, under our UUIDs."""
        return self.delivered.body


class Sink(Protocol):
    """A sink of a pipeline.

    Attributes:
        name: its name.
        settings: those on which it depends what arrives of an event; after a change a replay offers all events anew.
        restores: whether a replay looks for everything, and brings back what the sink has lost.
    """

    name: str
    settings: str
    restores: bool

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Deliver events; each result comes when the sink has confirmed it, in the order of the jobs.

        One event that fails does not keep others from being delivered: it is `State.FAILED`.

        Raises:
            ServerError: when the sink fails as a whole; what was not yielded is not delivered.
        """

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted | None:
        """An event without what may not go into this sink; None where all of it may not. Asks nobody."""

    def others_work(self, delivered: Delivered, uuids: set[str]) -> dict[str, dict[str, Any]]:
        """What others did to some attributes of a delivered event: UUID -> fields, `Tag`, or `deleted`."""

    def limits(self) -> list[str]:
        """What the sink can't do with the rights it has, and what follows, a line each; asked before a delivery."""

    def false_positives(self, since: int) -> list[tuple[str, int]] | None:
        """What analysts marked as false positives there, since a moment: values, and when (microseconds).

        None where that can't be seen.
        """

    def rehearsal(self) -> Sink:
        """The same sink for a dry run: it reads what is there, writes nothing, and its deliveries tell `changes`."""

    def lacks(self, tags: set[str]) -> dict[str, int]:
        """In a dry run, how much of what the sink has to have first it does not have: `new tags`, `new clusters`."""

    def close(self) -> None:
        """Let go of connections."""


def parts(event: Mapping[str, Any]) -> set[str]:
    """UUIDs of all parts of an event: attributes, objects with theirs, references, reports."""
    found: set[str] = set()
    for name in ("Attribute", "Object", "EventReport"):
        for part in event.get(name) or []:
            found.add(str(part["uuid"]))
            for inner in ("Attribute", "ObjectReference"):
                found.update(str(row["uuid"]) for row in part.get(inner) or [])
    return found


WITHDRAWN = "[withdrawn] "
"""Put before the title of an event that has nothing in it any more."""


def takes_away(job: Job) -> int:
    """0 for a job that only adds or changes, 1 for one that takes parts away too, 2 for one that only does that."""
    if job.last is None:
        return 0
    now, before = parts(job.event), parts(job.last.body)
    return bool(before - now) + (bool(before - now) and not now - before)


def put_back(job: Job, elements: list[dict[str, Any]], levels: Mapping[str, str | None]) -> None:
    """Let some elements stay in an event that they would leave, as strictly marked as where they were to go.

    Args:
        job: of that event; changed.
        elements: rows with the `uuid` and the `id` of the STIX object of an attribute.
        levels: STIX id -> the TLP level that it has by now, or `CLOSED`.
    """
    if job.last is None:
        return
    ids: dict[str, set[str]] = {}
    for element in elements:
        ids.setdefault(str(element["uuid"]), set()).add(str(element["id"]))
    event = dict(job.event)
    for name in ("Attribute", "Object"):
        wanted = {str(part["uuid"]) for part in event.get(name) or []}
        back = []
        for part in job.last.body.get(name) or []:
            inside = {str(row["uuid"]) for row in (part, *(part.get("Attribute") or ()))}
            if str(part["uuid"]) not in wanted and inside & ids.keys():
                of = set().union(*(ids[uuid] for uuid in inside & ids.keys()))
                own = {levels[id_] for id_ in of & levels.keys()}
                back.append(staying_in(event, part, own | {level_of(job.last.body)}))
        if back:
            event[name] = [*(event.get(name) or []), *back]
            event["info"] = str(event["info"]).removeprefix(WITHDRAWN)
    job.wanted = replace(job.wanted, event=event)


def staying_in(event: MispEvent, part: dict[str, Any], levels: set[str | None]) -> dict[str, Any]:
    """A part that stays in an event for now: at distribution 0 and with its tag where it is stricter than the event.

    Args:
        event: as it shall be.
        part: as it was delivered.
        levels: the TLP levels that it has: where it was, and where it is to go; `CLOSED` for one that is no level.
    """
    inner = part.get("Attribute") or ()
    level = tlp.strictest([*(levels - {CLOSED}), level_of(part), *map(level_of, inner)])
    holds = level_of(event)
    stricter = level is not None and tlp.RANK[level] > (
        tlp.RANK[holds] if holds is not None else -1
    )
    if not stricter and CLOSED not in levels:
        return part
    copy = {**part, "distribution": "0"}
    if inner:
        copy["Attribute"] = [staying_in(event, row, levels) for row in inner]
    elif stricter and level is not None:
        set_level(copy, level)
    return copy


def narrowed(base: MispEvent, wanted: MispEvent) -> MispEvent:
    """What was delivered, at distribution 0 wherever it shall be stricter by now: for as long as a tag can't be stored.

    Args:
        base: what was delivered.
        wanted: what it shall be.
    """
    kept: MispEvent = dict(base)
    if _stricter(wanted, base):
        kept["distribution"] = "0"
    for name in ("Attribute", "Object", "EventReport"):
        if base.get(name):
            rows = {str(row["uuid"]): row for row in wanted.get(name) or ()}
            kept[name] = [narrowed(part, rows.get(str(part["uuid"]), part)) for part in base[name]]
    return kept


def _stricter(wanted: MispEvent, base: MispEvent) -> bool:
    level, before = level_of(wanted), level_of(base)
    if level is not None and tlp.RANK[level] > (tlp.RANK[before] if before is not None else -1):
        return True
    return wanted.get("distribution") == "0" != base.get("distribution")


def emptied(body: MispEvent, *, keep: tuple[str, ...] = ("Tag",)) -> MispEvent:
    """An event without its parts: all of them moved elsewhere, or are withdrawn.

    Args:
        body: the event; it is not changed.
        keep: lists that stay.
    """
    rest: MispEvent = {
        key: value for key, value in body.items() if not isinstance(value, list) or key in keep
    }
    info = str(body.get("info", ""))
    rest["info"] = info if info.startswith(WITHDRAWN) else WITHDRAWN + info
    return {**rest, "Attribute": [], "Object": [], "EventReport": []}


def withdrawn(delivered: Delivered) -> Wanted:
    """A delivered event as it is wanted when nothing is to be in it any more."""
    return replace(delivered.as_wanted(), event=emptied(delivered.body), clusters=())
