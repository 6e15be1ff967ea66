"""MISP's event format, as plain data, and the identities of its parts.

The hot path stays on dictionaries; `pymisp` objects are made only when asked for. Identities are
derived (docs/decisions/0003-identity.md), so that the same input gives the same UUIDs and a second
delivery changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from stixbridge import tlp
from stixbridge.misp.values import MAX_TAG, cut, storable

MispEvent = dict[str, Any]
"""A MISP event without the `Event` around it."""
MispAttribute = dict[str, Any]
MispObject = dict[str, Any]


@dataclass(slots=True)
class Converted:
    """One event, and what of the STIX input is behind it.

    Attributes:
        event: the MISP event, plain data.
        container: the id of the report or grouping, or None.
        stix_ids: ids of the objects in it.
        members: ids of the objects that belong to it, whether they say something or not.
        elements: UUID of each attribute and object -> ids of the STIX objects that say it.
        day: of a collecting event by day.
        closed: a marking that is no tag holds the event at distribution 0.
        restricted: UUIDs of elements that a marking restricts which is no TLP level.
        names: what templates may name (`report.name`, `tlp`, …).
        publish: what a rule says about publishing; None where none does.
        held: why a rule holds it back; empty where none does.
        sinks: names of the sinks that a rule routes it to; None for all.
        dropped: a rule leaves it out: it is not created, and withdrawn where it was delivered.
        left_out: ids of objects that a rule or a warninglist left out -> the reason.
        touched: (rule, UUID of what it changed, action), in order.
        clusters: what no galaxy knows, described as clusters (`conversion.clusters`).
    """

    event: MispEvent
    container: str | None
    stix_ids: list[str]
    members: list[str]
    elements: dict[str, list[str]]
    day: str = ""
    closed: bool = False
    names: dict[str, str] = field(default_factory=dict)
    publish: bool | None = None
    held: str = ""
    sinks: frozenset[str] | None = None
    dropped: bool = False
    left_out: dict[str, str] = field(default_factory=dict)
    touched: list[tuple[str, str, str]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    restricted: list[str] = field(default_factory=list)


NAMESPACE = "6f1c7a52-3c5b-5a0e-9d0b-3b1f0b7a7e55"
"""Namespace of everything derived; changing it would change every UUID ever delivered."""

_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)

ANALYST_DATA = ("Note", "Opinion", "Relationship")
"""What analysts say of an element (MISP 2.5); inline in events, attributes, objects and reports."""


def derived_uuid(namespace: str, *parts: str) -> str:
    """A version 5 UUID (RFC 4122, section 4.3) in a namespace.

    Args:
        namespace: a UUID.
        parts: what it is derived from; joined with a control character that no part can hold.

    Returns:
        The UUID in lower case. Same parts, same UUID, for ever.
    """
    # SHA-1 is what version 5 is made of; nothing is secured by it
    digest = sha1(
        bytes.fromhex(namespace.replace("-", "")) + "\x1f".join(parts).encode(),
        usedforsecurity=False,
    )
    return uuid_text(digest.hexdigest())


def uuid_text(digest: str) -> str:
    """A SHA-1 in hexadecimal as the text of a version 5 UUID (RFC 4122, section 4.3)."""
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def valid_uuid(text: str) -> bool:
    """Whether a text is an RFC 4122 UUID that MISP takes."""
    return _UUID.fullmatch(text) is not None


def uuid_of(stix_id: str) -> str | None:
    """The UUID in a STIX id, in lower case, where it is a valid one."""
    text = stix_id.rpartition("--")[2].lower()
    return text if valid_uuid(text) else None


def one_line(text: object) -> str:
    """A text on one line, without control characters."""
    if isinstance(text, str) and text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())


def tag_text(text: str) -> str:
    """A text fit to stand between the quotes of a machine tag.

    No quote and no control character can end it.
    """
    return one_line(text.replace('"', "'"))


def machine_tag(namespace: str, predicate: str, value: str) -> str:
    """`namespace:predicate="value"`, mended and cut to what MISP stores.

    Hostile values stay inside the quotes.
    """
    head = f'{namespace}:{predicate}="'
    return head + cut(storable(tag_text(value)), MAX_TAG - len(head.encode()) - 1, mark="") + '"'


def plain_tag(text: str) -> str:
    """A tag as it is, on one line, mended and cut to what MISP stores."""
    return cut(storable(one_line(text)), MAX_TAG, mark="")


def all_attributes(event: MispEvent) -> list[MispAttribute]:
    """Every attribute of an event, those of its objects included."""
    found = list(event.get("Attribute") or [])
    for obj in event.get("Object") or []:
        found.extend(obj.get("Attribute") or [])
    return found


def tag_names(element: dict[str, Any]) -> list[str]:
    """The names of an element's tags."""
    return [tag["name"] for tag in element.get("Tag") or []]


def level_of(element: dict[str, Any]) -> str | None:
    """The strictest TLP level among an element's tags."""
    return tlp.strictest(
        tlp.level_of_name(name) for name in tag_names(element) if tlp.is_tlp_tag(name)
    )


def set_level(element: dict[str, Any], level: str) -> None:
    """Give an element one TLP tag in place of those it has."""
    kept = [tag for tag in element.get("Tag") or [] if not tlp.is_tlp_tag(str(tag["name"]))]
    element["Tag"] = sorted([*kept, {"name": tlp.tag(level)}], key=lambda row: str(row["name"]))
