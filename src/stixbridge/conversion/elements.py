"""What one STIX object says, as MISP attributes and objects: the part that does not depend on the event it goes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..ledger import Drop, Outcome, Reason
from ..mapping import TABLES
from ..mapping.indicator import LANGUAGES
from ..mapping.tables import ByKind, Field, Table, canonical_path
from ..misp.knowledge import Knowledge
from ..misp.values import COMPOSITES, BadValue, kind, normalise
from ..stix.patterns import PatternError, parse
from .algebra import Group, Meaning, meaning

Objects = Callable[[str], Mapping[str, Any] | None]
"""id -> STIX object, or None."""

# Correlation is off where equal values say nothing about each other.
NO_CORRELATION = frozenset(
    {"port", "size-in-bytes", "AS", "filename", "mime-type", "link", "counter", "datetime", "float", "boolean", "text"}
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A value of a type; its UUID comes with the event."""

    type: str
    value: str
    category: str
    to_ids: bool
    correlate: bool


@dataclass(frozen=True, slots=True)
class Object:
    """Attributes under an object template. `key` tells the objects of one STIX object apart."""

    template: str
    attributes: tuple[tuple[str, Attribute], ...]
    key: str = ""
    comment: str = ""


@dataclass(slots=True)
class Said:
    """All that one STIX object says.

    Attributes:
        attributes: lone attributes.
        objects: objects.
        hub: the object that keeps a pattern's text and refers to all the others.
        excluded: attributes that are context only.
        comment: for every element.
        drops: parts of properties that could not be carried over.
        consumed: ids of STIX objects that are said as part of this one.
    """

    attributes: list[Attribute] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)
    hub: Object | None = None
    excluded: list[Attribute] = field(default_factory=list)
    comment: str = ""
    drops: list[Drop] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing can be shown in MISP."""
        return not (self.attributes or self.objects or self.hub or self.excluded)


class Sayer:
    """Applies the tables; holds the knowledge and nothing of a run."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    # indicators

    def indicator(self, obj: Mapping[str, Any], *, detects: bool) -> Said:
        """What an indicator says: its pattern by the algebra, or its rule in another language.

        Args:
            obj: the indicator, lifted to 2.1.
            detects: whether it may carry `to_ids` at all (not revoked, expired, benign).

        Raises:
            PatternError: for a STIX pattern outside the grammar.
        """
        pattern = obj.get("pattern")
        if not isinstance(pattern, str) or not pattern.strip():
            raise PatternError("no pattern", 0)
        language = obj.get("pattern_type", "stix")
        said = Said()
        if language != "stix":
            type_ = LANGUAGES.get(str(language).lower(), "other")
            attribute = self._attribute(type_, pattern, detects, said.drops, "pattern")
            if attribute is not None:
                said.attributes.append(attribute)
            if type_ == "other":
                said.comment = f"pattern language: {language}"
            return said
        self._pattern(said, pattern, meaning(parse(pattern)), detects)
        return said

    def _pattern(self, said: Said, pattern: str, means: Meaning, detects: bool) -> None:
        complete = means.exact
        part_detects = detects and means.detects
        for at, alternative in enumerate(means.alternatives):
            for place, group in enumerate(alternative):
                key = f"{at}.{place}.{group.object_type}" if at or place else group.object_type
                complete &= self._group(said, group, part_detects, key)
        for group in means.excluded:
            self._group(said, group, False, "not", excluded=True)
        said.attributes = list(dict.fromkeys(said.attributes))
        said.excluded = list(dict.fromkeys(said.excluded))
        if not complete:
            text = self._attribute("stix2-pattern", pattern, detects and means.pattern_detects, said.drops, "pattern")
            if text is not None:
                said.hub = Object("stix2-pattern", (("stix2-pattern", text),), "pattern")
                said.drops.append(("pattern", Outcome.PRESERVED, Reason.INEXACT))

    def _group(self, said: Said, group: Group, detects: bool, key: str, *, excluded: bool = False) -> bool:
        """Add what a group says; False where a part of it can't be said."""
        table = TABLES.get(group.object_type)
        if table is None or not table.fields:
            return False
        fields, complete = _resolved(table, group.tests)
        if not complete and not fields:
            return False
        drops: list[Drop] = []
        element = self._element(table, fields, detects, drops, key)
        if drops:
            complete = False
            said.drops.extend(("pattern", outcome, reason) for _, outcome, reason in drops)
        if isinstance(element, Object):
            if excluded:
                return False
            said.objects.append(element)
        else:
            (said.excluded if excluded else said.attributes).extend(element)
            # nothing said, or two values of what has one: only the text says what is meant
            complete &= len(element) == 1 and not any(one.comment for _, one, _ in fields)
        return complete

    # observables

    def observable(self, obj: Mapping[str, Any], get: Objects) -> Said:
        """What a cyber-observable says; references to one other object (`src_ref`) are followed.

        Args:
            obj: the observable.
            get: finds the objects it refers to.
        """
        table = TABLES[obj["type"]]
        said = Said()
        tests = list(self._flatten(table, obj, get, said))
        fields, _ = _resolved(table, tests)
        comments = [value for _, target, value in fields if target.comment]
        element = self._element(table, fields, False, said.drops, obj["type"])
        if isinstance(element, Object):
            said.objects.append(element)
        else:
            said.attributes.extend(element)
        said.comment = ", ".join(comments)
        return said

    def detail(self, obj: Mapping[str, Any]) -> Said:
        """What a type with an object template (identity, vulnerability) says in full: the object."""
        table = TABLES[obj["type"]]
        said = Said()
        tests = list(self._flatten(table, obj, lambda _: None, said))
        fields, _ = _resolved(table, tests)
        made = self._object(table, fields, False, said.drops, obj["type"])
        if made is not None:
            said.objects.append(made)
        return said

    def _flatten(self, table: Table, obj: Mapping[str, Any], get: Objects, said: Said) -> Iterable[tuple[str, str]]:
        for name, value in obj.items():
            if name in ("type", "id", "spec_version") or name in table.links or name in table.properties:
                continue
            if name.endswith("_ref") and isinstance(value, str):
                yield from self._follow(table, name, value, get, said)
            elif isinstance(value, Mapping):
                yield from self._nested(table, name, value, said, 0)
            elif isinstance(value, list):
                path = f"{name}[*]"
                if path in table.fields:
                    yield from ((path, _text(item)) for item in value if isinstance(item, str | int | float))
            elif value is not None and name in table.fields:
                yield name, _text(value)

    def _follow(self, table: Table, name: str, ref: str, get: Objects, said: Said) -> Iterable[tuple[str, str]]:
        target = get(ref)
        if target is None:
            if any(path.startswith(f"{name}.") for path in table.fields):
                said.drops.append((name, Outcome.DROPPED, Reason.DANGLING))
            return
        for inner in ("value", "path", "name"):
            path = f"{name}.{inner}"
            if path in table.fields and isinstance(target.get(inner), str):
                said.consumed.append(ref)
                yield path, target[inner]

    def _nested(
        self, table: Table, prefix: str, value: Mapping[str, Any], said: Said, depth: int
    ) -> Iterable[tuple[str, str]]:
        for name, inner in value.items():
            path = canonical_path(f"{prefix}.{name}")
            if isinstance(inner, Mapping):
                if depth < 4:
                    yield from self._nested(table, path, inner, said, depth + 1)
            elif path in table.fields and isinstance(inner, str | int | float):
                yield path, _text(inner)
            elif inner not in (None, "", []):
                reason = Reason.CUSTOM if prefix.startswith("extensions") else Reason.NO_PLACE
                said.drops.append((f"{prefix}.{name}", Outcome.DROPPED, reason))

    # elements

    def _element(
        self, table: Table, fields: list[tuple[str, Field, str]], detects: bool, drops: list[Drop], key: str
    ) -> list[Attribute] | Object:
        """One attribute where one value (or a composite) says it all, otherwise an object."""
        fields = [row for row in fields if not row[1].comment]
        if len(fields) == 1:
            path, one, value = fields[0]
            if one.type is not None:
                attribute = self._attribute(one.type, value, detects, drops, path, one.category)
                return [attribute] if attribute is not None else []
        elif len(fields) == 2:
            type_ = _composite(table, fields)
            if type_ is not None:
                by_path = {path: value for path, _, value in fields}
                composite = next(row for row in table.composites if row.type == type_)
                joined = f"{by_path[composite.left].replace('|', '%7C')}|{by_path[composite.right]}"
                attribute = self._attribute(type_, joined, detects, drops, composite.left)
                if attribute is not None:
                    return [attribute]
                return []
        if table.template is None:
            found = [
                self._attribute(one.type, value, detects, drops, path, one.category)
                for path, one, value in fields
                if one.type is not None
            ]
            return [attribute for attribute in found if attribute is not None]
        made = self._object(table, fields, detects, drops, key)
        return made if made is not None else []

    def _object(
        self, table: Table, fields: list[tuple[str, Field, str]], detects: bool, drops: list[Drop], key: str
    ) -> Object | None:
        if table.template is None:
            return None
        template = self._knowledge.template(table.template)
        attributes: list[tuple[str, Attribute]] = []
        for path, one, value in fields:
            if one.relation is None:
                drops.append((path, Outcome.DROPPED, Reason.NO_PLACE))
                continue
            type_, template_ids, no_correlation, category = template.relations[one.relation]
            attribute = self._attribute(
                type_,
                value,
                detects and one.selects and template_ids is not False,
                drops,
                path,
                category if category and category in self._knowledge.allowed[type_] else None,
                correlate=not no_correlation,
            )
            if attribute is not None:
                attributes.append((one.relation, attribute))
        if not attributes:
            return None
        attributes.sort(key=lambda row: (row[0], row[1].value))
        return Object(table.template, tuple(dict.fromkeys(attributes)), key)

    def _attribute(
        self,
        type_: str,
        value: str,
        detects: bool,
        drops: list[Drop],
        path: str,
        category: str | None = None,
        *,
        correlate: bool = True,
    ) -> Attribute | None:
        try:
            value = normalise(type_, value)
        except BadValue:
            drops.append((path, Outcome.DROPPED, Reason.INVALID_VALUE))
            return None
        knowledge = self._knowledge
        return Attribute(
            type_,
            value,
            category or knowledge.categories[type_],
            detects and type_ in knowledge.to_ids,
            correlate and type_ not in NO_CORRELATION,
        )

    def value(self, type_: str, value: str, drops: list[Drop], path: str) -> Attribute | None:
        """A lone attribute without `to_ids` (links, CVEs)."""
        return self._attribute(type_, value, False, drops, path)


