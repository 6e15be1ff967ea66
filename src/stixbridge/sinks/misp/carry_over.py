"""Edits of analysts at a value that moves into another event, where it has another UUID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stixbridge.misp.model import MispEvent, tag_names
from stixbridge.sinks.delivery import Delivery
from stixbridge.sinks.fields import Part, by_uuid, differs, folded_tags, is_deleted, rows_of

Edits = dict[str, dict[str, Any]]
"""UUID of an attribute -> the fields that an analyst changed, `Tag`, or `deleted`."""

_FIELDS = ("to_ids", "comment", "category")


def analyst_edits(delivered: Part, remote: Part | None) -> dict[str, Any]:
    """The edits of others at one attribute.

    Args:
        delivered: the attribute as it was delivered.
        remote: the attribute as MISP has it; None where it is gone.
    """
    if remote is None or is_deleted(remote):
        return {"deleted": True}
    changed = (name for name in _FIELDS if name in remote and differs(name, remote, delivered))
    edits: dict[str, Any] = {name: remote[name] for name in changed}
    if edits.get("to_ids"):
        del edits["to_ids"]  # which values detect is the source's decision
    tags = _added_tags(delivered, remote)
    return {**edits, "Tag": tags} if tags else edits


def _added_tags(delivered: Part, remote: Part) -> list[Part]:
    known = folded_tags(delivered)
    return [_plain(tag) for tag in rows_of(remote, "Tag") if tag["name"].lower() not in known]


def _plain(tag: Part) -> Part:
    return {"name": tag["name"], **({"local": True} if tag.get("local") else {})}


def with_edits(event: MispEvent, edits: Edits) -> MispEvent:
    """An event to send, with the edits of others at attributes that are new in it."""
    if not edits:
        return event
    rows = [
        _edited(row, edits.get(str(row["uuid"]), {}))
        for row in rows_of(event, "Attribute")
        if not edits.get(str(row["uuid"]), {}).get("deleted")
    ]
    return {**event, "Attribute": rows}


def _edited(attribute: Part, edits: Mapping[str, Any]) -> Part:
    if not edits:
        return attribute
    known = {name.lower() for name in tag_names(attribute)}
    tags = [tag for tag in edits.get("Tag", ()) if tag["name"].lower() not in known]
    both = {"Tag": [*rows_of(attribute, "Tag"), *tags]} if tags else {}
    return {**attribute, **edits, **both}


def record_as_wanted(delivery: Delivery, event: MispEvent, edits: Edits) -> None:
    """Record attributes as they were wanted, so that edits of others do not count as the source's.

    Args:
        delivery: of the event that was sent; changed.
        event: as it was wanted.
        edits: that were sent with it.
    """
    if not edits:
        return
    wanted = by_uuid(event, "Attribute")
    rows = by_uuid(delivery.body, "Attribute")
    for uuid, fields in edits.items():
        if uuid in wanted and (uuid in rows or fields.get("deleted")):
            rows[uuid] = wanted[uuid]
    body = {**delivery.body, "Attribute": list(rows.values())}
    delivery.delivered = replace(delivery.delivered, body=body)
