"""Rows of the store: bodies packed, digests, what is indexed of an object."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from .. import times
from ..stix.references import everything


def pack(body: Mapping[str, Any]) -> bytes:
    """A body as it is stored."""
    return zlib.compress(orjson.dumps(body), 1)


def unpack(body: bytes) -> dict[str, Any]:
    """A stored body."""
    value: dict[str, Any] = orjson.loads(zlib.decompress(body))
    return value


def digest_of(body: Mapping[str, Any]) -> bytes:
    """The digest of a body, whatever the order of its keys."""
    return blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS), digest_size=16).digest()


def object_row(source: str, obj: dict[str, Any], date_added: int | None) -> dict[str, Any]:
    """The row of an object, with what it refers to (`targets`) and its size (`properties`) beside the columns.

    Raises:
        TypeError: for values that JSON can't hold, or that nest too deep to be written.
    """
    version = times.read(obj.get("modified"))
    if version is None:
        version = times.read(obj.get("created")) or 0
    return {
        "source": source,
        "id": obj["id"],
        "type": obj["type"],
        "version": version,
        "digest": digest_of(obj),
        "body": pack(obj),
        "date_added": date_added,
        "valid_until": times.read(obj.get("valid_until")),
        "seq": 0,
        "targets": sorted(everything(obj)),
        "properties": len(obj),
    }
