"""The forms that knowledge about STIX types is written in. No control flow: the engine in `conversion` applies it.

Every property of a type is either mapped (a few words on where it goes) or carries the reason why it is dropped. A
table is checked when it is made, so a wrong one fails at import and in the first test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache

from ..ledger import Drop, Outcome, Reason

Fate = str | Reason
"""Where a property goes, in the words of a MISP analyst; or why it is dropped."""


class Role(StrEnum):
    """What the engine does with a type."""

    CONTAINER = "container"
    INDICATOR = "indicator"
    OBSERVABLE = "observable"
    OBSERVED = "observed"
    CONTEXT = "context"
    DETAIL = "detail"
    RELATIONSHIP = "relationship"
    SIGHTING = "sighting"
    MARKING = "marking"


COMMON: dict[str, Fate] = {
    "type": "identity",
    "spec_version": "identity",
    "id": "UUID",
    "created_by_ref": "tag misp-galaxy:producer",
    "created": Reason.LIFECYCLE,
    "modified": "timestamp",
    "revoked": "to_ids",
    "labels": "tag SOURCE:label",
    "confidence": "tag misp:confidence-level",
    "lang": Reason.NO_PLACE,
    "external_references": "attribute link or vulnerability",
    "object_marking_refs": "tag tlp, PAP",
    "granular_markings": "tag tlp",
    "extensions": Reason.CUSTOM,
    "defanged": Reason.NO_PLACE,
}
"""The common properties (STIX 2.1, section 3.2)."""


_NOT_OF_OBSERVABLES = ("external_references", "revoked", "modified")
"""Common properties that observables do not have by the specification, and that are dropped where they come."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where one path of an observable goes.

    Attributes:
        type: the attribute type when it stands alone; None where it never does.
        relation: its relation in the object template; None where the template has none.
        selects: whether it may carry `to_ids` inside an object of several fields.
        category: another than the type's default.
        comment: the value goes to the comment of the element.
    """

    type: str | None
    relation: str | None = None
    selects: bool = False
    category: str | None = None
    comment: bool = False


@dataclass(frozen=True, slots=True)
class ByKind:
    """A path whose field depends on the kind of its value (an address may be an IP, a name or a MAC)."""

    chooser: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Composite:
    """Exactly these two paths make one attribute: `filename|sha256`."""

    type: str
    left: str
    right: str


@dataclass(frozen=True)
class Table:
    """One STIX type.

    Attributes:
        stix_type: its name.
        role: what the engine does with it.
        properties: the fate of each property; the common ones are added.
        template: the MISP object template for what one attribute can't say.
        fields: object path (as in a pattern, quotes left out) -> field.
        composites: pairs of paths that make one attribute.
        guards: paths that only say the type of a reference (`dst_ref.type`); folded away.
        links: reference properties that become relationships: property -> relationship type.
        names: properties that hold the names of a context object, the first being the name.
        retold: text properties of an unknown context object, retold in the event report.
    """

    stix_type: str
    role: Role
    properties: Mapping[str, Fate] = field(default_factory=dict)
    template: str | None = None
    fields: Mapping[str, Field | ByKind] = field(default_factory=dict)
    composites: tuple[Composite, ...] = ()
    guards: frozenset[str] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ("name",)
    retold: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for composite in self.composites:
            if composite.left not in self.fields or composite.right not in self.fields:
                raise ValueError(f"{self.stix_type}: composite {composite.type} names an unknown path")
        for path, target in self.fields.items():
            for one in target.fields.values() if isinstance(target, ByKind) else (target,):
                if one.relation is not None and self.template is None:
                    raise ValueError(f"{self.stix_type}: {path} has a relation but the table no template")
                if one.type is None and one.relation is None and not one.comment:
                    raise ValueError(f"{self.stix_type}: {path} goes nowhere")

    @cached_property
    def fates(self) -> dict[str, Fate]:
        """Property -> fate, common ones, fields and links included."""
        fates: dict[str, Fate] = dict(COMMON)
        for path, target in self.fields.items():
            top = path.split(".", 1)[0].split("[", 1)[0]
            one = next(iter(target.fields.values())) if isinstance(target, ByKind) else target
            fates[top] = f"object {self.template}" if one.type is None else f"attribute {one.type}"
        fates.update({name: f"relationship {verb}" for name, verb in self.links.items()})
        if self.role == Role.OBSERVABLE:
            fates.update(dict.fromkeys(_NOT_OF_OBSERVABLES, Reason.NO_PLACE))
        fates.update(self.properties)
        return fates

    def drops(self, names: tuple[str, ...]) -> tuple[Drop, ...]:
        """The properties among `names` that this table drops, whatever their value."""
        return _drops(self, names)

    def __hash__(self) -> int:
        return hash(self.stix_type)


@lru_cache(maxsize=8192)
def _drops(table: Table, names: tuple[str, ...]) -> tuple[Drop, ...]:
    drops: list[Drop] = []
    for name in names:
        fate = table.fates.get(name, Reason.CUSTOM)
        if isinstance(fate, Reason):
            drops.append((name, Outcome.DROPPED, fate))
    return tuple(drops)


_HASH_NAMES = {
    name.replace("-", "").replace("/", "").lower(): name
    for name in (
        "MD5", "SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "SHA-512/224", "SHA-512/256",
        "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512", "SSDEEP", "TLSH",
    )
}  # fmt: skip


_INDEX = re.compile(r"\[(?:-?\d+|\*)\]")


@lru_cache(maxsize=8192)
def canonical_path(path: str) -> str:
    """One spelling for a path: hash names as the STIX vocabulary has them, every list index as `[*]`.

    STIX 2.1 section 10.6 (hash-algorithm-ov); producers write `SHA256`, `sha-256` and `SHA-256` alike.
    """
    path = _INDEX.sub("[*]", path)
    head, dot, name = path.rpartition("hashes.")
    if dot:
        return f"{head}hashes.{_HASH_NAMES.get(name.replace('-', '').replace('_', '').replace('/', '').lower(), name)}"
    return path
