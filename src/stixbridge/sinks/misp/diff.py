"""The edit that brings an event in MISP to what is wanted.

Three versions are compared: the event as it is wanted, as we delivered it last, and as MISP has it
(`remote`). Only our own changes are sent, part by part and field by field; the work of analysts
stays. Where both changed a field the analyst's value stays and a note says so, but for two cases in
which ours must win: `to_ids` that is withdrawn, and a distribution that gets stricter. Timestamps
are left out: MISP always takes an edit without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stixbridge import tlp
from stixbridge.envelopes import AnalystDataChange, Delivered
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, MispEvent, tag_names
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import (
    ANALYST_FIELDS,
    EVENT_FIELDS,
    FIELDS_OF,
    PARTS,
    Part,
    by_uuid,
    differs,
    is_deleted,
    normal,
    rank_of,
    rows_of,
    tlp_rank,
    wider,
)
from stixbridge.sinks.misp.rows import is_rewritten, label, new_row, report_head, row_head

_SHARING = frozenset({"distribution", "sharing_group_id"})
_TEXTS = frozenset(ANALYST_FIELDS) - {"distribution"}
_REFERENCE_FIELDS = ("relationship_type", "comment")


@dataclass(frozen=True, slots=True)
class Policy:
    """The rule for fields and parts that the source and an analyst both changed.

    Attributes:
        ours: fields in which the source's value stays, not the analyst's.
        restore: whether deleted parts come back: one that left a trace when the source changes it,
            one that left none (deleted for good, or lost with a backup) whenever that is seen.
    """

    ours: frozenset[str] = frozenset()
    restore: bool = False


@dataclass(slots=True)
class Changes:
    """An edit.

    Attributes:
        body: the edit to send; empty where there is nothing to do.
        analyst_data: changes of analyst data that MISP has: an edit of the event would not change
            it.
        refused: those of `analyst_data` that MISP did not take.
        analyst_kept: as in `Delivered`.
        stored_values: as in `Delivered`.
        others_tags: UUID of a part -> tags, in lower case, that are wanted and were set by somebody
            else.
        deleted_by_analyst: as in `Delivered`, whether the parts are still wanted or not.
        notes: for a reader.
        policy: whose change counts.
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


def compare(
    wanted: MispEvent,
    delivered: Delivered,
    remote: Mapping[str, Any],
    policy: Policy | None = None,
) -> Changes:
    """The edit that brings an event in MISP to what is wanted.

    Args:
        wanted: the event as it shall be.
        delivered: the event as we delivered it last; parts that are not in it are new to us.
        remote: the event as MISP has it, with soft-deleted parts.
        policy: whose change counts in a conflict; the analyst's where it is None.
    """
    changes = Changes(
        policy=policy or Policy(),
        deleted_by_analyst=set(delivered.deleted_by_analyst),
        analyst_kept={uuid: dict(fields) for uuid, fields in delivered.analyst_kept.items()},
        stored_values=delivered.stored_values,
    )
    changes.body = _Comparison(changes).event(_Versions(wanted, delivered.body, dict(remote)))
    return changes


class _Versions(NamedTuple):
    """Three versions of an event or of a part; empty where one is missing."""

    wanted: Part
    delivered: Part
    remote: Part

    @property
    def uuid(self) -> str:
        return str(self.wanted["uuid"])

    def rows(self, name: str) -> tuple[dict[str, Part], dict[str, Part], dict[str, Part]]:
        """The rows of a list of each version, by UUID."""
        return by_uuid(self.wanted, name), by_uuid(self.delivered, name), by_uuid(self.remote, name)

    def analysts_level(self) -> str | None:
        """The strictest TLP level among the tags that others set."""
        before = {name.lower() for name in tag_names(self.delivered)}
        others = (name for name in tag_names(self.remote) if name.lower() not in before)
        return tlp.strictest(tlp.level_of_name(name) for name in others if tlp.is_tlp_tag(name))


