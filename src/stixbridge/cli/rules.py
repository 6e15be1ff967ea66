"""`stixbridge rules`: check rule files, run the tests in them, and show what each rule does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stixbridge.cli.screen import count_of, emit, say
from stixbridge.errors import ConfigError

if TYPE_CHECKING:
    from stixbridge.enrich.rules.engine import Step

_FILES = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…"
)


@click.group()
def rules() -> None:
    """Check, test and explain rule files."""


@rules.command()
@_FILES
def check(files: tuple[Path, ...]) -> int:
    """Find every mistake in rule files."""
    from stixbridge.enrich.rules.loader import read_rules
    from stixbridge.misp.knowledge import load

    problems: list[str] = []
    for file in files:
        try:
            found = read_rules(file, load)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        rule_count, test_count = count_of(len(found.rules), "rule"), len(found.tests)
        emit(f"{file}: {rule_count}, {count_of(test_count, 'test')}")
        for rule in found.rules:
            types = f" on {', '.join(sorted(rule.types))}" if rule.types else ""
            actions = ", ".join(action.name for action in rule.actions)
            emit(f"  {rule.name}  ({rule.target}{types}: {actions})")
    if problems:
        raise ConfigError(problems)
    return 0


@rules.command(name="test")
@_FILES
def test_(files: tuple[Path, ...]) -> int:
    """Run the [[tests]] of rule files: STIX in, expressions that must hold of the events."""
    from stixbridge.pipeline.rule_tests import run_tests

    failed = 0
    for file in files:
        trials = list(run_tests(file))
        if not trials:
            emit(f"{file}: no [[tests]]")
        for trial in trials:
            emit(f"{'ok    ' if not trial.failures else 'FAILED'}  {file}: {trial.name}")
            for failure in trial.failures:
                emit(f"          {failure}")
            failed += bool(trial.failures)
    if failed:
        say(f"{count_of(failed, 'test')} failed")
    return 1 if failed else 0


@rules.command()
@_FILES
@click.option(
    "--rules", "rule_files", multiple=True, required=True, metavar="FILE", help="A file of rules."
)
@click.option("--source", metavar="NAME", help="The source's name.")
@click.option("--now", metavar="TIME", help="The reference time.")
def explain(
    files: tuple[Path, ...], rule_files: tuple[str, ...], source: str | None, now: str | None
) -> int:
    """Convert STIX files and show what each rule did: before and after."""
    from stixbridge.api import convert_documents, options
    from stixbridge.enrich import Enrich, Enrichment
    from stixbridge.sources.files import Input, expand

    chosen = options(now=now, source=source)
    steps: list[Step] = []
    enrichment = Enrichment(Enrich(rules=rule_files), trace=steps.append)
    documents = [Input(path).document() for path in expand([str(file) for file in files])]
    result = convert_documents(documents, chosen, enrich=enrichment)
    for step in steps:
        _show_step(step)
    used = {step.rule for step in steps}
    idle = [rule.name for rule in enrichment.rules.rules if rule.name not in used]
    if idle:
        emit(f"never matched: {', '.join(idle)}")
    for entry in result.ledger.entries:
        if entry.get("reason") == "rule:failed":
            emit(f"failed: {entry['path']}: {entry['target']}")
    say(f"{count_of(len(result.events), 'event')}, {count_of(len(steps), 'step')}")
    return 0


def _show_step(step: Step) -> None:
    """The changes of a rule to an event or a part of it."""
    emit(f"{step.rule}  on {_named(step.before)} {step.on}")
    for line in _differences(step.before, step.after):
        emit(f"  {line}", colour={"+": "green", "-": "red"}.get(line[:1]))
    for refused in step.refused:
        emit(f"  refused: {refused}")


def _named(view: dict[str, Any]) -> str:
    if "value" in view:
        return f"{view['type']} {view['value']}"
    return str(view.get("info") or view.get("name") or "")


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    if not after:
        return ["- left out"]
    lines: list[str] = []
    for name, old in before.items():
        new = after.get(name)
        if isinstance(old, list) and isinstance(new, list):
            lines.extend(f"+ {name}: {item}" for item in new if item not in old)
            lines.extend(f"- {name}: {item}" for item in old if item not in new)
        elif old != new:
            lines.extend((f"- {name}: {old}", f"+ {name}: {new}"))
    return lines or ["(adds to the event, or nothing changes)"]
