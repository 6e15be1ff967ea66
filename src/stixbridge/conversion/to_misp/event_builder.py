"""Building one event: elements with derived UUIDs, merged where they say the same value, with the strictest marking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.markings import Confinement, Marking
from stixbridge.conversion.to_misp.translate import Attribute, Object, Said
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import (
    MispAttribute,
    MispEvent,
    MispObject,
    derived_uuid,
    one_line,
    uuid_of,
)
from stixbridge.misp.values import MAX_REPORT, MAX_TAG, cut, storable

MAX_COMMENT = 255
_INHERIT = "5"
_OWN_ORGANISATION = "0"


@dataclass(slots=True)
class Element:
    """A lone attribute, or an object with its attributes, while the event is being built."""

    uuid: str
    attribute: Attribute | None = None
    obj: Object | None = None
    to_ids: bool = False
    comments: dict[str, None] = field(default_factory=dict)
    confinement: Confinement = field(default_factory=Confinement)
    tags: set[str] = field(default_factory=set)
    timestamp: int = 0
    first_seen: str | None = None
    last_seen: str | None = None
    stix_ids: dict[str, None] = field(default_factory=dict)
    sightings: list[dict[str, Any]] = field(default_factory=list)
    analyst_data: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    references: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """`Attribute` or `Object`, as MISP calls it."""
        return "Attribute" if self.attribute is not None else "Object"

    @property
    def label(self) -> str:
        """The value of an attribute, the name of an object: what a reader recognises it by."""
        if self.attribute is not None:
            return self.attribute.value
        return self.obj.template if self.obj is not None else ""


@dataclass(slots=True)
class Report:
    """An event report: sections in order of their keys, each with the marking of what it tells."""

    title: str
    head: str = ""
    sections: dict[str, tuple[str, Marking]] = field(default_factory=dict)


class EventBuilder:
    """One event. Add what objects say, in the order of their ids; then `finish`."""

    def __init__(
        self,
        uuid: str,
        knowledge: Knowledge,
        default_level: str | None = None,
        taken: set[str] | None = None,
    ) -> None:
        self.uuid = uuid
        self._taken = taken if taken is not None else set()
        self._by_value: dict[tuple[str, str], str] = {}
        self._restored: dict[tuple[str, str, str], str] = {}
        self.told: list[dict[str, Any]] = []
        self._default_level = default_level
        self._knowledge = knowledge
        self.elements: dict[str, Element] = {}
        self.by_stix: dict[str, list[str]] = {}
        self.reports: dict[str, Report] = {}
        self.analyst_data: dict[str, list[dict[str, Any]]] = {}
        self.tags: set[str] = set()
        self.confinement = Confinement()

    @property
    def level(self) -> str | None:
        """The TLP level of the event: what its report or its members say, else the default of the source."""
        return self.confinement.level or (
            None if self.confinement.restricted else self._default_level
        )

    def place(
        self,
        id_: str,
        said: Said,
        marking: Marking,
        tags: set[str],
        timestamp: int,
        *,
        detects: bool = True,
    ) -> None:
        """Add what one STIX object says.

        Args:
            id_: its STIX id.
            said: what it says.
            marking: what holds for it.
            tags: tags for each of its elements.
            timestamp: its `modified`, seconds.
            detects: False withdraws `to_ids` from its own contribution.
        """
        uuids = self.by_stix.setdefault(id_, [])
        for attribute in said.attributes:
            uuid = self._uuid_of(attribute, said)
            element = self.elements.get(uuid)
            if element is None:
                element = self.elements[uuid] = Element(uuid, attribute)
            if detects and attribute.to_ids:
                element.to_ids = True
            self._contribute(element, id_, said.comment, marking, tags, timestamp)
            uuids.append(uuid)
        for attribute in said.excluded:
            uuid = self._uuid_of(attribute, said)
            element = self.elements.setdefault(uuid, Element(uuid, attribute))
            self._contribute(element, id_, "excluded by a pattern (!=)", marking, set(), timestamp)
        placed: dict[str, Element] = {}
        for obj in said.objects:
            element = placed[obj.key] = self._place_object(
                obj, id_, said, marking, tags, timestamp, detects
            )
            uuids.append(element.uuid)
        for obj in said.objects:
            if obj.parent in placed and obj.verb:
                self.refer(placed[obj.parent], placed[obj.key], obj.verb, id_)
        if said.hub is not None:
            hub = self._place_object(said.hub, id_, said, marking, tags, timestamp, detects)
            for at, uuid in enumerate(uuids):
                self.refer(hub, self.elements[uuid], "contains", id_, at)
            uuids.insert(0, hub.uuid)

    def attach(self, attribute: Attribute, comment: str, marking: Marking) -> None:
        """Add an attachment that no single object says; a new content does not change its UUID.

        Args:
            attribute: with `data`.
            comment: what it is.
            marking: what holds for its content.
        """
        uuid = derived_uuid(self.uuid, "attachment", attribute.value)
        element = self.elements[uuid] = Element(uuid, attribute, comments={comment: None})
        element.confinement.add(marking)

    def _uuid_of(self, attribute: Attribute, said: Said) -> str:
        """The UUID of a lone attribute: that of what says the same value here already, MISP's own, or a derived one."""
        key = (attribute.type, attribute.value)
        known = self._by_value.get(key)
        if known is None:
            own = self._own(said.uuids.get(key)) if said.uuids else None
            known = self._by_value[key] = own or derived_uuid(self.uuid, *key)
        return known

    def _own(self, uuid: str | None) -> str | None:
        """A UUID of MISP's own, unless it is taken."""
        if not uuid or uuid in self._taken:
            return None
        self._taken.add(uuid)
        return uuid

    def _place_object(
        self,
        obj: Object,
        id_: str,
        said: Said,
        marking: Marking,
        tags: set[str],
        timestamp: int,
        detects: bool,
    ) -> Element:
        uuid = self._own(said.uuids.get(("", ""))) or derived_uuid(
            self.uuid, obj.template, id_, obj.key
        )
        self._restored.update({(uuid, *key): own for key, own in said.uuids.items() if own})
        element = self.elements[uuid] = Element(uuid, obj=obj)
        element.to_ids = detects
        self._contribute(element, id_, said.comment, marking, tags, timestamp)
        return element

    @staticmethod
    def _contribute(
        element: Element, id_: str, comment: str, marking: Marking, tags: set[str], timestamp: int
    ) -> None:
        if comment:
            element.comments[comment] = None
        element.confinement.add(marking)
        if tags:
            element.tags |= tags
        element.timestamp = max(element.timestamp, timestamp)
        element.stix_ids[id_] = None

    def restore_report(self, id_: str, name: str, content: str, marking: Marking) -> None:
        """Add an event report that MISP wrote, by its own UUID where that is free."""
        stricter = (
            marking.level is not None and tlp.RANK[marking.level] > tlp.RANK[self.level or "green"]
        )
        self.told.append(
            {
                "uuid": self._own(uuid_of(id_)) or derived_uuid(self.uuid, "report", id_),
                "name": cut(storable(name), MAX_COMMENT),
                "content": cut(storable(content), MAX_REPORT),
                "distribution": _OWN_ORGANISATION if marking.restricted or stricter else _INHERIT,
            }
        )

    def annotate(
        self, target: Element | None, kind: str, id_: str, marking: Marking, fields: dict[str, Any]
    ) -> None:
        """Put analyst data (a note, an opinion) on an element, or on the event (None).

        What is stricter than the event stays in the own organisation.
        """
        on = target.uuid if target is not None else self.uuid
        shown = tlp.RANK[self.level] if self.level else tlp.RANK["green"]
        closed = marking.restricted or (
            marking.level is not None and tlp.RANK[marking.level] > shown
        )
        rows = (self.analyst_data if target is None else target.analyst_data).setdefault(kind, [])
        rows.append(
            {
                "uuid": derived_uuid(self.uuid, kind, id_, on),
                "object_uuid": on,
                "object_type": target.kind if target is not None else "Event",
                "distribution": _OWN_ORGANISATION if closed else _INHERIT,
                **fields,
            }
        )

    def tell(self, title: str, key: str, text: str, marking: Marking, head: str = "") -> None:
        """Add a section to an event report.

        Args:
            title: of the report.
            key: orders the sections, and keeps them apart.
            text: Markdown.
            marking: of what is told; what is stricter than the event goes to a report of its own at distribution 0.
            head: what stands above the sections.
        """
        report = self.reports.setdefault(title, Report(title, head))
        report.sections[key] = (text, marking)

    def refer(
        self,
        source: Element,
        target: Element,
        verb: str,
        id_: str,
        ordinal: int = 0,
        comment: str = "",
    ) -> None:
        """Link two elements: an object reference from an object, else an analyst-data relationship (MISP 2.5)."""
        kind = "reference" if source.kind == "Object" else "relationship"
        uuid = derived_uuid(self.uuid, kind, id_, source.uuid, target.uuid, verb, str(ordinal))
        row: dict[str, Any] = {"uuid": uuid, "object_uuid": source.uuid}
        if kind == "reference":
            row.update(
                referenced_uuid=target.uuid,
                relationship_type=cut(storable(verb), MAX_COMMENT),
                comment=cut(storable(comment), MAX_COMMENT),
            )
            rows = source.references
        else:
            row.update(
                object_type=source.kind,
                related_object_uuid=target.uuid,
                related_object_type=target.kind,
                relationship_type=cut(storable(verb), MAX_COMMENT),
                distribution=_INHERIT,
            )
            rows = source.analyst_data.setdefault("Relationship", [])
        if all(known["uuid"] != uuid for known in rows):
            rows.append(row)

    def elements_of(self, id_: str) -> list[Element]:
        """The elements that a STIX object became, its main one first."""
        return [self.elements[uuid] for uuid in self.by_stix.get(id_, ())]

    # finishing

    def finish(self, fields: dict[str, Any], timestamp: int) -> MispEvent:
        """The event as plain data.

        Args:
            fields: info, date, analysis and so on.
            timestamp: for elements without a time of their own, and reports.
        """
        level = self.level
        event: MispEvent = {"uuid": self.uuid, **fields, "timestamp": str(timestamp)}
        tags = set(self.tags) | self.confinement.tags
        if level is not None:
            tags.add(tlp.tag(level))
        if tags:
            event["Tag"] = _tags(tags)
        # elements are raised to what the report says, not to what the default fills in
        for uuid in sorted(self.elements):
            self._tell_long_comments(self.elements[uuid])
        rank = (
            tlp.RANK[self.confinement.level] if self.confinement.level else -1,
            tlp.RANK[level] if level else tlp.RANK["green"],
        )
        attributes: list[MispAttribute] = []
        objects: list[MispObject] = []
        for uuid in sorted(self.elements):
            element = self.elements[uuid]
            if element.attribute is not None:
                attributes.append(self._attribute(element, element.attribute, rank, timestamp))
            elif element.obj is not None:
                objects.append(self._object(element, element.obj, rank, timestamp))
        event["Attribute"] = attributes
        event["Object"] = objects
        reports = [
            made
            for _, report in sorted(self.reports.items())
            for made in self._reports(report, rank[1], timestamp)
        ]
        reports.extend({**row, "timestamp": str(timestamp)} for row in self.told)
        if reports:
            event["EventReport"] = reports
        _analyst_data(event, self.analyst_data)
        return event

    def _tell_long_comments(self, element: Element) -> None:
        """Comments that do not fit on the element are told in full in an event report."""
        if sum(len(comment) + 3 for comment in element.comments) > MAX_COMMENT + 3:
            lines = "\n".join(f"- {comment}" for comment in sorted(element.comments))
            text = f"## {one_line(element.label)}\n\n{lines}\n"
            self.tell("Comments", element.uuid, text, element.confinement.marking)

    def _attribute(
        self, element: Element, attribute: Attribute, rank: tuple[int, int], timestamp: int
    ) -> MispAttribute:
        tags, distribution = self._confined(element, rank)
        made: MispAttribute = {
            "uuid": element.uuid,
            "type": attribute.type,
            "category": attribute.category,
            "value": attribute.value,
            "to_ids": element.to_ids,
            "disable_correlation": not attribute.correlate,
            "distribution": distribution,
            "comment": _comment(element.comments),
            "timestamp": str(element.timestamp or timestamp),
        }
        _seen(made, element)
        if tags:
            made["Tag"] = tags
        if element.sightings:
            made["Sighting"] = sorted(element.sightings, key=lambda row: str(row["uuid"]))
        if attribute.data is not None:
            made["data"] = attribute.data
        _analyst_data(made, element.analyst_data)
        return made

    def _object(
        self, element: Element, obj: Object, rank: tuple[int, int], timestamp: int
    ) -> MispObject:
        tags, distribution = self._confined(element, rank)
        template = (
            self._knowledge.custom(obj.template)
            if obj.custom
            else self._knowledge.template(obj.template)
        )
        moment = str(element.timestamp or timestamp)
        made: MispObject = {
            "uuid": element.uuid,
            "name": obj.template,
            "meta-category": template.category,
            "template_uuid": template.uuid,
            "template_version": template.version,
            "distribution": distribution,
            "comment": _comment(element.comments),
            "timestamp": moment,
        }
        _seen(made, element)
        attributes = []
        marked = next((at for at, (_, row) in enumerate(obj.attributes) if row.to_ids), 0)
        for at, (relation, attribute) in enumerate(obj.attributes):
            inner: MispAttribute = {
                "uuid": self._own(self._restored.get((element.uuid, relation, attribute.value)))
                or derived_uuid(element.uuid, relation, attribute.value),
                "type": attribute.type,
                "object_relation": relation,
                "category": attribute.category,
                "value": attribute.value,
                "to_ids": attribute.to_ids and element.to_ids,
                "disable_correlation": not attribute.correlate,
                "distribution": _INHERIT,
                "comment": "",
                "timestamp": moment,
            }
            if tags:
                inner["Tag"] = tags
            if attribute.data is not None:
                inner["data"] = attribute.data
            if at == marked and element.sightings:
                inner["Sighting"] = sorted(element.sightings, key=lambda row: str(row["uuid"]))
            attributes.append(inner)
        made["Attribute"] = attributes
        if element.references:
            made["ObjectReference"] = sorted(element.references, key=lambda row: str(row["uuid"]))
        _analyst_data(made, element.analyst_data)
        return made

    @staticmethod
    def _confined(
        element: Element, event_rank: tuple[int, int]
    ) -> tuple[list[dict[str, str]], str]:
        confinement = element.confinement
        tags = element.tags | confinement.tags
        distribution = _OWN_ORGANISATION if confinement.restricted else _INHERIT
        if confinement.level is not None:
            rank = tlp.RANK[confinement.level]
            said, shown = event_rank
            if max(rank, said) > shown:
                distribution = _OWN_ORGANISATION  # stricter than the event it is in
            tags |= {tlp.tag(tlp.LEVELS[max(rank, said)])}
        return (_tags(tags) if tags else []), distribution

    def _reports(self, report: Report, event_rank: int, timestamp: int) -> Iterator[dict[str, Any]]:
        """The report, and beside it one at distribution 0 with what is stricter than the event."""
        parts: dict[str, list[str]] = {}
        for key in sorted(report.sections):
            text, marking = report.sections[key]
            stricter = marking.level is not None and tlp.RANK[marking.level] > event_rank
            distribution = _OWN_ORGANISATION if marking.restricted or stricter else _INHERIT
            parts.setdefault(distribution, []).append(text)
        for distribution, texts in sorted(parts.items(), reverse=True):
            title = report.title if distribution == _INHERIT else f"{report.title} (restricted)"
            content = "\n".join([report.head, *texts] if report.head else texts)
            yield {
                "uuid": derived_uuid(self.uuid, "report", title),
                "name": title,
                "content": cut(storable(content), MAX_REPORT),
                "distribution": distribution,
                "timestamp": str(timestamp),
            }


def _analyst_data(made: dict[str, Any], data: dict[str, list[dict[str, Any]]]) -> None:
    for kind in sorted(data):
        made[kind] = sorted(data[kind], key=lambda row: str(row["uuid"]))


def _seen(made: dict[str, Any], element: Element) -> None:
    if element.first_seen is not None:
        made["first_seen"] = element.first_seen
    if element.last_seen is not None:
        made["last_seen"] = element.last_seen


def _comment(comments: Iterable[str]) -> str:
    text = " | ".join(sorted(comments))
    return cut(storable(text), MAX_COMMENT * 4)[:MAX_COMMENT] if text else ""


def _tags(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": name} for name in _sorted(frozenset(names))]


@lru_cache(maxsize=8192)
def _sorted(names: frozenset[str]) -> tuple[str, ...]:
    """Names in order and as long as MISP stores them: many elements have the same tags."""
    return tuple(sorted({cut(storable(name), MAX_TAG, mark="") for name in names}))
