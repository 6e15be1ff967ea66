"""What MISP events say, as facts that can be compared: no order, no UUIDs, one spelling."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .bundle import CLUSTERS, TEXTS, Bundle, plain, words

_CLASSES = {
    "ip": {"ip", "ip-src", "ip-dst"},
    "host": {"domain", "hostname"},
    "url": {"url", "link", "uri"},
    "email": {"email", "email-src", "email-dst", "email-reply-to"},
    "hash": {
        "md5",
        "sha1",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "sha512/224",
        "sha512/256",
        "sha3-256",
        "sha3-512",
    },
}
_CLASS = {kind: name for name, kinds in _CLASSES.items() for kind in kinds}
_TAG = re.compile(r'([^:"]+):([^="]+)="(.*)"', re.DOTALL)
# the other end says the same
_INVERSE = {
    "content-of": "has-content",
    "creates": "created-by",
    "contained-in": "contains",
    "encapsulated-by": "encapsulates",
    "indicated-by": "indicates",
    "parent-of": "child-of",
}
_SYNONYM = {"source-sent": "sends", "destination-sent": "receives"}
_LEVELS = ("clear", "green", "amber", "amber+strict", "red")

OF_A_VALUE = ("to_ids", "tlp", "first_seen", "last_seen", "on value", "sighting")
"""Facts about a value, which only mean something where both have it."""

Content = tuple[str, ...]


@dataclass(slots=True)
class Said:
    """What events say.

    Attributes:
        facts: each fact, with the MISP element that says it and the STIX ids behind.
        references: type, the names of both ends, and the element.
        places: the words of all texts, by the element they stand in.
    """

    facts: dict[Content, tuple[str, frozenset[str]]] = field(default_factory=dict)
    references: set[tuple[str, frozenset[str], frozenset[str], str]] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Row:
    """An attribute, lone or in an object."""

    attribute: dict[str, Any]
    holder: dict[str, Any]
    element: str
    values: tuple[Content, ...]


def said(
    events: Iterable[dict[str, Any]], bundle: Bundle, elements: Mapping[str, list[str]]
) -> Said:
    """Reduce events to facts.

    Args:
        events: plain MISP events, without `Event` around them.
        bundle: what they were made of.
        elements: UUID of an attribute or object -> STIX ids, where the engine tells; UUIDs of the
            bundle are known.
    """
    out = Said()
    texts: dict[str, set[str]] = defaultdict(set)
    for event in events:
        _event(event, bundle, elements, out)
        _texts(event, "event", texts)
    out.places = {
        place: " | " + " | ".join(sorted(found)) + " | " for place, found in sorted(texts.items())
    }
    return out


_LINKS = (
    ("ObjectReference", "referenced_uuid", "object reference"),
    ("Relationship", "related_object_uuid", "relationship"),
)


def _event(
    event: dict[str, Any], bundle: Bundle, elements: Mapping[str, list[str]], out: Said
) -> None:
    def ids(element: dict[str, Any]) -> frozenset[str]:
        uuid = str(element.get("uuid", "")).lower()
        known = elements.get(uuid) or bundle.by_uuid.get(uuid)
        if known or uuid == event["uuid"]:
            return frozenset(known or ())
        inner = [element] if "type" in element else element.get("Attribute") or ()
        return bundle.guess(value for one in inner for _, value in _values(one))

    names: dict[str, set[str]] = defaultdict(set)
    level = _level(event)
    rows = list(_rows(event))
    for name, element in _marks(event, bundle):
        out.facts.setdefault(("on event", name), (element, ids(event)))
    for row in rows:
        behind = ids(row.holder or row.attribute)
        strict = _level(row.attribute) or _level(row.holder) or level
        marks = {*_marks(row.attribute, bundle), *_marks(row.holder, bundle)}
        for value in row.values:
            for fact, element in _facts_of(row, value, strict, marks):
                out.facts.setdefault(fact, (element, behind))
            for part in (row.attribute, row.holder):
                names[str(part.get("uuid"))].update("|".join(value) for value in row.values)
                names[str(part.get("uuid"))].update(behind)
    for obj in event.get("Object") or ():
        out.facts.setdefault(("object", obj["name"]), (f"object {obj['name']}", ids(obj)))

    parts = [*(event.get("Attribute") or ()), *(event.get("Object") or ())]
    for part in [*parts, *(row.attribute for row in rows)]:
        source = frozenset(names[str(part.get("uuid"))])
        for key, target, element in _LINKS:
            for link in part.get(key) or ():
                uuid = str(link[target])
                end = frozenset(names.get(uuid) or bundle.by_uuid.get(uuid) or {uuid})
                out.references.add((*_directed(link["relationship_type"], source, end), element))


def _directed(
    relationship: str, source: frozenset[str], target: frozenset[str]
) -> tuple[str, frozenset[str], frozenset[str]]:
    """A link in one of its two directions, by one of its names."""
    kind = plain(relationship)
    if kind in _INVERSE:
        return _INVERSE[kind], target, source
    return _SYNONYM.get(kind, kind), source, target


def _facts_of(
    row: _Row, value: Content, strict: str, marks: set[tuple[str, str]]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The facts that an attribute states about a value, each with the element that states it."""
    yield ("value", *value), row.element
    if row.attribute.get("to_ids"):
        yield ("to_ids", *value), "to_ids"
    if strict:
        yield ("tlp", *value, strict), "tag tlp"
    for key in ("first_seen", "last_seen"):
        if time := row.attribute.get(key) or row.holder.get(key):
            yield (key, *value, plain(time)), key
    for name, element in marks:
        yield ("on value", *value, name), element
    for sighting in row.attribute.get("Sighting") or ():
        yield ("sighting", *value, str(sighting.get("type") or 0)), "sighting"


