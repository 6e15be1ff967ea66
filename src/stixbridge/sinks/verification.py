"""What MISP stored, held against what was sent: it drops parts and tags in silence, and answers 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..misp.model import MispEvent, tag_names


def missing(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Parts that were sent and are not stored, found by UUID."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name in ("Attribute", "Object", "EventReport"):
        held = {str(row.get("uuid")): row for row in stored.get(name) or []}
        for part in sent.get(name) or []:
            if part.get("deleted") is True:
                continue
            other = held.get(str(part["uuid"]))
            if other is None:
                found.append((name, part))
                continue
            for inner in ("Attribute", "ObjectReference"):
                inside = {str(row.get("uuid")) for row in other.get(inner) or []}
                found.extend(
                    (f"Object.{inner}", row)
                    for row in part.get(inner) or []
                    if row.get("deleted") is not True and str(row["uuid"]) not in inside
                )
    return found


def lost_tags(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> set[str]:
    """Tags that were sent and are on none of the parts they were sent for."""
    lost: set[str] = set()

    def compare(part: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        have = {name.lower() for name in tag_names(dict(other))}
        for tag in part.get("Tag") or []:
            if not tag.get("deleted") and str(tag["name"]).lower() not in have:
                lost.add(str(tag["name"]))

    compare(sent, stored)
    for name in ("Attribute", "Object"):
        held = {str(row.get("uuid")): row for row in stored.get(name) or []}
        for part in sent.get(name) or []:
            other = held.get(str(part["uuid"]))
            if other is None or part.get("deleted") is True:
                continue
            compare(part, other)
            inside = {str(row.get("uuid")): row for row in other.get("Attribute") or []}
            for inner in part.get("Attribute") or [] if name == "Object" else []:
                if str(inner["uuid"]) in inside:
                    compare(inner, inside[str(inner["uuid"])])
    return lost


def without(event: MispEvent, gone: set[str]) -> MispEvent:
    """An event without some parts: what we can say is delivered."""
    kept: MispEvent = dict(event)
    for name in ("Attribute", "Object", "EventReport"):
        rows = []
        for part in event.get(name) or []:
            if part["uuid"] in gone:
                continue
            copy = dict(part)
            for inner in ("Attribute", "ObjectReference"):
                if inner in part:
                    copy[inner] = [row for row in part[inner] if row["uuid"] not in gone]
            rows.append(copy)
        if name in event:
            kept[name] = rows
    return kept


def without_tags(event: MispEvent, lost: set[str]) -> MispEvent:
    """An event without some tags, which are then sent again."""

    def strip(part: Mapping[str, Any]) -> dict[str, Any]:
        kept = dict(part)
        if "Tag" in kept:
            kept["Tag"] = [tag for tag in kept["Tag"] if tag["name"] not in lost]
        for name in ("Attribute", "Object"):
            if name in kept:
                kept[name] = [strip(row) for row in kept[name]]
        return kept

    return strip(event)
