"""Looks up values in MISP's lists of harmless and common values (`pymispwarninglists`), offline.

The lists are found without importing the package. An index of all lists is built once in the
user's cache folder and mapped into memory. It has sorted hashes of exact values and host names,
and segments of the address space for networks.
"""

from __future__ import annotations

import contextlib
import mmap
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from stixbridge.enrich.warninglist_index import FORMAT, HEAD, MAGIC, build_index, hash_of
from stixbridge.errors import ConfigError
from stixbridge.misp.knowledge import cache_folder

_PREFIX = 4
_SHIFT = 52
"""The bits of a hash after those that select the start of the search."""
_OF_AN_ADDRESS = frozenset("0123456789abcdefABCDEF:")


@dataclass(frozen=True, slots=True)
class WarningList:
    """One list.

    Attributes:
        name: its name.
        slug: the name of its folder.
        kind: `string`, `substring`, `hostname`, `cidr`, `regex`.
        category: `false_positive` or `known`.
        types: the attribute types that it applies to; empty for all.
    """

    name: str
    slug: str
    kind: str
    category: str
    types: frozenset[str] = field(default_factory=frozenset)


class WarningLists:
    """Looks up values in all lists.

    Args (of the constructor):
        path: of the index.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, count, rest = HEAD.unpack_from(self._map)
        if magic != MAGIC:
            raise ValueError(f"{path} is not an index of warninglists")
        start = HEAD.size
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
        """Return every list that contains a value, for any type."""
        found = set(self._found(value))
        found.update(owner for pattern, owner in self._patterns if pattern.search(value))
        return [self.lists[at] for at in sorted(found)]

    def hits(self, type_: str, value: str) -> list[WarningList]:
        """Return the lists for a type that contain a value, or a half of a composite."""
        values = {type_: value}
        if "|" in type_ and "|" in value:
            values.update(zip(type_.split("|"), value.split("|"), strict=False))
        numbers = {at for kind, text in values.items() for at in self._hits_of(kind, text, type_)}
        return [self.lists[at] for at in sorted(numbers)]

    def _hits_of(self, kind: str, text: str, type_: str) -> list[int]:
        """The numbers of the lists that have a value and are for its type or its composite type."""
        numbers = self._found(text)
        # patterns are tried for their own types only: most are for telephone numbers
        numbers += [owner for pattern, owner in self._patterns_of(kind) if pattern.search(text)]
        return [
            at for at in numbers if not self.lists[at].types or self.lists[at].types & {kind, type_}
        ]

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
        """The numbers of the lists that have a value, by any means but patterns."""
        host = _host_of(value)
        networks = self._networks(value)
        return [
            *self._exact(value, host, is_address=networks is not None),
            *self._parent_domains(host),
            *(networks or ()),
            *self._containing(value),
        ]

    def _exact(self, value: str, host: str, *, is_address: bool) -> list[int]:
        numbers = self._owners_of(f"={value}")
        if host == value and not is_address:
            return numbers
        # host names are compared with the host of a URL, and networks with addresses
        wrong = {"hostname"} if host != value else set()
        wrong |= {"cidr"} if is_address else set()
        numbers = [at for at in numbers if self.lists[at].kind not in wrong]
        if host != value:
            of_host = self._owners_of(f"={host}")
            numbers += [at for at in of_host if self.lists[at].kind == "hostname"]
        return numbers

    def _parent_domains(self, host: str) -> list[int]:
        numbers: list[int] = []
        at = host.find(".")
        while at >= 0:
            numbers += self._owners_of(f"<{host[at + 1 :]}")
            at = host.find(".", at + 1)
        return numbers

    def _containing(self, value: str) -> list[int]:
        """The numbers of the lists with a text that the value contains."""
        numbers: list[int] = []
        for length in self._lengths:
            for start in range(len(value) - length + 1):
                rows = self._substrings.get(value[start : start + length])
                if rows is not None:
                    numbers += [owner for text, owner in rows if value.startswith(text, start)]
        return numbers

    def _owners_of(self, key: str) -> list[int]:
        digest = hash_of(key)
        hashes = self._hashes
        # hashes are spread evenly: the first bits select the place to search
        part = digest >> _SHIFT
        at = bisect_left(hashes, digest, self._starts[part], self._starts[part + 1])
        found = []
        while at < len(hashes) and hashes[at] == digest:
            found.append(self._owners[at])
            at += 1
        return found

    def _networks(self, value: str) -> list[int] | None:
        """Return the lists with a network that contains an address; None for other values."""
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


def _host_of(value: str) -> str:
    if "//" in value:
        with contextlib.suppress(ValueError):
            return urlsplit(value).hostname or value
    return value


def _pattern(text: str) -> re.Pattern[str] | None:
    """Compile a pattern of a list, in PHP form (`/…/i`) or bare; None if Python can't use it."""
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
    """Load the lists of the installed package; build the index if it does not exist.

    Raises:
        ConfigError: the package is not installed, or the index can't be written.
    """
    try:
        version = metadata.version("pymispwarninglists")
    except metadata.PackageNotFoundError:
        raise ConfigError(
            "warninglists: the package is not installed; pip install 'stixbridge[warninglists]'"
        ) from None
    path = cache_folder() / f"warninglists-{FORMAT}-{version}.idx"
    with contextlib.suppress(OSError, ValueError, KeyError):
        return WarningLists(path)
    build_index(path)
    return WarningLists(path)