def _rows(event: dict[str, Any]) -> Iterator[_Row]:
    for attribute in event.get("Attribute") or ():
        yield _Row(attribute, {}, f"attribute {attribute['type']}", _values(attribute))
    for obj in event.get("Object") or ():
        for attribute in obj.get("Attribute") or ():
            yield _Row(attribute, obj, f"object {obj['name']}", _values(attribute))


def _values(attribute: dict[str, Any]) -> tuple[Content, ...]:
    """The class and value of an attribute; a composite says two."""
    kind, value = attribute["type"], attribute.get("value")
    if kind == "attachment" and attribute.get("data"):
        return (
            ("data", "".join(str(attribute["data"]).split())),
        )  # the file name is the converter's
    if kind == "boolean":
        return (("text", {"1": "true", "0": "false"}.get(plain(value), plain(value))),)
    if kind == "AS":
        return (("text", plain(value).removeprefix("as").strip()),)
    if attribute.get("object_relation") == "environment-variables":
        return tuple(("text", plain(one)) for one in str(value).split(" - "))
    kinds = "filename|md5" if kind == "malware-sample" else kind
    texts = str(value).split("|", 1) if "|" in kinds else [value]
    return tuple(
        (_CLASS.get(one, "text"), plain(text))
        for one, text in zip(kinds.split("|"), texts, strict=False)
    )


def _level(element: dict[str, Any]) -> str | None:
    found = {
        tag["name"].lower().removeprefix("tlp:").replace("white", "clear")
        for tag in element.get("Tag") or ()
        if tag["name"].lower().startswith("tlp:")
    }
    return max(
        found,
        key=lambda level: (_LEVELS.index(level) if level in _LEVELS else len(_LEVELS), level),
        default=None,
    )


