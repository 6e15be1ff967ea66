"""Reads the observables of MISP's exports, as the values of one attribute or object."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stixbridge.conversion.to_misp.walk import text_of

StixObject = Mapping[str, Any]
Leaf = tuple[str, str]
"""(`file:hashes.MD5`, value)."""

ORIGINAL_NAMES = "x_misp_original_names"
"""Where an export says how MISP spells the names that it had to change."""

_REFERENCE = re.compile(r"_refs?(?:\[\d+\])?$")
_NOT_VALUES = frozenset({"type", "id", "spec_version", "object_marking_refs", "defanged"})
_MAX_DEPTH = 6


class Observables:
    """Reads the observables of records.

    Args (of the constructor):
        objects: of the input, by id.
    """

    def __init__(self, objects: Mapping[str, StixObject]) -> None:
        self._objects = objects

    def refs(self, obj: StixObject) -> list[str]:
        """The ids of the observables of a record, as far as they are in the input."""
        return [ref for ref in obj.get("object_refs") or () if ref in self._objects]

    def original_names(self, obj: StixObject) -> dict[str, str]:
        """Property of an export -> its name in MISP, where the export says so."""
        found: dict[str, str] = {}
        for part in (obj, *(self._objects[ref] for ref in self.refs(obj))):
            names = part.get(ORIGINAL_NAMES)
            if isinstance(names, dict):
                found.update((key, name) for key, name in names.items() if isinstance(name, str))
        return found

    def leaves(self, obj: StixObject) -> Iterator[Leaf]:
        """The values of the observables of a record.

        An observable that another one refers to stands below that, and only once.
        """
        refs = self.refs(obj)
        inner = {ref: self._objects[ref] for ref in refs}
        below = {
            ref
            for id_, one in inner.items()
            for ref in references_of(one)
            if ref in inner and ref != id_
        }
        read: set[str] = set()
        for id_ in [ref for ref in refs if ref not in below] or refs[:1]:
            here: set[str] = set()
            yield from self._leaves(inner[id_]["type"], "", inner[id_], 0, read, here)
            if inner[id_]["type"] == "network-traffic":
                read |= here

    def _leaves(
        self,
        type_: str,
        path: str,
        obj: Mapping[str, Any],
        depth: int,
        read: set[str],
        here: set[str],
    ) -> Iterator[Leaf]:
        for name, value in obj.items():
            if (depth == 0 and name in _NOT_VALUES) or name == ORIGINAL_NAMES:
                continue
            below = f"{path}.{name}" if path else name
            yield from self._inside(type_, below, value, depth + 1, read, here)

    def _inside(
        self, type_: str, path: str, value: Any, depth: int, read: set[str], here: set[str]
    ) -> Iterator[Leaf]:
        if depth > _MAX_DEPTH:
            return
        if isinstance(value, dict):
            yield from self._leaves(type_, path, value, depth, read, here)
        elif isinstance(value, list):
            for at, item in enumerate(value):
                yield from self._inside(type_, f"{path}[{at}]", item, depth + 1, read, here)
        elif isinstance(value, str) and value in self._objects and _REFERENCE.search(path):
            if value in read:
                return
            here.add(value)
            inner = {
                key: item
                for key, item in self._objects[value].items()
                if key not in ("type", "id", "spec_version")
            }
            yield from self._leaves(type_, path, inner, depth + 1, read, here)
        elif isinstance(value, str | int | float):
            yield f"{type_}:{path}", text_of(value)


def references_of(obj: StixObject) -> Iterator[str]:
    """What an observable refers to, at any depth in lists."""
    for name, value in obj.items():
        if isinstance(value, str) and name.endswith("_ref"):
            yield value
        elif isinstance(value, list) and name.endswith("_refs"):
            yield from value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from references_of(item)
