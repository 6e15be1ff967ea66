"""The translator: STIX objects and patterns to attributes and objects, by the tables and the pattern algebra.

The translation does not depend on the event that it goes to. A translator holds MISP's knowledge and nothing of a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from stixbridge.conversion.to_misp.shapes import Shape
from stixbridge.conversion.to_misp.translation import Attribute, Draft, Object, Translation, unique
from stixbridge.conversion.to_misp.walk import Found, Objects, Piece, Walk, text_of
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping import TABLES
from stixbridge.mapping.hashes import HASHES, STRONGEST
from stixbridge.mapping.indicator import LANGUAGES
from stixbridge.mapping.tables import COMMON, ByKind, Composite, Field, Table, canonical_path
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.values import (
    COMPOSITES,
    EVERYTHING,
    BadValue,
    base64_of,
    coin,
    cut,
    kind,
    normalise,
    reclassified,
    storable,
)
from stixbridge.stix.pattern import MAX_LENGTH, PatternError, single_comparison
from stixbridge.stix.pattern_algebra import Group, Meaning, meaning_of

MAX_RELATION = 128
"""The longest name of a relation that MISP stores."""

# Correlation is off where equal values say nothing about each other.
NO_CORRELATION = frozenset(
    {"port", "size-in-bytes", "AS", "filename", "mime-type", "link", "counter", "datetime", "float",
     "boolean", "text"}
)  # fmt: skip

_SCALAR = (str, int, float)


class Resolved(NamedTuple):
    """The fields of some paths of a pattern, those of parts apart.

    Attributes:
        fields: path and field of each test of the observable itself, with the place of the test.
        parts: path of a part -> the same for the tests of that part.
        complete: whether every test has a field or is a type guard.
    """

    fields: tuple[tuple[str, Field, int], ...]
    parts: tuple[tuple[str, tuple[tuple[str, Field, int], ...]], ...]
    complete: bool


class Translator:
    """Applies the tables."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    # indicators

    def indicator(self, obj: Mapping[str, Any], *, detects: bool) -> Translation:
        """Translate an indicator: its pattern by the algebra, or its rule in another language.

        Args:
            obj: the indicator, lifted to 2.1.
            detects: whether it may carry `to_ids` at all (not revoked, expired, benign).

        Raises:
            PatternError: for a STIX pattern outside the grammar.
        """
        pattern = obj.get("pattern")
        if not isinstance(pattern, str) or not pattern.strip():
            raise PatternError("no pattern", 0)
        language = str(obj.get("pattern_type", "stix")).strip().lower()
        if language == "stix":
            attribute = self._comparison(pattern, detects)
            if attribute is not None:
                return Translation(attributes=(attribute,))
            draft = Draft()
            self._pattern(draft, pattern, meaning_of(pattern), detects)
            return draft.done()
        draft = Draft()
        type_ = LANGUAGES.get(language, "other")
        attribute = self._attribute(type_, pattern, detects, draft, "pattern")
        if attribute is not None:
            draft.attributes.append(attribute)
        if type_ == "other":
            draft.comment = f"pattern language: {language}"
        return draft.done()

    def _comparison(self, pattern: str, detects: bool) -> Attribute | None:
        """A pattern that is one comparison with `=`, three quarters of all: the attribute that says it all.

        None for any other pattern, and where no single attribute holds the value: `_pattern` translates those.
        """
        single = single_comparison(pattern) if len(pattern) <= MAX_LENGTH else None
        if single is None:
            return None
        type_ = _type_of(single[0], single[1])
        if type_ is None:
            return None
        try:
            value = normalise(type_, single[2])
        except BadValue:
            return None
        if not _says_the_same(type_, single[2], value):
            return None
        return self._made(type_, value, detects)

    def _pattern(self, draft: Draft, pattern: str, means: Meaning, detects: bool) -> None:
        complete = means.exact
        part_detects = detects and means.detects
        hashes = _hashes_of_one_file(means)
        for at, alternative in enumerate(
            ((hashes,),) if hashes is not None else means.alternatives
        ):
            for place, group in enumerate(alternative):
                key = f"{at}.{place}.{group.object_type}" if at or place else group.object_type
                complete &= self._group(draft, group, part_detects, key)
        for group in means.excluded:
            self._excluded(draft, group)
        if len(draft.attributes) > 1:
            draft.attributes = list(dict.fromkeys(draft.attributes))
        if draft.excluded:
            draft.excluded = list(dict.fromkeys(draft.excluded))
        if not complete:
            text = self._attribute(
                "stix2-pattern", pattern, detects and means.pattern_detects, draft, "pattern"
            )
            if text is not None:
                draft.hub = Object("stix2-pattern", (("stix2-pattern", text),), "pattern")
                draft.drops.append(("pattern", Outcome.PRESERVED, Reason.INEXACT))

    def _group(self, draft: Draft, group: Group, detects: bool, key: str) -> bool:
        """Translate the tests on one observable; False where the attributes don't say all of them."""
        table = TABLES.get(group.object_type)
        if table is None or not table.fields:
            return False
        resolved = _resolved(table, group.tests)
        fields = [(path, field, group.tests[at][1]) for path, field, at in resolved.fields]
        complete = resolved.complete
        if len(fields) > 1:  # which of two values goes with which only the text says
            complete &= len(fields) == len({path for path, _, _ in fields})
        if resolved.parts:
            return complete & self._parts(draft, table, group, resolved, detects, key)
        if not complete and not fields:
            return False
        inner = Draft()
        element = self._element(table, fields, detects, inner, key)
        complete &= not self._took(draft, inner)
        if not isinstance(element, Object) and inner.drops:
            # the text of the pattern has the values that are none of their type
            element = [row for row in element if row.type != "other"]
        if isinstance(element, Object):
            draft.objects.append(_identified(element))
            return complete
        draft.attributes.extend(element)
        # nothing came out, or two values of a property that has one: only the text says what is meant
        return complete and len(element) == 1 and not _commented(fields)

    @staticmethod
    def _took(draft: Draft, inner: Draft) -> bool:
        """Take over the losses of a part of a pattern; True where something is lost that only the text says."""
        draft.drops.extend(("pattern", outcome, reason) for _, outcome, reason in inner.drops)
        draft.kept.extend(inner.kept)
        return any(reason is not Reason.MENDED for _, _, reason in inner.drops)

    def _excluded(self, draft: Draft, group: Group) -> None:
        """Translate a value that the pattern excludes, where one attribute holds it."""
        table = TABLES.get(group.object_type)
        if table is None or not table.fields:
            return
        resolved = _resolved(table, group.tests)
        if resolved.parts or not resolved.fields:
            return
        fields = [(path, field, group.tests[at][1]) for path, field, at in resolved.fields]
        inner = Draft()
        element = self._element(table, fields, False, inner, "not")
        self._took(draft, inner)
        if not isinstance(element, Object):
            draft.excluded.extend(element)

    def _parts(
        self,
        draft: Draft,
        table: Table,
        group: Group,
        resolved: Resolved,
        detects: bool,
        key: str,
    ) -> bool:
        """Translate tests on an observable's parts; one part alone is an attribute where one holds it all."""
        inner = Draft()
        parts = {
            where: [(path, field, group.tests[at][1]) for path, field, at in rows]
            for where, rows in resolved.parts
        }
        fields = [(path, field, group.tests[at][1]) for path, field, at in resolved.fields]
        if not fields and len(parts) == 1:
            ((path, found),) = parts.items()
            if len(found) == 1 and found[0][1].type is not None:
                attribute = self._attribute(found[0][1].type, found[0][2], detects, inner, path)
                if attribute is not None:
                    draft.attributes.append(attribute)
                self._took(draft, inner)
                return attribute is not None
        main = self._object(table.template, fields, detects, inner, key) if fields else None
        if main is not None:
            draft.objects.append(main)
        for path, found in sorted(parts.items()):
            part = table.parts[path]
            made = self._object(part.template, found, detects, inner, f"{key}/{path}")
            if made is not None:
                above = max(
                    (where for where in parts if path.startswith(f"{where}.")),
                    default=None,
                    key=len,
                )
                parent = f"{key}/{above}" if above is not None else key if main is not None else ""
                draft.objects.append(replace(made, parent=parent, verb=part.verb))
        every = [row for found in (fields, *parts.values()) for row in found]
        return not self._took(draft, inner) and not _commented(every)

    # observables and details

    def observable(self, obj: Mapping[str, Any], shape: Shape, get: Objects) -> Translation:
        """Translate a cyber-observable; references that a path of its table follows are taken in.

        Args:
            obj: the observable.
            shape: its shape.
            get: finds the objects it refers to.
        """
        table = shape.table
        found = _scalars(obj, shape)
        if found is not None:
            draft = Draft()
            self._add(draft, self._element(table, found, False, draft, table.stix_type))
            if _commented(found):
                draft.comment = _comment(found)
            return draft.done()
        walk = Walk(table, obj, get, CHOOSERS)
        draft = Draft(drops=walk.drops, sources=walk.taken)
        main, *pieces = walk.pieces
        pieces = [piece for piece in pieces if piece.found]
        key = str(obj["type"])
        if pieces:
            made = (
                self._object(table.template, main.found, False, draft, key) if main.found else None
            )
            if made is not None:
                draft.objects.append(made)
            self._pieces(draft, pieces, key)
        else:
            self._add(draft, self._element(table, main.found, False, draft, key))
        draft.comment = _comment(row for piece in walk.pieces for row in piece.found)
        # an object that does not fit in here has to stand by itself
        lost = {path.rpartition(".")[0] for path, _, _ in draft.drops}
        empty = not (draft.attributes or draft.objects)
        draft.consumed = [ref for ref, path in walk.consumed if not empty and path not in lost]
        return draft.done()

    @staticmethod
    def _add(draft: Draft, element: list[Attribute] | Object) -> None:
        if isinstance(element, Object):
            draft.objects.append(element)
        else:
            draft.attributes.extend(element)

    def _pieces(self, draft: Draft, pieces: list[Piece], key: str) -> None:
        for piece in pieces:
            if piece.part is None:
                continue
            above = piece.parent
            while above is not None and not above.found:
                above = above.parent
            parent = "" if above is None else f"{key}/{above.key}" if above.key else key
            made = self._object(
                piece.part.template, piece.found, False, draft, f"{key}/{piece.key}"
            )
            if made is not None:
                draft.objects.append(replace(made, parent=parent, verb=piece.part.verb))

    def detail(self, obj: Mapping[str, Any], table: Table) -> Draft:
        """Translate a type with an object template (identity, infrastructure) in full: to the object."""
        walk = Walk(table, obj, lambda _: None, CHOOSERS)
        draft = Draft(drops=walk.drops)
        made = self._object(table.template, walk.pieces[0].found, False, draft, str(obj["type"]))
        if made is not None:
            draft.objects.append(made)
        draft.comment = _comment(row for piece in walk.pieces for row in piece.found)
        return draft

    def custom(self, obj: Mapping[str, Any]) -> Translation:
        """Translate an object of a type that no table knows: a MISP object, each property a text.

        Properties that STIX gives every object (times, markings, labels) go where they always go.
        """
        draft = Draft()
        attributes: list[tuple[str, Attribute]] = []
        for name, value in obj.items():
            if name in COMMON or value in (None, "", [], {}):
                continue
            for item in value if isinstance(value, list) else [value]:
                made = self._attribute("text", text_of(item), False, draft, name)
                if made is not None:
                    attributes.append((cut(storable(name), MAX_RELATION), made))
        if attributes:
            draft.objects.append(Object(str(obj["type"]), unique(attributes), "", custom=True))
        return draft.done()

    # elements

    def _element(
        self, table: Table, fields: list[Found], detects: bool, draft: Draft, key: str
    ) -> list[Attribute] | Object:
        """One attribute where one value (or a composite) says it all, otherwise an object."""
        if _commented(fields):
            fields = [row for row in fields if row[1].comment is None]
        if len(fields) == 1:
            path, field, value = fields[0]
            if field.type is not None:
                attribute = self._attribute(field.type, value, detects, draft, path)
                return [attribute] if attribute is not None else []
        elif len(fields) == 2:
            attribute = self._composite(table, fields, detects)
            if attribute is not None:
                return [attribute]
        if table.template is not None:
            made = self._object(table.template, fields, detects, draft, key)
            if made is not None or not draft.kept:
                return made if made is not None else []
            # no field of the object took its value: the values stand as they are
            return self._as_text(fields, draft)
        found = [
            self._attribute(field.type, value, detects, draft, path)
            for path, field, value in fields
            if field.type is not None
        ]
        return [attribute for attribute in found if attribute is not None]

    def _as_text(self, fields: list[Found], draft: Draft) -> list[Attribute]:
        """Values that fit no field, as attributes of the type `other`."""
        draft.kept.clear()
        found = [self._other(value) for _, _, value in fields]
        return [attribute for attribute in found if attribute is not None]

    def _composite(self, table: Table, fields: list[Found], detects: bool) -> Attribute | None:
        """One attribute of two values; None where one half does not fit (a name that resolves to a name)."""
        composite = _composite_of(table, fields)
        if composite is None:
            return None
        by_path = {path: value for path, _, value in fields}
        left, right = by_path[composite.left], by_path[composite.right]
        if "|" in left:
            return None  # MISP separates the halves by it
        joined = f"{left}|{right}"
        try:
            value = normalise(composite.type, joined)
        except BadValue:
            return None
        same = _says_the_same(composite.type, joined, value)
        return self._made(composite.type, value, detects) if same else None

    def _object(
        self, name: str | None, fields: list[Found], detects: bool, draft: Draft, key: str
    ) -> Object | None:
        if name is None:
            return None
        template = self._knowledge.template(name)
        attributes: list[tuple[str, Attribute]] = []
        for path, field, value in fields:
            if field.relation is None:
                if field.comment is None:
                    draft.lose(path, Outcome.DROPPED, Reason.NO_PLACE)
                continue
            content = base64_of(value) if field.data else None
            if field.data and content is None:
                draft.lose(path, Outcome.DROPPED, Reason.INVALID_VALUE)
                continue
            if field.data:
                value = f"{key}.bin"
            elif field.convert is not None:
                value = field.convert(value)
            type_, template_ids, no_correlation, category = template.relations[field.relation]
            selects = detects and field.selects and template_ids is not False
            attribute = self._in_object(type_, value, selects, draft, path)
            if attribute is None:
                draft.kept.append(f"{field.relation}: {value}")
                continue
            if category and category in self._knowledge.allowed[type_]:
                attribute = attribute._replace(category=category)
            if no_correlation or content is not None:
                attribute = attribute._replace(
                    correlate=attribute.correlate and not no_correlation, data=content
                )
            attributes.append((field.relation, attribute))
        if not attributes:
            return None
        return Object(name, unique(attributes), key)

    def _in_object(
        self, type_: str, value: str, detects: bool, draft: Draft, path: str
    ) -> Attribute | None:
        """An attribute of an object, whose type its relation fixes; None where the value is none of that type."""
        try:
            normal = normalise(type_, value)
        except BadValue:
            draft.lose(path, Outcome.PRESERVED, Reason.INVALID_VALUE)
            return None
        if not _says_the_same(type_, value, normal):
            draft.lose(path, Outcome.PRESERVED, Reason.MENDED)
            detects = False
        return self._made(type_, normal, detects)

    def _attribute(
        self, type_: str, value: str, detects: bool, draft: Draft, path: str
    ) -> Attribute | None:
        """A lone attribute. A value that is none of the type gets the type it plainly has, or else `other`.

        None only where the value holds nothing.
        """
        try:
            normal = normalise(type_, value)
        except BadValue:
            fitting = reclassified(type_, value)
            if fitting is not None:
                return self._made(fitting[0], fitting[1], detects)
            made = self._other(value)
            outcome = Outcome.DROPPED if made is None else Outcome.PRESERVED
            draft.lose(path, outcome, Reason.INVALID_VALUE)
            return made
        if not _says_the_same(type_, value, normal):
            draft.lose(path, Outcome.PRESERVED, Reason.MENDED)
            detects = False
        return self._made(type_, normal, detects)

    def _other(self, value: str) -> Attribute | None:
        """A value that MISP takes under no type of its own: kept, without `to_ids`."""
        try:
            return self._made("other", normalise("other", value), False)
        except BadValue:
            return None

    def _made(self, type_: str, value: str, detects: bool) -> Attribute:
        knowledge = self._knowledge
        return Attribute(
            type_,
            value,
            knowledge.categories[type_],
            detects and type_ in knowledge.to_ids and value not in EVERYTHING,
            type_ not in NO_CORRELATION,
        )

    def value(self, type_: str, value: str, drops: list[Drop], path: str) -> Attribute | None:
        """A lone attribute without `to_ids` (links, CVEs); None with a drop where MISP would refuse the value."""
        try:
            return self._made(type_, normalise(type_, value), False)
        except BadValue:
            drops.append((path, Outcome.DROPPED, Reason.INVALID_VALUE))
            return None

    def unreadable(self, pattern: str) -> Attribute | None:
        """The text of a pattern outside the grammar: kept for a reader, without `to_ids`."""
        try:
            value = normalise("stix2-pattern", pattern)
        except BadValue:
            return None
        return Attribute("stix2-pattern", value, "Payload delivery", False, False)


