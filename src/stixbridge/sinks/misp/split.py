"""An oversized event as several linked ones: the first keeps the UUID, the others extend it.

Which part is in which event is recorded with what was delivered (`Delivered.split`) and never changes: MISP takes no
UUID into a second event. What is joined by object references stays together, since a reference does not reach into another event.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from stixbridge.envelopes import Delivered, Edit, Split, Wanted
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import NAMESPACE, MispEvent, derived_uuid
from stixbridge.sinks.delivery import OURS, Delivery, Job, LastDelivery, Note, PartRecord, State
from stixbridge.sinks.withdrawal import WITHDRAWN

_HEAD = ("Tag", "distribution", "sharing_group_id")
"""What the events share, unless a request for one of them fails."""
_LISTS = ("Attribute", "Object", "EventReport")

_V = TypeVar("_V")

Look = Callable[[str], Mapping[str, Any] | None]
"""UUID of an event -> what MISP has of it."""
Write = Callable[[Job, MispEvent, list[Note]], Delivery]


def share_uuid(uuid: str, number: int) -> str:
    """The UUID of one of the events that an event is split into, counted from 0."""
    return derived_uuid(NAMESPACE, "share", uuid, str(number)) if number else uuid


def event_of(delivered: Delivered, part: str) -> str:
    """The UUID of the event in MISP that an attribute or object of a delivered event is in."""
    uuid = str(delivered.body.get("uuid"))
    numbers = delivered.split.numbers if delivered.split is not None else {}
    for own, held, _ in _parts(delivered.body) if numbers else ():
        if part == own or any(part == row["uuid"] for row in held.get("Attribute") or ()):
            return share_uuid(uuid, numbers.get(own, 0))
    return uuid


def is_split(event: MispEvent, last: LastDelivery | None, most: int | None) -> bool:
    """Whether an event is too large for one, or was split before."""
    begun: list[Mapping[str, Any]] = [event]
    if last is not None:
        if last.delivered.split is not None or any(
            edit.body.get("uuid", event["uuid"]) != event["uuid"] for edit in last.edits
        ):
            return True
        begun += [last.body] if last.state is State.ADDING else []
    return most is not None and any(
        sum(weight for _, _, weight in _parts(one)) > most for one in begun
    )


def deliver_split(
    job: Job, event: MispEvent, notes: list[Note], most: int | None, look: Look, write: Write
) -> Delivery:
    """Deliver an event as several.

    Args:
        job: of the event.
        event: prepared for this MISP.
        notes: takes what a reader should know; they are the delivery's.
        most: attributes in one; None to put no more into further ones.
        look: reads an event.
        write: delivers one.

    Returns:
        One delivery for all. Where the first is not ours, its delivery, and nothing else is written.

    Raises:
        ServerError: when MISP fails; the next run goes on from what arrived.
    """
    uuid, last = str(event["uuid"]), job.last
    ours = last is not None and last.state in OURS
    adding = last is not None and last.state is State.ADDING
    before: dict[str, int] = {}
    gone: set[int] = set()
    if last is not None and ours:
        split = last.delivered.split or Split()
        before = {**dict.fromkeys(_uuids(last.body), 0), **split.numbers}
        gone = set(split.deleted)
    # what a cut delivery put elsewhere already stays there
    start = 0 if adding else max([0, *before.values(), *gone]) + 1
    for number in itertools.count(start):
        held = look(share_uuid(uuid, number))
        if held is None:
            break
        before = dict.fromkeys(_uuids(held), number) | before
    shares = assigned(event, before, most, gone)
    count = max([0, *shares.values(), *before.values()]) + 1
    wanted = _divided(event, shares, count, notes)
    bases: list[Delivered] = []
    if last is not None and (ours or adding):
        bases = _divided_delivered(last.delivered, before, count)
    done: dict[int, Delivery] = {}
    for number, share in enumerate(wanted):
        if number in gone:
            continue
        one = replace(
            job, wanted=Wanted(share), record=_FurtherRecord(job) if number else PartRecord(job)
        )
        if last is not None and bases and (not number or number in before.values()):
            one.last = replace(last, delivered=bases[number])
        elif number:
            one.last = LastDelivery(State.ADDING, Delivered(share))  # looks before it adds
        done[number] = write(one, share, notes if not number else [])
        if (
            not number
            and done[0].state not in OURS
            and not (ours and done[0].state is State.BLOCKED)
        ):
            return done[0]
    further = [note for number, delivery in done.items() if number for note in delivery.notes]
    gathered = _gathered(event, done, bases, shares, gone)
    gathered.notes = [*notes, *further]
    return gathered


def assigned(
    event: MispEvent, before: Mapping[str, int], most: int | None, gone: Container[int] = ()
) -> dict[str, int]:
    """Which part of an event goes where: UUID -> number of the event.

    Args:
        event: the whole.
        before: where parts are already; they stay.
        most: attributes in one event; a group that is larger has one by itself. None for no limit.
        gone: numbers that get nothing more.
    """
    groups = _groups(event)
    found = {uuid: before[uuid] for group in groups for uuid, _ in group if uuid in before}
    counts: dict[int, int] = {}
    for group in groups:
        for uuid, weight in group:
            if uuid in found:
                counts[found[uuid]] = counts.get(found[uuid], 0) + weight
    at = 0
    for group in groups:
        new = [(uuid, weight) for uuid, weight in group if uuid not in found]
        if not new:
            continue
        weight = sum(weight for _, weight in new)
        there = [found[uuid] for uuid, _ in group if uuid in found]
        if not there:
            while at in gone or (
                most is not None and counts.get(at, 0) and counts[at] + weight > most
            ):
                at += 1
        number = min(there, default=at)
        counts[number] = counts.get(number, 0) + weight
        found.update((uuid, number) for uuid, _ in new)
    return found


def _groups(event: MispEvent) -> list[list[tuple[str, int]]]:
    """Parts that have to be in one event: (UUID, attributes)."""
    owner: dict[str, str] = {}
    for uuid, part, _ in _parts(event):
        owner[uuid] = uuid
        owner.update((str(row["uuid"]), uuid) for row in part.get("Attribute") or ())
    parent = {uuid: uuid for uuid in owner.values()}

    def root(uuid: str) -> str:
        while parent[uuid] != uuid:
            parent[uuid] = parent[parent[uuid]]
            uuid = parent[uuid]
        return uuid

    for uuid, part, _ in _parts(event):
        for row in part.get("ObjectReference") or ():
            target = owner.get(str(row["referenced_uuid"]))
            if target is not None:
                parent[root(target)] = root(uuid)
    groups: dict[str, list[tuple[str, int]]] = {}
    for uuid, _, weight in _parts(event):
        groups.setdefault(root(uuid), []).append((uuid, weight))
    return list(groups.values())


def _parts(event: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Attributes and objects, with the attributes in each."""
    for name in ("Attribute", "Object"):
        for part in event.get(name) or ():
            yield str(part["uuid"]), part, max(1, len(part.get("Attribute") or ()))


