"""Events that are in MISP already and are not ours: left alone, taken over, or extended by one of ours.

What was taken over or extended is on record in the delivered body (`TAKEN`), so that later runs find it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..misp.model import ANALYST_DATA, NAMESPACE, MispEvent, derived_uuid

TAKEN = "taken"
"""A field of ours in a delivered body: `{"as": "adopt", "uuids": {ours: theirs}}` or `{"as": "extend"}`."""


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
