"""From changed ids to events: the part of a pipeline between the store and the sinks, with no connection to either.

`Maker` is what a run, `find` and a dry run share: it selects what a change affects, converts that, and enriches it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .affected import Affected, Selector
from .api import options
from .conversion.engine import Conversion
from .enrich import Enrich, Enrichment
from .ledger import Ledger
from .mapping.tables import LINK_TYPES
from .misp.model import Converted
from .sinks.delivery import RESTRICTED
from .stix.read import Entry
from .store import Store

_ROUNDS = 20


@dataclass(slots=True)
class Made:
    """What a change makes.

    Attributes:
        wanted: events by UUID; None for a collecting event that is empty now.
        ledger: of the changed objects only.
    """

    wanted: dict[str, Converted | None] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)


class Maker:
    """Makes the events of one pipeline.

    Args (of the constructor):
        pipeline: its name.
        source: the name of its source.
        store: where the objects are.
        enrich: settings for every event.
        settings: keyword arguments of `stixbridge.api.options`.
        engine: `native` or `misp-stix`.
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

    def on(self, store: Store) -> Maker:
        """The same on another store."""
        enrich = self.enrich.keeping(store.answers())
        return Maker(self.pipeline, self.source, store, enrich=enrich, settings=self.settings, engine=self.engine)

    def make(self, changed: set[str], rejected: Sequence[Entry], moment: int) -> Made:
        """Make the affected events.

        Args:
            changed: ids of the changed objects.
            rejected: bad entries, for the ledger.
            moment: the reference time, microseconds.
        """
        affected, conversion = self._converted(changed, rejected, moment)
        self.enrich.apply(conversion.converted, conversion.objects, conversion.ledger, self.source)
        conversion.ledger.restrict(changed)
        made = Made(ledger=conversion.ledger)
        for row in conversion.converted:
            if row.closed:
                row.event[RESTRICTED] = True
            made.wanted[str(row.event["uuid"])] = row
        for uuid in sorted(affected.events - made.wanted.keys()):
            made.wanted[uuid] = None
        return made

    def _converted(self, changed: set[str], rejected: Sequence[Entry], moment: int) -> tuple[Affected, Conversion]:
        """Convert what is affected, until nothing more is drawn in.

        Drawn in are objects elsewhere that say one of the values, and what is in a collecting event that gets more.
        """
        group = str(self.settings.get("group", "report"))
        container = group.removeprefix("type:") if group.startswith("type:") else None
        selector = Selector(self.store, self.pipeline, self.source, container)
        touched = set(changed)
        for _ in range(_ROUNDS):
            affected = selector.select(touched)
            conversion = self._convert(affected, rejected, moment)
            values = [
                str(attribute["value"])
                for row in conversion.converted
                if row.container is None
                for attribute in row.event["Attribute"]
            ]
            others = set(self.store.sharing(self.pipeline, values))
            # a collecting event that something joins is made again with all that is in it
            joined = [str(row.event["uuid"]) for row in conversion.converted if row.container is None]
            others.update(id_ for id_, _, _, _ in self.store.members(self.pipeline, joined))
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
            date_added={id_: added for id_, (_, added) in affected.objects.items() if added is not None},
            containers=affected.containers,
            collect=affected.collect,
            placed={id_: frozenset(events) for id_, events in affected.placed.items()},
        )
        entries = [Entry("$", obj, id=id_) for id_, (obj, _) in affected.objects.items()]
        if self.engine == "misp-stix":
            from .conversion.official import convert_entries as convert_officially

            return convert_officially([*entries, *rejected], settings)
        from .conversion.engine import convert_entries
        from .misp.knowledge import load

        return convert_entries([*entries, *rejected], settings, load(settings.galaxies))

    def behind(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The STIX objects behind an event, as they came, with their producers, markings and links."""
        loaded = self.store.load(self.source, ids)
        wanted: set[str] = set()
        for obj, _ in loaded.values():
            creator, markings = obj.get("created_by_ref"), obj.get("object_marking_refs")
            wanted.update(ref for ref in [creator] if isinstance(ref, str))
            wanted.update(ref for ref in (markings if isinstance(markings, list) else []) if isinstance(ref, str))
        rows = self.store.referrers(self.source, ids)
        wanted.update(id_ for id_, type_, _ in rows if type_ in LINK_TYPES)
        loaded.update(self.store.load(self.source, wanted))
        return [loaded[id_][0] for id_ in sorted(loaded)]
