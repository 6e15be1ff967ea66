"""Stores the runs of each pipeline, and its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import text

from stixbridge.store.database import Database, Rows
from stixbridge.store.statements import FORGET_RUNS, RUNS_THAT_BROUGHT, UPSERT_PROGRESS


class Runs:
    """Reads and writes runs.

    Args (of the constructor):
        database: the database with the runs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def progress(self, pipeline: str) -> tuple[int, int]:
        """Return how far a pipeline has come.

        The first number is the seq up to which everything is delivered, the second the time up to
        which expired objects were looked for.
        """
        row = self._database.rows(
            "SELECT seq, expiry FROM progress WHERE pipeline = :pipeline", pipeline=pipeline
        )
        return (row[0]["seq"], row[0]["expiry"]) if row else (0, 0)

    def set_progress(self, pipeline: str, seq: int, expiry: int) -> None:
        """Record that everything up to a seq has been delivered."""
        with self._database.transaction() as connection:
            connection.execute(
                text(UPSERT_PROGRESS), {"pipeline": pipeline, "seq": seq, "expiry": expiry}
            )

    def begin(self, pipeline: str, moment: int) -> int:
        """Open a run; return its number."""
        with self._database.transaction() as connection:
            result = connection.execute(
                text("INSERT INTO runs (pipeline, started) VALUES (:pipeline, :started)"),
                {"pipeline": pipeline, "started": moment},
            )
            return int(result.lastrowid)

    def begin_poll(self, number: int, source: str, before: int) -> None:
        """Record that a run is about to poll a source, and close the poll of a run that was cut."""
        with self._database.transaction() as connection:
            key = {"number": number, "source": source, "before": before}
            connection.execute(
                text(
                    "UPDATE runs SET seq_after = :before"
                    " WHERE source = :source AND seq_after IS NULL AND number <> :number"
                ),
                key,
            )
            connection.execute(
                text(
                    "UPDATE runs SET source = :source, seq_before = :before WHERE number = :number"
                ),
                key,
            )

    def end_poll(self, number: int, after: int) -> None:
        """Record the last seq of the poll of a run."""
        self._database.execute(
            "UPDATE runs SET seq_after = :after WHERE number = :number", after=after, number=number
        )

    def end(self, number: int, moment: int, summary: Mapping[str, Any]) -> None:
        """Close a run."""
        with self._database.transaction() as connection:
            connection.execute(
                text(
                    "UPDATE runs SET finished = :finished, summary = :summary WHERE "
                    "number = :number"
                ),
                {"finished": moment, "summary": orjson.dumps(summary).decode(), "number": number},
            )

    def get(self, number: int) -> dict[str, Any] | None:
        """Return a run, or None if there is none of that number.

        It has `pipeline`, `started`, `finished`, `seq_before`, `seq_after` and `summary` (JSON).
        """
        rows = self._database.rows("SELECT * FROM runs WHERE number = :number", number=number)
        return rows[0] if rows else None

    def last(self, pipeline: str) -> dict[str, Any] | None:
        """Return the newest run of a pipeline, in the format of `get`."""
        sql = "SELECT * FROM runs WHERE pipeline = :pipeline ORDER BY number DESC LIMIT 1"
        rows = self._database.rows(sql, pipeline=pipeline)
        return rows[0] if rows else None

    def with_objects(self, pipeline: str) -> Rows:
        """The newest runs that brought objects.

        `number`, `started`, `objects`, whether they are `undone`.
        """
        return self._database.rows(RUNS_THAT_BROUGHT, pipeline=pipeline)

    def forget_before(self, moment: int) -> None:
        """Forget older pages, answers of modules, and runs but the last of each pipeline."""
        with self._database.transaction() as connection:
            connection.execute(
                text("DELETE FROM pages WHERE received < :before"), {"before": moment}
            )
            connection.execute(
                text("DELETE FROM answers WHERE asked < :before"), {"before": moment // 1_000_000}
            )
            connection.execute(text(FORGET_RUNS), {"before": moment})
