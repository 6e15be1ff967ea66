"""The engine: STIX objects in, MISP events and a ledger out. Pure: no I/O, no clock, no state between calls.

The way of one object: `newest` (one version of it), `saying` (what it says), `_plan` (its events, in `grouping`),
`_build` (placed, merged and marked, in `assemble`; what stands `around` it), `_link` (relationships and sightings, in
`links`), `_finish` (the event's own fields), `accounting` (the ledger).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stixbridge import times
from stixbridge.conversion.to_misp import misp_export
from stixbridge.conversion.to_misp.accounting import Accounting
from stixbridge.conversion.to_misp.event_builder import Element, EventBuilder
from stixbridge.conversion.to_misp.galaxies import Contexts, confining, known_cluster
from stixbridge.conversion.to_misp.grouping import Grouping, Plan
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking, Markings, statement_of
from stixbridge.conversion.to_misp.newest import newest
from stixbridge.conversion.to_misp.notes import Notes
from stixbridge.conversion.to_misp.options import Options
from stixbridge.conversion.to_misp.original_objects import Preserving
from stixbridge.conversion.to_misp.relationships import Link, Links, links_of
from stixbridge.conversion.to_misp.supplements import Around, seen
from stixbridge.conversion.to_misp.tags import Tagging, text
from stixbridge.conversion.to_misp.translate import Said
from stixbridge.conversion.to_misp.translations import Sayings
from stixbridge.ledger import Drop, Ledger, Outcome, Reason
from stixbridge.mapping import malware, table_of
from stixbridge.mapping.dialects.misp_export import TOOLS
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import Converted, one_line
from stixbridge.misp.values import storable
from stixbridge.stix.reader import Entry
from stixbridge.stix.references import parts
from stixbridge.stix.schema import shaped
from stixbridge.stix.upgrade import lift, observables_of

StixObject = dict[str, Any]

_WITH_ITS_OWNER = ("object_marking_refs", "granular_markings")
_FEED, _REPORT = "0", "2"
_UNDEFINED_THREAT = "4"
_INFO_MAX = 1_000


@dataclass(slots=True)
class Conversion:
    """The outcome of one call: the events, the ledger, and the objects that were converted, in shape."""

    converted: list[Converted]
    ledger: Ledger
    objects: Mapping[str, StixObject] = field(default_factory=dict)


def convert_entries(entries: Iterable[Entry], options: Options, knowledge: Knowledge) -> Conversion:
    """Convert what a reader found.

    Args:
        entries: usable objects and unusable entries.
        options: see `Options`.
        knowledge: MISP's types, templates and galaxies.

    Returns:
        Events sorted by UUID, and the ledger. Same entries in any order and same options, same bytes.
    """
    return _Engine(options, knowledge).run(entries)


class _Engine:
    def __init__(self, options: Options, knowledge: Knowledge) -> None:
        self._options = options
        self._knowledge = knowledge
        self._ledger = Ledger(times.to_text(options.now))
        self._objects: dict[str, StixObject] = {}
        self._originals: dict[str, StixObject] = {}
        self._inner: dict[str, tuple[str, str]] = {}
        self._sizes: dict[str, int] = {}
        self._shape_drops: dict[str, list[Drop]] = {}
        self._extensions: set[str] = set()
        self._taken: set[str] = set()
        self._linked: dict[str, tuple[Outcome, Reason | None, str | None]] = {}

    def run(self, entries: Iterable[Entry]) -> Conversion:
        self._choose(entries)
        known = self._options.from_misp
        self._from_misp = (
            misp_export.made_by_misp(self._objects.values()) if known is None else known
        )
        self._tables = {id_: self._table_of(obj) for id_, obj in self._objects.items()}
        self._markings = Markings(self._objects)
        self._contexts = Contexts(self._objects, self._tables, self._knowledge, self._markings)
        self._sayings = Sayings(self._objects, self._tables, self._options, self._knowledge)
        for id_, drops in self._shape_drops.items():
            self._sayings.drops.setdefault(id_, []).extend(drops)
        self._tagging = Tagging(self._objects, self._options, self._knowledge, self._markings)
        self._around = Around(
            self._objects,
            self._tables,
            self._options,
            self._markings,
            self._sayings,
            self._extensions,
        )
        plans = self._plan()
        self._linked_clusters = self._clusters_of_elements() if self._from_misp else frozenset()
        builders = {plan.uuid: self._build(plan) for plan in plans}
        self._observe(builders)
        self._link(plans, builders)
        kept: Container[str] = ()
        if self._options.preserve == "source":
            preserving = Preserving(self._originals, self._objects, self._tables, self._markings)
            preserving.attach(plans, builders)
            kept = preserving.kept
        self._confined = {
            uuid for uuid, builder in builders.items() if confining(builder.confinement.marking)
        }
        converted = [self._finish(plan, builders[plan.uuid]) for plan in plans]
        placed = {
            id_ for builder in builders.values() for id_, uuids in builder.by_stix.items() if uuids
        }
        Accounting(
            self._objects,
            self._tables,
            self._sizes,
            self._inner,
            self._linked,
            placed,
            self._markings,
            self._sayings,
            self._contexts,
            self._tagging,
            self._extensions,
            kept,
        ).write(self._ledger)
        converted.sort(key=lambda row: str(row.event["uuid"]))
        return Conversion(converted, self._ledger, self._objects)

    # 1. the objects

    def _choose(self, entries: Iterable[Entry]) -> None:
        """The newest version of each object, put into shape and lifted to 2.1."""
        chosen = newest(entries, self._ledger)
        if self._options.preserve == "source":
            self._originals = chosen
        for id_ in sorted(chosen):
            obj, drops = shaped(chosen[id_])
            self._objects[id_] = lift(obj)
            self._sizes[id_] = len(chosen[id_])
            if drops:
                self._shape_drops[id_] = drops
        for id_, obj in list(self._objects.items()):
            if obj["type"] == "observed-data" and "objects" in obj:
                self._lift_observables(id_, obj)

    def _table_of(self, obj: StixObject) -> Table:
        if self._from_misp:
            table = misp_export.table_of(obj)
            if table is not None:
                return table
        table = table_of(obj)
        if table is malware.TABLE and obj.get("is_family") is False:
            # a specimen, unless it goes by the name of a family that MISP knows
            return table if known_cluster(obj, table, self._knowledge) else malware.INSTANCE
        return table

    def _lift_observables(self, id_: str, obj: StixObject) -> None:
        inner, left_out = observables_of(obj)
        drops = self._shape_drops.setdefault(id_, [])
        drops.extend((f"objects.{key}", Outcome.DROPPED, reason) for key, reason in left_out)
        for key, observable in inner.items():
            fitted, bad = shaped(observable)
            drops.extend((f"objects.{key}.{path}", how, why) for path, how, why in bad)
            # it ends with what it is in, and is marked as that is
            fitted = {
                **fitted,
                **{
                    name: obj[name]
                    for name in _WITH_ITS_OWNER
                    if name in obj and name not in fitted
                },
            }
            if obj.get("revoked") is True:
                fitted["revoked"] = True
            self._inner[fitted["id"]] = (id_, key)
            self._objects[fitted["id"]] = fitted
        refs = [*obj.get("object_refs", ()), *(row["id"] for row in inner.values())]
        self._objects[id_] = {**obj, "object_refs": refs}

    # 2. which events there are

    def _plan(self) -> list[Plan]:
        options = self._options
        self._grouping = Grouping(
            self._objects,
            self._tables,
            options,
            self._markings,
            {id_: outer for id_, (outer, _) in self._inner.items()},
        )
        # in no report, an identity is an event's matter only where something other than authorship speaks of it
        spoken_of = self._spoken_of()
        free = {
            id_: what
            for id_, what in self._sayings.said.items()
            if not what.empty and (id_ in spoken_of or self._objects[id_]["type"] != "identity")
        }
        refused = {id_ for id_ in self._sayings.ended if id_ not in self._options.delivered}
        return self._grouping.plan(free, refused)

    def _spoken_of(self) -> set[str]:
        found: set[str] = set()
        for obj in self._objects.values():
            if obj["type"] == "relationship":
                found.update(
                    ref
                    for ref in (obj.get("source_ref"), obj.get("target_ref"))
                    if isinstance(ref, str)
                )
            elif obj["type"] in ("report", "grouping"):
                found.update(parts(obj))
            elif obj["type"] in ("observed-data", "note", "opinion"):
                found.update(obj.get("object_refs") or ())
            elif obj["type"] == "sighting":
                found.add(obj.get("sighting_of_ref", ""))
        return found

    def _clusters_of_elements(self) -> frozenset[str]:
        """Clusters that an export puts on attributes and objects, and so not on the event."""
        records = {id_ for id_, table in self._tables.items() if table.role is Role.RECORD}
        return frozenset(
            str(obj.get("target_ref"))
            for obj in self._objects.values()
            if obj["type"] == "relationship" and obj.get("source_ref") in records
        )

    # 3. building

    def _build(self, plan: Plan) -> EventBuilder:
        builder = EventBuilder(plan.uuid, self._knowledge, self._options.default_tlp, self._taken)
        container = plan.container
        event_creator: str | None = None
        if container is not None:
            marking = self._markings.of(container)
            if self._from_misp:
                marking = marking.joined(misp_export.marking_of(container))
            builder.confinement.add(marking)
            self._statements(builder, marking)
            event_creator = text(container.get("created_by_ref"))
            from_misp = not TOOLS.isdisjoint(container.get("labels") or ())
            builder.tags |= self._tagging.of(container, None, from_misp=from_misp)
        else:
            creators = {text(self._objects[id_].get("created_by_ref")) for id_ in plan.members}
            if len(creators) == 1:
                event_creator = creators.pop()
            builder.confinement.level = plan.level or self._common_level(plan.members)
            if event_creator is not None:
                producer = self._tagging.producer(event_creator, builder.confinement.marking)
                if producer:
                    builder.tags.add(producer)
            if plan.level is not None and plan.level == self._options.default_tlp:
                builder.confinement.level = (
                    None  # nothing but the default says so; see `default_level`
                )
        said_inside = {
            ref: id_
            for id_ in plan.members
            if id_ in self._sayings.said
            for ref in self._sayings.said[id_].consumed
        }
        for id_ in plan.members:
            obj = self._objects[id_]
            said = self._sayings.said.get(id_)
            if self._contexts.is_context(id_):
                if not self._contexts.gone(id_) and id_ not in self._linked_clusters:
                    self._contexts.on(plan.uuid, id_)
            elif self._tables[id_].role is Role.EVENT_REPORT:
                self._event_report(builder, id_, obj)
            elif said is not None and not said.empty and id_ not in said_inside:
                marking = self._marking(obj, said)
                self._statements(builder, marking)
                modified = times.read(obj.get("modified")) or times.read(obj.get("created"))
                seconds = (modified or self._options.date_added.get(id_, 0)) // 1_000_000
                live = id_ in self._sayings.live
                from_record = self._tables[id_].role is Role.RECORD
                tags = self._tagging.of(obj, event_creator, from_misp=from_record)
                builder.place(id_, said, marking, tags, seconds, detects=live)
                self._around.tell(builder, id_, obj, marking, seconds)
        for ref, id_ in said_inside.items():
            if id_ in builder.by_stix:
                builder.by_stix.setdefault(ref, builder.by_stix[id_][:1])
        return builder

    def _event_report(self, builder: EventBuilder, id_: str, obj: StixObject) -> None:
        """An event report that MISP wrote, with its own UUID."""
        name = text(obj.get("x_misp_name")) or text(obj.get("abstract")) or "(no name)"
        content = text(obj.get("x_misp_content")) or text(obj.get("content")) or ""
        builder.restore_report(id_, one_line(name), content, self._markings.of(obj))
        self._outcome(id_, Outcome.MAPPED, None, "event report")

    def _marking(self, obj: StixObject, said: Said) -> Marking:
        """An object's markings, joined with those of what it is made of."""
        marking = self._markings.of(obj)
        if self._from_misp:
            marking = marking.joined(misp_export.marking_of(obj))
        for ref in (*said.consumed, *said.taken):
            marking = marking.joined(self._markings.of(self._objects[ref]))
        return marking

    def _common_level(self, members: list[str]) -> str | None:
        """The level of a collecting event: that of its members where all have the same."""
        levels = {self._markings.of(self._objects[id_]).level for id_ in members}
        return levels.pop() if len(levels) == 1 else None

    def _statements(self, builder: EventBuilder, marking: Marking) -> None:
        for ref in marking.statements:
            builder.tell("Statements", ref, statement_of(self._objects[ref]) or "", UNMARKED)

    def _observe(self, builders: Mapping[str, EventBuilder]) -> None:
        """Observed-data says when its observables were seen, wherever they are."""
        holding: dict[str, list[EventBuilder]] = {}
        for builder in builders.values():
            for ref in builder.by_stix:
                holding.setdefault(ref, []).append(builder)
        for id_, obj in self._objects.items():
            if self._tables[id_].role is not Role.OBSERVED or obj.get("revoked") is True:
                continue
            refs = obj.get("object_refs") or ()
            for builder in {
                id(builder): builder for ref in refs for builder in holding.get(ref, ())
            }.values():
                elements = {
                    element.uuid: element for ref in refs for element in builder.elements_of(ref)
                }
                builder.by_stix[id_] = list(elements)
                for element in elements.values():
                    self._observed(element, id_, obj)

    def _observed(self, element: Element, id_: str, obj: StixObject) -> None:
        element.confinement.add(self._markings.of(obj))
        seen(element, obj.get("first_observed"), obj.get("last_observed"))
        count = obj.get("number_observed")
        if isinstance(count, int) and count > 1:
            element.comments[f"observed {count} times"] = None
        element.stix_ids[id_] = None

    # 4. links

    def _link(self, plans: list[Plan], builders: dict[str, EventBuilder]) -> None:
        """Relationships first, those between contexts last: only then is it known which contexts are shown where."""
        links = Links(self._objects, builders, self._contexts, self._options)
        between: list[tuple[str, StixObject]] = []
        sightings: list[tuple[str, StixObject]] = []
        for id_, obj in self._objects.items():
            if obj["type"] == "relationship":
                if self._inactive(id_, obj):
                    continue
                source, target = text(obj.get("source_ref")), text(obj.get("target_ref"))
                if (
                    source
                    and target
                    and self._contexts.is_context(source)
                    and self._contexts.is_context(target)
                ):
                    between.append((id_, obj))
                else:
                    self._outcome(id_, *links.relationship(id_, obj, self._markings.of(obj)))
            elif self._tables[id_].role is Role.SIGHTED:
                sightings.append((id_, misp_export.sighting_of(obj, self._objects)))
            elif obj["type"] == "sighting":
                if not self._inactive(id_, obj):
                    sightings.append((id_, obj))
            else:
                if id_ in self._sayings.refused:
                    continue
                said = self._sayings.said.get(id_)
                taken_in = said.consumed if said is not None else ()
                if id_ in self._sayings.recorded:
                    continue
                linked = links_of(obj, self._tables[id_])
                if self._tables[id_].role is Role.RECORD and obj["type"] == "note":
                    linked = [("annotates", ref) for ref in obj.get("object_refs") or ()]
                for verb, ref in linked:
                    if ref in self._objects and ref not in taken_in:
                        links.link(Link(id_, id_, verb, ref, self._markings.of(obj)))
        for id_, obj in between:
            self._outcome(id_, *links.relationship(id_, obj, self._markings.of(obj)))
        for id_, obj in sightings:
            marking = self._markings.of(obj)
            creator = self._objects.get(text(obj.get("created_by_ref")) or "")
            named = creator is not None and self._markings.may_name(creator, marking)
            name = text(creator.get("name")) if creator is not None and named else None
            self._outcome(id_, *links.sighting(id_, obj, name, marking))
        notes = Notes(self._objects, plans, builders, self._contexts, self._markings)
        for id_, obj in self._objects.items():
            role = self._tables[id_].role
            if role in (Role.NOTE, Role.TRANSLATION) and not self._inactive(id_, obj):
                marking = self._markings.of(obj)
                if role is Role.NOTE:
                    self._outcome(id_, *notes.note(id_, obj, marking))
                else:
                    self._outcome(id_, *notes.translation(id_, obj, marking))
        for plan in plans:
            self._contexts.finish(builders[plan.uuid])

    def _inactive(self, id_: str, obj: StixObject) -> bool:
        if obj.get("revoked") is True:
            self._sayings.refused[id_] = (Outcome.DROPPED, Reason.REVOKED)
            return True
        return False

    def _outcome(
        self, id_: str, outcome: Outcome, reason: Reason | None, target: str | None
    ) -> None:
        self._linked[id_] = (outcome, reason, target)

    # 5. the event's own fields

    def _finish(self, plan: Plan, builder: EventBuilder) -> Converted:
        container = plan.container
        options = self._options
        moments = [element.timestamp for element in builder.elements.values()]
        if container is not None:
            self._around.tell_container(builder, container)
            moments.append(
                (times.read(container.get("modified")) or times.read(container.get("created")) or 0)
                // 1_000_000
            )
        timestamp = max(moments, default=0) or options.now // 1_000_000
        level = builder.level
        if container is not None:
            name = (
                text(container.get("name")) or text(container.get("title")) or str(container["id"])
            )
            published = times.read(container.get("published")) or times.read(
                container.get("created")
            )
            day = times.to_day(published if published is not None else timestamp * 1_000_000)
        else:
            day = plan.day or times.to_day(timestamp * 1_000_000)
            shown = f" (TLP:{level.upper()})" if level else ""
            name = (
                f"{options.name} – indicators {plan.day}{shown}"
                if plan.day
                else f"{plan.title or options.name} – indicators{shown}"
            )
        info = one_line(storable(name))[:_INFO_MAX] or "(no name)"
        if container is not None and info != name:
            how = Reason.CUT if len(name) > _INFO_MAX else Reason.MENDED
            self._sayings.drops.setdefault(str(container["id"]), []).append(
                ("name", Outcome.PRESERVED, how)
            )
        fields: dict[str, Any] = {
            "info": info,
            "date": day,
            "threat_level_id": _UNDEFINED_THREAT,
            "analysis": _REPORT if container is not None else _FEED,
            "distribution": "0",
            "published": False,
        }
        if plan.extends:
            fields["extends_uuid"] = plan.extends
        event = builder.finish(fields, timestamp)
        elements = {uuid: list(element.stix_ids) for uuid, element in builder.elements.items()}
        ids = sorted({*builder.by_stix, *([str(container["id"])] if container is not None else ())})
        names = {
            "report.name": info if container is not None else "",
            "report.id": str(container["id"]) if container is not None else "",
            "source.name": options.name,
            "event.info": info,
            "event.date": day,
            "event.tlp": level or "",
            "event.uuid": plan.uuid,
        }
        return Converted(
            event,
            str(container["id"]) if container is not None else None,
            ids,
            plan.members,
            elements,
            plan.day,
            builder.confinement.restricted,
            names,
            clusters=self._contexts.clusters(
                builder, options.name, options.default_tlp, self._confined
            )
            if options.describe
            else [],
        )
