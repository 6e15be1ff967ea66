"""A large event in several requests: some parts, other parts, then references of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from stixbridge.sinks.fields import OBJECT_HEAD, PARTS, Part, rows_of


def chunks(body: Mapping[str, Any], most: int, size: int) -> list[Part]:
    """The requests for an event, or for an edit of one.

    Args:
        body: the whole of it.
        most: attributes in a request, those of objects counted.
        size: bytes of a request; a single part that is larger goes by itself.

    Returns:
        At least one body. Object references come last, when everything that they refer to is
        stored: MISP drops others in silence.
    """
    if _count(body) <= most and len(orjson.dumps(body)) <= size:
        return [dict(body)]
    head = {key: value for key, value in body.items() if key not in PARTS}
    bodies: list[Part] = [head]
    count, length = 0, len(orjson.dumps(head))
    for name, part, weight in _all_parts(body):
        bytes_ = len(orjson.dumps(part))
        if count and (count + weight > most or length + bytes_ > size):
            bodies.append({})
            count = length = 0
        bodies[-1].setdefault(name, []).append(part)
        count, length = count + weight, length + bytes_
    return bodies


def _count(body: Mapping[str, Any]) -> int:
    return sum(weight for _, _, weight in _all_parts(body))


def _all_parts(body: Mapping[str, Any]) -> Iterator[tuple[str, Part, int]]:
    """(name of the list, part, attributes in it); references of objects follow by themselves."""
    for name in PARTS:
        for part in rows_of(body, name):
            yield name, _without_references(part), max(1, len(rows_of(part, "Attribute")))
    for part in rows_of(body, "Object"):
        if part.get("ObjectReference"):
            head = {key: part[key] for key in OBJECT_HEAD if key in part}
            yield "Object", {**head, "ObjectReference": part["ObjectReference"]}, 1


def _without_references(part: Part) -> Part:
    if not part.get("ObjectReference"):
        return part
    return {key: value for key, value in part.items() if key != "ObjectReference"}
