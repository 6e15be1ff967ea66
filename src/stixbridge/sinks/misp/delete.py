"""Empty events of ours, deleted so that their UUIDs can come back: MISP puts what is deleted on its blocklist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.envelopes import Delivered
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, all_attributes, tag_names
from stixbridge.sinks.delivery import OURS, Delivery, Job, LastDelivery, Note, State
from stixbridge.sinks.fields import EVENT_FIELDS, is_set, normal
from stixbridge.sinks.misp.answers import message_of, value_of
from stixbridge.sinks.misp.api import DERIVED, MispApi
from stixbridge.sinks.withdrawal import parts

_STAYS = "its UUID is on the blocklist, and this key may not take it off; an admin can"


def had_parts(job: Job) -> bool:
    """Whether there was anything in an event; a report that only names actors never has parts, and is not empty."""
    return job.last is not None and bool(parts(job.last.body))


def after_deletion(api: MispApi, job: Job, notes: list[Note]) -> LastDelivery | None:
    """Finish a deletion that was cut.

    Args:
        api: the MISP.
        job: whose deletion was begun.
        notes: takes what a reader should know.

    Returns:
        What is there: nothing, or the empty event that it was.

    Raises:
        ServerError: when MISP fails; the next run tries again.
    """
    last = job.last
    if last is None or last.state is not State.DELETING:
        return last
    if api.event(job.uuid) is not None:
        return LastDelivery(State.DELIVERED, last.delivered)
    _unblock(api, job.uuid, notes)
    return None


def removed(api: MispApi, job: Job, delivery: Delivery) -> Delivery:
    """Delete an event that was just emptied, where nobody else put anything in it.

    Args:
        api: the MISP.
        job: of the event.
        delivery: what became of it so far.

    Returns:
        `State.OUT` where it was deleted, else the delivery as it was.

    Raises:
        ServerError: when MISP fails; the next run goes on.
    """
    uuid = job.uuid
    if (
        delivery.state not in OURS
        or delivery.delivered.adopted is not None
        or delivery.delivered.split is not None
        or not api.may_unblock()
    ):
        return delivery
    held = api.event(uuid)
    if held is None or _anything_in(held, delivery.body) or api.extended(uuid):
        return delivery
    job.begin(State.DELETING, delivery.delivered)
    answer = api.post(f"events/delete/{held['id']}", {})
    value = value_of(answer)
    if answer.status >= 500 or not value:
        raise api.failed("events/delete", answer, message_of(value, answer))
    if answer.status != 200 or value.get("saved") is not True:
        note = f"empty, and not deleted: {message_of(value, answer)}"
        delivery.notes.append((None, Outcome.PRESERVED, Reason.REFUSED, note))
        return delivery
    _unblock(api, uuid, delivery.notes)
    return Delivery(uuid, State.OUT, Delivered.of(job.wanted), "deleted", notes=delivery.notes)


def _unblock(api: MispApi, uuid: str, notes: list[Note]) -> None:
    answer = api.post(f"event_blocklists/delete/{uuid}", {})
    value = value_of(answer)
    if answer.status >= 500 or not value:
        raise api.failed("event_blocklists/delete", answer, message_of(value, answer))
    if answer.status not in (200, 404):  # 404: it keeps no blocklist
        notes.append((None, Outcome.PRESERVED, Reason.BLOCKED, _STAYS))


def _anything_in(held: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether somebody else has something in an event: fields, live parts, tags, sightings, proposals, notes."""
    if any(normal(name, held.get(name)) != normal(name, body.get(name)) for name in EVENT_FIELDS):
        return True
    everything = [
        part for name in ("Attribute", "Object", "EventReport") for part in held.get(name) or ()
    ]
    if any(not is_set(part.get("deleted")) for part in everything):
        return True
    if {name.lower() for name in tag_names(dict(held))} - {
        name.lower() for name in tag_names(dict(body))
    }:
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
