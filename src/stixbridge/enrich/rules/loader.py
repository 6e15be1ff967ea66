"""Reads rule files in TOML, and reports every mistake with file, line and a suggestion.

```toml
[[rules]]
name = "Sinkholes never detect"
when = 'attribute.type == "ip-dst" && in_network(attribute.value, "192.0.2.0/24")'
then = [{ set_to_ids = false }, { add_tags = ['false-positive:risk="high"'] }]
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from stixbridge.enrich.rules.actions import ACTIONS
from stixbridge.enrich.rules.actions.base import ATTRIBUTE, EVENT, OBJECT, Action
from stixbridge.enrich.rules.conditions import BadExpression, Expression, Template, compiled
from stixbridge.enrich.rules.engine import END, TARGETS, Rule, templates_of, types_in
from stixbridge.errors import ConfigError
from stixbridge.misp.knowledge import Knowledge
from stixbridge.settings.mistakes import near

_RULE_KEYS = ("name", "for", "types", "when", "then", "stop")
_HEADER = re.compile(r"^[ \t]*\[\[\s*rules\s*\]\]", re.MULTILINE)
_FILE_KEYS = ("rules", "tests")
_ABSENT = {
    EVENT: ("attribute", "object"),
    END: ("attribute", "object"),
    OBJECT: ("attribute",),
}
"""Names that a rule for a target can't use."""


class RuleFile:
    """A parsed rule file: its rules, and its unparsed tests.

    Attributes:
        path: of the file.
        rules: in order.
        tests: tables of `[[tests]]`.
    """

    def __init__(self, path: Path, rules: list[Rule], tests: list[dict[str, Any]]) -> None:
        self.path = path
        self.rules = rules
        self.tests = tests


def read_rules(path: Path, knowledge: Callable[[], Knowledge]) -> RuleFile:
    """Read a rule file.

    Args:
        path: of the file.
        knowledge: the types, templates and taxonomies for the checks.

    Raises:
        ConfigError: the message lists every mistake.
    """
    text, value = _read_toml(path)
    lines = [text.count("\n", 0, found.start()) + 1 for found in _HEADER.finditer(text)]
    problems = [
        f"{path}: unknown table {key!r}{near(key, dict.fromkeys(_FILE_KEYS))};"
        " a rule file has [[rules]] and [[tests]]"
        for key in value
        if key not in _FILE_KEYS
    ]
    tables, tests = value.get("rules", []), value.get("tests", [])
    if not isinstance(tables, list) or not isinstance(tests, list):
        raise ConfigError([*problems, f"{path}: write [[rules]] and [[tests]], with two brackets"])
    places = [f"{path}:{line}" for line in lines] + [f"{path}:1"] * len(tables)
    rules = _read_all(zip(places, tables, strict=False), knowledge, problems)
    return RuleFile(path, rules, tests)


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_bytes().decode()
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _read_all(
    tables: Iterable[tuple[str, Any]],
    knowledge: Callable[[], Knowledge],
    problems: Sequence[str] = (),
) -> list[Rule]:
    """The rules of some tables, each with its place.

    Raises:
        ConfigError: naming every mistake, and the problems that there were before.
    """
    problems = list(problems)
    rules: list[Rule] = []
    for number, (place, table) in enumerate(tables, 1):
        rules.extend(_checked(table, place, number, knowledge, problems))
    problems.extend(doubles(rules))
    if problems:
        raise ConfigError(problems)
    return rules


def inline_rules(
    tables: Sequence[Any], where: str, knowledge: Callable[[], Knowledge]
) -> list[Rule]:
    """Read rules from the configuration itself.

    Raises:
        ConfigError: the message lists every mistake.
    """
    places = (f"{where}[{number}]" for number in range(len(tables)))
    return _read_all(zip(places, tables, strict=True), knowledge)


def doubles(rules: Iterable[Rule]) -> list[str]:
    """Return a message for each name that two rules share."""
    seen: dict[str, str] = {}
    problems = []
    for rule in rules:
        if rule.name in seen:
            problems.append(
                f"{rule.place}: another rule has the name {rule.name!r}, at {seen[rule.name]}"
            )
        seen.setdefault(rule.name, rule.place)
    return problems


def _checked(
    table: Any, place: str, number: int, knowledge: Callable[[], Knowledge], problems: list[str]
) -> Iterable[Rule]:
    """Read one rule; mistakes are added to `problems`."""
    if not isinstance(table, dict):
        problems.append(f"{place}: a rule must be a table")
        return
    name = table.get("name")
    title = name if isinstance(name, str) and name else f"rule {number}"
    wrong = list(_wrong_settings(table))
    when = _condition(table.get("when"), wrong)
    actions = _actions(table.get("then"), wrong)
    target = _target(table.get("for"), when, wrong)
    types = _narrowed(_types(table.get("types"), wrong), target, str(table.get("when") or ""))
    if target is not None:
        wrong.extend(_misplaced(target, when, actions, types))
    wrong.extend(_known(target, types, actions, knowledge))
    problems.extend(f"{place}: {title!r}: {text}" for text in wrong)
    if not wrong and target is not None:
        stop = bool(table.get("stop", False))
        yield Rule(title, target, when, tuple(actions), types, stop, place)


def _wrong_settings(table: Mapping[str, Any]) -> Iterable[str]:
    """Settings of a rule that there are not, its name, and `stop`."""
    for key in table:
        if key not in _RULE_KEYS:
            yield f"unknown setting {key!r}{near(key, dict.fromkeys(_RULE_KEYS))}"
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        yield "a rule needs a name"
    if not isinstance(table.get("stop", False), bool):
        yield "stop must be true or false"


