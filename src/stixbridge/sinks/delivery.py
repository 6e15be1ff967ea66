"""What the pipeline and every sink agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from .. import tlp
from ..ledger import Outcome, Reason
from ..misp.model import ANALYST_DATA, MispEvent, level_of, set_level

Note = tuple[str | None, Outcome, Reason, str | None]
"""(UUID of an element or None for the event, outcome, reason, what a reader should know)."""


class State(StrEnum):
    """Where the delivery of an event stands; kept in the store.

    `adding`: its creation was begun. `deleting`: so was its deletion. `waiting`: it is ours and in the sink, and an
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

TAKEN = "taken"
"""A field of ours in a delivered body: how an event of someone else was taken (`foreign`)."""

SHARES = "shares"
"""A field of ours in a delivered body: UUID of a part -> number of the event that it is in, where one is split
(`split`); what is in the first is not listed."""

DELETED_SHARES = "deleted_shares"
"""A field of ours in a delivered body: numbers of those that an analyst deleted."""


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
    """

    event: MispEvent
    last: Last | None
    record: Record = field(default_factory=_NoRecord)
    publish: bool = False
    stix: Callable[[], list[dict[str, Any]]] = list
    now: int = 0

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
        incomplete: tags were dropped, and are sent again when the event is made again.
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


class Sink(Protocol):
    """A sink of a pipeline.

    Attributes:
        name: its name.
        settings: those on which it depends what arrives of an event; after a change a replay offers all events anew.
    """

    name: str
    settings: str

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Deliver events; each result comes when the sink has confirmed it, in the order of the jobs.

        Raises:
            ServerError: when the sink fails as a whole; what was not yielded is not delivered.
        """

    def allowed(self, event: MispEvent, notes: list[Note]) -> MispEvent | None:
        """An event without what may not go into this sink; None where all of it may not. Asks nobody."""

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


def put_back(job: Job, elements: list[dict[str, Any]]) -> None:
    """Let some elements stay in an event that they would leave.

    Args:
        job: of that event; changed.
        elements: rows with the `uuid` of an attribute.
    """
    if job.last is None:
        return
    uuids = {str(element["uuid"]) for element in elements}
    event = dict(job.event)
    for name in ("Attribute", "Object"):
        wanted = {str(part["uuid"]) for part in event.get(name) or []}
        back = [
            part
            for part in job.last.body.get(name) or []
            if str(part["uuid"]) not in wanted
            and (str(part["uuid"]) in uuids or any(str(row["uuid"]) in uuids for row in part.get("Attribute") or []))
        ]
        if back:
            event[name] = [*(event.get(name) or []), *back]
            event["info"] = str(event["info"]).removeprefix(WITHDRAWN)
    job.event = event


def emptied(body: MispEvent, *, keep: tuple[str, ...] = ("Tag",)) -> MispEvent:
    """What an event becomes when all that was in it has moved or gone.

    Args:
        body: the event; it is not changed.
        keep: lists that stay.
    """
    rest: MispEvent = {
        key: value
        for key, value in body.items()
        if (not isinstance(value, list) or key in keep) and key not in (TAKEN, SHARES, DELETED_SHARES)
    }
    info = str(body.get("info", ""))
    rest["info"] = info if info.startswith(WITHDRAWN) else WITHDRAWN + info
    return {**rest, "Attribute": [], "Object": [], "EventReport": []}


_UNION = ("Attribute", "Object", "EventReport", "Tag", CLUSTERS, *ANALYST_DATA)


def merge(bodies: list[MispEvent]) -> MispEvent:
    """One event from what several pipelines want it to be.

    Args:
        bodies: at least one.

    Returns:
        The union of the parts, fields from the newest, the strictest marking and the narrowest distribution.
    """
    if len(bodies) == 1:
        return bodies[0]
    ordered = sorted(bodies, key=lambda body: int(body.get("timestamp", 0)))
    merged: MispEvent = dict(ordered[-1])
    for name in _UNION:
        union: dict[str, dict[str, Any]] = {}
        for body in ordered:
            for part in body.get(name) or []:
                key = str(part.get("uuid") or part["name"])
                union[key] = _joined(union[key], part) if key in union and name != "Tag" else part
        if union:
            merged[name] = [union[key] for key in sorted(union)]
    _strictest(merged, bodies)
    if any(body.get(RESTRICTED) for body in bodies):
        merged[RESTRICTED] = True
    merged["distribution"] = min((str(body.get("distribution", "0")) for body in bodies), key=_width)
    for name in ("Attribute", "Object"):
        merged[name] = [_inheriting(part, merged, bodies, name) for part in merged.get(name) or []]
    return merged


def _inheriting(part: dict[str, Any], merged: MispEvent, bodies: list[MispEvent], name: str) -> dict[str, Any]:
    """A part that was stricter than the event of one source, and is not than the merged one, inherits again."""
    if part.get("distribution") != "0" or _rank(part) > _rank(merged):
        return part
    for body in bodies:
        for other in body.get(name) or []:
            if other["uuid"] == part["uuid"] and other.get("distribution") == "0" and _rank(other) <= _rank(body):
                return part  # a marking that is no level holds it
    return {**part, "distribution": "5"}


def _rank(part: dict[str, Any]) -> int:
    """The TLP rank of an event or attribute by its own tags, of an object by those of its attributes."""
    inner = part.get("Attribute") or [] if "template_uuid" in part else []
    level = tlp.strictest([level_of(part), *map(level_of, inner)])
    return -1 if level is None else tlp.RANK[level]


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    joined = dict(new)
    for name in ("Attribute", "ObjectReference", "Sighting", *ANALYST_DATA):
        rows = {str(row["uuid"]): row for row in old.get(name) or []}
        for row in new.get(name) or []:
            key = str(row["uuid"])
            rows[key] = _joined(rows[key], row) if key in rows and name == "Attribute" else row
        if rows:
            joined[name] = [rows[key] for key in sorted(rows)]
    if "content" in new and new.get("name") != "Description":  # that is a field of the report: the newest stands
        joined["content"] = _told(str(old["content"]), str(new["content"]))
    if "to_ids" in new:
        joined["to_ids"] = bool(old.get("to_ids")) or bool(new["to_ids"])
    tags = {str(tag["name"]): tag for tag in (old.get("Tag") or []) + (new.get("Tag") or [])}
    if tags:
        joined["Tag"] = [tags[name] for name in sorted(tags)]
    _strictest(joined, [old, new])
    if "0" in (old.get("distribution"), new.get("distribution")):
        joined["distribution"] = "0"
    return joined


def _told(old: str, new: str) -> str:
    """The text of an event report from two sources: rows of a table together, other texts one after the other."""
    if old in new:
        return new
    head = "\n".join(new.split("\n")[:2])
    if new.startswith("|") and old.startswith(head):
        return "\n".join([head, *sorted({*old.split("\n")[2:], *new.split("\n")[2:]})])
    return new if not old else old if new in old else f"{old}\n{new}"


def _strictest(merged: dict[str, Any], of: list[dict[str, Any]]) -> None:
    level = tlp.strictest(level_of(part) for part in of)
    if level is not None:
        set_level(merged, level)


def _width(distribution: str) -> int:
    return {"0": 0, "4": 1, "1": 2, "2": 3, "3": 4}.get(distribution, 0)
