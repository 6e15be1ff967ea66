"""What MISP stored, held against what was sent: it drops parts, fields and tags in silence, and answers 200."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge.misp.model import ANALYST_DATA, MispEvent, tag_names
from stixbridge.sinks.fields import (
    ATTRIBUTE_FIELDS,
    EVENT_FIELDS,
    OBJECT_FIELDS,
    REPORT_FIELDS,
    is_deleted,
    normal,
)

_PARTS = ("Attribute", "Object", "EventReport")
_INNER = ("Attribute", "ObjectReference", "Sighting", *ANALYST_DATA)
_FIELDS = {"Attribute": ATTRIBUTE_FIELDS, "Object": OBJECT_FIELDS, "EventReport": REPORT_FIELDS}


def missing(
    sent: Mapping[str, Any], stored: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Parts that were sent and are not stored, found by UUID.

    Args:
        sent: an event, or an edit of one.
        stored: what MISP has of it.

    Returns:
        (name, part): `Attribute`, `Object`, `EventReport`, `Note` …, those inside another as `Object.Attribute`.
    """
    return list(_missing(sent, stored, (*_PARTS, *ANALYST_DATA), ""))


def _missing(
    sent: Mapping[str, Any], stored: Mapping[str, Any], names: Collection[str], where: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in names:
        rows = sent.get(name)
        if not rows:
            continue
        held = {str(row.get("uuid")): row for row in stored.get(name) or ()}
        for part in rows:
            if part.get("deleted") is True:
                continue
            other = held.get(str(part["uuid"]))
            if other is None:
                yield f"{where}{name}", part
            elif name in _PARTS:
                yield from _missing(part, other, _INNER, f"{name}.")


@dataclass(frozen=True, slots=True)
class Unstored:
    """Fields of a stored part that an edit did not change.

    Attributes:
        name: `Event`, `Attribute`, `Object` or `EventReport`.
        uuid: of the part.
        fields: as they were sent.
    """

    name: str
    uuid: str
    fields: dict[str, Any]


def unstored(edit: Mapping[str, Any], stored: Mapping[str, Any]) -> Iterator[Unstored]:
    """Fields of an edit that are not as they were sent: for one bad field MISP drops the whole part of the edit.

    Args:
        edit: the body of an edit.
        stored: the event as MISP has it then.
    """
    yield from _differing("Event", str(stored.get("uuid")), EVENT_FIELDS, edit, stored)
    for name, fields in _FIELDS.items():
        held = {str(row.get("uuid")): row for row in stored.get(name) or ()}
        for part in edit.get(name) or ():
            other = held.get(str(part["uuid"]))
            if other is None:
                continue
            if part.get("deleted") is True:
                if not is_deleted(other):
                    yield Unstored(name, str(part["uuid"]), {"deleted": True})
                continue
            yield from _differing(name, str(part["uuid"]), fields, part, other)
            if name == "Object" and part.get("Attribute"):
                yield from unstored(
                    {"Attribute": part["Attribute"]}, {"Attribute": other.get("Attribute")}
                )


def _differing(
    name: str,
    uuid: str,
    fields: tuple[str, ...],
    sent: Mapping[str, Any],
    stored: Mapping[str, Any],
) -> Iterator[Unstored]:
    found = {
        field: sent[field]
        for field in fields
        if field in sent and normal(field, sent[field]) != normal(field, stored.get(field))
    }
    if found:
        yield Unstored(name, uuid, found)


def lost_tags(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, set[str]]:
    """Tags that were sent and are not on the part that they were sent for.

    Args:
        sent: an event, or an edit of one.
        stored: what MISP has of it.

    Returns:
        UUID of a part -> names, as they were sent.
    """
    lost: dict[str, set[str]] = {}

    def compare(part: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        have = {name.lower() for name in tag_names(dict(other))}
        for tag in part.get("Tag") or ():
            if not tag.get("deleted") and str(tag["name"]).lower() not in have:
                lost.setdefault(str(other.get("uuid")), set()).add(str(tag["name"]))
        for name in ("Attribute", "Object"):
            if part.get(name):
                held = {str(row.get("uuid")): row for row in other.get(name) or ()}
                for row in part[name]:
                    if str(row["uuid"]) in held and row.get("deleted") is not True:
                        compare(row, held[str(row["uuid"])])

    compare(sent, stored)
    return lost


def stuck_tags(edit: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, set[str]]:
    """Tags that an edit took off and that are there all the same: UUID of a part -> names."""
    stuck: dict[str, set[str]] = {}
    have = {name.lower() for name in tag_names(dict(stored))}
    for tag in edit.get("Tag") or ():
        if tag.get("deleted") and str(tag["name"]).lower() in have:
            stuck.setdefault(str(stored.get("uuid")), set()).add(str(tag["name"]))
    for name in ("Attribute", "Object"):
        held = {str(row.get("uuid")): row for row in stored.get(name) or ()}
        for row in edit.get(name) or ():
            if str(row["uuid"]) in held and row.get("deleted") is not True:
                stuck |= stuck_tags(row, held[str(row["uuid"])])
    return stuck


def with_tags_back(event: MispEvent, tags: Mapping[str, Collection[str]]) -> MispEvent:
    """An event with tags that were to go, and are there all the same.

    Args:
        event: as it was wanted.
        tags: UUID of a part -> names.
    """
    kept: MispEvent = dict(event)
    own = tags.get(str(event["uuid"]), ())
    if own:
        kept["Tag"] = [*(event.get("Tag") or ()), *({"name": name} for name in sorted(own))]
    for name in ("Attribute", "Object"):
        if kept.get(name):
            kept[name] = [with_tags_back(part, tags) for part in kept[name]]
    return kept


def without(event: MispEvent, gone: Collection[str]) -> MispEvent:
    """An event without some parts: what we can say is delivered."""
    if not gone:
        return event
    kept: MispEvent = dict(event)
    for name in (*_PARTS, *_INNER):
        if kept.get(name):
            kept[name] = [
                without(part, gone) for part in kept[name] if str(part["uuid"]) not in gone
            ]
    return kept


def stored_otherwise(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, str]:
    """Values that MISP stored otherwise than they were sent: UUID of an attribute -> the value there."""
    found: dict[str, str] = {}
    held = {str(row.get("uuid")): row for row in stored.get("Attribute") or ()}
    for part in sent.get("Attribute") or ():
        other = held.get(str(part["uuid"]))
        if other is not None and "value" in part and str(other.get("value")) != str(part["value"]):
            found[str(part["uuid"])] = str(other.get("value"))
    objects = {str(row.get("uuid")): row for row in stored.get("Object") or ()}
    for part in sent.get("Object") or ():
        found |= stored_otherwise(part, objects.get(str(part["uuid"]), {}))
    return found


def with_parts_back(event: MispEvent, base: Mapping[str, Any], uuids: Collection[str]) -> MispEvent:
    """An event with parts that were to go, and are there all the same."""
    if not uuids:
        return event
    kept: MispEvent = dict(event)
    for name in _PARTS:
        back = [part for part in base.get(name) or () if str(part["uuid"]) in uuids]
        if back:
            kept[name] = [*(event.get(name) or ()), *back]
    return kept


def with_old_fields(
    event: MispEvent, left: Mapping[str, Collection[str]], base: Mapping[str, Any]
) -> MispEvent:
    """An event with some fields as they were: what we can say is delivered.

    Args:
        event: as it was wanted.
        left: UUID of a part -> fields that could not be changed.
        base: the event as it was delivered before.
    """
    if not left:
        return event
    kept: MispEvent = dict(event)
    for field in left.get(str(event["uuid"]), ()):
        if field in base:
            kept[field] = base[field]
        else:
            kept.pop(field, None)
    for name in (*_PARTS, *ANALYST_DATA):
        if kept.get(name):
            before = {str(part["uuid"]): part for part in base.get(name) or ()}
            kept[name] = [
                with_old_fields(part, left, before.get(str(part["uuid"]), part))
                for part in kept[name]
            ]
    return kept


def without_tags(event: MispEvent, tags: Mapping[str, Collection[str]]) -> MispEvent:
    """An event without some tags: what we can say is ours.

    Args:
        event: as it was wanted.
        tags: UUID of a part -> names, in lower case.
    """
    if not tags:
        return event
    kept: MispEvent = dict(event)
    gone = tags.get(str(event["uuid"]), ())
    if gone and kept.get("Tag"):
        kept["Tag"] = [tag for tag in kept["Tag"] if tag["name"].lower() not in gone]
    for name in ("Attribute", "Object"):
        if kept.get(name):
            kept[name] = [without_tags(part, tags) for part in kept[name]]
    return kept