def _uuids(event: Mapping[str, Any]) -> list[str]:
    return [uuid for uuid, _, _ in _parts(event)]


def _divided_delivered(
    delivered: Delivered, shares: Mapping[str, int], count: int
) -> list[Delivered]:
    """A delivered event as the events that it is in."""
    heads = delivered.split.heads if delivered.split is not None else {}
    bodies = _divided(delivered.body, shares, count, [], heads)
    return [replace(delivered, body=body) for body in bodies]


def _divided(
    event: Mapping[str, Any],
    shares: Mapping[str, int],
    count: int,
    notes: list[Note],
    heads: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[MispEvent]:
    """The events; reports, and what analysts say of the event, are in the first."""
    uuid = str(event["uuid"])
    rest = {
        key: value for key, value in event.items() if key == "Tag" or not isinstance(value, list)
    }
    found: list[MispEvent] = []
    for number in range(count):
        share: MispEvent = {**(event if not number else rest), "Attribute": [], "Object": []}
        if number:
            share |= {"uuid": share_uuid(uuid, number), "extends_uuid": uuid, "EventReport": []}
            share["info"] = f"{event['info']} ({number + 1})"
            share |= (heads or {}).get(number, {})
        found.append(share)
    owner = {
        str(row["uuid"]): part_uuid
        for part_uuid, part, _ in _parts(event)
        for row in (part, *(part.get("Attribute") or ()))
    }
    for name in ("Attribute", "Object"):
        for part in event.get(name) or ():
            number = shares.get(str(part["uuid"]), 0)
            kept = []
            for row in part.get("ObjectReference") or ():
                if shares.get(owner.get(str(row["referenced_uuid"]), ""), number) == number:
                    kept.append(row)
                else:
                    text = "the event is split, and the reference would join two of its events"
                    notes.append((str(row["uuid"]), Outcome.DROPPED, Reason.NO_PLACE, text))
            found[number][name].append(
                {**part, "ObjectReference": kept} if "ObjectReference" in part else part
            )
    for share in found[1:]:
        if (
            not share["Attribute"]
            and not share["Object"]
            and not str(share["info"]).startswith(WITHDRAWN)
        ):
            share["info"] = WITHDRAWN + str(share["info"])
    return found


def _gathered(
    event: MispEvent,
    done: dict[int, Delivery],
    bases: list[Delivered],
    shares: Mapping[str, int],
    gone: set[int],
) -> Delivery:
    """One delivery for all. What did not arrive is in no body, and is tried again."""
    deleted = gone | {
        number for number, delivery in done.items() if delivery.state is State.BLOCKED
    }
    kept = {
        number: delivery.delivered for number, delivery in done.items() if delivery.state in OURS
    }
    for number in deleted:
        if number < len(bases):
            kept[number] = bases[number]  # what an analyst deleted is not sent again
    bodies = {number: delivered.body for number, delivered in kept.items()}
    head = bodies[min(bodies)]
    body: MispEvent = {**head, "uuid": event["uuid"], "info": event["info"]}
    for name in _LISTS:
        body[name] = [row for number in sorted(bodies) for row in bodies[number].get(name) or ()]
    heads = {number: _head(share) for number, share in bodies.items() if number}
    there = set(_uuids(body))
    split = Split(
        {part: number for part, number in shares.items() if number and part in there},
        {number: head for number, head in heads.items() if head != _head(body)},
        frozenset(deleted),
    )
    if event.get("extends_uuid"):
        body["extends_uuid"] = event["extends_uuid"]
    else:
        body.pop("extends_uuid", None)
    states = {delivery.state for delivery in done.values()} - {State.BLOCKED}
    actions = {delivery.action for delivery in done.values()} - {"blocked"}
    action = "created" if 0 in done and done[0].action == "created" else "updated"
    if not states:
        state, action = State.BLOCKED, "blocked"
    elif (
        states == {State.DELIVERED}
        and {part for part, number in shares.items() if number not in bodies} <= there
    ):
        state, action = State.DELIVERED, "unchanged" if actions == {"unchanged"} else action
    else:
        state = State.WAITING
    return Delivery(
        str(event["uuid"]),
        state,
        Delivered(
            body,
            split=split,
            analyst_kept=_joined(one.analyst_kept for one in kept.values()),
            deleted_by_analyst=frozenset().union(
                *(one.deleted_by_analyst for one in kept.values())
            ),
            stored_values=_joined(one.stored_values for one in kept.values()),
        ),
        action,
        all(delivery.published for delivery in done.values()),
        incomplete=any(delivery.incomplete for delivery in done.values()),
    )


def _head(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in _HEAD}


def _joined(maps: Iterable[Mapping[str, _V]]) -> dict[str, _V]:
    return {uuid: value for known in maps for uuid, value in known.items()}


class _FurtherRecord(PartRecord):
    """The record of a further event: to the whole, adding it is an edit."""

    def begin(self, state: State, delivered: Delivered) -> None:
        """Record what is about to be in it; where the whole is being created, that is recorded already."""
        if self.job.last is None or self.job.last.state is not State.ADDING:
            self.job.begin_edit(Edit(delivered.body))
