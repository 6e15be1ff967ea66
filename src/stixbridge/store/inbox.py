"""Stores pages with their watermarks, and undoes runs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, text

from stixbridge.ledger import Reason
from stixbridge.stix.reader import Entry
from stixbridge.store.codec import ObjectRow, object_row, unpack
from stixbridge.store.copies import Answer, combined, is_rival, settle
from stixbridge.store.database import Database, Rows, in_slices, many
from stixbridge.store.objects import Version, versions_of
from stixbridge.store.statements import (
    BROUGHT,
    DELETE_LINKS,
    DELETE_REFS,
    FORGET_OVERTAKEN,
    FORGET_PREVIOUS,
    INSERT_LINK,
    INSERT_PAGE,
    INSERT_REF,
    INSERT_REJECT,
    INSERT_UNDONE,
    KEEP_PREVIOUS,
    LAST_SEQ,
    PUT_BACK,
    RETURN,
    UPSERT_CURSOR,
    UPSERT_OBJECT,
)


@dataclass(slots=True)
class PageCount:
    """The result of storing a page.

    Attributes:
        entries: the number of entries in the page.
        changed: ids of new or newer objects.
        duplicates: (id, number of properties) of entries that were stored in this version already.
        superseded: (id, number of properties) of versions older than another.
        rejected: the number of new bad entries.
    """

    entries: int = 0
    changed: list[str] = field(default_factory=list)
    duplicates: list[tuple[str, int]] = field(default_factory=list)
    superseded: list[tuple[str, int]] = field(default_factory=list)
    rejected: int = 0

    @property
    def known(self) -> int:
        """The number of entries that were stored in this version already."""
        return len(self.duplicates)


class Inbox:
    """Stores the pages of sources.

    Args (of the constructor):
        database: the database for the pages.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_page(
        self,
        source: str,
        collection: str,
        entries: Iterable[Entry],
        *,
        watermark: str | None,
        date_added: int | None,
        received: int,
        title: str = "",
        begun: int | None = None,
        date_first: int | None = None,
        by_arrival: bool = True,
    ) -> PageCount:
        """Store a page and move the watermark, in one transaction.

        Args:
            source: the name of the source.
            collection: the id of the collection at the server, or the name of a file.
            entries: the entries from a reader.
            watermark: the new watermark; None keeps the stored one.
            date_added: when the server got the last of the objects, if it says so.
            received: the current time.
            title: the title of the collection.
            begun: the seq at the beginning of the poll; a version that the same poll replaces
                counts as superseded.
            date_first: when the server got the first of the objects, if it says so.
            by_arrival: whether the later of two contents of one version wins. Otherwise the
                greater digest wins, in any order of arrival.

        Returns:
            The result. An object that is stored in this version or a newer one changes nothing.
        """
        count = PageCount()
        # outside the transaction, because it blocks others
        fresh, bad = _rows(source, collection, entries, count, by_arrival=by_arrival)
        answer = Answer(source, collection, date_first, date_added, received)
        with self._database.transaction() as connection:
            seq = connection.execute(text(LAST_SEQ), {"source": source}).scalar_one()
            stored = versions_of(connection, source, list(fresh))
            undone = self._undone(connection, source, list(fresh))
            rivals = [
                row
                for id_, row in fresh.items()
                if by_arrival
                and id_ in stored
                and is_rival(row, *stored[id_][:2], answer)
                and (id_, row.version, row.digest) not in undone
            ]
            decisions = settle(connection, answer, rivals)
            changed = _changed(fresh, stored, undone, decisions, count, begun)
            # a version from this poll does not count as an earlier version
            earlier = {id_ for id_, known in stored.items() if begun is None or known[3] <= begun}
            previous = [(source, row.id) for row in changed if row.id in earlier]
            many(connection, KEEP_PREVIOUS, previous)
            self._write_objects(connection, answer, changed, stored, seq)
            if bad:
                count.rejected = _write_rejects(connection, bad, seq + len(changed) + 1)
            count.changed = [row.id for row in changed]
            connection.execute(
                text(INSERT_PAGE),
                {
                    "source": source,
                    "collection": collection,
                    "received": received,
                    "entries": count.entries,
                    "changed": len(changed),
                    "last_added": watermark,
                },
            )
            connection.execute(
                text(UPSERT_CURSOR),
                {
                    "source": source,
                    "collection": collection,
                    "title": title,
                    "watermark": watermark,
                    "polled": received,
                },
            )
        return count

    @staticmethod
    def _undone(connection: Connection, source: str, ids: list[str]) -> set[tuple[str, int, bytes]]:
        """Return the versions of some objects that were undone; they are not stored again."""
        result: set[tuple[str, int, bytes]] = set()
        sql = "SELECT id, version, digest FROM undone WHERE source = :source AND id IN"
        for rows in in_slices(connection, sql, ids, {"source": source}):
            result.update((id_, version, digest) for id_, version, digest in rows)
        return result

    def take_back(self, source: str, run: int, before: int, after: int) -> tuple[list[str], int]:
        """Take back what came between two seqs.

        The version before is put in its place, where there was one.

        What had none stays in the store and is set aside. A newer version than the one taken back
        comes in as ever.

        Args:
            source: name of the source.
            run: that brought it.
            before: the seq before it.
            after: the seq after it.

        Returns:
            The ids, each of which counts as changed now; and how many objects of the run stay,
            since a later run brought a newer version. When that is taken back, too, they don't go
            back to the version of this run.
        """
        with self._database.transaction() as connection:
            key = {"source": source, "before": before, "after": after}
            overtaken = connection.execute(text(FORGET_OVERTAKEN), key).rowcount
            rows = connection.execute(text(BROUGHT), key).fetchall()
            seq = connection.execute(text(LAST_SEQ), {"source": source}).scalar_one()
            # objects that the poll marked as vanished exist again
            back = [row[0] for row in rows if row[3] is not None]
            many(connection, RETURN, [(seq + at, source, id_) for at, id_ in enumerate(back, 1)])
            seq += len(back)
            rows = [row for row in rows if row[3] is None]
            many(connection, INSERT_UNDONE, [(source, *row[:3], run) for row in rows])
            ids = [row[0] for row in rows]
            earlier: list[ObjectRow] = []
            numbers: dict[str, int] = {}
            for result in in_slices(
                connection,
                "SELECT id, body, seq FROM previous WHERE source = :source AND id IN",
                ids,
                {"source": source},
            ):
                for id_, body, number in result:
                    earlier.append(object_row(unpack(body)))
                    numbers[id_] = number
            answer = Answer(source, "", None, None, 0)
            self._write_objects(connection, answer, earlier, set(ids), seq)
            # they belong to the run that stored them; their earlier versions are unknown
            many(connection, PUT_BACK, [(number, source, id_) for id_, number in numbers.items()])
            many(connection, FORGET_PREVIOUS, [(source, id_) for id_ in numbers])
            seq += len(earlier)
            restored = {row.id for row in earlier}
            aside = [id_ for id_ in ids if id_ not in restored]
            many(
                connection,
                "UPDATE objects SET seq = ? WHERE source = ? AND id = ?",
                [(seq + at, source, id_) for at, id_ in enumerate(aside, 1)],
            )
        return [*ids, *back], overtaken

    @staticmethod
    def _write_objects(
        connection: Connection,
        answer: Answer,
        rows: list[ObjectRow],
        stored: Container[str],
        seq: int,
    ) -> None:
        """Write objects over the stored ones, with the numbers after `seq`."""
        source = answer.source
        again = [(source, row.id) for row in rows if row.id in stored]
        many(connection, DELETE_REFS, again)
        many(connection, DELETE_LINKS, again)
        many(
            connection,
            UPSERT_OBJECT,
            [
                (
                    source,
                    row.id,
                    row.type,
                    row.version,
                    row.digest,
                    row.body,
                    answer.last,
                    row.valid_until,
                    seq + at,
                    answer.collection or None,
                    answer.last,
                )
                for at, row in enumerate(rows, 1)
            ],
        )
        many(
            connection,
            INSERT_REF,
            [(source, target, row.id) for row in rows for target in row.targets],
        )
        many(
            connection,
            INSERT_LINK,
            [(source, *row.link, row.id) for row in rows if row.link is not None],
        )


