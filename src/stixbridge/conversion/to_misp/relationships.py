"""Relationships and sightings: references, analyst-data relationships, galaxy tags, rows of an event report.

Runs after all elements of all events are placed. Each relationship ends up, in each event that holds both its ends, in
the form that fits them; where its ends meet in no event it becomes a row in the events of one end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from stixbridge import times
from stixbridge.conversion.to_misp.event_builder import MAX_COMMENT, Element, EventBuilder
from stixbridge.conversion.to_misp.galaxies import Contexts
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking
from stixbridge.conversion.to_misp.options import Options
from stixbridge.conversion.to_misp.tags import text
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.model import derived_uuid, one_line
from stixbridge.misp.values import cut, storable

StixObject = Mapping[str, Any]
_MAX_SOURCE = 255


_ROWS = "| source | relationship | target | description | times | confidence |\n|---|---|---|---|---|---|"
_SIGHTED = "| what | seen by | times |\n|---|---|---|"
# Relationships to a context object that a tag says in full.
_PLAIN = frozenset({"indicates", "uses", "related-to"})
_DETAIL = frozenset(
    {"description", "start_time", "stop_time", "first_seen", "last_seen", "confidence"}
)


class Link(NamedTuple):
    """One relationship to draw: from a relationship object, or from a property of the source (`obj` is None)."""

    id: str
    source: str
    verb: str
    target: str
    marking: Marking = UNMARKED
    obj: StixObject | None = None

    @property
    def detail(self) -> str:
        """What it says besides its type: description, times, confidence."""
        obj = self.obj
        if obj is None or _DETAIL.isdisjoint(obj):
            return ""
        parts = [str(obj["description"])] if obj.get("description") else []
        parts += [period] if (period := _period(obj)) else []
        parts += [f"confidence {obj['confidence']}"] if "confidence" in obj else []
        return " ".join(parts)


_CONTAINERS = frozenset({"report", "grouping"})


class Links:
    """Applies the relationships and sightings of one conversion to its events."""

    def __init__(
        self,
        objects: Mapping[str, StixObject],
        builders: Mapping[str, EventBuilder],
        contexts: Contexts,
        options: Options,
    ) -> None:
        self._objects = objects
        self._builders = builders
        self._contexts = contexts
        self._source_name = options.name
        self._placed = options.placed
        self._events_of: dict[str, list[str]] = {}
        for uuid, builder in builders.items():
            for id_ in builder.by_stix:
                self._events_of.setdefault(id_, []).append(uuid)

    def relationship(
        self, id_: str, obj: StixObject, marking: Marking
    ) -> tuple[Outcome, Reason | None, str | None]:
        """Apply one relationship object; says what became of it."""
        source, target, verb = (
            obj.get("source_ref"),
            obj.get("target_ref"),
            obj.get("relationship_type"),
        )
        if not source or not target or not verb:
            return Outcome.INVALID, Reason.INVALID_OBJECT, None
        if source not in self._objects or target not in self._objects:
            return Outcome.DROPPED, Reason.DANGLING, None
        if verb == "based-on" and source.partition("--")[2] == target.partition("--")[2]:
            return Outcome.DROPPED, Reason.REDUNDANT, None  # two halves of what MISP exported
        forms = self.link(Link(id_, source, one_line(verb) or "related-to", target, marking, obj))
        if forms:
            return Outcome.MAPPED, None, ", ".join(sorted(forms))
        unlinked = self._contexts.is_context(source) and self._contexts.is_context(target)
        return Outcome.DROPPED, Reason.UNLINKED if unlinked else Reason.DANGLING, None

    def link(self, link: Link) -> set[str]:
        """Join two objects in every event that holds both; the forms used (`tag`, `reference`, …)."""
        contexts = self._contexts
        if contexts.gone(link.source) or contexts.gone(link.target):
            return set()
        forms: set[str] = set()
        inward, outward = contexts.is_context(link.source), contexts.is_context(link.target)
        if inward and outward:
            for event in self._meeting(link):
                contexts.related(event, link.source, link.verb, link.target, link.marking)
                self._row(self._builders[event], link)
                forms.add("event report")
            return forms
        if inward or outward:
            context, other = (link.target, link.source) if outward else (link.source, link.target)
            for event in self._where(other):
                self._tag(self._builders[event], other, context, link.marking)
                if link.obj is not None and (not outward or link.verb not in _PLAIN or link.detail):
                    self._row(self._builders[event], link)
                forms.add("tag")
            return forms
        shared = self._meeting(link)
        for event in shared:
            forms.add(self._join(self._builders[event], link))
        if not shared and link.obj is not None:
            forms |= self._apart(link)
        return forms

    def _meeting(self, link: Link) -> list[str]:
        """The events that hold both ends."""
        at_source, at_target = self._where(link.source), self._where(link.target)
        if len(at_source) > 8:
            there = frozenset(at_target)
            return [uuid for uuid in at_source if uuid in there]
        return [uuid for uuid in at_source if uuid in at_target]

    def _apart(self, link: Link) -> set[str]:
        """The ends are in different events: a row in those of the source, else of the target."""
        events = self._where(link.source)
        # a report is in its event as that, and holds no rows by itself
        held = (
            ()
            if self._objects[link.source]["type"] in _CONTAINERS
            else self._placed.get(link.source, ())
        )
        elsewhere = any(event not in self._builders for event in held)
        if any(
            event not in self._builders
            for event in self._placed.get(link.target, frozenset()).intersection(held)
        ):
            return {"event report"}  # they meet in an event that is not made here
        if not events and not elsewhere:
            events = self._where(link.target)
        for event in events:
            self._row(self._builders[event], link)
        return {"event report"} if events or elsewhere else set()

    def _where(self, id_: str) -> list[str]:
        """The events that an object is in: by its elements, or where a context object is shown."""
        if self._contexts.is_context(id_):
            return self._contexts.events_of(id_)
        return self._events_of.get(id_, [])

    def _join(self, builder: EventBuilder, link: Link) -> str:
        sources, targets = (
            builder.elements_of(link.source)[:1],
            builder.elements_of(link.target)[:1],
        )
        if not sources or not targets or sources[0] is targets[0]:
            # both ends say the same value and meet in one element: nothing to draw
            self._row(builder, link)
            return "event report"
        source = sources[0]
        source.confinement.add(link.marking)
        builder.refer(source, targets[0], link.verb, link.id, comment=link.detail)
        if link.detail and (source.kind != "Object" or len(link.detail) > MAX_COMMENT):
            self._row(builder, link)
        return "reference" if source.kind == "Object" else "relationship"

    def _tag(self, builder: EventBuilder, other: str, context: str, marking: Marking) -> None:
        """Tag what a context object is linked to; a tag says what its object says, and so is as strict."""
        tag = self._contexts.tag(context)
        self._contexts.linked(builder.uuid, context, marking)
        for element in builder.elements_of(other):
            element.tags.add(tag)
            element.confinement.add(marking)
            element.confinement.add(self._contexts.marking_of_tag(context))

    def _row(self, builder: EventBuilder, link: Link) -> None:
        obj = link.obj or {}
        cells = (
            self._label(builder, link.source),
            link.verb,
            self._label(builder, link.target),
            str(obj.get("description") or ""),
            _period(obj),
            str(obj.get("confidence", "")),
        )
        row = "| " + " | ".join(_cell(cell) for cell in cells) + " |"
        marking = link.marking
        for end in (link.source, link.target):
            marking = marking.joined(self._contexts.marking(end))
            for element in builder.elements_of(end)[:1]:
                marking = marking.joined(element.confinement.marking)
        builder.tell(
            "Relationships", f"{cells[0]} {link.verb} {cells[2]} {link.id}", row, marking, _ROWS
        )

    def _label(self, builder: EventBuilder, id_: str) -> str:
        obj = self._objects[id_]
        elements = builder.elements_of(id_)
        if elements and elements[0].attribute is not None:
            return elements[0].label
        name = obj.get("name") or obj.get("value")
        return f"{name} ({obj['type']})" if isinstance(name, str) and name else id_

    # sightings

    def sighting(
        self, id_: str, obj: StixObject, producer: str | None, marking: Marking
    ) -> tuple[Outcome, Reason | None, str | None]:
        """Apply one sighting object: at most two MISP sightings, first and last, with the count in the source."""
        of = text(obj.get("sighting_of_ref"))
        if of is None:
            return Outcome.INVALID, Reason.INVALID_OBJECT, None
        events = self._where(of)
        count = obj.get("count")
        source = (
            text(obj.get("source"))
            or self._sighted_by(obj, marking)
            or producer
            or self._source_name
        )
        if isinstance(count, int) and count not in (0, 1):
            source = f"{source} (n={count})"
        negative = count == 0 or obj.get("x_opencti_negative") is True
        moments = [times.read(obj.get(name)) for name in ("first_seen", "last_seen")]
        known = [moment for moment in moments if moment is not None]
        if not known:
            known = [moment for moment in [times.read(obj.get("created"))] if moment is not None]
        seconds = sorted({moment // 1_000_000 for moment in known})[:2]
        forms = set()
        for event in events:
            builder = self._builders[event]
            if self._contexts.is_context(of):
                name = self._objects[of].get("name") or of
                row = f"| {_cell(str(name))} | {_cell(source)} | {_cell(_period(obj))} |"
                builder.tell(
                    "Sightings", id_, row, marking.joined(self._contexts.marking(of)), _SIGHTED
                )
                forms.add("event report")
                continue
            for element in _sightable(builder.elements_of(of)):
                element.confinement.add(marking)
                for at, second in enumerate(seconds):
                    element.sightings.append(
                        sighting(
                            builder.uuid, id_, element.uuid, at, second, source, negative=negative
                        )
                    )
                    forms.add("sighting")
        if forms:
            return Outcome.MAPPED, None, ", ".join(sorted(forms))
        return (
            Outcome.DROPPED,
            Reason.DANGLING if not self._contexts.is_context(of) else Reason.UNLINKED,
            None,
        )

    def _sighted_by(self, obj: StixObject, marking: Marking) -> str | None:
        found = [
            self._objects[ref]
            for ref in obj.get("where_sighted_refs") or ()
            if ref in self._objects
        ]
        names = {
            row["name"]
            for row in found
            if row.get("name") and self._contexts.may_name(row, marking)
        }
        return ", ".join(sorted(names)) or None


def _sightable(elements: list[Element]) -> list[Element]:
    """Attributes take sightings; of an object its selecting attribute does. A pattern's hub only where it is alone."""
    lone = [element for element in elements if element.attribute is not None]
    return lone or elements[:1]


