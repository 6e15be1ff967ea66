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

`make reference` writes this page from the code. The [cookbook](cookbook.md) has recipes.

A rule has a condition and actions. Rules are in files that a pipeline names
(`enrich = { rules = ["rules.toml"] }`, relative to the configuration), or directly in this list as
tables. `stixbridge convert --rules FILE` accepts rule files, too.

```toml
[[rules]]
name = "Sinkholes never detect"
when = 'attribute.type == "ip-dst" && in_network(attribute.value, "192.0.2.0/24")'
then = [{ set_to_ids = false }, { add_tags = ['false-positive:risk="high"'] }]
```

| setting | meaning |
|---|---|
| `name` | required and unique. The ledger, `find` and `rules explain` show it |
| `for` | the target: `event`, `object`, `attribute`, or `end` (the event again, after its elements). The default follows from the names in `when`. If it names neither `attribute` nor `object`, the target is the event, and `drop` drops the whole event |
| `types` | attribute types or object names; the rule costs nothing for other types. `attribute.type == "…"` or `attribute.type in […]` at the beginning of `when` has the same effect |
| `when` | a condition in CEL, the [Common Expression Language](https://cel.dev). A rule without `when` always matches |
| `then` | the actions, in order |
| `stop` | `true`: later rules skip the elements that this rule matched |

Order: rules for events come first, then rules for objects, for attributes, and for `end`. Within
each group the order is that of the files.

Failures and refusals:

- A rule that fails on its input does nothing. The ledger gets one line for each rule
  (`rule:failed`).
- An action that is not possible, or would loosen a marking, does nothing (`rule:refused`).
- Elements that a rule drops have the reason `rule`.
- Rules can't run code or reach a server. Plug-ins and modules are settings of the pipeline, and no
  rule file can switch them on.

Commands:

- `stixbridge rules check FILE` lists every mistake with line and suggestion: syntax, unknown names,
  members, functions, types, categories, templates, and tags that are not in their taxonomy.
- `stixbridge rules test FILE` runs the tests in the file.
- `stixbridge rules explain BUNDLE --rules FILE` shows the effect of each rule.
- `stixbridge replay --dry-run` shows how changed rules would change delivered events; `replay`
  applies them.

```toml
[[tests]]
name = "a sinkhole"
stix = [{ type = "indicator", id = "indicator--8a1c9b9e-6a3f-4bd1-9f1e-0a2f3d4c5b6a", pattern_type =
"stix", pattern = "[ipv4-addr:value = '192.0.2.7']" }] expect = ["events[0].Attribute.all(a,
!a.to_ids)"]        # or file = "bundle.json" for the input ```

Expectations use the variables `events` (in MISP's format), `deliveries` (`held`, `publish` and
`sinks` of each event) and `ledger`.
"""


def reference() -> Iterator[str]:
    """The page, line by line."""
    yield _HEAD
    yield from _names_table()
    yield from _functions()
    yield from _actions_table()
    yield from _mappings()


def _names_table() -> Iterator[str]:
    yield "## Variables of conditions and templates\n"
    yield "| name | meaning |\n|---|---|"
    for name, members in MEMBERS.items():
        for member, meaning in members.items():
            yield f"| `{name}.{member}` | {meaning} |"
    for name, meaning in OPEN.items():
        yield f"| `{name}` | {meaning} |"
    yield ""


def _functions() -> Iterator[str]:
    yield (
        "Functions in addition to those of CEL (`size`, `startsWith`, `contains`, `matches`, "
        "`exists`, `all`, …):\n"
    )
    for function, meaning in FUNCTION_HELP.items():
        yield f"- `{function}`: {meaning}"
    yield (
        "\nTest optional STIX properties first: `has(stix[0].confidence) && stix[0].confidence "
        "> 80`.\n"
    )
    yield (
        "A template is a text with expressions in braces: `{report.name} ({event.tlp})`. `{{` "
        "is a literal brace. A template fails if one of its expressions has no value.\n"
    )


def _actions_table() -> Iterator[str]:
    yield "## Actions\n"
    yield 'The first field may be written alone: `{ set_info = "…" }`.\n'
    yield "| action | for | fields | what it does |\n|---|---|---|---|"
    for name, action in ACTIONS.items():
        text = " ".join((action.__doc__ or "").split())
        yield (
            f"| `{name}` | {', '.join(sorted(action.on))} | {', '.join(_fields(action))} | {text} |"
        )
    yield "\nAny rule may use actions for events.\n"


def _mappings() -> Iterator[str]:
    yield "## Ready-made mappings\n"
    yield (
        '`enrich = { mappings = { admiralty = true, reliability = "b" } }`; each mapping is off '
        "by default.\n"
    )
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
        return " (optional)"
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
