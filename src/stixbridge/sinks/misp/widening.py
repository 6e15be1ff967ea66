"""The first of two edits, where an event is to have more readers than before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.misp.model import MispEvent
from stixbridge.sinks.fields import PARTS, by_uuid, folded_tags, rows_of, wider
from stixbridge.sinks.misp.tags import is_marking


def before_widening(event: MispEvent, delivered: Mapping[str, Any]) -> MispEvent:
    """An event as it may be before everything that restricts it is stored.

    No distribution is wider and no marking is missing.

    Args:
        event: the event, or a part, as it shall be.
        delivered: the same as it was delivered.

    Returns:
        The event itself where nothing in it gets wider.
    """
    kept = _narrow(event, delivered)
    changed = kept != event
    for name in PARTS:
        if event.get(name):
            before = by_uuid(delivered, name)
            rows = [
                before_widening(part, before.get(str(part["uuid"]), part)) for part in event[name]
            ]
            changed |= any(new is not old for new, old in zip(rows, event[name], strict=True))
            kept[name] = rows
    return kept if changed else event


def _narrow(part: MispEvent, delivered: Mapping[str, Any]) -> MispEvent:
    """A part with the distribution and the markings that it had, where those are stricter."""
    kept: MispEvent = dict(part)
    wanted = str(part.get("distribution", "0"))
    before = str(delivered.get("distribution", wanted))
    if wider(wanted, before):
        kept["distribution"] = before
        kept.pop("sharing_group_id", None)
        if before == "4":
            kept["sharing_group_id"] = delivered.get("sharing_group_id")
    tags = folded_tags(part)
    markings = [
        tag
        for tag in rows_of(delivered, "Tag")
        if is_marking(tag["name"]) and tag["name"].lower() not in tags
    ]
    if markings:
        kept["Tag"] = [*rows_of(part, "Tag"), *markings]
    return kept
