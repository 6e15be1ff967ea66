"""From changed ids to events: the part of a pipeline between the store and the sinks, with no connection to either.

`Maker` is what a run, `find` and a dry run share: it selects what a change affects, converts that, and enriches it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stixbridge import times
from stixbridge.api import options
from stixbridge.conversion.to_misp.engine import Conversion
from stixbridge.enrich import Enrich, Enrichment
from stixbridge.errors import StixbridgeError
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.mapping import table_of
from stixbridge.mapping.tables import LINK_TYPES, Role
from stixbridge.misp.model import (
    NAMESPACE,
    Converted,
    all_attributes,
    derived_uuid,
    tag_names,
    uuid_of,
)
from stixbridge.misp.values import COMPOSITES
from stixbridge.pipeline.select import Affected, Loaded, Selector
from stixbridge.stix.reader import Entry
from stixbridge.stix.references import everything
from stixbridge.store import Store

_ROUNDS = 20
_BATCH = 20_000
"""Objects after which a batch is closed."""
_NEEDED = ("marking-definition", "extension-definition", "identity")
"""Types that others need to be understood: they stay though their source has them no longer."""
_NAMED = (Role.CONTEXT, Role.MARKING, Role.DEFINITION)
"""What events name, and what is in none of them by itself."""
_TAG = 'stixbridge:source="vanished"'
_CULPRITS = 20
"""Objects that the conversion fails on, of one batch; more are no accident of the data."""


@dataclass(slots=True)
class Made:
    """What a change makes.

    Attributes:
        wanted: events by UUID; None for a collecting event that is empty now.
        ledger: of the changed objects only.
    """

    wanted: dict[str, Converted | None] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)


@dataclass(slots=True)
class Batch:
    """A part of what changed.

    Attributes:
        changed: ids of objects whose events are to be made.
        named: ids of changed objects that events name; accounted wherever that is.
    """

    changed: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)


class Maker:
    """Makes the events of one pipeline.

    Args (of the constructor):
        pipeline: its name.
        source: the name of its source.
        store: where the objects are.
        enrich: settings for every event.
        settings: keyword arguments of `stixbridge.api.options`.
        engine: `native` or `misp-stix`.
        vanished: what becomes of objects that the source has no longer: `keep`, `tag`, `to_ids_off`, `delete`.
        expired_after: microseconds after its `valid_until` at which an indicator is left out; None for never.
        describe: whether events describe what no galaxy knows, for a sink that makes clusters of it.
    """

    def __init__(
        self,
        pipeline: str,
        source: str,
        store: Store,
        *,
        enrich: Enrich | Enrichment | None = None,
        settings: Mapping[str, Any] | None = None,
        engine: str = "native",
        vanished: str = "keep",
        expired_after: int | None = None,
        describe: bool = False,
    ) -> None:
        self.pipeline = pipeline
        self.source = source
        self.store = store
        self.settings = dict(settings or {})
        self.enrich = (
            enrich
            if isinstance(enrich, Enrichment)
            else Enrichment(enrich or Enrich(), galaxies=self.settings.get("galaxies"))
        )
        self.engine = engine
        self.vanished = vanished
        self.expired_after = expired_after
        self.describe = describe
        self._now = 0
        self._gone: set[str] = set()
        self._emptied: set[str] = set()

    def on(self, store: Store) -> Maker:
        """The same on another store."""
        enrich = self.enrich.keeping(store.answers)
        return Maker(
            self.pipeline,
            self.source,
            store,
            enrich=enrich,
            settings=self.settings,
            engine=self.engine,
            vanished=self.vanished,
            expired_after=self.expired_after,
            describe=self.describe,
        )

    def batches(self, changed: set[str], *, whole: bool = False) -> list[Batch]:
        """Changed objects in parts that fit into memory, one after the other giving what all at once would.

        Reports come first, each with what its event is made of, so that nothing of that is collected elsewhere
        before; then the rest, those of one day together, since they go to one event.

        Args:
            changed: ids.
            whole: whether that is everything in the store. Then every report is made, and an actor or malware that
                half of them name need not make all of those again.
        """
        if len(changed) <= _BATCH:
            return [Batch(changed)] if changed else []
        containers = (
            "report",
            "grouping",
            str(self.settings.get("group", "")).removeprefix("type:"),
        )
        batches = [Batch()]
        left = set(changed)

        def put(ids: set[str], named: set[str]) -> None:
            batches[-1].changed |= ids
            batches[-1].named |= named
            if len(batches[-1].changed) >= _BATCH:
                batches.append(Batch())

        for container, inside in self.store.objects.groups(self.source, containers):
            if container in changed:
                named = {
                    id_
                    for id_, type_ in inside
                    if whole and id_ in left and self._is_named(id_, type_)
                }
                ids = {container, *(id_ for id_, _ in inside)} & left - named
                left -= ids | named
                put(ids, named)
        for ids in self.store.objects.days_of_changed(self.source, left):
            put(ids, {id_ for id_ in ids if self._is_named(id_, id_.partition("--")[0])})
        return [batch for batch in batches if batch.changed or batch.named]

    def _is_named(self, id_: str, type_: str) -> bool:
        if table_of({"type": type_}).role not in _NAMED:
            return False
        if type_ != "malware":
            return True
        rows = self.store.objects.load(self.source, [id_])
        return id_ in rows and rows[id_][0].get("is_family") is not False

    def make(
        self,
        changed: set[str],
        rejected: Sequence[Entry],
        moment: int,
        named: Container[str] = frozenset(),
    ) -> Made:
        """Make the affected events.

        Args:
            changed: ids of the changed objects.
            rejected: bad entries, for the ledger.
            moment: the reference time, microseconds.
            named: ids that are accounted too, where they are in those events.
        """
        self._gone = set()
        self._now = moment
        aside = self.store.quarantine.left_out(self.pipeline, self.source)
        emptied = self._emptied = self._without_container(changed)
        # what was in them goes elsewhere, and so may what hung on anything else that is left out now
        drawn_in = {id_ for id_, _, _, _ in self.store.placements.members(self.pipeline, emptied)}
        if aside or self.vanished == "delete" or self.expired_after is not None:
            drawn_in |= self._hung_on_left_out(changed)
        affected, conversion = self._survived(changed | drawn_in, rejected, moment)
        if self.vanished == "tag":
            _tag(conversion.converted, self._gone)
        self.enrich.apply(conversion.converted, conversion.objects, conversion.ledger, self.source)
        self._suppress(conversion.converted, conversion.ledger)
        conversion.ledger.restrict(
            {id_ for id_ in affected.objects if id_ in changed or id_ in named}
        )
        aside |= self.store.quarantine.left_out(self.pipeline, self.source)  # by this conversion
        for id_ in sorted(changed - affected.objects.keys()):
            conversion.ledger.entry(
                id_, None, Outcome.DROPPED, aside.get(id_) or self._why_left_out(id_)
            )
        made = Made(ledger=conversion.ledger)
        for row in conversion.converted:
            made.wanted[str(row.event["uuid"])] = row
        for uuid in sorted((affected.events | emptied) - made.wanted.keys()):
            made.wanted[uuid] = None
        return made

    def _suppress(self, rows: Iterable[Converted], ledger: Ledger) -> None:
        """Let values on the suppression list detect nothing."""
        detecting = [
            (row, part) for row in rows for part in all_attributes(row.event) if part.get("to_ids")
        ]
        harmless = self.store.suppression.matching(
            {text for _, part in detecting for text in _detected(part)}
        )
        for row, part in detecting if harmless else ():
            if harmless & _detected(part):
                part["to_ids"] = False
                row.touched.append(("suppression list", str(part["uuid"]), "to_ids off"))
                ledger.note(
                    str(part["uuid"]),
                    "to_ids",
                    Outcome.DROPPED,
                    Reason.SUPPRESSED,
                    f"{part['value']}: to_ids off",
                )

    def _hung_on_left_out(self, changed: set[str]) -> set[str]:
        """What changed objects refer to that are left out, at any depth."""
        stored = self.store.objects.load(self.source, changed)
        waiting = stored.keys() - self._mend(stored).keys()
        found: set[str] = set()
        while waiting:
            rows = self.store.objects.load(self.source, waiting)
            waiting = {ref for obj, _ in rows.values() for ref in everything(obj)} - found
            found |= waiting
        return found

    def _without_container(self, changed: set[str]) -> set[str]:
        """The events of changed reports and the like that are there no longer: vanished, taken back, put aside."""
        kinds = ("report", "grouping", str(self.settings.get("group", "")).removeprefix("type:"))
        containers = {id_ for id_ in changed if id_.partition("--")[0] in kinds}
        if not containers:
            return set()
        there = self._mend(self.store.objects.load(self.source, containers))
        space = self.settings.get("uuid_namespace")
        uuids = {
            uuid
            for id_ in containers - there.keys()
            for uuid in (
                uuid_of(id_),
                derived_uuid(str(space).lower(), id_) if space else None,
                derived_uuid(NAMESPACE, "event", self.source, id_),
            )
            if uuid is not None
        }
        return {event for _, event, _, _ in self.store.placements.members(self.pipeline, uuids)}

    def _survived(
        self, changed: set[str], rejected: Sequence[Entry], moment: int
    ) -> tuple[Affected, Conversion]:
        """Convert, without the objects that the conversion fails on: those are put aside, for a person to look at."""
        before = False
        for _ in range(_CULPRITS):
            try:
                return self._converted(changed, rejected, moment)
            except (StixbridgeError, MemoryError, OSError):
                raise  # nothing that an object is to blame for
            except Exception as error:
                found = self._culprits(changed, moment)
                if not found and before:
                    # not by chance, and not found by halving: what just came is put aside
                    found = sorted(changed)
                before = not found
                for id_ in found:
                    self.store.quarantine.add(
                        self.pipeline, self.source, id_, f"{type(error).__name__}: {error}", moment
                    )
        return self._converted(changed, rejected, moment)

    def _culprits(self, changed: set[str], moment: int) -> list[str]:
        """What the conversion fails on: halved as long as one half alone makes it fail."""
        affected = self._selected(self._selector(), changed)

        def fails(ids: list[str]) -> bool:
            part = replace(affected, objects={id_: affected.objects[id_] for id_ in ids})
            try:
                self._convert(part, [], moment)
            except (StixbridgeError, MemoryError, OSError):
                raise
            except Exception:
                return True
            return False

        suspects = sorted(affected.objects)
        if not fails(suspects):
            return []  # it does not fail again: nothing in the objects
        while len(suspects) > 1:
            middle = len(suspects) // 2
            half = next(
                (part for part in (suspects[:middle], suspects[middle:]) if fails(part)), None
            )
            if half is None:  # it takes several of them: those that just came are put aside
                return [id_ for id_ in suspects if id_ in changed] or suspects
            suspects = half
        return suspects

    def _selector(self) -> Selector:
        group = str(self.settings.get("group", "report"))
        container = group.removeprefix("type:") if group.startswith("type:") else None
        return Selector(self.store, self.pipeline, self.source, container)

    def _selected(self, selector: Selector, touched: set[str]) -> Affected:
        """What a change affects, what is left out of it as well, and then without that."""
        affected = selector.select(touched)
        affected.objects = self._mend(affected.objects)
        affected.containers &= affected.objects.keys()
        affected.collect &= affected.objects.keys()
        # what was in the event of a report that is gone is there no more
        affected.placed = {
            id_: left for id_, events in affected.placed.items() if (left := events - self._emptied)
        }
        return affected

    def _mend(self, rows: Loaded) -> Loaded:
        """Leave out what is set aside, and treat what vanished as the policy says."""
        aside = self.store.quarantine.left_out(self.pipeline, self.source)
        # a marking is never left out: what refers to it would come out less restricted
        kept = {
            id_: row
            for id_, row in rows.items()
            if row[0]["type"] == "marking-definition"
            or (
                id_ not in aside and not self._is_over(row[0]) and not _is_revoked_container(row[0])
            )
        }
        if self.vanished == "keep":
            return kept
        gone = self.store.objects.vanished(self.source, kept)
        self._gone |= gone
        if self.vanished == "delete":
            return {
                id_: row
                for id_, row in kept.items()
                if id_ not in gone or row[0]["type"] in _NEEDED
            }
        if self.vanished == "to_ids_off":
            for id_ in gone:
                obj, added = kept[id_]
                if obj["type"] == "indicator":
                    kept[id_] = ({**obj, "revoked": True}, added)
        return kept

    def _why_left_out(self, id_: str) -> Reason:
        """Why a changed object is in no event, that nothing else says it of."""
        obj = self.store.objects.load(self.source, [id_]).get(id_, ({}, None))[0]
        if _is_revoked_container(obj):
            return Reason.REVOKED
        return (
            Reason.EXPIRED
            if self.expired_after is not None and id_ not in self._gone
            else Reason.VANISHED
        )

    def _is_over(self, obj: Mapping[str, Any]) -> bool:
        """Whether an indicator expired so long ago that its attributes go."""
        if self.expired_after is None or obj["type"] != "indicator":
            return False
        until = times.read(obj.get("valid_until"))
        return until is not None and until + self.expired_after <= self._now

    def _converted(
        self, changed: set[str], rejected: Sequence[Entry], moment: int
    ) -> tuple[Affected, Conversion]:
        """Convert what is affected, until nothing more is drawn in.

        Drawn in are objects elsewhere that say one of the values, and what is in a collecting event that gets more.
        """
        selector = self._selector()
        touched = set(changed)
        for _ in range(_ROUNDS):
            affected = self._selected(selector, touched)
            conversion = self._convert(affected, rejected, moment)
            values = [
                str(attribute["value"])
                for row in conversion.converted
                if row.container is None
                for attribute in row.event["Attribute"]
            ]
            others = set(self.store.placements.with_values(self.pipeline, values))
            # a collecting event that something joins is made again with all that is in it
            joined = [
                str(row.event["uuid"]) for row in conversion.converted if row.container is None
            ]
            others.update(
                id_ for id_, _, _, _ in self.store.placements.members(self.pipeline, joined)
            )
            others -= affected.collect
            if not others:
                break
            touched |= others
        return affected, conversion

    def _convert(self, affected: Affected, rejected: Sequence[Entry], moment: int) -> Conversion:
        settings = replace(
            options(now=moment, source=self.source, rest="day", **self.settings),
            delivered=affected.delivered,
            assigned=affected.assigned,
            date_added={
                id_: added for id_, (_, added) in affected.objects.items() if added is not None
            },
            containers=affected.containers,
            collect=affected.collect,
            placed={id_: frozenset(events) for id_, events in affected.placed.items()},
            describe=self.describe,
        )
        entries = [Entry("$", obj, id=id_) for id_, (obj, _) in affected.objects.items()]
        if self.engine == "misp-stix":
            from stixbridge.conversion.misp_stix import convert_entries as convert_officially

            return convert_officially([*entries, *rejected], settings)
        from stixbridge.conversion.to_misp.engine import convert_entries
        from stixbridge.misp.knowledge import load

        return convert_entries([*entries, *rejected], settings, load(settings.galaxies))

    def behind(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The STIX objects behind an event, as they came, with their producers, markings and links."""
        loaded = self.store.objects.load(self.source, ids)
        wanted: set[str] = set()
        for obj, _ in loaded.values():
            creator, markings = obj.get("created_by_ref"), obj.get("object_marking_refs")
            wanted.update(ref for ref in [creator] if isinstance(ref, str))
            wanted.update(
                ref
                for ref in (markings if isinstance(markings, list) else [])
                if isinstance(ref, str)
            )
        rows = self.store.objects.referrers(self.source, ids)
        wanted.update(id_ for id_, type_, _ in rows if type_ in LINK_TYPES)
        loaded.update(self.store.objects.load(self.source, wanted))
        return [loaded[id_][0] for id_ in sorted(loaded)]


def _tag(rows: Iterable[Converted], gone: set[str]) -> None:
    """Tag what only objects say that their source has no longer."""
    for row in rows:
        uuids = {uuid for uuid, ids in row.elements.items() if ids and gone.issuperset(ids)}
        alone = [part for part in row.event["Attribute"] if part["uuid"] in uuids]
        inside = [obj for obj in row.event["Object"] if obj["uuid"] in uuids]
        for attribute in (*alone, *all_attributes({"Object": inside})):
            if _TAG not in tag_names(attribute):
                attribute["Tag"] = [*(attribute.get("Tag") or []), {"name": _TAG}]


def _detected(part: Mapping[str, Any]) -> set[str]:
    """What an attribute detects: its value, and the halves of a composite one; of a file its hash, not its name."""
    value, kind = str(part["value"]), str(part["type"])
    if kind not in COMPOSITES:
        return {value}
    halves = value.split("|", 1)
    return {value, *(halves[1:] if kind.startswith("filename") else halves)}


def _is_revoked_container(obj: Mapping[str, Any]) -> bool:
    """Whether a report or grouping is revoked: it is no event any more, and what was in it goes elsewhere."""
    return obj.get("type") in ("report", "grouping") and obj.get("revoked") is True
