"""Rule files: TOML, every mistake at once, each with file, line and what to do.

```toml
[[rules]]
name = "Sinkholes are no indicators"
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

from stixbridge.config.checks import near
from stixbridge.enrich.rules.actions import ACTIONS
from stixbridge.enrich.rules.actions.base import ATTRIBUTE, EVENT, OBJECT, Action
from stixbridge.enrich.rules.conditions import BadExpression, Expression, Template, compiled
from stixbridge.enrich.rules.engine import END, TARGETS, Rule, types_in
from stixbridge.errors import ConfigError
from stixbridge.misp.knowledge import GALAXIES, Knowledge

_RULE_KEYS = ("name", "for", "types", "when", "then", "stop")
_HEADER = re.compile(r"^[ \t]*\[\[\s*rules\s*\]\]", re.MULTILINE)
_FILE_KEYS = ("rules", "tests")


class RuleFile:
    """A parsed rule file: its rules, and its tests as they stand.

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
        knowledge: against which tags of taxonomies, types and templates are checked.

    Raises:
        ConfigError: naming every mistake.
    """
    try:
        text = path.read_bytes().decode()
        value = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    lines = [text.count("\n", 0, found.start()) + 1 for found in _HEADER.finditer(text)]
    problems = [
        f"{path}: unknown table {key!r}{near(key, dict.fromkeys(_FILE_KEYS))}; a rule file has [[rules]] and [[tests]]"
        for key in value
        if key not in _FILE_KEYS
    ]
    rules, tests = value.get("rules", []), value.get("tests", [])
    found: list[Rule] = []
    if not isinstance(rules, list) or not isinstance(tests, list):
        raise ConfigError([*problems, f"{path}: write [[rules]] and [[tests]], with two brackets"])
    for at, table in enumerate(rules):
        line = lines[at] if at < len(lines) else 1
        found.extend(_checked(table, f"{path}:{line}", at, knowledge, problems))
    problems.extend(doubles(found))
    if problems:
        raise ConfigError(problems)
    return RuleFile(path, found, tests)


def inline_rules(
    tables: Sequence[Any], where: str, knowledge: Callable[[], Knowledge]
) -> list[Rule]:
    """The rules that stand in the configuration itself.

    Raises:
        ConfigError: naming every mistake.
    """
    problems: list[str] = []
    found: list[Rule] = []
    for at, table in enumerate(tables):
        found.extend(_checked(table, f"{where}[{at}]", at, knowledge, problems))
    problems.extend(doubles(found))
    if problems:
        raise ConfigError(problems)
    return found


def doubles(rules: Iterable[Rule]) -> list[str]:
    """What is wrong with the names of rules: each has its own."""
    seen: dict[str, str] = {}
    problems = []
    for rule in rules:
        if rule.name in seen:
            problems.append(
                f"{rule.place}: a rule is called {rule.name!r} already, at {seen[rule.name]}"
            )
        seen.setdefault(rule.name, rule.place)
    return problems


def _checked(
    table: Any, place: str, at: int, knowledge: Callable[[], Knowledge], problems: list[str]
) -> Iterable[Rule]:
    """One rule; what is wrong with it goes to `problems`."""
    if not isinstance(table, dict):
        problems.append(f"{place}: a rule is a table")
        return
    name = table.get("name")
    title = name if isinstance(name, str) and name else f"rule {at + 1}"
    wrong: list[str] = []
    for key in table:
        if key not in _RULE_KEYS:
            wrong.append(f"unknown setting {key!r}{near(key, dict.fromkeys(_RULE_KEYS))}")
    if not isinstance(name, str) or not name.strip():
        wrong.append("a rule has a name")
    when = _condition(table.get("when"), wrong)
    kind, narrowed = types_in(str(table.get("when") or ""))
    actions = _actions(table.get("then"), wrong)
    target = _target(table.get("for"), when, wrong)
    types = _types(table.get("types"), wrong)
    if narrowed and kind == target:
        types = types & narrowed if types else narrowed
    if target is not None:
        wrong.extend(_misplaced(target, when, actions))
        if target in (EVENT, END) and types:
            wrong.append('types are for attributes and objects; say for = "attribute" or "object"')
    _known(target, types, actions, knowledge, wrong)
    stop = table.get("stop", False)
    if not isinstance(stop, bool):
        wrong.append("stop is true or false")
    problems.extend(f"{place}: {title!r}: {text}" for text in wrong)
    if not wrong and target is not None:
        yield Rule(title, target, when, tuple(actions), types, bool(stop), place)


def _condition(text: Any, wrong: list[str]) -> Expression | None:
    if text is None:
        return None
    if not isinstance(text, str):
        wrong.append("when is an expression, as text")
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
            f"for: {value!r} is none of {', '.join(TARGETS)}{near(str(value), dict.fromkeys(TARGETS))}"
        )
        return None
    return str(value)


def _misplaced(target: str, when: Expression | None, actions: Sequence[Action]) -> Iterable[str]:
    """Names and actions that the target does not have."""
    absent = {
        EVENT: ("attribute", "object"),
        END: ("attribute", "object"),
        OBJECT: ("attribute",),
    }.get(target, ())
    used: set[str] = set(when.names if when is not None else ())
    for action in actions:
        for template in _templates(action):
            used |= template.names
    for name in absent:
        if name in used:
            yield f"there is no {name!r} in a rule for the {target}"
    kind = EVENT if target == END else target
    for action in actions:
        if kind not in action.on and EVENT not in action.on:
            yield f"{action.name} is for {' and '.join(sorted(action.on))}; say for = {sorted(action.on)[0]!r}"


def _templates(action: Action) -> Iterable[Template]:
    from stixbridge.enrich.rules.engine import templates_of

    return templates_of(action)


def _types(value: Any, wrong: list[str]) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        wrong.append("types is a list of attribute types or object names")
        return frozenset()
    return frozenset(value)


def _known(
    target: str | None,
    types: frozenset[str],
    actions: Sequence[Action],
    knowledge: Callable[[], Knowledge],
    wrong: list[str],
) -> None:
    """Types, templates, categories and tags of taxonomies that MISP does not have."""
    from stixbridge.enrich.rules.actions.elements import AddAttribute, AddObject, SetCategory
    from stixbridge.enrich.rules.actions.tags import AddGalaxy, AddTags, MapTags

    for type_ in sorted(types):
        if target == ATTRIBUTE and type_ not in knowledge().allowed:
            wrong.append(f"MISP has no type {type_!r}{near(type_, knowledge().allowed)}")
    for action in actions:
        if isinstance(action, AddAttribute):
            allowed = knowledge().allowed.get(action.type)
            if allowed is None:
                wrong.append(
                    f"add_attribute: MISP has no type {action.type!r}{near(action.type, knowledge().allowed)}"
                )
            elif action.category and action.category not in allowed:
                wrong.append(
                    f"add_attribute: {action.type} can't be in {action.category!r}; {', '.join(sorted(allowed))}"
                )
        if isinstance(action, SetCategory) and all(
            action.to not in found for found in knowledge().allowed.values()
        ):
            known = {name: None for found in knowledge().allowed.values() for name in found}
            wrong.append(
                f"set_category: MISP has no category {action.to!r}{near(action.to, known)}"
            )
        if isinstance(action, AddGalaxy) and action.type not in GALAXIES:
            wrong.append(
                f"add_galaxy: no type {action.type!r}{near(action.type, GALAXIES)}; {', '.join(GALAXIES)}"
            )
        if isinstance(action, AddObject) and not action.values:
            wrong.append("add_object: an object has values")
        if isinstance(action, AddObject):
            relations = knowledge().relations(action.template)
            if not relations:
                wrong.append(f"add_object: MISP has no object template {action.template!r}")
            wrong.extend(
                f"add_object: {action.template} has no relation {name!r}{near(name, relations)}"
                for name in action.values
                if relations and name not in relations
            )
        tags: Iterable[str] = ()
        if isinstance(action, AddTags | AddAttribute):
            tags = [
                part
                for tag in action.tags
                if len(tag.parts) == 1 and isinstance(part := tag.parts[0], str)
            ]
        elif isinstance(action, MapTags):
            tags = action.tags.values()
        for tag in tags:
            problem = tag_problem(tag, knowledge())
            if problem is not None:
                wrong.append(f"{action.name}: {problem}")


def tag_problem(tag: str, knowledge: Knowledge) -> str | None:
    """What is wrong with a tag of a known taxonomy; None for one that is right, or of no taxonomy."""
    from stixbridge import tlp

    if tlp.is_tlp_tag(tag):
        return None if tlp.level_of_name(tag) is not None else f"{tag!r} is no TLP level"
    exact = knowledge.taxonomy_tag(tag)
    if exact is not None:
        return None if exact == tag else f"{tag!r} is spelled {exact!r} in its taxonomy"
    entries = knowledge.taxonomy_entries(tag)
    if entries:
        return f"{tag!r} is not in its taxonomy{near(tag, dict.fromkeys(entries))}"
    return None


def _actions(value: Any, wrong: list[str]) -> list[Action]:
    found: list[Action] = []
    rows = [value] if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows:
        wrong.append('then: at least one action is needed, as then = [{ add_tags = ["…"] }]')
        return found
    for row in rows:
        if not isinstance(row, dict) or len(row) != 1:
            wrong.append(
                f"then: an action is a table of one, as {{ set_to_ids = false }}, not {row!r}"
            )
            continue
        ((name, given),) = row.items()
        cls = ACTIONS.get(name)
        if cls is None:
            known = dict.fromkeys(ACTIONS)
            wrong.append(
                f"then: no action {name!r}{near(name, known)}; actions are {', '.join(sorted(ACTIONS))}"
            )
            continue
        try:
            found.append(_action(cls, given))
        except (BadExpression, ConfigError, ValueError) as error:
            wrong.append(f"{name}: {error}")
    return found


def _action(cls: type[Action], given: Any) -> Action:
    """Make an action from what stands in the file.

    Raises:
        ValueError, BadExpression, ConfigError: for what it can't be made of.
    """
    names = [one.name for one in fields(cls)]
    hints = get_type_hints(cls)
    first = names[0]
    # a table is the fields, unless the first field is a table itself and none of its names is in there
    if not isinstance(given, dict) or (_is_mapping(hints[first]) and not set(given) & set(names)):
        given = {first: given}
    for key in given:
        if key not in names:
            raise ValueError(
                f"unknown setting {key!r}{near(key, dict.fromkeys(names))}; it takes {', '.join(names)}"
            )
    values = {name: _value(hints[name], given[name], name) for name in names if name in given}
    missing = [one.name for one in fields(cls) if one.name not in values and one.default is MISSING]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    return cls(**values)


def _is_mapping(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is not None and issubclass(hint.__origin__, Mapping)


def _value(hint: Any, given: Any, name: str) -> Any:
    """A value of the type that a field has."""
    args = get_args(hint)
    if _is_mapping(hint):
        if not isinstance(given, dict):
            raise ValueError(f"{name} is a table")
        return {str(key): _value(args[1], value, f"{name}.{key}") for key, value in given.items()}
    if getattr(hint, "__origin__", None) is tuple:
        rows = given if isinstance(given, list) else [given]
        return tuple(_value(args[0], row, name) for row in rows)
    kinds = args or (hint,)
    if Template in kinds and isinstance(given, str):
        return Template(given)
    for kind in (bool, int, str):
        if (
            kind in kinds
            and isinstance(given, kind)
            and (kind is not int or not isinstance(given, bool))
        ):
            return given
    wanted = {bool: "true or false", int: "a number", str: "a text", Template: "a text"}
    raise ValueError(
        f"{name} is {' or '.join(wanted[kind] for kind in kinds if kind in wanted)}, not {given!r}"
    )
