"""One event from what several pipelines want it to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import Wanted
from stixbridge.misp.model import ANALYST_DATA, MispEvent, level_of, set_level
from stixbridge.misp.values import MAX_REPORT, cut
from stixbridge.sinks.fields import PARTS, VALUES, Part, rank_of, rows_of, width
from stixbridge.sinks.withdrawal import parts

_UNION = (*PARTS, "Tag", *ANALYST_DATA)


def merge(offers: list[Wanted]) -> Wanted:
    """One event from what several pipelines want it to be.

    Args:
        offers: at least one.

    Returns:
        The union of the parts, with the fields of the newest event, the strictest marking and the
        narrowest distribution.
    """
    if len(offers) == 1:
        return offers[0]
    asked = [offer.publish for offer in offers if offer.publish is not None]
    ordered = sorted(offers, key=lambda offer: int(offer.event.get("timestamp", 0)))
    event = _merged([offer.event for offer in ordered])
    event["distribution"], group = _narrowest(offers)
    for name in VALUES:
        event[name] = [_inheriting(part, event, ordered, name) for part in rows_of(event, name)]
    return Wanted(
        event,
        restricted=any(offer.restricted for offer in offers),
        restricted_parts=sorted({uuid for offer in offers for uuid in offer.restricted_parts}),
        clusters=_union((offer.clusters for offer in ordered), joins=False),
        publish=all(asked) if asked else None,
        sharing_group=group,
    )


def _merged(events: list[MispEvent]) -> MispEvent:
    """The union of events, the newest last."""
    # a source that has emptied the event does not say what the event is called
    merged: MispEvent = dict(([event for event in events if parts(event)] or events)[-1])
    for name in _UNION:
        rows = _union((rows_of(event, name) for event in events), joins=name != "Tag")
        if rows:
            merged[name] = rows
    _strictest(merged, events)
    return merged


def _union(lists: Iterable[Iterable[Mapping[str, Any]]], *, joins: bool) -> list[Part]:
    """The rows of several lists, by UUID or name.

    Of two rows the later one counts, joined with the earlier one where `joins` is set.
    """
    union: dict[str, Part] = {}
    for rows in lists:
        for row in rows:
            key = str(row.get("uuid") or row["name"])
            union[key] = _joined(union[key], dict(row)) if joins and key in union else dict(row)
    return [union[key] for key in sorted(union)]


def _narrowest(offers: list[Wanted]) -> tuple[str, str | None]:
    """The narrowest distribution of the offers, and the sharing group that goes with it."""
    distributions = [str(offer.event.get("distribution", "0")) for offer in offers]
    narrowest = min(distributions, key=width)
    if narrowest != "4":
        return narrowest, None
    groups = {
        offer.sharing_group
        for offer, distribution in zip(offers, distributions, strict=True)
        if distribution == "4"
    }
    if len(groups) > 1:
        return "0", None  # only a member of all groups may read it
    return "4", groups.pop()


def _inheriting(part: Part, merged: MispEvent, offers: list[Wanted], name: str) -> Part:
    """A part with distribution 5 where it is no longer stricter than its event."""
    if part.get("distribution") != "0" or _rank(part) > _rank(merged):
        return part
    for offer in offers:
        for row in rows_of(offer.event, name):
            if row["uuid"] == part["uuid"] and _is_held(row, offer.event):
                return part
    return {**part, "distribution": "5"}


def _is_held(part: Part, event: MispEvent) -> bool:
    """Whether a marking that is not a TLP level keeps a part at distribution 0."""
    return part.get("distribution") == "0" and _rank(part) <= _rank(event)


def _rank(part: Part) -> int:
    """The TLP rank of a part by its tags; an object has those of its attributes too."""
    inner = rows_of(part, "Attribute") if "template_uuid" in part else []
    return max(map(rank_of, [part, *inner]))


def _joined(old: Part, new: Part) -> Part:
    """One part from two sources: the fields of the newer, the rows of both."""
    joined = dict(new)
    for name in ("Attribute", "ObjectReference", "Sighting", *ANALYST_DATA):
        rows = _joined_rows(old, new, name)
        if rows:
            joined[name] = rows
    if "content" in new:
        joined["content"] = _joined_content(old, new)
    if "to_ids" in new:
        joined["to_ids"] = bool(old.get("to_ids")) or bool(new["to_ids"])
    tags = {str(tag["name"]): tag for tag in (*rows_of(old, "Tag"), *rows_of(new, "Tag"))}
    if tags:
        joined["Tag"] = [tags[name] for name in sorted(tags)]
    _strictest(joined, [old, new])
    if "0" in (old.get("distribution"), new.get("distribution")):
        joined["distribution"] = "0"
    return joined


def _joined_content(old: Part, new: Part) -> Any:
    """The content of an event report from two sources.

    A description is a field of the report object: the newest counts.
    """
    if new.get("name") == "Description":
        return new["content"]
    return cut(_texts(str(old["content"]), str(new["content"])), MAX_REPORT)


def _joined_rows(old: Part, new: Part, name: str) -> list[Part]:
    rows = {str(row["uuid"]): row for row in rows_of(old, name)}
    for row in rows_of(new, name):
        known = rows.get(str(row["uuid"]))
        joins = known is not None and name not in ("ObjectReference", "Sighting")
        rows[str(row["uuid"])] = _joined(known, row) if known is not None and joins else row
    return [rows[uuid] for uuid in sorted(rows)]


def _texts(old: str, new: str) -> str:
    """The text of an event report from two sources.

    The rows of a table come together, other texts in their order.
    """
    if old in new:
        return new
    head = "\n".join(new.split("\n")[:2])
    if new.startswith("|") and old.startswith(head):
        return "\n".join([head, *sorted({*old.split("\n")[2:], *new.split("\n")[2:]})])
    return old if new in old else f"{old}\n{new}"


def _strictest(merged: Part, parts: list[Part]) -> None:
    """Give a part the strictest TLP tag of several."""
    level = tlp.strictest(map(level_of, parts))
    if level is not None:
        set_level(merged, level)
