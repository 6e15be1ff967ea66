"""Values that analysts found to be harmless.

And up to which change of that list each pipeline has applied it.
"""

from __future__ import annotations

from collections.abc import Iterable

from stixbridge.store.database import Database, Rows, in_slices
from stixbridge.store.statements import (
    RESUPPRESSED,
    SUPPRESS,
    SUPPRESSED,
    UNSUPPRESS,
    UPSERT_HEARD,
    UPSERT_LOOK,
)


class Suppression:
    """Reads and changes the suppression list.

    Args (of the constructor):
        database: the database with the list.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, value: str, why: str, moment: int, *, marked: int | None = None) -> None:
        """Put a value on the suppression list; the first reason stays.

        Args:
            value: the value of attributes.
            why: the reason that the list shows.
            moment: the current time, in microseconds.
            marked: the time of an analyst's sighting, in microseconds; a value that was removed
                from the list after it stays off.
        """
        self._database.execute(
            SUPPRESS,
            value=value,
            why=why[:500],
            since=moment,
            marked=moment if marked is None else marked,
        )

    def remove(self, value: str, moment: int) -> bool:
        """Remove a value from the list; return whether it was on the list."""
        known = bool(self.matching([value]))
        self._database.execute(UNSUPPRESS, value=value, moment=moment)
        return known

    def affected(self, pipeline: str) -> tuple[set[str], int | None]:
        """Return the objects of a pipeline whose values went onto the list or off it.

        The number is that of the last change of the list. Earlier changes were applied before.
        Nothing and None where the list is as it was.
        """
        applied = (
            self._database.scalar(
                "SELECT max(heard) FROM progress WHERE pipeline = :pipeline", pipeline=pipeline
            )
            or 0
        )
        seq = self._database.scalar("SELECT max(seq) FROM suppressed") or 0
        if seq == applied:
            return set(), None
        return {
            row["id"]
            for row in self._database.rows(
                RESUPPRESSED, pipeline=pipeline, applied=applied, seq=seq
            )
        }, int(seq)

    def set_applied(self, pipeline: str, seq: int) -> None:
        """Record the last change of the list that a pipeline has applied."""
        self._database.execute(UPSERT_HEARD, pipeline=pipeline, applied=seq)

    def last_asked(self, sink: str) -> int:
        """Return the time of the last request for false positives, in microseconds; 0 for never."""
        rows = self._database.rows("SELECT asked FROM looks WHERE sink = :sink", sink=sink)
        return int(rows[0]["asked"]) if rows else 0

    def set_asked(self, sink: str, moment: int) -> None:
        """Record the time of a request for false positives."""
        self._database.execute(UPSERT_LOOK, sink=sink, asked=moment)

    def matching(self, values: Iterable[str]) -> set[str]:
        """Return the values that are on the suppression list."""
        result: set[str] = set()
        with self._database.transaction() as connection:
            for rows in in_slices(connection, SUPPRESSED, list(values), {}):
                result.update(row[0] for row in rows)
        return result

    def rows(self) -> Rows:
        """Return the list: `value`, `why`, `since`."""
        return self._database.rows(
            "SELECT value, why, since FROM suppressed WHERE removed IS NULL ORDER BY value"
        )
