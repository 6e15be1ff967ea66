"""Translates patterns: what the pattern algebra gives becomes attributes and objects.

The fields of the paths of a pattern are found once for each observable and set of paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from stixbridge.conversion.to_misp.elements import Elements, commented, says_the_same
from stixbridge.conversion.to_misp.translation import Attribute, Draft, Object, Translation
from stixbridge.conversion.to_misp.walk import CHOOSERS
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping import TABLES
from stixbridge.mapping.hashes import HASHES, STRONGEST
from stixbridge.mapping.indicator import LANGUAGES
from stixbridge.mapping.tables import ByKind, Field, Table, canonical_path
from stixbridge.misp.values import (
    BadValue,
    normalise,
)
from stixbridge.stix.pattern import MAX_LENGTH, PatternError, single_comparison
from stixbridge.stix.pattern_algebra import Group, Meaning, meaning_of


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


class Patterns:
    """Translates indicators, by the tables of the observables in their patterns."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements

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
        attribute = self._elements.attribute(type_, pattern, detects, draft, "pattern")
        if attribute is not None:
            draft.attributes.append(attribute)
        if type_ == "other":
            draft.comment = f"pattern language: {language}"
        return draft.done()

    def _comparison(self, pattern: str, detects: bool) -> Attribute | None:
        """A pattern that is one comparison with `=`, three quarters of all.

        The attribute that says it all.

        None for any other pattern, and where no single attribute holds the value: `_pattern`
        translates those.
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
        if not says_the_same(type_, single[2], value):
            return None
        return self._elements.made(type_, value, detects)

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
            text = self._elements.attribute(
                "stix2-pattern", pattern, detects and means.pattern_detects, draft, "pattern"
            )
            if text is not None:
                draft.hub = Object("stix2-pattern", (("stix2-pattern", text),), "pattern")
                draft.drops.append(("pattern", Outcome.PRESERVED, Reason.INEXACT))

    def _group(self, draft: Draft, group: Group, detects: bool, key: str) -> bool:
        """Translate the tests on one observable.

        False where the attributes don't say all of them.
        """
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
        element = self._elements.element(table, fields, detects, inner, key)
        complete &= not self._took(draft, inner)
        if not isinstance(element, Object) and inner.drops:
            # the text of the pattern has the values that are none of their type
            element = [row for row in element if row.type != "other"]
        if isinstance(element, Object):
            draft.objects.append(_identified(element))
            return complete
        draft.attributes.extend(element)
        # nothing came out, or two values of a property that has one: only the text says what is
        # meant
        return complete and len(element) == 1 and not commented(fields)

    @staticmethod
    def _took(draft: Draft, inner: Draft) -> bool:
        """Take over the losses of a part of a pattern.

        True where something is lost that only the text says.
        """
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
        element = self._elements.element(table, fields, False, inner, "not")
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
        """Translate tests on an observable's parts.

        One part alone is an attribute where one holds it all.
        """
        inner = Draft()
        parts = {
            where: [(path, field, group.tests[at][1]) for path, field, at in rows]
            for where, rows in resolved.parts
        }
        fields = [(path, field, group.tests[at][1]) for path, field, at in resolved.fields]
        if not fields and len(parts) == 1:
            ((path, found),) = parts.items()
            if len(found) == 1 and found[0][1].type is not None:
                attribute = self._elements.attribute(
                    found[0][1].type, found[0][2], detects, inner, path
                )
                if attribute is not None:
                    draft.attributes.append(attribute)
                self._took(draft, inner)
                return attribute is not None
        main = (
            self._elements.object(table.template, fields, detects, inner, key) if fields else None
        )
        if main is not None:
            draft.objects.append(main)
        for path, found in sorted(parts.items()):
            part = table.parts[path]
            made = self._elements.object(part.template, found, detects, inner, f"{key}/{path}")
            if made is not None:
                above = max(
                    (where for where in parts if path.startswith(f"{where}.")),
                    default=None,
                    key=len,
                )
                parent = f"{key}/{above}" if above is not None else key if main is not None else ""
                draft.objects.append(replace(made, parent=parent, verb=part.verb))
        every = [row for found in (fields, *parts.values()) for row in found]
        return not self._took(draft, inner) and not commented(every)


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
    """The type of the attribute that a test on one path is.

    None where it is none, or depends on the value.
    """
    table = TABLES.get(object_type)
    if table is None:
        return None
    plan = _plan_of(table, (path,))
    fields = plan.resolved.fields
    if plan.by_kind or plan.resolved.parts or len(fields) != 1 or fields[0][1].comment is not None:
        return None
    return fields[0][1].type


class PatternPlan(NamedTuple):
    """The fields of tests on some paths, and the tests whose field depends on their value."""

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
