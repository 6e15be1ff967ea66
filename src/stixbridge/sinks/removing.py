"""Empty events of ours, deleted so that their UUIDs can come back: MISP puts what is deleted on its blocklist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ledger import Outcome, Reason
from ..misp.model import ANALYST_DATA, MispEvent, all_attributes, tag_names
from .delivery import OURS, SHARES, TAKEN, Delivery, Job, State, parts
from .misp_api import DERIVED, MispApi, message_of, value_of

_STAYS = "its UUID is on the blocklist, and this key may not take it off; an admin can"


def is_empty(event: MispEvent) -> bool:
    """Whether nothing is in an event any more."""
    return not parts(event)


def was_cut(api: MispApi, job: Job) -> Delivery | None:
    """A deletion of ours that was cut: the event is gone, and its UUID may still be on the blocklist.

    Args:
        api: the MISP.
        job: of an event that nothing is to be in.
    """
    last, uuid = job.last, str(job.event["uuid"])
    if last is None or last.state is not State.ADDING or api.event(uuid) is not None:
        return None
    return _unblocked(api, Delivery(uuid, State.OUT, job.event, "deleted"))


def removed(api: MispApi, job: Job, delivery: Delivery) -> Delivery:
    """Delete an event that was just emptied, where nobody else put anything in it.

    Args:
        api: the MISP.
        job: of the event; its `begin` puts on record that it may be gone.
        delivery: what became of it so far.

    Returns:
        `State.OUT` where it was deleted, else the delivery as it was.
    """
    uuid = str(job.event["uuid"])
    if delivery.state not in OURS or TAKEN in delivery.body or SHARES in delivery.body or not api.may_unblock():
        return delivery
    held = api.event(uuid)
    if held is None or _anything_in(held, delivery.body):
        return delivery
    job.begin()
    answer = api.post(f"events/delete/{held['id']}", {})
    if answer.status != 200 or value_of(answer).get("saved") is not True:
        note = f"empty, and not deleted: {message_of(value_of(answer), answer)}"
        delivery.notes.append((None, Outcome.PRESERVED, Reason.REFUSED, note))
        return delivery
    return _unblocked(api, Delivery(uuid, State.OUT, job.event, "deleted", notes=delivery.notes))


def _unblocked(api: MispApi, delivery: Delivery) -> Delivery:
    answer = api.post(f"event_blocklists/delete/{delivery.event}", {})
    if answer.status not in (200, 404):  # 404: it keeps no blocklist
        delivery.notes.append((None, Outcome.PRESERVED, Reason.BLOCKED, _STAYS))
    return delivery


def _anything_in(held: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether somebody else has something in an event: live parts, tags, sightings, proposals, notes."""
    everything = [part for name in ("Attribute", "Object", "EventReport") for part in held.get(name) or ()]
    if any(part.get("deleted") not in (True, 1, "1") for part in everything):
        return True
    if {name.lower() for name in tag_names(dict(held))} - {name.lower() for name in tag_names(dict(body))}:
        return True
    if any(part.get("ShadowAttribute") for part in (held, *everything)):
        return True
    if any(part.get(kind) for part in (held, *everything) for kind in ANALYST_DATA):
        return True
    return any(
        str(said.get("uuid"))[14:15] != DERIVED
        for part in all_attributes(dict(held))
        for said in part.get("Sighting") or ()
    )
