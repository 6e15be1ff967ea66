"""An element of an event that is being built.

A lone attribute, or an object with its attributes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stixbridge import times
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking
from stixbridge.conversion.to_misp.translation import NO_TAGS, Attribute, Object


class Element:
    """Everything that meets in one attribute or object.

    Its final form is made by `EventBuilder.finish`.

    Attributes:
        uuid: of the attribute or object.
        attribute: the attribute, or None.
        obj: the object, or None.
        to_ids: whether anything that meets here detects.
        comments: in order of arrival; several equal ones count once.
        marking: everything that marks it, joined.
        tags: shared between elements with the same ones.
        timestamp: the newest `modified`, seconds.
        first_seen: RFC 3339 text, or None.
        last_seen: RFC 3339 text, or None.
        stix_ids: of the objects that say it.
        sightings: inline sightings.
        analyst_data: kind (Note, Opinion, Relationship) -> rows.
        references: object references or, of an attribute, analyst-data relationships, by UUID.
    """

    __slots__ = (
        "analyst_data", "attribute", "comments", "first_seen", "last_seen", "marking", "obj",
        "references",
        "sightings", "stix_ids", "tags", "timestamp", "to_ids", "uuid",
    )  # fmt: skip

    def __init__(
        self, uuid: str, attribute: Attribute | None = None, obj: Object | None = None
    ) -> None:
        self.uuid = uuid
        self.attribute = attribute
        self.obj = obj
        self.to_ids = False
        self.comments: list[str] = []
        self.marking = UNMARKED
        self.tags = NO_TAGS
        self.timestamp = 0
        self.first_seen: str | None = None
        self.last_seen: str | None = None
        self.stix_ids: list[str] = []
        self.sightings: list[dict[str, Any]] | None = None
        self.analyst_data: dict[str, list[dict[str, Any]]] | None = None
        self.references: dict[str, dict[str, Any]] | None = None

    @property
    def kind(self) -> str:
        """`Attribute` or `Object`, as MISP calls it."""
        return "Attribute" if self.attribute is not None else "Object"

    @property
    def label(self) -> str:
        """The value of an attribute, the name of an object: a reader recognises it by this."""
        if self.attribute is not None:
            return self.attribute.value
        return self.obj.template if self.obj is not None else ""

    def mark(self, marking: Marking) -> None:
        """Join one more marking; the strictest wins."""
        self.marking = self.marking.joined(marking)

    def tag(self, tags: frozenset[str]) -> None:
        """Add tags."""
        if self.tags is not tags:
            self.tags = self.tags | tags if self.tags else tags

    def sight(self, row: dict[str, Any]) -> None:
        """Add an inline sighting."""
        if self.sightings is None:
            self.sightings = []
        self.sightings.append(row)

    def annotate(self, kind: str, row: dict[str, Any]) -> None:
        """Add analyst data."""
        if self.analyst_data is None:
            self.analyst_data = {}
        self.analyst_data.setdefault(kind, []).append(row)

    def relate(self, row: dict[str, Any]) -> None:
        """Add an object reference or an analyst-data relationship, unless it is there."""
        if self.references is None:
            self.references = {}
        self.references.setdefault(str(row["uuid"]), row)

    def seen(self, first_seen: object, last_seen: object) -> None:
        """Widen the time in which it was seen; MISP drops times in the wrong order."""
        first, last = times.read(first_seen), times.read(last_seen)
        if first is not None and last is not None and first > last:
            first, last = last, first
        if first is not None:
            text = times.to_text(first)
            self.first_seen = min(self.first_seen or text, text)
        if last is not None:
            text = times.to_text(last)
            self.last_seen = max(self.last_seen or text, text)


@dataclass(slots=True)
class Report:
    """An event report: sections in order of their keys, each with the marking of its text."""

    title: str
    head: str = ""
    sections: dict[str, tuple[str, Marking]] = field(default_factory=dict)