class _Comparison:
    """Compares versions of an event and its parts, and collects the changes.

    Args (of the constructor):
        changes: takes everything but the body.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._policy = changes.policy

    def event(self, event: _Versions) -> Part:
        """The body of the edit of an event."""
        body = self._fields(event, EVENT_FIELDS)
        if event.wanted.get("distribution") == "4" and body.keys() & _SHARING:
            # MISP takes neither without the other
            body |= {name: event.wanted[name] for name in _SHARING & event.wanted.keys()}
        body |= self._beside(event)
        for name in PARTS:
            rows = self._parts(event, name)
            if rows:
                body[name] = rows
        return body

    # parts

    def _parts(self, holder: _Versions, name: str) -> list[Part]:
        """The rows of a list of parts that an edit has to have."""
        wanted, delivered, remote = holder.rows(name)
        rows: list[Part] = []
        for uuid, part in wanted.items():
            known, remote_part = delivered.get(uuid), remote.get(uuid)
            if remote_part is None or is_deleted(remote_part):
                rows.extend(self._absent(part, known, revived=remote_part is not None))
            else:
                row = self._changed(_Versions(part, known or {}, remote_part), name)
                rows.extend([row] if row else [])
        for uuid in [uuid for uuid in delivered if uuid not in wanted]:
            remote_part = remote.get(uuid)
            if remote_part is None or is_deleted(remote_part):
                # not by us: it does not come back by itself
                self._changes.deleted_by_analyst.add(uuid)
            else:
                rows.extend(self._withdrawn(delivered[uuid], remote_part, name))
        return rows

    def _absent(self, part: Part, known: Part | None, *, revived: bool) -> Iterator[Part]:
        """The row of a wanted part that MISP does not have, or shows as deleted."""
        uuid = str(part["uuid"])
        deleted = known is not None or uuid in self._changes.deleted_by_analyst
        if not deleted:
            yield new_row(part, revived=revived)
        elif self._policy.restore and (known != part or not revived):
            self._changes.deleted_by_analyst.discard(uuid)
            yield new_row(part, revived=revived)
        elif known != part:
            # told when it matters: the source changed a part that an analyst deleted
            self._conflict(part, "deleted in MISP; stays deleted")

    def _changed(self, part: _Versions, name: str) -> Part:
        """The row of a part that MISP has; empty where nothing changes."""
        fields = _REFERENCE_FIELDS if name == "ObjectReference" else FIELDS_OF[name]
        row = self._fields(part, fields)
        data = part.wanted.get("data")
        if "data" in part.wanted and data != part.delivered.get("data"):
            # MISP may show an attachment otherwise than it got it, or not at all
            row["data"] = data
        row |= self._beside(part)
        for inner in ("Attribute", "ObjectReference") if name == "Object" else ():
            rows = self._parts(part, inner)
            if rows:
                row[inner] = rows
        if not row:
            return {}
        head = report_head(part.remote) if name == "EventReport" else row_head(part.wanted, name)
        return {**head, **row}

    def _withdrawn(self, known: Part, remote: Part, name: str) -> Iterator[Part]:
        """The row that takes a part away; none where it has become an analyst's own."""
        stored = self._changes.stored_values.get(str(known["uuid"]))
        if is_rewritten(known, remote, name, stored):
            text = "no longer wanted, and an analyst made something else of it; stays"
            self._conflict(known, text)
            return
        if name == "Object":
            ours = by_uuid(known, "Attribute")
            added = by_uuid(remote, "Attribute").keys() - ours.keys()
            if any(not is_deleted(row) for row in _rows(remote, added)):
                text = "withdrawn, but an analyst added to it; only our attributes are deleted"
                self._conflict(known, text)
                rows = [{**row_head(row, "Attribute"), "deleted": True} for row in ours.values()]
                yield {**row_head(known, name), "Attribute": rows}
                return
        head = report_head(remote) if name == "EventReport" else row_head(known, name)
        yield {**head, "deleted": True}

    # fields

    def _fields(self, part: _Versions, names: tuple[str, ...]) -> Part:
        """The fields of a part that an edit has to have."""
        return {name: part.wanted.get(name, "") for name in names if self._is_sent(part, name)}

    def _is_sent(self, part: _Versions, name: str) -> bool:
        """Whether the wanted value of a field is sent."""
        wanted, last, remote = (normal(name, version.get(name)) for version in part)
        if wanted == last == remote:
            return False
        kept = self._changes.analyst_kept.get(part.uuid, {})
        before = normal(name, kept[name]) if name in kept else last  # the value that we delivered
        if wanted == remote:
            if part.delivered and wanted != before:
                self._keep_analysts(part, name)
            return False
        if wanted == last and part.delivered:
            return False  # the source has not changed it
        why = self._why_kept(part, name, wanted, remote, before)
        if why is not None:
            if why:
                self._conflict(part.wanted, f"{name}: {why}", uuid=part.uuid)
            return False
        kept.pop(name, None)
        return True

    def _why_kept(
        self, part: _Versions, name: str, wanted: Any, remote: Any, before: Any
    ) -> str | None:
        """Why the value in MISP stays; None where ours replaces it.

        Empty where that needs no note: we delivered the wanted value before.
        """
        if name == "distribution" and wider(wanted, remote) and _is_marked_stricter(part):
            return "stays, since an analyst marked it more strictly"
        by_analyst = part.delivered and remote != before
        if by_analyst and not self._wins(name, wanted, remote):
            return "MISP's value stands" if wanted != before else ""
        return None

    def _keep_analysts(self, part: _Versions, name: str) -> None:
        """Record that somebody else set a field to the value that is wanted by now."""
        fields = self._changes.analyst_kept.setdefault(part.uuid, {})
        fields.setdefault(name, part.delivered.get(name))

    def _wins(self, name: str, wanted: Any, remote: Any) -> bool:
        """Whether a value of ours goes before an analyst's.

        A withdrawn `to_ids` and a stricter distribution always do.
        """
        if name in self._policy.ours:
            return True
        if name == "to_ids":
            return wanted is False
        return name == "distribution" and wider(remote, wanted)

    # tags, sightings and analyst data

    def _beside(self, part: _Versions) -> dict[str, list[Part]]:
        """Tags, sightings and analyst data of a part that an edit has to have."""
        rows = {"Tag": self._tags(part), "Sighting": _new_sightings(part)}
        for name in ANALYST_DATA:
            if part.wanted.get(name) or part.delivered.get(name):
                rows[name] = list(self._analyst_data(part, name))
        return {name: entries for name, entries in rows.items() if entries}

    def _tags(self, part: _Versions) -> list[Part]:
        """Tags to add, and those that we set before and no longer want.

        Tags that others set are never touched.
        """
        wanted, delivered, remote = (
            {name.lower(): name for name in tag_names(version)} for version in part
        )
        by_others = wanted.keys() & remote.keys() - delivered.keys()
        if by_others:
            self._changes.others_tags.setdefault(part.uuid, set()).update(by_others)
        known = remote.keys() | delivered.keys()
        new = [name for folded, name in wanted.items() if folded not in known]
        removed = [folded for folded in delivered if folded not in wanted and folded in remote]
        return [
            *_added_tags(part, new),
            *({"name": remote[folded], "deleted": 1} for folded in removed),
        ]

    def _analyst_data(self, holder: _Versions, name: str) -> Iterator[Part]:
        """Notes, opinions or relationships that are new; others go to `Changes.analyst_data`."""
        wanted, delivered, remote = holder.rows(name)
        for uuid, entry in wanted.items():
            if uuid in remote:
                known = delivered.get(uuid, {})
                yield from self._changed_entry(_Versions(entry, known, remote[uuid]), name)
            elif uuid not in delivered and uuid not in self._changes.deleted_by_analyst:
                yield entry
            elif delivered.get(uuid) != entry:
                text = f"{name.lower()} deleted in MISP; stays deleted"
                self._conflict({}, text, uuid=uuid)
        for uuid, entry in delivered.items():
            if uuid not in wanted:
                self._withdraw_entry(entry, remote.get(uuid), name)

    def _changed_entry(self, entry: _Versions, name: str) -> Iterator[Part]:
        fields = self._fields(entry, ANALYST_FIELDS)
        if "relationship_type" in fields:
            # MISP answers 200 to the change and keeps the old one: delete it and add it anew
            self._changes.analyst_data.append(AnalystDataChange(name, entry.uuid, None))
            yield entry.wanted
        elif fields:
            self._changes.analyst_data.append(AnalystDataChange(name, entry.uuid, fields))

    def _withdraw_entry(self, entry: Part, remote: Part | None, name: str) -> None:
        uuid = str(entry["uuid"])
        if remote is None:
            self._changes.deleted_by_analyst.add(uuid)
        elif any(differs(field, remote, entry) for field in entry.keys() & _TEXTS):
            text = f"{name.lower()} was changed in MISP; stays, though the source no longer says it"
            self._conflict({}, text, uuid=uuid)
        else:
            self._changes.analyst_data.append(AnalystDataChange(name, uuid, None))

    def _conflict(self, part: Part, text: str, *, uuid: str | None = None) -> None:
        note = (uuid or str(part["uuid"]), Outcome.PRESERVED, Reason.CONFLICT, label(part) + text)
        self._changes.notes.append(note)


