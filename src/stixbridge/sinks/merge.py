"""One event from what several pipelines want it to be."""

from __future__ import annotations

from typing import Any

from stixbridge import tlp
from stixbridge.misp.model import ANALYST_DATA, MispEvent, level_of, set_level
from stixbridge.misp.values import MAX_REPORT, cut
from stixbridge.sinks.base import CLUSTERS, PUBLISH, RESTRICTED, parts

_UNION = ("Attribute", "Object", "EventReport", "Tag", CLUSTERS, *ANALYST_DATA)


def merge(bodies: list[MispEvent]) -> MispEvent:
    """One event from what several pipelines want it to be.

    Args:
        bodies: at least one.

    Returns:
        The union of the parts, fields from the newest, the strictest marking and the narrowest distribution.
    """
    if len(bodies) == 1:
        return bodies[0]
    ordered = sorted(bodies, key=lambda body: int(body.get("timestamp", 0)))
    # what a source has emptied has no say in what the event is called
    merged: MispEvent = dict(([body for body in ordered if parts(body)] or ordered)[-1])
    for name in _UNION:
        union: dict[str, dict[str, Any]] = {}
        for body in ordered:
            for part in body.get(name) or []:
                key = str(part.get("uuid") or part["name"])
                union[key] = _joined(union[key], part) if key in union and name != "Tag" else part
        if union:
            merged[name] = [union[key] for key in sorted(union)]
    _strictest(merged, bodies)
    if any(body.get(RESTRICTED) for body in bodies):
        merged[RESTRICTED] = True
    merged.pop("sharing_group", None)
    merged |= _narrowest(bodies)
    if any(PUBLISH in body for body in bodies):
        merged[PUBLISH] = all(body.get(PUBLISH, True) for body in bodies)
    for name in ("Attribute", "Object"):
        merged[name] = [_inheriting(part, merged, bodies, name) for part in merged.get(name) or []]
    return merged


def _narrowest(bodies: list[MispEvent]) -> dict[str, Any]:
    """The distribution that no body is wider than, and the sharing group that goes with it."""
    narrowest = min((str(body.get("distribution", "0")) for body in bodies), key=_width)
    groups = {body.get("sharing_group") for body in bodies if str(body.get("distribution")) == "4"}
    if narrowest != "4":
        return {"distribution": narrowest}
    if len(groups) > 1:
        return {"distribution": "0"}  # nobody may see it who is not in all of them
    return {"distribution": "4", "sharing_group": groups.pop()}


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
