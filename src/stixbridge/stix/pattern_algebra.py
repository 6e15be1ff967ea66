"""Interprets a STIX pattern as alternatives of values on observables.

`OR` and `IN` make alternatives. `AND` joins values on one object, or several objects. Attributes
can't express some comparisons (`LIKE` with wildcards, `<`, qualifiers, …). Such a comparison makes
the meaning inexact, and the caller keeps the text of the pattern beside the parts.
"""

from __future__ import annotations

import re
from itertools import chain, product
from math import prod
from typing import NamedTuple

from stixbridge.stix.pattern import (
    MAX_LENGTH,
    Boolean,
    Comparison,
    Literal,
    Observation,
    ObservationExpression,
    Qualified,
    Timestamp,
    parse,
    single_comparison,
)

MAX_ALTERNATIVES = 20_000
"""The most alternatives of a pattern; a pattern with more is kept as text only."""

MAX_PRODUCT = 200
"""An AND of ORs multiplies.

Above this product the parts are listed without `to_ids`, beside the text.
"""

Test = tuple[str, str]
"""(object path, value)."""


class Group(NamedTuple):
    """Values on one observable, for example a `file` with a name and a hash."""

    object_type: str
    tests: tuple[Test, ...]


Alternative = tuple[Group, ...]
"""Groups that must match together: an AND across objects."""


class Meaning(NamedTuple):
    """The meaning of a pattern.

    Attributes:
        alternatives: the pattern matches if one of them matches.
        exact: whether the alternatives express the whole pattern.
        detects: whether the parts may set `to_ids`.
        excluded: values of negated comparisons; they are context and never set `to_ids`.
        pattern_detects: whether an attribute with the text of the pattern may set `to_ids`.
    """

    alternatives: tuple[Alternative, ...]
    exact: bool = True
    detects: bool = True
    excluded: tuple[Group, ...] = ()
    pattern_detects: bool = True


def meaning(tree: ObservationExpression) -> Meaning:
    """Interpret a pattern's tree."""
    return _Interpreter().interpret(tree)


def meaning_of(pattern: str) -> Meaning:
    """Parse and interpret a pattern.

    Raises:
        PatternError: the text is not a pattern.
    """
    if len(pattern) <= MAX_LENGTH:
        single = single_comparison(pattern)
        if single is not None:
            object_type, path, value = single
            return Meaning(((Group(object_type, ((path, value),)),),))
    return meaning(parse(pattern))


class _TooMany(Exception):
    """The pattern has more alternatives than `MAX_ALTERNATIVES`."""


_Tests = tuple[tuple[str, str, str], ...]
"""(object type, path, value) that must match together in one observation."""


class _Interpreter:
    def __init__(self) -> None:
        self._exact = True
        self._detects = True
        self._plain = True
        self._excluded: list[Group] = []

    def interpret(self, tree: ObservationExpression) -> Meaning:
        try:
            alternatives = tuple(dict.fromkeys(self._observation(tree)))
        except _TooMany:
            self._exact = False
            alternatives = ()
        return Meaning(
            tuple(alternative for alternative in alternatives if alternative),
            self._exact,
            self._detects,
            tuple(dict.fromkeys(self._excluded)),
            self._detects and self._plain,
        )

    def _observation(self, tree: ObservationExpression) -> list[Alternative]:
        while isinstance(tree, Qualified):
            self._exact = False
            tree = tree.expression
        if isinstance(tree, Observation):
            return [_grouped(tests) for tests in self._comparison(tree.expression)]
        if tree.operator == "OR":
            return _limited(
                [found for operand in tree.operands for found in self._observation(operand)]
            )
        if tree.operator == "FOLLOWEDBY":
            self._exact = self._detects = False
        joined = self._product([self._observation(operand) for operand in tree.operands])
        # Two observations are two sightings, even of one type: only the text expresses their
        # connection.
        self._exact = False
        return joined

    def _comparison(self, tree: Comparison | Boolean) -> list[_Tests]:
        if isinstance(tree, Comparison):
            return self._one(tree)
        if tree.operator == "OR":
            return _limited(
                [found for operand in tree.operands for found in self._comparison(operand)]
            )
        joined = self._product([self._comparison(operand) for operand in tree.operands])
        if any(len({object_type for object_type, _, _ in tests}) > 1 for tests in joined):
            self._exact = False
        return joined

    def _product(self, parts: list[list[tuple]]) -> list[tuple]:  # type: ignore[type-arg]
        if prod(map(len, parts)) > MAX_PRODUCT:
            self._exact = self._detects = False
            return _limited([found for part in parts for found in part])
        return [tuple(chain.from_iterable(row)) for row in product(*parts)]

    def _one(self, test: Comparison) -> list[_Tests]:
        values = [text_of(value) for value in test.values]
        negated = test.negated != (test.operator == "!=")
        if test.operator in ("=", "!=", "IN"):
            if not negated:
                return _limited([((test.object_type, test.path, value),) for value in values])
            self._plain = False
            self._excluded.extend(
                Group(test.object_type, ((test.path, value),))
                for value in values[:MAX_ALTERNATIVES]
            )
        elif test.operator == "ISSUBSET" and not negated and test.path.endswith("value"):
            return [((test.object_type, test.path, values[0]),)]
        elif test.operator in ("LIKE", "MATCHES") and not negated:
            literal = (
                like_literal(values[0]) if test.operator == "LIKE" else regex_literal(values[0])
            )
            if literal is not None:
                return [((test.object_type, test.path, literal),)]
        else:
            self._plain = False
        self._exact = False
        return [()]


def _grouped(tests: _Tests) -> Alternative:
    groups: dict[str, list[Test]] = {}
    for object_type, path, value in tests:
        groups.setdefault(object_type, []).append((path, value))
    return tuple(
        Group(object_type, tuple(dict.fromkeys(found))) for object_type, found in groups.items()
    )


def _limited(found: list[tuple]) -> list[tuple]:  # type: ignore[type-arg]
    if len(found) > MAX_ALTERNATIVES:
        raise _TooMany
    return found


def text_of(value: Literal | Timestamp) -> str:
    """Return a literal as the text that MISP stores."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Timestamp):
        return value.text
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return value.hex()
        return text if text.isprintable() else value.hex()
    return str(value)


def like_literal(text: str) -> str | None:
    """Return the only text that a LIKE matches, or None if it has wildcards."""
    return None if "%" in text or "_" in text else text


_META = re.compile(r"[.^$*+?{}\[\]|()]")


def regex_literal(text: str) -> str | None:
    r"""Return the only text that a regular expression matches, without executing it."""
    if not (text.startswith("^") and text.endswith("$")):
        return None
    inner = text[1:-1]
    plain = re.sub(r"\\[^A-Za-z0-9]", "", inner)
    if _META.search(plain) or "\\" in plain:
        return None
    return re.sub(r"\\([^A-Za-z0-9])", r"\1", inner)
