"""How much of an interrupted write MISP stored: all of it, some of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stixbridge.envelopes import AnalystDataChange, Delivered, Edit
from stixbridge.misp.model import ANALYST_DATA, MispEvent
from stixbridge.sinks.fields import (
    EVENT_FIELDS,
    FIELDS_OF,
    PARTS,
    Part,
    by_uuid,
    differs,
    folded_tags,
    is_deleted,
    rows_of,
    with_rows,
)

_LISTS: Mapping[str, tuple[str, ...]] = {**FIELDS_OF, "ObjectReference": ()}
"""Lists of parts, and the fields that an edit of one changes."""
_BESIDE = ("Sighting", *ANALYST_DATA)


def arrived(sent: Mapping[str, Any], remote: Mapping[str, Any]) -> MispEvent:
    """The parts of an interrupted add that arrived.

    Args:
        sent: the event, or a part.
        remote: the same as MISP has it.
    """
    stored: MispEvent = {key: value for key, value in sent.items() if key not in _LISTS}
    if "Tag" in sent:
        stored["Tag"] = _arrived_tags(sent["Tag"], folded_tags(remote))
    for name in [name for name in (*_BESIDE, *_LISTS) if name in sent]:
        remote_rows = by_uuid(remote, name)
        rows = [row for row in sent[name] if row["uuid"] in remote_rows]
        parts = name in _LISTS
        stored[name] = [arrived(row, remote_rows[row["uuid"]]) for row in rows] if parts else rows
    return stored


def _arrived_tags(sent: Iterable[Part], remote: set[str]) -> list[Part]:
    return [tag for tag in sent if tag["name"].lower() in remote and not tag.get("deleted")]


def after_interruption(
    delivered: Delivered, edits: Sequence[Edit], remote: Mapping[str, Any]
) -> Delivered:
    """The event as it is delivered after interrupted edits: as before, with the parts that arrived.

    Args:
        delivered: the event as it was delivered before.
        edits: as they were sent, in order.
        remote: the event as MISP has it.
    """
    body: MispEvent = dict(delivered.body)
    for edit in edits:
        body = _edited(body, edit.body, remote, EVENT_FIELDS)
        for change in edit.analyst_data:
            body = _with_change(body, remote, change)
    return replace(delivered, body=body)


def _with_change(known: Part, remote: Mapping[str, Any], change: AnalystDataChange) -> Part:
    """A part with a note, opinion or relationship as we changed it, where MISP has the change."""
    remote_parts = {name: by_uuid(remote, name) for name in PARTS}
    changed = with_rows(
        known,
        PARTS,
        lambda name, row: _with_change(row, remote_parts[name].get(str(row["uuid"]), {}), change),
    )
    rows = rows_of(known, change.kind)
    if any(row["uuid"] == change.uuid for row in rows):
        entry = by_uuid(remote, change.kind).get(change.uuid)
        changed[change.kind] = list(_changed_rows(rows, entry, change))
    return changed


def _changed_rows(
    rows: Iterable[Part], remote: Part | None, change: AnalystDataChange
) -> Iterable[Part]:
    for row in rows:
        if row["uuid"] != change.uuid:
            yield row
        elif change.fields is None:
            if remote is not None:
                yield row  # it was not deleted
        elif remote is None or any(differs(key, remote, change.fields) for key in change.fields):
            yield row
        else:
            yield {**row, **change.fields}


def _edited(
    known: Mapping[str, Any],
    edit: Mapping[str, Any],
    remote: Mapping[str, Any],
    fields: Iterable[str],
) -> Part:
    """A part after an edit of it: everything in the edit that MISP has is ours."""
    ours: Part = dict(known)
    for name in fields:
        if name in edit and not differs(name, edit, remote):
            ours[name] = edit[name]
    if edit.get("Tag"):
        ours["Tag"] = _edited_tags(known, edit, remote)
    for name in _BESIDE:
        if edit.get(name):
            ours[name] = _edited_beside(known, edit, remote, name)
    for name in _LISTS:
        if edit.get(name):
            ours[name] = _edited_parts(known, edit, remote, name)
    return ours


def _edited_tags(
    known: Mapping[str, Any], edit: Mapping[str, Any], remote: Mapping[str, Any]
) -> list[Part]:
    remote_tags = folded_tags(remote)
    ours = {tag["name"].lower(): tag for tag in rows_of(known, "Tag")}
    for tag in edit["Tag"]:
        folded = tag["name"].lower()
        if not tag.get("deleted") and folded in remote_tags:
            ours.setdefault(folded, tag)
        elif tag.get("deleted") and folded not in remote_tags:
            ours.pop(folded, None)
    return list(ours.values())


def _edited_beside(
    known: Mapping[str, Any], edit: Mapping[str, Any], remote: Mapping[str, Any], name: str
) -> list[Part]:
    """Sightings or analyst data after an edit that adds some."""
    remote_rows, rows = by_uuid(remote, name), by_uuid(known, name)
    for row in edit[name]:
        if row["uuid"] in remote_rows:
            rows.setdefault(str(row["uuid"]), row)
        elif name != "Sighting":
            # we deleted it to add it anew, and did not
            rows.pop(str(row["uuid"]), None)
    return list(rows.values())


def _edited_parts(
    known: Mapping[str, Any], edit: Mapping[str, Any], remote: Mapping[str, Any], name: str
) -> list[Part]:
    remote_rows, rows = by_uuid(remote, name), by_uuid(known, name)
    for part in edit[name]:
        uuid = str(part["uuid"])
        remote_part = remote_rows.get(uuid)
        absent = remote_part is None or is_deleted(remote_part)
        if part.get("deleted") is True:
            if absent:
                rows.pop(uuid, None)
        elif remote_part is None or (absent and part.get("deleted") is False):
            continue  # it did not arrive, or was to come back and is still deleted
        elif uuid in rows:
            rows[uuid] = _edited(rows[uuid], part, remote_part, _LISTS[name])
        else:
            rows[uuid] = arrived({key: part[key] for key in part if key != "deleted"}, remote_part)
    return list(rows.values())
