"""Finds the objects that an object refers to.

References are in properties named `*_ref` and `*_refs` (STIX 2.1, sections 2.9 and 3.1).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any

# References to the origin of an object, as opposed to its parts.
ORIGIN = frozenset({"created_by_ref", "object_marking_refs", "marking_ref"})

# Properties with objects inside that refer to others (STIX 2.1, sections 6.6 and 6.7).
_NESTING = frozenset({"extensions", "body_multipart"})
_MAX_DEPTH = 6


def references(obj: Mapping[str, Any], without: Container[str] = ()) -> list[str]:
    """Return the ids that an object refers to, in the order of its properties.

    Args:
        obj: a STIX object; it may be malformed.
        without: names of properties to ignore.
    """
    found: list[str] = []
    for name in referring(tuple(obj)):
        if name in without:
            continue
        value = obj[name]
        if isinstance(value, str):
            if name.endswith("_ref"):
                found.append(value)
        elif name in _NESTING:
            _inside(value, found, 0)
        elif isinstance(value, list):
            found.extend([ref for ref in value if isinstance(ref, str)])
    return found


@lru_cache(maxsize=4096)
def referring(names: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the properties that can hold references."""
    return tuple(
        name
        for name in names
        if isinstance(name, str) and (name.endswith(("_ref", "_refs")) or name in _NESTING)
    )


def _inside(value: Any, found: list[str], depth: int) -> None:
    """Return references inside extensions and the parts of an email."""
    if depth > _MAX_DEPTH:
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            found.extend(references(item))
            for name, inner in item.items():
                if (
                    isinstance(inner, dict | list)
                    and name not in _NESTING
                    and not str(name).endswith("_refs")
                ):
                    _inside(inner, found, depth + 1)


def parts(obj: Mapping[str, Any]) -> list[str]:
    """Return the references to parts or ends of an object, without producer and markings."""
    return references(obj, ORIGIN)


def everything(obj: Mapping[str, Any]) -> set[str]:
    """Return all references, including granular markings and the definitions of extensions."""
    found = set(references(obj))
    extensions = obj.get("extensions")
    if isinstance(extensions, dict):
        found.update(
            name
            for name in extensions
            if isinstance(name, str) and name.startswith("extension-definition--")
        )
    granular = obj.get("granular_markings")
    for row in granular if isinstance(granular, list) else []:
        if isinstance(row, dict) and isinstance(row.get("marking_ref"), str):
            found.add(row["marking_ref"])
    return found
