"""Rows of the store: bodies packed, digests, what is indexed of an object."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from .. import times
from ..stix.references import everything
from ..stix.versions import digest_of, version_of


def pack(body: Mapping[str, Any]) -> bytes:
    """A body as it is stored."""
    return zlib.compress(orjson.dumps(body), 1)


def unpack(body: bytes) -> dict[str, Any]:
    """A stored body."""
    value: dict[str, Any] = orjson.loads(zlib.decompress(body))
    return value


def object_row(source: str, obj: dict[str, Any], date_added: int | None) -> dict[str, Any]:
    """The row of an object, with what it refers to (`targets`) and its size (`properties`) beside the columns.

    Raises:
        TypeError: for values that JSON can't hold, or that nest too deep to be written.
    """
    return {
        "source": source,
        "id": obj["id"],
        "type": obj["type"],
        "version": version_of(obj),
        "digest": digest_of(obj),
        "body": pack(obj),
        "date_added": date_added,
        "valid_until": times.read(obj.get("valid_until")),
        "seq": 0,
        "targets": sorted(everything(obj)),
        "properties": len(obj),
    }
