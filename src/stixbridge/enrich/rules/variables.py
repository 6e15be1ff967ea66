"""The variables of conditions and templates: one table, used for checks and for docs/rules.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.ledger import Ledger, Outcome
from stixbridge.misp.model import Converted, level_of, tag_names

EVENT = {
    "uuid": "its UUID",
    "info": "its title",
    "date": "`2026-01-31`",
    "tlp": "its TLP level (`clear`, `green`, `amber`, `amber+strict`, `red`), or empty",
    "tags": "names of its tags",
    "threat_level": "1 high, 2 medium, 3 low, 4 undefined",
    "analysis": "0 initial, 1 ongoing, 2 completed",
    "distribution": "0 to 4",
    "kind": "`report` for the event of a report or grouping, `collecting` for any other",
    "attributes": "the number of its attributes, including those in objects",
    "objects": "the number of its objects",
}
ATTRIBUTE = {
    "uuid": "its UUID",
    "type": "`ip-dst`, `domain`, …",
    "category": "`Network activity`, …",
    "value": "its value",
    "to_ids": "whether it is for detection",
    "comment": "its comment",
    "tags": "names of its tags",
    "tlp": "its own TLP level, or empty",
    "first_seen": "a time as text, or empty",
    "last_seen": "a time as text, or empty",
    "distribution": "0 to 5",
    "relation": "its relation in an object, otherwise empty",
    "correlates": "whether MISP correlates it",
}
OBJECT = {
    "uuid": "its UUID",
    "name": "the name of its template: `file`, …; empty for an attribute outside objects",
    "category": "its meta-category",
    "comment": "its comment",
    "tags": "names of the tags of its attributes",
    "distribution": "0 to 5",
    "values": "its values: relation -> list of values",
}
SOURCE = {"name": "the name of the source"}
LEDGER = {"lost": "properties of its STIX objects that were not converted, as `$.name`"}

MEMBERS: Mapping[str, Mapping[str, str]] = {
    "event": EVENT,
    "attribute": ATTRIBUTE,
    "object": OBJECT,
    "source": SOURCE,
    "ledger": LEDGER,
}
OPEN = {
    "report": "the report or grouping of the event, as STIX 2.1; empty for a collecting event",
    "stix": "the STIX objects that the attribute, object or event was made from, as a list",
}
"""Names with STIX members. Members are not checked, because any property may be custom."""

StixObject = Mapping[str, Any]


def event_view(row: Converted) -> dict[str, Any]:
    """Return the variable `event`: shallow, without the lists of attributes."""
    event = row.event
    objects = event.get("Object") or []
    count = len(event.get("Attribute") or []) + sum(
        len(obj.get("Attribute") or ()) for obj in objects
    )
    return {
        "uuid": event["uuid"],
        "info": event["info"],
        "date": event["date"],
        "tlp": level_of(event) or "",
        "tags": tag_names(event),
        "threat_level": int(event["threat_level_id"]),
        "analysis": int(event["analysis"]),
        "distribution": int(event["distribution"]),
        "kind": "report" if row.container is not None else "collecting",
        "attributes": count,
        "objects": len(objects),
    }


def attribute_view(attribute: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variable `attribute`."""
    return {
        "uuid": attribute["uuid"],
        "type": attribute["type"],
        "category": attribute["category"],
        "value": attribute["value"],
        "to_ids": attribute["to_ids"] is True,
        "comment": attribute.get("comment") or "",
        "tags": [tag["name"] for tag in attribute.get("Tag") or ()],
        "tlp": level_of(dict(attribute)) or "",
        "first_seen": attribute.get("first_seen") or "",
        "last_seen": attribute.get("last_seen") or "",
        "distribution": int(attribute.get("distribution") or 5),
        "relation": attribute.get("object_relation") or "",
        "correlates": not attribute.get("disable_correlation"),
    }


NO_OBJECT: dict[str, Any] = {
    "uuid": "",
    "name": "",
    "category": "",
    "comment": "",
    "tags": [],
    "distribution": 5,
    "values": {},
}


def object_view(obj: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the variable `object`; its name is empty for an attribute outside objects."""
    if obj is None:
        return NO_OBJECT
    values: dict[str, list[str]] = {}
    tags: dict[str, None] = {}
    for attribute in obj.get("Attribute") or ():
        values.setdefault(attribute["object_relation"], []).append(attribute["value"])
        tags.update(dict.fromkeys(tag["name"] for tag in attribute.get("Tag") or ()))
    return {
        "uuid": obj["uuid"],
        "name": obj["name"],
        "category": obj.get("meta-category") or "",
        "comment": obj.get("comment") or "",
        "tags": list(tags),
        "distribution": int(obj.get("distribution") or 5),
        "values": values,
    }


def ledger_view(ledger: Ledger, ids: list[str]) -> dict[str, Any]:
    """Return the variable `ledger` for some STIX objects."""
    lost: dict[str, None] = {}
    for id_ in ids:
        account = ledger.accounts.get(id_)
        if account is not None:
            lost.update(
                {f"$.{path}": None for path, how, _ in account[4] if how is Outcome.DROPPED}
            )
    return {"lost": list(lost)}
