"""Which known galaxy cluster an object stands for.

By its UUID, its numbers wherever they stand, its names.

What stands for a class (a sector of industry, a country or region) is found by the vocabularies of
STIX, and only in the galaxy of its kind; other names of a class find nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stixbridge.mapping.context import NUMBER_PROPERTIES
from stixbridge.mapping.tables import Table
from stixbridge.mapping.vocabularies import REGIONS, SECTORS, word_of
from stixbridge.misp.clusters import NO_NUMBER, NUMBERS, Clusters, Match, malpedia_number
from stixbridge.misp.model import uuid_of

StixObject = Mapping[str, Any]

_ORDER = ("enterprise-attack", "mobile-attack", "ics-attack")


def known_cluster(obj: StixObject, table: Table, clusters: Clusters) -> Match | None:
    """Find the known galaxy cluster that an object stands for.

    Args:
        obj: a context object.
        table: of its type.
        clusters: MISP's.

    Returns:
        The cluster, of a revoked object its successor; None where none is known.
    """
    stix_type = str(obj["type"])
    if stix_type == "identity":
        return _sector(obj, clusters)
    if stix_type == "location":
        return _area(obj, clusters)
    names = names_of(obj, table)
    numbers = list(dict.fromkeys(_numbers(stix_type, obj, names)))
    uuid = uuid_of(str(obj["id"])) or ""
    found = clusters.find(stix_type, uuid, numbers, names, _domain(obj, numbers))
    if found is not None and obj.get("revoked") is True:
        return clusters.successor(found, names[0] if names else "")
    return found


def cluster_of_number(number: str, clusters: Clusters) -> Match | None:
    """The cluster of a number in ATT&CK, whatever it is a number of; None for any other text."""
    for stix_type, form in NUMBERS.items():
        if form.fullmatch(number.strip()):
            found = clusters.find(stix_type, "", [number], [])
            if found is not None:
                return found
    return None


def names_of(obj: StixObject, table: Table) -> list[str]:
    """The name of a context object, then its other names."""
    names: list[str] = []
    for name in table.names:
        value = obj.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item.strip():
                names.append(item.strip().replace("-", " ") if name == "region" else item.strip())
    return names


def _numbers(stix_type: str, obj: StixObject, names: Iterable[str]) -> Iterator[str]:
    """The numbers of an object in ATT&CK or Malpedia.

    Of its references, its properties, then in its names.
    """
    form = NUMBERS.get(stix_type, NO_NUMBER)
    refs = obj.get("external_references")
    for row in refs if isinstance(refs, list) else ():
        yield from _of_reference(form, row)
    for name in sorted(NUMBER_PROPERTIES & obj.keys()):
        if isinstance(obj[name], str):
            yield obj[name]
    for name in names:
        inside = {found.upper() for found in form.findall(name)}
        if len(inside) == 1:  # a name that says two numbers means neither
            yield inside.pop()
        elif "." in name and " " not in name:
            yield name  # `win.emotet`


def _of_reference(form: re.Pattern[str], row: Mapping[str, Any]) -> Iterator[str]:
    """The number that an external reference says, by itself or in a link to the catalogue."""
    number, url = row.get("external_id"), row.get("url")
    if isinstance(number, str) and (form.fullmatch(number.strip()) or is_catalogue(row)):
        yield number
    elif isinstance(url, str):
        family, found = malpedia_number(url), form.search(url)
        if family is not None:
            yield family
        elif found is not None and is_catalogue(row):
            yield found[1]


def is_catalogue(reference: Mapping[str, Any]) -> bool:
    """Whether a reference is to the entry of a catalogue: ATT&CK or Malpedia."""
    source = str(reference.get("source_name", "")).lower()
    return source.startswith("mitre") or source in ("att&ck", "attack", "malpedia")


def _domain(obj: StixObject, numbers: Iterable[str]) -> str | None:
    """The domain of ATT&CK that an object names; None where it is enterprise, or it names none."""
    named: set[str] = set()
    for name in ("x_mitre_domains", "x_mitre_domain"):
        value = obj.get(name)
        named.update(str(item) for item in (value if isinstance(value, list) else [value]))
    rows = [row.get("source_name") for row in obj.get("external_references") or ()]
    rows += [row.get("kill_chain_name") for row in obj.get("kill_chain_phases") or ()]
    for domain, words in _WORDS.items():
        if any(row in words for row in rows):
            named.add(domain)
    if any(number.upper().startswith("T0") for number in numbers):
        named.add("ics-attack")
    return next((domain for domain in _ORDER if domain in named), None)


_WORDS = {
    "enterprise-attack": ("mitre-attack", "mitre-enterprise-attack"),
    "mobile-attack": ("mitre-mobile-attack",),
    "ics-attack": ("mitre-ics-attack",),
}


def _sector(obj: StixObject, clusters: Clusters) -> Match | None:
    """The cluster of an identity of the class `class`.

    By its name, else by the one sector it says.
    """
    sectors = obj.get("sectors") or ()
    for name in (obj.get("name"), *(sectors if len(sectors) == 1 else ())):
        if not isinstance(name, str) or not name.strip():
            continue
        word = word_of(name)
        meant = SECTORS.get(word, name)
        found = clusters.in_galaxy("sector", [meant]) if meant is not None else None
        if found is not None:
            return found._replace(named=name is obj.get("name"))
    return None


def _area(obj: StixObject, clusters: Clusters) -> Match | None:
    """The cluster of a country, by its code or name, or of a region.

    A region is never a country.
    """
    name, country, region = (
        str(obj.get(key) or "").strip() for key in ("name", "country", "region")
    )
    kind = obj.get("x_opencti_location_type")
    if country or kind == "Country":
        return clusters.in_galaxy("country", _texts(country, name))
    if region or kind == "Region":
        meant = [REGIONS.get(word_of(text), text) for text in _texts(region, name)]
        return clusters.in_galaxy("region", meant)
    if kind == "Administrative-Area" or obj.get("administrative_area"):
        return None
    return clusters.in_galaxy("country", _texts(name)) or clusters.in_galaxy(
        "region", [REGIONS.get(word_of(name), name)]
    )


def _texts(*texts: str) -> list[str]:
    return [text for text in texts if text]
