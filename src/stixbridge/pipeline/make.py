"""From changed ids to events.

The part of a pipeline between the store and the sinks, with no connection to either.

`Maker` is what a run, `find` and a dry run share: it finds what a change affects, converts that,
and enriches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stixbridge.conversion.settings import ConvertSettings
from stixbridge.conversion.to_misp.engine import Conversion
from stixbridge.enrich import Enrich, Enrichment
from stixbridge.ledger import Account, Ledger, Outcome
from stixbridge.mapping.tables import LINK_TYPES
from stixbridge.misp.model import NAMESPACE, Converted, derived_uuid, uuid_of
from stixbridge.pipeline import quarantine
from stixbridge.pipeline.affected import Search, container_types, slices, type_of
from stixbridge.pipeline.batches import Batch, Packing
from stixbridge.pipeline.lifecycle import Lifecycle, Policy
from stixbridge.pipeline.select import Selection, Selector
from stixbridge.pipeline.suppress import suppress
from stixbridge.pipeline.unshown import Unshown
from stixbridge.stix.reader import Entry
from stixbridge.stix.references import everything
from stixbridge.store import Store

_ROUNDS = 20
_AT_ONCE = 2_000


@dataclass(slots=True)
class Plan:
    """What a run makes.

    Attributes:
        changed: ids of the objects that the run accounts for.
        batches: the events to make, in order.
        emptied: events of reports that are no more.
        now: the reference time, microseconds.
        in_reports: ids that turned out to be in an event of a report.
        unshown: changed objects whose change no event shows, with what becomes of each.
    """

    changed: set[str]
    batches: list[Batch]
    emptied: set[str]
    now: int
    in_reports: set[str] = field(default_factory=set)
    unshown: Mapping[str, Account] = field(default_factory=dict)

    def is_first(self, batch: Batch) -> bool:
        """Whether a batch is made before all others."""
        return not self.batches or batch is self.batches[0]


@dataclass(slots=True)
class Made:
    """What a batch makes.

    Attributes:
        wanted: events by UUID; None for a collecting event that is empty now.
        ledger: of what was converted.
        inside: ids that are in the events, or belong to them.
        open: something that no event holds yet is joined to what is inside.
    """

    wanted: dict[str, Converted | None] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    inside: set[str] = field(default_factory=set)
    open: bool = False


class Maker:
    """Makes the events of one pipeline.

    Args (of the constructor):
        pipeline: its name.
        source: the name of its source.
        store: where the objects are.
        enrich: settings for every event.
        settings: how it converts.
        policy: what becomes of objects whose life has ended.
    """

    def __init__(
        self,
        pipeline: str,
        source: str,
        store: Store,
        *,
        enrich: Enrich | Enrichment | None = None,
        settings: ConvertSettings | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.source = source
        self.store = store
        self.settings = settings or ConvertSettings()
        self.policy = policy or Policy()
        self.enrich = (
            enrich
            if isinstance(enrich, Enrichment)
            else Enrichment(enrich or Enrich(), galaxies=self.settings.galaxies)
        )
        self._types = container_types(self.settings.group)
        self._selector = Selector(store, pipeline, source, self._types)

    def on(self, store: Store) -> Maker:
        """The same on another store."""
        return Maker(
            self.pipeline,
            self.source,
            store,
            enrich=self.enrich.keeping(store.answers),
            settings=self.settings,
            policy=self.policy,
        )

    # 1. plan

    def plan(self, changed: set[str], now: int, *, done: int = 0, whole: bool = False) -> Plan:
        """Find what is to be made, ids only.

        Args:
            changed: ids of the changed objects.
            now: the reference time, microseconds.
            done: the seq up to which everything has been delivered.
            whole: whether that is everything in the store.
        """
        unshown = {} if whole or not done else self._unshown(changed, done, now)
        shown = changed - unshown.keys()
        emptied = self._without_container(changed, now)
        search = Search(self.store, self.pipeline, self.source, self._types)
        if whole:
            affected = search.everything(changed)
        else:
            # what was in the event of a report that is no more goes elsewhere
            homeless = {
                id_ for id_, *_ in self.store.placements.members(self.pipeline, emptied)
            } | self._hung_on_left_out(changed, now)
            affected = search.affected(shown | homeless, homeless)
        group = self.settings.group
        by = "day" if group == "report" else group
        packing = Packing(self.store, self.pipeline, self.source, self._types, by, now)
        return Plan(changed, packing.batches(affected), emptied, now, unshown=unshown)

    def _unshown(self, changed: set[str], done: int, now: int) -> Mapping[str, Account]:
        """The changed context objects whose change no event shows."""
        settings = self.settings
        if (
            settings.engine != "native"
            or settings.preserve != "none"
            or self.policy.vanished != "keep"
            or self.enrich.reads_objects
        ):
            return {}

        def convert(entries: list[Entry]) -> Conversion:
            selection = Selection({str(entry.id): (entry.obj or {}, None) for entry in entries})
            selection.containers = set(selection.objects)
            return self._convert(selection, (), now)

        contexts = {id_ for id_ in changed if type_of(id_) not in self._types}
        return Unshown(self.store, self.pipeline, self.source, convert).accounts(contexts, done)

    def _without_container(self, changed: set[str], now: int) -> set[str]:
        """The events of changed reports and the like that take no part any more."""
        result: set[str] = set()
        for ids in slices((id_ for id_ in changed if type_of(id_) in self._types), _AT_ONCE):
            missing = self._lifecycle(now).missing(ids)
            uuids = {uuid for id_ in missing for uuid in self._uuids(id_)}
            members = self.store.placements.members(self.pipeline, uuids)
            result.update(event for _, event, _, _ in members)
        return result

    def _uuids(self, container: str) -> set[str]:
        """The UUIDs that the event of a container may have."""
        space = self.settings.uuid_namespace
        uuids = (
            uuid_of(container),
            derived_uuid(space.lower(), container) if space else None,
            derived_uuid(NAMESPACE, "event", self.source, container),
        )
        return {uuid for uuid in uuids if uuid is not None}

    def _hung_on_left_out(self, changed: set[str], now: int) -> set[str]:
        """What changed objects refer to that take no part any more, at any depth."""
        lifecycle = self._lifecycle(now)
        if not lifecycle.may_leave_out:
            return set()
        waiting: set[str] = set()
        for ids in slices(changed, _AT_ONCE):
            waiting |= lifecycle.missing(ids)
        result: set[str] = set()
        while waiting:
            rows = self.store.objects.load(self.source, waiting)
            waiting = {ref for obj, _ in rows.values() for ref in everything(obj)} - result
            result |= waiting
        return result

    # 2. make

    def make(self, plan: Plan, batch: Batch, rejected: Sequence[Entry] = ()) -> Made:
        """Make the events of a batch.

        Args:
            plan: that it is of.
            batch: the events.
            rejected: bad entries, for the ledger.
        """
        lifecycle = self._lifecycle(plan.now)
        selection, conversion = self._survived(plan, batch, lifecycle, rejected)
        lifecycle.tag(conversion.converted)
        self.enrich.apply(conversion.converted, conversion.objects, conversion.ledger, self.source)
        suppress(conversion.converted, self.store.suppression, conversion.ledger)
        made = Made(ledger=conversion.ledger, inside=selection.containers | selection.collect)
        for row in conversion.converted:
            made.wanted[str(row.event["uuid"])] = row
            made.inside.update(row.stix_ids, row.members)
            if row.container is not None:
                plan.in_reports.update(row.members)
        emptied = plan.emptied if plan.is_first(batch) else set[str]()
        for uuid in sorted((selection.events | emptied) - made.wanted.keys()):
            made.wanted[uuid] = None
        made.open = len(plan.batches) > 1 and selection.reaches_out(made.inside)
        return made

    def account(self, plan: Plan, ids: Iterable[str]) -> Ledger:
        """What became of changed objects that no event holds or shows."""
        result = Ledger()
        for some in slices(ids, _AT_ONCE):
            lifecycle = self._lifecycle(plan.now)
            selection, conversion = self._survived(
                plan, Batch(loose=some), lifecycle, (), collect=False
            )
            conversion.ledger.restrict(some)
            for id_ in sorted(some - selection.objects.keys()):
                conversion.ledger.entry(id_, None, Outcome.DROPPED, lifecycle.reason(id_))
            result.merge(conversion.ledger)
        return result

    def _lifecycle(self, now: int) -> Lifecycle:
        return Lifecycle(self.store, self.pipeline, self.source, self.policy, now)

    def _survived(
        self,
        plan: Plan,
        batch: Batch,
        lifecycle: Lifecycle,
        rejected: Sequence[Entry],
        *,
        collect: bool = True,
    ) -> tuple[Selection, Conversion]:
        """Convert a batch, without the objects that the conversion fails on."""

        def select() -> Selection:
            selection = self._selected(plan, batch, lifecycle)
            if not collect:
                selection.collect.clear()
            return selection

        def convert() -> tuple[Selection, Conversion]:
            if not collect:
                selection = select()
                return selection, self._convert(selection, rejected, plan.now)
            return self._converted(plan, batch, lifecycle, rejected)

        def culprits() -> list[str]:
            selection = select()

            def some(ids: list[str]) -> None:
                part = replace(selection, objects={id_: selection.objects[id_] for id_ in ids})
                self._convert(part, (), plan.now)

            return quarantine.culprits(selection.objects, some, plan.changed)

        def put_aside(id_: str, error: Exception) -> None:
            what = f"{type(error).__name__}: {error}"
            self.store.quarantine.add(self.pipeline, self.source, id_, what, plan.now)

        new = plan.changed & (batch.containers | batch.loose)
        return quarantine.survived(convert, culprits, put_aside, new)

    def _selected(self, plan: Plan, batch: Batch, lifecycle: Lifecycle) -> Selection:
        """What the events of a batch are made of, without what takes no part."""
        selection = self._selector.select(batch, plan.in_reports)
        selection.objects = lifecycle.remaining(selection.objects)
        selection.containers &= selection.objects.keys()
        selection.collect &= selection.objects.keys()
        # what was in the event of a report that is no more is there no longer
        selection.placed = {
            id_: left for id_, events in selection.placed.items() if (left := events - plan.emptied)
        }
        return selection

    def _converted(
        self, plan: Plan, batch: Batch, lifecycle: Lifecycle, rejected: Sequence[Entry]
    ) -> tuple[Selection, Conversion]:
        """Convert a batch, until nothing more is drawn in.

        Drawn in are objects elsewhere that say one of the values, and what is in a collecting event
        that gets more.
        """
        placements = self.store.placements
        batch = replace(batch, collecting=set(batch.collecting), loose=set(batch.loose))
        for _ in range(_ROUNDS):
            selection = self._selected(plan, batch, lifecycle)
            conversion = self._convert(selection, rejected, plan.now)
            rows = [row for row in conversion.converted if row.container is None]
            values = [
                str(attribute["value"]) for row in rows for attribute in row.event["Attribute"]
            ]
            sharing = set(placements.with_values(self.pipeline, values)) - selection.collect
            events = {
                event
                for _, event, collecting, _ in placements.placed(self.pipeline, sharing)
                if collecting
            }
            # a collecting event that something joins is made again with all that is in it
            joined = {str(row.event["uuid"]) for row in rows} - batch.collecting
            events.update(event for _, event, _, _ in placements.members(self.pipeline, joined))
            if events <= batch.collecting:
                break
            batch.collecting |= events
        return selection, conversion

    def _convert(self, selection: Selection, rejected: Sequence[Entry], now: int) -> Conversion:
        settings = replace(
            self.settings.options(now, self.source, "day"),
            delivered=selection.delivered,
            assigned=selection.assigned,
            date_added={
                id_: added for id_, (_, added) in selection.objects.items() if added is not None
            },
            containers=selection.containers,
            collect=selection.collect,
            placed={id_: frozenset(events) for id_, events in selection.placed.items()},
        )
        entries = [Entry("$", obj, id=id_) for id_, (obj, _) in selection.objects.items()]
        if self.settings.engine == "misp-stix":
            from stixbridge.conversion.misp_stix import convert_entries as convert_officially

            return convert_officially([*entries, *rejected], settings)
        from stixbridge.conversion.to_misp.engine import convert_entries
        from stixbridge.misp.knowledge import load

        return convert_entries([*entries, *rejected], settings, load(settings.galaxies))

    def behind(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The STIX objects behind an event as they came.

        Their producers, markings and links are with them.
        """
        objects = self.store.objects
        loaded = objects.load(self.source, ids)
        wanted: set[str] = set()
        for obj, _ in loaded.values():
            creator, markings = obj.get("created_by_ref"), obj.get("object_marking_refs")
            refs = [creator, *(markings if isinstance(markings, list) else [])]
            wanted.update(ref for ref in refs if isinstance(ref, str))
        rows = objects.referrers(self.source, ids)
        wanted.update(id_ for id_, type_, _ in rows if type_ in LINK_TYPES)
        loaded.update(objects.load(self.source, wanted))
        return [loaded[id_][0] for id_ in sorted(loaded)]
