"""What the pipeline and every sink agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from stixbridge import tlp
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

RESTRICTED = "restricted"
"""A field of ours in an event: a marking that is no tag holds it at distribution 0. Sinks take it out."""

CLUSTERS = "clusters"
"""A field of ours in an event: what no galaxy knows, described (`conversion.clusters`). Sinks take it out."""

CLOSED = "closed"
"""In place of a TLP level: a marking that is no level."""

PUBLISH = "publish"
"""A field of ours in a wanted event: what a rule says about publishing it. Sinks take it out."""

OWN_FIELDS = frozenset({RESTRICTED, CLUSTERS, PUBLISH, "sharing_group"})
"""Fields of ours in a wanted event that are no MISP's."""

TAKEN = "taken"
"""A field of ours in a delivered body: how an event of someone else was taken (`foreign`)."""

SHARES = "shares"
"""A field of ours in a delivered body: UUID of a part -> number of the event that it is in, where one is split
(`split`); what is in the first is not listed."""

OWED = "publish_owed"
"""A field of ours in an edit on record: the event is to be published after it."""

GIVEN = "given"
"""A field of ours in a delivered body: UUID of a part -> field -> what we delivered, where it is as it was wanted by
somebody else's hand."""

STORED = "stored"
"""A field of ours in a delivered body: UUID of an attribute -> its value as MISP stored it, where that is another."""

SHARE_HEADS = "share_heads"
"""A field of ours in a delivered body: number of an event that is split -> what of it is not that of the first."""

SAID = "said"
"""A field of ours in an edit on record: what of analyst data was to change, as (kind, UUID, fields)."""

GONE = "gone"
"""A field of ours in a delivered body: UUIDs of parts that somebody else deleted: they stay away."""

DELETED_SHARES = "deleted_shares"
"""A field of ours in a delivered body: numbers of those that an analyst deleted."""


RECORDED = frozenset({CLUSTERS, TAKEN, SHARES, SHARE_HEADS, DELETED_SHARES, GONE, GIVEN, STORED})
"""Fields of ours in a delivered body."""


@dataclass(frozen=True, slots=True)
class Last:
    """What was delivered of an event before.

    Attributes:
        state: where it stands.
        body: what is in the sink, under our UUIDs.
        published: whether we published it.
        intents: edits that were begun since, as they were sent; what of them arrived is ours too.
    """

    state: State
    body: MispEvent
    published: bool = False
    intents: tuple[MispEvent, ...] = ()


class Record(Protocol):
    """Takes down what is about to be done, before it is done."""

    def begin(self, state: State, body: MispEvent) -> None:
        """An event is about to be created or deleted: from here on it may be there, or not."""

    def intend(self, edits: tuple[MispEvent, ...]) -> None:
        """An event is about to be edited."""

    def known(self, uuid: str) -> bool:
        """Whether an event of this UUID in the sink is one that was delivered, or carries one."""


class _NoRecord:
    """For a delivery without a store."""

    def begin(self, state: State, body: MispEvent) -> None: ...

    def intend(self, edits: tuple[MispEvent, ...]) -> None: ...

    def known(self, uuid: str) -> bool:
        return False


@dataclass(slots=True)
class Job:
    """One event to deliver.

    Attributes:
        event: what it shall be.
        last: what was delivered before, or None.
        record: where it is taken down what is about to be done.
        publish: whether it shall be published once it is complete.
        stix: the STIX objects behind it, for a sink that hands them over as they are.
        now: seconds.
        whole: not the first of two steps; what a rehearsal tells comes with the last.
        keeps: it was published in MISP, and is to be again.
        inherited: UUID of a new attribute -> what somebody else did to its value where it comes from (`moving`).
    """

    event: MispEvent
    last: Last | None
    record: Record = field(default_factory=_NoRecord)
    publish: bool = False
    stix: Callable[[], list[dict[str, Any]]] = list
    now: int = 0
    whole: bool = True
    keeps: bool = False
    inherited: dict[str, dict[str, Any]] = field(default_factory=dict)

    def begin(self, state: State, body: MispEvent) -> None:
        """Put on record that the event is about to be created or deleted; where this is cut, it is gone on from."""
        self.record.begin(state, body)
        self.last = Last(state, body)

    def intend(self, edit: MispEvent) -> None:
        """Put on record that the event is about to be edited."""
        last = self.last or Last(State.WAITING, self.event)
        self.last = replace(last, intents=(*last.intents, edit))
        self.record.intend(self.last.intents)


@dataclass(frozen=True, slots=True)
class Remembering:
    """The record of a part of a job: what it takes down is of the whole event, with something to remember about it.

    Args (of the constructor):
        job: the whole.
        about: fields of ours that go into the body.
    """

    job: Job
    about: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, state: State, body: MispEvent) -> None:
        """Take it down of the whole event: the body of the part is under other UUIDs, or not all of it."""
        self.job.begin(state, {**self.job.event, **self.about})

    def intend(self, edits: tuple[MispEvent, ...]) -> None:
        """Take down the newest edit, after those of other parts."""
        self.job.intend(edits[-1])

    def known(self, uuid: str) -> bool:
        """As for the whole."""
        return self.job.record.known(uuid)


@dataclass(slots=True)
class Delivery:
    """What became of a job.

    Attributes:
        event: the UUID.
        state: where it stands now.
        body: what is delivered: the wanted event without what the sink did not keep.
        published: whether it is published by us.
        action: `created`, `updated`, `unchanged`, or the state's name.
        notes: what a reader should know.
        changes: in a dry run, what would change, a line each.
        intents: edits of earlier runs whose end is still not known.
        incomplete: tags or fields were dropped, and are sent again when the event is made again.
        arrived: all that it holds is where it should be; only its publishing is to be tried again.
        error: why nothing is known of it (`State.FAILED`).
    """

    event: str
    state: State
    body: MispEvent
    action: str
    published: bool = False
    notes: list[Note] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    intents: tuple[MispEvent, ...] = ()
    incomplete: bool = False
    arrived: bool = False
    error: ServerError | None = None


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

    def allowed(self, event: MispEvent, notes: list[Note]) -> MispEvent | None:
        """An event without what may not go into this sink; None where all of it may not. Asks nobody."""

    def others_work(self, body: MispEvent, uuids: set[str]) -> dict[str, dict[str, Any]]:
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
    job.event = event


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
    """What an event becomes when all that was in it has moved or gone.

    Args:
        body: the event; it is not changed.
        keep: lists that stay.
    """
    rest: MispEvent = {
        key: value
        for key, value in body.items()
        if (not isinstance(value, list) or key in keep) and key not in RECORDED - {CLUSTERS}
    }
    info = str(body.get("info", ""))
    rest["info"] = info if info.startswith(WITHDRAWN) else WITHDRAWN + info
    return {**rest, "Attribute": [], "Object": [], "EventReport": []}
