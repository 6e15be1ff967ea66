"""Converts STIX 2.0 to 2.1. No other module knows STIX 2.0.

STIX 2.1 renamed and moved properties (STIX 2.1, appendix B "changes"): types in `labels` became
`indicator_types` and similar properties, and the dictionary inside an observed-data became separate
objects. A converted object keeps its id and all its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from stixbridge.ledger import Reason
from stixbridge.stix.reader import is_type
from stixbridge.stix.schema import printable

# OASIS's namespace for the deterministic ids of cyber-observables (STIX 2.1, section 2.9).
SCO_NAMESPACE = UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")

# In 2.0 `labels` held an open vocabulary; in 2.1 it has a separate property.
TYPES_FROM_LABELS = {
    "indicator": "indicator_types",
    "malware": "malware_types",
    "report": "report_types",
    "threat-actor": "threat_actor_types",
    "tool": "tool_types",
}

OPENCTI = (
    "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba",
    "extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82",
)
"""The ids of OpenCTI's extensions: for all its objects, and for its observables."""

_OPENCTI_KINDS = {
    "score": int,
    "detection": bool,
    "description": str,
    "labels": list,
    "created_by_ref": str,
}

# The names of observable properties in 2.0 (STIX 2.1, appendix B).
RENAMED: dict[str, dict[str, str]] = {
    "file": {"created": "ctime", "modified": "mtime", "accessed": "atime"},
    "directory": {"created": "ctime", "modified": "mtime", "accessed": "atime"},
    "process": {"created": "created_time", "binary_ref": "image_ref"},
    "windows-registry-key": {"modified": "modified_time"},
    "user-account": {"password_last_changed": "credential_last_changed"},
}

_MAX_NESTED = 8

MAX_OBSERVED = 1_000
"""The most observables of one observed-data; the others are dropped and reported."""


def lift(obj: dict[str, Any]) -> dict[str, Any]:
    """Convert an object to STIX 2.1.

    Args:
        obj: any STIX object, with `type` and `id`.

    Returns:
        The same object if it needs no change, otherwise a changed copy. In objects with
        `spec_version` "2.1" only OpenCTI's extensions are read.
    """
    if "extensions" in obj and isinstance(obj["extensions"], dict):
        obj = _from_opencti(obj)
    if obj.get("spec_version") == "2.1":
        return obj
    types = TYPES_FROM_LABELS.get(obj["type"])
    if types is not None and types not in obj and "labels" in obj and not _from_misp(obj["labels"]):
        lifted = dict(obj)
        lifted[types] = lifted.pop("labels")
        return lifted
    return obj


def _from_opencti(obj: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of OpenCTI's extensions under earlier names (`x_opencti_score`)."""
    lifted = obj
    for extension in OPENCTI:
        inner = obj["extensions"].get(extension)
        for name in ("score", "detection", "description", "labels", "created_by_ref"):
            value = inner.get(name) if isinstance(inner, dict) else None
            fits = isinstance(value, _OPENCTI_KINDS[name])
            if (
                fits
                and f"x_opencti_{name}" not in obj
                and (name not in obj or name in ("score", "detection"))
            ):
                if lifted is obj:
                    lifted = dict(obj)
                lifted[f"x_opencti_{name}"] = value
    return lifted


def _from_misp(labels: list[str]) -> bool:
    """Return whether MISP wrote the labels; they are then fields and tags instead of types."""
    return any(label.startswith("misp:") for label in labels)


def lifted_name(obj_type: str, name: str, obj: Mapping[str, Any]) -> str:
    """Return the name of a property before `lift`, for messages about the input."""
    if TYPES_FROM_LABELS.get(obj_type) == name and obj.get("spec_version") != "2.1":
        return "labels"
    return name


def observables_of(
    observed: Mapping[str, Any],
) -> tuple[dict[str, dict[str, Any]], list[tuple[str, Reason]]]:
    """Return the cyber-observables inside a 2.0 observed-data as 2.1 objects that refer by id.

    Args:
        observed: an observed-data with the 2.0 dictionary in `objects` (STIX 2.0 part 2, section
            2.7).

    Returns:
        key in the dictionary -> object, and (key, reason) of each dropped entry. Ids are derived
        from the observed-data and the key, so the same input gives the same ids.
    """
    inner = observed["objects"]
    usable: dict[str, dict[str, Any]] = {}
    left_out: list[tuple[str, Reason]] = []
    for key, value in inner.items():
        name = printable(key)
        if not isinstance(value, dict) or not is_type(value.get("type")):
            left_out.append((name, Reason.INVALID_OBJECT))
        elif len(usable) >= MAX_OBSERVED:
            left_out.append((name, Reason.LIMIT))
        else:
            usable[name] = value
    ids = {
        key: f"{value['type']}--{uuid5(SCO_NAMESPACE, observed['id'] + '|' + key)}"
        for key, value in usable.items()
    }
    lifted: dict[str, dict[str, Any]] = {}
    for key, value in usable.items():
        copy: dict[str, Any] = {"type": value["type"], "id": ids[key]}
        renamed = RENAMED.get(value["type"], {})
        for name, item in value.items():
            if name not in ("type", "id"):
                copy[renamed.get(name, name)] = _by_id(name, item, ids)
        lifted[key] = copy
    return lifted, left_out


def _by_id(name: Any, item: Any, ids: Mapping[str, str], depth: int = 0) -> Any:
    """Replace references by key with references by id, at any depth of a value."""
    if isinstance(name, str) and name.endswith("_ref") and isinstance(item, str):
        return ids.get(item, item)
    if isinstance(name, str) and name.endswith("_refs") and isinstance(item, list):
        return [ids.get(ref, ref) if isinstance(ref, str) else ref for ref in item]
    if isinstance(item, dict) and depth < _MAX_NESTED:
        return {inner: _by_id(inner, value, ids, depth + 1) for inner, value in item.items()}
    if isinstance(item, list) and depth < _MAX_NESTED:
        return [_by_id(None, value, ids, depth + 1) for value in item]
    return item
