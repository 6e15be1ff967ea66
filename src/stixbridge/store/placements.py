"""Which object is in which event of a pipeline, and the values in the events."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from stixbridge.store.database import Database, Rows, in_slices, many
from stixbridge.store.statements import (
    COMMON_COUNTS,
    DELETE_ELEMENT,
    DELETE_PLACEMENT,
    ELEMENTS_IN,
    ELEMENTS_OF_OBJECT,
    IDS_MATCHING,
    INSERT_ELEMENT,
    INSERT_PLACEMENT,
    PLACEMENTS_IN,
    SHARED_VALUES,
)

Placement = tuple[str, int, str]
"""(id of an object, 1 in a collecting event, the day of that)."""
Element = tuple[str, str, str, str, str]
"""(UUID, id of an object that says it, kind, type, value)."""

_OF_PLACEMENTS = (PLACEMENTS_IN, DELETE_PLACEMENT, INSERT_PLACEMENT)
_OF_ELEMENTS = (ELEMENTS_IN, DELETE_ELEMENT, INSERT_ELEMENT)


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
        result: list[tuple[str, str, bool, str]] = []
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                f"SELECT id, event, collecting, day FROM placements "  # noqa: S608
                f"WHERE pipeline = :pipeline AND {column} IN",
                list(keys),
                {"pipeline": pipeline},
            ):
                result.extend(
                    (id_, event_, bool(collecting), day) for id_, event_, collecting, day in rows
                )
        return result

    def collecting(self, pipeline: str) -> dict[str, tuple[str, int]]:
        """Every collecting event: UUID -> (its day, how many objects are in it)."""
        rows = self._database.rows(
            "SELECT event, max(day) AS day, count(*) AS size FROM placements"
            " WHERE pipeline = :pipeline AND collecting = 1 GROUP BY event",
            pipeline=pipeline,
        )
        return {row["event"]: (row["day"], row["size"]) for row in rows}

    def sizes(self, pipeline: str, events: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Some events: UUID -> (its day, how many objects are in it)."""
        result: dict[str, tuple[str, int]] = {}
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT event, max(day), count(*) FROM placements WHERE pipeline = :pipeline"
                " AND event IN {keys} GROUP BY event",
                list(events),
                {"pipeline": pipeline},
            ):
                result.update({event: (day, size) for event, day, size in rows})
        return result

    def delivered_ids(self, pipeline: str, ids: Iterable[str]) -> set[str]:
        """Those of some objects that are in an event that was delivered."""
        result: set[str] = set()
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT p.id FROM placements p WHERE p.pipeline = :pipeline AND EXISTS (SELECT 1 "
                "FROM deliveries d"
                " WHERE d.event = p.event AND d.state IN ('adding', 'delivered', 'waiting', "
                "'deleting', 'out'))"
                " AND p.id IN",
                list(ids),
                {"pipeline": pipeline},
            ):
                result.update(row[0] for row in rows)
        return result

    def with_values(self, pipeline: str, values: Iterable[str]) -> list[str]:
        """Ids of objects in collecting events that say one of some values in a lone attribute."""
        result: set[str] = set()
        with self._database.transaction() as connection:
            for rows in in_slices(
                connection,
                "SELECT e.id FROM elements e CROSS JOIN placements p ON p.pipeline = e.pipeline "
                "AND p.event = e.event"
                " AND p.id = e.id WHERE e.pipeline = :pipeline AND e.kind = 'Attribute' "
                "AND p.collecting = 1 AND e.value IN",
                list(values),
                {"pipeline": pipeline},
            ):
                result.update(row[0] for row in rows)
        return sorted(result)

    def add_all(self, pipeline: str, contents: Mapping[str, Iterable[Placement]]) -> None:
        """Record that objects are going to be in events, beside what is in them.

        Args:
            pipeline: its name.
            contents: UUID of an event -> what is going to be in it.
        """
        rows = [(pipeline, event, *row) for event, rows in contents.items() for row in rows]
        if rows:
            with self._database.transaction() as connection:
                many(connection, INSERT_PLACEMENT, rows)

    def replace_all(
        self,
        pipeline: str,
        contents: Mapping[str, tuple[Collection[Placement], Collection[Element]]],
    ) -> None:
        """Record what is in events, in place of what was; only what differs is written.

        Args:
            pipeline: its name.
            contents: UUID of an event -> its objects and elements.
        """
        events = list(contents)
        with self._database.transaction() as connection:
            for at, (read, delete, insert) in enumerate((_OF_PLACEMENTS, _OF_ELEMENTS)):
                before: set[tuple[Any, ...]] = set()
                for rows in in_slices(connection, read, events, {"pipeline": pipeline}):
                    before.update(map(tuple, rows))
                wanted = {
                    (event, *row): None for event, both in contents.items() for row in both[at]
                }
                key = 2 + at
                many(
                    connection,
                    delete,
                    [(pipeline, *row[:key]) for row in before - wanted.keys()],
                )
                many(connection, insert, [(pipeline, *row) for row in wanted if row not in before])

    def elements_of(self, pipeline: str, event_uuid: str, ids: Iterable[str]) -> Rows:
        """The elements of some objects in an event: `uuid`, `id`, `kind`, `type`, `value`."""
        wanted = set(ids)
        sql = (
            "SELECT uuid, id, kind, type, value FROM elements"
            " WHERE pipeline = :pipeline AND event = :event"
        )
        rows = self._database.rows(sql, pipeline=pipeline, event=event_uuid) if wanted else []
        return [row for row in rows if row["id"] in wanted]

    def attribute_count(self, pipeline: str) -> int:
        """How many attributes a pipeline has in its events."""
        sql = (
            "SELECT count(*) FROM (SELECT DISTINCT event, uuid FROM elements WHERE "
            "pipeline = :pipeline)"
        )
        return int(self._database.scalar(sql, pipeline=pipeline))

    # for `find`

    def ids_matching(self, text_: str) -> set[str]:
        """Return the STIX ids of the objects that a text identifies.

        The text is an id, a value, half of a composite value, or the UUID of an event or element.
        """
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
        """A value as it stands in what was delivered, whatever the case.

        Empty where nothing has it.
        """
        sql = "SELECT DISTINCT value FROM elements WHERE value IN (:value, :lower)"
        rows = self._database.rows(sql, value=value, lower=value.lower())
        return sorted(row["value"] for row in rows)

    # what pipelines have in common

    def shared_values(self, least: int) -> Rows:
        """Values that several pipelines deliver: `value`, `types`, `pipelines`, `events`.

        The most shared first.
        """
        rows = self._database.rows(SHARED_VALUES, least=least)
        for row in rows:
            row["types"] = sorted(row["types"].split(","))
            row["pipelines"] = sorted(row["pipelines"].split(","))
        return rows

    def common_counts(self) -> Rows:
        """Of each two pipelines, how many values they have in common, and how many each has."""
        return self._database.rows(COMMON_COUNTS)
