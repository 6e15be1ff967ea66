"""Parses the STIX patterning language (STIX 2.1, section 9) in linear time.

The parser accepts a pattern that the reference grammar of 2.0 or of 2.1 accepts. It refuses nesting
deeper than `MAX_DEPTH` and text longer than `MAX_LENGTH`, because only hostile patterns need them.
It never executes any part of a pattern, and that includes regular expressions.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

MAX_LENGTH = 1_000_000
MAX_DEPTH = 200

Literal = str | int | float | bool | bytes


class PatternError(ValueError):
    """The text is not a STIX pattern.

    The message says what was expected, and at which character.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} at character {position + 1}")
        self.position = position


class PatternLimit(PatternError):
    """The pattern is over a limit that protects against hostile input; it may be right."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A literal `t'…'`."""

    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`file:hashes.MD5 = '…'`.

    Attributes:
        object_type: `file`.
        path: the object path in one string: `hashes.MD5`, `protocols[*]`,
            `extensions.windows-pebinary-ext.imphash`.
        operator: one of = != < > <= >= IN LIKE MATCHES ISSUBSET ISSUPERSET EXISTS.
        values: the literals: one, or any number for IN, or none for EXISTS.
        negated: whether NOT stands before the operator.
    """

    object_type: str
    path: str
    operator: str
    values: tuple[Literal | Timestamp, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Boolean:
    """Comparisons joined by AND or OR inside one observation."""

    operator: str
    operands: tuple[Comparison | Boolean, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """`[ … ]`."""

    expression: Comparison | Boolean


@dataclass(frozen=True, slots=True)
class Joined:
    """Observations joined by AND, OR or FOLLOWEDBY."""

    operator: str
    operands: tuple[ObservationExpression, ...]


@dataclass(frozen=True, slots=True)
class Qualified:
    """An observation with START … STOP, WITHIN or REPEATS; `qualifier` is the keyword."""

    qualifier: str
    expression: ObservationExpression


ObservationExpression = Observation | Joined | Qualified

_STRING = r"'(?:[^'\\]|\\'|\\\\)*'"

# Three quarters of all real patterns are one comparison with `=`; this expression matches those.
# The path has no list index, no quotes but around one component, and the value no escapes.
SINGLE = re.compile(
    r"\[\s*([a-zA-Z_][a-zA-Z0-9_-]*):([a-zA-Z_][a-zA-Z0-9_]*(?:\.(?:[a-zA-Z_][a-zA-Z0-9_]*|'[a-zA-Z0-9_-]+'))*)"
    r"\s*=\s*'([^'\\]*)'\s*\]\s*",
    re.ASCII,
)

_TOKEN = re.compile(
    r"""
      (?P<space>(?:[ \t\r\n\v\f\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]
                  |/\*.*?\*/|//[^\r\n]*)+)
    | (?P<timestamp>t'\d{4}-(?:0[1-9]|1[012])-(?:0[1-9]|[12]\d|3[01])
                     T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?Z')
    | (?P<hex>h'(?:[A-Fa-f0-9]{2})*')
    | (?P<binary>b'(?:[A-Za-z0-9+/]{4})*
                  (?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)')
    | (?P<string>'(?:[^'\\]|\\'|\\\\)*')
    | (?P<float>[+-]?[0-9]*\.[0-9]+)
    | (?P<int>[+-]?(?:0|[1-9][0-9]*))
    | (?P<hyphenated>[a-zA-Z_][a-zA-Z0-9_]*-[a-zA-Z0-9_-]*)
    | (?P<word>[a-zA-Z_][a-zA-Z0-9_]*)
    | (?P<operator><=|>=|==|!=|<>|[=<>])
    | (?P<punctuation>[\[\]().,:*])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)

_KEYWORDS = frozenset(
    {
        "AND",
        "OR",
        "NOT",
        "FOLLOWEDBY",
        "LIKE",
        "MATCHES",
        "ISSUPERSET",
        "ISSUBSET",
        "EXISTS",
        "IN",
        "START",
        "STOP",
    }
    | {"SECONDS", "true", "false", "WITHIN", "REPEATS", "TIMES", "LAST"}
)

_OPERATORS = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    ">": ">",
    "<=": "<=",
    ">=": ">=",
}
_STRING_OPERATORS = frozenset({"LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"})
_LITERALS = frozenset({"string", "int", "float", "hex", "binary", "timestamp"})

_Token = tuple[str, str, int]
"""(kind, text, position); keywords have their own text as kind."""


def parse(text: str) -> ObservationExpression:
    """Parse a pattern.

    Args:
        text: the pattern, as in an indicator's `pattern`.

    Returns:
        The tree. AND binds closer than OR, OR closer than FOLLOWEDBY (section 9.5 and 9.6).

    Raises:
        PatternError: the text is not a pattern; the error has the position.
    """
    if len(text) > MAX_LENGTH:
        raise PatternLimit(f"longer than {MAX_LENGTH:,} characters", MAX_LENGTH)
    single = single_comparison(text)
    if single is not None:
        object_type, path, value = single
        return Observation(Comparison(object_type, path, "=", (value,)))
    return _Parser(_tokens(text)).pattern()


def single_comparison(text: str) -> tuple[str, str, str] | None:
    """Read a pattern that is one comparison with `=`, without parsing.

    Returns:
        (object type, path, value), or None for any other pattern.
    """
    match = SINGLE.fullmatch(text)
    if match is None:
        return None
    object_type, quoted, value = match.groups()
    path = _plain_path(quoted)
    return (object_type, path, value) if path is not None and object_type not in _KEYWORDS else None


@lru_cache(maxsize=4096)
def _plain_path(quoted: str) -> str | None:
    """Return a path without its quotes, or None if a step is a keyword of the grammar."""
    path = quoted.replace("'", "")
    return None if quoted.startswith("'") or not _KEYWORDS.isdisjoint(path.split(".")) else path


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, end = 0, len(text)
    match_at = _TOKEN.match
    while position < end:
        match = match_at(text, position)
        if match is None:
            raise PatternError(f"unexpected {text[position]!r}", position)
        kind = match.lastgroup or ""
        if kind != "space":
            word = match[0]
            if (kind == "word" and word in _KEYWORDS) or kind == "punctuation":
                kind = word
            tokens.append((kind, word, position))
        position = match.end()
    tokens.append(("end", "", end))
    return tokens


class _Parser:
    """A recursive-descent parser: one method for each grammar rule, one token of look-ahead."""

    __slots__ = ("_at", "_depth", "_only", "_tokens")

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._only = (
            ""  # the grammar version that the text so far requires: EXISTS is a plain word in 2.0
        )

    def pattern(self) -> ObservationExpression:
        if self._tokens[0][0] not in ("[", "("):
            self._fail("a pattern begins with '['")
        tree = self._joined("FOLLOWEDBY")
        if self._peek() != "end":
            self._fail("expected AND, OR, FOLLOWEDBY, a qualifier or the end")
        return tree

    # observations

    def _joined(self, operator: str) -> ObservationExpression:
        tighter = {"FOLLOWEDBY": "OR", "OR": "AND"}.get(operator)
        operands = [self._joined(tighter) if tighter else self._observation()]
        while self._peek() == operator:
            self._at += 1
            operands.append(self._joined(tighter) if tighter else self._observation())
        return operands[0] if len(operands) == 1 else Joined(operator, tuple(operands))

    def _observation(self) -> ObservationExpression:
        tree: ObservationExpression
        if self._peek() == "[":
            self._at += 1
            tree = Observation(self._comparisons("OR"))
            self._expect("]")
        elif self._peek() == "(":
            self._enter()
            tree = self._joined("FOLLOWEDBY")
            self._expect(")")
            self._depth -= 1
        else:
            self._fail("expected '[' or '('")
        while (keyword := self._peek()) in ("START", "WITHIN", "REPEATS"):
            self._at += 1
            if keyword == "START":
                self._expect("timestamp")
                self._expect("STOP")
                self._expect("timestamp")
            elif keyword == "WITHIN":
                self._positive("int", "float")
                self._expect("SECONDS")
            else:
                self._positive("int")
                self._expect("TIMES")
            tree = Qualified(keyword, tree)
        return tree

    def _positive(self, *kinds: str) -> None:
        if self._tokens[self._at][1].startswith("-"):
            self._fail("expected a number that is not negative")
        self._expect(*kinds)

    # comparisons

    def _comparisons(self, operator: str) -> Comparison | Boolean:
        operands = [self._comparisons("AND") if operator == "OR" else self._test()]
        while self._peek() == operator:
            self._at += 1
            operands.append(self._comparisons("AND") if operator == "OR" else self._test())
        return operands[0] if len(operands) == 1 else Boolean(operator, tuple(operands))

    def _test(self) -> Comparison | Boolean:
        if self._peek() == "(":
            self._enter()
            inner = self._comparisons("OR")
            self._expect(")")
            self._depth -= 1
            return inner
        ahead = self._tokens[self._at + 1][0] if self._peek() != "end" else ""
        if (self._peek() == "EXISTS" and ahead != ":") or (
            self._peek() == "NOT" and ahead == "EXISTS"
        ):
            negated = self._peek() == "NOT"
            self._at += 1 + negated
            self._belongs_to("2.1")
            return Comparison(*self._object_path(), "EXISTS", (), negated)
        object_type, path = self._object_path()
        negated = self._peek() == "NOT"
        self._at += negated
        kind, text, _ = self._tokens[self._at]
        self._at += 1
        if kind == "operator":
            operator = _OPERATORS[text]
            value = self._literal(bool_allowed=operator in ("=", "!="))
            return Comparison(object_type, path, operator, (value,), negated)
        if kind == "IN":
            return Comparison(object_type, path, kind, self._set(), negated)
        if kind in _STRING_OPERATORS:
            return Comparison(
                object_type, path, kind, (_unquoted(self._expect("string")),), negated
            )
        self._at -= 1
        self._fail("expected a comparison operator")

    def _object_path(self) -> tuple[str, str]:
        object_type = self._name("hyphenated")
        self._expect(":")
        steps = [self._step()]
        while True:
            kind, text, _ = self._tokens[self._at]
            if kind == ".":
                self._at += 1
                steps.append("." + self._step())
            elif kind == "[":
                self._at += 1
                index = self._expect("int", "*")
                self._expect("]")
                steps.append(f"[{index}]")
            elif kind == "float" and text.startswith("."):
                self._fail("expected a property name")
            else:
                return object_type, "".join(steps)

    def _step(self) -> str:
        kind, text, _ = self._tokens[self._at]
        if kind == "string":
            self._at += 1
            return _unquoted(text)
        return self._name()

    def _set(self) -> tuple[Literal | Timestamp, ...]:
        self._expect("(")
        if self._peek() == ")":
            self._at += 1
            return ()
        values = [self._literal(bool_allowed=True)]
        while self._peek() == ",":
            self._at += 1
            values.append(self._literal(bool_allowed=True))
        self._expect(")")
        return tuple(values)

    def _literal(self, *, bool_allowed: bool) -> Literal | Timestamp:
        kind, text, _ = self._tokens[self._at]
        if kind in ("true", "false") and bool_allowed:
            self._at += 1
            return kind == "true"
        if kind not in _LITERALS:
            self._fail("expected a literal")
        self._at += 1
        if kind == "string":
            return _unquoted(text)
        if kind == "int":
            # a number of thousands of digits is hostile, and Python refuses to read it
            return int(text) if len(text) < 100 else text
        if kind == "float":
            return float(text)
        if kind == "hex":
            return bytes.fromhex(text[2:-1])
        if kind == "binary":
            return b64decode(text[2:-1])
        return Timestamp(text[2:-1])

    # helpers

    def _peek(self) -> str:
        return self._tokens[self._at][0]

    def _expect(self, *kinds: str) -> str:
        kind, text, _ = self._tokens[self._at]
        if kind not in kinds:
            self._fail(
                "expected " + " or ".join(kind if kind.isalpha() else f"'{kind}'" for kind in kinds)
            )
        self._at += 1
        return text

    def _name(self, *kinds: str) -> str:
        if self._peek() == "EXISTS":
            self._belongs_to("2.0")
        return self._expect("word", "EXISTS", *kinds)

    def _belongs_to(self, version: str) -> None:
        if self._only not in ("", version):
            self._fail("EXISTS is a word in 2.0 and an operator in 2.1, not both")
        self._only = version

    def _enter(self) -> None:
        self._at += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise PatternLimit(f"nested deeper than {MAX_DEPTH}", self._tokens[self._at][2])

    def _fail(self, message: str) -> NoReturn:
        _, text, position = self._tokens[self._at]
        found = f", found {text[:40]!r}" if text else ", found the end"
        raise PatternError(message + found, position)


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL) if "\\" in inner else inner
