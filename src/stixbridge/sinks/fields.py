"""The fields and lists of a MISP event that a delivery compares, and how they compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stixbridge import times, tlp
from stixbridge.misp.model import MispEvent, level_of, tag_names

Part = dict[str, Any]
"""An event, or an attribute, object, reference or report in it."""

PARTS = ("Attribute", "Object", "EventReport")
"""The lists of parts that an event has."""
VALUES = ("Attribute", "Object")
"""Those that hold values, and can carry tags."""

EVENT_FIELDS = (
    "info",
    "date",
    "threat_level_id",
    "analysis",
    "distribution",
    "sharing_group_id",
    "extends_uuid",
)
ATTRIBUTE_FIELDS = (
    "to_ids",
    "comment",
    "category",
    "first_seen",
    "last_seen",
    "disable_correlation",
    "distribution",
)
OBJECT_FIELDS = ("comment", "first_seen", "last_seen", "distribution")
REPORT_FIELDS = ("name", "content", "distribution")
ANALYST_FIELDS = ("note", "language", "opinion", "comment", "relationship_type", "distribution")

FIELDS_OF: Mapping[str, tuple[str, ...]] = {
    "Attribute": ATTRIBUTE_FIELDS,
    "Object": OBJECT_FIELDS,
    "EventReport": REPORT_FIELDS,
}
"""The fields that an edit changes, by the list that a part is in."""

# What an object needs to be found and taken by an edit.
OBJECT_HEAD = ("uuid", "name", "meta-category", "template_uuid", "template_version")


def normal(name: str, value: Any) -> Any:
    """A field as it compares.

    MISP answers numbers as text, times in other forms and null where nothing is.
    """
    if name in ("to_ids", "disable_correlation"):
        return value in (True, "1", 1, "true")
    if name in ("first_seen", "last_seen"):
        return times.read(value)
    if value is None or (name == "sharing_group_id" and str(value) == "0"):
        return ""
    return str(value).strip()


def differs(name: str, part: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a field of two forms of a part differs."""
    return bool(normal(name, part.get(name)) != normal(name, other.get(name)))


_WIDTH = {"0": 0, "4": 1, "1": 2, "2": 3, "3": 4, "5": 5}
"""Distributions by how many can read; 5 inherits, so that only 0 is sure to be narrower."""


def width(distribution: object) -> int:
    """A rank of a distribution by its readers; a sharing group (4) has fewer than a community."""
    return _WIDTH.get(str(distribution), 0)


def wider(distribution: object, other: object) -> bool:
    """Whether a distribution shows a part to more readers than another."""
    return width(distribution) > width(other)


def rank_of(part: Part) -> int:
    """The rank of the strictest TLP tag of a part; -1 where it has none."""
    return tlp_rank(level_of(part))


def tlp_rank(level: str | None) -> int:
    """The rank of a TLP level; -1 for none."""
    return -1 if level is None else tlp.RANK[level]


def rows_of(part: Mapping[str, Any], name: str) -> list[Part]:
    """The rows of a list of a part; empty where it has none."""
    return part.get(name) or []


def by_uuid(part: Mapping[str, Any], name: str) -> dict[str, Part]:
    """The rows of a list of a part, by UUID."""
    return {str(row["uuid"]): row for row in rows_of(part, name) if row.get("uuid")}


def in_lists(part: Mapping[str, Any], names: Iterable[str]) -> Iterator[Part]:
    """The rows of several lists of a part, one list after the other."""
    for name in names:
        yield from rows_of(part, name)


def with_rows(
    part: Mapping[str, Any], names: Iterable[str], change: Callable[[str, Part], Part]
) -> Part:
    """A copy of a part with the rows of some lists changed.

    Args:
        part: it is not changed.
        names: of the lists.
        change: takes the name of the list and a row, and returns the new row.
    """
    copy = dict(part)
    for name in names:
        if part.get(name):
            copy[name] = [change(name, row) for row in part[name]]
    return copy


def folded_tags(part: Mapping[str, Any]) -> set[str]:
    """The names of the tags of a part, in lower case: MISP does not tell them apart by case."""
    return {name.lower() for name in tag_names(dict(part))}


def live_parts(event: MispEvent) -> Iterator[Part]:
    """The parts of an event, and the attributes in its objects, that are not soft-deleted."""
    for part in in_lists(event, PARTS):
        if not is_deleted(part):
            yield part
            yield from (row for row in rows_of(part, "Attribute") if not is_deleted(row))


def is_deleted(part: Mapping[str, Any]) -> bool:
    """Whether MISP shows a part as soft-deleted."""
    return is_set(part.get("deleted"))


def is_set(value: Any) -> bool:
    """Whether a flag of MISP is set: it answers true, 1 or "1"."""
    return value in (True, 1, "1")
