"""Rows of the store: bodies packed, digests, what is indexed of an object."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from stixbridge import times
from stixbridge.stix.references import everything
from stixbridge.stix.versions import digest_of, version_of
from stixbridge.tlp import WELL_KNOWN

_SHORT = 1_000
"""Bytes up to which packing takes more time than it saves room."""


def pack(body: Mapping[str, Any]) -> bytes:
    """A body as it is stored: JSON, under zlib where it is long."""
    data = orjson.dumps(body)
    return data if len(data) <= _SHORT else zlib.compress(data, 1)


def unpack(body: bytes) -> dict[str, Any]:
    """A stored body."""
    value: dict[str, Any] = orjson.loads(body if body[:1] == b"{" else zlib.decompress(body))
    return value


class ObjectRow(NamedTuple):
    """What the store keeps of an object.

    Attributes:
        id: its id.
        type: its type.
        version: of it, and `digest` as well: the greater pair is the newer version.
        digest: of its content.
        body: packed.
        valid_until: microseconds.
        targets: what it refers to.
        link: the ends of a relationship.
        properties: how many it has.
    """

    id: str
    type: str
    version: int
    digest: bytes
    body: bytes
    valid_until: int | None
    targets: set[str]
    link: tuple[str, str] | None
    properties: int


def object_row(obj: dict[str, Any]) -> ObjectRow:
    """The row of an object.

    Raises:
        TypeError: for values that JSON can't hold, or that nest too deep to be written.
    """
    until = obj.get("valid_until")
    return ObjectRow(
        obj["id"],
        obj["type"],
        version_of(obj),
        digest_of(obj),
        pack(obj),
        times.read(until) if until is not None else None,
        # the TLP markings that everybody knows need no object, and refer half of the store to themselves
        everything(obj) - WELL_KNOWN.keys(),
        ends_of(obj) if obj["type"] == "relationship" else None,
        len(obj),
    )


def ends_of(relationship: Mapping[str, Any]) -> tuple[str, str] | None:
    """The ends of a relationship, where it has both."""
    source, target = relationship.get("source_ref"), relationship.get("target_ref")
    return (source, target) if isinstance(source, str) and isinstance(target, str) else None
