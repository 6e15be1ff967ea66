"""Which objects go to which event.

One event a report or grouping, with its members, what they need, and the relationships and
sightings between them. What is in no report goes to collecting events, each object to one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stixbridge import times, tlp
from stixbridge.conversion.to_misp.markings import UNMARKED
from stixbridge.conversion.to_misp.shapes import WITHOUT
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.tables import Role
from stixbridge.misp.model import NAMESPACE, derived_uuid, uuid_of
from stixbridge.stix.references import parts, references

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]

CONTENT = frozenset(
    {Role.INDICATOR, Role.OBSERVABLE, Role.OBSERVED, Role.DETAIL, Role.CUSTOM, Role.RECORD}
)
# What they refer to is what they speak of, and no part of them.
_SPEAKING = frozenset(
    {Role.CONTAINER, Role.NOTE, Role.TRANSLATION, Role.EVENT_REPORT, Role.SIGHTED}
)

_MENTIONING = frozenset(
    {
        Role.CONTAINER,
        Role.CUSTOM,
        Role.OBSERVED,
        Role.NOTE,
        Role.SIGHTING,
        Role.SIGHTED,
        Role.RECORD,
    }
)


@dataclass(slots=True)
class Plan:
    """One event to be.

    Attributes:
        uuid: of the event.
        container: the report or grouping; None for a collecting event.
        members: ids of the objects that go in, sorted.
        title: of a collecting event, where it has one of its own.
        day: of a `day` group.
        level: TLP of a `day` group.
        extends: UUID of the event of the report that this report is in.
    """

    uuid: str
    container: StixObject | None
    members: list[str] = field(default_factory=list)
    title: str = ""
    day: str = ""
    level: str | None = None
    extends: str | None = None


class Grouping:
    """Makes the plans of one conversion."""

    def __init__(self, workspace: Workspace) -> None:
        objects = self._objects = workspace.objects
        self._workspace = workspace
        self._owners = {id_: owner for id_, (owner, _) in workspace.embedded.items()}
        self._options = workspace.options
        self._markings = workspace.markings
        self._translations = workspace.translations
        self._roles = {id_: shape.table.role for id_, shape in workspace.shapes.items()}
        self._firsts = {half: id_ for id_, halves in workspace.halves.items() for half in halves}
        self._links: dict[str, list[str]] = defaultdict(list)
        if self._options.group.startswith("type:"):
            for id_, role in self._roles.items():
                if role is Role.RELATIONSHIP and objects[id_].get("revoked") is not True:
                    for end in ("source_ref", "target_ref"):
                        ref = objects[id_].get(end)
                        if isinstance(ref, str):
                            self._links[ref].append(id_)

    def _containers(self) -> list[str]:
        """Ids of the objects that make an event of their own, sorted."""
        options = self._options
        group = options.group
        wanted = group.removeprefix("type:") if group.startswith("type:") else None
        roles, workspace = self._roles, self._workspace
        return sorted(
            id_
            for id_, obj in self._objects.items()
            if (roles[id_] is Role.CONTAINER or (wanted is not None and obj["type"] == wanted))
            and (id_ not in workspace.ended or id_ in options.delivered)
            and (options.containers is None or id_ in options.containers)
        )

    def plan(self) -> list[Plan]:
        """All events: reports first, collecting ones after."""
        plans: list[Plan] = []
        taken: set[str] = set()
        in_reports: set[str] = set()
        by_container: dict[str, Plan] = {}
        for id_ in self._containers():
            uuid = self._container_uuid(id_, taken)
            taken.add(uuid)
            plan = by_container[id_] = Plan(uuid, self._objects[id_])
            plans.append(plan)
        by_uuid = {plan.uuid: plan for plan in plans}
        for id_, plan in by_container.items():
            members = self._members(id_)
            for inner in sorted(set(parts(self._objects[id_])) & by_container.keys()):
                child = by_container[inner]
                if child.extends is None and not _above(child, plan, by_uuid):
                    child.extends = plan.uuid
            # a report in a report has an event of its own, and is no part of this one
            plan.members = sorted(ref for ref in members if self._roles[ref] is not Role.CONTAINER)
            in_reports.update(plan.members)
        collecting = list(self._collect(self._free(in_reports)))
        self._give_way(plans, {plan.uuid for plan in collecting})
        return [*plans, *collecting]

    def _give_way(self, plans: list[Plan], collecting: set[str]) -> None:
        """Derive the UUID of a report whose id has the UUID of a collecting event.

        A document can't take that over.
        """
        for plan in plans:
            if plan.uuid not in collecting or plan.container is None:
                continue
            id_ = str(plan.container["id"])
            moved = derived_uuid(NAMESPACE, "event", self._options.source or "", id_)
            for child in plans:
                if child.extends == plan.uuid:
                    child.extends = moved
            plan.uuid = moved
            self._workspace.fates.drop(id_, [("id", Outcome.PRESERVED, Reason.UUID_TAKEN)])

    def _free(self, in_reports: set[str]) -> list[str]:
        """Ids of the content that no report has, sorted.

        An identity is an event's matter only where something other than authorship refers to it.
        """
        may = self._options.collect
        mentioned: set[str] | None = None
        free = []
        for id_ in sorted(self._translations):
            if id_ in in_reports or self._translations[id_].empty:
                continue
            if may is not None and self._owners.get(id_, id_) not in may:
                continue
            if self._objects[id_]["type"] == "identity":
                mentioned = self._mentioned() if mentioned is None else mentioned
                if id_ not in mentioned:
                    continue
            free.append(id_)
        return free

    def _mentioned(self) -> set[str]:
        """Ids that something other than authorship refers to."""
        found = set(self._workspace.mentioned)  # by relationships
        for id_, role in self._roles.items():
            if role in _MENTIONING:
                obj = self._objects[id_]
                whole = role in (Role.CONTAINER, Role.CUSTOM)
                found.update(parts(obj) if whole else obj.get("object_refs") or ())
                found.add(obj.get("sighting_of_ref") or "")
        return found

    def _container_uuid(self, id_: str, taken: set[str]) -> str:
        options = self._options
        own = uuid_of(id_)
        if options.uuid_namespace:
            return derived_uuid(options.uuid_namespace, id_)
        if own is None or own in taken:
            return derived_uuid(NAMESPACE, "event", options.source or "", id_)
        return own

    def _members(self, container: str) -> set[str]:
        start = self._objects[container]
        waiting = parts(start)
        if self._roles[container] is not Role.CONTAINER:  # type:NAME: what is related to it
            waiting += self._links[container] + [container]
        members: set[str] = set()
        while waiting:
            id_ = waiting.pop()
            obj = self._objects.get(id_)
            if obj is None or id_ in members:
                continue
            members.add(id_)
            if id_ in self._firsts:
                waiting.append(self._firsts[id_])
            if self._roles[id_] is Role.RELATIONSHIP:
                waiting.extend(self._ends(obj))
            elif self._roles[id_] not in _SPEAKING and self._workspace.shapes[id_].referring:
                # who saw something is no part of what was seen
                waiting.extend(references(obj, WITHOUT))
        members.discard(container)
        if self._roles[container] is not Role.CONTAINER:
            members.add(container)
        return members

    def _ends(self, relationship: StixObject) -> list[str]:
        """The ends of a relationship that come with it.

        A context object at the other's side comes as its tag.
        """
        ends = [
            ref
            for name in ("source_ref", "target_ref")
            if isinstance(ref := relationship.get(name), str)
        ]
        content = [ref for ref in ends if self._roles.get(ref) is not Role.CONTEXT]
        return content or ends

    # collecting events

    def _collect(self, free: list[str]) -> Iterable[Plan]:
        if not free:
            return []
        by = self._options.group
        if by == "day":
            return self._by_day(free)
        groups: dict[str, list[str]] = defaultdict(list)
        everything = "" if by == "creator" else self._input_key()
        for id_ in free:
            groups[self._creator(id_) if by == "creator" else everything].append(id_)
        return [
            self._collecting(key, members, title=key if by == "creator" else "")
            for key, members in sorted(groups.items())
        ]

    def _collecting(
        self,
        key: str,
        members: list[str],
        *,
        day: str = "",
        level: str | None = None,
        title: str = "",
    ) -> Plan:
        options = self._options
        namespace = options.uuid_namespace or NAMESPACE
        uuid = derived_uuid(namespace, "collecting", options.source or "", key)
        return Plan(uuid, None, members, title, day, level)

    def _creator(self, id_: str) -> str:
        ref = self._objects[id_].get("created_by_ref")
        creator = self._objects.get(ref) if isinstance(ref, str) else None
        # a title is seen by all who see the event, whatever is in it
        named = creator is not None and self._markings.may_name(creator, UNMARKED)
        name = creator.get("name") if creator is not None and named else None
        return name if isinstance(name, str) and name else str(ref or "unknown creator")

    def _input_key(self) -> str:
        options = self._options
        if options.source or options.input_name:
            return options.source or options.input_name or ""
        return sha256(
            "\n".join(sorted(self._objects.keys() - self._owners.keys())).encode()
        ).hexdigest()[:32]

    def _by_day(self, free: list[str]) -> Iterable[Plan]:
        """One event a day and TLP level.

        What says the same value stays together: one attribute, strictest marking.

        An object that another takes in goes where that goes, and says nothing by itself.
        """
        units = _Units()
        taken_in = {ref for id_ in free for ref in self._translations[id_].consumed}
        for id_ in free:
            keys = [("", ref) for ref in self._translations[id_].consumed]
            if id_ in taken_in:
                keys.append(("", id_))
            else:
                keys.extend((row.type, row.value) for row in self._translations[id_].attributes)
            units.add(id_, keys)
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for members in units.all():
            assigned = [day for id_ in members if (day := self._options.assigned.get(id_))]
            day = min(assigned) if assigned else min(self._day(id_) for id_ in members)
            level = tlp.strictest(self._markings.of(self._objects[id_]).level for id_ in members)
            groups[day, level or self._options.default_tlp or ""].extend(members)
        return [
            self._collecting(f"{day}|{level}", sorted(members), day=day, level=level or None)
            for (day, level), members in sorted(groups.items())
        ]

    def _day(self, id_: str) -> str:
        now = self._options.now
        moment = times.past(self._objects[id_].get("created"), now)
        if moment is None:
            moment = self._workspace.observed_at.get(id_)
        if moment is None:
            moment = self._options.date_added.get(id_, now)
        return times.to_day(moment)


def _above(child: Plan, plan: Plan, by_uuid: Mapping[str, Plan]) -> bool:
    """Whether an event is the other, or stands above it already.

    Reports may refer to each other in a circle.
    """
    here: Plan | None = plan
    while here is not None:
        if here is child:
            return True
        here = by_uuid.get(here.extends) if here.extends else None
    return False


class _Units:
    """Union-find over ids that share a value."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._owner: dict[tuple[str, str], str] = {}

    def add(self, id_: str, keys: Iterable[tuple[str, str]]) -> None:
        self._parent[id_] = id_
        for key in keys:
            other = self._owner.setdefault(key, id_)
            if other != id_:
                self._parent[self._root(id_)] = self._root(other)

    def all(self) -> list[list[str]]:
        units: dict[str, list[str]] = defaultdict(list)
        for id_ in self._parent:
            units[self._root(id_)].append(id_)
        return list(units.values())

    def _root(self, id_: str) -> str:
        parent = self._parent
        while parent[id_] != id_:
            parent[id_] = parent[parent[id_]]
            id_ = parent[id_]
        return id_