def _says_the_same(type_: str, value: str, normal: str) -> bool:
    """Whether a value still is what the source wrote, once characters that MISP can't hold are written otherwise."""
    if value.isascii() or type_ in ("url", "uri", "link"):
        return True
    return storable(value) == value or "\\u{" not in normal


_ALGORITHM = re.compile(r"hashes\.[A-Za-z0-9/-]+")


def _hashes_of_one_file(means: Meaning) -> Group | None:
    """Alternatives that are different hash algorithms of a file, each once: they are one file.

    None for any other pattern.
    """
    if len(means.alternatives) < 2 or means.excluded:
        return None
    tests: dict[str, tuple[str, str]] = {}
    for alternative in means.alternatives:
        if len(alternative) != 1 or alternative[0].object_type != "file":
            return None
        group = alternative[0]
        if len(group.tests) != 1:
            return None
        path = canonical_path(group.tests[0][0])
        if _ALGORITHM.fullmatch(path) is None or path in tests:
            return None
        tests[path] = group.tests[0]
    return Group("file", tuple(tests.values()))


def _identified(element: Object) -> Object:
    """A file of hashes alone is the same object in its event, whichever STIX object says it."""
    if element.template != "file":
        return element
    hashes = {row.type: row.value for relation, row in element.attributes if relation in _HASHES}
    if len(hashes) != len(element.attributes):
        return element
    strongest = next((name for name in STRONGEST if name in hashes), None)
    if strongest is None:
        return element
    return replace(element, identity=f"{strongest}|{hashes[strongest]}")


