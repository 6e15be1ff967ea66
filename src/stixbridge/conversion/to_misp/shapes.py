"""Objects with the same table and property names share one plan, compiled once.

Thousands of objects of a feed share a handful of shapes. A shape says which properties the table
drops and why, and which of the steps that only some objects need (links, references in lists,
labels …) an object of it can need at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stixbridge.conversion.to_misp.markings import LABELS
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping import DIALECT_TYPES
from stixbridge.mapping.context import NUMBER_PROPERTIES
from stixbridge.mapping.tables import COMMON, Field, Role, Table
from stixbridge.stix.references import ORIGIN, referring

_RESTORED = frozenset({Role.NOTE, Role.SIGHTED})
_TAGGING = (
    "confidence",
    "created_by_ref",
    "x_opencti_created_by_ref",
    "indicator_types",
    "report_types",
    "context",
    "x_opencti_score",
    "labels",
    "x_opencti_labels",
    "kill_chain_phases",
)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The plan of objects with one table and one tuple of property names.

    Attributes:
        table: of the objects.
        drops: properties that the table drops, whatever their value.
        reference_lists: properties that list references; a member that is not in the input dangles.
        referring: properties that refer to objects that it needs: neither its producer nor its
            markings.
        tagging: properties that tags are made of.
        links: whether the table says relationships by properties that are here.
        times: properties that are timestamps.
        marked: whether it has marking references, or labels that may say a level.
        supplemented: whether an object can have more than its elements: links, long texts, times,
            custom properties.
        detailed: whether a relationship can say more than its type.
        scalars: where every value of the object has a field of its own: (property, its field); else
            None, and the object is walked through.
    """

    table: Table
    drops: tuple[Drop, ...]
    reference_lists: tuple[str, ...]
    referring: tuple[str, ...]
    tagging: tuple[str, ...]
    links: bool
    times: tuple[str, ...]
    marked: bool
    supplemented: bool
    detailed: bool
    scalars: tuple[tuple[str, Field], ...] | None


@lru_cache(maxsize=8192)
def shape_of(table: Table, names: tuple[Any, ...]) -> Shape:
    """The shape of an object.

    Args:
        table: its table.
        names: its property names, in its order.
    """
    present = frozenset(names)
    return Shape(
        table=table,
        drops=_drops(table, names),
        reference_lists=tuple(
            name
            for name in names
            if isinstance(name, str)
            and name.endswith("_refs")
            and name != "object_marking_refs"
            and not isinstance(table.fates.get(name, Reason.CUSTOM), Reason)
        ),
        referring=tuple(name for name in referring(names) if name not in WITHOUT),
        tagging=_tagging(table, present),
        links=_links(table, present),
        times=tuple(name for name in names if name in TIMES),
        marked=not present.isdisjoint(("object_marking_refs", "granular_markings", *LABELS)),
        supplemented=_supplemented(table, present),
        detailed=not DETAIL.isdisjoint(present),
        scalars=_scalars(table, names),
    )


TIMES = frozenset(
    {
        "created",
        "modified",
        "valid_from",
        "valid_until",
        "published",
        "first_seen",
        "last_seen",
        "first_observed",
        "last_observed",
        "start_time",
        "stop_time",
    }
)
"""Properties that are timestamps (STIX 2.1, section 3.13)."""

DETAIL = frozenset(
    {"description", "start_time", "stop_time", "first_seen", "last_seen", "confidence"}
)
"""Properties of a relationship that say more than its type."""

WITHOUT = ORIGIN | {"where_sighted_refs"}
"""References to objects that an object does not need: who made it or saw it, and what marks it."""


def _supplemented(table: Table, names: frozenset[Any]) -> bool:
    if table.role is Role.RECORD or table.properties.get("first_seen") == "first_seen":
        return True
    if not names.isdisjoint(("external_references", "description", "extensions")):
        return True
    return any(table.fates.get(name, Reason.CUSTOM) is Reason.CUSTOM for name in names)


def _tagging(table: Table, present: frozenset[Any]) -> tuple[str, ...]:
    numbers = sorted(NUMBER_PROPERTIES & present) if table.role is Role.CUSTOM else ()
    return (*(name for name in _TAGGING if name in present), *numbers)


def _drops(table: Table, names: tuple[Any, ...]) -> tuple[Drop, ...]:
    if table.role is Role.CUSTOM:
        # its own properties are all in its object
        fates = ((name, COMMON.get(name)) for name in names)
        return tuple(
            (name, Outcome.DROPPED, fate) for name, fate in fates if isinstance(fate, Reason)
        )
    drops = table.drops(names)
    if table.stix_type in DIALECT_TYPES:
        drops = tuple(row for row in drops if not str(row[0]).endswith(("_ref", "_refs")))
    if table.role is Role.RECORD:
        # its other properties are values; what comes out of none of them is recorded for each
        # record
        return tuple(row for row in drops if row[0] == "extensions" or row[2] is not Reason.CUSTOM)
    if table.role in _RESTORED:
        return tuple(row for row in drops if not str(row[0]).startswith("x_misp_"))
    return drops


def _links(table: Table, names: frozenset[Any]) -> bool:
    if table.role is Role.CONTEXT and "sample_refs" in names:
        return True
    if table.role is Role.RECORD and "object_refs" in names:
        return True
    return any(path.split(".")[0].removesuffix("[*]") in names for path in table.links)


def _scalars(table: Table, names: tuple[Any, ...]) -> tuple[tuple[str, Field], ...] | None:
    if table.role is not Role.OBSERVABLE:
        return None
    found: list[tuple[str, Field]] = []
    for name in names:
        if name in table.skipped:
            continue
        target = table.fields.get(name)
        if not isinstance(target, Field) or name in table.followed or name.endswith("_ref"):
            return None
        found.append((name, target))
    return tuple(found)
