"""The objects that a batch of events is made of, and what else their conversion looks at.

Reads the store only.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from stixbridge.mapping import table_of
from stixbridge.mapping.tables import LINK_TYPES, Role
from stixbridge.misp.model import Converted
from stixbridge.pipeline.affected import CONTAINERS, REACHES_OUT
from stixbridge.pipeline.batches import Batch
from stixbridge.stix.references import everything, parts
from stixbridge.store.placements import Placement
from stixbridge.store.store import ObjectStore

_SPEAKING = tuple(name for name in LINK_TYPES if name != "relationship")

_WITHOUT_PLACE = (None, Role.CONTAINER, Role.MARKING, Role.CONTEXT)
"""Roles of what is in no event by itself."""

Loaded = dict[str, tuple[dict[str, Any], int | None]]
"""Objects by id, with the time the server got them."""


@dataclass(slots=True)
class Selection:
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

    objects: Loaded = field(default_factory=dict)
    containers: set[str] = field(default_factory=set)
    collect: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    assigned: dict[str, str] = field(default_factory=dict)
    placed: dict[str, set[str]] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)

    def reaches_out(self, inside: set[str]) -> bool:
        """Whether something that no event holds yet is joined to what is inside.

        Its place is not known.
        """
        for obj, _ in self.objects.values():
            if obj["type"] == "relationship":
                ends = {str(obj.get("source_ref")), str(obj.get("target_ref"))}
                outside = [end for end in ends - inside if end not in self.placed]
                if len(outside) == 1 and self.role(outside[0]) not in _WITHOUT_PLACE:
                    return True
        return False

    def is_content(self, id_: str) -> bool:
        """Whether an object is more than a container or a marking."""
        return self.role(id_) not in (None, Role.CONTAINER, Role.MARKING)

    def is_shown_elsewhere(self, id_: str) -> bool:
        """Whether an object is shown in the events of what is linked to it."""
        return self.role(id_) is Role.CONTEXT or self.type(id_) == "malware"

    def type(self, id_: str) -> str | None:
        """The type of an object; None without the object."""
        row = self.objects.get(id_)
        return row[0]["type"] if row is not None else None

    def role(self, id_: str) -> Role | None:
        """The role of an object; None without the object."""
        row = self.objects.get(id_)
        if row is None:
            return None
        if row[0]["type"] == "malware" and row[0].get("is_family") is False:
            # a specimen, unless MISP knows a family of its name: taken for content, more is looked
            # at
            return Role.DETAIL
        return table_of(row[0]).role


class Selector:
    """Selects what to convert, for one pipeline.

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

    def select(self, batch: Batch, in_reports: Container[str] = ()) -> Selection:
        """What the events of a batch are made of.

        Args:
            batch: from `stixbridge.pipeline.batches`.
            in_reports: ids of loose objects that turned out to be in an event of a report.
        """
        selection = Selection(containers=set(batch.containers), events=set(batch.collecting))
        collect = {
            id_ for id_, *_ in self._placements.members(self._pipeline, batch.collecting)
        } | {id_ for id_ in batch.loose if id_ not in in_reports}
        self._load(selection, selection.containers | collect)
        inside: set[str] = set()
        waiting = set(collect)
        while waiting:
            self._load(selection, waiting)
            inside |= waiting
            here = [selection.objects[id_][0] for id_ in waiting & selection.objects.keys()]
            waiting = {
                ref for obj in here if obj["type"] not in LINK_TYPES for ref in parts(obj)
            } - inside
        selection.containers &= selection.objects.keys()
        selection.collect = {id_ for id_ in collect if selection.is_content(id_)}
        self._load_around(selection, self._members(selection) | selection.containers | inside)
        for id_, event, collecting, day in self._placements.placed(
            self._pipeline, selection.objects
        ):
            selection.placed.setdefault(id_, set()).add(event)
            if collecting and day:
                selection.assigned[id_] = min(day, selection.assigned.get(id_, day))
        selection.delivered = self._placements.delivered_ids(self._pipeline, selection.placed)
        return selection

    def _members(self, selection: Selection) -> set[str]:
        """All that the containers hold, at any depth; containers inside are not opened."""
        members: set[str] = set()
        waiting: set[str] = set()
        for id_ in selection.containers:
            waiting |= everything(selection.objects[id_][0])
            if selection.type(id_) not in CONTAINERS:
                rows = self._objects.referrers(self._source, [id_], LINK_TYPES)
                waiting.update(link for link, _, _ in rows)
        while waiting:
            self._load(selection, waiting)
            members |= waiting
            further: set[str] = set()
            for id_ in waiting & selection.objects.keys():
                if selection.type(id_) not in self._types:
                    further |= everything(selection.objects[id_][0])
            waiting = further - members
        return members

    def _load_around(self, selection: Selection, primary: set[str]) -> None:
        """What else the conversion looks at.

        Links of the members, their other ends, producers, markings.
        """
        # a context object may be linked to half of the world: what of that is here, the other end
        # says
        content = [id_ for id_ in primary if selection.role(id_) is not Role.CONTEXT]
        rows = self._objects.referrers(self._source, content, REACHES_OUT)
        self._load(selection, [id_ for id_, _, _ in rows])
        self._close(selection, selection.objects)
        contexts = [id_ for id_ in selection.objects if selection.is_shown_elsewhere(id_)]
        # sightings and notes of a context object stand where that does
        rows = self._objects.referrers(self._source, contexts, _SPEAKING)
        before = set(selection.objects)
        self._load(selection, [id_ for id_, _, _ in rows])
        self._load(selection, self._objects.joining(self._source, contexts))
        self._close(selection, selection.objects.keys() - before)

    def _close(self, selection: Selection, ids: Iterable[str]) -> None:
        """Load what objects refer to, until nothing is missing."""
        waiting = list(ids)
        while waiting:
            wanted: set[str] = set()
            for id_ in waiting:
                obj = selection.objects[id_][0]
                if id_ in selection.containers or obj["type"] not in self._types:
                    wanted |= everything(obj)
            missing = wanted - selection.objects.keys()
            self._load(selection, missing)
            waiting = [id_ for id_ in missing if id_ in selection.objects]

    def _load(self, selection: Selection, ids: Iterable[str]) -> None:
        missing = [id_ for id_ in ids if id_ not in selection.objects]
        if missing:
            selection.objects.update(self._objects.load(self._source, missing))


def placements(row: Converted) -> list[Placement]:
    """What is in an event, as the store keeps it."""
    collecting = int(row.container is None)
    return [(id_, collecting, row.day) for id_ in row.stix_ids]
