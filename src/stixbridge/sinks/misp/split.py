"""An oversized event as several linked ones: the first keeps the UUID, the others extend it.

Which part is in which event is on record in the delivered body (`SHARES`) and never changes: MISP takes no UUID into a
second event. What is joined by object references stays together, since a reference does not reach into another event.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import NAMESPACE, MispEvent, derived_uuid
from stixbridge.sinks.base import (
    DELETED_SHARES,
    GIVEN,
    GONE,
    OURS,
    SHARE_HEADS,
    SHARES,
    STORED,
    WITHDRAWN,
    Delivery,
    Job,
    Last,
    Note,
    Remembering,
    State,
)

_HEAD = ("Tag", "distribution", "sharing_group_id")
"""What the events share, unless a request for one of them fails."""
_LISTS = ("Attribute", "Object", "EventReport")

Look = Callable[[str], Mapping[str, Any] | None]
"""UUID of an event -> what MISP has of it."""
Write = Callable[[Job, MispEvent, list[Note]], Delivery]


def share_uuid(uuid: str, number: int) -> str:
    """The UUID of one of the events that an event is split into, counted from 0."""
    return derived_uuid(NAMESPACE, "share", uuid, str(number)) if number else uuid


def event_of(body: Mapping[str, Any], part: str) -> str:
    """The UUID of the event in MISP that an attribute or object of a delivered event is in."""
    uuid = str(body.get("uuid"))
    shares = body.get(SHARES) or {}
    for own, held, _ in _parts(body) if shares else ():
        if part == own or any(part == row["uuid"] for row in held.get("Attribute") or ()):
            return share_uuid(uuid, shares.get(own, 0))
    return uuid


def is_split(event: MispEvent, last: Last | None, most: int | None) -> bool:
    """Whether an event is too large for one, or was split before."""
    begun: list[Mapping[str, Any]] = [event]
    if last is not None:
        if SHARES in last.body or any(
            edit.get("uuid", event["uuid"]) != event["uuid"] for edit in last.intents
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
        before = dict.fromkeys(_uuids(last.body), 0) | last.body.get(SHARES, {})
        gone = set(last.body.get(DELETED_SHARES, ()))
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
    bases = _divided(last.body, before, count, []) if last is not None and (ours or adding) else []
    done: dict[int, Delivery] = {}
    for number, share in enumerate(wanted):
        if number in gone:
            continue
        one = replace(job, event=share, record=Remembering(job) if not number else _Further(job))
        if last is not None and bases and (not number or number in before.values()):
            one.last = replace(last, body=bases[number])
        elif number:
            one.last = Last(State.ADDING, share)  # looks before it adds
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


def _divided(
    event: Mapping[str, Any], shares: Mapping[str, int], count: int, notes: list[Note]
) -> list[MispEvent]:
    """The events; reports, and what analysts say of the event, are in the first."""
    uuid = str(event["uuid"])
    rest = {
        key: value
        for key, value in event.items()
        if key in ("Tag", GONE) or not isinstance(value, list)
    }
    found: list[MispEvent] = []
    for number in range(count):
        share: MispEvent = {**(event if not number else rest), "Attribute": [], "Object": []}
        if number:
            share |= {"uuid": share_uuid(uuid, number), "extends_uuid": uuid, "EventReport": []}
            share["info"] = f"{event['info']} ({number + 1})"
            share |= (event.get(SHARE_HEADS) or {}).get(str(number), {})
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
    bases: list[MispEvent],
    shares: Mapping[str, int],
    gone: set[int],
) -> Delivery:
    """One delivery for all. What did not arrive is in no body, and is tried again."""
    deleted = gone | {
        number for number, delivery in done.items() if delivery.state is State.BLOCKED
    }
    bodies = {number: delivery.body for number, delivery in done.items() if delivery.state in OURS}
    for number in deleted:
        if number < len(bases):
            bodies[number] = bases[number]  # what an analyst deleted is not sent again
    head = bodies[min(bodies)]
    body: MispEvent = {**head, "uuid": event["uuid"], "info": event["info"]}
    for name in _LISTS:
        body[name] = [row for number in sorted(bodies) for row in bodies[number].get(name) or ()]
    heads = {
        str(number): {name: one.get(name) for name in _HEAD}
        for number, one in bodies.items()
        if number
    }
    body[SHARE_HEADS] = {
        number: kept
        for number, kept in heads.items()
        if kept != {name: body.get(name) for name in _HEAD}
    }
    for about in (GIVEN, STORED):
        known = {
            uuid: value for one in bodies.values() for uuid, value in (one.get(about) or {}).items()
        }
        if known:
            body[about] = known
    gone_parts = {uuid for one in bodies.values() for uuid in one.get(GONE) or ()}
    if gone_parts:
        body[GONE] = sorted(gone_parts)
    there = set(_uuids(body))
    body[SHARES] = {part: number for part, number in shares.items() if number and part in there}
    if deleted:
        body[DELETED_SHARES] = sorted(deleted)
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
        body,
        action,
        all(delivery.published for delivery in done.values()),
        incomplete=any(delivery.incomplete for delivery in done.values()),
    )


class _Further(Remembering):
    """The record of a further event: to the whole, adding it is an edit."""

    def begin(self, state: State, body: MispEvent) -> None:
        """Put on record what is about to be in it; where the whole is being created, that is on record."""
        if self.job.last is None or self.job.last.state is not State.ADDING:
            self.job.intend(body)
