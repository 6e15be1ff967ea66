"""What is ours of a write that was cut: MISP may have stored all of it, some of it, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stixbridge.envelopes import AnalystDataChange, Delivered, Edit
from stixbridge.misp.model import ANALYST_DATA, MispEvent, tag_names
from stixbridge.sinks.fields import (
    ATTRIBUTE_FIELDS,
    EVENT_FIELDS,
    OBJECT_FIELDS,
    REPORT_FIELDS,
    by_uuid,
    is_deleted,
    normal,
)

Part = dict[str, Any]

_LISTS: Mapping[str, tuple[str, ...]] = {
    "Attribute": ATTRIBUTE_FIELDS,
    "Object": OBJECT_FIELDS,
    "EventReport": REPORT_FIELDS,
    "ObjectReference": (),
}
"""Lists of parts, and the fields that an edit of one changes."""


def resume_base(sent: Mapping[str, Any], theirs: Mapping[str, Any]) -> MispEvent:
    """The base of an interrupted add: of what was sent, that which arrived.

    Args:
        sent: the event, or a part.
        theirs: what MISP has of it.
    """
    base: MispEvent = {key: value for key, value in sent.items() if key not in _LISTS}
    held = {name.lower() for name in tag_names(dict(theirs))}
    if "Tag" in sent:
        base["Tag"] = [
            tag for tag in sent["Tag"] if tag["name"].lower() in held and not tag.get("deleted")
        ]
    for name in ("Sighting", *ANALYST_DATA):
        if name in sent:
            there = by_uuid(theirs, name)
            base[name] = [row for row in sent[name] if row["uuid"] in there]
    for name in _LISTS:
        if name in sent:
            there = by_uuid(theirs, name)
            base[name] = [
                resume_base(part, there[part["uuid"]])
                for part in sent[name]
                if part["uuid"] in there
            ]
    return base


def after_cut(delivered: Delivered, edits: Sequence[Edit], theirs: Mapping[str, Any]) -> Delivered:
    """The event as it is delivered after edits that were cut: as before, with the parts of them that arrived.

    Args:
        delivered: the event as it was delivered.
        edits: as they were sent, in order.
        theirs: the event as MISP has it.
    """
    ours: MispEvent = dict(delivered.body)
    for edit in edits:
        ours = _after(ours, edit.body, theirs, EVENT_FIELDS)
        for change in edit.analyst_data:
            ours = _changed(ours, theirs, change)
    return replace(delivered, body=ours)


def _changed(
    known: Mapping[str, Any], theirs: Mapping[str, Any], change: AnalystDataChange
) -> Part:
    """A part with a note, opinion or relationship as we changed it, where MISP has it so."""
    ours: Part = dict(known)
    kind, uuid, fields = change.kind, change.uuid, change.fields
    if any(row["uuid"] == uuid for row in known.get(kind) or ()):
        there = by_uuid(theirs, kind).get(uuid)
        rows = []
        for row in known[kind]:
            if row["uuid"] != uuid or (fields is None and there is not None):
                rows.append(row)
            elif fields is not None:
                done = there is not None and all(
                    normal(key, there.get(key)) == normal(key, fields[key]) for key in fields
                )
                rows.append({**row, **fields} if done else row)
        ours[kind] = rows
    for name in ("Attribute", "Object", "EventReport"):
        if known.get(name):
            held = by_uuid(theirs, name)
            ours[name] = [
                _changed(row, held.get(str(row["uuid"]), {}), change) for row in known[name]
            ]
    return ours


def _after(
    known: Mapping[str, Any],
    edit: Mapping[str, Any],
    theirs: Mapping[str, Any],
    fields: Sequence[str],
) -> Part:
    """The same for one part: what MISP has as it was sent is from us."""
    ours: Part = dict(known)
    for name in fields:
        if name in edit and normal(name, edit[name]) == normal(name, theirs.get(name)):
            ours[name] = edit[name]
    if edit.get("Tag"):
        ours["Tag"] = _tags(known, edit, theirs)
    for name in ("Sighting", *ANALYST_DATA):
        if edit.get(name):
            there = by_uuid(theirs, name)
            rows = by_uuid(known, name)
            for row in edit[name]:
                if row["uuid"] in there:
                    rows.setdefault(str(row["uuid"]), row)
                elif name != "Sighting":
                    rows.pop(
                        str(row["uuid"]), None
                    )  # we took it away to bring it anew, and did not
            ours[name] = list(rows.values())
    for name, inner in _LISTS.items():
        if edit.get(name):
            ours[name] = _parts(known, edit, theirs, name, inner)
    return ours


def _tags(
    known: Mapping[str, Any], edit: Mapping[str, Any], theirs: Mapping[str, Any]
) -> list[Part]:
    held = {name.lower() for name in tag_names(dict(theirs))}
    ours = {tag["name"].lower(): tag for tag in known.get("Tag") or ()}
    for tag in edit["Tag"]:
        folded = tag["name"].lower()
        if not tag.get("deleted") and folded in held:
            ours.setdefault(folded, tag)
        elif tag.get("deleted") and folded not in held:
            ours.pop(folded, None)
    return list(ours.values())


def _parts(
    known: Mapping[str, Any],
    edit: Mapping[str, Any],
    theirs: Mapping[str, Any],
    name: str,
    fields: Sequence[str],
) -> list[Part]:
    rows, there = by_uuid(known, name), by_uuid(theirs, name)
    for part in edit[name]:
        uuid = str(part["uuid"])
        other = there.get(uuid)
        if part.get("deleted") is True:
            if other is None or is_deleted(other):
                rows.pop(uuid, None)
        elif other is None or (part.get("deleted") is False and is_deleted(other)):
            continue  # it did not arrive, or was to come back and is still deleted
        elif uuid in rows:
            rows[uuid] = _after(rows[uuid], part, other, fields)
        else:
            rows[uuid] = resume_base(
                {key: value for key, value in part.items() if key != "deleted"}, other
            )
    return list(rows.values())
