"""What comes into the store: pages with their watermarks, and what is known of each source."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import Connection, text

from stixbridge.ledger import Reason
from stixbridge.stix.reader import Entry
from stixbridge.store.codec import ObjectRow, object_row, unpack
from stixbridge.store.database import Database, Rows, in_slices, many
from stixbridge.store.objects import versions_of
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
    """What a page brought.

    Attributes:
        entries: in the page.
        changed: ids that were new or newer.
        duplicates: (id, number of properties) of entries that were there in this version.
        superseded: (id, number of properties) of versions older than another.
        rejected: bad entries that were not known.
    """

    entries: int = 0
    changed: list[str] = field(default_factory=list)
    duplicates: list[tuple[str, int]] = field(default_factory=list)
    superseded: list[tuple[str, int]] = field(default_factory=list)
    rejected: int = 0

    @property
    def known(self) -> int:
        """How many entries were there in this version."""
        return len(self.duplicates)


class Inbox:
    """Writes what sources bring.

    Args (of the constructor):
        database: where it goes.
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
    ) -> PageCount:
        """Store a page and move the watermark, in one transaction.

        Args:
            source: name of the source.
            collection: its id at the server, or a file's name.
            entries: what a reader found.
            watermark: the new watermark; None leaves it.
            date_added: when the server got the objects, as far as it says.
            received: now.
            title: of the collection.
            begun: the seq at the beginning of the poll: what came after it and is replaced counts as superseded.

        Returns:
            What the page brought. An object that is stored in this version or a newer one changes nothing.
        """
        count = PageCount()
        # before the transaction: others wait for that
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
                bad.append(
                    _reject(
                        source,
                        collection,
                        Entry(entry.path, None, Reason.LIMIT, entry.id, len(entry.obj)),
                    )
                )
                continue
            other = fresh.setdefault(row.id, row)
            if other is row:
                continue
            if (row.version, row.digest) == (other.version, other.digest):
                count.duplicates.append((row.id, row.properties))
                continue
            older = row
            if (row.version, row.digest) > (other.version, other.digest):
                fresh[row.id], older = row, other
            count.superseded.append((older.id, older.properties))
        with self._database.transaction() as connection:
            seq = connection.execute(text(LAST_SEQ), {"source": source}).scalar_one()
            held = versions_of(connection, source, list(fresh))
            undone = self._undone(connection, source, list(fresh))
            changed: list[ObjectRow] = []
            for id_, row in fresh.items():
                known = held.get(id_)
                if (id_, row.version, row.digest) in undone:
                    count.duplicates.append((id_, row.properties))
                    continue
                if known is None:
                    changed.append(row)
                    continue
                came = (row.version, row.digest)
                if came > known[:2] or (came == known[:2] and known[2]):
                    changed.append(row)
                    if begun is not None and known[3] > begun:
                        count.superseded.append((id_, 0))
                elif came < known[:2]:
                    count.superseded.append((id_, row.properties))
                else:
                    count.duplicates.append((id_, row.properties))
            # what this poll itself brought is no earlier version
            earlier = {id_ for id_, known in held.items() if begun is None or known[3] <= begun}
            many(
                connection,
                KEEP_PREVIOUS,
                [(source, row.id) for row in changed if row.id in earlier],
            )
            self._write_objects(connection, source, changed, held, date_added, seq)
            seq += len(changed)
            if bad:
                seq += 1
                for reject in bad:
                    reject["seq"] = seq
                result = connection.execute(text(INSERT_REJECT), bad)
                count.rejected = len(bad) if result.rowcount < 0 else result.rowcount
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
        """Versions of some objects that were taken back: they do not come in again."""
        found: set[tuple[str, int, bytes]] = set()
        sql = "SELECT id, version, digest FROM undone WHERE source = :source AND id IN"
        for rows in in_slices(connection, sql, ids, {"source": source}):
            found.update((id_, version, digest) for id_, version, digest in rows)
        return found

    def take_back(self, source: str, run: int, before: int, after: int) -> tuple[list[str], int]:
        """Take back what came between two seqs: the version before is put in its place, where there was one.

        What had none stays in the store and is set aside. A newer version than the one taken back comes in as ever.

        Args:
            source: name of the source.
            run: that brought it.
            before: the seq before it.
            after: the seq after it.

        Returns:
            The ids, each of which counts as changed now; and how many objects of the run stay, since a later run
            brought a newer version. When that is taken back, too, they don't go back to the version of this run.
        """
        with self._database.transaction() as connection:
            key = {"source": source, "before": before, "after": after}
            overtaken = connection.execute(text(FORGET_OVERTAKEN), key).rowcount
            rows = connection.execute(text(BROUGHT), key).fetchall()
            seq = connection.execute(text(LAST_SEQ), {"source": source}).scalar_one()
            # what the poll found to be gone is there again
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
            self._write_objects(connection, source, earlier, set(ids), None, seq)
            # they are of the run that brought them, and what was before them is not known any more
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
        source: str,
        rows: list[ObjectRow],
        held: Container[str],
        date_added: int | None,
        seq: int,
    ) -> None:
        """Write objects, in place of those that are held, with the numbers after `seq`."""
        again = [(source, row.id) for row in rows if row.id in held]
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
                    date_added,
                    row.valid_until,
                    seq + at,
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
        """Record that a collection was asked, and what went wrong."""
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
        """The watermark of a collection, as the server gave it; None before the first page."""
        found = self._database.scalar(
            "SELECT watermark FROM cursors WHERE source = :source AND collection = :collection",
            source=source,
            collection=collection,
        )
        return str(found) if found is not None else None

    # what a source offers

    def offered(self, source: str, settings: str, after: int) -> list[dict[str, str]] | None:
        """The collections of a source as they were asked for after a time with the same settings; else None."""
        rows = self._database.rows(
            "SELECT collections FROM offers WHERE source = :source AND settings = :settings AND asked > :after",
            source=source,
            settings=settings,
            after=after,
        )
        found: list[dict[str, str]] | None = orjson.loads(rows[0]["collections"]) if rows else None
        return found

    def set_offered(
        self, source: str, settings: str, moment: int, collections: list[dict[str, str]]
    ) -> None:
        """Record what a source offers."""
        offer = {
            "source": source,
            "settings": settings,
            "asked": moment,
            "collections": orjson.dumps(collections),
        }
        self._database.execute(UPSERT_OFFER, **offer)

    def forget_offered(self, source: str) -> None:
        """Ask a source again what it offers."""
        self._database.execute("DELETE FROM offers WHERE source = :source", source=source)

    # references that lead nowhere

    def missing_references(self, source: str) -> list[str]:
        """Ids that objects refer to which came since the last `asked`, not stored and not known to be absent."""
        after = (
            self._database.scalar("SELECT asked FROM checks WHERE source = :source", source=source)
            or 0
        )
        return [row["target"] for row in self._database.rows(WANTING, source=source, after=after)]

    def record_asked(
        self, source: str, seq: int | None, absent: Sequence[str], moment: int
    ) -> None:
        """Record up to which seq missing references were asked for (None: not all), and which ids are not there."""
        with self._database.transaction() as connection:
            if absent:
                connection.execute(
                    text(
                        "INSERT INTO absent (source, id, asked) VALUES (:source, :id, :asked) ON CONFLICT DO NOTHING"
                    ),
                    [{"source": source, "id": id_, "asked": moment} for id_ in absent],
                )
            if seq is not None:
                connection.execute(text(UPSERT_ASKED), {"source": source, "asked": seq})

    # what vanished

    def last_comparison(self, source: str) -> int:
        """When the manifests of a source were compared last, microseconds; 0 for never."""
        return int(
            self._database.scalar(
                "SELECT checked FROM checks WHERE source = :source", source=source
            )
            or 0
        )

    def record_comparison(self, source: str, moment: int) -> None:
        """Record that a source was compared, or can't be."""
        self._database.execute(UPSERT_CHECKED, source=source, checked=moment)

    def collections_with_content(self, source: str) -> dict[str, str]:
        """Collections of a source that have brought something: id -> title."""
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
        """Take down what a manifest lists: ids and versions; the `first` of a comparison replaces an earlier one."""
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
        """Mark what is stored and not listed as vanished, and what is listed again as there: changes like any other.

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
                        "UPDATE objects SET vanished = :moment, seq = :seq WHERE source = :source AND id = :id"
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
        """What is known of each collection: `source`, `collection`, `title`, `watermark`, `polled`, `error`."""
        return self._database.rows(
            "SELECT source, collection, title, watermark, polled, error FROM cursors"
            " ORDER BY source, title, collection"
        )

    def count_by_source(self) -> Rows:
        """How many objects each source has, and how many `vanished`."""
        return self._database.rows(
            "SELECT source, count(*) AS objects, count(vanished) AS vanished FROM objects"
            " GROUP BY source ORDER BY source"
        )

    def count_rejects(self) -> Rows:
        """How many entries were refused: `source`, `collection`, `reason`, `count`."""
        return self._database.rows(
            "SELECT source, collection, reason, count(*) AS count FROM rejects"
            " GROUP BY source, collection, reason ORDER BY source, collection, reason"
        )


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
