"""The last stage: one outcome in the ledger for every object and every property (law 1)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from functools import lru_cache
from typing import Any

from stixbridge.conversion.to_misp.galaxies import Contexts
from stixbridge.conversion.to_misp.grouping import CONTENT
from stixbridge.conversion.to_misp.markings import Markings, statement_of
from stixbridge.conversion.to_misp.tags import Tagging
from stixbridge.conversion.to_misp.translations import Sayings
from stixbridge.ledger import Drop, Ledger, Outcome, Reason
from stixbridge.mapping.indicator import SAYS_NOTHING
from stixbridge.mapping.tables import COMMON, Role, Table
from stixbridge.stix.upgrade import lifted_name

StixObject = Mapping[str, Any]


class Accounting:
    """Writes the ledger of one conversion.

    Args (of the constructor):
        objects: the chosen version of each object, lifted to 2.1.
        sizes: how many properties each entry came with.
        inner: observables lifted out of a 2.0 observed-data: id -> (id of that, key); properties, not entries.
        linked: what became of relationships and sightings.
        placed: ids of what has an element in an event.
        markings: what holds for each object, and which definitions something refers to.
        extensions: ids of extension-definitions that an event report tells.
        kept: ids of objects that an event carries as they came: what is lost of them elsewhere is preserved.
    """

    def __init__(
        self,
        objects: Mapping[str, StixObject],
        tables: Mapping[str, Table],
        sizes: Mapping[str, int],
        inner: Mapping[str, tuple[str, str]],
        linked: Mapping[str, tuple[Outcome, Reason | None, str | None]],
        placed: Container[str],
        markings: Markings,
        sayings: Sayings,
        contexts: Contexts,
        tagging: Tagging,
        extensions: set[str],
        kept: Container[str] = (),
    ) -> None:
        self._objects = objects
        self._tables = tables
        self._sizes = sizes
        self._inner = inner
        self._linked = linked
        self._placed = placed
        self._markings = markings
        self._sayings = sayings
        self._contexts = contexts
        self._tagging = tagging
        self._extensions: set[str] = extensions
        self._kept = kept
        self._creators = {obj.get("created_by_ref") for obj in objects.values()}

    def write(self, ledger: Ledger) -> None:
        """Account every object."""
        for id_, (outer, key) in self._inner.items():
            self._inside(id_, outer, key)
        for id_, obj in self._objects.items():
            if id_ in self._inner:
                continue
            outcome, reason, target = self._outcome(id_, obj)
            drops = self._property_drops(id_, obj) if outcome is Outcome.MAPPED else ()
            if id_ in self._kept:
                outcome = Outcome.PRESERVED if outcome is Outcome.DROPPED else outcome
                drops = tuple(
                    (path, Outcome.PRESERVED if how is Outcome.DROPPED else how, why)
                    for path, how, why in drops
                )
            ledger.account(id_, outcome, self._sizes[id_], drops, reason, target)

    def _outcome(self, id_: str, obj: StixObject) -> tuple[Outcome, Reason | None, str | None]:
        refused = self._sayings.refused.get(id_)
        if refused is not None:
            return *refused, None
        linked = self._linked.get(id_)
        if linked is not None:
            return linked
        reason = self._missing(id_, obj, self._tables[id_])
        return (Outcome.MAPPED, None, None) if reason is None else (Outcome.DROPPED, reason, None)

    def _inside(self, id_: str, outer: str, key: str) -> None:
        """An observable inside a 2.0 observed-data: what is lost of it is told as parts of `objects`."""
        obj = self._objects[id_]
        outcome, reason, _ = self._outcome(id_, obj)
        told = self._sayings.drops.setdefault(outer, [])
        if reason is not None:
            told.append((f"objects.{key}", outcome, reason))
            return
        lost = self._property_drops(id_, obj)
        told.extend((f"objects.{key}.{path}", how, why) for path, how, why in lost)

    def _missing(self, id_: str, obj: StixObject, table: Table) -> Reason | None:
        """Why an object is not in the output; None where it is."""
        role = table.role
        if role is Role.MARKING:
            return None if id_ in self._markings.used else Reason.UNLINKED
        if role is Role.CONTEXT:
            if obj.get("revoked") is True:
                return Reason.REVOKED
            return None if self._contexts.shown(id_) else Reason.UNLINKED
        if role is Role.CONTAINER or id_ in self._placed:
            return None
        if role is Role.DEFINITION:
            return None if id_ in self._extensions else Reason.UNLINKED
        if obj["type"] == "identity":
            return None if id_ in self._creators else Reason.UNLINKED
        if role in (Role.OBSERVED, Role.NOTE, Role.TRANSLATION):
            return Reason.DANGLING
        return None if id_ in self._sayings.consumed else Reason.UNLINKED

    def _property_drops(self, id_: str, obj: StixObject) -> tuple[Drop, ...]:
        table = self._tables[id_]
        drops = (
            table.drops(tuple(obj)) if table.role is not Role.CUSTOM else _custom_drops(tuple(obj))
        )
        role = table.role
        extra: list[Drop] = list(self._sayings.drops.get(id_, ()))
        marking = self._markings.of(obj)
        if marking.drops:
            extra.extend(marking.drops)
        lists = _lists_of_references(tuple(obj), table)
        if lists:
            extra.extend(self._dangling(obj, lists))
        if role is Role.RELATIONSHIP:
            return drops + tuple(dict.fromkeys(extra)) if extra else drops
        if role is Role.CONTEXT:
            if self._contexts.known(id_):
                extra.extend(
                    (name, Outcome.DROPPED, Reason.CLUSTER) for name in table.retold if name in obj
                )
        elif role in _LABELLED and not _from_misp(obj):
            if "labels" in obj:
                extra.extend(
                    (f"labels[{at}]", Outcome.DROPPED, Reason.FILTERED)
                    for at, label in enumerate(obj["labels"])
                    if not self._tagging.label_allowed(label)
                )
            creator = obj.get("created_by_ref")
            if creator is not None and not self._tagging.producer(creator, marking):
                reason = Reason.MARKING if creator in self._objects else Reason.DANGLING
                extra.append(("created_by_ref", Outcome.DROPPED, reason))
        if role is Role.DETAIL and obj["type"] == "identity" and id_ not in self._placed:
            # only named, as a producer
            extra.extend(
                (name, Outcome.DROPPED, Reason.NO_PLACE)
                for name in obj
                if name not in _OF_A_PRODUCER
            )
        if role is Role.NOTE and obj.get("authors") and "created_by_ref" in obj:
            extra.append(("created_by_ref", Outcome.DROPPED, Reason.REDUNDANT))
        if obj["type"] == "sighting" and obj.get("where_sighted_refs") and "created_by_ref" in obj:
            extra.append(("created_by_ref", Outcome.DROPPED, Reason.REDUNDANT))
        if role is Role.MARKING and "name" in obj and statement_of(obj) is not None:
            extra.append(("name", Outcome.DROPPED, Reason.REDUNDANT))
        if role is Role.INDICATOR and "indicator_types" in obj:
            name = lifted_name(obj["type"], "indicator_types", obj)
            for at, kind in enumerate(obj["indicator_types"]):
                if kind in SAYS_NOTHING:
                    extra.append((f"{name}[{at}]", Outcome.DROPPED, Reason.REDUNDANT))
        if role in (Role.RECORD, Role.NOTE, Role.SIGHTED):
            drops = tuple(row for row in drops if not row[0].startswith("x_misp_"))
        carried = self._sayings.carried.get(id_)
        if carried:
            drops = tuple(row for row in drops if row[0] not in carried)
            extra = [row for row in extra if row[2] is not Reason.CUSTOM]
        return drops + tuple(dict.fromkeys(extra)) if extra else drops

    def _dangling(self, obj: StixObject, names: tuple[str, ...]) -> Iterator[Drop]:
        """References in lists to objects that are not there."""
        for name in names:
            value = obj[name]
            for at, ref in enumerate(value if isinstance(value, list) else ()):
                if ref not in self._objects:
                    yield f"{name}[{at}]", Outcome.DROPPED, Reason.DANGLING


@lru_cache(maxsize=4096)
def _lists_of_references(names: tuple[str, ...], table: Table) -> tuple[str, ...]:
    """Those of some properties that list references and are not dropped as a whole."""
    return tuple(
        name
        for name in names
        if name.endswith("_refs")
        and name != "object_marking_refs"
        and not isinstance(table.fates.get(name, Reason.CUSTOM), Reason)
    )


def _from_misp(obj: StixObject) -> bool:
    """Whether MISP wrote an object: its labels are fields and tags, all of them used."""
    return any(label.startswith("misp:") for label in obj.get("labels") or ())


@lru_cache(maxsize=4096)
def _custom_drops(names: tuple[str, ...]) -> tuple[Drop, ...]:
    """The common properties that an object of a custom type loses; its own are all in its object."""
    fates = ((name, COMMON.get(name)) for name in names)
    return tuple((name, Outcome.DROPPED, fate) for name, fate in fates if isinstance(fate, Reason))


_LABELLED = frozenset({Role.CONTAINER}) | CONTENT
_OF_A_PRODUCER = frozenset(
    {"type", "spec_version", "id", "name", "created", "modified", "object_marking_refs"}
)
