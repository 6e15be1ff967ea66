"""A second reading of JSON that one object breaks.

Each object by itself, so that the others are read.

Servers send NaN, numbers out of range, bytes that are not UTF-8, lone surrogates, and objects that
nest too deep. The document as a whole has to be one: its brackets close, and nothing follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,300})"')
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")
_BROKEN = object()


Unreadable = Callable[[str, str | None], Any]
"""Makes the stand-in for a list member that can't be read.

Of its path, and its id where that can be seen.
"""


def loads(data: bytes, unreadable: Unreadable) -> Any:
    """Read JSON whose list members may be broken.

    Args:
        data: without a byte order mark.
        unreadable: makes what stands in the place of a member that can't be read.

    Returns:
        The value, or None where the text is neither a list nor an object with a list `objects`.
    """
    text = data.strip()
    if text[:1] not in (b"{", b"["):
        return None
    members = _members(text)
    if members is None:
        return None
    if text[:1] == b"[":
        return _items(text, members, "$", unreadable)
    value: dict[str, Any] = {}
    for name, start, end in members:
        part = text[start:end].strip()
        inner = _members(part) if name == "objects" and part[:1] == b"[" else None
        if inner is not None:
            value[name] = _items(part, inner, "$.objects", unreadable)
        elif (item := _value(part)) is not _BROKEN:
            value[name] = item
    return value if isinstance(value.get("objects"), list) else None


def id_in(text: bytes) -> str | None:
    """The id of an object that can't be read, where it can be seen."""
    found = _ID.search(text)
    return found[1].decode("utf-8", "replace") if found else None


def _items(
    text: bytes, members: list[tuple[str, int, int]], path: str, unreadable: Unreadable
) -> list[Any]:
    items = []
    for number, (_, start, end) in enumerate(members):
        item = _value(text[start:end])
        if item is _BROKEN:
            item = unreadable(f"{path}[{number}]", id_in(text[start:end]))
        items.append(item)
    return items


def _value(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _BROKEN


def _members(text: bytes) -> list[tuple[str, int, int]] | None:
    """The members of an object or list: name, and where the value begins and ends.

    None where the text is broken.
    """
    members: list[tuple[str, int, int]] = []
    depth = 0
    name, start = "", 1
    for token in _TOKEN.finditer(text):
        kind = token.group()
        depth += (kind in _OPENING) - (kind in _CLOSING)
        at_end = depth == 0
        if depth == 1 and kind == b":":
            name = text[start : token.start()].strip()[1:-1].decode("utf-8", "replace")
            start = token.end()
        elif at_end or (depth == 1 and kind == b","):
            empty = not text[start : token.start()].strip()
            if empty and (members or not at_end):
                return None
            if not empty:
                members.append((name, start, token.start()))
            if at_end:
                return members if token.end() == len(text) else None
            name, start = "", token.end()
    return None
