"""What to send for a change: what we delivered last, what is wanted now, what MISP has.

Only what we changed is sent, part by part and field by field; what analysts did stays. Where both changed a field the
analyst's value stands and a note says so, but for two cases in which ours must win: `to_ids` that is withdrawn, and a
distribution that gets stricter. Timestamps are left out: an edit without them is always taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import AnalystDataChange, Delivered
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, MispEvent, level_of, tag_names
from stixbridge.misp.values import BadValue, normalise
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import (
    ANALYST_FIELDS,
    ATTRIBUTE_FIELDS,
    EVENT_FIELDS,
    OBJECT_FIELDS,
    OBJECT_HEAD,
    REPORT_FIELDS,
    Part,
    by_uuid,
    is_deleted,
    normal,
    wider,
)

_SHARING = frozenset({"distribution", "sharing_group_id"})
_SAID = frozenset(ANALYST_FIELDS) - {"distribution"}


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose word counts where the source and an analyst both changed something.

    Attributes:
        ours: fields in which the source's value stands, not the analyst's.
        restore: whether what was deleted comes back: what left a trace when the source changes it, what left none
            (deleted for good, or lost with a backup) whenever that is seen.
    """

    ours: frozenset[str] = frozenset()
    restore: bool = False


@dataclass(slots=True)
class Changes:
    """An edit.

    Attributes:
        body: to send; empty where there is nothing to do.
        analyst_data: changes of analyst data that MISP has: an edit of the event would not change it.
        refused: those of `analyst_data` that MISP did not take.
        analyst_kept: as in `Delivered`.
        stored_values: as in `Delivered`.
        others_tags: UUID of a part -> tags, in lower case, that are wanted and were set by somebody else.
        deleted_by_analyst: as in `Delivered`, whether the parts are still wanted or not.
        notes: what a reader should know.
        policy: whose word counts.
    """

    body: MispEvent = field(default_factory=dict)
    analyst_data: list[AnalystDataChange] = field(default_factory=list)
    refused: list[AnalystDataChange] = field(default_factory=list)
    analyst_kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored_values: Mapping[str, str] = field(default_factory=dict)
    others_tags: dict[str, set[str]] = field(default_factory=dict)
    deleted_by_analyst: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)


def compute(
    wanted: MispEvent,
    delivered: Delivered,
    theirs: Mapping[str, Any],
    policy: Policy | None = None,
) -> Changes:
    """The edit that brings an event in MISP to what is wanted.

    Args:
        wanted: what it shall be.
        delivered: the event as we delivered it last; parts that are not in it are new to us.
        theirs: what MISP has, soft-deleted parts included.
        policy: whose word counts in a conflict; the analyst's where it is None.
    """
    base = delivered.body
    changes = Changes(
        policy=policy or Policy(),
        deleted_by_analyst=set(delivered.deleted_by_analyst),
        analyst_kept={uuid: dict(fields) for uuid, fields in delivered.analyst_kept.items()},
        stored_values=delivered.stored_values,
    )
    body = _fields(wanted, base, theirs, EVENT_FIELDS, changes, str(wanted["uuid"]))
    if (
        wanted.get("distribution") == "4" and body.keys() & _SHARING
    ):  # MISP takes neither without the other
        body |= {name: wanted[name] for name in _SHARING & wanted.keys()}
    tags = _tags(wanted, base, theirs, changes)
    if tags:
        body["Tag"] = tags
    body.update(_inner(wanted, base, theirs, changes))
    for name, fields in (
        ("Attribute", ATTRIBUTE_FIELDS),
        ("Object", OBJECT_FIELDS),
        ("EventReport", REPORT_FIELDS),
    ):
        rows = _parts(wanted, base, theirs, name, fields, changes)
        if rows:
            body[name] = rows
    changes.body = body
    return changes


def _parts(
    wanted: Mapping[str, Any],
    base: Mapping[str, Any],
    theirs: Mapping[str, Any],
    name: str,
    fields: tuple[str, ...],
    changes: Changes,
) -> list[Part]:
    ours, before, held = by_uuid(wanted, name), by_uuid(base, name), by_uuid(theirs, name)
    rows: list[Part] = []
    for uuid, part in ours.items():
        known, other = before.get(uuid), held.get(uuid)
        absent = other is None or is_deleted(other)
        if absent and (known is not None or uuid in changes.deleted_by_analyst):
            if changes.policy.restore and (known != part or other is None):
                rows.append(_new(part, revived=other is not None))
                changes.deleted_by_analyst.discard(uuid)
            elif known != part:  # said when it matters: the source changed what an analyst deleted
                note = f"{_called(part)}deleted in MISP; stays deleted"
                changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
        elif other is None or absent:
            rows.append(_new(part, revived=other is not None))
        else:
            row = _changed(part, known or {}, other, name, fields, changes)
            if row:
                rows.append(row)
    for uuid, known in before.items():
        if uuid in ours:
            continue
        other = held.get(uuid)
        if other is None or is_deleted(other):
            changes.deleted_by_analyst.add(uuid)  # not by us: it does not come back by itself
        else:
            rows.extend(_withdrawn(known, other, name, changes))
    return rows


