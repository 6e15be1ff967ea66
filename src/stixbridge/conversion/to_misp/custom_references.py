"""The references in the properties of a custom object: links to other objects, and no texts.

A custom type may have them anywhere: in a property `effect_refs`, or inside a list of tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from stixbridge.mapping.tables import COMMON

_ID = re.compile(r"[a-z0-9][a-z0-9-]*--[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MAX_DEPTH = 8


class Reference(NamedTuple):
    """One reference.

    Attributes:
        path: where it stands.
        verb: the name of the property without `_ref` or `_refs`.
        target: the id.
    """

    path: str
    verb: str
    target: str


def split(obj: Mapping[str, Any]) -> tuple[dict[str, Any], list[Reference]]:
    """Take the references out of the properties of a custom object.

    Args:
        obj: the object; the common properties of STIX stay as they are.

    Returns:
        The object without the references, and the references in the order of the properties.
    """
    found: list[Reference] = []
    rest: dict[str, Any] = {}
    for name, value in obj.items():
        rest[name] = value if name in COMMON else _without(str(name), str(name), value, found, 0)
    return rest, found


def _without(name: str, path: str, value: Any, found: list[Reference], depth: int) -> Any:
    """A value without its references; None where it is one."""
    if isinstance(value, str):
        if name.endswith(("_ref", "_refs")) and _ID.fullmatch(value):
            verb = name.removesuffix("s").removesuffix("_ref").replace("_", "-")
            found.append(Reference(path, verb, value))
            return None
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        rows = [
            _without(name, f"{path}[{at}]", item, found, depth + 1) for at, item in enumerate(value)
        ]
        return [row for row in rows if row is not None]
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        table = {
            key: _without(str(key), f"{path}.{key}", inner, found, depth + 1)
            for key, inner in value.items()
        }
        return {key: row for key, row in table.items() if row is not None}
    return value
