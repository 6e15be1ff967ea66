"""Writes docs/rules.md from the tables and docstrings: `make reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

from stixbridge.enrich.mappings import INDICATOR_TYPES, KILL_CHAIN, MAPPINGS, SECTORS
from stixbridge.enrich.rules.actions import ACTIONS
from stixbridge.enrich.rules.actions.base import Action
from stixbridge.enrich.rules.conditions import FUNCTION_HELP, Template
from stixbridge.enrich.rules.variables import MEMBERS, OPEN

_HEAD = """# Rules

Written from the code by `make reference`. Recipes: [cookbook.md](cookbook.md).

A rule says when, and what then. Rules stand in files that a pipeline names (`enrich = { rules = ["rules.toml"] }`, looked for beside the
configuration), or in the list itself as tables; `stixbridge convert --rules FILE` takes them, too.

```toml
[[rules]]
name = "Sinkholes are no indicators"
when = 'attribute.type == "ip-dst" && in_network(attribute.value, "192.0.2.0/24")'
then = [{ set_to_ids = false }, { add_tags = ['false-positive:risk="high"'] }]
```

| setting | meaning |
|---|---|
| `name` | needed, and each its own: it is in the ledger, in `find` and in `rules explain` |
| `for` | `event`, `object`, `attribute`, or `end` (the event once more, after its elements). By itself what `when` speaks of: one that names neither `attribute` nor `object` is for the event, and `drop` leaves the whole event out |
| `types` | attribute types or object names that the rule is for; a rule costs nothing for others. `attribute.type == "…"` or `attribute.type in […]` at the beginning of `when` does the same |
| `when` | a condition in CEL, the [Common Expression Language](https://cel.dev); always, where it is left out |
| `then` | actions, in order |
| `stop` | true: no later rule looks at what this one matched |

Event rules come first, then those of objects, those of attributes, and `end`; within each in the order of the files. A rule that fails on
what it is given does nothing; the ledger has a line for it (`rule:failed`), once a rule. An action that would loosen a marking, or is not
possible, does nothing (`rule:refused`). What rules leave out is `rule`. Rules can't run code and can't reach a server: plug-ins and modules
are settings of the pipeline, and no rule file can switch them on.

`stixbridge rules check FILE` finds every mistake, with line and suggestion: syntax, unknown names, members, functions, types, categories,
templates, and tags that their taxonomy does not have. `rules test FILE` runs the tests in it. `rules explain BUNDLE --rules FILE` shows
what each rule did. After a change, `stixbridge replay --dry-run` shows what it changes in what was delivered, and `replay` does it.

```toml
[[tests]]
name = "A sinkhole is no indicator"
stix = [{ type = "indicator", id = "indicator--8a1c9b9e-6a3f-4bd1-9f1e-0a2f3d4c5b6a", pattern_type = "stix", pattern = "[ipv4-addr:value = '192.0.2.7']" }]
expect = ["events[0].Attribute.all(a, !a.to_ids)"]        # or file = "bundle.json" for the input
```

Expectations are about `events` (as MISP has them), `deliveries` (for each event `held`, `publish`, `sinks`) and `ledger`.
"""


def reference() -> Iterator[str]:
    """The page, line by line."""
    yield _HEAD
    yield from _names_table()
    yield from _functions()
    yield from _actions_table()
    yield from _mappings()


def _names_table() -> Iterator[str]:
    yield "## What conditions and templates may name\n"
    yield "| name | meaning |\n|---|---|"
    for name, members in MEMBERS.items():
        for member, meaning in members.items():
            yield f"| `{name}.{member}` | {meaning} |"
    for name, meaning in OPEN.items():
        yield f"| `{name}` | {meaning} |"
    yield ""


def _functions() -> Iterator[str]:
    yield "Functions beside those of the language (`size`, `startsWith`, `contains`, `matches`, `exists`, `all`, …):\n"
    for function, meaning in FUNCTION_HELP.items():
        yield f"- `{function}`: {meaning}"
    yield "\nA property that STIX may leave out is asked for first: `has(stix[0].confidence) && stix[0].confidence > 80`.\n"
    yield "A template is a text with expressions in braces: `{report.name} ({event.tlp})`; `{{` is a brace. One that has no value fails.\n"


def _actions_table() -> Iterator[str]:
    yield "## Actions\n"
    yield 'The first field may stand alone: `{ set_info = "…" }`.\n'
    yield "| action | for | fields | what it does |\n|---|---|---|---|"
    for name, action in ACTIONS.items():
        text = " ".join((action.__doc__ or "").split())
        yield f"| `{name}` | {', '.join(sorted(action.on))} | {', '.join(_fields(action))} | {text} |"
    yield "\nActions for events may stand in any rule.\n"


def _mappings() -> Iterator[str]:
    yield "## Mappings ready to use\n"
    yield '`enrich = { mappings = { admiralty = true, reliability = "b" } }`; each is off unless it is named.\n'
    for mapping in MAPPINGS.values():
        yield f"- {' '.join((mapping.__doc__ or '').split())}"
    tables = {"indicator_types": INDICATOR_TYPES, "sectors": SECTORS, "kill_chain": KILL_CHAIN}
    for title, table in tables.items():
        yield f"\n`{title}`:\n\n| STIX | tag |\n|---|---|"
        for word, tag in table.items():
            yield f"| `{word}` | `{tag}` |"


def _fields(action: type[Action]) -> Iterator[str]:
    hints = get_type_hints(action)
    for field in fields(action):
        yield f"`{field.name}`: {_kind(hints[field.name])}{_default(field.default)}"


def _default(default: Any) -> str:
    """A default in brackets, where there is one."""
    if default is MISSING:
        return ""
    if default in ("", None, ()):
        return " (may be left out)"
    return f" ({str(default).lower() if isinstance(default, bool) else default})"


def _kind(hint: Any) -> str:
    words = {str: "text", int: "number", bool: "true or false", Template: "template"}
    if hint in words:
        return words[hint]
    args = [arg for arg in get_args(hint) if arg is not type(None)]
    if getattr(hint, "__origin__", None) is tuple:
        return f"list of {_kind(args[0])}s"
    if (
        len(args) == 2
        and args[0] is str
        and getattr(hint, "__origin__", None) is not None
        and "Mapping" in str(hint)
    ):
        return f"table of {_kind(args[1])}s"
    return " or ".join(dict.fromkeys(_kind(arg) for arg in args))


if __name__ == "__main__":
    sys.stdout.write("\n".join(reference()) + "\n")