def _rows(
    source: str,
    collection: str,
    entries: Iterable[Entry],
    count: PageCount,
    *,
    by_arrival: bool,
) -> tuple[dict[str, ObjectRow], Rows]:
    """The newest version of each object of a page, by id, and the entries that are bad.

    The rest is counted.
    """
    fresh: dict[str, ObjectRow] = {}
    bad: Rows = []
    for entry in entries:
        count.entries += 1
        if entry.obj is None:
            bad.append(_reject(source, collection, entry))
            continue
        try:
            row = object_row(entry.obj)
        except TypeError:
            limit = Entry(entry.path, None, Reason.LIMIT, entry.id, len(entry.obj))
            bad.append(_reject(source, collection, limit))
            continue
        earlier = fresh.setdefault(row.id, row)
        if earlier is row:
            continue
        if (row.version, row.digest) == (earlier.version, earlier.digest):
            count.duplicates.append((row.id, row.properties))
            continue
        if by_arrival and row.version == earlier.version:
            fresh[row.id] = combined(row, earlier)
            count.superseded.append((row.id, earlier.properties))
            continue
        older = row
        if (row.version, row.digest) > (earlier.version, earlier.digest):
            fresh[row.id], older = row, earlier
        count.superseded.append((older.id, older.properties))
    return fresh, bad


