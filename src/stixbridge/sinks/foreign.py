"""Events that are in MISP already and are not ours: left alone, taken over, or extended by one of ours.

What was taken over or extended is on record in the delivered body (`TAKEN`), so that later runs find it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..ledger import Outcome, Reason
from ..misp.model import ANALYST_DATA, NAMESPACE, MispEvent, derived_uuid
from .changes import resume_base
from .delivery import Delivery, Job, Note, State
from .misp_api import MispApi
from .writing import EventWriter

TAKEN = "taken"
"""A field of ours in a delivered body: `{"as": "adopt", "uuids": {ours: theirs}}` or `{"as": "extend"}`."""


class Foreign:
    """What is done about events of someone else.

    Args (of the constructor):
        policy: `skip`, `adopt` or `extend`.
        api: the MISP.
        writer: writes to it.
    """

    def __init__(self, policy: str, api: MispApi, writer: EventWriter) -> None:
        self.policy = policy
        self._api = api
        self._writer = writer

    def deliver(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        """Deliver an event whose UUID is somebody else's in MISP, as the policy says.

        Args:
            job: as for `EventWriter.write`.
            event: the same.
            notes: the same.
        """
        uuid = str(event["uuid"])
        if self.policy == "extend":
            return self._extended(job, event, notes)
        held = self._api.event(uuid) if self.policy == "adopt" else None
        if held is not None:
            uuids = equal_values(event, held)
            taken = {"as": "adopt", "uuids": uuids}
            own = as_taken(event, taken)
            notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, "the event of someone else was taken over"))
            delivery = self._writer.edit(job, own, resume_base(own, held), held, notes, published=False)
            if delivery.state in (State.DELIVERED, State.WAITING) and delivery.action != "refused":
                delivery.body = {**delivery.body, TAKEN: taken}
                return delivery
        notes.append((None, Outcome.DROPPED, Reason.FOREIGN, "the event in MISP is not ours; left as it is"))
        return Delivery(uuid, State.FOREIGN, event, "foreign", notes=notes)

    def _extended(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        own = extending(event)
        held = self._api.event(str(own["uuid"]))
        text = f"extends the event of someone else, as {own['uuid']}"
        notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
        if held is None:
            delivery = self._writer.add(job, own, notes)
        else:
            delivery = self._writer.edit(job, own, resume_base(own, held), held, notes, published=False)
        delivery.body = {**delivery.body, TAKEN: {"as": "extend"}}
        return delivery


def as_taken(event: MispEvent, taken: Mapping[str, Any] | None) -> MispEvent:
    """An event under the UUIDs that it has in MISP, as an earlier delivery took it."""
    if not taken:
        return event
    if taken["as"] == "extend":
        return extending(event)
    uuids: Mapping[str, str] = taken["uuids"]
    return {**_renamed(event, lambda uuid: uuids.get(uuid, uuid)), "uuid": event["uuid"]}


def extending(event: MispEvent) -> MispEvent:
    """An event of ours that extends the foreign one: everything in it under derived UUIDs, since those are taken."""
    uuid = str(event["uuid"])
    return {
        **_renamed(event, lambda old: derived_uuid(NAMESPACE, "extends", old)),
        "uuid": derived_uuid(NAMESPACE, "extends", uuid),
        "extends_uuid": uuid,
    }


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
