"""STIX 2.1 objects to poll; ids come from a name, so that a later version is the same object."""

import uuid
from typing import Any

Stix = dict[str, Any]

EARLY = "2026-01-05T00:00:00.000Z"
LATER = "2026-01-06T00:00:00.000Z"
LAST = "2026-01-07T00:00:00.000Z"

MARKINGS = {
    "clear": "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
    "green": "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
    "amber": "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
    "red": "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
}
_NAMES = uuid.UUID("7d3c3f5e-0f0a-4d6e-9d8b-6f1d5b0c2a11")


def stix_id(kind: str, name: str) -> str:
    """The id of the object of that name."""
    return f"{kind}--{uuid.uuid5(_NAMES, f'{kind} {name}')}"


def uuid_in(stix_id: str) -> str:
    """The UUID in a STIX id."""
    return stix_id.partition("--")[2]


def _object(kind: str, name: str, modified: str, tlp: str | None, more: Stix) -> Stix:
    made: Stix = {
        "type": kind, "spec_version": "2.1", "id": stix_id(kind, name), "created": EARLY,
        "modified": modified,
    }  # fmt: skip
    if tlp:
        made["object_marking_refs"] = [MARKINGS[tlp]]
    return {**made, **more}


def indicator(
    label: str,
    pattern: str | None = None,
    /,
    *,
    modified: str = EARLY,
    tlp: str | None = None,
    **more: Any,
) -> Stix:
    """An indicator; a label that is an IPv4 address makes its own pattern."""
    pattern = pattern or f"[ipv4-addr:value = '{label}']"
    more = {
        "valid_from": EARLY,
        "pattern_type": "stix",
        "pattern": pattern,
        "indicator_types": [],
        **more,
    }
    return _object("indicator", label, modified, tlp, more)


def address(value: str, *, tlp: str | None = None) -> Stix:
    """An IPv4 address as an observable."""
    made = {
        "type": "ipv4-addr",
        "spec_version": "2.1",
        "id": stix_id("ipv4-addr", value),
        "value": value,
    }
    return {**made, "object_marking_refs": [MARKINGS[tlp]]} if tlp else made


def report(
    name: str,
    members: list[Stix | str],
    *,
    modified: str = EARLY,
    tlp: str | None = None,
    **more: Any,
) -> Stix:
    """A report of some objects, given as such or by their ids."""
    refs = [member if isinstance(member, str) else member["id"] for member in members]
    made = {
        "name": name,
        "published": EARLY,
        "report_types": ["threat-report"],
        "object_refs": refs,
    }
    return _object("report", name, modified, tlp, {**made, **more})


def relationship(
    source: Stix, verb: str, target: Stix, *, modified: str = EARLY, **more: Any
) -> Stix:
    """A relationship between two objects."""
    name = f"{source['id']} {verb} {target['id']}"
    ends = {"source_ref": source["id"], "target_ref": target["id"], "relationship_type": verb}
    return _object("relationship", name, modified, None, {**ends, **more})


def sighting(of: Stix, **more: Any) -> Stix:
    """A sighting of an object."""
    seen = {"sighting_of_ref": of["id"], "first_seen": EARLY, "last_seen": EARLY, "count": 1}
    return _object("sighting", of["id"], EARLY, None, {**seen, **more})


def bundle(objects: list[Stix]) -> Stix:
    """A bundle; its id comes from what is in it."""
    return {
        "type": "bundle",
        "id": stix_id("bundle", " ".join(held["id"] for held in objects)),
        "objects": objects,
    }
