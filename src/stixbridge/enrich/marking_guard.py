"""Prevents settings and rules from loosening a marking.

Each function returns the reason for a refusal, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge import tlp
from stixbridge.mapping.marking_readings import reading_of
from stixbridge.misp.model import (
    MispEvent,
    all_attributes,
    level_of,
    one_line,
    plain_tag,
    set_level,
    tag_names,
)

INHERIT = 5
SHARING_GROUP = 4
_MARKINGS = ("tlp:", "pap:", "acs-marking:", "ais-marking:", "iep2-policy:")

Element = dict[str, Any]


def put_tag(element: Element, tag: str) -> None:
    """Add an ordinary tag, cut to the length that MISP stores.

    For TLP tags see `tag_event`, `tag_element`.
    """
    name = plain_tag(tag)
    if name and name not in tag_names(element) and not tlp.is_tlp_tag(name):
        element["Tag"] = sorted(
            [*(element.get("Tag") or []), {"name": name}], key=lambda row: str(row["name"])
        )


def tag_event(event: MispEvent, tag: str, *, closed: bool) -> str | None:
    """Add a tag to an event. A TLP tag may not loosen the marking.

    Args:
        event: changed in place; attributes with a looser tag get the new one, too.
        tag: its name.
        closed: whether a marking without a TLP level restricts the event.
    """
    tag = one_line(tag)
    if not tlp.is_tlp_tag(tag):
        put_tag(event, tag)
        return None
    wanted = tlp.level_of_name(tag)
    if wanted is None:
        return f"{tag} is not a TLP level"
    if closed and level_of(event) is None:
        return f"{tag}: the event has a marking that is not a TLP level"
    current = level_of(event)
    if current is not None and tlp.RANK[current] >= tlp.RANK[wanted]:
        return _looser(tag, current, wanted)
    set_level(event, wanted)
    for attribute in all_attributes(event):
        level = level_of(attribute)
        if level is not None and tlp.RANK[level] < tlp.RANK[wanted]:
            set_level(attribute, wanted)
    narrow(event, wanted)
    return None


def _looser(tag: str, current: str, wanted: str) -> str | None:
    """Why a TLP tag is refused: it is looser than the current level; None where it is the same."""
    if current == wanted:
        return None
    return f"tag {tag} not added: it is looser than {tlp.tag(current).upper()}"


def narrow(event: MispEvent, level: str) -> None:
    """Reduce the distribution of an event to the widest that a level allows.

    A sharing group stays if the level allows it; otherwise it is removed.
    """
    held = str(event.get("distribution", "0"))
    if held == str(SHARING_GROUP):
        if not tlp.WIDEST[level]:
            event["distribution"] = "0"
            event.pop("sharing_group", None)
    elif held not in ("0", "1", "2", "3") or int(held) > tlp.WIDEST[level]:
        event["distribution"] = str(tlp.WIDEST[level])


def tag_element(
    event: MispEvent, element: Element, tag: str, holder: Element | None = None
) -> str | None:
    """Add a tag to an attribute. A TLP tag may only tighten the marking.

    An attribute that gets stricter than its event also gets distribution 0.

    Args:
        event: the event of the attribute.
        element: the attribute.
        tag: its name.
        holder: the object of the attribute, if it is in one.
    """
    tag = one_line(tag)
    if not tlp.is_tlp_tag(tag):
        put_tag(element, tag)
        return None
    wanted = tlp.level_of_name(tag)
    if wanted is None:
        return f"{tag} is not a TLP level"
    distributions = [part.get("distribution") for part in (element, holder or {})]
    if level_of(element) is None and "0" in distributions:
        return f"{tag}: a marking that is not a TLP level holds it"
    shown = level_of(event)
    current = level_of(element) or shown
    if current is not None and tlp.RANK[current] >= tlp.RANK[wanted]:
        return _looser(tag, current, wanted)
    set_level(element, wanted)
    if tlp.RANK[wanted] > tlp.RANK[shown or "green"]:
        element["distribution"] = "0"
    return None


def is_marking(tag: str) -> bool:
    """Return whether a tag is a marking. Markings can't be removed."""
    return tag.lower().startswith(_MARKINGS)


def untag(element: Element, names: list[str]) -> str | None:
    """Remove tags except markings."""
    kept = [name for name in names if is_marking(name)]
    gone = set(names) - set(kept)
    rows = [row for row in element.get("Tag") or [] if row["name"] not in gone]
    if rows:
        element["Tag"] = rows
    else:
        element.pop("Tag", None)
    return f"{', '.join(kept)}: a marking can't be removed" if kept else None


def distribute_event(event: MispEvent, wanted: int, *, closed: bool) -> str | None:
    """Set the distribution of an event, at most to the widest that its level allows."""
    if closed:
        return "the event has a marking that holds it at distribution 0" if wanted else None
    level = level_of(event)
    widest = tlp.WIDEST[level] if level is not None else 3
    event["distribution"] = str(min(wanted, widest))
    event.pop("sharing_group", None)
    if wanted <= widest:
        return None
    return f"distribution {wanted} not set: TLP:{str(level).upper()} allows {widest} at the most"


def share_event(event: MispEvent, group: str, *, closed: bool) -> str | None:
    """Assign an event to a sharing group, unless it is RED or restricted by another marking."""
    if closed:
        return "the event has a marking that holds it at distribution 0"
    level = level_of(event)
    if level is not None and not tlp.WIDEST[level]:
        return f"{tlp.tag(level)} stays at distribution 0"
    event["distribution"] = str(SHARING_GROUP)
    event["sharing_group"] = group
    return None


def distribute_element(
    event: MispEvent, element: Element, wanted: int, holder: Element | None = None
) -> str | None:
    """Set the distribution of an attribute or object: narrower, or inherited from its event."""
    if wanted and holder is not None and holder.get("distribution") == "0":
        return "a marking holds the object that it is in at distribution 0"
    current = int(element.get("distribution") or INHERIT)
    if wanted == current:
        return None
    if current == 0:
        return "a marking holds it at distribution 0"
    level = level_of(element) or level_of(event)
    widest = tlp.WIDEST[level] if level is not None else 3
    allowed = wanted if wanted in (INHERIT, 0) else min(wanted, widest)
    element["distribution"] = str(allowed)
    if allowed == wanted:
        return None
    return f"distribution {wanted} not set: TLP:{str(level).upper()} allows {widest} at the most"


def is_stricter(event: MispEvent, elements: list[Element], holder: Element | None = None) -> bool:
    """Return whether an element has a stricter marking than its event.

    The event may then not show any text from the element.
    """
    shown = tlp.RANK[level_of(event) or "green"]
    for element in (*elements, *([holder] if holder is not None else ())):
        level = level_of(element)
        if element.get("distribution") == "0" or (level is not None and tlp.RANK[level] > shown):
            return True
    return False


def may_stand(
    event: MispEvent, obj: Mapping[str, Any], objects: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Return whether an event may show text from a STIX object: its marking is not stricter."""
    refs = obj.get("object_marking_refs") or ()
    if obj.get("granular_markings"):
        return False
    for ref in refs:
        reading = reading_of(objects.get(ref, {"id": ref}))
        if reading.restricted or not reading.tags <= set(tag_names(event)):
            return False
        level = reading.level
        if level is not None and tlp.RANK[level] > tlp.RANK[level_of(event) or "green"]:
            return False
    return True
