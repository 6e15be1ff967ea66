"""Which objects an object refers to: properties named `*_ref` and `*_refs` (STIX 2.1, section 2.9 and 3.1)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

# References that say where something comes from, not what it is made of.
ORIGIN = frozenset({"created_by_ref", "object_marking_refs", "marking_ref"})

# Properties with objects inside that refer to others (STIX 2.1, sections 6.6 and 6.7).
_NESTING = frozenset({"extensions", "body_multipart"})
_MAX_DEPTH = 6


def references(obj: Mapping[str, Any], without: Container[str] = ()) -> list[str]:
    """The ids an object refers to, in the order of its properties.

    Args:
        obj: a STIX object, in shape or not.
        without: names of properties that don't count.
    """
    found: list[str] = []
    for name, value in obj.items():
        if not isinstance(name, str) or name in without:
            continue
        if name.endswith("_ref") and isinstance(value, str):
            found.append(value)
        elif name.endswith("_refs") and isinstance(value, list):
            found.extend(ref for ref in value if isinstance(ref, str))
        elif name in _NESTING and value:
            _inside(value, found, 0)
    return found


def _inside(value: Any, found: list[str], depth: int) -> None:
    """References below extensions and the parts of an email."""
    if depth > _MAX_DEPTH:
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            found.extend(references(item))
            for name, inner in item.items():
                if isinstance(inner, dict | list) and name not in _NESTING and not str(name).endswith("_refs"):
                    _inside(inner, found, depth + 1)


def parts(obj: Mapping[str, Any]) -> list[str]:
    """The ids of what an object is made of or connects: without its producer and markings."""
    return references(obj, ORIGIN)


def everything(obj: Mapping[str, Any]) -> set[str]:
    """Every id an object refers to, granular markings included."""
    found = set(references(obj))
    granular = obj.get("granular_markings")
    for row in granular if isinstance(granular, list) else []:
        if isinstance(row, dict) and isinstance(row.get("marking_ref"), str):
            found.add(row["marking_ref"])
    return found
