"""Which object is in which event of a pipeline, and the values in the events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import text

from stixbridge.store.database import Database, Rows, in_slices
from stixbridge.store.statements import (
    COMMON_COUNTS,
    ELEMENTS_OF_OBJECT,
    IDS_MATCHING,
    INSERT_ELEMENT,
    INSERT_PLACEMENT,
    SHARED_VALUES,
)


class Placements:
    """Reads and writes placements and elements.

    Args (of the constructor):
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def placed(self, pipeline: str, ids: Iterable[str]) -> list[tuple[str, str, bool, str]]:
        """Where objects are: (id, event, whether it is a collecting one, day)."""
        return self._placements(pipeline, "id", ids)

    def members(self, pipeline: str, events: Iterable[str]) -> list[tuple[str, str, bool, str]]:
        """What is in events: (id, event, whether it is a collecting one, day)."""
        return self._placements(pipeline, "event", events)

    def _placements(
        self, pipeline: str, column: str, keys: Iterable[str]
    ) -> list[tuple[str, str, bool, str]]:
        found: list[tuple[str, str, bool, str]] = []
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                f"SELECT id, event, collecting, day FROM placements WHERE pipeline = :pipeline AND {column} IN",  # noqa: S608
                list(keys),
                {"pipeline": pipeline},
            ):
                found.extend(
                    (id_, event_, bool(collecting), day) for id_, event_, collecting, day in rows
                )
        return found

    def delivered_ids(self, pipeline: str, ids: Iterable[str]) -> set[str]:
        """Those of some objects that are in an event that was delivered."""
        found: set[str] = set()
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT p.id FROM placements p WHERE p.pipeline = :pipeline AND EXISTS (SELECT 1 FROM deliveries d"
                " WHERE d.event = p.event AND d.state IN ('adding', 'delivered', 'waiting', 'deleting', 'out'))"
                " AND p.id IN",
                list(ids),
                {"pipeline": pipeline},
            ):
                found.update(row[0] for row in rows)
        return found

    def with_values(self, pipeline: str, values: Iterable[str]) -> list[str]:
        """Ids of objects in collecting events that say one of some values in a lone attribute."""
        found: set[str] = set()
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT e.id FROM elements e CROSS JOIN placements p ON p.pipeline = e.pipeline AND p.event = e.event"
                " AND p.id = e.id WHERE e.pipeline = :pipeline AND e.kind = 'Attribute' AND p.collecting = 1"
                " AND e.value IN",
                list(values),
                {"pipeline": pipeline},
            ):
                found.update(row[0] for row in rows)
        return sorted(found)

    def replace(self, pipeline: str, event_uuid: str, placements: Rows, elements: Rows) -> None:
        """Record what is in an event, in place of what was."""
        key = {"pipeline": pipeline, "event": event_uuid}
        with self._database.transaction() as connection:
            connection.execute(
                text("DELETE FROM placements WHERE pipeline = :pipeline AND event = :event"), key
            )
            connection.execute(
                text("DELETE FROM elements WHERE pipeline = :pipeline AND event = :event"), key
            )
            if placements:
                connection.execute(text(INSERT_PLACEMENT), [{**key, **row} for row in placements])
            if elements:
                connection.execute(text(INSERT_ELEMENT), [{**key, **row} for row in elements])

    def add(self, pipeline: str, event_uuid: str, placements: Rows) -> None:
        """Record that objects are going to be in an event, beside what is in it."""
        key = {"pipeline": pipeline, "event": event_uuid}
        if placements:
            with self._database.transaction() as connection:
                connection.execute(
                    text(INSERT_PLACEMENT + " ON CONFLICT DO NOTHING"),
                    [{**key, **row} for row in placements],
                )

    def elements_of(self, pipeline: str, event_uuid: str, ids: Iterable[str]) -> Rows:
        """The elements of some objects in an event."""
        wanted = set(ids)
        if not wanted:
            return []
        sql = "SELECT uuid, id, kind, type, value FROM elements WHERE pipeline = :pipeline AND event = :event"
        return [
            row
            for row in self._database.rows(sql, pipeline=pipeline, event=event_uuid)
            if row["id"] in wanted
        ]

    def attribute_count(self, pipeline: str) -> int:
        """How many attributes a pipeline has in its events."""
        sql = "SELECT count(*) FROM (SELECT DISTINCT event, uuid FROM elements WHERE pipeline = :pipeline)"
        return int(self._database.scalar(sql, pipeline=pipeline))

    # for `find`

    def ids_matching(self, text_: str) -> set[str]:
        """STIX ids of what has this id, value (or half of a composite one), event or element UUID."""
        half = re.sub(r"([\\%_])", r"\\\1", text_)
        rows = self._database.rows(
            IDS_MATCHING,
            text=text_,
            lower=text_.lower(),
            first=f"{half}|%",
            second=f"%|{half}",
        )
        return {row["id"] for row in rows}

    def events_of(self, pipeline: str, id_: str) -> list[str]:
        """UUIDs of the events that an object is in, in order."""
        sql = "SELECT event FROM placements WHERE pipeline = :pipeline AND id = :id ORDER BY event"
        return [row["event"] for row in self._database.rows(sql, pipeline=pipeline, id=id_)]

    def elements_of_object(self, pipeline: str, event_uuid: str, id_: str) -> Rows:
        """The elements of one object in an event: `uuid`, `kind`, `type`, `value`, in order."""
        return self._database.rows(ELEMENTS_OF_OBJECT, pipeline=pipeline, event=event_uuid, id=id_)

    def spellings(self, value: str) -> list[str]:
        """A value as it stands in what was delivered, whatever the case; empty where nothing has it."""
        sql = "SELECT DISTINCT value FROM elements WHERE value IN (:value, :lower)"
        rows = self._database.rows(sql, value=value, lower=value.lower())
        return sorted(row["value"] for row in rows)

    # what pipelines have in common

    def shared_values(self, least: int) -> Rows:
        """Values that several pipelines deliver: `value`, `types`, `pipelines`, `events`; the most shared first."""
        rows = self._database.rows(SHARED_VALUES, least=least)
        for row in rows:
            row["types"] = sorted(row["types"].split(","))
            row["pipelines"] = sorted(row["pipelines"].split(","))
        return rows

    def common_counts(self) -> Rows:
        """Of each two pipelines, how many values they have in common, and how many each has."""
        return self._database.rows(COMMON_COUNTS)
