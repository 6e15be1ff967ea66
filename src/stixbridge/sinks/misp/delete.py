"""Empty events of ours, deleted so that their UUIDs can come back.

MISP puts a deleted event on its blocklist.
"""

from __future__ import annotations

from collections.abc import Iterator

from stixbridge.envelopes import Delivered
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, all_attributes
from stixbridge.sinks.delivery import OURS, Delivery, Job, LastDelivery, Note, State
from stixbridge.sinks.fields import (
    EVENT_FIELDS,
    PARTS,
    Part,
    differs,
    folded_tags,
    in_lists,
    is_deleted,
    rows_of,
)
from stixbridge.sinks.misp.answers import message_of, value_of
from stixbridge.sinks.misp.api import MispApi, is_derived
from stixbridge.sinks.withdrawal import parts

_STAYS = "its UUID is on the blocklist, and this key may not take it off; an admin can"


def had_parts(job: Job) -> bool:
    """Whether there was anything in an event.

    A report that only names actors never has parts, and is not empty.
    """
    return job.last is not None and bool(parts(job.last.body))


def after_deletion(api: MispApi, job: Job, notes: list[Note]) -> LastDelivery | None:
    """Finish an interrupted deletion.

    Args:
        api: the MISP.
        job: whose deletion was begun.
        notes: takes notes for a reader.

    Returns:
        How the event is delivered by then: not at all, or as the empty event that it was.

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


def deleted(api: MispApi, job: Job, delivery: Delivery) -> Delivery:
    """Delete an event that was just emptied, where nobody else put anything in it.

    Args:
        api: the MISP.
        job: of the event.
        delivery: of the emptied event.

    Returns:
        `State.OUT` where it was deleted, else the delivery as it was.

    Raises:
        ServerError: when MISP fails; the next run goes on.
    """
    if not _may_be_deleted(api, delivery):
        return delivery
    remote = api.event(job.uuid)
    if remote is None or _has_others_work(remote, delivery.body) or api.extended(job.uuid):
        return delivery
    job.begin(State.DELETING, delivery.delivered)
    answer = api.post(f"events/delete/{remote['id']}", {})
    value = value_of(answer)
    if answer.status >= 500 or not value:
        raise api.failed("events/delete", answer, message_of(value, answer))
    if answer.status != 200 or value.get("saved") is not True:
        text = f"empty, and not deleted: {message_of(value, answer)}"
        delivery.notes.append((None, Outcome.PRESERVED, Reason.REFUSED, text))
        return delivery
    _unblock(api, job.uuid, delivery.notes)
    delivered = Delivered.of(job.wanted)
    return Delivery(job.uuid, State.OUT, delivered, "deleted", notes=delivery.notes)


def _may_be_deleted(api: MispApi, delivery: Delivery) -> bool:
    """Whether an event is ours alone, and its UUID can come back after a deletion."""
    delivered = delivery.delivered
    alone = delivered.adopted is None and delivered.split is None
    return delivery.state in OURS and alone and api.may_unblock()


def _unblock(api: MispApi, uuid: str, notes: list[Note]) -> None:
    answer = api.post(f"event_blocklists/delete/{uuid}", {})
    value = value_of(answer)
    if answer.status >= 500 or not value:
        raise api.failed("event_blocklists/delete", answer, message_of(value, answer))
    if answer.status not in (200, 404):  # 404: it keeps no blocklist
        notes.append((None, Outcome.PRESERVED, Reason.BLOCKED, _STAYS))


def _has_others_work(remote: Part, body: Part) -> bool:
    """Whether somebody else has something in an event.

    That is a field, a live part, a tag, a sighting, a proposal or analyst data.
    """
    holders = [remote, *in_lists(remote, PARTS)]
    return (
        any(differs(name, remote, body) for name in EVENT_FIELDS)
        or any(not is_deleted(part) for part in holders[1:])
        or bool(folded_tags(remote) - folded_tags(body))
        or any(part.get(name) for part in holders for name in ("ShadowAttribute", *ANALYST_DATA))
        or any(not is_derived(row) for row in _sightings(remote))
    )


def _sightings(event: Part) -> Iterator[Part]:
    for attribute in all_attributes(event):
        yield from rows_of(attribute, "Sighting")
