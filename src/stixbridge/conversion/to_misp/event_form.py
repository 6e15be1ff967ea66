"""The form of an event: its builder's elements, reports and tags as the plain data of MISP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.element import Element, Report
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.translation import (
    Attribute,
    Object,
)
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import (
    MispAttribute,
    MispEvent,
    MispObject,
    derived_uuid,
    one_line,
)
from stixbridge.misp.values import MAX_REPORT, MAX_TAG, cut, storable

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.event_builder import EventBuilder

MAX_COMMENT = 255
_INHERIT = "5"
_OWN_ORGANISATION = "0"


class EventForm:
    """Writes one event."""

    def __init__(self, builder: EventBuilder, knowledge: Knowledge) -> None:
        self._builder = builder
        self._knowledge = knowledge
        self._rank = (-1, tlp.RANK["green"])
        self._tag_lists: dict[tuple[frozenset[str], Marking], tuple[list[dict[str, str]], str]] = {}

    def event(self, fields: dict[str, Any], timestamp: int) -> MispEvent:
        """The event as plain data; fills `shown` with the keys of everything in it.

        Args:
            fields: info, date, analysis and so on.
            timestamp: for elements without a time of their own, and reports.
        """
        level = self._builder.level
        event: MispEvent = {"uuid": self._builder.uuid, **fields, "timestamp": str(timestamp)}
        tags = self._builder.tags | self._builder.marking.tags
        if level is not None:
            tags.add(tlp.tag(level))
        if tags:
            event["Tag"] = _tags(frozenset(tags))
        uuids = sorted(self._builder.elements)
        # elements are raised to the level of the report, not to the default level
        for uuid in uuids:
            comments = self._builder.elements[uuid].comments
            if len(comments) > 1 or (comments and len(comments[0]) > MAX_COMMENT):
                self._tell_long_comments(self._builder.elements[uuid])
        self._rank = (self._builder.marking.rank, self._builder.level_rank)
        attributes: list[MispAttribute] = []
        objects: list[MispObject] = []
        for uuid in uuids:
            element = self._builder.elements[uuid]
            if element.attribute is not None:
                attributes.append(self._attribute(element, element.attribute, timestamp))
            elif element.obj is not None:
                objects.append(self._object(element, element.obj, timestamp))
        event["Attribute"] = attributes
        event["Object"] = objects
        reports = [
            made
            for _, report in sorted(self._builder.reports.items())
            for made in self._reports(report, timestamp)
        ]
        reports.extend(
            {**row, "timestamp": str(timestamp)} for row in self._builder.restored_reports
        )
        if reports:
            event["EventReport"] = reports
        _analyst_data(event, self._builder.analyst_data)
        self._builder.shown = self._shown(event)
        return event

    def _shown(self, event: MispEvent) -> set[str]:
        """The keys of everything in the event, read from the event itself.

        Evidence for the ledger.
        """
        shown: set[str] = set()
        _collect(shown, event)
        for report in event.get("EventReport") or ():
            title = str(report["name"]).removesuffix(_RESTRICTED)
            shown.update((str(report["uuid"]), f"{self._builder.uuid} report {title}"))
        for attribute in event["Attribute"]:
            _collect(shown, attribute)
        for obj in event["Object"]:
            _collect(shown, obj)
            for attribute in obj["Attribute"]:
                _collect(shown, attribute)
                # objects have no tags in MISP; those of an object stand on its attributes
                shown.update(f"{obj['uuid']} {row['name']}" for row in attribute.get("Tag") or ())
        return shown

    def _tell_long_comments(self, element: Element) -> None:
        """Tell comments that do not fit on the element in full in an event report."""
        comments = sorted(set(element.comments))
        if sum(len(comment) + 3 for comment in comments) > MAX_COMMENT + 3:
            lines = "\n".join(f"- {comment}" for comment in comments)
            text = f"## {one_line(element.label)}\n\n{lines}\n"
            self._builder.tell("Comments", element.uuid, text, element.marking)

    def _attribute(self, element: Element, attribute: Attribute, timestamp: int) -> MispAttribute:
        tags, distribution = self._tagged(element.tags, element.marking)
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
            made["Tag"] = tags[:]
        if element.sightings:
            made["Sighting"] = sorted(element.sightings, key=_by_uuid)
        if attribute.data is not None:
            made["data"] = attribute.data
        data = element.analyst_data
        if element.references:
            data = {**(data or {}), "Relationship": list(element.references.values())}
        if data:
            _analyst_data(made, data)
        return made

    def _object(self, element: Element, obj: Object, timestamp: int) -> MispObject:
        tags, distribution = self._tagged(element.tags, element.marking)
        knowledge = self._knowledge
        template = (
            knowledge.custom(obj.template) if obj.custom else knowledge.template(obj.template)
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
                "uuid": self._builder.own(
                    self._builder.restored.get((element.uuid, relation, attribute.value))
                )
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
                inner["Tag"] = tags[:]
            if attribute.data is not None:
                inner["data"] = attribute.data
            if at == marked and element.sightings:
                inner["Sighting"] = sorted(element.sightings, key=_by_uuid)
            attributes.append(inner)
        made["Attribute"] = attributes
        if element.references:
            made["ObjectReference"] = sorted(element.references.values(), key=_by_uuid)
        if element.analyst_data:
            _analyst_data(made, element.analyst_data)
        return made

    def _tagged(self, tags: frozenset[str], marking: Marking) -> tuple[list[dict[str, str]], str]:
        """The tags and the distribution of an element; equal ones share one list."""
        key = (tags, marking)
        known = self._tag_lists.get(key)
        if known is not None:
            return known
        names = tags | marking.tags
        distribution = _OWN_ORGANISATION if marking.restricted else _INHERIT
        if marking.level is not None:
            own, shown = self._rank
            rank = max(marking.rank, own)
            if rank > shown:
                distribution = _OWN_ORGANISATION  # stricter than the event it is in
            names |= {tlp.tag(tlp.LEVELS[rank])}
        made = self._tag_lists[key] = (_tags(names) if names else []), distribution
        return made

    def _reports(self, report: Report, timestamp: int) -> Iterator[dict[str, Any]]:
        """The report, and one at distribution 0 with the text that is stricter than the event."""
        parts: dict[str, list[str]] = {}
        for key in sorted(report.sections):
            text, marking = report.sections[key]
            closed = marking.exceeds(self._builder.marking, self._rank[1])
            distribution = _OWN_ORGANISATION if closed else _INHERIT
            parts.setdefault(distribution, []).append(text)
        for distribution, texts in sorted(parts.items(), reverse=True):
            title = report.title if distribution == _INHERIT else f"{report.title}{_RESTRICTED}"
            content = "\n".join([report.head, *texts] if report.head else texts)
            yield {
                "uuid": derived_uuid(self._builder.uuid, "report", title),
                "name": title,
                "content": cut(storable(content), MAX_REPORT),
                "distribution": distribution,
                "timestamp": str(timestamp),
            }


_RESTRICTED = " (restricted)"


def _collect(shown: set[str], part: dict[str, Any]) -> None:
    """Add the keys of a part and of everything attached to it.

    Tags, sightings, references, analyst data.
    """
    uuid = part["uuid"]
    shown.add(uuid)
    if "Tag" in part:
        for row in part["Tag"]:
            shown.add(f"{uuid} {row['name']}")
    for name in _ATTACHED & part.keys():
        for row in part[name]:
            shown.add(row["uuid"])


_ATTACHED = frozenset({"Sighting", "ObjectReference", "Note", "Opinion", "Relationship"})


def _by_uuid(row: dict[str, Any]) -> str:
    return str(row["uuid"])


def _analyst_data(made: dict[str, Any], data: dict[str, list[dict[str, Any]]]) -> None:
    for kind in sorted(data):
        made[kind] = sorted(data[kind], key=_by_uuid)


def _seen(made: dict[str, Any], element: Element) -> None:
    if element.first_seen is not None:
        made["first_seen"] = element.first_seen
    if element.last_seen is not None:
        made["last_seen"] = element.last_seen


def _comment(comments: list[str]) -> str:
    if not comments:
        return ""
    text = comments[0] if len(comments) == 1 else " | ".join(sorted(set(comments)))
    if len(text) <= MAX_COMMENT and text.isascii():
        return text
    return cut(storable(text), MAX_COMMENT * 4)[:MAX_COMMENT]


def _tags(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": name} for name in _sorted(frozenset(names))]


@lru_cache(maxsize=8192)
def _sorted(names: frozenset[str]) -> tuple[str, ...]:
    """Names in order and as long as MISP stores them: many elements have the same tags."""
    return tuple(sorted({cut(storable(name), MAX_TAG, mark="") for name in names}))
