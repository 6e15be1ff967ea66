"""What changes between two forms of an event, in words for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stixbridge.misp.model import ANALYST_DATA, tag_names
from stixbridge.sinks.fields import (
    ANALYST_FIELDS,
    ATTRIBUTE_FIELDS,
    EVENT_FIELDS,
    OBJECT_FIELDS,
    REPORT_FIELDS,
    is_deleted,
    normal,
)

Part = Mapping[str, Any]

_SIGHTINGS = {"0": "seen", "1": "false positive", "2": "expired"}


def event_diff(before: Part, after: Part) -> list[str]:
    """What changes, a line each, `+`, `-` or `~` first; soft-deleted parts count as absent.

    Args:
        before: what is there; empty for a new event.
        after: what is wanted.
    """
    lines = [
        f"~ {name}: {before.get(name)!r} → {after.get(name)!r}"
        for name in EVENT_FIELDS
        if before and normal(name, before.get(name)) != normal(name, after.get(name))
    ]
    lines.extend(_tags("", before, after))
    lines.extend(_beside("", before, after))
    old, new = _flat(before), _flat(after)
    for uuid in sorted(old.keys() | new.keys()):
        then, now = old.get(uuid), new.get(uuid)
        if then is None or now is None:
            part = then or now or {}
            lines.append(f"{'+' if then is None else '-'} {_label(part)}")
            if now is not None:
                lines.extend(_beside(f"{_label(now)}: ", {}, now))
            continue
        fields = (
            ATTRIBUTE_FIELDS
            if "type" in now
            else OBJECT_FIELDS
            if "Attribute" in now
            else REPORT_FIELDS
        )
        lines.extend(
            f"~ {_label(now)}: {name}: {_apart(then.get(name), now.get(name))}"
            for name in fields
            if normal(name, then.get(name)) != normal(name, now.get(name))
        )
        lines.extend(_tags(f"{_label(now)}: ", then, now))
        lines.extend(_beside(f"{_label(now)}: ", then, now))
    return lines


def _apart(then: object, now: object) -> str:
    """Two values, from where they differ on."""
    old, new = str(then), str(now)
    at = next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), 0
    )
    start = max(0, at - 10) if at > 40 else 0
    shown = [("…" if start else "") + text[start : start + 60] for text in (old, new)]
    return f"{shown[0]!r} → {shown[1]!r}"


def _tags(where: str, before: Part, after: Part) -> list[str]:
    old, new = set(tag_names(dict(before))), set(tag_names(dict(after)))
    return [f"+ {where}{name}" for name in sorted(new - old)] + [
        f"- {where}{name}" for name in sorted(old - new)
    ]


def _beside(where: str, before: Part, after: Part) -> Iterator[str]:
    """Sightings and analyst data that an element gets or loses, and analyst data that changes."""
    for name in ("Sighting", *ANALYST_DATA):
        old, new = (
            {str(row.get("uuid")): row for row in part.get(name) or ()} for part in (before, after)
        )
        for uuid in sorted(old.keys() | new.keys()):
            row = new.get(uuid) or old[uuid]
            kind = (
                f" ({_SIGHTINGS.get(str(row.get('type')), row.get('type'))})"
                if name == "Sighting"
                else ""
            )
            if uuid not in old or uuid not in new:
                yield f"{'+' if uuid in new else '-'} {where}{name.lower()}{kind}"
            elif any(
                normal(field, old[uuid].get(field)) != normal(field, row.get(field))
                for field in ANALYST_FIELDS
            ):
                said = row.get("note") or row.get("opinion") or row.get("relationship_type") or ""
                yield f"~ {where}{name.lower()}: {said!s:.60}"


def _flat(event: Part) -> dict[str, Part]:
    parts = [
        part for name in ("Attribute", "Object", "EventReport") for part in event.get(name) or ()
    ]
    live = [part for part in parts if not is_deleted(part)]
    live += [
        inner for part in live for inner in part.get("Attribute") or () if not is_deleted(inner)
    ]
    return {str(part["uuid"]): part for part in live}


def _label(part: Part) -> str:
    if "type" in part:
        return f"{part['type']} {str(part.get('value'))[:80]}"
    return f"{'object' if 'Attribute' in part else 'report'} {part.get('name', '')}"
