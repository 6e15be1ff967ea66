"""At most two MISP sightings for an element, first and last, with the count in the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stixbridge import times
from stixbridge.conversion.to_misp.element import Element
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.relationships import cell, period_of
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import derived_uuid
from stixbridge.misp.values import cut, storable

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.event_builder import EventBuilder
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]

EXPIRATION = 2
"""The type of a sighting that says that something is expired."""

_MAX_SOURCE = 255
_ROWS = "| what | seen by | times |\n|---|---|---|"


class Sightings:
    """Puts sightings on elements, or into the event report of a context object."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._objects = workspace.objects
        self._contexts = workspace.contexts

    def sighting(self, id_: str, obj: StixObject) -> list[str]:
        """Apply one sighting object, record what became of it, and return its events."""
        workspace, fates = self._workspace, self._workspace.fates
        of = _text(obj.get("sighting_of_ref"))
        if of is None:
            fates.outcome(id_, Outcome.INVALID, Reason.INVALID_OBJECT)
            return []
        of = self._contexts.current(of)
        marking = workspace.markings.of(obj)
        source, negative = self._source(obj, marking), _negative(obj)
        seconds = _seconds(obj)
        drawn: list[tuple[str, str]] = []
        context = self._contexts.is_context(of)
        events = self._contexts.events_of(of) if context else workspace.events_of.get(of, [])
        for event in events:
            builder = workspace.builders[event]
            if context:
                drawn.append(("event report", self._row(builder, id_, obj, of, source, marking)))
                continue
            for element in _sightable(builder.elements_of(of)):
                element.mark(marking)
                for at, second in enumerate(seconds):
                    row = sighting_row(
                        event, id_, element.uuid, second, source, at, type_=int(negative)
                    )
                    element.sight(row)
                    drawn.append(("sighting", row["uuid"]))
        if drawn:
            target = ", ".join(sorted({form for form, _ in drawn}))
            fates.outcome(id_, Outcome.MAPPED, None, target)
            fates.mapped(id_, [key for _, key in drawn])
            if obj.get("where_sighted_refs") and "created_by_ref" in obj:
                fates.drop(id_, [("created_by_ref", Outcome.DROPPED, Reason.REDUNDANT)])
        else:
            fates.outcome(id_, Outcome.DROPPED, Reason.UNLINKED if context else Reason.DANGLING)
        return events if drawn else []

    def _row(
        self,
        builder: EventBuilder,
        id_: str,
        obj: StixObject,
        of: str,
        source: str,
        marking: Marking,
    ) -> str:
        name = self._objects[of].get("name") or of
        row = f"| {cell(str(name))} | {cell(source)} | {cell(period_of(obj))} |"
        joined = marking.joined(self._contexts.marking(of))
        return builder.tell("Sightings", id_, row, joined, _ROWS)

    def _source(self, obj: StixObject, marking: Marking) -> str:
        """Who saw it, and how often."""
        source = (
            _text(obj.get("source"))
            or self._sighted_by(obj, marking)
            or self._workspace.markings.name(obj.get("created_by_ref"), marking)
            or self._workspace.options.name
        )
        count = obj.get("count")
        if isinstance(count, int) and count not in (0, 1):
            return f"{source} (n={count})"
        return source

    def _sighted_by(self, obj: StixObject, marking: Marking) -> str | None:
        refs = obj.get("where_sighted_refs") or ()
        names = {self._workspace.markings.name(ref, marking) for ref in refs} - {None}
        return ", ".join(sorted(name for name in names if name)) or None


def _negative(obj: StixObject) -> bool:
    return obj.get("count") == 0 or obj.get("x_opencti_negative") is True


def _seconds(obj: StixObject) -> list[int]:
    """When: first and last, else when the sighting was made."""
    for names in (("first_seen", "last_seen"), ("created",)):
        moments = {times.read(obj.get(name)) for name in names} - {None}
        if moments:
            return sorted({moment // 1_000_000 for moment in moments if moment is not None})[:2]
    return []


def _sightable(elements: list[Element]) -> list[Element]:
    """Attributes take sightings; of an object its selecting attribute does.

    A pattern's hub only where it is alone.
    """
    lone = [element for element in elements if element.attribute is not None]
    return lone or elements[:1]


def sighting_row(
    event_uuid: str,
    id_: str,
    target: str,
    second: int,
    source: str,
    ordinal: int = 0,
    *,
    type_: int = 0,
) -> dict[str, Any]:
    """One inline MISP sighting with a derived UUID.

    Args:
        event_uuid: the event's.
        id_: the STIX id it comes from.
        target: the element's UUID.
        second: when, seconds.
        source: who saw it.
        ordinal: tells several sightings of one object apart.
        type_: 0: a sighting, 1: a false positive, 2: an expiration.
    """
    return {
        "uuid": derived_uuid(event_uuid, "sighting", id_, target, str(ordinal)),
        "type": str(type_),
        "source": cut(storable(source), _MAX_SOURCE),
        "date_sighting": str(second),
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