_HASHES = frozenset(HASHES.values())


def _scalars(obj: Mapping[str, Any], shape: Shape) -> list[Found] | None:
    """The values of an object all of whose properties are plain values with a field; None for any other."""
    if shape.scalars is None:
        return None
    found: list[Found] = []
    for name, field in shape.scalars:
        value = obj[name]
        if isinstance(value, str):
            found.append((name, field, value))
        elif isinstance(value, _SCALAR):
            found.append((name, field, text_of(value)))
        elif value is not None:
            return None
    return found


def _resolved(table: Table, tests: tuple[tuple[str, str], ...]) -> Resolved:
    """The field of each test; those that depend on the kind of the value are chosen by it."""
    plan = _plan_of(table, tuple([path for path, _ in tests]))
    if not plan.by_kind:
        return plan.resolved
    fields, complete = list(plan.resolved.fields), plan.resolved.complete
    for path, target, at in plan.by_kind:
        field = target.fields.get(CHOOSERS[target.chooser](tests[at][1]))
        if field is None:
            complete = False
        else:
            fields.append((path, field, at))
    fields.sort(key=lambda row: row[2])
    return Resolved(tuple(fields), plan.resolved.parts, complete)


@lru_cache(maxsize=8192)
def _type_of(object_type: str, path: str) -> str | None:
    """The type of the attribute that a test on one path is; None where it is none, or depends on the value."""
    table = TABLES.get(object_type)
    if table is None:
        return None
    plan = _plan_of(table, (path,))
    fields = plan.resolved.fields
    if plan.by_kind or plan.resolved.parts or len(fields) != 1 or fields[0][1].comment is not None:
        return None
    return fields[0][1].type


