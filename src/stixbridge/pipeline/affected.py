"""Which events a change affects: ids only, so that it takes little memory however many they are.

A poll brings a few objects. The events that show them are made again as a whole, and nothing else
is: the events of the reports an object is in, at any depth; the collecting events where it is; and,
for a relationship or sighting, the same of its ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from stixbridge.mapping import table_of
from stixbridge.mapping.tables import LINK_TYPES, Role
from stixbridge.store.store import ObjectStore

CONTAINERS = frozenset({"report", "grouping"})
"""Types that make events of their own."""
ENDS = ("source_ref", "target_ref", "sighting_of_ref", "object_refs", "object_ref", "sample_refs")
"""Properties whose objects an object changes wherever they are."""
REACHES_OUT = (*LINK_TYPES, "observed-data", "malware")
"""Types of objects that change others so."""
NEVER_LOOSE = frozenset({"relationship", "sighting", "marking-definition"})
"""Types of what no event collects by itself."""
_BY_CONTENT = frozenset({"malware", "identity", "location"})
"""Types of which some objects are contexts and others are not."""
_AT_ONCE = 5_000
_CONTAINERS_AT_ONCE = 50


@dataclass(slots=True)
class Affected:
    """Events to make again.

    Attributes:
        containers: ids of reports and the like.
        collecting: UUIDs of collecting events.
        loose: ids of objects that no event holds yet, or that have to leave the event of a report.
    """

    containers: set[str] = field(default_factory=set)
    collecting: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)


def container_types(group: str) -> frozenset[str]:
    """The types that make events of their own; `group` is the setting of a conversion."""
    further = {group.removeprefix("type:")} if group.startswith("type:") else set()
    return CONTAINERS | further


def type_of(id_: str) -> str:
    """The type that an id begins with."""
    return id_.partition("--")[0]


class Search:
    """Finds the affected events of one pipeline.

    Args (of the constructor):
        store: where the objects are.
        pipeline: its name.
        source: the name of its source.
        types: types that make events of their own.
    """

    def __init__(
        self, store: ObjectStore, pipeline: str, source: str, types: frozenset[str]
    ) -> None:
        self._objects = store.objects
        self._placements = store.placements
        self._pipeline = pipeline
        self._source = source
        self._types = types
        self._affected = Affected()
        self._seen: set[str] = set()
        self._hubs: set[str] = set()
        self._contexts: dict[str, bool] = {}

    def everything(self, ids: Iterable[str]) -> Affected:
        """All events.

        Args:
            ids: of everything in the store.
        """
        result = Affected(collecting=set(self._placements.collecting(self._pipeline)))
        for id_ in ids:
            if (type_ := type_of(id_)) in self._types:
                result.containers.add(id_)
            elif type_ not in NEVER_LOOSE:
                result.loose.add(id_)
        return result

    def affected(self, changed: Iterable[str], homeless: Iterable[str] = ()) -> Affected:
        """The events that changed objects affect.

        Args:
            changed: their ids.
            homeless: ids of objects whose event is no more: they have to go somewhere.
        """
        self._affected = Affected(loose=self._content(homeless))
        self._seen = set()
        self._hubs = set()
        for ids in slices(changed, _AT_ONCE):
            self._touch(ids)
        self._nested()
        self._moved()
        return self._affected

    # from objects to events

    def _touch(self, ids: set[str]) -> None:
        """Note the events of some objects, and of everything that they are a part of."""
        waiting = [iter([ids])]
        while waiting:
            piece = next(waiting[-1], None)
            if piece is None:
                waiting.pop()
                continue
            self._note(piece)
            self._touch_ends(self._ends(piece))
            waiting.append(self._above(piece))

    def _above(self, ids: set[str], without: str = "") -> Iterator[set[str]]:
        """What refers to some objects, page by page, each once."""
        only_links = all(type_of(id_) == "relationship" for id_ in ids)
        for rows in self._objects.referrer_pages(self._source, ids, without):
            page = {id_ for id_, _ in rows} - self._seen
            # a relationship is in no circle, unless relationships refer to each other
            self._seen |= (
                page if only_links else {id_ for id_ in page if type_of(id_) != "relationship"}
            )
            if page:
                yield page

    def _touch_ends(self, ends: set[str]) -> None:
        """Note the events of what links change, and of everything that this is a part of.

        A context object of many relationships is not in the reports of all that is linked to it.
        """
        new = ends - self._seen
        self._learn(new)
        contexts = {id_ for id_ in new if self._is_context(id_)}
        self._seen |= contexts
        self._note(new)
        for ids, without in ((new - contexts, ""), (contexts, "relationship")):
            seen = set(ids)
            waiting = [ids] if ids else []
            while waiting:
                for rows in self._objects.referrer_pages(self._source, waiting.pop(), without):
                    page = {id_ for id_, _ in rows} - seen
                    seen |= page
                    self._note(page)
                    if page:
                        waiting.append(page)

    def _note(self, ids: set[str]) -> None:
        """Note the events of some objects."""
        containers = {id_ for id_ in ids if type_of(id_) in self._types}
        self._affected.containers |= containers
        placed: set[str] = set()
        for id_, event, collecting, _ in self._placements.placed(self._pipeline, ids):
            placed.add(id_)
            if collecting:
                self._affected.collecting.add(event)
        self._affected.loose |= self._content(ids - placed)

    def _content(self, ids: Iterable[str]) -> set[str]:
        return {
            id_
            for id_ in ids
            if type_of(id_) not in NEVER_LOOSE and type_of(id_) not in self._types
        }

    # links

    def _ends(self, ids: set[str]) -> set[str]:
        """What the links among some objects change.

        The objects at their ends, and where contexts meet.
        """
        ends: set[str] = set()
        shown: set[str] = set()
        relationships = {id_ for id_ in ids if type_of(id_) == "relationship"}
        joined = self._objects.link_ends(self._source, relationships)
        self._learn({end for _, *both in joined for end in both})
        for _, source, target in joined:
            ends.update((source, target))
            # two context objects meet in the events of what is linked to them
            if self._is_context(source) and self._is_context(target):
                shown.add(source)
        others = {id_ for id_ in ids - relationships if type_of(id_) in REACHES_OUT}
        for id_, (obj, _) in self._objects.load(self._source, others).items():
            refs = ends_of(obj)
            ends |= refs
            self._learn(refs)
            # what is said of a context object stands in the events of what is linked to that
            if type_of(id_) not in ("observed-data", "malware"):
                shown.update(ref for ref in refs if self._is_shown_elsewhere(ref))
        for id_ in sorted(shown - self._hubs):
            self._hubs.add(id_)
            self._touch_linked(id_)
        return ends

    def _touch_linked(self, hub: str) -> None:
        """Note the events of everything that a context object is linked to."""
        for rows in self._objects.referrer_pages(self._source, [hub]):
            links = [id_ for id_, type_ in rows if type_ == "relationship"]
            ends = self._objects.link_ends(self._source, links)
            self._touch_ends({end for _, *both in ends for end in both})
        if type_of(hub) == "malware":  # its own sample_refs link it too
            for obj, _ in self._objects.load(self._source, [hub]).values():
                self._touch_ends(ends_of(obj))

    def _is_context(self, id_: str) -> bool:
        """Whether an object is a context; `_learn` has to come first."""
        known = self._contexts.get(id_)
        return table_of({"type": type_of(id_)}).role is Role.CONTEXT if known is None else known

    def _learn(self, ids: Iterable[str]) -> None:
        """Look at what is a context by more than its type."""
        unknown = [id_ for id_ in ids if type_of(id_) in _BY_CONTENT and id_ not in self._contexts]
        rows = self._objects.load(self._source, unknown) if unknown else {}
        for id_ in unknown:
            obj = rows[id_][0] if id_ in rows else None
            # a specimen, unless MISP knows a family of its name: taken for content, more is looked
            # at
            specimen = type_of(id_) == "malware" and obj and obj.get("is_family") is False
            self._contexts[id_] = (
                obj is not None and not specimen and table_of(obj).role is Role.CONTEXT
            )

    def _is_shown_elsewhere(self, id_: str) -> bool:
        return type_of(id_) == "malware" or self._is_context(id_)

    # containers

    def _nested(self) -> None:
        """A report in a report extends it: that of the inner one depends on all the outer ones."""
        done: set[str] = set()
        while waiting := self._affected.containers - done:
            done |= waiting
            inner = {
                target
                for ids in slices(waiting, _CONTAINERS_AT_ONCE)
                for _, target in self._objects.targets(self._source, ids, self._types)
            }
            for ids in slices(inner - self._affected.containers, _AT_ONCE):
                self._touch(ids)

    def _moved(self) -> None:
        """What enters the event of a report leaves the collecting ones.

        What leaves it has to go somewhere.
        """
        containers: set[str] = set()
        collecting: set[str] = set()
        while True:
            fresh = self._affected.containers - containers
            events = self._affected.collecting - collecting
            if not fresh and not events:
                return
            containers |= fresh
            collecting |= events
            for ids in slices(fresh, _CONTAINERS_AT_ONCE):
                self._moved_by(ids)
            for event in events:
                inside = [id_ for id_, *_ in self._placements.members(self._pipeline, [event])]
                self._affected.collecting.update(
                    event_uuid
                    for _, event_uuid, is_collecting, _ in self._placements.placed(
                        self._pipeline, inside
                    )
                    if is_collecting
                )

    def _moved_by(self, containers: set[str]) -> None:
        members = self._members(containers)
        events: set[str] = set()
        for _, event, collecting, _ in self._placements.placed(
            self._pipeline, members | containers
        ):
            if collecting:
                self._affected.collecting.add(event)
        own = self._placements.placed(self._pipeline, containers)
        events = {event for _, event, collecting, _ in own if not collecting}
        inside = {id_ for id_, *_ in self._placements.members(self._pipeline, events)}
        left = inside - members - containers
        if left:
            self._affected.loose |= self._content(left)
            self._touch(left)

    def _members(self, containers: set[str]) -> set[str]:
        """All that some containers hold, at any depth; containers inside are not opened."""
        members: set[str] = set()
        waiting = set(containers)
        linked = {id_ for id_ in containers if type_of(id_) not in CONTAINERS}
        rows = self._objects.referrers(self._source, linked, LINK_TYPES) if linked else []
        links = {id_ for id_, _, _ in rows}
        while waiting:
            targets = {target for _, target in self._objects.targets(self._source, waiting)} | links
            links = set()
            new = targets - members
            members |= new
            waiting = {id_ for id_ in new if type_of(id_) not in self._types}
        return members


def ends_of(obj: Mapping[str, Any]) -> set[str]:
    """What a link, observed-data or malware changes: the ids at its ends."""
    result: set[str] = set()
    for name in ENDS:
        value = obj.get(name)
        result.update(
            ref for ref in (value if isinstance(value, list) else [value]) if isinstance(ref, str)
        )
    return result


def slices(ids: Iterable[str], size: int) -> Iterator[set[str]]:
    """Some ids, so many at a time, in order."""
    waiting = iter(sorted(ids))
    while piece := set(islice(waiting, size)):
        yield piece
