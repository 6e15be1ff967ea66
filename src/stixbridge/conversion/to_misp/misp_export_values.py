"""The values of what MISP exported.

Each with the path it stands at, and what they become in a MISP object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stixbridge.conversion.to_misp.walk import CHOOSERS, text_of
from stixbridge.mapping import TABLES
from stixbridge.mapping.dialects import misp_export
from stixbridge.mapping.hashes import HASHES
from stixbridge.mapping.tables import ByKind, canonical_path
from stixbridge.misp.values import kind
from stixbridge.stix.pattern import (
    Boolean,
    Comparison,
    Joined,
    Observation,
    ObservationExpression,
    PatternError,
    Qualified,
    parse,
)
from stixbridge.stix.pattern_algebra import text_of as literal

StixObject = Mapping[str, Any]
Leaf = tuple[str, str]
"""(`file:hashes.MD5`, value)."""

_ADDRESSES = ("src_ref.value", "dst_ref.value")
_GUARD = re.compile(r"_refs?(?:\[(?:\d+|\*)\])?\.type$")
# Where the values of an object of its own begin: the template, and how the object above refers to
# it.
_PARTS = (
    (
        re.compile(r"file:extensions\.windows-pebinary-ext\.sections\[(?:\d+|\*)\]\."),
        "pe-section",
        "includes",
    ),
    (re.compile(r"file:extensions\.windows-pebinary-ext\."), "pe", "includes"),
    (re.compile(r"windows-registry-key:values\[(?:\d+|\*)\]\."), "registry-key-value", "contains"),
)
_FILE = re.compile(
    r"(file:content_ref|email-message:body_multipart\[(?:\d+|\*)\]|.*x_misp_\w+(?:\[\d+\])?(?=\.))"
)


def compared_in(indicator: StixObject) -> Iterator[Leaf]:
    """The values that a pattern compares with, in order; type guards are none."""
    pattern = indicator.get("pattern")
    if not isinstance(pattern, str):
        raise PatternError("no pattern", 0)
    if indicator.get("pattern_type", "stix") != "stix":
        return
    waiting: list[ObservationExpression | Boolean | Comparison] = [parse(pattern)]
    while waiting:
        tree = waiting.pop()
        if isinstance(tree, Comparison):
            if tree.operator == "=" and tree.values and not _GUARD.search(tree.path):
                value = literal(tree.values[0])
                # the export escapes a percent sign as if it were compared with LIKE
                escaped = tree.object_type == "windows-registry-key"
                yield (
                    f"{tree.object_type}:{tree.path}",
                    value.replace("\\%", "%") if escaped else value,
                )
        elif isinstance(tree, Boolean | Joined):
            waiting.extend(reversed(tree.operands))
        elif isinstance(tree, Observation | Qualified):
            waiting.append(tree.expression)


def properties_of(obj: StixObject) -> Iterator[Leaf]:
    """The properties of a domain object that stands for a MISP object."""
    type_ = obj["type"]
    for name, value in obj.items():
        if name in (
            "type",
            "id",
            "spec_version",
            "created",
            "modified",
            "created_by_ref",
            "labels",
            "object_refs",
            "object_marking_refs",
            "external_references",
            "kill_chain_phases",
            "confidence",
        ):
            continue
        if name == "contact_information" and isinstance(value, str) and ": " in value:
            for part in value.split(" / "):
                kind_, sign, rest = part.partition(": ")
                yield (f"={kind_}", rest) if sign else (f"{type_}:{name}", part)
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                for part in ("value", "data"):
                    if isinstance(item.get(part), str):
                        yield f"{type_}:{name}.{part}", item[part]
            elif isinstance(item, str | int | float):
                yield (
                    f"{type_}:{name}[*]" if isinstance(value, list) else f"{type_}:{name}",
                    text_of(item),
                )
    for row in obj.get("external_references") or ():
        if isinstance(row.get("external_id"), str):
            number = (
                row["external_id"].removeprefix("CAPEC-")
                if type_ == "attack-pattern"
                else row["external_id"]
            )
            yield "=id", number
        elif isinstance(row.get("url"), str):
            yield "=references", row["url"]


def references_of(obj: StixObject) -> Iterator[str]:
    """What an observable refers to, at any depth in lists."""
    for name, value in obj.items():
        if isinstance(value, str) and name.endswith("_ref"):
            yield value
        elif isinstance(value, list) and name.endswith("_refs"):
            yield from value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from references_of(item)


def plain(leaf: Leaf) -> Leaf:
    """A leaf without the places in lists: a pattern and an observable count them differently."""
    return canonical_path(leaf[0]).replace("[*]", ""), leaf[1]


def files_in(
    name: str, leaves: list[Leaf], uuid: str
) -> tuple[list[tuple[str, str, str | None]], list[Leaf]]:
    """Files inside a record, as (relation, value, content), and the other values.

    An attachment or sample is the file's content; `x_misp_…` with value and data is one too; of an
    email, its parts.
    """
    files: list[tuple[str, str, str | None]] = []
    others: list[Leaf] = []
    groups: dict[str, dict[str, str]] = {}
    for path, value in leaves:
        if path == "artifact:payload_bin":
            files.append(("payload_bin", uuid, value))
            continue
        match = _FILE.match(path)
        if match is None or (name == "image" and path.endswith("url")):
            others.append((path, value))
        else:
            groups.setdefault(match[1], {})[path[len(match[1]) :].lstrip(".")] = value
    for prefix, found in groups.items():
        content = (
            found.get("payload_bin") or found.get("body_raw_ref.payload_bin") or found.get("data")
        )
        if prefix.startswith("email-message"):
            relation = found.get("content_disposition", "attachment").split(";")[0]
            shown = found.get("content_disposition", "").rpartition("=")[2].strip("'")
            value = (
                found.get("body_raw_ref.name") or found.get("body_raw_ref.x_misp_filename") or shown
            )
        elif prefix.endswith("content_ref"):
            value, md5 = found.get("x_misp_filename", ""), found.get("hashes.MD5")
            relation = "malware-sample" if md5 or name == "lnk" else "attachment"
            value = f"{value}|{md5}" if md5 else value
        else:
            relation = prefix.rpartition("x_misp_")[2].partition("[")[0].replace("_", "-")
            value = found.get("value", "")
        files.append((relation, value, content))
    return files, others


def pieces_of(name: str, leaves: list[Leaf]) -> dict[str, tuple[str, str, str, list[Leaf]]]:
    """The values by object: key -> (template, verb, key of the object above, values).

    "" is the record itself.

    One value of a registry key stays with the key.
    """
    pieces: dict[str, tuple[str, str, str, list[Leaf]]] = {"": (name, "", "", [])}
    several = len({match[0] for path, _ in leaves if (match := _PARTS[2][0].match(path))}) > 1
    for path, value in leaves:
        for at, (regex, template, verb) in enumerate(_PARTS):
            match = regex.match(path)
            if (
                match is None
                or template == name
                or (template == "registry-key-value" and not several)
            ):
                continue
            key = match[0]
            # a section is a piece of the program, which is one of the file
            parent = "file:extensions.windows-pebinary-ext." if at == 0 and name != "pe" else ""
            if parent and parent not in pieces:
                pieces[parent] = ("pe", "includes", "", [])
            inside = f"{template}:{path[len(key) :]}"
            pieces.setdefault(key, (template, verb, parent, []))[3].append((inside, value))
            break
        else:
            pieces[""][3].append((path, value))
    return pieces


def lone_value(type_: str, leaves: list[Leaf]) -> str | None:
    """The value of a lone attribute, its halves joined; None where one is missing."""
    if type_.startswith("filename|"):
        halves = [_first(leaves, ("file:name",)), _first(leaves, ("file:hashes.",))]
    elif type_ in misp_export.VALUES:
        halves = [_first(leaves, paths) for paths in misp_export.VALUES[type_]]
    else:
        hashes = _first(leaves, ("file:hashes.", "x509-certificate:hashes."))
        halves = [hashes or (leaves[0][1] if leaves else None)]
    if None in halves:
        return None
    return "|".join(half for half in halves if half is not None)


def _first(leaves: list[Leaf], paths: tuple[str, ...]) -> str | None:
    for wanted in paths:
        for raw, value in leaves:
            path = canonical_path(raw)
            if path.replace("[*]", "") == wanted.replace("[*]", "") or (
                wanted.endswith(".") and path.startswith(wanted)
            ):
                return value
    return None


def relation_of(name: str, path: str, value: str, relations: Mapping[str, Any]) -> str | None:
    """The relation of a value in an object: the template's own, else by the tables of the types."""
    path = canonical_path(path)
    own = misp_export.BY_TEMPLATE.get(name, {}).get(path)
    if own is not None:
        return own
    type_, _, below = path.partition(":")
    if below in _ADDRESSES and name in misp_export.HOSTS and kind(value) == "domain":
        return misp_export.HOSTS[name]
    general = misp_export.RELATIONS.get(path)
    if general in relations:
        return general
    table = TABLES.get(type_)
    target = (
        table.fields.get(below) or table.fields.get(f"{below}[*]") if table is not None else None
    )
    if isinstance(target, ByKind):
        target = target.fields.get(CHOOSERS[target.chooser](value))
    if target is not None and target.relation in relations:
        return target.relation
    last = below.rpartition(".")[2].removesuffix("[*]")
    for candidate in (HASHES.get(last, last), last.replace("_", "-"), last.lower()):
        if candidate in relations:
            return candidate
    return None


def folded(relation: str) -> str:
    """The property that an export writes a relation as, where STIX has none for it."""
    return "x_misp_" + "".join(char if char.isalnum() else "_" for char in relation.lower())
