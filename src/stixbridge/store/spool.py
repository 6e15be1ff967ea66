"""A store for the time of one conversion.

The objects of an input that does not fit in memory, and their ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from sqlalchemy import text

from stixbridge.stix.reader import Entry
from stixbridge.stix.versions import digest_of
from stixbridge.store.database import Database
from stixbridge.store.inbox import Inbox
from stixbridge.store.objects import Objects
from stixbridge.store.placements import Placements
from stixbridge.store.stored_ledger import StoredLedger

_TABLES = (
    "CREATE TABLE versions (id TEXT, digest BLOB, size INTEGER)",
    "CREATE INDEX versions_id ON versions (id)",
    "CREATE TABLE inside (id TEXT PRIMARY KEY) WITHOUT ROWID",
)
# the first of several versions is recorded together with the second
_VERSION = """
INSERT INTO versions SELECT :id, :digest, :size
WHERE :later OR NOT EXISTS (SELECT 1 FROM versions WHERE id = :id)
"""
_OTHER_VERSIONS = """
INSERT INTO lines SELECT id, NULL, 'dropped',
  CASE WHEN newest THEN 'duplicate' ELSE 'superseded' END, NULL, size, 0
FROM (SELECT v.id, v.size, v.digest = o.digest AS newest,
  row_number() OVER (PARTITION BY v.id ORDER BY v.digest = o.digest DESC) AS place
  FROM versions v JOIN objects o ON o.id = v.id)
WHERE place > 1
"""
_NEVER_FREE = ("relationship", "sighting", "marking-definition")
_MOST = 2_000
_BODY = 1_000
"""Packed bytes that count as one more object."""
SOURCE = "input"
PIPELINE = "convert"


class Spool:
    """A store without durability for one conversion: objects, placements, and the ledger.

    Args (of the constructor):
        path: the path of the file, in a folder that is removed later.
        reference_time: the reference time of the conversion.

    Attributes:
        objects: the objects of the input.
        placements: the objects in each event.
        ledger: the ledger of the input.
    """

    def __init__(self, path: str | Path, reference_time: str | None = None) -> None:
        self._database = Database(path, durable=False)
        self._inbox = Inbox(self._database)
        self.objects = Objects(self._database)
        self.placements = Placements(self._database)
        self.ledger = StoredLedger(self._database, reference_time)
        with self._database.transaction() as connection:
            for sql in _TABLES:
                connection.execute(text(sql))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def containers(self, types: Collection[str]) -> dict[str, int]:
        """Map the ids of objects with events of their own to their sizes, in order.

        The size is the number of objects referred to; large objects count more.
        """
        names = {f"t{at}": name for at, name in enumerate(sorted(types))}
        listed = ", ".join(f":{name}" for name in names)
        sql = f"""
        SELECT o.id, (SELECT count(*) + coalesce(sum(length(m.body)), 0) / {_BODY}
        FROM refs r LEFT JOIN objects m
          ON m.source = r.source AND m.id = r.target
          WHERE r.source = o.source AND r.id = o.id) AS size
        FROM objects o WHERE o.type IN ({listed}) ORDER BY o.id
        """  # noqa: S608
        return {row["id"]: row["size"] for row in self._database.rows(sql, **names)}

    def nested(self, types: Collection[str]) -> list[tuple[str, str]]:
        """Return the references between containers."""
        names = {f"t{at}": name for at, name in enumerate(sorted(types))}
        listed = ", ".join(f":{name}" for name in names)
        sql = f"""
        SELECT a.id, b.id AS inner_id FROM objects a JOIN refs r ON r.source = a.source
        AND r.id = a.id
        JOIN objects b ON b.source = r.source AND b.id = r.target
        WHERE a.type IN ({listed}) AND b.type IN ({listed})
        """  # noqa: S608
        return [(row["id"], row["inner_id"]) for row in self._database.rows(sql, **names)]

    def keep(self, entries: Iterable[Entry]) -> None:
        """Store usable objects, no id twice.

        And note every version of an id that comes more than once.
        """
        page = list(entries)
        stored = self.objects.load(SOURCE, [str(entry.id) for entry in page])
        versions = []
        for entry in page:
            if entry.obj is not None and entry.id in stored:
                first = stored[str(entry.id)][0]
                versions.append(
                    {"id": entry.id, "digest": digest_of(first), "size": len(first), "later": 0}
                )
                versions.append(
                    {
                        "id": entry.id,
                        "digest": digest_of(entry.obj),
                        "size": len(entry.obj),
                        "later": 1,
                    }
                )
        done = self.objects.last_seq(SOURCE)
        if self._inbox.add_page(
            SOURCE, "", page, watermark=None, date_added=None, received=0, by_arrival=False
        ).rejected:
            refused = {
                entry.id for entry in self.objects.rejected(SOURCE, done)
            }  # nested too deep to be written
            versions = [row for row in versions if row["id"] not in refused]
        if versions:
            with self._database.transaction() as connection:
                connection.execute(text(_VERSION), versions)

    def settle_versions(self) -> None:
        """Write a line to the ledger for each version that is not the newest."""
        with self._database.transaction() as connection:
            connection.execute(text(_OTHER_VERSIONS))

    def free(self, types: Collection[str]) -> list[str]:
        """Return the ids of objects outside containers that have other types than these."""
        names = {f"t{at}": name for at, name in enumerate(sorted({*types, *_NEVER_FREE}))}
        listed = ", ".join(f":{name}" for name in names)
        sql = f"""
        SELECT id FROM objects WHERE type NOT IN ({listed}) AND id NOT IN (SELECT id
        FROM inside) ORDER BY id
        """  # noqa: S608
        return [row["id"] for row in self._database.rows(sql, **names)]

    def all_ids(self) -> Iterator[str]:
        """Yield every id, in order."""
        last = ""
        while True:
            sql = (
                "SELECT id FROM objects WHERE source = :source AND id > :last ORDER BY id LIMIT "
                ":most"
            )
            rows = self._database.rows(sql, source=SOURCE, last=last, most=_MOST)
            if not rows:
                return
            yield from (row["id"] for row in rows)
            last = rows[-1]["id"]

    def unaccounted(self, after: str) -> list[str]:
        """Return some ids after `after` that have no entry in the ledger."""
        sql = """
        SELECT id FROM objects WHERE source = :source AND id > :after AND id NOT IN (SELECT id
        FROM accounts)
        ORDER BY id LIMIT :most
        """
        return [
            row["id"] for row in self._database.rows(sql, source=SOURCE, after=after, most=_MOST)
        ]

    def put_inside(self, ids: Iterable[str]) -> None:
        """Record that objects are in a container."""
        rows = [{"id": id_} for id_ in ids]
        if rows:
            with self._database.transaction() as connection:
                connection.execute(
                    text("INSERT INTO inside VALUES (:id) ON CONFLICT DO NOTHING"), rows
                )
