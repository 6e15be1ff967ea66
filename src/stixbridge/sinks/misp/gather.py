"""One delivery from those of the events that a large event is split into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from stixbridge.envelopes import Delivered, Split
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import OURS, Delivery, State
from stixbridge.sinks.fields import PARTS, VALUES, in_lists, rows_of

_V = TypeVar("_V")

_HEAD = ("Tag", "distribution", "sharing_group_id")
"""The fields that the events share, unless a request for one of them fails."""


@dataclass(slots=True)
class Shares:
    """The events that one event is split into, by their numbers.

    Attributes:
        wanted: as they shall be.
        before: as they were delivered; empty where nothing was.
        done: their deliveries.
    """

    wanted: list[MispEvent]
    before: list[Delivered]
    done: dict[int, Delivery]


def gathered(
    event: MispEvent, shares: Shares, numbers: Mapping[str, int], deleted: frozenset[int]
) -> Delivery:
    """One delivery for all. A part that did not arrive is in no body, and is tried again."""
    blocked = {
        number for number, delivery in shares.done.items() if delivery.state is State.BLOCKED
    }
    kept = _kept(shares, deleted | blocked)
    body = _whole(event, [kept[number].body for number in sorted(kept)], kept[min(kept)].body)
    stored = {str(part["uuid"]) for part in in_lists(body, VALUES)}
    delivered = Delivered(
        body,
        split=Split(
            {part: number for part, number in numbers.items() if number and part in stored},
            _other_heads(kept, body),
            deleted | blocked,
        ),
        analyst_kept=_joined(share.analyst_kept for share in kept.values()),
        deleted_by_analyst=frozenset().union(
            *(share.deleted_by_analyst for share in kept.values())
        ),
        stored_values=_joined(share.stored_values for share in kept.values()),
    )
    arrived = {part for part, number in numbers.items() if number not in kept} <= stored
    state, action = _outcome(shares.done, arrived=arrived)
    return Delivery(
        str(event["uuid"]),
        state,
        delivered,
        action,
        all(delivery.published for delivery in shares.done.values()),
        incomplete=any(delivery.incomplete for delivery in shares.done.values()),
    )


def _kept(shares: Shares, deleted: Iterable[int]) -> dict[int, Delivered]:
    """The events that are in MISP; those that an analyst deleted stay as they were recorded."""
    kept = {
        number: delivery.delivered
        for number, delivery in shares.done.items()
        if delivery.state in OURS
    }
    for number in deleted:
        if number < len(shares.before):
            kept[number] = shares.before[number]
    return kept


def _other_heads(kept: Mapping[int, Delivered], body: MispEvent) -> dict[int, dict[str, Any]]:
    """The heads of further events that differ from that of the first."""
    heads = {number: _head(share.body) for number, share in kept.items() if number}
    return {number: head for number, head in heads.items() if head != _head(body)}


def _whole(event: MispEvent, bodies: list[MispEvent], first: MispEvent) -> MispEvent:
    """The body of the whole event from those of its parts."""
    whole: MispEvent = {**first, "uuid": event["uuid"], "info": event["info"]}
    for name in PARTS:
        whole[name] = [row for body in bodies for row in rows_of(body, name)]
    if event.get("extends_uuid"):
        whole["extends_uuid"] = event["extends_uuid"]
    else:
        whole.pop("extends_uuid", None)
    return whole


def _outcome(done: Mapping[int, Delivery], *, arrived: bool) -> tuple[State, str]:
    """The state and the action of the whole.

    Args:
        done: the deliveries of its events.
        arrived: whether every part is in one of them.
    """
    live = [delivery for delivery in done.values() if delivery.state is not State.BLOCKED]
    if not live:
        return State.BLOCKED, "blocked"
    action = "created" if 0 in done and done[0].action == "created" else "updated"
    if not arrived or any(delivery.state is not State.DELIVERED for delivery in live):
        return State.WAITING, action
    unchanged = {delivery.action for delivery in done.values()} - {"blocked"} == {"unchanged"}
    return State.DELIVERED, "unchanged" if unchanged else action


def _head(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in _HEAD}


def _joined(maps: Iterable[Mapping[str, _V]]) -> dict[str, _V]:
    return {uuid: value for known in maps for uuid, value in known.items()}
