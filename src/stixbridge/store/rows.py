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
    """The row of an object: its columns, and beside them `targets`, `link` and `properties`.

    Those are what it refers to, the ends of a relationship, and how many properties it has.

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
        "link": link_row(source, obj),
        "properties": len(obj),
    }


def link_row(source: str, obj: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ends of a relationship; None for anything else."""
    ends = {name: obj.get(name) for name in ("source_ref", "target_ref")}
    if obj["type"] != "relationship" or not all(isinstance(end, str) for end in ends.values()):
        return None
    return {"source": source, "id": obj["id"], **ends}
