"""The changes between two forms of an event, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from stixbridge.misp.model import ANALYST_DATA, tag_names
from stixbridge.sinks.fields import (
    ANALYST_FIELDS,
    EVENT_FIELDS,
    FIELDS_OF,
    Part,
    by_uuid,
    differs,
    live_parts,
)

_SIGHTINGS = {"0": "seen", "1": "false positive", "2": "expired"}


def event_diff(before: Part, after: Part) -> list[str]:
    """The changes between two forms of an event, a line each, with `+`, `-` or `~` first.

    Soft-deleted parts count as absent.

    Args:
        before: the event as it is; empty for a new one.
        after: the event as it is wanted.
    """
    changed = (name for name in EVENT_FIELDS if before and differs(name, before, after))
    lines = [f"~ {name}: {before.get(name)!r} → {after.get(name)!r}" for name in changed]
    lines += _tags("", before, after)
    lines += _beside("", before, after)
    old, new = _by_uuid(before), _by_uuid(after)
    for uuid in sorted(old.keys() | new.keys()):
        lines += _part(old.get(uuid), new.get(uuid))
    return lines


def _part(before: Part | None, after: Part | None) -> list[str]:
    """The changes of one part."""
    if after is None:
        return [f"- {_label(before or {})}"]
    where = f"{_label(after)}: "
    if before is None:
        return [f"+ {_label(after)}", *_beside(where, {}, after)]
    changed = (name for name in FIELDS_OF[_list_of(after)] if differs(name, before, after))
    return [
        *(f"~ {where}{name}: {_values(before.get(name), after.get(name))}" for name in changed),
        *_tags(where, before, after),
        *_beside(where, before, after),
    ]


def _values(before: object, after: object) -> str:
    """Two values, from the character on in which they differ."""
    texts = str(before), str(after)
    pairs = enumerate(zip(*texts, strict=False))
    at = next((at for at, (old, new) in pairs if old != new), 0)
    start = max(0, at - 10) if at > 40 else 0
    old, new = (("…" if start else "") + text[start : start + 60] for text in texts)
    return f"{old!r} → {new!r}"


def _tags(where: str, before: Part, after: Part) -> list[str]:
    old, new = set(tag_names(before)), set(tag_names(after))
    return [f"+ {where}{name}" for name in sorted(new - old)] + [
        f"- {where}{name}" for name in sorted(old - new)
    ]


def _beside(where: str, before: Part, after: Part) -> Iterator[str]:
    """Sightings and analyst data that a part gets or loses, and analyst data that changes."""
    for name in ("Sighting", *ANALYST_DATA):
        old, new = by_uuid(before, name), by_uuid(after, name)
        for uuid in sorted(old.keys() | new.keys()):
            if uuid not in old or uuid not in new:
                kind = _kind(name, (new.get(uuid) or old[uuid]).get("type"))
                yield f"{'+' if uuid in new else '-'} {where}{kind}"
            elif any(differs(field, old[uuid], new[uuid]) for field in ANALYST_FIELDS):
                yield f"~ {where}{name.lower()}: {_content(new[uuid]):.60}"


def _kind(name: str, type_: object) -> str:
    if name != "Sighting":
        return name.lower()
    return f"sighting ({_SIGHTINGS.get(str(type_), type_)})"


def _content(row: Part) -> str:
    texts = (row.get(name) for name in ("note", "opinion", "relationship_type"))
    return str(next(filter(None, texts), ""))


def _by_uuid(event: Part) -> dict[str, Part]:
    return {str(part["uuid"]): part for part in live_parts(event)}


def _list_of(part: Part) -> str:
    """The list that a part is in."""
    return "Attribute" if "type" in part else "Object" if "Attribute" in part else "EventReport"


def _label(part: Part) -> str:
    kind = _list_of(part)
    if kind == "Attribute":
        return f"{part['type']} {str(part.get('value'))[:80]}"
    return f"{'object' if kind == 'Object' else 'report'} {part.get('name', '')}"
