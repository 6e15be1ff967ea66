"""Relationships.

Object references, analyst-data relationships, galaxy tags, rows of an event report.

They are drawn after all elements of all events are placed. Each relationship ends up, in each event
that holds both its ends, in the form that fits them; where its ends meet in no event it becomes a
row in the events of one end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.event_form import MAX_COMMENT
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.model import one_line

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]

_ROWS = (
    "| source | relationship | target | description | times | confidence |\n"
    "|---|---|---|---|---|---|"
)
# Relationships to a context object that a tag says in full.
_PLAIN = frozenset({"indicates", "uses", "related-to"})
_FEW = 8


class Link(NamedTuple):
    """One relationship to draw.

    From a relationship object, or from a property of the source (`obj` is None).
    """

    id: str
    source: str
    verb: str
    target: str
    marking: Marking = UNMARKED
    obj: StixObject | None = None
    detailed: bool = False
    apart: bool = False

    @property
    def detail(self) -> str:
        """Its description, times and confidence."""
        obj = self.obj
        if obj is None or not self.detailed:
            return ""
        parts = [str(obj["description"])] if obj.get("description") else []
        parts += [period] if (period := period_of(obj)) else []
        parts += [f"confidence {obj['confidence']}"] if "confidence" in obj else []
        return " ".join(parts)


class Drawn(NamedTuple):
    """What a relationship is in one event.

    Attributes:
        form: `tag`, `reference`, `relationship`, `comment` or `event report`.
        evidence: its key in the event; empty where it is in an event that is not made here.
        event: UUID of the event.
    """

    form: str
    evidence: str
    event: str


_ELSEWHERE = Drawn("event report", "", "")

_CONTAINERS = frozenset({"report", "grouping"})


class Links:
    """Draws the relationships of one conversion."""

    def __init__(self, workspace: Workspace) -> None:
        self._objects = workspace.objects
        self._builders = workspace.builders
        self._contexts = workspace.contexts
        self._fates = workspace.fates
        self._placed = workspace.options.placed
        self._events_of = workspace.events_of
        self._sets: dict[tuple[str, str], frozenset[str]] = {}

    def relationship(self, link: Link) -> list[Drawn]:
        """Draw a relationship object, record what became of it, and return what it is now."""
        id_, fates = link.id, self._fates
        drawn = self.link(link)
        if len(drawn) == 1 and drawn[0].evidence:
            fates.outcome(id_, Outcome.MAPPED, None, drawn[0].form)
            fates.mapped(id_, (drawn[0].evidence,))
        elif drawn:
            fates.outcome(id_, Outcome.MAPPED, None, ", ".join(sorted({row.form for row in drawn})))
            evidence = [row.evidence for row in drawn if row.evidence]
            if len(evidence) == len(drawn):
                fates.mapped(id_, evidence)
        else:
            fates.outcome(id_, Outcome.DROPPED, self.why_not(link))
        return drawn

    def why_not(self, link: Link) -> Reason:
        """Why a relationship is in no event."""
        contexts = self._contexts
        if contexts.gone(link.source) or contexts.gone(link.target):
            return Reason.REVOKED
        if contexts.current(link.source) == contexts.current(link.target):
            return Reason.REDUNDANT
        inward, outward = contexts.is_context(link.source), contexts.is_context(link.target)
        if not inward and not outward and self._meeting(link):
            return Reason.REDUNDANT
        unlinked = inward and outward
        return Reason.UNLINKED if unlinked else Reason.DANGLING

    def link(self, link: Link) -> list[Drawn]:
        """Join two objects in every event that holds both."""
        contexts = self._contexts
        if contexts.gone(link.source) or contexts.gone(link.target):
            return []
        source, target = contexts.current(link.source), contexts.current(link.target)
        if source != link.source or target != link.target:
            link = link._replace(source=source, target=target)
        inward, outward = contexts.is_context(link.source), contexts.is_context(link.target)
        if inward and outward:
            return self._relate_contexts(link) if source != target else []
        if inward or outward:
            return self._tag_with_context(link, outward)
        if link.verb == "indicates":
            self._tag_instance(link)
        shared = self._meeting(link)
        joined = [self._join(self._builders[event], link) for event in shared]
        drawn = [row for row in joined if row is not None]
        if not shared and (link.obj is not None or link.apart):
            drawn.extend(self._apart(link))
        return drawn

    def _relate_contexts(self, link: Link) -> list[Drawn]:
        """Two context objects: a row in each event that shows both."""
        drawn = []
        for event in self._meeting(link):
            self._contexts.related(event, link.source, link.verb, link.target, link.marking)
            drawn.append(self._row(self._builders[event], link))
        return drawn

    def _tag_with_context(self, link: Link, outward: bool) -> list[Drawn]:
        """A context object and something else.

        Its tag on that, and a row for what the tag does not say.
        """
        context, tagged = (link.target, link.source) if outward else (link.source, link.target)
        tells = link.obj is not None and (not outward or link.verb not in _PLAIN)
        drawn: list[Drawn] = []
        for event in self._where(tagged):
            builder = self._builders[event]
            tag = self._contexts.tags.shown_in(builder, context)
            self._contexts.linked(event, context, link.marking)
            if tag is not None:
                evidence = self._tag(builder, tagged, context, link, tag)
                drawn.append(Drawn("tag", evidence, event))
            if tag is None:
                drawn.append(self._row(builder, link))
            elif tells:
                self._row(builder, link)
        return drawn

    def _meeting(self, link: Link) -> list[str]:
        """The events that hold both ends."""
        at_source, at_target = self._where(link.source), self._where(link.target)
        if len(at_source) <= _FEW and len(at_target) <= _FEW:
            return [uuid for uuid in at_source if uuid in at_target]
        if len(at_source) <= len(at_target):
            return [uuid for uuid in at_source if self._holds(uuid, link.target)]
        found = [uuid for uuid in at_target if self._holds(uuid, link.source)]
        if len(found) > 1:
            order = {uuid: at for at, uuid in enumerate(at_source)}
            found.sort(key=order.__getitem__)
        return found

    def _holds(self, event: str, id_: str) -> bool:
        """Whether an event holds an object: by its elements, or since it shows a context object."""
        if self._contexts.is_context(id_):
            return self._contexts.shows(event, id_)
        return id_ in self._builders[event].by_stix

    def _apart(self, link: Link) -> list[Drawn]:
        """The ends are in different events: a row in those of the source, else of the target."""
        events = self._where(link.source)
        # a report is in its event as that, and holds no rows by itself
        container = self._objects[link.source]["type"] in _CONTAINERS
        placed: Iterable[str] = () if container else self._placed.get(link.source, ())
        elsewhere = any(event not in self._builders for event in placed)
        both = self._placed.get(link.target, frozenset()).intersection(placed)
        if any(event not in self._builders for event in both):
            return [_ELSEWHERE]  # they meet in an event that is not made here
        if not events and not elsewhere:
            events = self._where(link.target)
        drawn = [self._row(self._builders[event], link) for event in events]
        return drawn or ([_ELSEWHERE] if elsewhere else [])

    def _where(self, id_: str) -> list[str]:
        """The events that an object is in: by its elements, or where a context object is shown."""
        if self._contexts.is_context(id_):
            return self._contexts.events_of(id_)
        return self._events_of.get(id_, [])

    def _join(self, builder: EventBuilder, link: Link) -> Drawn | None:
        """Join two objects in one event; None where both are one element and nothing is to say."""
        sources, targets = (
            builder.elements_of(link.source)[:1],
            builder.elements_of(link.target)[:1],
        )
        if not sources or not targets:
            return self._row(builder, link)
        source = sources[0]
        if self._one_element(builder, link):
            if not link.detail:
                return None
            source.mark(link.marking)
            source.comments.append(one_line(link.detail))
            return Drawn("comment", source.uuid, builder.uuid)
        source.mark(link.marking)
        uuid = builder.refer(source, targets[0], link.verb, link.id, comment=link.detail)
        if link.detail and (source.kind != "Object" or len(link.detail) > MAX_COMMENT):
            self._row(builder, link)
        form = "reference" if source.kind == "Object" else "relationship"
        return Drawn(form, uuid, builder.uuid)

    def _one_element(self, builder: EventBuilder, link: Link) -> bool:
        """Whether one end has no element in an event that the other end does not have, too."""
        source, target = (self._elements(builder, end) for end in (link.source, link.target))
        return source <= target or target <= source

    def _elements(self, builder: EventBuilder, id_: str) -> frozenset[str]:
        key = (builder.uuid, id_)
        found = self._sets.get(key)
        if found is None:
            found = self._sets[key] = frozenset(builder.by_stix[id_])
        return found

    def _tag(self, builder: EventBuilder, tagged: str, context: str, link: Link, tag: str) -> str:
        """Tag what a context object is linked to; the tag is as strict as the object's text."""
        contexts = self._contexts
        name = contexts.tags.name_beside(context) if builder.uuid in contexts.collecting else None
        evidence = ""
        for uuid in builder.by_stix.get(tagged, ()):
            element = builder.elements[uuid]
            element.tags = with_tag(element.tags, tag)
            element.mark(link.marking)
            element.mark(contexts.tags.marking(context))
            if name is not None:
                element.comments.append(f"{name} ({self._objects[context]['type']})")
            if not evidence:
                evidence = f"{uuid} {tag}"
                contexts.tagged(builder.uuid, context, uuid)
                if link.detail:
                    element.comments.append(one_line(link.detail))
        return evidence

    def _tag_instance(self, link: Link) -> None:
        """Tag what indicates a malware instance with its name, as families do."""
        contexts = self._contexts
        for event in self._where(link.source):
            builder = self._builders[event]
            tag = contexts.tags.of_instance(builder, link.target)
            for element in builder.elements_of(link.source) if tag is not None else ():
                element.tags = with_tag(element.tags, tag or "")
                element.mark(link.marking)
                element.mark(contexts.tags.marking(link.target))

    def _row(self, builder: EventBuilder, link: Link) -> Drawn:
        obj = link.obj or {}
        cells = (
            self._label(builder, link.source),
            link.verb,
            self._label(builder, link.target),
            str(obj.get("description") or ""),
            period_of(obj),
            str(obj.get("confidence", "")),
        )
        row = "| " + " | ".join(cell(text) for text in cells) + " |"
        marking = link.marking
        for end in (link.source, link.target):
            marking = marking.joined(self._contexts.marking(end))
            for element in builder.elements_of(end)[:1]:
                marking = marking.joined(element.marking)
        key = f"{cells[0]} {link.verb} {cells[2]} {link.id}"
        evidence = builder.tell("Relationships", key, row, marking, _ROWS)
        return Drawn("event report", evidence, builder.uuid)

    def _label(self, builder: EventBuilder, id_: str) -> str:
        obj = self._objects[id_]
        elements = builder.elements_of(id_)
        if elements and elements[0].attribute is not None:
            return elements[0].label
        name = obj.get("name") or obj.get("value") or obj.get("region") or obj.get("country")
        return f"{name} ({obj['type']})" if isinstance(name, str) and name else id_


@lru_cache(maxsize=65536)
def with_tag(tags: frozenset[str], tag: str) -> frozenset[str]:
    """Tags and one more; elements with the same ones share the set."""
    return tags | {tag}


def period_of(obj: StixObject) -> str:
    """When a relationship or sighting held, as a text; empty where it says nothing."""
    pairs = (("start_time", "stop_time"), ("first_seen", "last_seen"))
    for first, last in pairs:
        found = [str(obj[name]) for name in (first, last) if isinstance(obj.get(name), str)]
        if found:
            return " – ".join(found)
    return ""


def cell(text_: str) -> str:
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
