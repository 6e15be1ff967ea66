"""Stores pages with their watermarks, and facts about each source."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import Connection, text

from stixbridge.ledger import Reason
from stixbridge.stix.reader import Entry
from stixbridge.store.codec import ObjectRow, object_row, unpack
from stixbridge.store.copies import Answer, combined, is_rival, settle
from stixbridge.store.database import Database, Rows, in_slices, many
from stixbridge.store.objects import Version, versions_of
from stixbridge.store.statements import (
    BACK,
    BROUGHT,
    DELETE_LINKS,
    DELETE_REFS,
    FORGET_OVERTAKEN,
    FORGET_PREVIOUS,
    INSERT_LINK,
    INSERT_LISTED,
    INSERT_PAGE,
    INSERT_REF,
    INSERT_REJECT,
    INSERT_UNDONE,
    KEEP_PREVIOUS,
    LAST_SEQ,
    OUTDATED,
    PUT_BACK,
    RETURN,
    UPSERT_ASKED,
    UPSERT_CHECKED,
    UPSERT_CURSOR,
    UPSERT_OBJECT,
    UPSERT_OFFER,
    UPSERT_POLL,
    VANISHED,
    WANTING,
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
        found: set[tuple[str, int, bytes]] = set()
        sql = "SELECT id, version, digest FROM undone WHERE source = :source AND id IN"
        for rows in in_slices(connection, sql, ids, {"source": source}):
            found.update((id_, version, digest) for id_, version, digest in rows)
        return found

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
            for found in in_slices(
                connection,
                "SELECT id, body, seq FROM previous WHERE source = :source AND id IN",
                ids,
                {"source": source},
            ):
                for id_, body, number in found:
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

    def record_poll(
        self, source: str, collection: str, moment: int, error: str | None = None, title: str = ""
    ) -> None:
        """Record that a collection was polled, and the error if there was one."""
        with self._database.transaction() as connection:
            connection.execute(
                text(UPSERT_POLL),
                {
                    "source": source,
                    "collection": collection,
                    "title": title,
                    "polled": moment,
                    "error": error,
                },
            )

    def watermark(self, source: str, collection: str) -> str | None:
        """Return the watermark of a collection, or None before its first page."""
        found = self._database.scalar(
            "SELECT watermark FROM cursors WHERE source = :source AND collection = :collection",
            source=source,
            collection=collection,
        )
        return str(found) if found is not None else None

    # collections that a source offers

    def offered(self, source: str, settings: str, after: int) -> list[dict[str, str]] | None:
        """Return the collections of a source, if they were asked for after a time.

        None if that was earlier, or with other settings.
        """
        rows = self._database.rows(
            "SELECT collections FROM offers WHERE source = :source AND settings = :settings "
            "AND asked > :after",
            source=source,
            settings=settings,
            after=after,
        )
        found: list[dict[str, str]] | None = orjson.loads(rows[0]["collections"]) if rows else None
        return found

    def set_offered(
        self, source: str, settings: str, moment: int, collections: list[dict[str, str]]
    ) -> None:
        """Record the collections that a source offers."""
        offer = {
            "source": source,
            "settings": settings,
            "asked": moment,
            "collections": orjson.dumps(collections),
        }
        self._database.execute(UPSERT_OFFER, **offer)

    def forget_offered(self, source: str) -> None:
        """Forget the collections of a source, so that they are requested again."""
        self._database.execute("DELETE FROM offers WHERE source = :source", source=source)

    # references to missing objects

    def missing_references(self, source: str) -> list[str]:
        """Return the ids of missing objects that new objects refer to.

        New is what came since references were asked for last. Ids that the server is known not to
        have are left out.
        """
        after = (
            self._database.scalar("SELECT asked FROM checks WHERE source = :source", source=source)
            or 0
        )
        return [row["target"] for row in self._database.rows(WANTING, source=source, after=after)]

    def record_asked(
        self, source: str, seq: int | None, absent: Sequence[str], moment: int
    ) -> None:
        """Record up to which seq missing references were asked for (None: not all).

        Record the ids that the server does not have, too.
        """
        with self._database.transaction() as connection:
            if absent:
                connection.execute(
                    text(
                        "INSERT INTO absent (source, id, asked) VALUES (:source, :id, :asked) "
                        "ON CONFLICT DO NOTHING"
                    ),
                    [{"source": source, "id": id_, "asked": moment} for id_ in absent],
                )
            if seq is not None:
                connection.execute(text(UPSERT_ASKED), {"source": source, "asked": seq})

    # vanished objects

    def last_comparison(self, source: str) -> int:
        """Return the time of the last comparison with the manifests, or 0."""
        return int(
            self._database.scalar(
                "SELECT checked FROM checks WHERE source = :source", source=source
            )
            or 0
        )

    def record_comparison(self, source: str, moment: int) -> None:
        """Record that a source was compared, or can't be compared."""
        self._database.execute(UPSERT_CHECKED, source=source, checked=moment)

    def collections_with_content(self, source: str) -> dict[str, str]:
        """Return the collections of a source that have sent objects: id -> title."""
        sql = (
            "SELECT collection, title FROM cursors WHERE source = :source AND watermark IS NOT NULL"
        )
        return {
            row["collection"]: row["title"] or row["collection"]
            for row in self._database.rows(sql, source=source)
        }

    def list_manifest(
        self, source: str, rows: Sequence[tuple[str, int | None]], *, first: bool = False
    ) -> None:
        """Take down what a manifest lists: ids and versions.

        The `first` of a comparison replaces an earlier one.
        """
        with self._database.transaction() as connection:
            if first:
                connection.execute(
                    text("DELETE FROM listed WHERE source = :source"), {"source": source}
                )
            if rows:
                connection.execute(
                    text(INSERT_LISTED),
                    [
                        {"source": source, "id": id_, "version": version or 0}
                        for id_, version in rows
                    ],
                )

    def compare_manifest(self, source: str, moment: int) -> tuple[list[str], list[str]]:
        """Mark what is stored and not listed as vanished, and what is listed again as there.

        Changes like any other.

        Nothing is marked where nothing is listed.

        Returns:
            The ids of what vanished, and of what is listed in a newer version than the stored one.
        """
        with self._database.transaction() as connection:
            key = {"source": source}
            there = connection.execute(
                text("SELECT 1 FROM listed WHERE source = :source LIMIT 1"), key
            ).scalar()
            gone = [row[0] for row in connection.execute(text(VANISHED), key)] if there else []
            outdated = [row[0] for row in connection.execute(text(OUTDATED), key)]
            back = [row[0] for row in connection.execute(text(BACK), key)]
            seq = connection.execute(text(LAST_SEQ), key).scalar_one()
            if gone:
                connection.execute(
                    text(
                        "UPDATE objects SET vanished = :moment, seq = :seq WHERE source = :source "
                        "AND id = :id"
                    ),
                    [
                        {**key, "id": id_, "moment": moment, "seq": seq + at}
                        for at, id_ in enumerate(gone, 1)
                    ],
                )
            many(
                connection,
                RETURN,
                [(seq + len(gone) + at, source, id_) for at, id_ in enumerate(back, 1)],
            )
            connection.execute(text("DELETE FROM listed WHERE source = :source"), key)
            connection.execute(text(UPSERT_CHECKED), {**key, "checked": moment})
        return gone, outdated

    # for `status`

    def collections(self) -> Rows:
        """What is known of each collection.

        `source`, `collection`, `title`, `watermark`, `polled`, `error`.
        """
        return self._database.rows(
            "SELECT source, collection, title, watermark, polled, error FROM cursors"
            " ORDER BY source, title, collection"
        )

    def count_by_source(self) -> Rows:
        """Return the number of objects of each source, and of the `vanished` ones."""
        return self._database.rows(
            "SELECT source, count(*) AS objects, count(vanished) AS vanished FROM objects"
            " GROUP BY source ORDER BY source"
        )

    def count_rejects(self) -> Rows:
        """Return the number of bad entries: `source`, `collection`, `reason`, `count`."""
        return self._database.rows(
            "SELECT source, collection, reason, count(*) AS count FROM rejects"
            " GROUP BY source, collection, reason ORDER BY source, collection, reason"
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
