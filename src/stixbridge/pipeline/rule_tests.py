"""Tests that stand beside rules.

`[[tests]]` in a rule file, STIX in, expressions that must hold of what comes out.

```toml
[[tests]]
name = "A sinkhole is no indicator"
stix = [{ type = "indicator", id = "indicator--…", pattern = "[ipv4-addr:value = '192.0.2.1']",
pattern_type = "stix" }] expect = ["events[0].Attribute.all(a, !a.to_ids)"] ```
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stixbridge.api import Result, convert
from stixbridge.enrich import Enrich
from stixbridge.enrich.rules.conditions import BadExpression, Expression, compiled_on
from stixbridge.enrich.rules.loader import read_rules
from stixbridge.errors import StixbridgeError
from stixbridge.misp.knowledge import load

_KEYS = {"name", "stix", "file", "source", "now", "group", "expect"}
_NAMES = frozenset({"events", "deliveries", "ledger"})


@dataclass(slots=True)
class Trial:
    """One test that was run, and what did not hold."""

    name: str
    failures: list[str] = field(default_factory=list)


def run_tests(path: Path, settings: Enrich | None = None) -> Iterator[Trial]:
    """Run the tests of a rule file with its rules.

    Args:
        path: of the file.
        settings: what else is done to events.

    Raises:
        ConfigError: for mistakes in the rules.
    """
    rules = read_rules(path, load)
    for at, table in enumerate(rules.tests):
        if not isinstance(table, dict):
            yield Trial(f"test {at + 1}", ["a test is a table"])
            continue
        trial = Trial(str(table.get("name") or f"test {at + 1}"))
        trial.failures.extend(_run(table, path, settings or Enrich()))
        yield trial


def _run(table: dict[str, Any], path: Path, settings: Enrich) -> Iterator[str]:
    """Run one test; a line for each mistake in it, and for each expression that does not hold."""
    mistake = _mistake(table)
    if mistake is not None:
        yield mistake
        return
    expressions: list[Expression] = []
    for text in table["expect"]:
        try:
            expressions.append(compiled_on(str(text), _NAMES))
        except BadExpression as error:
            yield f"expect {text!r}: {error}"
    stix: Any = table.get("stix")
    try:
        result = convert(
            path.parent / table["file"] if stix is None else stix,
            table.get("now", "2026-01-01T00:00:00Z"),
            source=table.get("source"),
            group=str(table.get("group", "report")),
            enrich=replace(settings, rules=(*settings.rules, str(path))),
        )
    except StixbridgeError as error:
        yield str(error)
        return
    yield from _failures(result, expressions)


def _mistake(table: dict[str, Any]) -> str | None:
    """What is wrong with the settings of a test."""
    unknown = table.keys() - _KEYS
    if unknown:
        return (
            f"unknown settings {', '.join(sorted(unknown))}; a test has {', '.join(sorted(_KEYS))}"
        )
    expected = table.get("expect")
    if not isinstance(expected, list) or not expected:
        return 'it expects nothing: give expect = ["…"]'
    names = ("source", "group", "now", "file")
    texts = [name for name in names if not isinstance(table.get(name, ""), str)]
    if texts:
        return f"{', '.join(texts)}: a text is needed"
    if table.get("stix") is None and "file" not in table:
        return 'it has no input: give stix = [{…}], or file = "…"'
    return None


def _failures(result: Result, expressions: list[Expression]) -> Iterator[str]:
    """The expressions that do not hold of a result."""
    from cel import Context

    deliveries = [
        {"held": row.held, "publish": bool(row.publish), "sinks": sorted(row.sinks or ())}
        for row in result.converted
    ]
    context = Context(
        {"events": result.events, "deliveries": deliveries, "ledger": result.ledger.to_dict()}
    )
    for expression in expressions:
        try:
            value = expression.evaluate(context)
        except BadExpression as error:
            yield f"{expression.text}: {error}"
            continue
        if value is not True:
            yield f"does not hold: {expression.text}"
