"""Context objects in event reports: what no galaxy knows, and what producers say of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.conversion.to_misp.known_clusters import is_catalogue
from stixbridge.mapping.tables import Table
from stixbridge.misp.clusters import Match, opening_of
from stixbridge.misp.model import one_line

StixObject = Mapping[str, Any]

MITRE = "identity--c78cb6e5-0c4b-4611-8297-d1b8b55e40b5"
"""The author of ATT&CK's entries."""


def speaks_for_itself(obj: StixObject, match: Match) -> bool:
    """Whether a producer says something of its own about a known cluster.

    A copy of the catalogue's entry does not: it has the id, author, citations or first words of
    the catalogue.
    """
    description = str(obj.get("description") or "").strip()
    if match.own or obj.get("created_by_ref") == MITRE or "x_mitre_version" in obj:
        return False
    if "(Citation:" in description or (match.opening and opening_of(description) == match.opening):
        return False
    if description:
        return True
    refs = obj.get("external_references")
    return any(
        not is_catalogue(row) and (row.get("url") or row.get("description"))
        for row in (refs if isinstance(refs, list) else ())
    )


def retold(obj: StixObject, table: Table, creator: str | None, tag: str = "") -> str:
    """A context object in Markdown: its name, the properties its table names, its cluster."""
    lines = [f"## {one_line(obj.get('name') or obj['id'])} ({obj['type']})", ""]
    for name in table.retold:
        value = obj.get(name)
        if value in (None, "", []):
            continue
        if name == "description":
            lines.extend((str(value), ""))
            continue
        if name == "created_by_ref":
            value = creator or value
        elif name == "external_references":
            value = [
                " ".join(str(part) for part in row.values() if isinstance(part, str))
                for row in value
            ]
        elif name == "kill_chain_phases":
            value = [f"{row['kill_chain_name']}:{row['phase_name']}" for row in value]
        text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        lines.append(f"- {name.replace('_', ' ')}: {one_line(text)}")
    if tag:
        lines.append(f"- galaxy cluster: {tag}")
    return "\n".join(lines) + "\n"
