"""STIX 2.0 lifted to 2.1, here and nowhere else.

What 2.1 renamed or moved (STIX 2.1, appendix B "changes"): types in `labels` became `indicator_types` and the like;
the dictionary inside an observed-data became objects of their own. A lifted object keeps its id and all that it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from ..ledger import Reason
from .read import is_type
from .shape import printable

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

MAX_OBSERVED = 1_000
"""More observables than this in one observed-data are hostile; the others are told and left out."""


def lift(obj: dict[str, Any]) -> dict[str, Any]:
    """Give the 2.1 form of an object; the object itself where it needs no change.

    Args:
        obj: any STIX object, with `type` and `id`.

    Returns:
        The same object, or a changed copy. 2.1 objects (`spec_version` "2.1") are never changed.
    """
    if obj.get("spec_version") == "2.1":
        return obj
    types = TYPES_FROM_LABELS.get(obj["type"])
    if types is not None and types not in obj and "labels" in obj:
        lifted = dict(obj)
        lifted[types] = lifted.pop("labels")
        return lifted
    return obj


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
    ids = {key: f"{value['type']}--{uuid5(SCO_NAMESPACE, observed['id'] + '|' + key)}" for key, value in usable.items()}
    lifted: dict[str, dict[str, Any]] = {}
    for key, value in usable.items():
        copy: dict[str, Any] = {"type": value["type"], "id": ids[key]}
        for name, item in value.items():
            if name in ("type", "id"):
                continue
            if isinstance(name, str) and name.endswith("_ref") and isinstance(item, str):
                copy[name] = ids.get(item, item)
            elif isinstance(name, str) and name.endswith("_refs") and isinstance(item, list):
                copy[name] = [ids.get(ref, ref) if isinstance(ref, str) else ref for ref in item]
            else:
                copy[name] = item
        lifted[key] = copy
    return lifted, left_out
