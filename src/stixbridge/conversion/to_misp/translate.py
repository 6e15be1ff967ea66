"""What one STIX object says, as MISP attributes and objects: the part that does not depend on the event it goes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from stixbridge.conversion.to_misp.walk import Found, Objects, Piece, Walk, text_of
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping import TABLES
from stixbridge.mapping.indicator import LANGUAGES
from stixbridge.mapping.tables import COMMON, ByKind, Field, Table, canonical_path
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.values import (
    COMPOSITES,
    BadValue,
    base64_of,
    coin,
    cut,
    kind,
    normalise,
    storable,
)
from stixbridge.stix.pattern import PatternError
from stixbridge.stix.pattern_algebra import Group, Meaning, meaning_of

MAX_RELATION = 128
"""The longest name of a relation that MISP stores."""

# Correlation is off where equal values say nothing about each other.
NO_CORRELATION = frozenset(
    {
        "port",
        "size-in-bytes",
        "AS",
        "filename",
        "mime-type",
        "link",
        "counter",
        "datetime",
        "float",
        "boolean",
        "text",
    }
)


class Attribute(NamedTuple):
    """A value of a type; its UUID comes with the event. `data` is the content of an attachment, in base64."""

    type: str
    value: str
    category: str
    to_ids: bool
    correlate: bool
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """Attributes under an object template.

    Attributes:
        template: its name; of a custom object, the STIX type.
        attributes: (relation, attribute), sorted.
        key: tells the objects of one STIX object apart.
        parent: key of the object that refers to this one, by `verb`.
        custom: no template of MISP's.
    """

    template: str
    attributes: tuple[tuple[str, Attribute], ...]
    key: str = ""
    parent: str = ""
    verb: str = ""
    custom: bool = False


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
        taken: ids of STIX objects of which a value is said here, and whose markings hold here.
        uuids: of what MISP made, its own UUIDs: (type or relation, value) -> UUID; ("", "") is the object.
    """

    attributes: list[Attribute] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)
    hub: Object | None = None
    excluded: list[Attribute] = field(default_factory=list)
    comment: str = ""
    drops: list[Drop] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    uuids: dict[tuple[str, str], str] = field(default_factory=dict)

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
        self._pattern(said, pattern, meaning_of(pattern), detects)
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
        if len(said.attributes) > 1:
            said.attributes = list(dict.fromkeys(said.attributes))
        if said.excluded:
            said.excluded = list(dict.fromkeys(said.excluded))
        if not complete:
            text = self._attribute(
                "stix2-pattern", pattern, detects and means.pattern_detects, said.drops, "pattern"
            )
            if text is not None:
                said.hub = Object("stix2-pattern", (("stix2-pattern", text),), "pattern")
                said.drops.append(("pattern", Outcome.PRESERVED, Reason.INEXACT))

    def _group(
        self, said: Said, group: Group, detects: bool, key: str, *, excluded: bool = False
    ) -> bool:
        """Add what a group says; False where a part of it can't be said."""
        table = TABLES.get(group.object_type)
        if table is None or not table.fields:
            return False
        fields, parts, complete = _resolved(table, group.tests)
        paths = [path for path, _, _ in fields]
        complete &= len(paths) == len(
            set(paths)
        )  # which of two values goes with which only the text says
        if parts:
            return complete & self._group_of_parts(
                said, table, fields, parts, detects, key, excluded
            )
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
            complete &= len(element) == 1 and not any(
                one.comment is not None for _, one, _ in fields
            )
        return complete

    def _group_of_parts(
        self,
        said: Said,
        table: Table,
        fields: list[Found],
        parts: dict[str, list[Found]],
        detects: bool,
        key: str,
        excluded: bool,
    ) -> bool:
        """What a group says of an observable's parts; of a part alone, an attribute where one says it all."""
        if excluded:
            return False
        drops: list[Drop] = []
        if not fields and len(parts) == 1:
            ((path, found),) = parts.items()
            if len(found) == 1 and found[0][1].type is not None:
                attribute = self._attribute(found[0][1].type, found[0][2], detects, drops, path)
                if attribute is not None:
                    said.attributes.append(attribute)
                said.drops.extend(("pattern", outcome, reason) for _, outcome, reason in drops)
                return attribute is not None
        main = self._object(table.template, fields, detects, drops, key) if fields else None
        if main is not None:
            said.objects.append(main)
        for path, found in sorted(parts.items()):
            part = table.parts[path]
            made = self._object(part.template, found, detects, drops, f"{key}/{path}")
            if made is not None:
                above = max(
                    (other for other in parts if path.startswith(f"{other}.")),
                    default=None,
                    key=len,
                )
                parent = f"{key}/{above}" if above is not None else key if main is not None else ""
                said.objects.append(replace(made, parent=parent, verb=part.verb))
        fields = [row for found in (fields, *parts.values()) for row in found]
        said.drops.extend(("pattern", outcome, reason) for _, outcome, reason in drops)
        return not drops and not any(one.comment is not None for _, one, _ in fields)

    # observables and details

    def observable(self, obj: Mapping[str, Any], table: Table, get: Objects) -> Said:
        """What a cyber-observable says; references that a path of its table follows are taken in.

        Args:
            obj: the observable.
            table: its table.
            get: finds the objects it refers to.
        """
        walk = Walk(table, obj, get, CHOOSERS)
        said = Said(drops=walk.drops, taken=walk.taken)
        main, *others = walk.pieces
        others = [piece for piece in others if piece.found]
        key = str(obj["type"])
        if others:
            made = (
                self._object(table.template, main.found, False, said.drops, key)
                if main.found
                else None
            )
            if made is not None:
                said.objects.append(made)
            self._pieces(said, others, key)
        else:
            element = self._element(table, main.found, False, said.drops, key)
            if isinstance(element, Object):
                said.objects.append(element)
            else:
                said.attributes.extend(element)
        said.comment = _comments(walk.pieces)
        # what did not fit here has to stand by itself
        lost = {path.rpartition(".")[0] for path, _, _ in said.drops}
        said.consumed = [ref for ref, path in walk.consumed if not said.empty and path not in lost]
        return said

    def _pieces(self, said: Said, pieces: list[Piece], key: str) -> None:
        for piece in pieces:
            if piece.part is None:
                continue
            above = piece.parent
            while above is not None and not above.found:
                above = above.parent
            parent = "" if above is None else f"{key}/{above.key}" if above.key else key
            made = self._object(
                piece.part.template, piece.found, False, said.drops, f"{key}/{piece.key}"
            )
            if made is not None:
                said.objects.append(replace(made, parent=parent, verb=piece.part.verb))

    def detail(self, obj: Mapping[str, Any], table: Table) -> Said:
        """What a type with an object template (identity, infrastructure) says in full: the object."""
        walk = Walk(table, obj, lambda _: None, CHOOSERS)
        said = Said(drops=walk.drops)
        made = self._object(
            table.template, walk.pieces[0].found, False, said.drops, str(obj["type"])
        )
        if made is not None:
            said.objects.append(made)
        said.comment = _comments(walk.pieces)
        return said

    def custom(self, obj: Mapping[str, Any]) -> Said:
        """An object of a type that no table knows: a MISP object of that name, each property a text.

        What STIX gives every object (times, markings, labels) goes where it always goes.
        """
        said = Said()
        attributes: list[tuple[str, Attribute]] = []
        for name, value in obj.items():
            if name in COMMON or value in (None, "", [], {}):
                continue
            for item in value if isinstance(value, list) else [value]:
                text = text_of(item)
                made = self._attribute("text", text, False, said.drops, name)
                if made is not None:
                    attributes.append((cut(storable(name), MAX_RELATION), made))
        if attributes:
            attributes.sort(key=lambda row: (row[0], row[1].value))
            said.objects.append(
                Object(str(obj["type"]), tuple(dict.fromkeys(attributes)), "", custom=True)
            )
        return said

    # elements

    def _element(
        self, table: Table, fields: list[Found], detects: bool, drops: list[Drop], key: str
    ) -> list[Attribute] | Object:
        """One attribute where one value (or a composite) says it all, otherwise an object."""
        fields = [row for row in fields if row[1].comment is None]
        if len(fields) == 1:
            path, one, value = fields[0]
            if one.type is not None:
                attribute = self._attribute(one.type, value, detects, drops, path)
                return [attribute] if attribute is not None else []
        elif len(fields) == 2:
            type_ = _composite(table, fields)
            if type_ is not None:
                by_path = {path: value for path, _, value in fields}
                composite = next(row for row in table.composites if row.type == type_)
                joined = f"{by_path[composite.left].replace('|', '%7C')}|{by_path[composite.right]}"
                attribute = self._attribute(type_, joined, detects, [], composite.left)
                if attribute is not None:
                    return [attribute]
                # one half is no such value (a name that resolves to a name): each for itself
        if table.template is None:
            found = [
                self._attribute(one.type, value, detects, drops, path)
                for path, one, value in fields
                if one.type is not None
            ]
            return [attribute for attribute in found if attribute is not None]
        made = self._object(table.template, fields, detects, drops, key)
        return made if made is not None else []

    def _object(
        self, name: str | None, fields: list[Found], detects: bool, drops: list[Drop], key: str
    ) -> Object | None:
        if name is None:
            return None
        template = self._knowledge.template(name)
        attributes: list[tuple[str, Attribute]] = []
        for path, one, value in fields:
            if one.relation is None:
                if one.comment is None:
                    drops.append((path, Outcome.DROPPED, Reason.NO_PLACE))
                continue
            if path == "precision":  # metres in STIX, kilometres in the template
                value = _kilometres(value)
            if one.data:
                content = base64_of(value)
                if content is None:
                    drops.append((path, Outcome.DROPPED, Reason.INVALID_VALUE))
                    continue
                value = f"{key}.bin"
            else:
                content = None
            type_, template_ids, no_correlation, category = template.relations[one.relation]
            attribute = self._attribute(
                type_,
                value,
                detects and one.selects and template_ids is not False,
                drops,
                path,
                category if category and category in self._knowledge.allowed[type_] else None,
                correlate=not no_correlation,
                data=content,
            )
            if attribute is not None:
                attributes.append((one.relation, attribute))
        if not attributes:
            return None
        attributes.sort(key=lambda row: (row[0], row[1].value))
        return Object(name, tuple(dict.fromkeys(attributes)), key)

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
        data: str | None = None,
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
            data,
        )

    def value(self, type_: str, value: str, drops: list[Drop], path: str) -> Attribute | None:
        """A lone attribute without `to_ids` (links, CVEs)."""
        return self._attribute(type_, value, False, drops, path)


