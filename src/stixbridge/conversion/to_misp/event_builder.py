"""Building one event: elements with derived UUIDs, merged where they hold the same value, with the strictest marking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha1
from typing import Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.element import Element
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking
from stixbridge.conversion.to_misp.translation import (
    NO_TAGS,
    Attribute,
    Object,
    Translation,
    unique,
)
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import (
    MispAttribute,
    MispEvent,
    MispObject,
    derived_uuid,
    one_line,
    uuid_of,
    uuid_text,
)
from stixbridge.misp.values import MAX_REPORT, MAX_TAG, cut, storable

MAX_COMMENT = 255
_INHERIT = "5"
_OWN_ORGANISATION = "0"


@dataclass(slots=True)
class Report:
    """An event report: sections in order of their keys, each with the marking of its text."""

    title: str
    head: str = ""
    sections: dict[str, tuple[str, Marking]] = field(default_factory=dict)


class EventBuilder:
    """One event. Place translations in the order of their ids; then `finish`."""

    def __init__(
        self,
        uuid: str,
        knowledge: Knowledge,
        default_level: str | None = None,
        taken: set[str] | None = None,
    ) -> None:
        self.uuid = uuid
        self._state = sha1(bytes.fromhex(uuid.replace("-", "")), usedforsecurity=False)
        self._taken = taken if taken is not None else set()
        self._by_value: dict[tuple[str, str], str] = {}
        self._restored: dict[tuple[str, str, str], str] = {}
        self._restored_reports: list[dict[str, Any]] = []
        self._default_level = default_level
        self._knowledge = knowledge
        self._rank = (-1, tlp.RANK["green"])
        self._tag_lists: dict[tuple[frozenset[str], Marking], tuple[list[dict[str, str]], str]] = {}
        self.elements: dict[str, Element] = {}
        self.by_stix: dict[str, list[str]] = {}
        self.reports: dict[str, Report] = {}
        self.analyst_data: dict[str, list[dict[str, Any]]] = {}
        self.tags: set[str] = set()
        self.marking = UNMARKED
        self.creator: str | None = None
        self.observed: set[str] = set()
        self.excluded: dict[str, list[str]] = {}
        self.shown: set[str] = set()

    @property
    def level(self) -> str | None:
        """The TLP level of the event: that of its report or members, else the default of the source."""
        return self.marking.level or (None if self.marking.restricted else self._default_level)

    @property
    def level_rank(self) -> int:
        """How strict the event is for its readers; an event without a level counts as green."""
        level = self.level
        return tlp.RANK[level] if level else tlp.RANK["green"]

    def mark(self, level: str | None) -> None:
        """Give a collecting event a level, or none."""
        self.marking = Marking(level)

    # placing

    def place(self, id_: str, translation: Translation) -> list[str]:
        """Add a translation.

        Args:
            id_: the STIX id.
            translation: of that object, with its marking, tags and time.

        Returns:
            UUIDs of its elements, the main one first.
        """
        uuids = self.by_stix.get(id_)
        if uuids is None:
            uuids = self.by_stix[id_] = []
        named = self.creator is not None and translation.creator == self.creator
        tags = translation.tags_beside if named else translation.tags
        comment, live = translation.comment, translation.live
        for attribute in translation.attributes:
            element = self._element(attribute, translation)
            if live and attribute.to_ids:
                element.to_ids = True
            self._contribute(element, id_, comment, translation, tags)
            uuids.append(element.uuid)
        for attribute in translation.excluded:
            element = self._element(attribute, translation)
            self._contribute(element, id_, "excluded by a pattern (!=)", translation, NO_TAGS)
            self.excluded.setdefault(id_, []).append(element.uuid)
        if translation.objects or translation.hub is not None:
            self._place_objects(id_, translation, tags, uuids)
        return uuids

    def _place_objects(
        self, id_: str, translation: Translation, tags: frozenset[str], uuids: list[str]
    ) -> None:
        placed: dict[str, Element] = {}
        hub = translation.hub
        for obj in (*translation.objects, *((hub,) if hub is not None else ())):
            element = self._place_object(obj, id_, translation)
            element.to_ids = element.to_ids or translation.live
            self._contribute(element, id_, translation.comment, translation, tags)
            if obj is hub:
                for at, uuid in enumerate(uuids):
                    self.refer(element, self.elements[uuid], "contains", id_, at)
                uuids.insert(0, element.uuid)
            else:
                placed[obj.key] = element
                uuids.append(element.uuid)
        for obj in translation.objects:
            if obj.parent in placed and obj.verb:
                self.refer(placed[obj.parent], placed[obj.key], obj.verb, id_)

    def attach(self, attribute: Attribute, comment: str, marking: Marking) -> None:
        """Add an attachment of the event as a whole; new content does not change its UUID.

        Args:
            attribute: with `data`.
            comment: what it is.
            marking: what holds for its content.
        """
        uuid = derived_uuid(self.uuid, "attachment", attribute.value)
        element = self.elements[uuid] = Element(uuid, attribute)
        element.comments.append(comment)
        element.mark(marking)

    def _element(self, attribute: Attribute, translation: Translation) -> Element:
        """The element of a lone attribute: the one that holds the same value here already, or a new one."""
        key = attribute[:2]
        uuid = self._by_value.get(key)
        if uuid is None:
            own = self._own(translation.uuids.get(key)) if translation.uuids else None
            uuid = self._by_value[key] = own or self._derived(f"{key[0]}\x1f{key[1]}")
        element = self.elements.get(uuid)
        if element is None:
            element = self.elements[uuid] = Element(uuid, attribute)
        return element

    def _derived(self, name: str) -> str:
        """A UUID in the event's name space; as `derived_uuid`, with the hash of the name space made once."""
        state = self._state.copy()
        state.update(name.encode())
        return uuid_text(state.hexdigest())

    def _own(self, uuid: str | None) -> str | None:
        """A UUID of MISP's own, unless it is taken."""
        if not uuid or uuid in self._taken:
            return None
        self._taken.add(uuid)
        return uuid

    def _place_object(self, obj: Object, id_: str, translation: Translation) -> Element:
        uuids = translation.uuids or {}
        key = (obj.identity,) if obj.identity else (id_, obj.key)
        own = self._own(uuids.get(("", "")))
        uuid = own or derived_uuid(self.uuid, obj.template, *key)
        self._restored.update({(uuid, *row): found for row, found in uuids.items() if found})
        element = self.elements.get(uuid) if obj.identity else None
        if element is not None and element.obj is not None:
            rows = unique((*element.obj.attributes, *obj.attributes))
            element.obj = replace(element.obj, attributes=rows)
            return element
        element = self.elements[uuid] = Element(uuid, obj=obj)
        return element

    @staticmethod
    def _contribute(
        element: Element,
        id_: str,
        comment: str,
        translation: Translation,
        tags: frozenset[str],
    ) -> None:
        if comment:
            element.comments.append(comment)
        if translation.marking is not element.marking:
            element.marking = element.marking.joined(translation.marking)
        if tags:
            element.tag(tags)
        element.timestamp = max(element.timestamp, translation.timestamp)
        element.stix_ids.append(id_)

    # beside the elements

    def restore_report(self, id_: str, name: str, content: str, marking: Marking) -> str:
        """Add an event report that MISP wrote, by its own UUID where that is free; gives the UUID."""
        closed = marking.exceeds(self.marking, self.level_rank)
        uuid = self._own(uuid_of(id_)) or derived_uuid(self.uuid, "report", id_)
        self._restored_reports.append(
            {
                "uuid": uuid,
                "name": cut(storable(name), MAX_COMMENT),
                "content": cut(storable(content), MAX_REPORT),
                "distribution": _OWN_ORGANISATION if closed else _INHERIT,
            }
        )
        return uuid

    def annotate(
        self, target: Element | None, kind: str, id_: str, marking: Marking, fields: dict[str, Any]
    ) -> str:
        """Put analyst data (a note, an opinion) on an element, or on the event (None); gives its UUID.

        Analyst data stricter than the event stay in the own organisation.
        """
        on = target.uuid if target is not None else self.uuid
        closed = marking.exceeds(self.marking, self.level_rank)
        uuid = derived_uuid(self.uuid, kind, id_, on)
        row = {
            "uuid": uuid,
            "object_uuid": on,
            "object_type": target.kind if target is not None else "Event",
            "distribution": _OWN_ORGANISATION if closed else _INHERIT,
            **fields,
        }
        if target is None:
            self.analyst_data.setdefault(kind, []).append(row)
        else:
            target.annotate(kind, row)
        return uuid

    def tell(self, title: str, key: str, text: str, marking: Marking, head: str = "") -> str:
        """Add a section to an event report; gives the evidence of it.

        Args:
            title: of the report.
            key: orders the sections, and keeps them apart.
            text: Markdown.
            marking: of the text; text stricter than the event goes to a report of its own at distribution 0.
            head: stands above the sections.
        """
        report = self.reports.get(title)
        if report is None:
            report = self.reports[title] = Report(title, head)
        report.sections[key] = (text, marking)
        return f"{self.uuid} report {title}"

    def refer(
        self,
        source: Element,
        target: Element,
        verb: str,
        id_: str,
        ordinal: int = 0,
        comment: str = "",
    ) -> str:
        """Link two elements: an object reference from an object, else an analyst-data relationship (MISP 2.5).

        Returns:
            The UUID of the link.
        """
        kind = "reference" if source.kind == "Object" else "relationship"
        uuid = derived_uuid(self.uuid, kind, id_, source.uuid, target.uuid, verb, str(ordinal))
        row: dict[str, Any] = {"uuid": uuid, "object_uuid": source.uuid}
        if kind == "reference":
            row.update(
                referenced_uuid=target.uuid,
                relationship_type=cut(storable(verb), MAX_COMMENT),
                comment=cut(storable(comment), MAX_COMMENT),
            )
        else:
            row.update(
                object_type=source.kind,
                related_object_uuid=target.uuid,
                related_object_type=target.kind,
                relationship_type=cut(storable(verb), MAX_COMMENT),
                distribution=_INHERIT,
            )
        source.relate(row)
        return uuid

    def elements_of(self, id_: str) -> list[Element]:
        """The elements that a STIX object became, its main one first."""
        return [self.elements[uuid] for uuid in self.by_stix.get(id_, ())]

    # finishing

    def finish(self, fields: dict[str, Any], timestamp: int) -> MispEvent:
        """The event as plain data; fills `shown` with the keys of everything in it.

        Args:
            fields: info, date, analysis and so on.
            timestamp: for elements without a time of their own, and reports.
        """
        level = self.level
        event: MispEvent = {"uuid": self.uuid, **fields, "timestamp": str(timestamp)}
        tags = self.tags | self.marking.tags
        if level is not None:
            tags.add(tlp.tag(level))
        if tags:
            event["Tag"] = _tags(frozenset(tags))
        uuids = sorted(self.elements)
        # elements are raised to the level of the report, not to the default level
        for uuid in uuids:
            comments = self.elements[uuid].comments
            if len(comments) > 1 or (comments and len(comments[0]) > MAX_COMMENT):
                self._tell_long_comments(self.elements[uuid])
        self._rank = (self.marking.rank, self.level_rank)
        attributes: list[MispAttribute] = []
        objects: list[MispObject] = []
        for uuid in uuids:
            element = self.elements[uuid]
            if element.attribute is not None:
                attributes.append(self._attribute(element, element.attribute, timestamp))
            elif element.obj is not None:
                objects.append(self._object(element, element.obj, timestamp))
        event["Attribute"] = attributes
        event["Object"] = objects
        reports = [
            made
            for _, report in sorted(self.reports.items())
            for made in self._reports(report, timestamp)
        ]
        reports.extend({**row, "timestamp": str(timestamp)} for row in self._restored_reports)
        if reports:
            event["EventReport"] = reports
        _analyst_data(event, self.analyst_data)
        self.shown = self._shown(event)
        return event

    def _shown(self, event: MispEvent) -> set[str]:
        """The keys of everything in the event, read from the event itself: evidence for the ledger."""
        shown: set[str] = set()
        _collect(shown, event)
        for report in event.get("EventReport") or ():
            title = str(report["name"]).removesuffix(_RESTRICTED)
            shown.update((str(report["uuid"]), f"{self.uuid} report {title}"))
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
            self.tell("Comments", element.uuid, text, element.marking)

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
        """The report, and beside it one at distribution 0 with the text that is stricter than the event."""
        parts: dict[str, list[str]] = {}
        for key in sorted(report.sections):
            text, marking = report.sections[key]
            closed = marking.exceeds(self.marking, self._rank[1])
            distribution = _OWN_ORGANISATION if closed else _INHERIT
            parts.setdefault(distribution, []).append(text)
        for distribution, texts in sorted(parts.items(), reverse=True):
            title = report.title if distribution == _INHERIT else f"{report.title}{_RESTRICTED}"
            content = "\n".join([report.head, *texts] if report.head else texts)
            yield {
                "uuid": derived_uuid(self.uuid, "report", title),
                "name": title,
                "content": cut(storable(content), MAX_REPORT),
                "distribution": distribution,
                "timestamp": str(timestamp),
            }


_RESTRICTED = " (restricted)"


def _collect(shown: set[str], part: dict[str, Any]) -> None:
    """Add the keys of a part and of everything attached to it: tags, sightings, references, analyst data."""
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