def _withdrawn(known: Part, other: Part, name: str, changes: Changes) -> Iterator[Part]:
    """The row that takes away what is no longer wanted; nothing where it has become an analyst's own."""
    uuid = str(known["uuid"])
    if _made_anothers(known, other, name, changes.stored_values.get(uuid)):
        note = f"{_called(known)}no longer wanted, and an analyst made something else of it; stays"
        changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
        return
    if name == "Object":
        inner = by_uuid(known, "Attribute")
        added = [
            row
            for own, row in by_uuid(other, "Attribute").items()
            if own not in inner and not is_deleted(row)
        ]
        if added:
            note = f"{_called(known)}no longer wanted, and an analyst added to it; what was ours in it goes"
            changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
            gone = [{**_head(row, "Attribute"), "deleted": True} for row in inner.values()]
            yield {**_head(known, name), "Attribute": gone}
            return
    head = _report_head(other) if name == "EventReport" else _head(known, name)
    yield {**head, "deleted": True}


def _called(part: Mapping[str, Any]) -> str:
    """A part as a reader knows it, before a colon; nothing for an event."""
    if "type" in part and "value" in part:
        return f"{part['type']} {str(part['value'])[:80]}: "
    return f"{part['name']}: " if "name" in part else ""


def _made_anothers(known: Part, other: Part, name: str, stored: str | None) -> bool:
    if name == "EventReport":
        return str(other.get("content")).strip() != str(known.get("content")).strip()
    if name != "Attribute" or "type" not in known:
        return False
    if str(other.get("type")) != str(known["type"]):
        return True
    return _value(other) != _value(known) and str(other.get("value")) != stored


def _value(part: Part) -> str:
    """A value as it compares: MISP normalises what it stores."""
    kind, value = str(part.get("type")), str(part.get("value"))
    try:
        return normalise(kind, value).strip().lower()
    except BadValue:
        return value.strip().lower()


def _new(part: Part, *, revived: bool) -> Part:
    row = {key: value for key, value in part.items() if key != "timestamp"}
    if "Attribute" in row:
        row["Attribute"] = [_new(inner, revived=revived) for inner in row["Attribute"]]
    if revived:
        row["deleted"] = False
    return row


def _head(part: Part, name: str) -> Part:
    """What a part needs to be found and taken by an edit."""
    if name == "Object":
        return {key: part[key] for key in OBJECT_HEAD if key in part}
    if name == "ObjectReference":
        return {
            key: part[key]
            for key in ("uuid", "object_uuid", "referenced_uuid", "relationship_type")
        }
    return {"uuid": part["uuid"]}


def _report_head(other: Part) -> Part:
    """What an edit of an event report has to say, as MISP has it: what is left out there is set to a default."""
    names = ("uuid", "name", "content", "distribution", "sharing_group_id")
    return {name: other[name] for name in names if other.get(name) is not None}


def _inner(
    part: Part, known: Mapping[str, Any], other: Mapping[str, Any], changes: Changes
) -> dict[str, list[Part]]:
    """Sightings and analyst data that are new; analyst data that changed or went goes to `changes.analyst_data`."""
    rows: dict[str, list[Part]] = {}
    before = by_uuid(known, "Sighting")
    fresh = [entry for uuid, entry in by_uuid(part, "Sighting").items() if uuid not in before]
    if fresh:
        rows["Sighting"] = fresh
    for name in ANALYST_DATA:
        if part.get(name) or known.get(name):
            fresh = list(_analyst_data(name, part, known, other, changes))
            if fresh:
                rows[name] = fresh
    return rows


def _analyst_data(
    name: str, part: Part, known: Mapping[str, Any], other: Mapping[str, Any], changes: Changes
) -> Iterator[Part]:
    """Those that are new."""
    ours, before, held = (by_uuid(row, name) for row in (part, known, other))
    for uuid, entry in ours.items():
        there = held.get(uuid)
        if there is not None:
            fields = _fields(entry, before.get(uuid, {}), there, ANALYST_FIELDS, changes, uuid)
            if "relationship_type" in fields:  # MISP answers 200 and keeps the old one
                changes.analyst_data.append(AnalystDataChange(name, uuid, None))
                yield entry
            elif fields:
                changes.analyst_data.append(AnalystDataChange(name, uuid, fields))
        elif uuid not in before and uuid not in changes.deleted_by_analyst:
            yield entry
        elif before.get(uuid) != entry:
            note = f"{name.lower()} deleted in MISP; stays deleted"
            changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
    for uuid, entry in before.items():
        there = held.get(uuid)
        if uuid in ours:
            continue
        if there is None:
            changes.deleted_by_analyst.add(uuid)
        elif any(
            normal(field, there.get(field)) != normal(field, entry.get(field))
            for field in entry.keys() & _SAID
        ):
            note = f"{name.lower()} was changed in MISP; stays, though the source no longer says it"
            changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
        else:
            changes.analyst_data.append(AnalystDataChange(name, uuid, None))


