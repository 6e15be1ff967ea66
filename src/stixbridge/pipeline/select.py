"""What a change touches: the events to make again, and the objects that this needs. Reads the store only.

A poll brings a few objects; the events they belong to are made again as a whole from the store, and nothing else is.
Touched are: the reports an object is in, at any depth; the collecting events where it is, or where its value is; and,
for a relationship or sighting, the same of its ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stixbridge.mapping import table_of
from stixbridge.mapping.tables import LINK_TYPES, Role
from stixbridge.misp.model import Converted
from stixbridge.stix.references import everything, parts
from stixbridge.store.store import ObjectStore

# What changes elements that it refers to, wherever they are: property by property.
_ENDS = ("source_ref", "target_ref", "sighting_of_ref", "object_refs", "object_ref", "sample_refs")
_REACHES_OUT = (*LINK_TYPES, "observed-data", "malware")
_SPEAKING = tuple(name for name in LINK_TYPES if name != "relationship")


@dataclass(slots=True)
class Affected:
    """What to convert.

    Attributes:
        objects: id -> (object, when the server got it).
        containers: ids whose own events are to be made.
        collect: ids that may go to collecting events.
        events: collecting events that are made again; one that does not come out is empty now.
        assigned: day of the collecting event that an id was given.
        placed: events that an id is in.
        delivered: ids that are in a delivered event.
    """

    objects: dict[str, tuple[dict[str, Any], int | None]] = field(default_factory=dict)
    containers: set[str] = field(default_factory=set)
    collect: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    assigned: dict[str, str] = field(default_factory=dict)
    placed: dict[str, set[str]] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)


Loaded = dict[str, tuple[dict[str, Any], int | None]]
"""Objects by id, with the time the server got them."""


class Selector:
    """Finds what is affected, for one pipeline.

    Args (of the constructor):
        store: where the objects are.
        pipeline: its name.
        source: the name of its source.
        container_type: a further type that makes events of its own.
    """

    def __init__(
        self,
        store: ObjectStore,
        pipeline: str,
        source: str,
        container_type: str | None,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._source = source
        self._container_types = {"report", "grouping"} | (
            {container_type} if container_type else set()
        )

    def select(self, changed: Iterable[str]) -> Affected:
        """What some changed objects affect.

        Args:
            changed: their ids.
        """
        found = Affected()
        touched = self._upwards(set(changed), found)
        self._load(found, touched)
        found.containers |= self._containers(found, touched)
        # a report in a report extends it: that of the inner one depends on all the outer ones
        inner = {ref for id_ in found.containers for ref in everything(found.objects[id_][0])}
        self._load(found, inner)
        inside_out = self._upwards(self._containers(found, inner), found)
        self._load(found, inside_out)
        found.containers |= self._containers(found, inside_out)
        while True:
            members = self._members(found)
            self._load(found, members)
            placements = self._store.placements.placed(self._pipeline, members | touched)
            events = {event for _, event, collecting, _ in placements if collecting}
            inside = {
                id_ for id_, _, _, _ in self._store.placements.members(self._pipeline, events)
            }
            # what was in the event of a report and is no longer a member has to go somewhere
            own = {
                event
                for id_, event, collecting, _ in self._store.placements.placed(
                    self._pipeline, found.containers
                )
                if not collecting
            }
            left = (
                {id_ for id_, _, _, _ in self._store.placements.members(self._pipeline, own)}
                - members
                - found.containers
            )
            if left - touched:
                up = self._upwards(left, found)
                self._load(found, up)
                found.containers |= self._containers(found, up)
                inside |= up
            if events <= found.events and inside <= touched:
                break
            found.events |= events
            touched |= inside
            self._load(found, inside)
        primary = members | touched
        found.collect = {id_ for id_ in touched if self._is_content(found, id_)}
        self._load_around(found, primary)
        rows = self._store.placements.placed(self._pipeline, found.objects)
        for id_, event, collecting, day in rows:
            found.placed.setdefault(id_, set()).add(event)
            if collecting and day:
                found.assigned[id_] = min(day, found.assigned.get(id_, day))
        found.delivered = self._store.placements.delivered_ids(self._pipeline, found.objects)
        return found

    def whole(self, containers: Iterable[str], collect: Iterable[str] = ()) -> Affected:
        """What the events of some containers are made of, and a collecting event of some objects; nothing else.

        Args:
            containers: ids of reports and the like.
            collect: ids that may go to a collecting event.
        """
        found = Affected(containers=set(containers), collect=set(collect))
        self._load(found, found.containers | found.collect)
        inside: set[str] = set()
        waiting = set(found.collect)
        while waiting:
            self._load(found, waiting)
            inside |= waiting
            here = [found.objects[id_][0] for id_ in waiting & found.objects.keys()]
            waiting = {
                ref for obj in here if obj["type"] not in LINK_TYPES for ref in parts(obj)
            } - inside
        self._load_around(found, self._members(found) | found.containers | inside)
        for id_, event, _, _ in self._store.placements.placed(self._pipeline, found.objects):
            found.placed.setdefault(id_, set()).add(event)
        return found

    def reaches_in(self, found: Affected, inside: set[str]) -> bool:
        """Whether something outside is joined to what is inside: what becomes of that, the outside's place decides."""
        for obj, _ in found.objects.values():
            if obj["type"] == "relationship":
                source, target = obj.get("source_ref"), obj.get("target_ref")
                ends = {end for end in (source, target) if self._is_content(found, str(end))}
                if ends & inside and ends - inside:
                    return True
        return False

    def _containers(self, found: Affected, ids: Iterable[str]) -> set[str]:
        """Those of some ids that make events of their own."""
        return {id_ for id_ in ids if self._type(found, id_) in self._container_types}

    def _upwards(self, changed: set[str], found: Affected) -> set[str]:
        """Everything that the changed objects are a part of, and the ends of what links them."""
        touched = set(changed)
        waiting = set(changed)
        links: set[str] = set()
        while waiting:
            rows = self._store.objects.referrers(self._source, waiting)
            waiting = set()
            for id_, type_, _ in rows:
                if type_ in LINK_TYPES:
                    links.add(id_)
                if id_ not in touched:
                    touched.add(id_)
                    waiting.add(id_)
        self._load(found, touched | links)
        links &= found.objects.keys()  # the others are left out
        links.update(id_ for id_ in touched if self._type(found, id_) in _REACHES_OUT)
        ends = self._ends(found, links)
        self._load(found, ends)
        # two context objects meet in the events of what is linked to them
        between = [id_ for id_ in links if self._joins_contexts(found, id_)]
        sources = {found.objects[id_][0]["source_ref"] for id_ in between}
        # what is said of a context object stands wherever that is shown: in the events of what is linked to it
        saying = {
            id_
            for id_ in links
            if self._type(found, id_) not in ("relationship", "observed-data", "malware")
        }
        sources |= {
            id_ for id_ in self._ends(found, saying) if self._is_shown_elsewhere(found, id_)
        }
        around = {
            id_
            for id_, type_, _ in self._store.objects.referrers(self._source, sources)
            if type_ == "relationship"
        }
        self._load(found, around)
        around &= found.objects.keys()
        around |= {
            id_ for id_ in sources if self._type(found, id_) == "malware"
        }  # its own sample_refs link it too
        ends |= self._ends(found, around)
        self._load(found, ends)
        content = {id_ for id_ in ends if self._role(found, id_) is not Role.CONTEXT}
        touched |= ends
        return touched | self._above(content, links=True) | self._above(ends - content, links=False)

    def _is_shown_elsewhere(self, found: Affected, id_: str) -> bool:
        return self._role(found, id_) is Role.CONTEXT or self._type(found, id_) == "malware"

    def _ends(self, found: Affected, ids: Iterable[str]) -> set[str]:
        """What relationships, sightings and observed-data change: the objects at their ends."""
        ends: set[str] = set()
        for id_ in ids:
            obj = found.objects[id_][0]
            for name in _ENDS:
                value = obj.get(name)
                ends.update(
                    ref
                    for ref in (value if isinstance(value, list) else [value])
                    if isinstance(ref, str)
                )
        return ends

    def _joins_contexts(self, found: Affected, id_: str) -> bool:
        obj = found.objects[id_][0]
        ends = [obj.get(name) for name in ("source_ref", "target_ref")]
        return all(isinstance(ref, str) and self._role(found, ref) is Role.CONTEXT for ref in ends)

    def _above(self, ids: set[str], *, links: bool) -> set[str]:
        """Everything that some objects are a part of, at any depth: through relationships as well, for what is content.

        A context object of many relationships is not in the reports of all that is linked to it.
        """
        found: set[str] = set()
        waiting = set(ids)
        while waiting:
            rows = self._store.objects.referrers(
                self._source, waiting, without="" if links else "relationship"
            )
            waiting = {id_ for id_, _, _ in rows} - found
            found |= waiting
        return found

    def _members(self, found: Affected) -> set[str]:
        """All that the containers hold, at any depth; containers inside are not opened."""
        members: set[str] = set()
        waiting: set[str] = set()
        for id_ in found.containers & found.objects.keys():
            waiting |= everything(found.objects[id_][0])
            if self._type(found, id_) not in ("report", "grouping"):
                linked = [
                    link
                    for link, type_, _ in self._store.objects.referrers(self._source, [id_])
                    if type_ in LINK_TYPES
                ]
                waiting.update(linked)
        while waiting:
            self._load(found, waiting)
            members |= waiting
            further: set[str] = set()
            for id_ in waiting & found.objects.keys():
                if self._type(found, id_) not in self._container_types:
                    further |= everything(found.objects[id_][0])
            waiting = further - members
        return members

    def _load_around(self, found: Affected, primary: set[str]) -> None:
        """What else the conversion looks at: links of the members, their other ends, producers, markings."""
        # a context object may be linked to half of the world: what of that is here, the other end says
        content = [id_ for id_ in primary if self._role(found, id_) is not Role.CONTEXT]
        self._load(
            found,
            [
                id_
                for id_, _, _ in self._store.objects.referrers(self._source, content, _REACHES_OUT)
            ],
        )
        self._close(found)
        contexts = [id_ for id_ in found.objects if self._is_shown_elsewhere(found, id_)]
        # sightings and notes of a context object stand where that does
        self._load(
            found,
            [id_ for id_, _, _ in self._store.objects.referrers(self._source, contexts, _SPEAKING)],
        )
        self._load(found, self._store.objects.joining(self._source, contexts))
        self._close(found)

    def _close(self, found: Affected) -> None:
        """Load what the loaded objects refer to, until nothing is missing."""
        while True:
            wanted: set[str] = set()
            for id_, (obj, _) in found.objects.items():
                if id_ in found.containers or self._type(found, id_) not in self._container_types:
                    wanted |= everything(obj)
            missing = wanted - found.objects.keys()
            before = len(found.objects)
            self._load(found, missing)
            if len(found.objects) == before:
                return

    def _load(self, found: Affected, ids: Iterable[str]) -> None:
        missing = [id_ for id_ in ids if id_ not in found.objects]
        if missing:
            found.objects.update(self._store.objects.load(self._source, missing))

    @staticmethod
    def _type(found: Affected, id_: str) -> str | None:
        row = found.objects.get(id_)
        return row[0]["type"] if row is not None else None

    def _is_content(self, found: Affected, id_: str) -> bool:
        return self._role(found, id_) not in (None, Role.CONTAINER, Role.MARKING)

    def _role(self, found: Affected, id_: str) -> Role | None:
        row = found.objects.get(id_)
        if row is None:
            return None
        if row[0]["type"] == "malware" and row[0].get("is_family") is False:
            return Role.DETAIL  # a specimen, unless MISP knows a family of its name: taken for content, more is looked at
        return table_of(row[0]).role


def placements(row: Converted) -> list[dict[str, Any]]:
    """What is in an event, as the store keeps it."""
    collecting = int(row.container is None)
    return [{"id": id_, "collecting": collecting, "day": row.day} for id_ in row.stix_ids]
