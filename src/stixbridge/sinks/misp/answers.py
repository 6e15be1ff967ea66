"""The answers of a MISP, read with care: a server may send anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from stixbridge.misp.model import ANALYST_DATA

if TYPE_CHECKING:
    from stixbridge.http import Answer

_LISTS = (
    "Attribute",
    "Object",
    "EventReport",
    "ObjectReference",
    "Tag",
    "Sighting",
    "ShadowAttribute",
    *ANALYST_DATA,
)


def value_of(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer; a list as its `response`; empty for anything else."""
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(value, list):
        return {"response": value}
    return value if isinstance(value, dict) else {}


def table(value: Any, name: str) -> dict[str, Any]:
    """The object of a name in another; empty where there is none."""
    inner_value = value.get(name) if isinstance(value, Mapping) else None
    return inner_value if isinstance(inner_value, dict) else {}


def rows(value: Any, name: str, inner: str = "") -> list[dict[str, Any]]:
    """The objects in the list of a name; those under `inner` in each, where that is given."""
    inner_value = value.get(name) if isinstance(value, Mapping) else None
    values = inner_value if isinstance(inner_value, list) else []
    objects = [row for row in values if isinstance(row, dict)]
    return [row[inner] for row in objects if isinstance(row.get(inner), dict)] if inner else objects


def event_in(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """The event of an answer, with lists of objects only; None where there is none with an id."""
    event = value.get("Event")
    if (
        not isinstance(event, dict)
        or not isinstance(event.get("id"), str | int)
        or isinstance(event["id"], bool)
    ):
        return None
    return _part(event)


def _part(part: dict[str, Any]) -> dict[str, Any]:
    shaped = dict(part)
    for name in _LISTS:
        if name in shaped:
            shaped[name] = [_part(row) for row in rows(shaped, name)]
    if "Tag" in shaped:
        shaped["Tag"] = [tag for tag in shaped["Tag"] if isinstance(tag.get("name"), str)]
    if "Orgc" in shaped:
        shaped["Orgc"] = table(shaped, "Orgc")
    return shaped


def number(value: Any) -> int:
    """A whole number, from text too; 0 where it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def message_of(value: Mapping[str, Any], answer: Answer) -> str:
    """The message in an answer, in one line."""
    errors = value.get("errors")
    text = errors if isinstance(errors, str) else orjson.dumps(errors).decode() if errors else ""
    message = str(value.get("message") or value.get("name") or "")
    joined = f"{message} {text}".strip() if text not in message else message
    return " ".join((joined or "a web page, not MISP's API; is the URL right?").split())[:500]
