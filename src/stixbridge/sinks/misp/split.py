"""An oversized event as several linked ones: the first keeps the UUID, the others extend it.

Which part is in which event is recorded with what was delivered (`Delivered.split`) and never
changes: MISP takes no UUID into a second event. Parts that object references join stay together,
since a reference does not reach into another event.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stixbridge.envelopes import Delivered, Edit, Split, Wanted
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import (
    OURS,
    Delivery,
    LastDelivery,
    Note,
    PartRecord,
    State,
)
from stixbridge.sinks.fields import VALUES, Part, in_lists, rows_of
from stixbridge.sinks.misp.event_write import EventWrite
from stixbridge.sinks.misp.gather import Shares, gathered
from stixbridge.sinks.places import share_uuid
from stixbridge.sinks.withdrawal import WITHDRAWN

Look = Callable[[str], Mapping[str, Any] | None]
"""UUID of an event -> the event as MISP has it."""
Write = Callable[[EventWrite], Delivery]


def is_split(event: MispEvent, last: LastDelivery | None, most: int | None) -> bool:
    """Whether an event is too large for one, or was split before."""
    if last is None:
        return _is_too_large(event, most)
    begun = (edit.body.get("uuid", event["uuid"]) != event["uuid"] for edit in last.edits)
    if last.delivered.split is not None or any(begun):
        return True
    adding = last.state is State.ADDING and _is_too_large(last.body, most)
    return adding or _is_too_large(event, most)


def _is_too_large(event: Mapping[str, Any], most: int | None) -> bool:
    return most is not None and sum(map(_weight, in_lists(event, VALUES))) > most


@dataclass(frozen=True, slots=True)
class _Known:
    """How an event was split before.

    Attributes:
        numbers: UUID of a part -> number of the event that it is in.
        deleted: numbers of events that an analyst deleted.
        last: the last delivery of the whole, where any of it is in MISP.
    """

    numbers: Mapping[str, int]
    deleted: frozenset[int]
    last: LastDelivery | None


def deliver_split(write: EventWrite, most: int | None, look: Look, send: Write) -> Delivery:
    """Deliver an event as several.

    Args:
        write: of the event.
        most: attributes in one event; None to put no more into further ones.
        look: reads an event.
        send: writes one.

    Returns:
        One delivery for all. Where the first is not ours, its delivery, and nothing else is
        written.

    Raises:
        ServerError: when MISP fails; the next run goes on from what arrived.
    """
    known = _known(write, look)
    numbers = assigned(write.event, known.numbers, most, known.deleted)
    count = max([0, *numbers.values(), *known.numbers.values()]) + 1
    shares = Shares(_divided(write.event, numbers, count, write.notes), _before(known, count), {})
    for number in range(count):
        if number in known.deleted:
            continue
        delivery = send(_share_write(write, known, shares, number))
        shares.done[number] = delivery
        if not number and not _is_ours(delivery, known):
            return delivery
    whole = gathered(write.event, shares, numbers, known.deleted)
    further = [
        note for number, delivery in shares.done.items() if number for note in delivery.notes
    ]
    whole.notes = [*write.notes, *further]
    return whole


def _known(write: EventWrite, look: Look) -> _Known:
    last = write.job.last
    ours = last is not None and last.state in OURS
    adding = last is not None and last.state is State.ADDING
    numbers: dict[str, int] = {}
    deleted: frozenset[int] = frozenset()
    if last is not None and ours:
        split = last.delivered.split or Split()
        numbers = {**dict.fromkeys(_uuids(last.body), 0), **split.numbers}
        deleted = split.deleted
    # parts that an interrupted delivery put elsewhere already stay there
    start = 0 if adding else max([0, *numbers.values(), *deleted]) + 1
    for number in itertools.count(start):
        remote = look(share_uuid(write.uuid, number))
        if remote is None:
            break
        numbers = dict.fromkeys(_uuids(remote), number) | numbers
    return _Known(numbers, deleted, last if ours or adding else None)


def _before(known: _Known, count: int) -> list[Delivered]:
    """A delivered event as the events that it is in."""
    if known.last is None:
        return []
    delivered = known.last.delivered
    heads = delivered.split.heads if delivered.split is not None else {}
    bodies = _divided(delivered.body, known.numbers, count, [], heads)
    return [replace(delivered, body=body) for body in bodies]


def _share_write(write: EventWrite, known: _Known, shares: Shares, number: int) -> EventWrite:
    """The write of one of the events."""
    event = shares.wanted[number]
    record = _FurtherRecord(write.job) if number else PartRecord(write.job)
    job = replace(write.job, wanted=Wanted(event), record=record)
    if known.last is not None and (not number or number in known.numbers.values()):
        job.last = replace(known.last, delivered=shares.before[number])
    elif number:
        job.last = LastDelivery(State.ADDING, Delivered(event))  # looks before it adds
    return EventWrite(job, event, [] if number else write.notes)


def _is_ours(delivery: Delivery, known: _Known) -> bool:
    """Whether the first event is ours; one that an analyst deleted is, where we delivered it."""
    if delivery.state in OURS:
        return True
    delivered = known.last is not None and known.last.state in OURS
    return delivered and delivery.state is State.BLOCKED


# which part goes where


def assigned(
    event: MispEvent, before: Mapping[str, int], most: int | None, deleted: Container[int] = ()
) -> dict[str, int]:
    """The event that each part of an event goes to: UUID -> number.

    Args:
        event: the whole.
        before: numbers of the parts that are delivered already; they stay.
        most: attributes in one event; a group that is larger has one by itself. None for no limit.
        deleted: numbers that get nothing more.
    """
    groups = _groups(event)
    numbers: dict[str, int] = {}
    counts: Counter[int] = Counter()
    for uuid, weight in itertools.chain.from_iterable(groups):
        if uuid in before:
            numbers[uuid] = before[uuid]
            counts[before[uuid]] += weight
    at = 0
    for group in groups:
        new = [(uuid, weight) for uuid, weight in group if uuid not in numbers]
        if not new:
            continue
        weight = sum(weight for _, weight in new)
        placed = [numbers[uuid] for uuid, _ in group if uuid in numbers]
        if not placed:
            at = _next_with_room(at, weight, counts, most, deleted)
        number = min(placed, default=at)
        counts[number] += weight
        numbers.update((uuid, number) for uuid, _ in new)
    return numbers


def _next_with_room(
    at: int, weight: int, counts: Counter[int], most: int | None, deleted: Container[int]
) -> int:
    """The first event, from one on, that has room for a group."""
    while at in deleted or (most is not None and counts[at] and counts[at] + weight > most):
        at += 1
    return at


def _groups(event: MispEvent) -> list[list[tuple[str, int]]]:
    """Parts that have to be in one event: (UUID, attributes)."""
    owner = _owners(event)
    parent = {uuid: uuid for uuid in owner.values()}

    def root(uuid: str) -> str:
        while parent[uuid] != uuid:
            parent[uuid] = parent[parent[uuid]]
            uuid = parent[uuid]
        return uuid

    for part in in_lists(event, VALUES):
        for row in rows_of(part, "ObjectReference"):
            target = owner.get(str(row["referenced_uuid"]))
            if target is not None:
                parent[root(target)] = root(str(part["uuid"]))
    groups: dict[str, list[tuple[str, int]]] = {}
    for part in in_lists(event, VALUES):
        uuid = str(part["uuid"])
        groups.setdefault(root(uuid), []).append((uuid, _weight(part)))
    return list(groups.values())


def _owners(event: Mapping[str, Any]) -> dict[str, str]:
    """UUID of each attribute and object -> UUID of the part of the event that it is in."""
    return {
        str(row["uuid"]): str(part["uuid"])
        for part in in_lists(event, VALUES)
        for row in (part, *rows_of(part, "Attribute"))
    }


def _weight(part: Part) -> int:
    """The attributes in a part."""
    return max(1, len(rows_of(part, "Attribute")))


def _uuids(event: Mapping[str, Any]) -> list[str]:
    return [str(part["uuid"]) for part in in_lists(event, VALUES)]


# one event as several


def _divided(
    event: Mapping[str, Any],
    numbers: Mapping[str, int],
    count: int,
    notes: list[Note],
    heads: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[MispEvent]:
    """The events; reports, and what analysts say about the event, are in the first.

    Args:
        event: the whole.
        numbers: UUID of a part -> number of the event that it goes to.
        count: how many events there are.
        notes: takes a note on each reference that would join two of them.
        heads: number -> tags and distribution, where they are not those of the first.
    """
    shares: list[MispEvent] = [{**event, "Attribute": [], "Object": []}]
    for number in range(1, count):
        shares.append({**_further(event, number), **(heads or {}).get(number, {})})
    owner = _owners(event)

    def is_here(reference: Part, number: int) -> bool:
        return numbers.get(owner.get(str(reference["referenced_uuid"]), ""), number) == number

    for name in VALUES:
        for part in rows_of(event, name):
            number = numbers.get(str(part["uuid"]), 0)
            if "ObjectReference" in part:
                references = rows_of(part, "ObjectReference")
                kept = [row for row in references if is_here(row, number)]
                notes.extend(_dropped(row) for row in references if row not in kept)
                part = {**part, "ObjectReference": kept}
            shares[number][name].append(part)
    for share in shares[1:]:
        if not share["Attribute"] and not share["Object"]:
            share["info"] = WITHDRAWN + str(share["info"]).removeprefix(WITHDRAWN)
    return shares


def _further(event: Mapping[str, Any], number: int) -> MispEvent:
    """One of the further events, without parts."""
    uuid = str(event["uuid"])
    share: MispEvent = {
        key: value for key, value in event.items() if key == "Tag" or not isinstance(value, list)
    }
    return {
        **share,
        "Attribute": [],
        "Object": [],
        "uuid": share_uuid(uuid, number),
        "extends_uuid": uuid,
        "EventReport": [],
        "info": f"{event['info']} ({number + 1})",
    }


def _dropped(reference: Part) -> Note:
    text = "the event is split, and the reference would join two of its events"
    return str(reference["uuid"]), Outcome.DROPPED, Reason.NO_PLACE, text


class _FurtherRecord(PartRecord):
    """The record of a further event: adding it is an edit of the whole."""

    def begin(self, state: State, delivered: Delivered) -> None:
        """Record what is about to be in it, unless the whole is being created."""
        if self.job.last is None or self.job.last.state is not State.ADDING:
            self.job.begin_edit(Edit(delivered.body))
