"""The workspace of one conversion.

The objects, what is known of them, and the parts that all stages use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stixbridge import times
from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.fates import Fates
from stixbridge.conversion.to_misp.galaxies import Contexts
from stixbridge.conversion.to_misp.known_clusters import known_cluster
from stixbridge.conversion.to_misp.markings import Markings
from stixbridge.conversion.to_misp.misp_export_labels import is_cluster
from stixbridge.conversion.to_misp.misp_export_labels import table_of as table_of_export
from stixbridge.conversion.to_misp.misp_extensions import definitions_of, restored
from stixbridge.conversion.to_misp.newest import newest
from stixbridge.conversion.to_misp.options import Options
from stixbridge.conversion.to_misp.shapes import Shape, shape_of
from stixbridge.conversion.to_misp.tags import Tags
from stixbridge.conversion.to_misp.translate import Translator
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.mapping import malware, table_of
from stixbridge.mapping.dialects.misp_export import HALVES
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.knowledge import Knowledge
from stixbridge.stix.reader import Entry
from stixbridge.stix.schema import shaped
from stixbridge.stix.upgrade import lift, observables_of

StixObject = dict[str, Any]

_WITH_ITS_OWNER = ("object_marking_refs", "granular_markings")


class Workspace:
    """What the stages of one conversion share.

    Attributes:
        options: of the conversion.
        knowledge: MISP's types, templates and galaxies.
        ledger: takes the fates at the end.
        fates: takes what becomes of each object, when it is decided.
        objects: the chosen version of each object, in shape and lifted to STIX 2.1, in the order of
            their ids.
        shapes: the shape of each, with its table.
        originals: the chosen versions as they came, where they are to be preserved.
        embedded: observables of a STIX 2.0 observed-data: id -> (id of that, key).
        translations: of content objects, by id.
        ended: ids of content objects and containers that are revoked or expired, and which of both.
        mentioned: ids that relationships, reports, sightings and notes refer to.
        observed_at: when the first observed-data that holds an observable was made, microseconds,
            by its id.
        records: ids of observables that are part of a record of MISP's.
        halves: id of a record of MISP's -> ids of its other halves: an export writes many as two
            objects of one UUID.
        linked_clusters: ids of clusters that an export puts on attributes and objects, and so not
            on the event.
        builders: the events, by UUID.
        events_of_containers: UUID of the event of each report and grouping.
        events_of: UUIDs of the events that an object has elements in, once all are placed.
    """

    def __init__(self, entries: Iterable[Entry], options: Options, knowledge: Knowledge) -> None:
        self.options = options
        self.knowledge = knowledge
        self.ledger = Ledger(times.to_text(options.now))
        self.fates = Fates()
        self.objects: dict[str, StixObject] = {}
        self.originals: dict[str, StixObject] = {}
        self.embedded: dict[str, tuple[str, str]] = {}
        self.sizes: dict[str, int] = {}
        self._choose(entries)
        self.shapes: dict[str, Shape] = {
            id_: shape_of(self._table_of(obj), tuple(obj)) for id_, obj in self.objects.items()
        }
        self.markings = Markings(self.objects, self.variants, options.default_tlp)
        self.contexts = Contexts(self)
        self.tags = Tags(self)
        self.translator = Translator(knowledge)
        self.translations: dict[str, Translation] = {}
        self.ended: dict[str, Reason] = {}
        self.observed_at: dict[str, int] = {}
        self.records: set[str] = set()
        self.mentioned: set[str] = set()
        self.halves = self._halves()
        self.linked_clusters = self._clusters_of_elements()
        self.builders: dict[str, EventBuilder] = {}
        self.events_of: dict[str, list[str]] = {}
        self.events_of_containers: dict[str, str] = {}

    def role(self, id_: str) -> Role:
        """The role of an object of the input."""
        return self.shapes[id_].table.role

    def seconds_of(self, id_: str, obj: Mapping[str, Any]) -> int:
        """When an object was changed last, in seconds.

        Its `modified`, else `created`, else when the server got it; the reference time where it
        says a time that nobody can use, and 0 where it says none, as observables do.
        """
        now = self.options.now
        modified = times.past(obj.get("modified"), now)
        if modified is None:
            modified = times.past(obj.get("created"), now)
        if modified is None:
            modified = self.options.date_added.get(id_)
        if modified is None:
            modified = now if "modified" in obj or "created" in obj else 0
        return modified // 1_000_000

    def _halves(self) -> dict[str, tuple[str, ...]]:
        """What MISP exported as several objects of one UUID and one producer."""
        groups: dict[tuple[str, Any], list[str]] = {}
        for id_, shape in self.shapes.items():
            if shape.table.role is Role.RECORD and self.objects[id_]["type"] in HALVES:
                key = (id_.rpartition("--")[2], self.objects[id_].get("created_by_ref"))
                groups.setdefault(key, []).append(id_)
        halves = {}
        for ids in groups.values():
            if len(ids) > 1:
                first, *others = sorted(
                    ids, key=lambda id_: HALVES.index(self.objects[id_]["type"])
                )
                halves[first] = tuple(others)
        return halves

    def _clusters_of_elements(self) -> frozenset[str]:
        records = {id_ for id_, shape in self.shapes.items() if shape.table.role is Role.RECORD}
        if not records:
            return frozenset()
        return frozenset(
            target
            for obj in self.objects.values()
            if obj["type"] == "relationship"
            and obj.get("source_ref") in records
            and is_cluster(self.objects.get(target := str(obj.get("target_ref"))))
        )

    def _choose(self, entries: Iterable[Entry]) -> None:
        """Take the newest version of each object, put it into shape and lift it to STIX 2.1."""
        chosen, self.variants = newest(entries, self.ledger)
        if self.options.preserve == "source":
            self.originals = chosen
        observed: list[str] = []
        extensions = definitions_of(chosen.values())
        for id_ in sorted(chosen):
            obj = chosen[id_]
            self.sizes[id_] = len(obj)
            obj, drops = shaped(obj)
            obj = self.objects[id_] = restored(lift(obj), extensions)
            if drops:
                self.fates.drop(id_, drops)
            if obj["type"] == "observed-data" and "objects" in obj:
                observed.append(id_)
        for id_ in observed:
            self._embed(id_, self.objects[id_])

    def _embed(self, id_: str, obj: StixObject) -> None:
        """Make objects of the observables inside a STIX 2.0 observed-data."""
        inner, left_out = observables_of(obj)
        fates = self.fates
        fates.drop(id_, [(f"objects.{key}", Outcome.DROPPED, reason) for key, reason in left_out])
        for key, observable in inner.items():
            fitted, bad = shaped(observable)
            fates.drop(id_, [(f"objects.{key}.{path}", how, why) for path, how, why in bad])
            # it ends with what it is in, and is marked as that is
            own = {name: obj[name] for name in _WITH_ITS_OWNER if name in obj}
            fitted = {**fitted, **{name: row for name, row in own.items() if name not in fitted}}
            if obj.get("revoked") is True:
                fitted["revoked"] = True
            self.embedded[fitted["id"]] = (id_, key)
            self.objects[fitted["id"]] = fitted
        refs = [*obj.get("object_refs", ()), *(row["id"] for row in inner.values())]
        self.objects[id_] = {**obj, "object_refs": refs}

    def _table_of(self, obj: StixObject) -> Table:
        table = table_of_export(obj) or table_of(obj)
        if table is malware.TABLE and obj.get("is_family") is False:
            # a specimen, unless it goes by the name of a family that MISP knows
            known = known_cluster(obj, table, self.knowledge.clusters)
            return table if known else malware.INSTANCE
        return table
