"""The answer of MISP to a write, compared with what was sent.

MISP drops parts, fields and tags in silence, and answers 200.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge.misp.model import ANALYST_DATA, MispEvent
from stixbridge.sinks.fields import (
    EVENT_FIELDS,
    FIELDS_OF,
    PARTS,
    VALUES,
    Part,
    by_uuid,
    differs,
    folded_tags,
    is_deleted,
    rows_of,
    with_rows,
)

_INNER = ("Attribute", "ObjectReference", "Sighting", *ANALYST_DATA)


def missing(
    sent: Mapping[str, Any], stored: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Parts that were sent and are not stored, found by UUID.

    Args:
        sent: an event, or an edit of one.
        stored: the event as MISP has it.

    Returns:
        (name, part): `Attribute`, `Object`, `EventReport`, `Note` …, a part in another as
        `Object.Attribute`.
    """
    return list(_missing(sent, stored, (*PARTS, *ANALYST_DATA), ""))


def _missing(
    sent: Mapping[str, Any], stored: Mapping[str, Any], names: Collection[str], where: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in names:
        stored_rows = by_uuid(stored, name) if sent.get(name) else {}
        for part in _kept(sent, name):
            stored_part = stored_rows.get(str(part["uuid"]))
            if stored_part is None:
                yield f"{where}{name}", part
            elif name in PARTS:
                yield from _missing(part, stored_part, _INNER, f"{name}.")


def _kept(sent: Mapping[str, Any], name: str) -> Iterator[Part]:
    """The rows of a list in an edit that it does not delete."""
    return (part for part in rows_of(sent, name) if part.get("deleted") is not True)


def _pairs(
    sent: Mapping[str, Any], stored: Mapping[str, Any], names: Iterable[str] = VALUES
) -> Iterator[tuple[str, Part, Part]]:
    """(name of the list, part as sent, part as stored) of parts that were sent and are stored."""
    for name in names:
        stored_rows = by_uuid(stored, name) if sent.get(name) else {}
        for part in rows_of(sent, name):
            stored_part = stored_rows.get(str(part["uuid"]))
            if stored_part is not None:
                yield name, part, stored_part


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
    """Fields of an edit that are not stored as they were sent.

    For one bad field MISP drops the whole part of the edit.

    Args:
        edit: the body of an edit.
        stored: the event as MISP has it after the edit.
    """
    yield from _differing("Event", EVENT_FIELDS, edit, stored)
    for name, part, stored_part in _pairs(edit, stored, PARTS):
        if part.get("deleted") is True:
            if not is_deleted(stored_part):
                yield Unstored(name, str(part["uuid"]), {"deleted": True})
            continue
        yield from _differing(name, FIELDS_OF[name], part, stored_part)
        if name == "Object" and part.get("Attribute"):
            inner = {"Attribute": stored_part.get("Attribute")}
            yield from unstored({"Attribute": part["Attribute"]}, inner)


def _differing(
    name: str, fields: Iterable[str], sent: Mapping[str, Any], stored: Mapping[str, Any]
) -> Iterator[Unstored]:
    unchanged = {
        field: sent[field] for field in fields if field in sent and differs(field, sent, stored)
    }
    if unchanged:
        yield Unstored(name, str(stored.get("uuid")), unchanged)


def lost_tags(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, set[str]]:
    """Tags that were sent for a part and that it does not have.

    Args:
        sent: an event, or an edit of one.
        stored: the event as MISP has it.

    Returns:
        UUID of a part -> names, as they were sent.
    """
    return _tags_by_part(sent, stored, deleted=False)


def stuck_tags(edit: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, set[str]]:
    """Tags that an edit took off a part and that it still has: UUID of a part -> names."""
    return _tags_by_part(edit, stored, deleted=True)


def _tags_by_part(
    sent: Mapping[str, Any], stored: Mapping[str, Any], *, deleted: bool
) -> dict[str, set[str]]:
    """Tags that are not as they were sent: those to be deleted, or the others."""
    stored_tags = folded_tags(stored)
    wrong = {
        str(tag["name"])
        for tag in rows_of(sent, "Tag")
        if bool(tag.get("deleted")) is deleted
        and (str(tag["name"]).lower() in stored_tags) is deleted
    }
    tags = {str(stored.get("uuid")): wrong} if wrong else {}
    for _, part, stored_part in _pairs(sent, stored):
        if part.get("deleted") is not True:
            tags |= _tags_by_part(part, stored_part, deleted=deleted)
    return tags


def stored_otherwise(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, str]:
    """Values that MISP stored otherwise than they were sent: UUID of an attribute -> the value."""
    values: dict[str, str] = {}
    for name, part, stored_part in _pairs(sent, stored):
        if name == "Object":
            values |= stored_otherwise(part, stored_part)
        elif "value" in part and str(stored_part.get("value")) != str(part["value"]):
            values[str(part["uuid"])] = str(stored_part.get("value"))
    return values


# the event as it is delivered: as it was wanted, without what MISP did not do


def without(event: MispEvent, uuids: Collection[str]) -> MispEvent:
    """An event without some parts."""
    if not uuids:
        return event
    kept: MispEvent = dict(event)
    for name in (*PARTS, *_INNER):
        if kept.get(name):
            rows = (part for part in kept[name] if str(part["uuid"]) not in uuids)
            kept[name] = [without(part, uuids) for part in rows]
    return kept


def with_parts_back(
    event: MispEvent, delivered: Mapping[str, Any], uuids: Collection[str]
) -> MispEvent:
    """An event with parts that an edit was to delete and did not.

    Args:
        event: as it was wanted.
        delivered: as it was delivered before.
        uuids: of the parts.
    """
    if not uuids:
        return event
    kept: MispEvent = dict(event)
    for name in PARTS:
        back = [part for part in rows_of(delivered, name) if str(part["uuid"]) in uuids]
        if back:
            kept[name] = [*rows_of(event, name), *back]
    return kept


def with_old_fields(
    event: MispEvent, unchanged: Mapping[str, Collection[str]], delivered: Mapping[str, Any]
) -> MispEvent:
    """An event with the old values of fields that an edit could not change.

    Args:
        event: as it was wanted.
        unchanged: UUID of a part -> fields.
        delivered: as it was delivered before.
    """
    if not unchanged:
        return event
    kept: MispEvent = dict(event)
    for field in unchanged.get(str(event["uuid"]), ()):
        if field in delivered:
            kept[field] = delivered[field]
        else:
            kept.pop(field, None)
    before = {name: by_uuid(delivered, name) for name in (*PARTS, *ANALYST_DATA)}
    return with_rows(
        kept,
        before,
        lambda name, row: with_old_fields(row, unchanged, before[name].get(str(row["uuid"]), row)),
    )


def with_tags_back(event: MispEvent, tags: Mapping[str, Collection[str]]) -> MispEvent:
    """An event with tags that an edit was to take off and did not.

    Args:
        event: as it was wanted.
        tags: UUID of a part -> names.
    """
    kept: MispEvent = with_rows(event, VALUES, lambda _, row: with_tags_back(row, tags))
    names = tags.get(str(event["uuid"]), ())
    if names:
        kept["Tag"] = [*rows_of(event, "Tag"), *({"name": name} for name in sorted(names))]
    return kept


def without_tags(event: MispEvent, tags: Mapping[str, Collection[str]]) -> MispEvent:
    """An event without some tags, which are not there or are not ours.

    Args:
        event: as it was wanted.
        tags: UUID of a part -> names, in lower case.
    """
    if not tags:
        return event
    kept: MispEvent = with_rows(event, VALUES, lambda _, row: without_tags(row, tags))
    names = tags.get(str(event["uuid"]), ())
    if names and kept.get("Tag"):
        kept["Tag"] = [tag for tag in kept["Tag"] if tag["name"].lower() not in names]
    return kept
