"""STIX 2.0 lifted to 2.1, here and nowhere else.

What 2.1 renamed or moved (STIX 2.1, appendix B "changes"): types in `labels` became `indicator_types` and the like;
the dictionary inside an observed-data became objects of their own. A lifted object keeps its id and all that it had.
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

# In 2.0 `labels` held an open vocabulary that 2.1 gave a property of its own.
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
"""The ids of OpenCTI's own extensions: of all its objects, and of its observables."""

_OPENCTI_KINDS = {
    "score": int,
    "detection": bool,
    "description": str,
    "labels": list,
    "created_by_ref": str,
}

# What an observable's property was called in 2.0 (STIX 2.1, appendix B).
RENAMED: dict[str, dict[str, str]] = {
    "file": {"created": "ctime", "modified": "mtime", "accessed": "atime"},
    "directory": {"created": "ctime", "modified": "mtime", "accessed": "atime"},
    "process": {"created": "created_time", "binary_ref": "image_ref"},
    "windows-registry-key": {"modified": "modified_time"},
    "user-account": {"password_last_changed": "credential_last_changed"},
}

_MAX_NESTED = 8

MAX_OBSERVED = 1_000
"""More observables than this in one observed-data are hostile; the others are told and left out."""


def lift(obj: dict[str, Any]) -> dict[str, Any]:
    """Give the 2.1 form of an object; the object itself where it needs no change.

    Args:
        obj: any STIX object, with `type` and `id`.

    Returns:
        The same object, or a changed copy. Of 2.1 objects (`spec_version` "2.1") only OpenCTI's extensions are read.
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
    """What OpenCTI says in its extensions, under the names it had before them (`x_opencti_score`)."""
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
    """Whether MISP wrote the labels: then they are its fields and tags, and no types."""
    return any(label.startswith("misp:") for label in labels)


def lifted_name(obj_type: str, name: str, obj: Mapping[str, Any]) -> str:
    """The name a property had before `lift`, for messages about the input as it was."""
    if TYPES_FROM_LABELS.get(obj_type) == name and obj.get("spec_version") != "2.1":
        return "labels"
    return name


def observables_of(
    observed: Mapping[str, Any],
) -> tuple[dict[str, dict[str, Any]], list[tuple[str, Reason]]]:
    """The cyber-observables inside a 2.0 observed-data, as 2.1 objects with ids and references by id.

    Args:
        observed: an observed-data with the 2.0 dictionary in `objects` (STIX 2.0 part 2, section 2.7).

    Returns:
        key in the dictionary -> object, and (key, reason) of what is left out. Ids are derived from the observed-data
        and the key, so the same input gives the same ids.
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
    """A value with references by key turned into references by id, those inside it too."""
    if isinstance(name, str) and name.endswith("_ref") and isinstance(item, str):
        return ids.get(item, item)
    if isinstance(name, str) and name.endswith("_refs") and isinstance(item, list):
        return [ids.get(ref, ref) if isinstance(ref, str) else ref for ref in item]
    if isinstance(item, dict) and depth < _MAX_NESTED:
        return {inner: _by_id(inner, value, ids, depth + 1) for inner, value in item.items()}
    if isinstance(item, list) and depth < _MAX_NESTED:
        return [_by_id(None, value, ids, depth + 1) for value in item]
    return item
