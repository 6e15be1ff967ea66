"""Warninglists offline: MISP's lists of harmless and common values (`pymispwarninglists`), all of them in one index.

The lists are found without importing the package. The index is built once, into the user's cache folder, and mapped
into memory: sorted hashes for exact values and host names, segments of the address space for networks.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import struct
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from importlib import metadata
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from stixbridge import tlp
from stixbridge.config.checks import near
from stixbridge.errors import ConfigError
from stixbridge.misp.knowledge import cache_folder, package

_FORMAT = 2
"""Counted up when the form of the index changes."""

_BUCKETS = 16
_HEAD = struct.Struct("<4sQQ")
_MAGIC = b"SBWL"
_PREFIX = 4
_SHIFT = 52
"""What is left of a hash after the bits by which the search for it begins."""
_OF_AN_ADDRESS = frozenset("0123456789abcdefABCDEF:")


@dataclass(frozen=True, slots=True)
class WarningList:
    """One list.

    Attributes:
        name: its name.
        slug: the name of its folder.
        kind: `string`, `substring`, `hostname`, `cidr`, `regex`.
        category: `false_positive` or `known`.
        types: attribute types it is for; empty for all.
    """

    name: str
    slug: str
    kind: str
    category: str
    types: frozenset[str] = field(default_factory=frozenset)


class WarningLists:
    """All lists, to look values up in.

    Args (of the constructor):
        path: of the index.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, count, rest = _HEAD.unpack_from(self._map)
        if magic != _MAGIC:
            raise ValueError("no index")
        start = _HEAD.size
        view = memoryview(self._map)
        self._hashes = view[start : start + 8 * count].cast("Q")
        self._owners = view[start + 8 * count : start + 10 * count].cast("H")
        raw = orjson.loads(view[start + 10 * count : start + 10 * count + rest])
        self.lists = [
            WarningList(
                row["name"], row["slug"], row["kind"], row["category"], frozenset(row["types"])
            )
            for row in raw["lists"]
        ]
        self._v4: tuple[list[int], list[int]] = (raw["v4"][0], raw["v4"][1])
        self._v6 = ([int(text, 16) for text in raw["v6"][0]], raw["v6"][1])
        self._sets: list[list[int]] = raw["sets"]
        self._substrings: dict[str, list[tuple[str, int]]] = {}
        for text, owner in raw["substrings"]:
            self._substrings.setdefault(text[:_PREFIX], []).append((text, owner))
        self._lengths = sorted({len(prefix) for prefix in self._substrings})
        self._by_type: dict[str, list[tuple[re.Pattern[str], int]]] = {}
        parts = range(1 << (64 - _SHIFT))
        self._starts = [*(bisect_left(self._hashes, part << _SHIFT) for part in parts), count]
        self._patterns = [
            (pattern, owner)
            for text, owner in raw["patterns"]
            if (pattern := _pattern(text)) is not None
        ]

    def search(self, value: str) -> list[WarningList]:
        """Every list that has a value, whatever the type."""
        found = set(self._found(value))
        found.update(owner for pattern, owner in self._patterns if pattern.search(value))
        return [self.lists[at] for at in sorted(found)]

    def hits(self, type_: str, value: str) -> list[WarningList]:
        """The lists that have the value of an attribute and are for its type; of a composite, either half."""
        values = {type_: value}
        if "|" in type_ and "|" in value:
            values.update(zip(type_.split("|"), value.split("|"), strict=False))
        found: set[int] = set()
        for kind, text in values.items():
            hits = self._found(text)
            # patterns are looked at for the types they are for only: most are for telephone numbers
            for pattern, owner in self._patterns_of(kind):
                if pattern.search(text):
                    hits.append(owner)
            if hits:
                found.update(
                    at
                    for at in hits
                    if not self.lists[at].types or self.lists[at].types & {kind, type_}
                )
        return [self.lists[at] for at in sorted(found)]

    def _patterns_of(self, type_: str) -> list[tuple[re.Pattern[str], int]]:
        known = self._by_type.get(type_)
        if known is None:
            known = [
                row
                for row in self._patterns
                if not self.lists[row[1]].types or type_ in self.lists[row[1]].types
            ]
            self._by_type[type_] = known
        return known

    def _found(self, value: str) -> list[int]:
        found = self._owners_of(f"={value}")
        host = _host_of(value)
        networks = self._networks(value)
        if found and (host != value or networks is not None):
            # host names are held against the host, and networks against addresses
            wrong = {"hostname"} if host != value else set()
            wrong |= {"cidr"} if networks is not None else set()
            found = [at for at in found if self.lists[at].kind not in wrong]
        if host != value:
            found += [at for at in self._owners_of(f"={host}") if self.lists[at].kind == "hostname"]
        at = host.find(".")
        while at >= 0:
            found += self._owners_of(f"<{host[at + 1 :]}")
            at = host.find(".", at + 1)
        if networks:
            found += networks
        substrings = self._substrings
        for length in self._lengths:
            for start in range(len(value) - length + 1):
                rows = substrings.get(value[start : start + length])
                if rows is not None:
                    found += [owner for text, owner in rows if value.startswith(text, start)]
        return found

    def _owners_of(self, key: str) -> list[int]:
        digest = _hash(key)
        hashes = self._hashes
        # hashes are spread evenly: the first bits say where to look
        part = digest >> _SHIFT
        at = bisect_left(hashes, digest, self._starts[part], self._starts[part + 1])
        found = []
        while at < len(hashes) and hashes[at] == digest:
            found.append(self._owners[at])
            at += 1
        return found

    def _networks(self, value: str) -> list[int] | None:
        """The lists with a network that an address is in; None for what is no address."""
        if not value or value[0] not in _OF_AN_ADDRESS:
            return None
        try:
            if ":" in value:
                return self._in_segment(self._v6, int(IPv6Address(value)))
            return self._in_segment(self._v4, int(IPv4Address(value)))
        except AddressValueError:
            return None

    def _in_segment(self, segments: tuple[list[int], list[int]], address: int) -> list[int]:
        at = bisect_right(segments[0], address) - 1
        return self._sets[segments[1][at]] if at >= 0 else []


