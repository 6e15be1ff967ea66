"""Texts and times in an event that MISP's columns can't hold, made storable before they are sent.

The conversion makes storable texts; rules, plug-ins and scripts bring texts of their own. MISP
fails as a whole (500) on a character of four bytes in UTF-8 anywhere but in a value, and on a tag
that it has to cut inside a character.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, MispEvent
from stixbridge.misp.values import MAX_LENGTH, MAX_REPORT, MAX_TAG, cut, storable
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import PARTS, Part

_LIMITS: Mapping[str, int] = {
    "info": MAX_LENGTH,
    "comment": MAX_LENGTH,
    "note": MAX_LENGTH,
    "content": MAX_REPORT,
    "authors": 255,
    "source": 255,
    "relationship_type": 255,
}
"""Bytes of each field above which MISP fails; a value that is too long is dropped with an error."""
_LISTS = (*PARTS, "ObjectReference", "Sighting", *ANALYST_DATA)
_LATEST = 2**31 - 1
"""The last second that MISP's columns hold."""
_LAST = len(str(_LATEST))
_NO_TEXT = frozenset({"uuid", "data", "timestamp"})


def as_storable(event: MispEvent, notes: list[Note], now: int | None = None) -> MispEvent:
    """An event that MISP can hold.

    Args:
        event: it is not changed.
        notes: takes a line for each field that was mended or cut.
        now: seconds, in place of a timestamp that MISP's columns can't hold. None leaves the
            timestamp out, and MISP sets its own.

    Returns:
        The event itself where nothing in it has to change.
    """
    return _Mender(notes, None if now is None else str(now)).part(event, str(event["uuid"]))


class _Mender:
    """Makes parts storable.

    Args (of the constructor):
        notes: takes a line for each field that was mended or cut.
        now: in place of a timestamp that is too late.
    """

    def __init__(self, notes: list[Note], now: str | None) -> None:
        self._notes = notes
        self._now = now

    def part(self, part: Part, uuid: str) -> Part:
        """A part and everything in it; the part itself where nothing changes."""
        changed: Part = {}
        for key, value in part.items():
            new = self._field(key, value, part, uuid)
            if new is not value:
                changed[key] = new
        if not changed:
            return part
        if "value" in changed and part.get("to_ids"):
            changed["to_ids"] = False  # nothing in the wild has the value in this form
        return {
            key: value
            for key, value in {**part, **changed}.items()
            if value is not None or key not in changed
        }

    def _field(self, key: str, value: Any, part: Part, uuid: str) -> Any:
        if isinstance(value, str):
            return self._text(key, value, part, uuid)
        if key == "Tag":
            return self._tags(value, uuid)
        if key in _LISTS and value:
            rows = [self.part(row, str(row.get("uuid", uuid))) for row in value]
            if any(new is not old for new, old in zip(rows, value, strict=True)):
                return rows
        return value

    def _text(self, key: str, value: str, part: Part, uuid: str) -> str | None:
        if key == "timestamp" and len(value) >= _LAST and int(value) > _LATEST:
            self._note(uuid, Reason.MENDED, key)
            return self._now
        if key in _NO_TEXT:
            return value
        whole = value if value.isascii() else storable(value)
        text = _fitting(key, whole, part)
        if text == value:
            return value
        self._note(uuid, Reason.MENDED if text == whole else Reason.CUT, key)
        return text

    def _tags(self, tags: list[Part], uuid: str) -> list[Part]:
        if all(tag["name"].isascii() and len(tag["name"]) <= MAX_TAG for tag in tags):
            return tags
        rows: dict[str, Part] = {}
        for tag in tags:
            name = cut(storable(tag["name"]), MAX_TAG, mark="")
            if name != tag["name"]:
                self._note(uuid, Reason.MENDED, f"tag {name}")
            rows.setdefault(name, {**tag, "name": name})
        return list(rows.values())

    def _note(self, uuid: str, reason: Reason, field: str) -> None:
        self._notes.append((uuid, Outcome.PRESERVED, reason, field))


def _fitting(key: str, value: str, part: Mapping[str, Any]) -> str:
    """A text as MISP's column for it can hold it."""
    limit = 255 if key == "name" and "content" in part else _LIMITS.get(key)
    return value if limit is None or len(value) * 4 <= limit else cut(value, limit)
