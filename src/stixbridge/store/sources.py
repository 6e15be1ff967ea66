"""What is known of each source: collections, what it offers, comparisons with its manifests."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import text

from stixbridge.store.database import Database, Rows, many
from stixbridge.store.statements import (
    BACK,
    INSERT_LISTED,
    LAST_SEQ,
    MISSING_IN_MANIFEST,
    OUTDATED,
    RETURN,
    UPSERT_ASKED,
    UPSERT_CHECKED,
    UPSERT_OFFER,
    UPSERT_POLL,
    VANISHED,
    WANTING,
)


class Sources:
    """Reads and writes what is known of sources.

    Args (of the constructor):
        database: where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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
        result = self._database.scalar(
            "SELECT watermark FROM cursors WHERE source = :source AND collection = :collection",
            source=source,
            collection=collection,
        )
        return str(result) if result is not None else None

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
        result: list[dict[str, str]] | None = orjson.loads(rows[0]["collections"]) if rows else None
        return result

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

    def missing_in_manifest(self, source: str) -> tuple[int, int]:
        """How many stored objects a manifest does not list, and how many are stored."""
        row = self._database.rows(MISSING_IN_MANIFEST, source=source)[0]
        return int(row["missing"]), int(row["stored"])

    def compare_manifest(self, source: str, moment: int) -> tuple[list[str], list[str]]:
        """Mark what is stored and not listed as vanished, and what is listed again as there.

        Changes like any other.

        Nothing is marked where nothing is listed.

        Returns:
            The ids of what vanished, and of what is listed in a newer version than the stored one.
        """
        with self._database.transaction() as connection:
            key = {"source": source}
            is_listed = connection.execute(
                text("SELECT 1 FROM listed WHERE source = :source LIMIT 1"), key
            ).scalar()
            vanished = (
                [row[0] for row in connection.execute(text(VANISHED), key)] if is_listed else []
            )
            outdated = [row[0] for row in connection.execute(text(OUTDATED), key)]
            back = [row[0] for row in connection.execute(text(BACK), key)]
            seq = connection.execute(text(LAST_SEQ), key).scalar_one()
            if vanished:
                connection.execute(
                    text(
                        "UPDATE objects SET vanished = :moment, seq = :seq WHERE source = :source "
                        "AND id = :id"
                    ),
                    [
                        {**key, "id": id_, "moment": moment, "seq": seq + at}
                        for at, id_ in enumerate(vanished, 1)
                    ],
                )
            many(
                connection,
                RETURN,
                [(seq + len(vanished) + at, source, id_) for at, id_ in enumerate(back, 1)],
            )
            connection.execute(text("DELETE FROM listed WHERE source = :source"), key)
            connection.execute(text(UPSERT_CHECKED), {**key, "checked": moment})
        return vanished, outdated

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
