"""A job for a sink, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from stixbridge.envelopes import Adoption, Delivered, Edit, Wanted
from stixbridge.errors import ServerError
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent

Note = tuple[str | None, Outcome, Reason, str | None]
"""(UUID of an element or None for the event, outcome, reason, what a reader should know)."""


class State(StrEnum):
    """Where the delivery of an event stands; kept in the store.

    `failed`: nothing is known of it, and what was on record stays; this is never recorded.
    `adding`: its creation was begun. `deleting`: so was its deletion. `waiting`: it is ours and in
    the sink, and an update of it could not be delivered; the recorded body is what is there.
    `held`: not created, tried again at every run. `out`: left out on purpose.
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
        """An event is about to be created or deleted: from now on it may be in the sink."""

    def begin_edits(self, edits: tuple[Edit, ...]) -> None:
        """An event is about to be edited."""

    def known(self, uuid: str) -> bool:
        """Whether an event in the sink was delivered there, or carries one that was."""


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
        inherited: UUID of a new attribute -> edits of an analyst at its value in the event that it
            comes from (`carry_over`).
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
        """Record that the event is about to be created or deleted.

        After an interruption, the next run goes on from there.
        """
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
    """The result of a job.

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
