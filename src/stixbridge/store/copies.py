"""Which content an object has, where a source gives two of one version.

STIX tells versions apart by `modified`. Observables have none, and producers change objects without
it. Then the order of the answers decides, in a way that ends: whatever is polled again and again,
an object changes once for each content.

- A later answer of the same collection replaces the earlier one, unless the server dates it
  earlier.
- Between collections the choice is fixed: by the time at which the server got the object, then by
  the content.
- A content that was answered before changes nothing, unless the server added it after the stored
  one.
- `revoked` and the stricter marking of either content stay for good, until there is a newer
  version.
- A version dated in the future does not keep out a later answer with a version of now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

from stixbridge.store.codec import ObjectRow, object_row, unpack
from stixbridge.store.database import in_slices
from stixbridge.store.statements import INSERT_COPY
from stixbridge.tlp import RANK, WELL_KNOWN

_MARKINGS = ("object_marking_refs", "granular_markings")
_UNKNOWN_MARKING = 99
_DAY = 86_400_000_000


class Answer(NamedTuple):
    """The answer that a page came in.

    Attributes:
        source: its name.
        collection: its id.
        first: when the server got the first object of the page, microseconds; None where it does
            not tell.
        last: when it got the last one.
        received: now.
    """

    source: str
    collection: str
    first: int | None
    last: int | None
    received: int

    @property
    def future(self) -> int:
        """Versions after this time are dated in the future."""
        return self.received + _DAY


class _Stored(NamedTuple):
    """What is stored of an object, and the answer that it came in."""

    version: int
    digest: bytes
    body: bytes
    collection: str | None
    added: int | None


def is_rival(row: ObjectRow, version: int, digest: bytes, answer: Answer) -> bool:
    """Whether versions alone do not say if a row replaces the stored version with this digest."""
    if row.version == version:
        return row.digest != digest
    return max(row.version, version) > answer.future


def combined(later: ObjectRow, earlier: ObjectRow) -> ObjectRow:
    """Two contents of one version on one page.

    The later one, as revoked and as marked as either.
    """
    return _restrained(unpack(later.body), unpack(earlier.body))


def settle(
    connection: Connection, answer: Answer, rivals: Iterable[ObjectRow]
) -> dict[str, ObjectRow | None]:
    """Decide for rows whose versions do not decide.

    Args:
        connection: in a transaction; every content that is compared is remembered.
        answer: that the rows came in.
        rivals: each with its stored object.

    Returns:
        By id: what is to be stored in place of the stored object; None to leave it.
    """
    rows = {row.id: row for row in rivals}
    if not rows:
        return {}
    stored = _stored(connection, answer.source, list(rows))
    answered = _answered(connection, answer.source, list(rows))
    decisions: dict[str, ObjectRow | None] = {}
    copies = []
    for id_, row in rows.items():
        known = stored[id_]
        seen = (row.version, row.digest) in answered.get(id_, ())
        decisions[id_] = _decision(row, known, answer, seen=seen)
        collection = known.collection or answer.collection
        copies.append((id_, known.version, known.digest, collection, known.added))
        copies.append((id_, row.version, row.digest, answer.collection, answer.last))
    connection.exec_driver_sql(INSERT_COPY, [(answer.source, *copy) for copy in copies])
    return decisions


def _decision(row: ObjectRow, stored: _Stored, answer: Answer, *, seen: bool) -> ObjectRow | None:
    if row.version > stored.version:
        # dated in the future: it was corrected where it came before
        return None if seen else row
    replaces = _replaces(row, stored, answer, seen=seen)
    if row.version < stored.version:
        in_future = stored.version > answer.future >= row.version
        return row if replaces and in_future else None
    new, old = unpack(row.body), unpack(stored.body)
    result = _restrained(new, old) if replaces else _restrained(old, new)
    return None if result.digest == stored.digest else result


def _replaces(row: ObjectRow, stored: _Stored, answer: Answer, *, seen: bool) -> bool:
    """Whether the content of a row is the later one of two with one version."""
    added = stored.added or 0
    if stored.collection not in (None, answer.collection):
        return not seen and (answer.last or 0, row.digest) > (added, stored.digest)
    if seen:
        # the server went back to this content if every object of the page was added after the
        # stored one
        return None not in (answer.first, stored.added) and (answer.first or 0) > added
    return None in (answer.last, stored.added) or (answer.last or 0) >= added


def _restrained(obj: Mapping[str, Any], other: Mapping[str, Any]) -> ObjectRow:
    """Return an object as strict as another content of its version.

    It takes over the revocation, and markings that are stricter.
    """
    changed = dict(obj)
    if other.get("revoked") is True:
        changed["revoked"] = True
    if _strictness(other) > _strictness(obj):
        for name in _MARKINGS:
            changed.pop(name, None)
            if name in other:
                changed[name] = other[name]
    return object_row(changed)


def _strictness(obj: Mapping[str, Any]) -> tuple[int, bool]:
    """How strictly an object is marked: the highest level, then whether parts are marked."""
    refs = obj.get("object_marking_refs")
    levels = [
        RANK[WELL_KNOWN[ref]] if ref in WELL_KNOWN else _UNKNOWN_MARKING
        for ref in (refs if isinstance(refs, list) else ())
        if isinstance(ref, str)
    ]
    return max(levels, default=-1), bool(obj.get("granular_markings"))


def _stored(connection: Connection, source: str, ids: list[str]) -> dict[str, _Stored]:
    sql = (
        "SELECT id, version, digest, body, collection, copy_added FROM objects"
        " WHERE source = :source AND id IN"
    )
    return {
        id_: _Stored(*fields)
        for rows in in_slices(connection, sql, ids, {"source": source})
        for id_, *fields in rows
    }


def _answered(
    connection: Connection, source: str, ids: list[str]
) -> dict[str, set[tuple[int, bytes]]]:
    """The versions and digests of contents that were compared before."""
    sql = "SELECT id, version, digest FROM copies WHERE source = :source AND id IN"
    answered: dict[str, set[tuple[int, bytes]]] = {}
    for rows in in_slices(connection, sql, ids, {"source": source}):
        for id_, version, digest in rows:
            answered.setdefault(id_, set()).add((version, digest))
    return answered