def _resolved(
    table: Table, tests: Iterable[tuple[str, str]]
) -> tuple[list[Found], dict[str, list[Found]], bool]:
    """Find the field of each test, those of parts apart; False where one has none. Type guards fold away."""
    found: list[Found] = []
    parts: dict[str, list[Found]] = {}
    complete = True
    for raw, value in tests:
        path = canonical_path(raw)
        target = table.fields.get(path)
        if target is None:
            inside = _inside_a_part(table, path)
            if inside is not None:
                where, field_ = inside
                parts.setdefault(where, []).append((path, field_, value))
            else:
                complete &= path in table.guards
            continue
        if isinstance(target, ByKind):
            chosen = target.fields.get(CHOOSERS[target.chooser](value))
            if chosen is None:
                complete = False
                continue
            target = chosen
        found.append((path, target, value))
    return found, parts, complete


def _inside_a_part(table: Table, path: str) -> tuple[str, Field] | None:
    for where, part in table.parts.items():
        if path.startswith(f"{where}.") and not part.several:
            below = path[len(where) + 1 :]
            target = part.fields.get(below) or part.fields.get(f"{below}[*]")
            if target is not None:
                return where, target
    return None


def _comments(pieces: Iterable[Piece]) -> str:
    """What the values say that no attribute takes: `ASLR: true, DEP: true`."""
    texts = []
    for piece in pieces:
        for _, one, value in piece.found:
            if one.comment is not None:
                texts.append(f"{one.comment}: {value}" if one.comment else value)
    return ", ".join(sorted(set(texts)))


def _kilometres(metres: str) -> str:
    try:
        return f"{float(metres) / 1_000:g}"
    except ValueError:
        return metres


@lru_cache(maxsize=1024)
def _protocol(value: str) -> str:
    name = value.lower()
    if name in ("ipv4", "ipv6", "ip", "arp", "icmp", "icmpv6", "ipv6-icmp"):
        return "layer3"
    return "layer4" if name in ("tcp", "udp", "sctp", "dccp", "quic") else "layer7"


CHOOSERS: dict[str, Callable[[str], str]] = {"network": kind, "protocol": _protocol, "coin": coin}


def _composite(table: Table, fields: list[Found]) -> str | None:
    paths = {path for path, _, _ in fields}
    types = {path: one.type for path, one, _ in fields}
    for composite in table.composites:
        if paths == {composite.left, composite.right}:
            left, _ = COMPOSITES[composite.type]
            if types[composite.left] == left:
                return composite.type
    return None
