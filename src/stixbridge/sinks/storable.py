"""What MISP would fail on in an event, mended before it is sent, and said: its columns can't hold every text.

The conversion mends what it makes; rules, plug-ins and scripts bring texts of their own. A MISP fails as a whole (500)
on a character of four bytes in UTF-8 anywhere but in a value, and on a tag that it has to cut inside a character.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, MispEvent
from stixbridge.misp.values import MAX_LENGTH, MAX_REPORT, MAX_TAG, cut, storable
from stixbridge.sinks.delivery import Note

_LIMITS: Mapping[str, int] = {
    "info": MAX_LENGTH,
    "comment": MAX_LENGTH,
    "note": MAX_LENGTH,
    "content": MAX_REPORT,
    "authors": 255,
    "source": 255,
    "relationship_type": 255,
}
"""Bytes of each field that MISP would fail on; a value that is too long it drops, and says so."""
_LISTS = ("Attribute", "Object", "EventReport", "ObjectReference", "Sighting", *ANALYST_DATA)
_LATEST = 2**31 - 1
"""The last second that MISP's columns hold."""
_LAST = len(str(_LATEST))
_NO_TEXT = frozenset({"uuid", "data", "timestamp"})


def mended(event: MispEvent, notes: list[Note], now: int | None = None) -> MispEvent:
    """An event that MISP can hold.

    Args:
        event: it is not changed.
        notes: takes what was mended or cut, a line each.
        now: seconds; in place of a timestamp that MISP's columns can't hold. None to leave that out: MISP sets its own.

    Returns:
        The event itself where nothing is wrong with it.
    """
    return _mended(event, notes, str(event["uuid"]), None if now is None else str(now))


def _mended(part: dict[str, Any], notes: list[Note], uuid: str, now: str | None) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in part.items():
        if isinstance(value, str):
            if key == "timestamp" and len(value) >= _LAST and int(value) > _LATEST:
                changed[key] = now
                notes.append((uuid, Outcome.PRESERVED, Reason.MENDED, key))
            elif key not in _NO_TEXT:
                text = _text(key, value, part)
                if text != value:
                    changed[key] = text
                    reason = Reason.MENDED if len(text) == len(value) else Reason.CUT
                    notes.append((uuid, Outcome.PRESERVED, reason, key))
        elif key == "Tag":
            tags = _tags(value, notes, uuid)
            if tags is not None:
                changed[key] = tags
        elif key in _LISTS and value:
            rows = [_mended(row, notes, str(row.get("uuid", uuid)), now) for row in value]
            if any(new is not old for new, old in zip(rows, value, strict=True)):
                changed[key] = rows
    if not changed:
        return part
    return {
        key: value
        for key, value in {**part, **changed}.items()
        if value is not None or key not in changed
    }


def _text(key: str, value: str, part: Mapping[str, Any]) -> str:
    limit = 255 if key == "name" and "content" in part else _LIMITS.get(key)
    if value.isascii():
        return value if limit is None or len(value) <= limit else cut(value, limit)
    value = storable(value)
    return value if limit is None else cut(value, limit)


def _tags(tags: list[dict[str, Any]], notes: list[Note], uuid: str) -> list[dict[str, Any]] | None:
    """Tags that MISP can hold; None where all are."""
    if all(tag["name"].isascii() and len(tag["name"]) <= MAX_TAG for tag in tags):
        return None
    rows: dict[str, dict[str, Any]] = {}
    for tag in tags:
        name = cut(storable(tag["name"]), MAX_TAG, mark="")
        if name != tag["name"]:
            notes.append((uuid, Outcome.PRESERVED, Reason.MENDED, f"tag {name}"))
        rows.setdefault(name, {**tag, "name": name})
    return list(rows.values())
