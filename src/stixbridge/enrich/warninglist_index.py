"""The index of the warninglists: one file, written once into the user's cache folder.

Sorted hashes for exact values and host names with the list that each belongs to, segments of the
address space for networks, and the texts and patterns that are searched for one by one.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import orjson

from stixbridge.errors import ConfigError
from stixbridge.misp.knowledge import package

FORMAT = 2
"""The version of the index format."""

HEAD = struct.Struct("<4sQQ")
MAGIC = b"SBWL"
_BUCKETS = 16


def hash_of(key: str) -> int:
    """The number under which a value is looked up."""
    return int.from_bytes(
        blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def build_index(path: Path) -> None:
    """Build an index of all lists; this takes some seconds.

    Raises:
        ConfigError: the index can't be written.
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
            digest = hash_of(key)
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
    """Yield the values of a list that are looked up by hash; store the others elsewhere."""
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
    """Return the starts of segments of the address space, and the set of lists of each segment."""
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
            file.write(HEAD.pack(MAGIC, sum(len(hashes) for hashes, _ in buckets), len(rest)))
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
            f"{path}: {error.strerror or error}; stixbridge writes the index of the warninglists "
            "there"
        ) from None
