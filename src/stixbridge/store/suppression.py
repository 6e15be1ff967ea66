"""The store: values that analysts found to be harmless, and which pipelines have heard of that."""

from __future__ import annotations

from collections.abc import Iterable

from stixbridge.store.database import in_slices
from stixbridge.store.inbox import Intake
from stixbridge.store.statements import (
    RESUPPRESSED,
    SUPPRESS,
    SUPPRESSED,
    UNSUPPRESS,
    UPSERT_HEARD,
    UPSERT_LOOK,
)


class Suppression(Intake):
    """The suppression list; see `Store`."""

    def suppress(self, value: str, why: str, moment: int, *, said: int | None = None) -> None:
        """Put a value on the suppression list; the first reason stays.

        Args:
            value: of attributes.
            why: shown in the list.
            moment: now, microseconds.
            said: when an analyst said so, microseconds; what was taken off the list after that stays off.
        """
        self.execute(
            SUPPRESS,
            value=value,
            why=why[:500],
            since=moment,
            said=moment if said is None else said,
        )

    def unsuppress(self, value: str, moment: int) -> bool:
        """Take a value off the list; whether it was on it."""
        known = bool(self.suppressed([value]))
        self.execute(UNSUPPRESS, value=value, moment=moment)
        return known

    def spelled(self, value: str) -> list[str]:
        """A value as it stands in what was delivered, whatever the case; none where it is in nothing."""
        rows = self.query("SELECT DISTINCT value FROM elements WHERE value IN (:value, :lower)",
                          value=value, lower=value.lower())  # fmt: skip
        return sorted(row["value"] for row in rows)

    def resuppressed(self, pipeline: str) -> tuple[set[str], int | None]:
        """The objects of a pipeline whose values went onto the list, or off it, since it was told; and up to what.

        Nothing and None where the list is as it was.
        """
        heard = (
            self._scalar(
                "SELECT max(heard) FROM progress WHERE pipeline = :pipeline", pipeline=pipeline
            )
            or 0
        )
        seq = self._scalar("SELECT max(seq) FROM suppressed") or 0
        if seq == heard:
            return set(), None
        return {
            row["id"] for row in self.query(RESUPPRESSED, pipeline=pipeline, heard=heard, seq=seq)
        }, int(seq)

    def set_heard(self, pipeline: str, seq: int) -> None:
        """Record up to what a pipeline was told of the suppression list."""
        self.execute(UPSERT_HEARD, pipeline=pipeline, heard=seq)

    def looked(self, sink: str) -> int:
        """When a sink was asked last for false positives, microseconds; 0 for never."""
        rows = self.query("SELECT asked FROM looks WHERE sink = :sink", sink=sink)
        return int(rows[0]["asked"]) if rows else 0

    def set_looked(self, sink: str, moment: int) -> None:
        """Record when that was."""
        self.execute(UPSERT_LOOK, sink=sink, asked=moment)

    def suppressed(self, values: Iterable[str]) -> set[str]:
        """Those of some values that are on the suppression list."""
        found: set[str] = set()
        with self._transaction() as connection:
            for rows in in_slices(connection, SUPPRESSED, list(values), {}):
                found.update(row[0] for row in rows)
        return found
