"""The objects of each source, and who refers to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import LINK_TYPES
from stixbridge.stix.reader import Entry
from stixbridge.store.codec import unpack
from stixbridge.store.database import Database, in_slices, listed
from stixbridge.store.statements import DAYS, INSIDE, JOINING, LAST_SEQ, OF_TYPES, REFERRERS

_ENDS_AT_ONCE = 200

Version = tuple[int, bytes, bool, int]
"""(version, digest, whether the source has it no longer, seq) of a stored object."""


class Objects:
    """Reads objects.

    Args (of the constructor):
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_seq(self, source: str) -> int:
        """The highest seq of a source."""
        return int(self._database.scalar(LAST_SEQ, source=source))

    def changed(self, source: str, after: int) -> list[str]:
        """Ids of objects changed after a seq, in the order they came."""
        sql = "SELECT id FROM objects WHERE source = :source AND seq > :after ORDER BY seq"
        return [row["id"] for row in self._database.rows(sql, source=source, after=after)]

    def groups(
        self, source: str, types: Sequence[str]
    ) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Each object of some types, in the order they came, with (id, type) of what its event is made of.

        That is what it refers to, the relationships from there, and their other ends.
        """
        for row in self._database.rows(OF_TYPES, source=source, types=listed(list(types))):
            inside = self._database.rows(INSIDE, source=source, id=row["id"])
            yield row["id"], [(one["id"], one["type"]) for one in inside]

    def days_of_changed(self, source: str, ids: set[str]) -> Iterator[set[str]]:
        """Some objects, those of one day together, in order of the days: of their version, else of their arrival.

        Links go by themselves, in the order they came: they are in the events of their ends.
        """
        days: dict[int, set[str]] = {}
        links: list[tuple[int, str]] = []
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                DAYS,
                list(ids),
                {"source": source},
            ):
                for id_, type_, seq, day in rows:
                    if type_ in LINK_TYPES:
                        links.append((seq, id_))
                    else:
                        days.setdefault(day, set()).add(id_)
        for day in sorted(days):
            yield days[day]
        for _, id_ in sorted(links):
            yield {id_}

    def expired(self, source: str, after: int, until: int) -> list[str]:
        """Ids of objects whose `valid_until` passed between two times."""
        sql = """
        SELECT id FROM objects WHERE source = :source AND valid_until > :after AND valid_until <= :until ORDER BY id
        """
        return [
            row["id"] for row in self._database.rows(sql, source=source, after=after, until=until)
        ]

    def rejected(self, source: str, after: int) -> list[Entry]:
        """Bad entries that came after a seq."""
        sql = """
        SELECT id, path, reason, properties, collection FROM rejects WHERE source = :source AND seq > :after
        ORDER BY digest
        """
        return [
            Entry(
                row["path"],
                None,
                Reason(row["reason"]),
                row["id"],
                row["properties"],
                row["collection"],
            )
            for row in self._database.rows(sql, source=source, after=after)
        ]

    def load(self, source: str, ids: Iterable[str]) -> dict[str, tuple[dict[str, Any], int | None]]:
        """Objects by id, with the time the server got them; absent ones are left out."""
        found: dict[str, tuple[dict[str, Any], int | None]] = {}
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT id, body, date_added FROM objects WHERE source = :source AND id IN",
                list(ids),
                {"source": source},
            ):
                found.update({id_: (unpack(body), added) for id_, body, added in rows})
        return found

    def referrers(
        self, source: str, ids: Iterable[str], types: Sequence[str] = (), without: str = ""
    ) -> list[tuple[str, str, str]]:
        """Who refers to any of some ids: (id, its type, the id referred to).

        Args:
            source: name of the source.
            ids: what is referred to.
            types: only referrers whose ids begin with one of these types; all where there is none.
            without: no referrers whose ids begin with this type.
        """
        # the ids of one type lie together in the index: those of other types are not looked at; none begins with ~
        bounds = [(f"{type_}--", f"{type_}-.") for type_ in types] or [("", "~")]
        if without:
            bounds = [("", f"{without}--"), (f"{without}-.", "~")]
        found: list[tuple[str, str, str]] = []
        wanted = list(ids)
        with self._database.transaction() as connection:
            for low, high in bounds:
                values = {"source": source, "low": low, "high": high}
                sql = f"{REFERRERS}r.id > :low AND r.id < :high AND r.target IN"
                for rows in in_slices(connection, sql, wanted, values):
                    found.extend((id_, kind, target) for id_, kind, target in rows)
        return found

    def joining(self, source: str, ids: Iterable[str]) -> set[str]:
        """Ids of the relationships between two of some objects, however many others those have."""
        wanted = sorted(set(ids))
        found: set[str] = set()
        with self._database.transaction() as connection:
            for start in range(0, len(wanted), _ENDS_AT_ONCE):
                ends = listed(wanted[start : start + _ENDS_AT_ONCE])
                for rows in in_slices(
                    connection, JOINING, wanted, {"source": source, "ends": ends}
                ):
                    found.update(row[0] for row in rows)
        return found

    def known(self, source: str, ids: Iterable[str]) -> set[str]:
        """Those of some ids that are stored."""
        with self._database.transaction() as connection:
            return set(versions_of(connection, source, list(ids)))

    def sources_of(self, id_: str) -> list[str]:
        """Names of the sources that have an object, in order."""
        rows = self._database.rows(
            "SELECT source FROM objects WHERE id = :id ORDER BY source", id=id_
        )
        return [row["source"] for row in rows]

    def vanished(self, source: str, ids: Iterable[str]) -> set[str]:
        """Those of some objects that the source has no longer."""
        found: set[str] = set()
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT id FROM objects WHERE source = :source AND vanished IS NOT NULL AND id IN",
                list(ids),
                {"source": source},
            ):
                found.update(row[0] for row in rows)
        return found


def versions_of(connection: Connection, source: str, ids: list[str]) -> dict[str, Version]:
    """The stored versions of some objects."""
    found: dict[str, Version] = {}
    for rows in in_slices(
        connection,
        "SELECT id, version, digest, vanished, seq FROM objects WHERE source = :source AND id IN",
        ids,
        {"source": source},
    ):
        found.update(
            {
                id_: (version, digest, gone is not None, seq)
                for id_, version, digest, gone, seq in rows
            }
        )
    return found
