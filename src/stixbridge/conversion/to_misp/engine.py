"""The engine: STIX objects in, MISP events and a ledger out.

Pure: no I/O, no clock, no state between calls.

The way of one object, with the file that each stage is in:

1. `workspace`: one version of each object, in shape, lifted to STIX 2.1; its table and shape
(`shapes`).
2. `roles/`: the handler of its role translates it (`translate`, `pattern_algebra`) to attributes
and objects.
3. `grouping`: which events there are, and what is in each.
4. `roles/`, `event_builder`: placed in its events, marked, tagged, with its supplements
(`supplements`).
5. `relationships`, `galaxies`, `sightings`, `notes`: what links objects and speaks of them.
6. `event_builder.finish`: the events as plain data.
7. `fates`: what became of each object, recorded where it was decided, checked against the events,
goes to the ledger.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from stixbridge import times
from stixbridge.conversion.to_misp.context_tags import confining
from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.grouping import Grouping, Plan
from stixbridge.conversion.to_misp.options import Options
from stixbridge.conversion.to_misp.original_objects import Preserving
from stixbridge.conversion.to_misp.relationships import Links
from stixbridge.conversion.to_misp.roles import handlers
from stixbridge.conversion.to_misp.roles.container import Container as ContainerHandler
from stixbridge.conversion.to_misp.roles.observed_data import ObservedData
from stixbridge.conversion.to_misp.tags import text
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.mapping.tables import Role
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import Converted, derived_uuid, one_line
from stixbridge.misp.values import storable
from stixbridge.stix.reader import Entry

StixObject = dict[str, Any]

_FEED, _REPORT = "0", "2"
_UNDEFINED_THREAT = "4"
_INFO_MAX = 1_000
_MATTERS = (
    (Role.INDICATOR, "indicators"),
    (Role.RECORD, "indicators"),
    (Role.OBSERVED, "observations"),
    (Role.OBSERVABLE, "observations"),
    (Role.DETAIL, "objects"),
    (Role.CUSTOM, "objects"),
)
"""Role -> what a collecting event with such content is about."""


@dataclass(slots=True)
class Conversion:
    """The outcome of one call.

    The events, the ledger, and the objects that were converted, in shape.
    """

    converted: list[Converted]
    ledger: Ledger
    objects: Mapping[str, StixObject] = field(default_factory=dict)


def convert_entries(entries: Iterable[Entry], options: Options, knowledge: Knowledge) -> Conversion:
    """Convert the entries of a reader.

    Args:
        entries: usable objects and unusable entries.
        options: see `Options`.
        knowledge: MISP's types, templates and galaxies.

    Returns:
        Events sorted by UUID, and the ledger. Same entries in any order and same options, same
        bytes.
    """
    return _Engine(Workspace(entries, options, knowledge)).run()


class _Engine:
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._handlers = handlers(workspace)
        self._taken: set[str] = set()

    def run(self) -> Conversion:
        workspace = self._workspace
        self._translate()
        plans = Grouping(workspace).plan()
        self._taken = self._reserved(plans)
        for plan in plans:
            workspace.builders[plan.uuid] = self._place(plan)
        self._observe()
        self._link(plans)
        kept: Set[str] = frozenset()
        if workspace.options.preserve == "source":
            preserving = Preserving(workspace)
            preserving.attach(plans, workspace.builders)
            kept = preserving.kept
        converted = self._finish(plans)
        self._settle(kept)
        return Conversion(converted, workspace.ledger, workspace.objects)

    def _reserved(self, plans: list[Plan]) -> set[str]:
        """UUIDs that are derived for something in this conversion.

        None that a document brings takes them over.
        """
        translations = self._workspace.translations
        if not any(row.uuids for row in translations.values()):
            return set()
        reserved = {plan.uuid for plan in plans}
        for plan in plans:
            for id_ in plan.members:
                translation = translations.get(id_)
                if translation is not None and not translation.uuids:
                    rows = (*translation.attributes, *translation.excluded)
                    reserved.update(derived_uuid(plan.uuid, row.type, row.value) for row in rows)
        return reserved

    def _translate(self) -> None:
        """Translate each object, and record references of its lists that lead nowhere."""
        workspace, fates = self._workspace, self._workspace.fates
        objects, shapes = workspace.objects, workspace.shapes
        by_role = {role: handler.translate for role, handler in self._handlers.items()}
        for id_, obj in objects.items():
            shape = shapes[id_]
            if shape.marked and (drops := workspace.markings.of(obj).drops):
                fates.drop(id_, drops)
            for name in shape.times:
                if times.read(obj[name]) is None:
                    fates.drop(id_, [(name, Outcome.DROPPED, Reason.INVALID_VALUE)])
            by_role[shape.table.role](id_, obj)
            for name in shape.reference_lists:
                rows = obj[name]
                for at, ref in enumerate(rows if isinstance(rows, list) else ()):
                    if ref not in objects:
                        fates.drop(id_, [(f"{name}[{at}]", Outcome.DROPPED, Reason.DANGLING)])

    def _place(self, plan: Plan) -> EventBuilder:
        """Build an event.

        Its container's markings and tags, then its members in the order of their ids.
        """
        workspace = self._workspace
        options = workspace.options
        builder = EventBuilder(plan.uuid, workspace.knowledge, options.default_tlp, self._taken)
        container = self._handlers[Role.CONTAINER]
        if plan.container is not None and isinstance(container, ContainerHandler):
            container.open(builder, plan.container)
        else:
            self._open_collecting(builder, plan)
        inside = {
            ref: id_
            for id_ in plan.members
            if id_ in workspace.translations
            for ref in workspace.translations[id_].consumed
        }
        for id_ in plan.members:
            if id_ not in inside:
                self._handlers[workspace.role(id_)].place(builder, id_, workspace.objects[id_])
        for ref, id_ in inside.items():
            if id_ in builder.by_stix:
                builder.by_stix.setdefault(ref, builder.by_stix[id_][:1])
        return builder

    def _open_collecting(self, builder: EventBuilder, plan: Plan) -> None:
        """Mark and tag a collecting event with the level and producer that all members share."""
        workspace = self._workspace
        objects = workspace.objects
        workspace.contexts.collecting.add(plan.uuid)
        creators = {text(objects[id_].get("created_by_ref")) for id_ in plan.members}
        builder.creator = creators.pop() if len(creators) == 1 else None
        levels = {workspace.markings.of(objects[id_]).level for id_ in plan.members}
        level = plan.level or (levels.pop() if len(levels) == 1 else None)
        builder.mark(level)
        producer = workspace.tags.producer(builder.creator, builder.marking)
        if producer:
            builder.tags.add(producer)
        if plan.level is not None and plan.level == workspace.options.default_tlp:
            builder.mark(None)  # only the default says so; see `EventBuilder.level`

    def _observe(self) -> None:
        """Note in which events each object is.

        Then put observed-data on the elements of their observables.
        """
        workspace = self._workspace
        events_of = workspace.events_of
        for uuid, builder in workspace.builders.items():
            for id_ in builder.by_stix:
                events_of.setdefault(id_, []).append(uuid)
        handler = self._handlers[Role.OBSERVED]
        if not isinstance(handler, ObservedData):
            raise TypeError(Role.OBSERVED)
        for id_, obj in workspace.objects.items():
            if workspace.shapes[id_].table.role is Role.OBSERVED:
                handler.observe(id_, obj)
        for uuid, builder in workspace.builders.items():
            for id_ in builder.observed:
                events_of.setdefault(id_, []).append(uuid)

    def _link(self, plans: list[Plan]) -> None:
        """Draw relationships; then whatever had to wait for them; then show the context objects."""
        workspace = self._workspace
        workspace.events_of_containers.update(
            {str(plan.container["id"]): plan.uuid for plan in plans if plan.container is not None}
        )
        links = Links(workspace)
        for handler in self._handlers.values():
            handler.links = links
        shapes = workspace.shapes
        by_role = {role: handler.link for role, handler in self._handlers.items()}
        for id_, obj in workspace.objects.items():
            by_role[shapes[id_].table.role](id_, obj)
        for handler in self._handlers.values():
            handler.conclude()
        for plan in plans:
            workspace.contexts.finish(workspace.builders[plan.uuid])

    def _finish(self, plans: list[Plan]) -> list[Converted]:
        workspace = self._workspace
        confined = {
            uuid for uuid, builder in workspace.builders.items() if confining(builder.marking)
        }
        converted = [self._event(plan, workspace.builders[plan.uuid], confined) for plan in plans]
        converted.sort(key=lambda row: str(row.event["uuid"]))
        return converted

    def _event(self, plan: Plan, builder: EventBuilder, confined: Container[str]) -> Converted:
        """An event with its own fields."""
        options, contexts = self._workspace.options, self._workspace.contexts
        container = plan.container
        moments = [element.timestamp for element in builder.elements.values()]
        if container is not None:
            self._handlers[Role.CONTAINER].close(builder, container)
            moments.append(self._workspace.seconds_of(str(container["id"]), container))
        timestamp = max(moments, default=0) or options.now // 1_000_000
        info = self._info(plan, builder)
        fields: dict[str, Any] = {
            "info": info,
            "date": _day(plan, timestamp, options.now),
            "threat_level_id": _UNDEFINED_THREAT,
            "analysis": _REPORT if container is not None else _FEED,
            "distribution": "0",
            "published": False,
        }
        if plan.extends:
            fields["extends_uuid"] = plan.extends
        event = builder.finish(fields, timestamp)
        id_ = str(container["id"]) if container is not None else None
        names = {
            "report.name": info if id_ is not None else "",
            "report.id": id_ or "",
            "source.name": options.name,
            "event.info": info,
            "event.date": fields["date"],
            "event.tlp": builder.level or "",
            "event.uuid": plan.uuid,
        }
        clusters = (
            contexts.clusters(builder, options.name, options.default_tlp, confined)
            if options.describe
            else []
        )
        return Converted(
            event,
            id_,
            sorted({*builder.by_stix, *([id_] if id_ is not None else ())}),
            plan.members,
            {
                uuid: list(dict.fromkeys(element.stix_ids))
                for uuid, element in builder.elements.items()
            },
            plan.day,
            builder.marking.restricted,
            names,
            clusters=clusters,
            restricted=sorted(
                uuid for uuid, element in builder.elements.items() if element.marking.restricted
            ),
        )

    def _info(self, plan: Plan, builder: EventBuilder) -> str:
        """The title of an event.

        The name of its report, or that of the source with the day and level.
        """
        container, level = plan.container, builder.level
        source = self._workspace.options.name
        if container is not None:
            name = text(container.get("name")) or text(container.get("title"))
            name = name or str(container["id"])
        else:
            shown = f" (TLP:{level.upper()})" if level else ""
            day = f" {plan.day}" if plan.day else ""
            matter = self._matter(builder)
            name = f"{source if plan.day else plan.title or source} – {matter}{day}{shown}"
        info = one_line(storable(name))[:_INFO_MAX] or "(no name)"
        if container is not None and info != name:
            reason = Reason.CUT if len(name) > _INFO_MAX else Reason.MENDED
            self._workspace.fates.drop(str(container["id"]), [("name", Outcome.PRESERVED, reason)])
        return info

    def _matter(self, builder: EventBuilder) -> str:
        """The matter of a collecting event, for its title: that of its first kind of content."""
        workspace = self._workspace
        roles = {workspace.role(id_) for id_, uuids in builder.by_stix.items() if uuids}
        if Role.INDICATOR not in roles and Role.DETAIL in roles:
            types = {workspace.objects[id_]["type"] for id_ in builder.by_stix}
            if "vulnerability" in types:
                return "vulnerabilities"
        return next((name for role, name in _MATTERS if role in roles), "indicators")

    def _settle(self, kept: Set[str]) -> None:
        """Record what is in the events, let each role settle the rest, and write the ledger."""
        workspace, fates = self._workspace, self._workspace.fates
        shown: set[str] = set()
        for builder in workspace.builders.values():
            shown |= builder.shown
            for id_, uuids in builder.by_stix.items():
                if uuids:
                    fates.mapped(id_, uuids)
            for id_, uuids in builder.excluded.items():
                fates.mapped(id_, uuids)
        objects = workspace.objects
        for id_ in objects:
            if not fates.decided(id_):
                self._handlers[workspace.role(id_)].settle(id_, objects[id_])
        fates.write(
            workspace.ledger, workspace.shapes, workspace.sizes, workspace.embedded, shown, kept
        )


def _day(plan: Plan, timestamp: int, now: int) -> str:
    """The date of an event: that of its report's publication, or the day that it collects."""
    if plan.container is None:
        return plan.day or times.to_day(timestamp * 1_000_000)
    published = times.past(plan.container.get("published"), now)
    if published is None:
        published = times.past(plan.container.get("created"), now)
    return times.to_day(published if published is not None else timestamp * 1_000_000)
