"""The known galaxy clusters.

Which galaxies a STIX type is looked up in, and how a cluster is found.

A cluster is found by its UUID, by its number in a catalogue (`T1566`, `G0007`, `win.emotet`), by
its name, or by a synonym. The galaxies are searched in a fixed order, which puts ATT&CK's
enterprise domain before mobile and ICS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

# The galaxies that names are looked up in, in this order, by STIX type. The deprecated
# `mitre-enterprise-*`,
# `mitre-mobile-*` and `mitre-pre-*` are never used. A user file can override (see `overrides`).
GALAXIES: dict[str, tuple[str, ...]] = {
    "attack-pattern": ("mitre-attack-pattern", "mitre-ics-techniques"),
    "campaign": ("campaigns",),
    "course-of-action": ("mitre-course-of-action",),
    "intrusion-set": ("mitre-intrusion-set", "threat-actor", "mitre-ics-groups"),
    "malware": (
        "mitre-malware",
        "malpedia",
        "ransomware",
        "stealer",
        "rat",
        "banker",
        "botnet",
        "tool",
        "mitre-tool",
        "mitre-ics-software",
    ),
    "threat-actor": ("threat-actor", "mitre-intrusion-set", "mitre-ics-groups"),
    "tool": ("mitre-tool", "tool", "mitre-malware"),
    "identity": ("sector",),
    "location": ("country", "region"),
    "x-mitre-asset": ("mitre-ics-assets",),
    "x-mitre-tactic": ("mitre-ics-tactics",),
    "x-mitre-data-source": ("mitre-data-source",),
    "x-mitre-data-component": ("mitre-data-component",),
    "producer": ("producer",),
}
FILES = {"campaigns": "tidal-campaigns"}
"""Galaxy -> the name of its file, where that is another."""

_MOBILE = "mitre-attack-pattern mobile"
DOMAINS: Mapping[str, tuple[str, ...]] = {
    "mobile-attack": (_MOBILE,),
    "ics-attack": ("mitre-ics-techniques",),
}
"""A domain of ATT&CK -> what is searched first for the name of a technique of that domain."""

NUMBERS: Mapping[str, re.Pattern[str]] = {
    stix_type: re.compile(rf"(?<![A-Za-z0-9])(?<!AML\.)({number})(?![A-Za-z0-9])", re.IGNORECASE)
    for stix_type, number in {
        "attack-pattern": r"T\d{4}(?:[./]\d{3})?",
        "campaign": r"C\d{4}",
        "course-of-action": r"[MT]\d{4}(?:[./]\d{3})?",
        "intrusion-set": r"G\d{4}",
        "malware": r"S\d{4}",
        "threat-actor": r"G\d{4}",
        "tool": r"S\d{4}",
        "x-mitre-data-source": r"DS\d{4}",
    }.items()
}
"""STIX type -> the form of its numbers in ATT&CK."""
NO_NUMBER = re.compile(r"(?!)")
"""The form of the numbers of any other type: nothing is one by its form."""

_ICS_NUMBER = re.compile(r"T(8\d\d)")
_CLASSES = frozenset({"sector", "region", "country"})
"""Galaxies whose names are looked up by their letters and digits alone.

