"""Conditions and templates in CEL, the Common Expression Language.

The library checks only the syntax. This module checks names, functions and members, so that a typo
is found when a rule is loaded, and not by a rule that never fires.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stixbridge.enrich.rules.variables import MEMBERS, OPEN
from stixbridge.settings.mistakes import near

if TYPE_CHECKING:
    from cel import Context, Program

NAMES = {*MEMBERS, *OPEN}


class BadExpression(Exception):
    """An expression is wrong; the message says why."""


def _in_network(value: Any, network: Any) -> bool:
    try:
        return ip_address(str(value).partition("|")[0]) in ip_network(str(network), strict=False)
    except ValueError:
        return False


def _hostname(value: Any) -> str:
    text = str(value)
    if "://" in text:
        try:
            return urlsplit(text).hostname or ""
        except ValueError:
            return ""
    return text.partition("|")[0].rpartition("@")[2].rstrip(".").lower()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "in_network": _in_network,
    "hostname": _hostname,
    "lower": lambda text: str(text).lower(),
    "glob": lambda text, pattern: as_pattern(str(pattern)).fullmatch(str(text)) is not None,
}
"""Functions in addition to those of CEL; `FUNCTION_HELP` describes them."""

FUNCTION_HELP = {
    "in_network(value, network)": (
        "whether an address is in a network such as `10.0.0.0/8`; false "
        "if the text is not an address"
    ),
    "hostname(value)": "the host name in a URL, e-mail address, domain or composite",
    "lower(text)": "in lower case",
    "glob(text, pattern)": "whether the whole text matches a pattern with `*` and `?`",
}

_LANGUAGE = frozenset(
    [
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "string",
        "int",
        "uint",
        "double",
        "bool",
        "bytes",
        "type",
        "duration",
        "timestamp",
        "has",
        "all",
        "exists",
        "exists_one",
        "map",
        "filter",
        "min",
        "max",
        "getFullYear",
        "getMonth",
        "getDayOfMonth",
        "getDate",
        "getDayOfYear",
        "getDayOfWeek",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
        "dyn",
        "optMap",
    ]
)
_TYPES = frozenset(
    {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"}
)
_BINDING = re.compile(r"\.(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_STRING = re.compile(
    r"[rRbB]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")",
    re.DOTALL,
)
_CHAIN = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\.\s*([A-Za-z_]\w*)\s*(\(?)")


def as_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern with `*` and `?`."""
    return re.compile(
        "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern), re.DOTALL
    )


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression, and the names it uses."""

    text: str
    program: Program
    names: frozenset[str]

    def evaluate(self, context: Context) -> Any:
        """Return the value.

        Raises:
            BadExpression: the expression fails on these variables.
        """
        try:
            return self.program.execute(context)
        except (LookupError, ArithmeticError, TypeError, ValueError, RuntimeError) as error:
            said = str(error).splitlines() or [type(error).__name__]
            text = f"no member {error}" if isinstance(error, KeyError) else said[0][:200]
            raise BadExpression(text) from None


def compiled(text: str) -> Expression:
    """Compile an expression and check its names.

    Args:
        text: in CEL.

    Raises:
        BadExpression: wrong syntax, or an unknown name, function or member; the message has a
            suggestion.
    """
    return compiled_on(text, NAMES, MEMBERS)


def compiled_on(
    text: str, allowed: Collection[str], members_of: Mapping[str, Mapping[str, str]] | None = None
) -> Expression:
    """Compile an expression for other names: `allowed`; `members` documents the members of some."""
    import cel

    try:
        program = cel.compile(text)
    except ValueError as error:
        lines = str(error).partition("ERROR: <input>:")[2].splitlines() or str(error).splitlines()
        raise BadExpression(f"not an expression: {lines[0]}") from None
    bare = _STRING.sub("''", text)
    bound = set(_BINDING.findall(bare))
    names = set(program.variables()) - bound - _TYPES
    _check_names(names, allowed)
    _check_functions(program.functions())
    _check_members(bare, bound, members_of or {})
    return Expression(text, program, frozenset(names))


def _check_names(names: set[str], allowed: Collection[str]) -> None:
    for name in sorted(names - set(allowed)):
        listed = ", ".join(sorted(allowed))
        raise BadExpression(
            f"unknown name {name!r}{near(name, dict.fromkeys(allowed))}; names are {listed}"
        )


def _check_functions(names: Iterable[str]) -> None:
    known = {*_LANGUAGE, *FUNCTIONS}
    for name in names:
        if name[0].isalpha() and name not in known:
            raise BadExpression(f"unknown function {name!r}{near(name, dict.fromkeys(known))}")


def _check_members(bare: str, bound: set[str], members_of: Mapping[str, Mapping[str, str]]) -> None:
    for name, member, call in _CHAIN.findall(bare):
        members = members_of.get(name)
        if members is None or name in bound or call or member in members:
            continue
        listed = ", ".join(sorted(members))
        raise BadExpression(f"{name} has no {member!r}{near(member, members)}; it has {listed}")


class Template:
    """A text with expressions in braces: `{report.name} ({event.tlp})`; `{{` and `}}` are braces.

    Args (of the constructor):
        text: the template.

    Raises:
        BadExpression: a brace is not closed, or an expression is wrong.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: list[str | Expression] = list(_split(text))

    @property
    def names(self) -> frozenset[str]:
        """The names that its expressions use."""
        return frozenset().union(
            *(part.names for part in self.parts if isinstance(part, Expression))
        )

    def render(self, context: Context) -> str:
        """Return the text.

        Raises:
            BadExpression: an expression fails, or has no value.
        """
        out: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                out.append(part)
                continue
            value = part.evaluate(context)
            if value is None or value in ("", []):
                raise BadExpression(f"{{{part.text}}} is empty")
            if isinstance(value, bool):
                value = "true" if value else "false"
            out.append(", ".join(map(str, value)) if isinstance(value, list) else str(value))
        return "".join(out)


def _split(text: str) -> Iterator[str | Expression]:
    literal = ""
    at = 0
    while at < len(text):
        char = text[at]
        if text.startswith(("{{", "}}"), at):
            literal += char
            at += 2
        elif char == "{":
            end = _closing(text, at + 1)
            if literal:
                yield literal
                literal = ""
            yield compiled(text[at + 1 : end])
            at = end + 1
        elif char == "}":
            raise BadExpression(
                f"unexpected closing brace in {text!r}; write }}}} for a literal brace"
            )
        else:
            literal += char
            at += 1
    if literal:
        yield literal


def _closing(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        found = _STRING.match(text, at)
        if found is not None and text[at] in "'\"":
            at = found.end()
            continue
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            if not depth:
                return at
            depth -= 1
        at += 1
    raise BadExpression(f"a brace is not closed in {text!r}; write {{{{ for a literal brace")
