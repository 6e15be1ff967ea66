"""One event from what several pipelines want it to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import Wanted
from stixbridge.misp.model import ANALYST_DATA, MispEvent, level_of, set_level
from stixbridge.misp.values import MAX_REPORT, cut
from stixbridge.sinks.withdrawal import parts

_UNION = ("Attribute", "Object", "EventReport", "Tag", *ANALYST_DATA)


def merge(offers: list[Wanted]) -> Wanted:
    """One event from what several pipelines want it to be.

    Args:
        offers: at least one.

    Returns:
        The union of the parts, fields from the newest, the strictest marking and the narrowest distribution.
    """
    if len(offers) == 1:
        return offers[0]
    ordered = sorted(offers, key=lambda offer: int(offer.event.get("timestamp", 0)))
    bodies = [offer.event for offer in ordered]
    # a source that has emptied the event does not say what the event is called
    merged: MispEvent = dict(([body for body in bodies if parts(body)] or bodies)[-1])
    for name in _UNION:
        rows = _union((body.get(name) or () for body in bodies), joins=name != "Tag")
        if rows:
            merged[name] = rows
    _strictest(merged, bodies)
    merged["distribution"], group = _narrowest(offers)
    for name in ("Attribute", "Object"):
        merged[name] = [_inheriting(part, merged, bodies, name) for part in merged.get(name) or []]
    asked = [offer.publish for offer in offers if offer.publish is not None]
    return Wanted(
        merged,
        restricted=any(offer.restricted for offer in offers),
        clusters=_union((offer.clusters for offer in ordered), joins=False),
        publish=all(asked) if asked else None,
        sharing_group=group,
    )


def _union(lists: Iterable[Iterable[Mapping[str, Any]]], *, joins: bool) -> list[dict[str, Any]]:
    """The rows of several lists, by UUID or name; of two the later, joined with the earlier where `joins` is set."""
    union: dict[str, dict[str, Any]] = {}
    for rows in lists:
        for row in rows:
            key = str(row.get("uuid") or row["name"])
            union[key] = _joined(union[key], dict(row)) if joins and key in union else dict(row)
    return [union[key] for key in sorted(union)]


def _narrowest(offers: list[Wanted]) -> tuple[str, str | None]:
    """The distribution that no offer is wider than, and the sharing group that goes with it."""
    widths = [str(offer.event.get("distribution", "0")) for offer in offers]
    narrowest = min(widths, key=_width)
    groups = {
        offer.sharing_group for offer in offers if str(offer.event.get("distribution")) == "4"
    }
    if narrowest != "4":
        return narrowest, None
    if len(groups) > 1:
        return "0", None  # nobody may see it who is not in all of them
    return "4", groups.pop()


def _inheriting(
    part: dict[str, Any], merged: MispEvent, bodies: list[MispEvent], name: str
) -> dict[str, Any]:
    """A part that was stricter than the event of one source, and is not than the merged one, inherits again."""
    if part.get("distribution") != "0" or _rank(part) > _rank(merged):
        return part
    for body in bodies:
        for other in body.get(name) or []:
            if (
                other["uuid"] == part["uuid"]
                and other.get("distribution") == "0"
                and _rank(other) <= _rank(body)
            ):
                return part  # a marking that is no level holds it
    return {**part, "distribution": "5"}


def _rank(part: dict[str, Any]) -> int:
    """The TLP rank of an event or attribute by its own tags, of an object by those of its attributes."""
    inner = part.get("Attribute") or [] if "template_uuid" in part else []
    level = tlp.strictest([level_of(part), *map(level_of, inner)])
    return -1 if level is None else tlp.RANK[level]


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    joined = dict(new)
    for name in ("Attribute", "ObjectReference", "Sighting", *ANALYST_DATA):
        rows = {str(row["uuid"]): row for row in old.get(name) or []}
        for row in new.get(name) or []:
            key = str(row["uuid"])
            rows[key] = (
                _joined(rows[key], row)
                if key in rows and name not in ("ObjectReference", "Sighting")
                else row
            )
        if rows:
            joined[name] = [rows[key] for key in sorted(rows)]
    if (
        "content" in new and new.get("name") != "Description"
    ):  # that is a field of the report: the newest stands
        joined["content"] = cut(_told(str(old["content"]), str(new["content"])), MAX_REPORT)
    if "to_ids" in new:
        joined["to_ids"] = bool(old.get("to_ids")) or bool(new["to_ids"])
    tags = {str(tag["name"]): tag for tag in (old.get("Tag") or []) + (new.get("Tag") or [])}
    if tags:
        joined["Tag"] = [tags[name] for name in sorted(tags)]
    _strictest(joined, [old, new])
    if "0" in (old.get("distribution"), new.get("distribution")):
        joined["distribution"] = "0"
    return joined


def _told(old: str, new: str) -> str:
    """The text of an event report from two sources: rows of a table together, other texts one after the other."""
    if old in new:
        return new
    head = "\n".join(new.split("\n")[:2])
    if new.startswith("|") and old.startswith(head):
        return "\n".join([head, *sorted({*old.split("\n")[2:], *new.split("\n")[2:]})])
    return new if not old else old if new in old else f"{old}\n{new}"


def _strictest(merged: dict[str, Any], of: list[dict[str, Any]]) -> None:
    level = tlp.strictest(level_of(part) for part in of)
    if level is not None:
        set_level(merged, level)


def _width(distribution: str) -> int:
    return {"0": 0, "4": 1, "1": 2, "2": 3, "3": 4}.get(distribution, 0)