def _changed(
    part: Part, known: Part, other: Part, name: str, fields: tuple[str, ...], changes: Changes
) -> Part:
    row = _fields(part, known, other, fields, changes, str(part["uuid"]))
    if "data" in part and part["data"] != known.get("data"):
        row["data"] = part[
            "data"
        ]  # MISP may show the content of an attachment otherwise than it got it, or not at all
    tags = _tags(part, known, other, changes)
    if tags:
        row["Tag"] = tags
    row.update(_inner(part, known, other, changes))
    if name == "Object":
        attributes = _parts(part, known, other, "Attribute", ATTRIBUTE_FIELDS, changes)
        references = _parts(
            part, known, other, "ObjectReference", ("relationship_type", "comment"), changes
        )
        if attributes:
            row["Attribute"] = attributes
        if references:
            row["ObjectReference"] = references
    if not row:
        return {}
    return {**(_report_head(other) if name == "EventReport" else _head(part, name)), **row}


def _fields(
    wanted: Mapping[str, Any],
    base: Mapping[str, Any],
    theirs: Mapping[str, Any],
    fields: tuple[str, ...],
    changes: Changes,
    uuid: str,
) -> Part:
    row: Part = {}
    for name in fields:
        ours, last, held = (normal(name, part.get(name)) for part in (wanted, base, theirs))
        given = changes.analyst_kept.get(uuid, {})
        before = normal(name, given[name]) if name in given else last  # what we delivered
        if ours == held:
            if base and ours != before:
                changes.analyst_kept.setdefault(uuid, {}).setdefault(name, base.get(name))
            continue
        if ours == last and base:
            continue  # the source says what it said
        if (
            name == "distribution"
            and wider(ours, held)
            and _marked_more_strictly(wanted, base, theirs)
        ):
            note = f"{_called(wanted)}distribution: stays, since an analyst marked it more strictly"
            changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
            continue
        if base and name not in changes.policy.ours and not _must_win(name, ours, held):
            if ours == before:
                continue  # back at what we delivered: what an analyst made of it since stands
            if held != before:
                note = f"{_called(wanted)}{name}: MISP's value stands"
                changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
                continue
        given.pop(name, None)
        row[name] = wanted.get(name, "")
    return row


def _must_win(name: str, ours: Any, held: Any) -> bool:
    """Whether a value of ours stands against an analyst's: what is withdrawn, or gets stricter, has to."""
    if name == "to_ids":
        return ours is False
    return name == "distribution" and wider(held, ours)


def _marked_more_strictly(
    wanted: Mapping[str, Any], base: Mapping[str, Any], theirs: Mapping[str, Any]
) -> bool:
    """Whether a TLP tag that others set is stricter than what is wanted."""
    before = {name.lower() for name in tag_names(dict(base))}
    others = tlp.strictest(
        tlp.level_of_name(name)
        for name in tag_names(dict(theirs))
        if tlp.is_tlp_tag(name) and name.lower() not in before
    )
    level = level_of(dict(wanted))
    return others is not None and tlp.RANK[others] > (tlp.RANK[level] if level is not None else -1)


def _tags(
    wanted: Mapping[str, Any], base: Mapping[str, Any], theirs: Mapping[str, Any], changes: Changes
) -> list[Part]:
    """Tags to add, and those we set before and no longer want; tags that others set are never touched."""
    ours, before, held = (
        {name.lower(): name for name in tag_names(dict(part))} for part in (wanted, base, theirs)
    )
    local = {tag["name"] for tag in wanted.get("Tag") or [] if tag.get("local")}
    strictest = tlp.strictest(
        tlp.level_of_name(name)
        for folded, name in held.items()
        if tlp.is_tlp_tag(name) and folded not in before
    )
    rows: list[Part] = []
    for folded, name in ours.items():
        if folded in held and folded not in before:
            changes.others_tags.setdefault(str(wanted["uuid"]), set()).add(folded)
        if folded in held or folded in before:
            continue
        level = tlp.level_of_name(name) if tlp.is_tlp_tag(name) else None
        if level is not None and strictest is not None and tlp.RANK[strictest] > tlp.RANK[level]:
            continue  # an analyst marked it more strictly
        rows.append({"name": name, **({"local": True} if name in local else {})})
    rows.extend(
        {"name": held[folded], "deleted": 1}
        for folded in before
        if folded not in ours and folded in held
    )
    return rows
