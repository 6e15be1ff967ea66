"""The rows of an edit: what MISP needs to find a part and to take an edit of it."""

from __future__ import annotations

from stixbridge.misp.values import BadValue, normalise
from stixbridge.sinks.fields import OBJECT_HEAD, Part

_REFERENCE_HEAD = ("uuid", "object_uuid", "referenced_uuid", "relationship_type")
_REPORT_HEAD = ("uuid", "name", "content", "distribution", "sharing_group_id")


def label(part: Part) -> str:
    """A part as a reader knows it, before a colon; nothing for an event."""
    if "type" in part and "value" in part:
        return f"{part['type']} {str(part['value'])[:80]}: "
    return f"{part['name']}: " if "name" in part else ""


def is_rewritten(known: Part, remote: Part, name: str, stored: str | None) -> bool:
    """Whether an analyst made something else of a part.

    Args:
        known: the part as it was delivered.
        remote: the part as MISP has it.
        name: of the list that it is in.
        stored: the value of an attribute as MISP stored it, where that differs.
    """
    if name == "EventReport":
        return str(remote.get("content")).strip() != str(known.get("content")).strip()
    if name != "Attribute" or "type" not in known:
        return False
    if str(remote.get("type")) != str(known["type"]):
        return True
    return _value(remote) != _value(known) and str(remote.get("value")) != stored


def _value(part: Part) -> str:
    """A value as it compares: MISP normalises the values that it stores."""
    type_, value = str(part.get("type")), str(part.get("value"))
    try:
        return normalise(type_, value).strip().lower()
    except BadValue:
        return value.strip().lower()


def new_row(part: Part, *, revived: bool) -> Part:
    """The row of a part that MISP does not have, or shows as deleted."""
    row = {key: value for key, value in part.items() if key != "timestamp"}
    if "Attribute" in row:
        row["Attribute"] = [new_row(inner, revived=revived) for inner in row["Attribute"]]
    if revived:
        row["deleted"] = False
    return row


def row_head(part: Part, name: str) -> Part:
    """The fields of a part that MISP needs to find it and to take an edit of it."""
    if name == "Object":
        return {key: part[key] for key in OBJECT_HEAD if key in part}
    if name == "ObjectReference":
        return {key: part[key] for key in _REFERENCE_HEAD}
    return {"uuid": part["uuid"]}


def report_head(remote: Part) -> Part:
    """The fields of an event report, as MISP has it, that every edit of it has to have.

    MISP sets those that an edit leaves out to a default.
    """
    return {name: remote[name] for name in _REPORT_HEAD if remote.get(name) is not None}
