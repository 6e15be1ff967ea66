"""A large event in several requests: the event with some of its parts, then the others, then what joins objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from stixbridge.sinks.fields import OBJECT_HEAD

Body = dict[str, Any]
_PARTS = ("Attribute", "Object", "EventReport")


def pieces(body: Mapping[str, Any], parts: int, size: int) -> list[Body]:
    """The requests for an event, or for an edit of one.

    Args:
        body: the whole of it.
        parts: attributes in a request, those of objects counted.
        size: bytes of a request; a single part that is larger goes by itself.

    Returns:
        At least one body. Object references come last, when all that they refer to is there: MISP drops others in
        silence.
    """
    if _count(body) <= parts and len(orjson.dumps(body)) <= size:
        return [dict(body)]
    head = {key: value for key, value in body.items() if key not in _PARTS}
    found: list[Body] = [head]
    count, length = 0, len(orjson.dumps(head))
    for name, part, weight in _all_parts(body):
        bytes_ = len(orjson.dumps(part))
        if count and (count + weight > parts or length + bytes_ > size):
            found.append({})
            count = length = 0
        found[-1].setdefault(name, []).append(part)
        count, length = count + weight, length + bytes_
    return found


def _count(body: Mapping[str, Any]) -> int:
    return sum(weight for _, _, weight in _all_parts(body))


def _all_parts(body: Mapping[str, Any]) -> Iterator[tuple[str, Body, int]]:
    """Every part with its name and the attributes in it; objects without their references, which follow."""
    joining: list[Body] = []
    for name in _PARTS:
        for part in body.get(name) or []:
            references = part.get("ObjectReference") if name == "Object" else None
            if references:
                joining.append(
                    {
                        **{key: part[key] for key in OBJECT_HEAD if key in part},
                        "ObjectReference": references,
                    }
                )
                part = {key: value for key, value in part.items() if key != "ObjectReference"}
            yield name, part, max(1, len(part.get("Attribute") or ()))
    for part in joining:
        yield "Object", part, 1
