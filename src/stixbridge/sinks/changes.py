"""What to send for a change: what we delivered last, what is wanted now, what MISP has.

Only what we changed is sent, part by part and field by field; what analysts did stays. Where both changed a field the
analyst's value stands and a note says so, but for two cases in which ours must win: `to_ids` that is withdrawn, and a
distribution that gets stricter. Timestamps are left out: an edit without them is always taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import times, tlp
from ..ledger import Outcome, Reason
from ..misp.model import ANALYST_DATA, MispEvent, tag_names
from .delivery import Note

Part = dict[str, Any]

EVENT_FIELDS = ("info", "date", "threat_level_id", "analysis", "distribution", "sharing_group_id", "extends_uuid")
ATTRIBUTE_FIELDS = (
    "to_ids",
    "comment",
    "category",
    "first_seen",
    "last_seen",
    "disable_correlation",
    "distribution",
)
OBJECT_FIELDS = ("comment", "first_seen", "last_seen", "distribution")
REPORT_FIELDS = ("name", "content", "distribution")
ANALYST_FIELDS = ("note", "language", "opinion", "comment", "relationship_type", "distribution")

_SAID = frozenset(ANALYST_FIELDS) - {"distribution"}

# What an object needs to be found and taken by an edit.
OBJECT_HEAD = ("uuid", "name", "meta-category", "template_uuid", "template_version")


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose word counts where the source and an analyst both changed something.

    Attributes:
        ours: fields in which the source's value stands, not the analyst's.
        restore: whether what an analyst deleted comes back when the source changes it.
    """

    ours: frozenset[str] = frozenset()
    restore: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A note, opinion or relationship of ours to change.

    Attributes:
        kind: `Note`, `Opinion` or `Relationship`.
        uuid: its own.
        fields: that change; None to take it away.
    """

    kind: str
    uuid: str
    fields: dict[str, Any] | None


@dataclass(slots=True)
class Changes:
    """An edit.

    Attributes:
        body: to send; empty where there is nothing to do.
        said: analyst data that is there, and changes: an edit of the event would not change it.
        refused: those of `said` that MISP did not take.
        notes: what a reader should know.
        policy: whose word counts.
    """

    body: MispEvent = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    refused: list[Said] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)


def compute(
    wanted: MispEvent, base: Mapping[str, Any], theirs: Mapping[str, Any], policy: Policy | None = None
) -> Changes:
    """The edit that brings an event in MISP to what is wanted.

    Args:
        wanted: what it shall be.
        base: what we delivered last; parts that are not in it are new to us.
        theirs: what MISP has, soft-deleted parts included.
        policy: whose word counts in a conflict; the analyst's where it is None.
    """
    changes = Changes(policy=policy or Policy())
    body = _fields(wanted, base, theirs, EVENT_FIELDS, changes, str(wanted["uuid"]))
    tags = _tags(wanted, base, theirs)
    if tags:
        body["Tag"] = tags
    body.update(_inner(wanted, base, theirs, changes))
    for name, fields in (("Attribute", ATTRIBUTE_FIELDS), ("Object", OBJECT_FIELDS), ("EventReport", REPORT_FIELDS)):
        rows = _parts(wanted, base, theirs, name, fields, changes)
        if rows:
            body[name] = rows
    changes.body = body
    return changes


def resume_base(sent: Mapping[str, Any], theirs: Mapping[str, Any]) -> MispEvent:
    """The base of an interrupted add: of what is sent, that which arrived."""
    base: MispEvent = {key: value for key, value in sent.items() if not isinstance(value, list)}
    base.update({inner: _arrived(sent, theirs, inner) for inner in ANALYST_DATA})
    base["Tag"] = [tag for tag in sent.get("Tag") or [] if tag["name"] in tag_names(dict(theirs))]
    for name in ("Attribute", "Object", "EventReport"):
        held = _by_uuid(theirs, name)
        kept = []
        for part in sent.get(name) or []:
            other = held.get(part["uuid"])
            if other is None:
                continue
            copy = dict(part)
            copy["Tag"] = [tag for tag in part.get("Tag") or [] if tag["name"] in tag_names(other)]
            sightings = {str(row.get("uuid")) for row in other.get("Sighting") or []}
            copy["Sighting"] = [row for row in part.get("Sighting") or [] if row["uuid"] in sightings]
            for inner in ("Attribute", "ObjectReference", *ANALYST_DATA):
                if inner in part:
                    copy[inner] = _arrived(part, other, inner)
            kept.append(copy)
        base[name] = kept
    return base


def _arrived(sent: Mapping[str, Any], theirs: Mapping[str, Any], name: str) -> list[Part]:
    there = _by_uuid(theirs, name)
    return [row for row in sent.get(name) or [] if row["uuid"] in there]


def after_cut(base: Mapping[str, Any], edits: Sequence[Mapping[str, Any]], theirs: Mapping[str, Any]) -> MispEvent:
    """What is ours after edits that were cut: what was delivered before, and what of them arrived.

    Args:
        base: what was delivered.
        edits: as they were sent, whole or in part.
        theirs: what MISP has.
    """
    ours: MispEvent = dict(base)
    for edit in edits:
        arrived = resume_base(edit, theirs)
        ours["Tag"] = _together(ours, arrived, "Tag", "name")
        for name in ("Attribute", "Object", "EventReport"):
            rows = _by_uuid(ours, name)
            for uuid, part in _by_uuid(arrived, name).items():
                known = rows.get(uuid)
                if known is None:
                    rows[uuid] = part
                    continue
                rows[uuid] = {**known, "Tag": _together(known, part, "Tag", "name")}
                for inner in ("Attribute", "ObjectReference"):
                    if part.get(inner):
                        rows[uuid][inner] = _together(known, part, inner, "uuid")
            for uuid, part in _by_uuid(edit, name).items():
                if uuid in rows:
                    rows[uuid] = _without_taken_away(rows[uuid], part, _by_uuid(theirs, name).get(uuid, {}))
            ours[name] = list(rows.values())
    return ours


def _without_taken_away(known: Part, edit: Mapping[str, Any], theirs: Mapping[str, Any]) -> Part:
    """A part without the analyst data that we took away to bring it anew, and did not."""
    rest = dict(known)
    for kind in ANALYST_DATA:
        if edit.get(kind) and known.get(kind):
            cut = _by_uuid(edit, kind).keys() - _by_uuid(theirs, kind).keys()
            rest[kind] = [row for row in known[kind] if row["uuid"] not in cut]
    return rest


def _together(one: Mapping[str, Any], other: Mapping[str, Any], name: str, key: str) -> list[Part]:
    """The rows of both, each once; those that were to go stay as they were."""
    rows = {str(row[key]): row for row in one.get(name) or []}
    for row in other.get(name) or []:
        if not row.get("deleted"):
            rows.setdefault(str(row[key]), row)
    return list(rows.values())


def _parts(
    wanted: Mapping[str, Any],
    base: Mapping[str, Any],
    theirs: Mapping[str, Any],
    name: str,
    fields: tuple[str, ...],
    changes: Changes,
) -> list[Part]:
    ours, before, held = _by_uuid(wanted, name), _by_uuid(base, name), _by_uuid(theirs, name)
    rows: list[Part] = []
    for uuid, part in ours.items():
        known, other = before.get(uuid), held.get(uuid)
        if known is None and (other is None or _deleted(other)):
            rows.append(_new(part, revived=other is not None))
        elif other is None or _deleted(other):
            if known != part and other is not None and changes.policy.restore:
                rows.append(_new(part, revived=True))
            elif known != part:  # said when it matters: the source changed what an analyst deleted
                note = "deleted in MISP; stays deleted"
                changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
        else:
            row = _changed(part, known or {}, other, name, fields, changes)
            if row:
                rows.append(row)
    for uuid, known in before.items():
        if uuid not in ours and uuid in held and not _deleted(held[uuid]):
            rows.append({**_head(known, name), "deleted": True})
    return rows


def _new(part: Part, *, revived: bool) -> Part:
    row = {key: value for key, value in part.items() if key != "timestamp"}
    if "Attribute" in row:
        row["Attribute"] = [_new(inner, revived=revived) for inner in row["Attribute"]]
    if revived:
        row["deleted"] = False
    return row


def _head(part: Part, name: str) -> Part:
    if name == "Object":
        return {key: part[key] for key in OBJECT_HEAD if key in part}
    if name == "EventReport":
        return {"uuid": part["uuid"], "name": part["name"]}
    if name == "ObjectReference":
        return {key: part[key] for key in ("uuid", "object_uuid", "referenced_uuid", "relationship_type")}
    return {key: part[key] for key in ("uuid", "type", "value", "category", "object_relation") if key in part}


def _inner(part: Part, known: Mapping[str, Any], other: Mapping[str, Any], changes: Changes) -> dict[str, list[Part]]:
    """Sightings and analyst data that are new; analyst data that changed or went goes to `changes.said`."""
    rows: dict[str, list[Part]] = {}
    before = _by_uuid(known, "Sighting")
    fresh = [entry for uuid, entry in _by_uuid(part, "Sighting").items() if uuid not in before]
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
    ours, before, held = (_by_uuid(row, name) for row in (part, known, other))
    for uuid, entry in ours.items():
        there = held.get(uuid)
        if there is not None:
            fields = _fields(entry, before.get(uuid, {}), there, ANALYST_FIELDS, changes, uuid)
            if "relationship_type" in fields:  # MISP answers 200 and keeps the old one
                changes.said.append(Said(name, uuid, None))
                yield entry
            elif fields:
                changes.said.append(Said(name, uuid, fields))
        elif uuid not in before:
            yield entry
        elif before[uuid] != entry:
            note = f"{name.lower()} deleted in MISP; stays deleted"
            changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
    for uuid, entry in before.items():
        there = held.get(uuid)
        if uuid in ours or there is None:
            continue
        if any(normal(field, there.get(field)) != normal(field, entry.get(field)) for field in entry.keys() & _SAID):
            note = f"{name.lower()} was changed in MISP; stays, though the source no longer says it"
            changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, note))
        else:
            changes.said.append(Said(name, uuid, None))


def _changed(part: Part, known: Part, other: Part, name: str, fields: tuple[str, ...], changes: Changes) -> Part:
    row = _fields(part, known, other, fields, changes, str(part["uuid"]))
    if "data" in part and part["data"] != known.get("data"):
        row["data"] = part["data"]  # MISP may show the content of an attachment otherwise than it got it, or not at all
    tags = _tags(part, known, other)
    if tags:
        row["Tag"] = tags
    row.update(_inner(part, known, other, changes))
    if name == "Object":
        attributes = _parts(part, known, other, "Attribute", ATTRIBUTE_FIELDS, changes)
        references = _parts(part, known, other, "ObjectReference", ("relationship_type", "comment"), changes)
        if attributes:
            row["Attribute"] = attributes
        if references:
            row["ObjectReference"] = references
    if not row:
        return {}
    head = _head(part, name)
    if name == "Attribute":
        head = {"uuid": part["uuid"]}
    if name == "EventReport":
        row.setdefault("content", other.get("content"))
    return {**head, **row}


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
        ours, before, held = (normal(name, part.get(name)) for part in (wanted, base, theirs))
        if ours in (before, held):
            continue
        if held != before and base and name not in changes.policy.ours and not _must_win(name, ours, held):
            changes.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, f"{name}: MISP's value stands"))
            continue
        row[name] = wanted.get(name, None if name in {"first_seen", "last_seen"} else "")
    return row


def _must_win(name: str, ours: Any, held: Any) -> bool:
    if name == "to_ids":
        return ours is False
    if name == "distribution":
        # 5 inherits and can't be compared; 0 is the strictest
        return bool(ours == "0" and held != "0")
    return False


def normal(name: str, value: Any) -> Any:
    """A field as it compares: MISP answers numbers as text, times in other forms, nothing as null."""
    if name in ("to_ids", "disable_correlation"):
        return value in (True, "1", 1, "true")
    if name in ("first_seen", "last_seen"):
        return times.read(value)
    if value is None:
        return ""
    if name == "sharing_group_id" and str(value) == "0":
        return ""
    return str(value).strip()


def _tags(wanted: Mapping[str, Any], base: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[Part]:
    """Tags to add, and those we set before and no longer want; tags that others set are never touched."""
    ours, before, held = (tag_names(dict(part)) for part in (wanted, base, theirs))
    held_folded = {name.lower() for name in held}
    local = {tag["name"] for tag in wanted.get("Tag") or [] if tag.get("local")}
    rows: list[Part] = []
    for name in ours:
        if name.lower() in held_folded or name in before:
            continue
        level = tlp.level_of_name(name) if tlp.is_tlp_tag(name) else None
        others = [tlp.level_of_name(tag) for tag in held if tlp.is_tlp_tag(tag) and tag not in before]
        strictest = tlp.strictest(others)
        if level is not None and strictest is not None and tlp.RANK[strictest] > tlp.RANK[level]:
            continue  # an analyst marked it more strictly
        rows.append({"name": name, **({"local": True} if name in local else {})})
    ours_folded = {name.lower() for name in ours}
    rows.extend(
        {"name": name, "deleted": 1}
        for name in before
        if name.lower() not in ours_folded and name.lower() in held_folded
    )
    return rows


def _by_uuid(part: Mapping[str, Any], name: str) -> dict[str, Part]:
    return {str(row["uuid"]): row for row in part.get(name) or [] if row.get("uuid")}


def _deleted(part: Mapping[str, Any]) -> bool:
    return part.get("deleted") in (True, 1, "1")