def _marks(element: dict[str, Any], bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Tags and clusters of an element but TLP: the name, and what it is in MISP."""
    for galaxy in element.get("Galaxy") or ():
        for cluster in galaxy.get("GalaxyCluster") or ():
            for one in _cluster_names(str(galaxy.get("type")), cluster["value"], bundle):
                yield one, "galaxy cluster"
    for tag in element.get("Tag") or ():
        name = tag["name"]
        if name.lower().startswith("tlp:"):
            continue
        match = _TAG.fullmatch(name)
        if match and match[1] == "misp-galaxy":
            for one in _cluster_names(match[2], match[3], bundle):
                yield one, "galaxy cluster"
        elif match and match[1] == "stix":
            # what ours puts into a name space is a bare tag or a private cluster in theirs
            yield (
                plain(match[3]),
                "galaxy cluster" if match[2] in CLUSTERS else f"tag {match[1]}:{match[2]}",
            )
        else:
            yield plain(name), f"tag {match[1]}:{match[2]}" if match else "tag"


def _cluster_names(galaxy: str, value: str, bundle: Bundle) -> set[str]:
    """The names under which the bundle knows a cluster of MISP: by its name, a synonym or an
    external id.
    """
    names = _galaxy(galaxy).get(plain(value), {plain(value)})
    found = set()
    for _, row in bundle.objects:
        if row["type"] in CLUSTERS and isinstance(row.get("name"), str):
            references = row.get("external_references")
            known = {plain(row["name"])}
            for key in ("aliases", "labels", "x_mitre_aliases", "country", "region", "sectors"):
                known.update(
                    map(plain, row[key] if isinstance(row.get(key), list) else [row.get(key)])
                )
            for reference in references if isinstance(references, list) else ():
                known.add(plain(reference.get("external_id")))
            if known & names:
                found.add(plain(row["name"]))
    return found or {plain(value)}


@cache
def _galaxy(galaxy: str) -> dict[str, set[str]]:
    spec = find_spec("pymispgalaxies")
    path = Path(str(spec and spec.origin)).parent / "data/misp-galaxy/clusters" / f"{galaxy}.json"
    if not path.is_file():
        return {}
    out = {}
    for row in json.loads(path.read_bytes())["values"]:
        meta = row.get("meta") or {}
        names = {
            row["value"],
            *(meta.get("synonyms") or ()),
            str(meta.get("external_id")),
            str(meta.get("ISO")),
        }
        out[plain(row["value"])] = {
            *map(plain, names),
            plain(row["value"].rpartition(" - ")[0]),
        } - {"none", ""}
    return out


_PLACES = {
    "EventReport": "event report",
    "Galaxy": "galaxy cluster",
    "Note": "note",
    "Opinion": "note",
    "ObjectReference": "object reference",
    "Orgc": "organisation",
    "Relationship": "relationship",
    "Sighting": "sighting",
    "Tag": "tag",
    "info": "event info",
    "comment": "comment",
    "value": "attribute",
}
_TOLD = {"name", "content", "value", "comment", "info", "note", "opinion", "source", "description"}


def _texts(value: object, place: str, out: dict[str, set[str]], key: str = "") -> None:
    """The texts of an event by the element they stand in; those that come with a template or galaxy
    say nothing.
    """
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            if inner_key in ("description", "name", "meta-category") and "template_uuid" in value:
                continue
            if inner_key == "description" and "GalaxyCluster" in value:
                continue
            at = (
                place
                if place in ("event report", "galaxy cluster", "note", "sighting")
                else _PLACES.get(inner_key, place)
            )
            _texts(inner, at, out, inner_key)
    elif isinstance(value, list):
        for inner in value:
            _texts(inner, place, out, key)
    elif isinstance(value, str) and (key in _TOLD or place == "galaxy cluster"):
        out[place].add(words(value))


def place_of(text: str, places: Mapping[str, str]) -> str | None:
    """The element that says a text, each of its lines somewhere; the first where they are in
    several.
    """
    found = None
    for line in text.splitlines():
        if wanted := words(line):
            at = next((place for place, held in places.items() if f" {wanted} " in held), None)
            if at is None:
                return None
            found = found or at
    return found


def told(bundle: Bundle) -> Iterator[tuple[str, str, str, str]]:
    """The prose of a bundle: id, type, property, text."""
    for id_, row in bundle.objects:
        for key in TEXTS:
            if isinstance(row.get(key), str) and words(row[key]):
                yield id_, row["type"], key, row[key]
        references = row.get("external_references")
        for reference in references if isinstance(references, list) else ():
            for key in ("url", "external_id", "description"):
                if (
                    isinstance(reference, dict)
                    and isinstance(reference.get(key), str)
                    and words(reference[key])
                ):
                    yield id_, row["type"], f"external_references.{key}", reference[key]
