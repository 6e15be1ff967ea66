"""What others did to a value goes with it into another event, where it has another UUID, so that MISP can't know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stixbridge.misp.model import MispEvent, tag_names
from stixbridge.sinks.delivery import Delivery
from stixbridge.sinks.fields import by_uuid, is_deleted, normal

Work = dict[str, dict[str, Any]]
"""UUID of an attribute -> fields, `Tag`, or `deleted`."""

_FIELDS = ("to_ids", "comment", "category")


def others_work(before: Mapping[str, Any], held: Mapping[str, Any] | None) -> dict[str, Any]:
    """What others did to one attribute.

    Args:
        before: as it was delivered.
        held: as MISP has it; None where it is gone.
    """
    if held is None or is_deleted(held):
        return {"deleted": True}
    work: dict[str, Any] = {
        name: held[name]
        for name in _FIELDS
        if name in held and normal(name, held[name]) != normal(name, before.get(name))
    }
    if work.get("to_ids"):
        del work["to_ids"]  # what detects is the source's to say
    known = {name.lower() for name in tag_names(dict(before))}
    tags = [tag for tag in held.get("Tag") or () if tag["name"].lower() not in known]
    if tags:
        work["Tag"] = [
            {"name": tag["name"], **({"local": True} if tag.get("local") else {})} for tag in tags
        ]
    return work


def with_work(event: MispEvent, work: Work) -> MispEvent:
    """An event to send, with what others did to attributes that are new in it."""
    if not work:
        return event
    rows = []
    for row in event.get("Attribute") or ():
        done = work.get(str(row["uuid"]))
        if done is None:
            rows.append(row)
        elif not done.get("deleted"):
            there = {name.lower() for name in tag_names(row)}
            tags = [tag for tag in done.get("Tag", ()) if tag["name"].lower() not in there]
            both = {"Tag": [*(row.get("Tag") or ()), *tags]} if tags else {}
            rows.append({**row, **done, **both})
    return {**event, "Attribute": rows}


def recorded(delivery: Delivery, event: MispEvent, work: Work) -> None:
    """Put on record what is ours: as it was wanted, so that what others did is not taken for the source's.

    Args:
        delivery: of what was sent; changed.
        event: as it was wanted.
        work: what was sent in place of that.
    """
    if not work:
        return
    wanted = by_uuid(event, "Attribute")
    rows = by_uuid(delivery.body, "Attribute")
    for uuid, done in work.items():
        if uuid in wanted and (uuid in rows or done.get("deleted")):
            rows[uuid] = wanted[uuid]
    body = {**delivery.body, "Attribute": list(rows.values())}
    delivery.delivered = replace(delivery.delivered, body=body)
