"""Events of somebody else that are in MISP already: left alone, adopted, or extended by ours.

They have the UUID of the report, or, where that is asked for, its title and some of its values:
scripts give UUIDs of their own. How an event was adopted is recorded with what was delivered
(`Delivered.adopted`), so that later runs find it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stixbridge.envelopes import Adoption, Delivered
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import all_attributes
from stixbridge.sinks.delivery import OURS, Delivery, Job, PartRecord, State
from stixbridge.sinks.fields import is_deleted
from stixbridge.sinks.misp.adopted import (
    adoption_of,
    delivered_by_others,
    event_as_adopted,
    extending,
    in_our_terms,
)
from stixbridge.sinks.misp.answers import number, table
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.event_write import EventWrite, Start
from stixbridge.sinks.misp.recovery import arrived
from stixbridge.sinks.misp.write import EventWriter

_UNDECIDED = frozenset({State.FOREIGN, State.REFUSED, State.HELD})
"""States of an event that was never ours."""


class Foreign:
    """Delivers events that somebody else has in a MISP already.

    Args (of the constructor):
        policy: `skip`, `adopt` or `extend`.
        recognise: by the `uuid` alone, or by the `title` too.
        api: the MISP.
        writer: writes to it.
    """

    def __init__(self, policy: str, recognise: str, api: MispApi, writer: EventWriter) -> None:
        self.policy = policy
        self._recognise = recognise
        self._api = api
        self._writer = writer
        self._lock = threading.Lock()

    def recognised(self, write: EventWrite) -> Delivery | None:
        """Deliver an event that a script made already, under another UUID.

        Returns:
            None where there is no such event.
        """
        last = write.job.last
        if self._recognise != "title" or (last is not None and last.state not in _UNDECIDED):
            return None
        # until it is on record whose it is: another report may have the same title
        with self._lock:
            uuid = self._nearest(write)
            return self.deliver(write, uuid) if uuid is not None else None

    def _nearest(self, write: EventWrite) -> str | None:
        """The UUID of the event that a script made of the same report; None where there is none.

        It is of the key's organisation, has the title and one of the values; of several the one
        with the most of them, then the newest.
        """
        uuids = self._api.titled(str(write.event["info"]))
        if {write.uuid, str(extending(write.event)["uuid"])} & set(uuids):
            return None  # it is there under our UUID
        ranked = [rank for uuid in uuids if (rank := self._rank(write, uuid)) is not None]
        if not ranked:
            return None
        best = max(ranked)[2]
        others = ", ".join(sorted(uuid for _, _, uuid in ranked if uuid != best))
        if others:
            text = (
                f"{best} is the nearest; more events of this title are left as they are: {others}"
            )
            write.notes.append((None, Outcome.PRESERVED, Reason.FOREIGN, text))
        return best

    def _rank(self, write: EventWrite, uuid: str) -> tuple[int, int, str] | None:
        """(values in common with ours, timestamp, UUID) of an event; None without such values."""
        remote = self._api.event(uuid) if not write.job.record.known(uuid) else None
        if remote is None:
            return None
        common = _values(write.event) & _values(remote)
        return (len(common), number(remote.get("timestamp")), uuid) if common else None

    def deliver(self, write: EventWrite, uuid: str | None = None) -> Delivery:
        """Deliver an event that somebody else has in MISP already, as the policy says.

        Args:
            write: of the event.
            uuid: of the event in MISP, where it is not ours.
        """
        if self.policy == "extend":
            return self._extended(write, uuid)
        theirs = uuid or write.uuid
        remote = self._api.event(theirs) if self.policy == "adopt" else None
        if remote is not None:
            adopted = self._adopted(write, remote, uuid)
            if adopted is not None:
                return adopted
        text = f"{theirs} is in MISP and not ours; left as it is"
        write.notes.append((None, Outcome.DROPPED, Reason.FOREIGN, text))
        return write.result(State.FOREIGN)

    def _adopted(
        self, write: EventWrite, remote: Mapping[str, Any], uuid: str | None
    ) -> Delivery | None:
        """Adopt an event; None where the key may not edit it, or MISP refuses the edit."""
        if not self._api.may_edit(remote):
            whose = str(table(remote, "Orgc").get("name") or "another organisation")
            text = f"this key may not edit what is {whose}'s"
            write.notes.append((None, Outcome.DROPPED, Reason.FOREIGN, text))
            return None
        restricted = write.job.wanted.restricted
        adopted = adoption_of(remote, write.event, uuid, restricted=restricted)
        event = event_as_adopted(write.event, adopted)
        start = Delivered(delivered_by_others(event, remote))
        # from now on what is there is ours, and after a cut the next run looks for what was sent
        write.job.begin(State.WAITING, in_our_terms(start, write.event, adopted))
        # not published: nobody has looked at the two together yet
        edit = EventWrite(replace(write.job, publish=False), event, write.notes)
        delivery = self._writer.edit(edit, Start(start, remote, keeps_published=False))
        if delivery.state not in OURS or delivery.action == "refused":
            return None
        text = f"the event of someone else was taken over: {uuid or write.uuid}"
        write.notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
        delivery.delivered = in_our_terms(delivery.delivered, write.event, adopted)
        return delivery

    def _extended(self, write: EventWrite, uuid: str | None) -> Delivery:
        """Deliver an event of ours that extends theirs."""
        job, adopted = write.job, Adoption("extend", event=uuid)
        event = event_as_adopted(write.event, adopted)
        part = EventWrite(_with_record(job, adopted), event, write.notes)
        remote = self._api.event(part.uuid)
        text = f"{part.uuid} extends the event of someone else, {event['extends_uuid']}"
        write.notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
        if remote is None:
            delivery = self._writer.add(part)
        else:
            start = Delivered(arrived(event, remote))
            job.begin(State.WAITING, in_our_terms(start, write.event, adopted))
            delivery = self._writer.edit(part, Start(start, remote))
        delivery.delivered = in_our_terms(delivery.delivered, write.event, adopted)
        return delivery


def _with_record(job: Job, adopted: Adoption) -> Job:
    return replace(job, record=PartRecord(job, adopted))


def _values(event: Mapping[str, Any]) -> set[str]:
    """The values in an event, in lower case."""
    live = [row for row in all_attributes(dict(event)) if not is_deleted(row)]
    return {str(row.get("value")).strip().lower() for row in live}
