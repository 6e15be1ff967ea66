"""Stores dead letters: objects that a conversion fails on, and all other cases for a person."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from sqlalchemy import text

from stixbridge.ledger import Reason
from stixbridge.store.database import Database, Rows
from stixbridge.store.statements import (
    BURY,
    DEAD_ENTRIES,
    DEAD_EVENTS,
    DEAD_OBJECTS,
    FORGET_PREVIOUS_SEQ,
    LAST_SEQ,
    SET_ASIDE,
)


class Quarantine:
    """Reads and settles dead letters.

    Args (of the constructor):
        database: the database with the dead letters.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def left_out(self, pipeline: str, source: str) -> dict[str, Reason]:
        """Objects that are left out.

        No conversion of a pipeline gets through them, or they were taken back.
        """
        rows = self._database.rows(SET_ASIDE, pipeline=pipeline, source=source)
        return {row["id"]: Reason(row["reason"]) for row in rows}

    def add(self, pipeline: str, source: str, id_: str, error: str, moment: int) -> None:
        """Exclude an object that the conversion fails on; a newer version will be tried."""
        self._database.execute(
            BURY, pipeline=pipeline, source=source, id=id_, error=error[:500], since=moment
        )

    # listing and settling

    def entries(self, *, settled: bool) -> Rows:
        """Refused entries: `source`, `digest`, `path`, `reason`, `collection`.

        `settled`: those too.
        """
        return self._database.rows(DEAD_ENTRIES, settled=int(settled))

    def objects(self, *, settled: bool) -> Rows:
        """Objects that a conversion fails on: `pipeline`, `id`, `error`, `since`.

        `settled`: those too.
        """
        return self._database.rows(DEAD_OBJECTS, settled=int(settled))

    def events(self, states: Iterable[str], *, settled: bool) -> Rows:
        """Deliveries in some states: `sink`, `event`, `state`, `info`, `updated`, `note`.

        `settled`: those too.
        """
        listed = orjson.dumps(list(states)).decode()
        return self._database.rows(DEAD_EVENTS, settled=int(settled), states=listed)

    def forget_entry(self, source: str, digest: str) -> None:
        """Forget a bad entry, so that it counts as new when the source sends it again."""
        self._database.execute(
            "UPDATE rejects SET settled = 2 WHERE source = :source AND digest = :digest",
            source=source,
            digest=digest,
        )

    def release(self, pipeline: str, id_: str) -> None:
        """Mark an object as changed, so that it is converted again."""
        with self._database.transaction() as connection:
            connection.execute(
                text("DELETE FROM dead WHERE pipeline = :pipeline AND id = :id"),
                {"pipeline": pipeline, "id": id_},
            )
            connection.execute(text(FORGET_PREVIOUS_SEQ), {"id": id_})
            for (source,) in connection.execute(
                text("SELECT source FROM objects WHERE id = :id"), {"id": id_}
            ).all():
                seq = connection.execute(text(LAST_SEQ), {"source": source}).scalar_one()
                connection.execute(
                    text("UPDATE objects SET seq = :seq WHERE source = :source AND id = :id"),
                    {"seq": seq + 1, "source": source, "id": id_},
                )

    def offer_again(self, sink: str, event_uuid: str, state: str) -> None:
        """Set a delivery to a state that the next run continues with."""
        self._database.execute(
            "UPDATE deliveries SET state = :state, settled = 0 WHERE sink = :sink AND "
            "event = :event",
            state=state,
            sink=sink,
            event=event_uuid,
        )

    def settle_entry(self, source: str, digest: str) -> None:
        """Remove a bad entry from the list."""
        self._database.execute(
            "UPDATE rejects SET settled = 1 WHERE source = :source AND digest = :digest",
            source=source,
            digest=digest,
        )

    def settle_object(self, pipeline: str, id_: str) -> None:
        """Remove an object from the list; it stays excluded."""
        self._database.execute(
            "UPDATE dead SET settled = 1 WHERE pipeline = :pipeline AND id = :id",
            pipeline=pipeline,
            id=id_,
        )

    def settle_event(self, sink: str, event_uuid: str) -> None:
        """Remove a delivery from the list."""
        self._database.execute(
            "UPDATE deliveries SET settled = 1 WHERE sink = :sink AND event = :event",
            sink=sink,
            event=event_uuid,
        )