class PatternPlan(NamedTuple):
    """How tests on some paths of an observable resolve, and those whose field depends on their value."""

    resolved: Resolved
    by_kind: tuple[tuple[str, ByKind, int], ...]


@lru_cache(maxsize=8192)
def _plan_of(table: Table, paths: tuple[str, ...]) -> PatternPlan:
    """Find the field of each path, those of parts apart. Type guards fold away."""
    fields: list[tuple[str, Field, int]] = []
    by_kind: list[tuple[str, ByKind, int]] = []
    parts: dict[str, list[tuple[str, Field, int]]] = {}
    complete = True
    for at, raw in enumerate(paths):
        path = canonical_path(raw)
        target = table.fields.get(path)
        if isinstance(target, ByKind):
            by_kind.append((path, target, at))
        elif target is not None:
            fields.append((path, target, at))
        else:
            inside = _inside_a_part(table, path)
            if inside is not None:
                where, field = inside
                parts.setdefault(where, []).append((path, field, at))
            else:
                complete &= path in table.guards
    rows = tuple((where, tuple(found)) for where, found in parts.items())
    return PatternPlan(Resolved(tuple(fields), rows, complete), tuple(by_kind))


def _inside_a_part(table: Table, path: str) -> tuple[str, Field] | None:
    for where, part in table.parts.items():
        if path.startswith(f"{where}.") and not part.several:
            below = path[len(where) + 1 :]
            target = part.fields.get(below) or part.fields.get(f"{below}[*]")
            if target is not None:
                return where, target
    return None