def _resolved(table: Table, tests: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, Field, str]], bool]:
    """Find the field of each test; False where one has none. Type guards fold away."""
    found: list[tuple[str, Field, str]] = []
    complete = True
    for raw, value in tests:
        path = canonical_path(raw)
        target = table.fields.get(path)
        if target is None:
            complete &= path in table.guards
            continue
        if isinstance(target, ByKind):
            chosen = target.fields.get(_CHOOSERS[target.chooser](value))
            if chosen is None:
                complete = False
                continue
            target = chosen
        found.append((path, target, value))
    return found, complete


@lru_cache(maxsize=1024)
def _protocol(value: str) -> str:
    name = value.lower()
    if name in ("ipv4", "ipv6", "ip", "arp", "icmp", "icmpv6", "ipv6-icmp"):
        return "layer3"
    return "layer4" if name in ("tcp", "udp", "sctp", "dccp", "quic") else "layer7"


_CHOOSERS: dict[str, Callable[[str], str]] = {"network": kind, "protocol": _protocol}


def _composite(table: Table, fields: list[tuple[str, Field, str]]) -> str | None:
    paths = {path for path, _, _ in fields}
    types = {path: one.type for path, one, _ in fields}
    for composite in table.composites:
        if paths == {composite.left, composite.right}:
            left, _ = COMPOSITES[composite.type]
            if types[composite.left] == left:
                return composite.type
    return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 1_000:
        return "a number too long to be one"  # no checker takes it
    return value if isinstance(value, str) else str(value)
