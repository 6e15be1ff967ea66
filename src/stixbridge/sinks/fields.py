"""The fields of MISP that a delivery compares, and how they compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge import times

Part = dict[str, Any]

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

# What an object needs to be found and taken by an edit.
OBJECT_HEAD = ("uuid", "name", "meta-category", "template_uuid", "template_version")


def normal(name: str, value: Any) -> Any:
    """A field as it compares: MISP answers numbers as text, times in other forms, nothing as null."""
    if name in ("to_ids", "disable_correlation"):
        return value in (True, "1", 1, "true")
    if name in ("first_seen", "last_seen"):
        return times.read(value)
    if value is None:
        return ""
    if name == "sharing_group_id" and str(value) == "0":
        return ""
    return str(value).strip()


_WIDTH = {"0": 0, "4": 1, "1": 2, "2": 3, "3": 4, "5": 5}
"""Distributions by how many read what has them; 5 inherits, so that only 0 is sure to be narrower."""


def wider(one: object, other: object) -> bool:
    """Whether a distribution shows more than another; a sharing group (4) shows less than a community."""
    return _WIDTH.get(str(one), 0) > _WIDTH.get(str(other), 0)


def by_uuid(part: Mapping[str, Any], name: str) -> dict[str, Part]:
    """The rows of a list of a part, by UUID."""
    return {str(row["uuid"]): row for row in part.get(name) or [] if row.get("uuid")}


def is_deleted(part: Mapping[str, Any]) -> bool:
    """Whether MISP shows a part as soft-deleted."""
    return is_set(part.get("deleted"))


def is_set(value: Any) -> bool:
    """Whether a flag of MISP is set: it answers true, 1 or "1"."""
    return value in (True, 1, "1")
