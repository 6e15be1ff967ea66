"""Reads MISP Extensions, which replaced `x-misp-*` types and `x_misp_*` properties.

Since November 2026 (misp-stix 2026.11.12) an attribute, object or cluster without an equivalent in
STIX is a `misp-attribute`, `misp-object` or `misp-galaxy-cluster`, and what a standard object has
no property for stands in one property extension of it. The definitions come with the bundle. An
extension is MISP's where its definition says so, or by the names of its properties; names are read
with and without their prefix.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from stixbridge.mapping.dialects.misp_export import BY_TYPE
from stixbridge.mapping.tables import COMMON

StixObject = Mapping[str, Any]

_MISP = re.compile(r"\bmisp\b", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:x_misp_|misp_)")
_OWN_PREFIX = {
    "misp-attribute": "attribute_",
    "misp-object": "object_",
    "misp-galaxy-cluster": "cluster_",
}
_KEPT = COMMON.keys() | {"object_ref", "object_refs", "extensions"}
_GALAXY = {"galaxy_name": "name", "galaxy_type": "type", "tag_name": "tag"}
_RENAMED = {"relation": "object_relation", "attribute_type": "type", "attribute_value": "value"}
_LABELS = (
    {"type": "type", "category": "category", "to_ids": "to_ids"},
    {"name": "name", "meta_category": "meta-category"},
)
"""Fields of a record that an extension says in place of labels: of an attribute, of an object."""


def definitions_of(objects: Iterable[StixObject]) -> frozenset[str]:
    """The ids of the extension-definitions of MISP in an input, by what they say of themselves."""
    return frozenset(
        str(obj["id"])
        for obj in objects
        if obj["type"] == "extension-definition"
        and any(_is_of_misp(obj.get(name)) for name in ("name", "description"))
    )


def _is_of_misp(text: object) -> bool:
    return isinstance(text, str) and _MISP.search(text) is not None


def restored(obj: dict[str, Any], definitions: Container[str]) -> dict[str, Any]:
    """An object with MISP's extensions in the form that MISP's exports had before.

    Args:
        obj: any object, in shape.
        definitions: ids of the extensions that are MISP's.

    Returns:
        The same object where it has none of them.
    """
    own_type = f"x-{obj['type']}" in BY_TYPE
    extensions = obj.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    known = {
        name: inner
        for name, inner in extensions.items()
        if isinstance(inner, dict) and (own_type or name in definitions or _is_misps(inner))
    }
    if not own_type and not known:
        return obj
    found = {name: value for inner in known.values() for name, value in inner.items()}
    found.pop("extension_type", None)
    made = {name: value for name, value in obj.items() if name != "extensions"}
    if len(known) < len(extensions):
        made["extensions"] = {
            name: inner for name, inner in extensions.items() if name not in known
        }
    if own_type:
        found = {name: made.pop(name) for name in obj if name not in _KEPT} | found
        made["type"] = f"x-{obj['type']}"
    _put(made, found, str(obj["type"]))
    return made


def _is_misps(inner: Mapping[str, Any]) -> bool:
    """Whether all properties of an extension have a prefix of MISP's."""
    names = [str(name) for name in inner if name != "extension_type"]
    return bool(names) and all(_PREFIX.match(name) for name in names)


def _put(made: dict[str, Any], found: Mapping[str, Any], stix_type: str) -> None:
    """Add the properties under their earlier names, and labels that say what a record is."""
    own = _OWN_PREFIX.get(stix_type, "")
    plain: dict[str, Any] = {}
    for name, value in found.items():
        plain.setdefault(_PREFIX.sub("", name).removeprefix(own), value)
    labels = list(made.get("labels") or ())
    if stix_type == "misp-galaxy-cluster":
        plain = {_GALAXY.get(name, name): value for name, value in plain.items()}
        if isinstance(plain.get("tag"), str):
            labels.append(plain.pop("tag"))
    elif "created" in made:  # an observable is what its record says
        labels.extend(_labels_of(plain, keep=bool(own)))
    if stix_type == "misp-attribute" and "description" in plain:
        plain.setdefault("comment", plain.pop("description"))
    rows = plain.get("attributes")
    if isinstance(rows, list):
        plain["attributes"] = [_row(row) if isinstance(row, dict) else row for row in rows]
    if labels:
        made["labels"] = list(dict.fromkeys(labels))
    for name, value in plain.items():
        made.setdefault(f"x_misp_{name}", value)


def _labels_of(plain: dict[str, Any], *, keep: bool) -> Iterator[str]:
    """The labels that say of which type or template a record is; without `keep`, its fields go."""
    for fields in _LABELS:
        if all(isinstance(plain.get(name), str) for name in fields if name != "to_ids"):
            for name, label in fields.items():
                if name in plain:
                    yield f'misp:{label}="{plain[name] if keep else plain.pop(name)}"'


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute of an object."""
    plain = {_PREFIX.sub("", str(name)): value for name, value in row.items()}
    return {_RENAMED.get(name, name): value for name, value in plain.items()}
