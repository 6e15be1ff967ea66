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
    "ip-dst": "198.51.100.1", "ip-src": "198.51.100.1", "domain": "bad.example", "hostname": "www.bad.example",
    "url": "https://bad.example/x", "uri": "/x", "md5": "d41d8cd98f00b204e9800998ecf8427e", "port": "443",
    "filename": "invoice.exe", "email-src": "a@bad.example", "email-dst": "b@good.example", "mutex": "Global\\\\x",
    "mac-address": "00:00:5e:00:53:01", "AS": "64496", "regkey": "HKLM\\\\Software\\\\x",
    "email-subject": "Your invoice", "size-in-bytes": "1024", "datetime": "2026-01-05T08:00:00Z", "boolean": "1",
    "float": "4.2", "counter": "3", "user-agent": "Mozilla/5.0", "vulnerability": "CVE-2026-12345",
    "link": "https://report.example/1", "mime-type": "application/pdf", "hex": "014c", "http-method": "GET",
}  # fmt: skip
_HEAD = """# Mapping reference

Written by `make reference` from the tables in `src/stixbridge/mapping/`: what becomes of every property of every type.
How objects meet, which event they go to and what patterns become is in [conversion.md](conversion.md); the reasons for
what is dropped are in [ledger.md](ledger.md).

A path is as in a STIX pattern; `[*]` stands for each item of a list, `*` for what no other path takes. An observable of
which only one value is known is the attribute; of several, an object of the template that the type names, with the
relation given.
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
    where = (
        f"Object `{table.template}`, or an attribute where one value says it all."
        if table.template
        else ""
    )
    if where and table.role is Role.DETAIL:
        where = f"Object `{table.template}`."
    if where:
        yield from (where, "")
    if table.fields or table.parts or table.links:
        yield from ("| STIX path | MISP | example |", "|---|---|---|")
        for path, target in table.fields.items():
            rows = target.fields.values() if isinstance(target, ByKind) else (target,)
            for field in rows:
                yield f"| `{path}` | {_element(table.template, field)} | {_example(field)} |"
        for where_, part in table.parts.items():
            for path, field in part.fields.items():
                yield f"| `{where_}.{path}` | {_element(part.template, field)}, by `{part.verb}` | {_example(field)} |"
        for composite in table.composites:
            yield f"| `{composite.left}` and `{composite.right}` alone | `{_escaped(composite.type)}` | |"
        for path, verb in table.links.items():
            yield f"| `{path}` | relationship or reference `{verb}` | |"
        for path, reason in table.unmapped.items():
            yield f"| `{path}` | dropped: {reason} | |"
        yield ""
    said = {top_level(path) for path in (*table.fields, *table.parts, *table.links)}
    yield from _fates(
        {name: fate for name, fate in table.fates.items() if COMMON.get(name) != fate}, said
    )


def _fates(fates: dict[str, Fate], said: set[str]) -> Iterator[str]:
    rows = {name: fate for name, fate in fates.items() if name not in said}
    if not rows:
        return
    yield from ("| property | MISP |", "|---|---|")
    for name, fate in rows.items():
        yield f"| `{name}` | {f'dropped: {fate} ({MEANING[fate]})' if isinstance(fate, Reason) else fate} |"


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