def _changed(
    fresh: Mapping[str, ObjectRow],
    stored: Mapping[str, Version],
    undone: Container[tuple[str, int, bytes]],
    decisions: Mapping[str, ObjectRow | None],
    count: PageCount,
    begun: int | None,
) -> list[ObjectRow]:
    """Return the rows of new, newer and returned objects; count the others."""
    changed: list[ObjectRow] = []
    for id_, row in fresh.items():
        known = stored.get(id_)
        came = (row.version, row.digest)
        if (id_, *came) in undone:
            count.duplicates.append((id_, row.properties))
        elif known is None:
            changed.append(row)
        elif (decided := _decided(row, known, decisions)) is not None:
            changed.append(decided)
            if begun is not None and known[3] > begun:
                count.superseded.append((id_, 0))
        elif came == known[:2]:
            count.duplicates.append((id_, row.properties))
        else:
            count.superseded.append((id_, row.properties))
    return changed


def _decided(
    row: ObjectRow, known: Version, decisions: Mapping[str, ObjectRow | None]
) -> ObjectRow | None:
    """Return the row that replaces a known version, or None to keep that version."""
    if row.id in decisions:
        return decisions[row.id]
    came = (row.version, row.digest)
    vanished = known[2]
    return row if came > known[:2] or (came == known[:2] and vanished) else None


def _write_rejects(connection: Connection, bad: Rows, seq: int) -> int:
    """Write bad entries; return the number of new ones."""
    for reject in bad:
        reject["seq"] = seq
    result = connection.execute(text(INSERT_REJECT), bad)
    return len(bad) if result.rowcount < 0 else result.rowcount


def _reject(source: str, collection: str, entry: Entry) -> dict[str, Any]:
    place = entry.path if entry.id is None else ""
    mark = f"{entry.id}|{place}|{entry.reason}|{collection}|{entry.properties}"
    return {
        "source": source,
        "digest": blake2b(mark.encode("utf-8", "replace"), digest_size=16).hexdigest(),
        "id": entry.id,
        "path": entry.path,
        "reason": str(entry.reason),
        "collection": entry.where or collection,
        "properties": entry.properties,
        "seq": 0,
    }