EXPIRATION = 2


def sighting(
    event_uuid: str,
    id_: str,
    target: str,
    ordinal: int,
    second: int,
    source: str,
    *,
    negative: bool = False,
    type_: int = 0,
) -> dict[str, Any]:
    """One inline MISP sighting with a derived UUID.

    Args:
        event_uuid: the event's.
        id_: the STIX id it comes from.
        target: the element's UUID.
        ordinal: tells several sightings of one object apart.
        second: when, seconds.
        source: who saw it.
        negative: a false positive (type 1).
        type_: another type (2: expiration).
    """
    return {
        "uuid": derived_uuid(event_uuid, "sighting", id_, target, str(ordinal)),
        "type": str(1 if negative else type_),
        "source": cut(storable(source), _MAX_SOURCE),
        "date_sighting": str(second),
    }


def _period(obj: StixObject) -> str:
    pairs = (("start_time", "stop_time"), ("first_seen", "last_seen"))
    for first, last in pairs:
        found = [str(obj[name]) for name in (first, last) if isinstance(obj.get(name), str)]
        if found:
            return " – ".join(found)
    return ""


def _cell(text_: str) -> str:
    """A text fit for a cell of a Markdown table: no line break, bar or backslash ends the cell."""
    return one_line(text_).replace("\\", "\\\\").replace("|", "\\|")


def links_of(obj: StixObject, table: Table) -> Iterable[tuple[str, str]]:
    """Relationships that an object's own properties say: (type, id of the target)."""
    if table.role is Role.CONTEXT:
        yield from (("sample", ref) for ref in obj.get("sample_refs") or ())
    for path, verb in table.links.items():
        steps = path.split(".")
        if steps[0].removesuffix("[*]") in obj:
            yield from ((verb, ref) for ref in _at(obj, steps))


def _at(value: Any, steps: list[str]) -> Iterable[str]:
    """The texts at a path of names, through lists."""
    if isinstance(value, list):
        for item in value:
            yield from _at(item, steps)
    elif isinstance(value, str) and not steps:
        yield value
    elif isinstance(value, Mapping) and steps:
        yield from _at(value.get(steps[0].removesuffix("[*]")), steps[1:])
