"""Events that are in MISP already and are not ours: left alone, taken over, or extended by one of ours.

They have the UUID of the report, or, where that is asked for, its title and some of its values: scripts give UUIDs of
their own. What was taken over or extended is on record in the delivered body (`TAKEN`), so that later runs find it:
`{"as": "adopt", "uuids": {ours: theirs}, "event": UUID}` or `{"as": "extend", "event": UUID}`, without `event` where
it has our UUID.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..ledger import Outcome, Reason
from ..misp.model import ANALYST_DATA, NAMESPACE, MispEvent, all_attributes, derived_uuid
from .changes import resume_base
from .delivery import TAKEN, Delivery, Job, Note, State
from .misp_api import MispApi
from .writing import EventWriter

_UNDECIDED = frozenset({State.FOREIGN, State.REFUSED, State.HELD})
"""States of an event that was never ours."""


class Foreign:
    """What is done about events of someone else.

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

    def recognised(self, job: Job, event: MispEvent, notes: list[Note]) -> str | None:
        """The UUID of the event that a script made of the same report; None where there is none.

        It is of the key's organisation, has the title, and one of the values where there are any; of several the one
        with the most of them, then the newest.

        Args:
            job: of an event.
            event: as this MISP takes it.
            notes: takes the UUIDs of the others.
        """
        if self._recognise != "title" or (job.last is not None and job.last.state not in _UNDECIDED):
            return None
        uuids = self._api.titled(str(event["info"]))
        own = {str(event["uuid"]), str(extending(event)["uuid"])}
        if own & set(uuids):
            return None  # it is there under our UUID
        values = _values(event)
        found: list[tuple[int, int, str]] = []
        for uuid in uuids:
            held = self._api.event(uuid) if not job.known(uuid) else None
            if held is not None:
                theirs = _values(held)
                if values & theirs or not (values or theirs):
                    found.append((len(values & theirs), int(held.get("timestamp") or 0), uuid))
        if not found:
            return None
        best = max(found)[2]
        others = ", ".join(sorted(uuid for _, _, uuid in found if uuid != best))
        if others:
            text = f"more events of this title, left as they are: {others}"
            notes.append((None, Outcome.PRESERVED, Reason.FOREIGN, text))
        return best

    def deliver(self, job: Job, event: MispEvent, notes: list[Note], uuid: str | None = None) -> Delivery:
        """Deliver an event that somebody else has in MISP already, as the policy says.

        Args:
            job: as for `EventWriter.write`.
            event: the same.
            notes: the same.
            uuid: of the event in MISP, where it is not that of ours.
        """
        other = {"event": uuid} if uuid is not None else {}
        if self.policy == "extend":
            return self._extended(job, event, notes, other)
        held = self._api.event(uuid or str(event["uuid"])) if self.policy == "adopt" else None
        if held is not None:
            uuids = equal_values(event, held)
            taken = {"as": "adopt", "uuids": uuids, **other}
            own = as_taken(event, taken)
            notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, "the event of someone else was taken over"))
            delivery = self._writer.edit(job, own, resume_base(own, held), held, notes, published=False)
            if delivery.state in (State.DELIVERED, State.WAITING) and delivery.action != "refused":
                delivery.body = {**delivery.body, TAKEN: taken}
                return delivery
        which = f"{uuid} has this title and" if uuid is not None else "the event in MISP"
        notes.append((None, Outcome.DROPPED, Reason.FOREIGN, f"{which} is not ours; left as it is"))
        return Delivery(str(event["uuid"]), State.FOREIGN, event, "foreign", notes=notes)

    def _extended(self, job: Job, event: MispEvent, notes: list[Note], other: dict[str, str]) -> Delivery:
        own = extending(event, other.get("event"))
        held = self._api.event(str(own["uuid"]))
        text = f"extends the event of someone else, as {own['uuid']}"
        notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
        if held is None:
            delivery = self._writer.add(job, own, notes)
        else:
            delivery = self._writer.edit(job, own, resume_base(own, held), held, notes, published=False)
        delivery.body = {**delivery.body, TAKEN: {"as": "extend", **other}}
        return delivery


def as_taken(event: MispEvent, taken: Mapping[str, Any] | None) -> MispEvent:
    """An event under the UUIDs that it has in MISP, as an earlier delivery took it."""
    if not taken:
        return event
    if taken["as"] == "extend":
        return extending(event, taken.get("event"))
    uuids: Mapping[str, str] = taken["uuids"]
    return {**_renamed(event, lambda uuid: uuids.get(uuid, uuid)), "uuid": taken.get("event", event["uuid"])}


def extending(event: MispEvent, other: str | None = None) -> MispEvent:
    """An event of ours that extends the foreign one: everything in it under derived UUIDs, since those are taken.

    Args:
        event: ours.
        other: UUID of the foreign one, where it is not that of ours.
    """
    uuid = str(event["uuid"])
    return {
        **_renamed(event, lambda old: derived_uuid(NAMESPACE, "extends", old)),
        "uuid": derived_uuid(NAMESPACE, "extends", uuid),
        "extends_uuid": other or uuid,
    }


def _values(event: Mapping[str, Any]) -> set[str]:
    """The values in an event, in lower case."""
    live = [row for row in all_attributes(dict(event)) if row.get("deleted") not in (True, 1, "1")]
    return {str(row.get("value")).strip().lower() for row in live}


def equal_values(event: MispEvent, theirs: Mapping[str, Any]) -> dict[str, str]:
    """Attributes of ours that a foreign event has under other UUIDs: ours -> theirs.

    MISP keeps the first of two attributes of one type and value, and drops the second in silence.
    """
    held = {
        (str(row.get("type")), str(row.get("value")).strip().lower()): str(row.get("uuid"))
        for row in theirs.get("Attribute") or []
        if row.get("deleted") not in (True, 1, "1")
    }
    there = {str(row.get("uuid")) for row in theirs.get("Attribute") or []}
    found: dict[str, str] = {}
    for row in event.get("Attribute") or []:
        other = held.get((str(row["type"]), str(row["value"]).strip().lower()))
        if other is not None and str(row["uuid"]) not in there and other != row["uuid"]:
            found[str(row["uuid"])] = other
    return found


_UUIDS = ("uuid", "object_uuid", "referenced_uuid", "related_object_uuid")
_INNER = ("Attribute", "Object", "EventReport", "ObjectReference", "Sighting", *ANALYST_DATA)


def _renamed(part: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """A part and all in it under other UUIDs."""
    found: dict[str, Any] = {}
    for key, value in part.items():
        if key in _UUIDS and isinstance(value, str):
            found[key] = rename(value)
        elif key in _INNER and isinstance(value, list):
            found[key] = [_renamed(row, rename) for row in value]
        else:
            found[key] = value
    return found