`High-tech` is `High tech`.
"""

_MALPEDIA = re.compile(r"malpedia\.caad\.fkie\.fraunhofer\.de/details/([\w.-]+)", re.IGNORECASE)
_OPENING = 60


class Match(NamedTuple):
    """A known cluster that was found.

    Attributes:
        tag: `misp-galaxy:<type>="<value>"`.
        own: whether the UUID of the STIX object is that of the cluster.
        named: whether the name of the STIX object is the cluster's, and no synonym or other name.
        opening: the checksum of how the description of the cluster begins (`opening_of`).
    """

    tag: str
    own: bool
    named: bool
    opening: int


class Clusters:
    """Looks up clusters in the index that `index_galaxy` wrote."""

    def __init__(self, index: dict[str, Any], overrides: Mapping[str, str]) -> None:
        self._tags: list[str] = index["tags"]
        self._openings: list[int] = index["openings"]
        self._successors: dict[str, str] = index["successors"]
        self._by_uuid: dict[str, dict[str, int]] = index["by_uuid"]
        self._by_number: dict[str, dict[str, int]] = index["by_number"]
        self._by_name: dict[str, dict[str, int]] = index["by_name"]
        self._overrides = overrides
        self._uuids: dict[str, str] | None = None

    def uuid_of(self, tag: str) -> str | None:
        """The UUID of the cluster that a tag names, within its galaxy; None where it names none."""
        if self._uuids is None:
            self._uuids = {
                self._tags[at]: uuid for rows in self._by_uuid.values() for uuid, at in rows.items()
            }
        return self._uuids.get(tag)

    def successor(self, match: Match, name: str) -> Match:
        """The cluster that replaces a revoked one; the cluster itself where none does.

        Args:
            match: of a revoked object.
            name: of that object.
        """
        after = self._successors.get(match.tag)
        return (
            match
            if after is None
            else Match(after, own=False, named=_names(after, name), opening=0)
        )

    def find(
        self,
        stix_type: str,
        uuid: str,
        numbers: Sequence[str],
        names: Sequence[str],
        domain: str | None = None,
    ) -> Match | None:
        """Find a cluster by UUID, else by number, else by name, else by another name.

        Args:
            stix_type: a key of `GALAXIES`.
            uuid: of the STIX object.
            numbers: its numbers in the catalogues, in any case.
            names: its name, then its other names.
            domain: a key of `DOMAINS` that the object names, for a name that several domains have.
        """
        name = names[0] if names else ""
        for one in names:
            override = self._overrides.get(f"{stix_type}:{one}".lower())
            if override is not None:
                return Match(override, own=False, named=True, opening=0)
        galaxies = (*DOMAINS.get(domain or "", ()), *GALAXIES.get(stix_type, ()))
        at = _first(self._by_uuid, galaxies, [uuid])
        if at is not None:
            return self._match(at, name, own=True)
        at = _first(self._by_number, galaxies, [number_of(number) for number in numbers])
        if at is None:
            at = _first(self._by_name, galaxies, keys_of(names[:1]))
        if at is None:
            at = _first(self._by_name, galaxies, keys_of(names[1:]))
        return None if at is None else self._match(at, name, own=False)

    def in_galaxy(
        self, galaxy: str, names: Iterable[str], numbers: Sequence[str] = (), uuid: str = ""
    ) -> Match | None:
        """Find a cluster of one galaxy by its number, else by its UUID, else by a name.

        Args:
            galaxy: its type.
            names: names that it may have.
            numbers: its numbers in the catalogues, in any case.
            uuid: of the cluster.
        """
        at = _first(self._by_number, (galaxy,), [number_of(number) for number in numbers])
        if at is not None:
            return self._match(at, "", own=False)
        at = _first(self._by_uuid, (galaxy,), [uuid])
        if at is not None:
            return self._match(at, "", own=True)
        for name in names:
            at = _first(self._by_name, (galaxy,), keys_of([name]))
            if at is not None:
                return self._match(at, name, own=False)
        return None

    def _match(self, at: int, name: str, *, own: bool) -> Match:
        return Match(self._tags[at], own, _names(self._tags[at], name), self._openings[at])


def _first(
    table: Mapping[str, Mapping[str, int]], galaxies: Iterable[str], keys: Sequence[str]
) -> int | None:
    for galaxy in galaxies:
        rows = table.get(galaxy)
        for key in keys if rows else ():
            at = rows.get(key) if rows else None
            if at is not None:
                return at
    return None


def number_of(text: str) -> str:
    """A number as the index has it.

    `t1059/001` is `T1059.001`, `T800` of the first ICS matrix is `T0800`.
    """
    number = text.strip().upper().replace("/", ".")
    found = _ICS_NUMBER.fullmatch(number)
    return f"T0{found[1]}" if found else number


def keys_of(names: Iterable[str]) -> list[str]:
    """The keys that names are looked up by: in lower case, then their letters and digits alone."""
    plain = [name.lower() for name in names]
    return [*plain, *(squeezed(name) for name in plain)]


def squeezed(text: str) -> str:
    """The letters and digits of a text, in lower case, in brackets: such a key equals no name."""
    return f"[{''.join(char for char in text.lower() if char.isalnum())}]"


def malpedia_number(text: str) -> str | None:
    """The family that a link to Malpedia is for (`win.emotet`)."""
    found = _MALPEDIA.search(text)
    return found[1] if found else None


def opening_of(description: object) -> int:
    """A checksum of how a description begins, whatever its markup; 0 for an empty one."""
    text = "".join(char for char in str(description or "")[:400].lower() if char.isalnum())
    return crc32(text[:_OPENING].encode()) if text else 0


def _names(tag: str, name: str) -> bool:
    """Whether a name is that of a cluster.

    Its value, with or without the number, and nothing more.
    """
    value = squeezed(_plain(tag.partition('="')[2]))
    family = name.rpartition(".")[2] if " " not in name else name  # of `win.emotet`
    return squeezed(_plain(name)) in (value, "[]") or squeezed(family) == value


_ANY_NUMBER = re.compile(
    r"(?:\b(?:mitre|attack|att&ck)[\s.:_-]+)?(?<![A-Za-z0-9])(?:TA|DS|DC|[TGSMCA])\d{4}(?:[./]\d{3})?(?![A-Za-z0-9])",
    re.IGNORECASE,
)


def _plain(text: str) -> str:
    """A name without its numbers in ATT&CK, and of a region without its number."""
    return re.sub(r"^\d{3} - ", "", _ANY_NUMBER.sub("", text))


# the index


def new_index() -> dict[str, Any]:
    """An index without a galaxy."""
    return {
        "tags": [], "openings": [], "successors": {}, "by_uuid": {}, "by_number": {}, "by_name": {},
    }  # fmt: skip


def index_galaxy(index: dict[str, Any], galaxy: str, raw: Mapping[str, Any]) -> None:
    """Add the clusters of one galaxy file to the index.

    Clusters that a name is tried on first come first: what is not revoked, ATT&CK's enterprise
    domain, then mobile.
    """
    uuids: dict[str, int] = {}
    numbers: dict[str, list[int]] = {}
    names: dict[str, int] = {}
    synonyms: dict[str, int] = {}
    mobile: dict[str, int] = {}
    replaced: dict[int, str] = {}
    for cluster in sorted(raw["values"], key=_order):
        meta = cluster.get("meta") or {}
        value = cluster["value"]
        at = len(index["tags"])
        index["tags"].append(f'misp-galaxy:{raw["type"]}="{value}"')
        index["openings"].append(opening_of(cluster.get("description")))
        if cluster.get("uuid"):
            uuids[cluster["uuid"].lower()] = at
        for number in _numbers(meta):
            numbers.setdefault(number_of(number), []).append(at)
        for name in _own_names(value, meta):
            names.setdefault(name.lower(), at)
            if _domain(cluster) == 1:
                mobile.setdefault(name.lower(), at)
        if galaxy in _CLASSES:
            synonyms.setdefault(squeezed(_plain(value)), at)
        for synonym in _synonyms(value, meta):
            synonyms.setdefault(synonym.lower(), at)
        if cluster.get("revoked"):
            replaced.update(
                (at, row["dest-uuid"].lower())
                for row in cluster.get("related") or ()
                if row.get("type") == "revoked-by"
            )
    index["successors"].update(
        (index["tags"][at], index["tags"][uuids[uuid]])
        for at, uuid in replaced.items()
        if uuid in uuids
    )
    index["by_uuid"][galaxy] = uuids
    # a number that the catalogue gives to two clusters decides nothing
    index["by_number"][galaxy] = {key: rows[0] for key, rows in numbers.items() if len(rows) == 1}
    # a cluster's own name goes before a synonym of another
    index["by_name"][galaxy] = {**synonyms, **names}
    if mobile:
        index["by_name"][_MOBILE] = mobile


def _order(cluster: Mapping[str, Any]) -> tuple[bool, int]:
    return bool(cluster.get("revoked")), _domain(cluster)


def _domain(cluster: Mapping[str, Any]) -> int:
    """The domain of a technique by its tactics.

    0 enterprise (and all that has none), 1 mobile, 2 the old PRE-ATT&CK.
    """
    tactics = (cluster.get("meta") or {}).get("kill_chain") or ()
    if any(row.startswith("mobile-attack") for row in tactics):
        return 1
    return 2 if any(row.startswith("pre-attack") for row in tactics) else 0


def _numbers(meta: Mapping[str, Any]) -> Iterable[str]:
    for name in ("external_id", "campaign_attack_id", "Technique ID"):
        found = meta.get(name)
        yield from (row for row in (found if isinstance(found, list) else [found]) if row)
    for ref in (meta.get("refs") or ())[:1]:
        number = malpedia_number(ref)
        if number:
            yield number


def _own_names(value: str, meta: Mapping[str, Any]) -> Iterable[str]:
    """The names of a cluster: "APT28 - G0007" is found by "APT28", "150 - Europe" by "Europe"."""
    yield value
    head, dash, tail = value.rpartition(" - ")
    if dash and tail == meta.get("external_id"):
        yield head
    number, dash, plain = value.partition(" - ")
    if dash and number.isdigit():
        yield plain


def _synonyms(value: str, meta: Mapping[str, Any]) -> Iterable[str]:
    for code in (meta.get("ISO"), meta.get("ISO3")):
        if isinstance(code, str):
            yield code
    for synonym in meta.get("synonyms") or ():
        if isinstance(synonym, str):
            yield synonym
    # the galaxies of the first ICS matrix: "Backdoor.Oldrea, Havex", "Elfin - Symantec mentioned …"
    for name in ("Associated Software Descriptions", "Associated Group Descriptions"):
        yield from (row.partition(" - ")[0] for row in meta.get(name) or ())
