"""Rows of the store: packed bodies, envelopes, digests and indexed fields of objects."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from stixbridge import times
from stixbridge.envelopes import Adoption, AnalystDataChange, Delivered, Edit, Split, Wanted
from stixbridge.errors import StoreError
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
    # the TLP markings that everybody knows need no object, and refer half of the store to
    # themselves
    targets = everything(obj)
    targets.difference_update(WELL_KNOWN)
    return ObjectRow(
        obj["id"],
        obj["type"],
        version_of(obj),
        digest_of(obj),
        pack(obj),
        times.read(until) if until is not None else None,
        targets,
        ends_of(obj) if obj["type"] == "relationship" else None,
        len(obj),
    )


def ends_of(relationship: Mapping[str, Any]) -> tuple[str, str] | None:
    """The ends of a relationship, where it has both."""
    source, target = relationship.get("source_ref"), relationship.get("target_ref")
    return (source, target) if isinstance(source, str) and isinstance(target, str) else None


# Envelopes. Every packed one says by which version of this form it was written; fields with their
# default are left out.

_ENVELOPE = 1


def pack_wanted(wanted: Wanted) -> bytes:
    """An event as a pipeline wants it, as it is stored."""
    return pack({"envelope": _ENVELOPE, "event": wanted.event, **_filled(_offered(wanted))})


def unpack_wanted(data: bytes) -> Wanted:
    """An event as a pipeline wants it, from the store."""
    row = _opened(data)
    return Wanted(row["event"], **_offer(row))


def pack_delivered(delivered: Delivered) -> bytes:
    """A delivered event as it is stored."""
    adopted, split = delivered.adopted, delivered.split
    fields = {
        **_offered(delivered),
        "adopted": None if adopted is None else _filled(asdict(adopted)),
        "split": None if split is None else _split(split),
        "analyst_kept": delivered.analyst_kept,
        "deleted_by_analyst": sorted(delivered.deleted_by_analyst),
        "stored_values": delivered.stored_values,
    }
    return pack({"envelope": _ENVELOPE, "event": delivered.body, **_filled(fields)})


def unpack_delivered(data: bytes) -> Delivered:
    """A delivered event from the store."""
    row = _opened(data)
    adopted, split = row.get("adopted"), row.get("split")
    return Delivered(
        row["event"],
        **_offer(row),
        adopted=None if adopted is None else Adoption(**adopted),
        split=None if split is None else _split_of(split),
        analyst_kept=row.get("analyst_kept", {}),
        deleted_by_analyst=frozenset(row.get("deleted_by_analyst", ())),
        stored_values=row.get("stored_values", {}),
    )


def pack_edits(edits: Iterable[Edit]) -> bytes:
    """Edits that were begun, as they are stored."""
    rows = [
        _filled(
            {
                "body": edit.body,
                "publish_pending": edit.publish_pending or None,
                "analyst_data": [
                    [change.kind, change.uuid, change.fields] for change in edit.analyst_data
                ],
            }
        )
        for edit in edits
    ]
    return pack({"envelope": _ENVELOPE, "edits": rows})


def unpack_edits(data: bytes) -> tuple[Edit, ...]:
    """Edits that were begun, from the store."""
    return tuple(
        Edit(
            row.get("body", {}),
            row.get("publish_pending", False),
            tuple(AnalystDataChange(*change) for change in row.get("analyst_data", ())),
        )
        for row in _opened(data)["edits"]
    )


def _opened(data: bytes) -> dict[str, Any]:
    row = unpack(data)
    if row.get("envelope") != _ENVELOPE:
        raise StoreError(
            f"an event in the store has the form {row.get('envelope')!r}, and this stixbridge reads"
            f" {_ENVELOPE}; update stixbridge, or restore a backup"
        )
    return row


def _filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without empty fields; False is not empty: it forbids to publish an event."""
    return {key: value for key, value in row.items() if value or value is False}


def _offered(envelope: Wanted | Delivered) -> dict[str, Any]:
    return {
        "restricted": envelope.restricted or None,
        "restricted_parts": list(envelope.restricted_parts),
        "clusters": envelope.clusters,
        "publish": envelope.publish,
        "sharing_group": envelope.sharing_group,
    }


def _offer(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("restricted", "restricted_parts", "clusters", "publish", "sharing_group")
    return {name: row[name] for name in names if name in row}


def _split(split: Split) -> dict[str, Any]:
    return {
        "numbers": split.numbers,
        "heads": {str(number): head for number, head in split.heads.items()},
        "deleted": sorted(split.deleted),
    }


def _split_of(row: Mapping[str, Any]) -> Split:
    heads = {int(number): head for number, head in row["heads"].items()}
    return Split(row["numbers"], heads, frozenset(row["deleted"]))