def _rows(part: Part, uuids: set[str]) -> Iterator[Part]:
    """The attributes of an object that have some UUIDs."""
    return (row for uuid, row in by_uuid(part, "Attribute").items() if uuid in uuids)


def _new_sightings(part: _Versions) -> list[Part]:
    if not part.wanted.get("Sighting"):
        return []
    before = by_uuid(part.delivered, "Sighting")
    return [row for uuid, row in by_uuid(part.wanted, "Sighting").items() if uuid not in before]


def _added_tags(part: _Versions, names: list[str]) -> list[Part]:
    """The rows of tags to add, without TLP tags that are looser than an analyst's."""
    if not names:
        return []
    local = {tag["name"] for tag in rows_of(part.wanted, "Tag") if tag.get("local")}
    level = part.analysts_level()
    return [
        {"name": name, **({"local": True} if name in local else {})}
        for name in names
        if not _is_looser(name, level)
    ]


def _is_marked_stricter(part: _Versions) -> bool:
    """Whether a TLP tag that others set is stricter than the wanted level."""
    return tlp_rank(part.analysts_level()) > rank_of(part.wanted)


def _is_looser(tag: str, level: str | None) -> bool:
    """Whether a TLP tag is looser than the level that an analyst set."""
    tag_level = tlp.level_of_name(tag) if tlp.is_tlp_tag(tag) else None
    return tag_level is not None and tlp_rank(level) > tlp_rank(tag_level)