def _commented(fields: Iterable[Found]) -> bool:
    """Whether a value goes to the comment of the element."""
    for _, field, _ in fields:  # noqa: SIM110 - twice as fast as any()
        if field.comment is not None:
            return True
    return False


def _comment(fields: Iterable[Found]) -> str:
    """The values that no attribute takes: `ASLR: true, DEP: true`."""
    texts = {
        f"{field.comment}: {value}" if field.comment else value
        for _, field, value in fields
        if field.comment is not None
    }
    return ", ".join(sorted(texts))


@lru_cache(maxsize=1024)
def _protocol(value: str) -> str:
    name = value.lower()
    if name in ("ipv4", "ipv6", "ip", "arp", "icmp", "icmpv6", "ipv6-icmp"):
        return "layer3"
    return "layer4" if name in ("tcp", "udp", "sctp", "dccp", "quic") else "layer7"


CHOOSERS: dict[str, Callable[[str], str]] = {"network": kind, "protocol": _protocol, "coin": coin}


def _composite_of(table: Table, fields: list[Found]) -> Composite | None:
    types = {path: field.type for path, field, _ in fields}
    for composite in table.composites:
        if types.keys() == {composite.left, composite.right}:
            left, _ = COMPOSITES[composite.type]
            if types[composite.left] == left:
                return composite
    return None
