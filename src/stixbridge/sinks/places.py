"""The UUIDs that a delivered event and its parts have in a sink.

They differ from ours where a large event is split into several, and where an event of somebody else
was adopted or is extended by ours.
"""

from __future__ import annotations

from stixbridge.envelopes import Delivered
from stixbridge.misp.model import NAMESPACE, derived_uuid
from stixbridge.sinks.fields import VALUES, in_lists, rows_of


def share_uuid(uuid: str, number: int) -> str:
    """The UUID of one of the events that an event is split into, counted from 0."""
    return derived_uuid(NAMESPACE, "share", uuid, str(number)) if number else uuid


def extension_uuid(uuid: str) -> str:
    """The UUID of an event or part of ours in an event that extends another's."""
    return derived_uuid(NAMESPACE, "extends", uuid)


def place_of(delivered: Delivered, part: str) -> tuple[str, str]:
    """The UUIDs of the event that an attribute of a delivered event is in, and of the attribute.

    Args:
        delivered: the event as it is recorded.
        part: the UUID of the attribute, ours.
    """
    adopted, event = delivered.adopted, _event_of(delivered, part)
    if adopted is None:
        return event, part
    if adopted.policy == "extend":
        return extension_uuid(event), extension_uuid(part)
    return adopted.event or event, adopted.uuids.get(part, part)


def _event_of(delivered: Delivered, part: str) -> str:
    """The UUID of the event that an attribute or object is in, where the whole may be split."""
    uuid = str(delivered.body.get("uuid"))
    numbers = delivered.split.numbers if delivered.split is not None else {}
    for row in in_lists(delivered.body, VALUES) if numbers else ():
        if any(part == inner["uuid"] for inner in (row, *rows_of(row, "Attribute"))):
            return share_uuid(uuid, numbers.get(str(row["uuid"]), 0))
    return uuid


def event_in_sink(delivered: Delivered) -> str:
    """The UUID that a delivered event has in its sink."""
    adopted, uuid = delivered.adopted, str(delivered.body.get("uuid"))
    if adopted is None:
        return uuid
    return extension_uuid(uuid) if adopted.policy == "extend" else adopted.event or uuid


def carriers(delivered: Delivered) -> list[str]:
    """The UUIDs of further events in the sink that carry a delivered event."""
    uuid, adopted, split = str(delivered.body.get("uuid")), delivered.adopted, delivered.split
    numbers = sorted(set(split.numbers.values())) if split is not None else []
    uuids = [share_uuid(uuid, number) for number in numbers]
    if adopted is not None and adopted.event:
        uuids.append(adopted.event)
    if adopted is not None and adopted.policy == "extend":
        uuids.append(extension_uuid(uuid))
    return uuids
