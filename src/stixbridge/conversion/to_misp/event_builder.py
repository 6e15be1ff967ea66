"""Building one event.

Elements with derived UUIDs, merged where they hold the same value, with the strictest marking.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha1
from typing import Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.element import Element, Report
from stixbridge.conversion.to_misp.event_form import MAX_COMMENT, EventForm
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
    MispEvent,
    derived_uuid,
    uuid_of,
    uuid_text,
)
from stixbridge.misp.values import MAX_REPORT, cut, storable

_INHERIT = "5"
_OWN_ORGANISATION = "0"


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
        self.restored: dict[tuple[str, str, str], str] = {}
        self.restored_reports: list[dict[str, Any]] = []
        self._default_level = default_level
        self._knowledge = knowledge
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
        """The TLP level of the event.

        That of its report or members, else the default of the source.
        """
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
        """The element of a lone attribute.

        The one that holds the same value here already, or a new one.
        """
        key = attribute[:2]
        uuid = self._by_value.get(key)
        if uuid is None:
            own = self.own(translation.uuids.get(key)) if translation.uuids else None
            uuid = self._by_value[key] = own or self._derived(f"{key[0]}\x1f{key[1]}")
        element = self.elements.get(uuid)
        if element is None:
            element = self.elements[uuid] = Element(uuid, attribute)
        return element

    def _derived(self, name: str) -> str:
        """A UUID in the event's name space.

        As `derived_uuid`, with the hash of the name space made once.
        """
        state = self._state.copy()
        state.update(name.encode())
        return uuid_text(state.hexdigest())

    def own(self, uuid: str | None) -> str | None:
        """A UUID of MISP's own, unless it is taken."""
        if not uuid or uuid in self._taken:
            return None
        self._taken.add(uuid)
        return uuid

    def _place_object(self, obj: Object, id_: str, translation: Translation) -> Element:
        uuids = translation.uuids or {}
        key = (obj.identity,) if obj.identity else (id_, obj.key)
        own = self.own(uuids.get(("", "")))
        uuid = own or derived_uuid(self.uuid, obj.template, *key)
        self.restored.update({(uuid, *row): found for row, found in uuids.items() if found})
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
        """Add an event report that MISP wrote, by its own UUID where that is free.

        Gives the UUID.
        """
        closed = marking.exceeds(self.marking, self.level_rank)
        uuid = self.own(uuid_of(id_)) or derived_uuid(self.uuid, "report", id_)
        self.restored_reports.append(
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
        """Put analyst data (a note, an opinion) on an element, or on the event (None).

        Gives its UUID.

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
            marking: of the text; text stricter than the event goes to a report of its own at
                distribution 0.
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
        """Link two elements.

        An object reference from an object, else an analyst-data relationship (MISP 2.5).

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

    def finish(self, fields: dict[str, Any], timestamp: int) -> MispEvent:
        """The event as plain data; fills `shown` with the keys of everything in it.

        Args:
            fields: info, date, analysis and so on.
            timestamp: for elements without a time of their own, and reports.
        """
        return EventForm(self, self._knowledge).event(fields, timestamp)
