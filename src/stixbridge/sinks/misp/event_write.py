"""An event on its way to MISP: the start of a write, and the changes that it sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge.envelopes import Delivered, Edit
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import Delivery, Job, Note, State
from stixbridge.sinks.misp.diff import Changes


@dataclass(frozen=True, slots=True)
class EventWrite:
    """An event on its way to MISP.

    Attributes:
        job: of the event, or of a part of it where it is split.
        event: as it shall be, and as this MISP takes it.
        notes: takes notes for a reader; they are the delivery's.
    """

    job: Job
    event: MispEvent
    notes: list[Note]

    @property
    def uuid(self) -> str:
        """The UUID that the event has in MISP."""
        return str(self.event["uuid"])

    def result(self, state: State, action: str | None = None) -> Delivery:
        """The delivery of the event as it is wanted, without anything written.

        Args:
            state: where it stands.
            action: as in `Delivery`; the name of the state where it is None.
        """
        delivered = Delivered(self.event)
        return Delivery(self.uuid, state, delivered, action or state.value, notes=self.notes)


@dataclass(frozen=True, slots=True)
class Start:
    """The point that an edit starts from.

    Attributes:
        delivered: the parts of the event that are ours.
        remote: the event as MISP has it.
        published: whether we published it.
        edits: edits that were interrupted before.
        action: as in `Delivery`, where something changes.
        keeps_published: whether the setting `keep_published` holds for this edit.
    """

    delivered: Delivered
    remote: Mapping[str, Any]
    published: bool = False
    edits: tuple[Edit, ...] = ()
    action: str = "updated"
    keeps_published: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """The changes that a write sent.

    Attributes:
        changes: the edit; of an add, the whole event is its body.
        before: the event as it was delivered before; None for an add.
        action: as in `Delivery`.
    """

    changes: Changes
    before: MispEvent | None
    action: str
