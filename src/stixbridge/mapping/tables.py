"""The forms that knowledge about STIX types is written in.

No control flow: the engine in `conversion` applies it.

Every property of a type is either mapped (a few words on where it goes) or carries the reason why
it is dropped. A table is checked when it is made, so a wrong one fails at import and in the first
test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache

from stixbridge.ledger import Drop, Outcome, Reason, top_level

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
    NOTE = "note"
    TRANSLATION = "translation"
    DEFINITION = "definition"
    CUSTOM = "custom"
    RECORD = "record"
    EVENT_REPORT = "event-report"
    SIGHTED = "sighted"


LINK_TYPES = ("relationship", "sighting", "note", "opinion", "language-content")
"""Types that change what they refer to, wherever that is, and are no part of it."""

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
    # what OpenCTI adds to every type
    "x_opencti_score": "tag SOURCE:score",
    "x_opencti_detection": "to_ids",
    "x_opencti_description": "comment",
    "x_opencti_labels": "tag SOURCE:label",
    "x_opencti_created_by_ref": "tag misp-galaxy:producer",
    "x_opencti_main_observable_type": Reason.REDUNDANT,
}
"""The common properties (STIX 2.1, section 3.2)."""


_NOT_OF_OBSERVABLES = ("revoked", "modified")
"""Common properties that observables do not have by the specification."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where one path of an observable goes.

    Attributes:
        type: the attribute type when it stands alone; None where it never does.
        relation: its relation in the object template; None where the template has none.
        selects: whether it may carry `to_ids` inside an object of several fields.
        comment: the value goes to the comment of the element, after this label ("" for none).
        data: the value is the content of a file, in base64; the attribute is an attachment.
        convert: gives the value in the unit of the object template.
    """

    type: str | None
    relation: str | None = None
    selects: bool = False
    comment: str | None = None
    data: bool = False
    convert: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an observable that is a MISP object of its own (the sections of a program, say).

    Attributes:
        template: of the object.
        verb: how the object it is a piece of refers to it.
        fields: path below the piece -> field.
        several: whether it is an object of its own only beside others of its kind; alone it is told
            by `Table.fields`.
    """

    template: str
    verb: str
    fields: Mapping[str, Field]
    several: bool = False


@dataclass(frozen=True, slots=True)
class ByKind:
    """A path whose field depends on the kind of its value (an IP, a name, a MAC address)."""

    chooser: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Composite:
    """Exactly these two paths make one attribute: `filename|sha256`."""

    type: str
    left: str
    right: str


@dataclass(frozen=True, eq=False)
class Table:
    """One STIX type.

    Attributes:
        stix_type: its name.
        role: what the engine does with it.
        properties: the fate of each property; the common ones are added.
        template: the MISP object template for what one attribute can't say.
        fields: object path (as in a pattern, quotes left out) -> field. A last step `*` takes what
            no other path does, with its name before the value.
        parts: path -> a piece that is an object of its own.
        composites: pairs of paths that make one attribute.
        guards: paths that only say the type of a reference (`dst_ref.type`); folded away.
        links: paths of references that become relationships: path -> relationship type.
        unmapped: paths inside a property that are dropped, each with its reason.
        names: properties that hold the names of a context object, the first being the name.
        retold: text properties of an unknown context object, retold in the event report.
    """

    stix_type: str
    role: Role
    properties: Mapping[str, Fate] = field(default_factory=dict)
    template: str | None = None
    fields: Mapping[str, Field | ByKind] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)
    composites: tuple[Composite, ...] = ()
    guards: frozenset[str] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict)
    unmapped: Mapping[str, Reason] = field(default_factory=dict)
    names: tuple[str, ...] = ("name",)
    retold: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for composite in self.composites:
            if composite.left not in self.fields or composite.right not in self.fields:
                raise ValueError(
                    f"{self.stix_type}: composite {composite.type} names an unknown path"
                )
        for path, target in self.fields.items():
            for one in target.fields.values() if isinstance(target, ByKind) else (target,):
                if one.relation is not None and self.template is None:
                    raise ValueError(
                        f"{self.stix_type}: {path} has a relation but the table no template"
                    )
                if one.type is None and one.relation is None and one.comment is None:
                    raise ValueError(f"{self.stix_type}: {path} goes nowhere")

    @cached_property
    def fates(self) -> dict[str, Fate]:
        """Property -> fate, common ones, fields and links included."""
        fates: dict[str, Fate] = dict(COMMON)
        for path, target in self.fields.items():
            one = next(iter(target.fields.values())) if isinstance(target, ByKind) else target
            if one.comment is not None:
                where = "comment"
            else:
                where = f"object {self.template}" if one.type is None else f"attribute {one.type}"
            fates[top_level(path)] = where
        for path, part in self.parts.items():
            fates[top_level(path)] = f"object {part.template}"
        for path, verb in self.links.items():
            if top_level(path) not in fates:
                fates[path] = f"relationship {verb}"
        if self.role == Role.OBSERVABLE:
            fates.update(dict.fromkeys(_NOT_OF_OBSERVABLES, Reason.NO_PLACE))
        fates.update(self.properties)
        return fates

    def drops(self, names: tuple[str, ...]) -> tuple[Drop, ...]:
        """The properties among `names` that this table drops, whatever their value."""
        return _drops(self, names)

    @cached_property
    def skipped(self) -> frozenset[str]:
        """Properties that hold no value of the object itself.

        Common ones, references that only link, dropped ones.
        """
        tops = {top_level(path) for path in (*self.fields, *self.parts)}
        return frozenset(name for name in self.fates if name not in tops)

    @cached_property
    def extensions(self) -> frozenset[str]:
        """Names of the extensions that some path knows."""
        paths = (*self.fields, *self.parts, *self.links, *self.unmapped)
        return frozenset(path.split(".")[1] for path in paths if path.startswith("extensions."))

    @cached_property
    def followed(self) -> dict[str, tuple[str, ...]]:
        """Path of a reference (`dst_ref`) -> properties of its target that have a field here."""
        found: dict[str, dict[str, None]] = {}
        for path in self.fields:
            steps = path.split(".")
            for at, step in enumerate(steps[:-1]):
                if step.endswith(("_ref", "_refs[*]")):
                    found.setdefault(".".join(steps[: at + 1]), {})[steps[at + 1]] = None
        return {path: tuple(names) for path, names in found.items()}


CUSTOM = Table("*", Role.CUSTOM)
"""Any type that STIX does not define and no dialect's table knows.

An object with its properties, by policy.
"""


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
        "IMPHASH", "AUTHENTIHASH", "VHASH", "TELFHASH", "PEHASH", "CDHASH",
    )
}  # fmt: skip


_INDEX = re.compile(r"\[(?:-?\d+|\*)\]")


@lru_cache(maxsize=8192)
def canonical_path(path: str) -> str:
    """One spelling for a path.

    Hash names as the STIX vocabulary has them, every list index as `[*]`.

    STIX 2.1 section 10.6 (hash-algorithm-ov); producers write `SHA256`, `sha-256` and `SHA-256`
    alike.
    """
    path = _INDEX.sub("[*]", path)
    head, dot, name = path.rpartition("hashes.")
    if dot:
        plain = name.replace("-", "").replace("_", "").replace("/", "").lower()
        return f"{head}hashes.{_HASH_NAMES.get(plain, name)}"
    return path
