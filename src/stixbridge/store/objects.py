"""The objects of each source, and who refers to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from stixbridge.ledger import Reason
from stixbridge.stix.reader import Entry
from stixbridge.store.codec import unpack
from stixbridge.store.database import Database, in_slices, listed
from stixbridge.store.statements import (
    JOINING,
    LAST_SEQ,
    LINK_ENDS,
    PREVIOUS,
    REFERRERS,
    REFERRERS_OF_ONE,
    REFERRERS_OF_SOME,
    SIZES,
    TARGETS,
)

_ENDS_AT_ONCE = 200
_TARGETS_AT_ONCE = 500
_PAGE = 5_000
"""Rows that are read at a time where there may be any number of them."""

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
        return self._database.column(sql, source=source, after=after)

    def expired(self, source: str, after: int, until: int) -> list[str]:
        """Ids of objects whose `valid_until` passed between two times."""
        sql = """
        SELECT id FROM objects WHERE source = :source AND valid_until > :after
        AND valid_until <= :until ORDER BY id
        """
        return [
            row["id"] for row in self._database.rows(sql, source=source, after=after, until=until)
        ]

    def rejected(self, source: str, after: int) -> list[Entry]:
        """Bad entries that came after a seq."""
        sql = """
        SELECT id, path, reason, properties, collection FROM rejects
        WHERE source = :source AND seq > :after
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
        result: dict[str, tuple[dict[str, Any], int | None]] = {}
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT id, body, date_added FROM objects WHERE source = :source AND id IN",
                list(ids),
                {"source": source},
            ):
                result.update({id_: (unpack(body), added) for id_, body, added in rows})
        return result

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
        # the ids of one type lie together in the index: those of other types are not looked at;
        # none begins with ~
        bounds = [(f"{type_}--", f"{type_}-.") for type_ in types] or [("", "~")]
        if without:
            bounds = [("", f"{without}--"), (f"{without}-.", "~")]
        result: list[tuple[str, str, str]] = []
        wanted = list(ids)
        with self._database.transaction() as connection:
            for low, high in bounds:
                values = {"source": source, "low": low, "high": high}
                sql = f"{REFERRERS}r.id > :low AND r.id < :high AND r.target IN"
                for rows in in_slices(connection, sql, wanted, values):
                    result.extend((id_, kind, target) for id_, kind, target in rows)
        return result

    def referrer_pages(
        self, source: str, ids: Iterable[str], without: str = ""
    ) -> Iterator[list[tuple[str, str]]]:
        """Yield the objects that refer to any of some ids, as `referrers` does.

        Each page is a list of (id, its type).

        Half of a store may refer to one object: such an object is read page by page.
        """
        wanted = list(ids)
        for start in range(0, len(wanted), _TARGETS_AT_ONCE):
            targets = wanted[start : start + _TARGETS_AT_ONCE]
            values = {"source": source, "targets": listed(targets), "without": f"{without}--%"}
            rows = self._database.rows(REFERRERS_OF_SOME, most=_PAGE + 1, **values)
            if len(rows) <= _PAGE:
                if rows:
                    yield [(row["id"], row["type"]) for row in rows]
                continue
            for target in targets:
                after = ""
                while rows := self._database.rows(
                    REFERRERS_OF_ONE, target=target, after=after, most=_PAGE, **values
                ):
                    yield [(row["id"], row["type"]) for row in rows]
                    after = rows[-1]["id"]

    def targets(
        self, source: str, ids: Iterable[str], types: Iterable[str] = ()
    ) -> list[tuple[str, str]]:
        """List the references of some objects as (id, the id referred to).

        With types, only references to objects of those types.
        """
        bounds = [(f"{type_}--", f"{type_}-.") for type_ in types] or [("", "~")]
        wanted = list(ids)
        result: list[tuple[str, str]] = []
        with self._database.transaction() as connection:
            for low, high in bounds:
                values = {"source": source, "low": low, "high": high}
                for rows in in_slices(connection, TARGETS, wanted, values):
                    result.extend((id_, target) for id_, target in rows)
        return result

    def link_ends(self, source: str, ids: Iterable[str]) -> list[tuple[str, str, str]]:
        """The ends of some relationships: (id, source_ref, target_ref)."""
        result: list[tuple[str, str, str]] = []
        with self._database.transaction() as connection:
            for rows in in_slices(connection, LINK_ENDS, list(ids), {"source": source}):
                result.extend((id_, source_ref, target_ref) for id_, source_ref, target_ref in rows)
        return result

    def previous(self, source: str, ids: Iterable[str], done: int) -> dict[str, dict[str, Any]]:
        """Return the versions before the stored ones, of objects that have one.

        Args:
            source: the name of the source.
            ids: the ids of the objects.
            done: the seq that those versions have at the most.
        """
        result: dict[str, dict[str, Any]] = {}
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection, PREVIOUS, list(ids), {"source": source, "done": done}
            ):
                result.update({id_: unpack(body) for id_, body in rows})
        return result

    def sizes(self, source: str, ids: Iterable[str]) -> dict[str, int]:
        """How many objects each of some objects refers to; large ones count more."""
        result: dict[str, int] = {}
        with self._database.transaction() as connection:
            for rows in in_slices(connection, SIZES, list(ids), {"source": source}):
                result.update(dict(rows))
        return result

    def joining(self, source: str, ids: Iterable[str]) -> set[str]:
        """Ids of the relationships between two of some objects, however many others those have."""
        wanted = sorted(set(ids))
        result: set[str] = set()
        with self._database.transaction() as connection:
            for start in range(0, len(wanted), _ENDS_AT_ONCE):
                ends = listed(wanted[start : start + _ENDS_AT_ONCE])
                for rows in in_slices(
                    connection, JOINING, wanted, {"source": source, "ends": ends}
                ):
                    result.update(row[0] for row in rows)
        return result

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
        result: set[str] = set()
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT id FROM objects WHERE source = :source AND vanished IS NOT NULL AND id IN",
                list(ids),
                {"source": source},
            ):
                result.update(row[0] for row in rows)
        return result


def versions_of(connection: Connection, source: str, ids: list[str]) -> dict[str, Version]:
    """The stored versions of some objects."""
    result: dict[str, Version] = {}
    for rows in in_slices(
        connection,
        "SELECT id, version, digest, vanished, seq FROM objects WHERE source = :source AND id IN",
        ids,
        {"source": source},
    ):
        result.update(
            {
                id_: (version, digest, vanished is not None, seq)
                for id_, version, digest, vanished, seq in rows
            }
        )
    return result
