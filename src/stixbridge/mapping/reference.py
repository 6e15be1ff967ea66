"""The mapping reference, from the tables: `make reference` writes docs/mapping.md."""

from __future__ import annotations

from collections.abc import Iterator

from stixbridge.ledger import MEANING, Reason, top_level
from stixbridge.mapping import TABLES, identity, location, malware
from stixbridge.mapping.dialects import misp_export
from stixbridge.mapping.tables import COMMON, ByKind, Fate, Field, Role, Table

_VARIANTS = {
    "identity (class `class`: a sector)": identity.SECTOR,
    "location (a country or region)": location.AREA,
    "malware (`is_family` false, no known cluster)": malware.INSTANCE,
    "any type in an export of MISP, by its labels": misp_export.RECORD,
}

# A value for each kind of attribute, as an analyst sees it.
_EXAMPLES = {
    "ip-dst": "198.51.100.1", "ip-src": "198.51.100.1", "domain": "bad.example",
    "hostname": "www.bad.example", "url": "https://bad.example/x", "uri": "/x",
    "md5": "d41d8cd98f00b204e9800998ecf8427e", "port": "443", "filename": "invoice.exe",
    "email-src": "a@bad.example", "email-dst": "b@good.example", "mutex": "Global\\\\x",
    "mac-address": "00:00:5e:00:53:01", "AS": "64496", "regkey": "HKLM\\\\Software\\\\x",
    "email-subject": "Your invoice", "size-in-bytes": "1024", "datetime": "2026-01-05T08:00:00Z",
    "boolean": "1", "float": "4.2", "counter": "3", "user-agent": "Mozilla/5.0",
    "vulnerability": "CVE-2026-12345", "link": "https://report.example/1",
    "mime-type": "application/pdf", "hex": "014c", "http-method": "GET",
}  # fmt: skip
_HEAD = """# Mapping reference

`make reference` writes this page from the tables in `src/stixbridge/mapping/`. It says what becomes
of every property of every type. [conversion.md](conversion.md) describes how objects meet, which
event they go to and what patterns become; [ledger.md](ledger.md) lists the reasons for a loss.

A path is written as in a STIX pattern. `[*]` stands for each item of a list, `*` for every path
that no other row has. An observable with one known value becomes an attribute. An observable with
several becomes an object of the template that its type names, with the relations in the table.
"""


def render() -> str:
    """The page, in Markdown."""
    lines = [_HEAD, "## Every type", "", *_fates(COMMON, set())]
    shown = {
        **{name: table for name, table in TABLES.items() if not name.startswith("x-opencti-")},
        **_VARIANTS,
    }
    for title, table in sorted(shown.items()):
        lines.extend(("", f"## {title}", "", *_type(table)))
    return "\n".join(lines) + "\n"


def _type(table: Table) -> Iterator[str]:
    if table.template:
        single = (
            "" if table.role is Role.DETAIL else ", or an attribute where one value says it all"
        )
        yield from (f"Object `{table.template}`{single}.", "")
    if table.fields or table.parts or table.links:
        yield from ("| STIX path | MISP | example |", "|---|---|---|", *_paths(table), "")
    shown = {top_level(path) for path in (*table.fields, *table.parts, *table.links)}
    yield from _fates(
        {name: fate for name, fate in table.fates.items() if COMMON.get(name) != fate}, shown
    )


def _paths(table: Table) -> Iterator[str]:
    """Yield a row of the page for each path of a table."""
    for path, target in table.fields.items():
        for field in target.fields.values() if isinstance(target, ByKind) else (target,):
            yield f"| `{path}` | {_element(table.template, field)} | {_example(field)} |"
    for place, part in table.parts.items():
        for path, field in part.fields.items():
            element = f"{_element(part.template, field)}, by `{part.verb}`"
            yield f"| `{place}.{path}` | {element} | {_example(field)} |"
    for composite in table.composites:
        both = f"`{composite.left}` and `{composite.right}` alone"
        yield f"| {both} | `{_escaped(composite.type)}` | |"
    for path, verb in table.links.items():
        yield f"| `{path}` | relationship or reference `{verb}` | |"
    for path, reason in table.unmapped.items():
        yield f"| `{path}` | dropped: {reason} | |"


def _fates(fates: dict[str, Fate], shown: set[str]) -> Iterator[str]:
    rows = {name: fate for name, fate in fates.items() if name not in shown}
    if not rows:
        return
    yield from ("| property | MISP |", "|---|---|")
    for name, fate in rows.items():
        text = f"dropped: {fate} ({MEANING[fate]})" if isinstance(fate, Reason) else fate
        yield f"| `{name}` | {text} |"


def _element(template: str | None, field: Field) -> str:
    if field.comment is not None:
        return f"comment, after “{field.comment}”" if field.comment else "comment"
    kinds = []
    if field.type is not None:
        kinds.append(f"`{_escaped(field.type)}`")
    if field.relation is not None:
        kinds.append(f"`{template}`: `{field.relation}`")
    return ", or ".join(kinds) + (" (`to_ids` in indicators)" if field.selects else "")


def _example(field: Field) -> str:
    shown = _EXAMPLES.get(field.type or "", "")
    return f"`{shown}`" if shown else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    import sys

    sys.stdout.write(render())
