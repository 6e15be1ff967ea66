"""Reads the values of MISP's exports, each with its path, and finds their relations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stixbridge.conversion.to_misp.misp_export_observables import ORIGINAL_NAMES, Leaf
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
_LAYERS = ("layer3-protocol", "layer4-protocol", "layer7-protocol")
_ALTERNATIVE = re.compile(r"(?:^|,)\s*(DNS name|email|IP|RID|URI|directory name):")
_STATE = re.compile(r"network-traffic:extensions\.socket-ext\.is_(\w+)$")


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


_NOT_PROPERTIES = frozenset(
    {"type", "id", "spec_version", "created", "modified", "created_by_ref", "labels", "lang",
     "object_refs", "object_marking_refs", "external_references", "kill_chain_phases",
     "confidence", ORIGINAL_NAMES, "x_misp_comment"}
)  # fmt: skip


def properties_of(obj: StixObject) -> Iterator[Leaf]:
    """The properties of a domain object that stands for a MISP object."""
    type_ = obj["type"]
    for name, value in obj.items():
        if name in _NOT_PROPERTIES:
            continue
        if name == "contact_information" and isinstance(value, str) and ": " in value:
            for part in value.split(" / "):
                kind_, sign, rest = part.partition(": ")
                yield (f"@{kind_}", rest) if sign else (f"{type_}:{name}", part)
        elif isinstance(value, list):
            for item in value:
                yield from _property(f"{type_}:{name}", f"{type_}:{name}[*]", item)
        else:
            yield from _property(f"{type_}:{name}", f"{type_}:{name}", value)
    yield from _external(obj)


def _property(path: str, place: str, value: Any) -> Iterator[Leaf]:
    """One value of a property; a file has a name and a content."""
    if isinstance(value, dict):
        for part in ("value", "data"):
            if isinstance(value.get(part), str):
                yield f"{path}.{part}", value[part]
    elif isinstance(value, str | int | float):
        yield place, text_of(value)


def _external(obj: StixObject) -> Iterator[Leaf]:
    """The numbers and links of a domain object that stands for a MISP object."""
    for row in obj.get("external_references") or ():
        if isinstance(row.get("external_id"), str):
            number = row["external_id"]
            if obj["type"] == "attack-pattern":
                number = number.removeprefix("CAPEC-")
            yield "=id", number
        elif isinstance(row.get("url"), str):
            yield "=references", row["url"]


def rule_of(obj: StixObject) -> str:
    """The text of a rule; the brackets around it are the export's, and no rule."""
    text = str(obj.get("pattern") or "").strip()
    if text.startswith("[") and text.endswith("]") and obj.get("pattern_type", "stix") != "stix":
        return text[1:-1].strip()
    return text


def rule_properties(obj: StixObject, name: str) -> Iterator[Leaf]:
    """The values of an indicator that stands for an object with a rule.

    Args:
        obj: the indicator.
        name: the template of the object.
    """
    pattern, properties = misp_export.RULES.get(name, (name, {}))
    yield f"={pattern}", rule_of(obj)
    for own, relation in properties.items():
        if isinstance(obj.get(own), str):
            yield f"={relation}", obj[own]
    for row in obj.get("external_references") or ():
        if isinstance(row.get("url"), str):
            yield "=ref" if name == "suricata" else "=reference", row["url"]
    for own, value in obj.items():
        if own.startswith("x_misp_") and own != ORIGINAL_NAMES:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str | int | float):
                    yield f"{obj['type']}:{own}", text_of(item)


def plain(leaf: Leaf) -> Leaf:
    """A leaf without the places in lists: a pattern and an observable count them differently."""
    return canonical_path(leaf[0]).replace("[*]", ""), leaf[1]


def pieces_of(name: str, leaves: list[Leaf]) -> dict[str, tuple[str, str, str, list[Leaf]]]:
    """The values by object: key -> (template, verb, key of the object above, values).

    "" is the record itself.

    One value of a registry key stays with the key.
    """
    pieces: dict[str, tuple[str, str, str, list[Leaf]]] = {"": (name, "", "", [])}
    leaves = _layered(name, leaves)
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


def _layered(name: str, leaves: list[Leaf]) -> list[Leaf]:
    """The protocols of a connection, by their layer where there is one of each."""
    protocols = [leaf for leaf in leaves if leaf[0].startswith("network-traffic:protocols")]
    if name != "network-connection" or len(protocols) != len(_LAYERS):
        return leaves
    layers = iter(_LAYERS)
    return [(f"={next(layers)}", leaf[1]) if leaf in protocols else leaf for leaf in leaves]


def related(
    name: str, leaf: Leaf, relations: Mapping[str, Any], originals: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """The relations of a value in an object of a template, each with the value it gets there.

    A value that has no place in the template has none.

    Args:
        name: of the template.
        leaf: the value with its path.
        relations: of the template.
        originals: property of an export -> its name in MISP.
    """
    path, value = leaf
    state = _STATE.match(path)
    if path.startswith(("=", "@")):
        if path[1:] in relations or not relations:
            yield path[1:], value
        elif path.startswith("@"):
            yield "contact_information", f"{path[1:]}: {value}"
    elif state is not None:
        if value.lower() == "true":
            yield "state", state[1]
    elif path == "x509-certificate:x509_v3_extensions.subject_alternative_name":
        parts = _ALTERNATIVE.split(value)[1:]
        for kind_, part in zip(parts[::2], parts[1::2], strict=False):
            yield misp_export.ALTERNATIVE_NAMES[kind_], part.strip()
    elif not is_redundant(name, leaf):
        relation = relation_of(name, path, value, relations) or _wire(path, relations, originals)
        if relation:
            convert = misp_export.UNITS.get(canonical_path(path))
            yield relation, convert(value) if convert is not None else value


def _wire(path: str, relations: Mapping[str, Any], originals: Mapping[str, str]) -> str:
    """The relation that an export wrote as a property of its own; empty for any other property."""
    last = canonical_path(path).rpartition(".")[2].rpartition(":")[2].removesuffix("[*]")
    if not last.startswith("x_misp_"):
        return ""
    relation = originals.get(last) or unfolded(relations).get(last)
    return relation or last.removeprefix("x_misp_")


def is_redundant(name: str, leaf: Leaf) -> bool:
    """Whether a value only says of which kind another one is."""
    path, value = leaf
    return _STATE.match(path) is not None or (
        name == "ip-port"
        and path.startswith("network-traffic:protocols")
        and value in ("ipv4", "ipv6")
    )


def unfolded(relations: Mapping[str, Any]) -> dict[str, str]:
    """Property of an export -> relation."""
    return {folded(relation): relation for relation in relations}


def lone_value(type_: str, leaves: Sequence[Leaf]) -> str | None:
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


def _first(leaves: Sequence[Leaf], paths: tuple[str, ...]) -> str | None:
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
    is_name = below in _ADDRESSES or path == "domain-name:value"
    if is_name and name in misp_export.HOSTS and kind(value) == "domain":
        return misp_export.HOSTS[name]
    general = misp_export.RELATIONS.get(path)
    if general is None and name in ("pe", "pe-section"):
        general = misp_export.RELATIONS.get(f"{name}:{path.rpartition('windows-pebinary-ext.')[2]}")
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