def _hash(key: str) -> int:
    return int.from_bytes(
        blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def _host_of(value: str) -> str:
    if "//" in value:
        with contextlib.suppress(ValueError):
            return urlsplit(value).hostname or value
    return value


def _pattern(text: str) -> re.Pattern[str] | None:
    """A pattern of a list, as PHP writes it (`/…/i`) or bare; None for one that is not for this engine."""
    found = re.fullmatch(r"/(.*)/([a-z]*)", text, re.DOTALL)
    with contextlib.suppress(re.error):
        return (
            re.compile(found[1], re.IGNORECASE if "i" in found[2] else 0)
            if found
            else re.compile(text)
        )
    return None


@lru_cache(maxsize=1)
def load() -> WarningLists:
    """The lists of the installed package, from the index where there is one.

    Raises:
        ConfigError: when the package is not installed, or the index can't be written.
    """
    try:
        version = metadata.version("pymispwarninglists")
    except metadata.PackageNotFoundError:
        raise ConfigError(
            "warninglists: the package is not installed; pip install 'stixbridge[warninglists]'"
        ) from None
    path = cache_folder() / f"warninglists-{_FORMAT}-{version}.idx"
    with contextlib.suppress(OSError, ValueError, KeyError):
        return WarningLists(path)
    build(path)
    return WarningLists(path)


def build(path: Path) -> None:
    """Read all lists into an index (some seconds).

    Raises:
        ConfigError: when it can't be written.
    """
    folder = package("pymispwarninglists") / "data" / "misp-warninglists" / "lists"
    buckets = [(array("Q"), array("H")) for _ in range(_BUCKETS)]
    about: list[dict[str, Any]] = []
    networks: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
    substrings: list[tuple[str, int]] = []
    patterns: list[tuple[str, int]] = []
    for at, file in enumerate(sorted(folder.glob("*/list.json"))):
        raw = orjson.loads(file.read_bytes())
        about.append(
            {
                "name": raw["name"],
                "slug": file.parent.name,
                "kind": raw["type"],
                "category": raw.get("category") or "false_positive",
                "types": [name for name in raw.get("matching_attributes") or [] if name != "ALL"],
            }
        )
        for key in _keys(raw["type"], raw["list"], at, networks, substrings, patterns):
            digest = _hash(key)
            hashes, owners = buckets[digest >> 60]
            hashes.append(digest)
            owners.append(at)
    sets: dict[tuple[int, ...], int] = {(): 0}
    v4 = _segments(networks[4], 1 << 32, sets)
    v6 = _segments(networks[6], 1 << 128, sets)
    rest = orjson.dumps(
        {
            "lists": about,
            "v4": v4,
            "v6": [[f"{start:x}" for start in v6[0]], v6[1]],
            "sets": [list(owners) for owners in sets],
            "substrings": substrings,
            "patterns": patterns,
        }
    )
    _write(path, buckets, rest)


def _keys(
    kind: str,
    values: Sequence[str],
    owner: int,
    networks: dict[int, list[tuple[int, int, int]]],
    substrings: list[tuple[str, int]],
    patterns: list[tuple[str, int]],
) -> Iterator[str]:
    """What of a list is looked up by its hash; the rest goes where it belongs."""
    for value in dict.fromkeys(values):
        if kind == "string":
            yield f"={value}"
        elif kind == "hostname":
            yield f"={value}"
            yield f"<{value.lstrip('.')}"
        elif kind == "cidr":
            yield f"={value}"
            with contextlib.suppress(ValueError):
                network = ip_network(value, strict=False)
                first = int(network.network_address)
                networks[network.version].append((first, first + network.num_addresses, owner))
        elif kind == "substring" and value:
            substrings.append((value, owner))
        elif kind == "regex":
            patterns.append((value, owner))


def _segments(
    networks: list[tuple[int, int, int]], top: int, sets: dict[tuple[int, ...], int]
) -> tuple[list[int], list[int]]:
    """Starts of segments of the address space, and the number of the set of lists that each is in."""
    moves: dict[int, list[tuple[int, int]]] = {}
    for first, after, owner in networks:
        moves.setdefault(first, []).append((owner, 1))
        if after < top:
            moves.setdefault(after, []).append((owner, -1))
    active: dict[int, int] = {}
    starts: list[int] = []
    numbers: list[int] = []
    for start in sorted(moves):
        for owner, step in moves[start]:
            active[owner] = active.get(owner, 0) + step
            if not active[owner]:
                del active[owner]
        number = sets.setdefault(tuple(sorted(active)), len(sets))
        if not numbers or numbers[-1] != number:
            starts.append(start)
            numbers.append(number)
    return starts, numbers


def _write(path: Path, buckets: list[tuple[array[int], array[int]]], rest: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(_HEAD.pack(_MAGIC, sum(len(hashes) for hashes, _ in buckets), len(rest)))
            orders = []
            for hashes, _ in buckets:
                order = sorted(range(len(hashes)), key=hashes.__getitem__)
                orders.append(order)
                array("Q", (hashes[at] for at in order)).tofile(file)
            for (_, owners), order in zip(buckets, orders, strict=True):
                array("H", (owners[at] for at in order)).tofile(file)
            file.write(rest)
        Path(temporary).replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; the index of the warninglists goes there"
        ) from None


ACTIONS = ("drop", "to_ids_off", "tag", "report")
"""What can be done with a hit."""

_KEYS = ("lists", "category", "action", "tag")
DEFAULT_TAG = 'false-positive:risk="medium"'


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do with hits: the chosen lists, an action, a tag.

    Attributes:
        action: one of `ACTIONS`.
        slugs: of the lists it is for.
        tag: for the action `tag`.
    """

    action: str
    slugs: frozenset[str]
    tag: str = DEFAULT_TAG


def policies(settings: Sequence[Mapping[str, Any]]) -> list[Policy]:
    """Read `enrich.warninglists`: `{ lists = [...], category = "...", action = "..." }`; the first that fits counts.

    Raises:
        ConfigError: naming every mistake.
    """
    lists = load().lists
    names = {**{one.slug: one.slug for one in lists}, **{one.name: one.slug for one in lists}}
    wrong: list[str] = []
    found: list[Policy] = []
    for at, row in enumerate(settings):
        place = f"warninglists[{at}]"
        for key in row:
            if key not in _KEYS:
                wrong.append(f"{place}: unknown setting {key!r}{near(key, dict.fromkeys(_KEYS))}")
        action = row.get("action", "to_ids_off")
        if action not in ACTIONS:
            wrong.append(f"{place}: action {action!r} is none of {', '.join(ACTIONS)}")
        if not isinstance(row.get("lists", []), list) or not all(
            isinstance(name, str) for name in row.get("lists", [])
        ):
            wrong.append(f'{place}: lists is a list of names, as ["*"]')
            continue
        if not isinstance(row.get("category", ""), str) or not isinstance(row.get("tag", ""), str):
            wrong.append(f"{place}: category and tag are texts")
            continue
        if tlp.is_tlp_tag(row.get("tag", "")):
            wrong.append(f"{place}: a TLP tag is no tag for a hit")
        slugs = {one.slug for one in lists}
        chosen = row.get("lists")
        if chosen is not None and chosen != ["*"]:
            unknown = [name for name in chosen if name not in names]
            wrong.extend(f"{place}: no list {name!r}{near(name, names)}" for name in unknown)
            slugs = {names[name] for name in chosen if name in names}
        category = row.get("category")
        if category is not None:
            known = {one.category for one in lists}
            if category not in known:
                wrong.append(
                    f"{place}: no category {category!r}; there are {', '.join(sorted(known))}"
                )
            slugs &= {one.slug for one in lists if one.category == category}
        found.append(Policy(str(action), frozenset(slugs), str(row.get("tag", DEFAULT_TAG))))
    if wrong:
        raise ConfigError(wrong)
    return found