def _narrowed(types: frozenset[str], target: str | None, condition: str) -> frozenset[str]:
    """The types of a rule that its condition allows as well."""
    kind, allowed = types_in(condition)
    if not allowed or kind != target:
        return types
    return types & allowed if types else allowed


def _condition(text: Any, wrong: list[str]) -> Expression | None:
    if text is None:
        return None
    if not isinstance(text, str):
        wrong.append("when must be an expression, as text")
        return None
    try:
        return compiled(text)
    except BadExpression as error:
        wrong.append(f"when: {error}")
        return None


def _target(value: Any, when: Expression | None, wrong: list[str]) -> str | None:
    if value is None:
        names = when.names if when is not None else frozenset()
        return ATTRIBUTE if "attribute" in names else OBJECT if "object" in names else EVENT
    if value not in TARGETS:
        wrong.append(
            f"for: {value!r} is not one of "
            f"{', '.join(TARGETS)}{near(str(value), dict.fromkeys(TARGETS))}"
        )
        return None
    return str(value)


def _misplaced(
    target: str, when: Expression | None, actions: Sequence[Action], types: frozenset[str]
) -> Iterable[str]:
    """Names, actions and types that the target does not have."""
    used: set[str] = set(when.names if when is not None else ())
    for action in actions:
        for template in templates_of(action):
            used |= template.names
    for name in _ABSENT.get(target, ()):
        if name in used:
            yield f"a rule for the {target} does not have {name!r}"
    kind = EVENT if target == END else target
    for action in actions:
        if not action.on & {kind, EVENT}:
            wanted = sorted(action.on)
            yield f"{action.name} is for {' and '.join(wanted)}; say for = {wanted[0]!r}"
    if kind == EVENT and types:
        yield 'types are for attributes and objects; say for = "attribute" or "object"'


def _types(value: Any, wrong: list[str]) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        wrong.append("types must be a list of attribute types or object names")
        return frozenset()
    return frozenset(value)


def _known(
    target: str | None,
    types: frozenset[str],
    actions: Sequence[Action],
    knowledge: Callable[[], Knowledge],
) -> Iterable[str]:
    """Yield messages about types, templates, categories and tags that MISP does not have."""
    for type_ in sorted(types) if target == ATTRIBUTE else ():
        if type_ not in knowledge().allowed:
            yield f"MISP has no type {type_!r}{near(type_, knowledge().allowed)}"
    for action in actions:
        for problem in action.problems(knowledge):
            yield f"{action.name}: {problem}"


def _actions(value: Any, wrong: list[str]) -> list[Action]:
    found: list[Action] = []
    rows = [value] if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows:
        wrong.append('then: at least one action is needed, as then = [{ add_tags = ["…"] }]')
        return found
    for row in rows:
        if not isinstance(row, dict) or len(row) != 1:
            wrong.append(
                f"then: an action must be a table with one entry, as {{ set_to_ids = false }}, "
                f"not {row!r}"
            )
            continue
        ((name, given),) = row.items()
        cls = ACTIONS.get(name)
        if cls is None:
            known = dict.fromkeys(ACTIONS)
            wrong.append(
                f"then: unknown action {name!r}{near(name, known)}; actions are "
                f"{', '.join(sorted(ACTIONS))}"
            )
            continue
        try:
            found.append(_action(cls, given))
        except (BadExpression, ConfigError, ValueError) as error:
            wrong.append(f"{name}: {error}")
    return found


def _action(cls: type[Action], given: Any) -> Action:
    """Make an action from its entry in the file.

    Raises:
        ValueError, BadExpression, ConfigError: the entry is wrong.
    """
    names = [field.name for field in fields(cls)]
    hints = get_type_hints(cls)
    given = _as_fields(given, names, hints)
    for key in given:
        if key not in names:
            close = near(key, dict.fromkeys(names))
            raise ValueError(f"unknown setting {key!r}{close}; it takes {', '.join(names)}")
    for field in fields(cls):
        if field.name not in given and field.default is MISSING:
            raise ValueError(f"{field.name} is missing")
    return cls(**{name: _value(hints[name], given[name], name) for name in given})


def _as_fields(given: Any, names: Sequence[str], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an action; what is not a table of them is its first field."""
    if not isinstance(given, dict):
        return {names[0]: given}
    # a table may be the first field itself, where none of its keys is a field
    if _is_mapping(hints[names[0]]) and not set(given) & set(names):
        return {names[0]: given}
    return given


def _is_mapping(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is not None and issubclass(hint.__origin__, Mapping)


def _value(hint: Any, given: Any, name: str) -> Any:
    """Read a value of the type of a field."""
    args = get_args(hint)
    if _is_mapping(hint):
        if not isinstance(given, dict):
            raise ValueError(f"{name} must be a table")
        return {str(key): _value(args[1], value, f"{name}.{key}") for key, value in given.items()}
    if getattr(hint, "__origin__", None) is tuple:
        rows = given if isinstance(given, list) else [given]
        return tuple(_value(args[0], row, name) for row in rows)
    return _single_value(args or (hint,), given, name)


def _single_value(kinds: Sequence[Any], given: Any, name: str) -> Any:
    if Template in kinds and isinstance(given, str):
        return Template(given)
    # exactly: in Python, true is a number
    if type(given) in kinds:
        return given
    wanted = {bool: "true or false", int: "a number", str: "a text", Template: "a text"}
    words = " or ".join(wanted[kind] for kind in kinds if kind in wanted)
    raise ValueError(f"{name} is {words}, not {given!r}")
