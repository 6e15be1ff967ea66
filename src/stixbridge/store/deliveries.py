"""Stores wanted events and their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from stixbridge.envelopes import Delivered, Edit, Wanted
from stixbridge.ledger import Outcome, Reason
from stixbridge.store.codec import (
    pack_delivered,
    pack_edits,
    pack_wanted,
    unpack_delivered,
    unpack_edits,
    unpack_wanted,
)
from stixbridge.store.database import Database, Rows
from stixbridge.store.statements import (
    BEGIN_EDITS,
    INSERT_ALIAS,
    INSERT_NOTE,
    UPSERT_DELIVERY,
    UPSERT_WANTED,
)


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """The state of the delivery of an event.

    Attributes:
        state: one of `stixbridge.sinks.base.State`.
        delivered: the event as it was delivered.
        digest: the digest of the wanted event at that time and of the settings of the sink.
        published: whether the bridge published it.
        edits: edits that were begun later and whose result is unknown.
    """

    state: str
    delivered: Delivered
    digest: bytes = b""
    published: bool = False
    edits: tuple[Edit, ...] = ()


class Deliveries:
    """Reads and writes deliveries.

    Args (of the constructor):
        database: the database with the deliveries.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def want(self, sink: str, event_uuid: str, pipeline: str, wanted: Wanted) -> list[Wanted]:
        """Record an event that a pipeline wants in a sink.

        Returns:
            The event as each pipeline wants it, in the order of their names.
        """
        body = pack_wanted(wanted)
        with self._database.transaction() as connection:
            connection.execute(
                text(UPSERT_WANTED),
                {"sink": sink, "event": event_uuid, "pipeline": pipeline, "body": body},
            )
            rows = connection.execute(
                text(
                    "SELECT body FROM wanted WHERE sink = :sink AND event = :event"
                    " ORDER BY pipeline"
                ),
                {"sink": sink, "event": event_uuid},
            )
            return [unpack_wanted(row[0]) for row in rows]

    def wanted(self, sink: str, event_uuid: str, *, but: str = "") -> list[Wanted]:
        """Return an event as each pipeline wants it, in the order of names; one can be excluded."""
        rows = self._database.rows(
            "SELECT body FROM wanted WHERE sink = :sink AND event = :event AND pipeline <> :but"
            " ORDER BY pipeline",
            sink=sink,
            event=event_uuid,
            but=but,
        )
        return [unpack_wanted(row["body"]) for row in rows]

    def delivered(self, sink: str, event_uuid: str) -> DeliveryRow | None:
        """Return the delivery of an event, or None."""
        rows = self._database.rows(
            "SELECT state, body, digest, published, intent FROM deliveries"
            " WHERE sink = :sink AND event = :event",
            sink=sink,
            event=event_uuid,
        )
        if not rows:
            return None
        row = rows[0]
        return DeliveryRow(
            row["state"],
            unpack_delivered(row["body"]),
            row["digest"],
            bool(row["published"]),
            unpack_edits(row["intent"]) if row["intent"] is not None else (),
        )

    def begin_edits(self, sink: str, event_uuid: str, edits: Sequence[Edit]) -> None:
        """Record edits that are about to be sent; `set_delivered` removes them from the record."""
        intent = pack_edits(edits)
        self._database.execute(BEGIN_EDITS, sink=sink, event=event_uuid, intent=intent, none=b"")

    def carries(self, sink: str, uuid: str) -> bool:
        """Return whether an event in a sink was delivered there, or carries a delivered one."""
        sql = """
        SELECT 1 FROM deliveries WHERE sink = :sink AND event = :uuid
        UNION ALL SELECT 1 FROM aliases WHERE sink = :sink AND uuid = :uuid
        """
        return bool(self._database.rows(sql, sink=sink, uuid=uuid))

    def knows(self, sink: str) -> bool:
        """Return whether anything was ever delivered to a sink."""
        return bool(
            self._database.rows("SELECT 1 FROM deliveries WHERE sink = :sink LIMIT 1", sink=sink)
        )

    def set_delivered(
        self,
        sink: str,
        event_uuid: str,
        row: DeliveryRow,
        *,
        moment: int,
        notes: Sequence[tuple[str | None, Outcome, Reason, str | None]] = (),
        aliases: Sequence[str] = (),
    ) -> None:
        """Record where a delivery stands.

        Args:
            sink: its name.
            event_uuid: of the event.
            row: the state, the event as it is in the sink or is about to be, and its digest;
                edits are recorded by `begin_edits`.
            moment: microseconds.
            notes: for a reader, in place of those of the delivery before.
            aliases: UUIDs of further events in the sink that carry it.
        """
        key = {"sink": sink, "event": event_uuid}
        with self._database.transaction() as connection:
            connection.execute(
                text(UPSERT_DELIVERY),
                {
                    **key,
                    "state": row.state,
                    "digest": row.digest,
                    "body": pack_delivered(row.delivered),
                    "info": str(row.delivered.body.get("info", "")),
                    "published": int(row.published),
                    "updated": moment,
                },
            )
            if aliases:
                connection.execute(text(INSERT_ALIAS), [{**key, "uuid": uuid} for uuid in aliases])
            connection.execute(text("DELETE FROM notes WHERE sink = :sink AND event = :event"), key)
            if notes:
                connection.execute(
                    text(INSERT_NOTE),
                    [
                        {
                            **key,
                            "id": id_,
                            "outcome": outcome.value,
                            "reason": reason.value,
                            "target": target,
                        }
                        for id_, outcome, reason, target in notes
                    ],
                )

    def unfinished(self, sink: str, pipeline: str) -> list[str]:
        """Return the events of a pipeline whose delivery to a sink was cut or held back."""
        sql = """
        SELECT d.event FROM deliveries d JOIN wanted w ON w.sink = d.sink AND w.event = d.event
        WHERE d.sink = :sink AND w.pipeline = :pipeline
          AND d.state IN ('adding', 'waiting', 'held', 'deleting')
        ORDER BY +d.event
        """
        return [row["event"] for row in self._database.rows(sql, sink=sink, pipeline=pipeline)]

    # for `find` and `status`

    def of_event(self, event_uuid: str) -> Rows:
        """The deliveries of an event by sink: `sink`, `state`, `info`, `published`."""
        sql = (
            "SELECT sink, state, info, published FROM deliveries WHERE event = :event ORDER BY sink"
        )
        return self._database.rows(sql, event=event_uuid)

    def notes_of_event(self, event_uuid: str) -> Rows:
        """Return the notes about an event in every sink: `sink`, `id`, `reason`, `target`."""
        sql = "SELECT sink, id, reason, target FROM notes WHERE event = :event ORDER BY number"
        return self._database.rows(sql, event=event_uuid)

    def count_by_state(self) -> Rows:
        """Return the number of events by sink and state: `sink`, `state`, `events`."""
        return self._database.rows(
            "SELECT sink, state, count(*) AS events FROM deliveries"
            " GROUP BY sink, state ORDER BY sink, state"
        )

    def count_notes(self) -> Rows:
        """Return the number of notes by reason: `reason`, `count`."""
        return self._database.rows(
            "SELECT reason, count(*) AS count FROM notes GROUP BY reason ORDER BY reason"
        )
