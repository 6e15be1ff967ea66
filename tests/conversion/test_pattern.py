"""The pattern parser: its trees, its errors with their positions, and the reference grammars'
verdict on anything.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzz.reference import reference
from helpers.length import at_length
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stixbridge.stix.pattern import (
    MAX_DEPTH,
    MAX_LENGTH,
    Boolean,
    Comparison,
    Joined,
    Observation,
    ObservationExpression,
    PatternError,
    Qualified,
    Timestamp,
    parse,
)


def shown(tree: ObservationExpression | Boolean | Comparison) -> str:
    """A tree in one line, every group in parentheses."""
    match tree:
        case Comparison():
            negated = "NOT " if tree.negated else ""
            values = ", ".join(
                f"t{v.text}" if isinstance(v, Timestamp) else repr(v) for v in tree.values
            )
            return f"{tree.object_type}:{tree.path} {negated}{tree.operator} {values}".rstrip()
        case Boolean() | Joined():
            return "(" + f" {tree.operator} ".join(map(shown, tree.operands)) + ")"
        case Observation():
            return f"[{shown(tree.expression)}]"
        case Qualified():
            return f"{tree.qualifier}({shown(tree.expression)})"


ACCEPTED = [
    ("[a:b = 'x']", "[a:b = 'x']"),
    ("[a:b='x']", "[a:b = 'x']"),
    ("  [ a:b = 'x' ]\n", "[a:b = 'x']"),
    ("[a:b == 'x']", "[a:b = 'x']"),
    ("[a:b <> 'x']", "[a:b != 'x']"),
    ("[a:b != 1]", "[a:b != 1]"),
    ("[a:b NOT = 1]", "[a:b NOT = 1]"),
    ("[a:b > -1]", "[a:b > -1]"),
    ("[a:b <= +5]", "[a:b <= 5]"),
    ("[a:b >= .5]", "[a:b >= 0.5]"),
    ("[a:b < 1.25]", "[a:b < 1.25]"),
    ("[a:b = true]", "[a:b = True]"),
    ("[a:b != false]", "[a:b != False]"),
    ("[a:b = h'0aFF']", "[a:b = b'\\n\\xff']"),
    ("[a:b = h'']", "[a:b = b'']"),
    ("[a:b = b'AQID']", "[a:b = b'\\x01\\x02\\x03']"),
    ("[a:b = b'AQI=']", "[a:b = b'\\x01\\x02']"),
    ("[a:b = b'AQ==']", "[a:b = b'\\x01']"),
    ("[a:b > t'2026-01-02T03:04:05.6Z']", "[a:b > t2026-01-02T03:04:05.6Z]"),
    ("[a:b = t'2026-01-02T03:04:60Z']", "[a:b = t2026-01-02T03:04:60Z]"),
    (r"[a:b = 'it\'s']", '[a:b = "it\'s"]'),
    (r"[a:b = 'C:\\x']", r"[a:b = 'C:\\x']"),
    ("[a:b = 'x]y']", "[a:b = 'x]y']"),
    ("[a:b = '']", "[a:b = '']"),
    ("[a:b = 'two\nlines']", "[a:b = 'two\\nlines']"),
    ("[a:b IN ('x', 2, t'2026-01-01T00:00:00Z')]", "[a:b IN 'x', 2, t2026-01-01T00:00:00Z]"),
    ("[a:b IN ()]", "[a:b IN]"),
    ("[a:b NOT IN ('x')]", "[a:b NOT IN 'x']"),
    ("[a:b LIKE 'x%']", "[a:b LIKE 'x%']"),
    ("[a:b NOT MATCHES '^x$']", "[a:b NOT MATCHES '^x$']"),
    ("[a:b ISSUBSET '198.51.100.0/24']", "[a:b ISSUBSET '198.51.100.0/24']"),
    ("[a:b ISSUPERSET 'x']", "[a:b ISSUPERSET 'x']"),
    ("[EXISTS a:b]", "[a:b EXISTS]"),
    ("[NOT EXISTS a:b]", "[a:b NOT EXISTS]"),
    ("[a:EXISTS = 1]", "[a:EXISTS = 1]"),  # a name like any other in 2.0
    ("[file:hashes.'SHA-256' = 'x']", "[file:hashes.SHA-256 = 'x']"),
    ("[file:hashes.MD5 = 'x']", "[file:hashes.MD5 = 'x']"),
    ("[a:b[*].c = 1]", "[a:b[*].c = 1]"),
    ("[a:b[0].c[12] = 1]", "[a:b[0].c[12] = 1]"),
    ("[a:b[-1] = 1]", "[a:b[-1] = 1]"),
    ("[x-a-b:x_c.d_ref.value = 1]", "[x-a-b:x_c.d_ref.value = 1]"),
    ("[a:'b c'.d = 1]", "[a:b c.d = 1]"),
    ("[a:b = 1 AND a:c = 2]", "[(a:b = 1 AND a:c = 2)]"),
    ("[a:b = 1 OR a:c = 2 AND a:d = 3]", "[(a:b = 1 OR (a:c = 2 AND a:d = 3))]"),
    ("[(a:b = 1 OR a:c = 2) AND a:d = 3]", "[((a:b = 1 OR a:c = 2) AND a:d = 3)]"),
    ("[((a:b = 1))]", "[a:b = 1]"),
    ("[a:b = 1] AND [a:c = 2]", "([a:b = 1] AND [a:c = 2])"),
    ("[a:b=1] OR [a:b=2] AND [a:b=3]", "([a:b = 1] OR ([a:b = 2] AND [a:b = 3]))"),
    ("[a:b=1] FOLLOWEDBY [a:b=2] OR [a:b=3]", "([a:b = 1] FOLLOWEDBY ([a:b = 2] OR [a:b = 3]))"),
    ("([a:b=1] FOLLOWEDBY [a:b=2]) OR [a:b=3]", "(([a:b = 1] FOLLOWEDBY [a:b = 2]) OR [a:b = 3])"),
    ("[a:b=1]AND[a:b=2]", "([a:b = 1] AND [a:b = 2])"),
    ("[a:b = 1] WITHIN 5 SECONDS", "WITHIN([a:b = 1])"),
    ("[a:b = 1] WITHIN 0.5 SECONDS", "WITHIN([a:b = 1])"),
    ("[a:b = 1] REPEATS 5 TIMES", "REPEATS([a:b = 1])"),
    ("[a:b = 1] START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'", "START([a:b = 1])"),
    ("[a:b=1] REPEATS 2 TIMES WITHIN 5 SECONDS", "WITHIN(REPEATS([a:b = 1]))"),
    ("[a:b=1] AND [a:c=2] WITHIN 5 SECONDS", "([a:b = 1] AND WITHIN([a:c = 2]))"),
    ("([a:b=1] AND [a:c=2]) WITHIN 5 SECONDS", "WITHIN(([a:b = 1] AND [a:c = 2]))"),
    ("/* why */ [a:b = 1] // so\n", "[a:b = 1]"),
    ("[a:b/**/=/* ' */1]", "[a:b = 1]"),
    ("[a:b\u00a0=\u20281]", "[a:b = 1]"),
]


@pytest.mark.parametrize(("text", "tree"), ACCEPTED)
def test_accepts(text: str, tree: str) -> None:
    assert shown(parse(text)) == tree


# text, and the 0-based position at which it stops being a pattern
REFUSED = [
    ("", 0),
    ("a:b = 1", 0),
    ("[]", 1),
    ("[a]", 2),
    ("[a:]", 3),
    ("[a:b]", 4),
    ("[a:b = ]", 7),
    ("[a:b = x]", 7),
    ("[a:b = 1", 8),
    ("[a:b = 1]]", 9),
    ("[a:b = 1] [a:b = 2]", 10),
    ("[a:b = 1] and [a:b = 2]", 10),
    ("[a:b = 'x]", 7),
    (r"[a:b = 'C:\x']", 7),
    ('[a:b = "x"]', 7),
    ("[a:b = h'0']", 7),
    ("[a:b = b'A']", 7),
    ("[a:b = b'']", 7),  # an empty hex literal is one, an empty binary literal is none
    ("[a:b = 007]", 8),
    ("[a:b = 5.]", 8),
    ("[a:b = 1e5]", 8),
    ("[a:b = t'2026-13-01T00:00:00Z']", 7),
    ("[a:b = t'2026-01-01']", 7),
    ("[a:b > true]", 7),
    ("[a:b LIKE 5]", 10),
    ("[a:b IN 'x']", 8),
    ("[a:b IN ('x',)]", 13),
    ("[a:b IN ('x' 'y')]", 13),
    ("[a:b = ('x')]", 7),
    ("[a:b NOT NOT = 1]", 9),
    ("[NOT a:b = 1]", 1),
    ("[EXISTS]", 7),
    ("[a:hashes.SHA-256 = 'x']", 10),
    ("[a:b-c = 1]", 3),
    ("['a':b = 1]", 1),
    ("[a:b[x] = 1]", 5),
    ("[a:b.1 = 1]", 4),
    ("[AND:b = 1]", 1),
    ("[a:LAST = 1]", 3),
    ("[a:b = 1 AND]", 12),
    ("[(a:b = 1]", 9),
    ("([a:b = 1]", 10),
    ("[a:b = 1] WITHIN -5 SECONDS", 17),
    ("[a:b = 1] WITHIN 5", 18),
    ("[a:b = 1] REPEATS 1.5 TIMES", 18),
    ("[a:b = 1] START t'2026-01-01T00:00:00Z'", 39),
    ("[a:b = 1] START '2026-01-01T00:00:00Z' STOP '2026-01-02T00:00:00Z'", 16),
    ("[a:b = 1] FOLLOWEDBY", 20),
    ("[a:é = 1]", 3),
    ("[a:b = 1] /* open", 10),
]


@pytest.mark.parametrize(("text", "position"), REFUSED)
def test_refuses_at(text: str, position: int) -> None:
    with pytest.raises(PatternError) as raised:
        parse(text)
    assert raised.value.position == position
    assert f"character {position + 1}" in str(raised.value)


@pytest.mark.parametrize(("left", "right"), [("(", ")"), ("[(", ")]")])
def test_depth_has_a_limit(left: str, right: str) -> None:
    """Parentheses up to the limit are read, one more is refused; never a RecursionError."""
    inner = "[a:b = 1]" if left == "(" else "a:b = 1"
    outer, close = (left[:-1], right[1:]) if left != "(" else ("", "")

    def nested(depth: int) -> str:
        return outer + "(" * depth + inner + ")" * depth + close

    assert shown(parse(nested(MAX_DEPTH))) == "[a:b = 1]"
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(PatternError, match="deeper"):
            parse(nested(depth))


def test_length_has_a_limit() -> None:
    with pytest.raises(PatternError, match="longer"):
        parse("[a:b = '" + "x" * MAX_LENGTH + "']")
    assert parse("[a:b = '" + "x" * 100_000 + "']")


# The reference grammars


def ours(text: str) -> bool:
    """Whether `parse` accepts a text."""
    try:
        parse(text)
    except PatternError:
        return False
    return True


_space = st.sampled_from([" ", "  ", "\n", "\t", " /* ' */ ", " // ]\n", "\u00a0"])
_name = st.sampled_from(
    ["a", "b_1", "_c", "value", "hashes", "x_d", "t", "h", "b", "EXISTS", "LAST", "IN", "and"]
)
_type = st.sampled_from(
    ["a", "file", "ipv4-addr", "x-a-b", "network-traffic", "_", "a-", "EXISTS", "LAST", "NOT"]
)
_string = st.text(st.sampled_from("ab'\\]/% é\U0001f600-"), max_size=5).map(
    lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
)
_number = st.sampled_from(
    ["0", "1", "-1", "+2", "10", "1.5", "-.5", "+0.0", "007", "5.", "-0", "1e3"]
)
_literal = st.one_of(
    _string,
    _number,
    st.sampled_from(
        ["true", "false", "h'0aFf'", "h'0'", "h''", "b'AQID'", "b'AQ=='", "b'A'", "b''"]
    ),
    st.sampled_from(
        ["t'2026-01-02T03:04:05Z'", "t'2026-01-02T03:04:05.678Z'", "t'2026-1-2T03:04:05Z'", "t'x'"]
    ),
)
_step = st.one_of(
    _name.map(lambda name: f".{name}"),
    st.sampled_from(["[*]", "[0]", "[12]", "[-1]", "[01]", ".'SHA-256'", ".''", ".MD5"]),
)
_path = st.builds(
    lambda kind, first, steps: f"{kind}:{first}{''.join(steps)}",
    _type,
    st.one_of(_name, _string),
    st.lists(_step, max_size=3),
)
_operator = st.sampled_from(["=", "==", "!=", "<>", "<", ">", "<=", ">="])
_test = st.one_of(
    st.builds(lambda path, op, value: f"{path} {op} {value}", _path, _operator, _literal),
    st.builds(lambda path, op, value: f"{path} NOT {op} {value}", _path, _operator, _literal),
    st.builds(
        lambda path, negated, values: f"{path}{negated} IN ({', '.join(values)})",
        _path,
        st.sampled_from(["", " NOT"]),
        st.lists(_literal, max_size=3),
    ),
    st.builds(
        lambda path, op, value: f"{path} {op} {value}",
        _path,
        st.sampled_from(["LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET", "NOT LIKE"]),
        st.one_of(_string, _literal),
    ),
    st.builds(
        lambda word, path: f"{word} {path}", st.sampled_from(["EXISTS", "NOT EXISTS", "NOT"]), _path
    ),
)
_expression = st.recursive(
    _test,
    lambda inner: st.one_of(
        st.builds(lambda a, op, b: f"{a} {op} {b}", inner, st.sampled_from(["AND", "OR"]), inner),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=4,
)
_qualifier = st.sampled_from(
    [
        "WITHIN 5 SECONDS", "WITHIN 0.5 SECONDS", "REPEATS 2 TIMES", "REPEATS 0.5 TIMES",
        "WITHIN -1 SECONDS", "START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'",
        "START '2026-01-01T00:00:00Z' STOP 'x'",
    ]
)  # fmt: skip
_pattern = st.recursive(
    _expression.map(lambda text: f"[{text}]"),
    lambda inner: st.one_of(
        st.builds(
            lambda a, op, b: f"{a} {op} {b}",
            inner,
            st.sampled_from(["AND", "OR", "FOLLOWEDBY"]),
            inner,
        ),
        inner.map(lambda text: f"({text})"),
        st.builds(lambda text, word: f"{text} {word}", inner, _qualifier),
    ),
    max_leaves=3,
)
_PIECES = [
    "[", "]", "(", ")", "'", ":", ".", ",", "*", "=", "<", "+", "-", "/", "\\", "//", "/*", "*/",
    "^", "{", "é", "\x00", "\x85", "\u2028", "\ufeff", "0", "1.5", "NOT", "AND", "OR", "IN",
    "EXISTS", "LAST", "LIKE", "true", "WITHIN", "x", "a-b", "''",
]  # fmt: skip


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    tokens = re.findall(r"\w+|\s+|.", draw(_pattern), re.DOTALL)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(tokens) - 1))
        how = draw(st.sampled_from(["insert", "replace", "delete", "double", "space"]))
        if how == "insert":
            tokens.insert(at, draw(st.sampled_from(_PIECES)))
        elif how == "space":
            tokens.insert(at, draw(_space))
        elif how == "double":
            tokens.insert(at, tokens[at])
        elif how == "replace":
            tokens[at] = draw(st.sampled_from(_PIECES))
        elif len(tokens) > 1:
            del tokens[at]
    if draw(st.booleans()):  # comments and odd spaces where a space is: no other verdict
        tokens = [draw(_space) if token == " " else token for token in tokens]
    return "".join(tokens)


GENERATED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(GENERATED, max_examples=400)
@example("[a:EXISTS = 1]")
@example("[EXISTS:b IN ()]")
@example("[a:b = b'']")
@example("[a:LAST = 1]")
@example("[EXISTS LAST:b]")
@example(
    "[a:EXISTS = 1] AND [EXISTS a:b]"
)  # 2.0 has no operator EXISTS, 2.1 no name EXISTS: neither takes both
@given(_mutated())
def test_accepts_what_either_grammar_accepts(text: str) -> None:
    assert ours(text) is reference(text)


@pytest.mark.slow
@settings(GENERATED, max_examples=at_length(10_000))
@given(_mutated())
def test_accepts_what_either_grammar_accepts_at_length(text: str) -> None:
    assert ours(text) is reference(text)


def real_patterns(corpora: Path) -> set[str]:
    """The patterns of all indicators of all files, those of other languages too, and those of
    `patterns.jsonl`.
    """

    def inside(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(text := value.get("pattern"), str):
                yield text
            value = list(value.values())
        if isinstance(value, list):
            for held in value:
                yield from inside(held)

    found: set[str] = set()
    for path in sorted(corpora.rglob("*")):
        if path.name == "patterns.jsonl":
            found.update(json.loads(line)["pattern"] for line in path.read_bytes().splitlines())
        elif path.suffix in (".json", ".stix2"):
            found.update(inside(json.loads(path.read_bytes())))
    return found


@pytest.mark.long
def test_agrees_on_real_patterns(corpora: Path) -> None:
    texts = real_patterns(corpora)
    assert texts
    assert sorted(text for text in texts if ours(text) is not reference(text)) == []
