"""The store: one SQLite file in WAL mode. Every public method is one transaction, or reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import text

from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.tables import LINK_TYPES
from stixbridge.stix.reader import Entry
from stixbridge.store.codec import pack, unpack
from stixbridge.store.database import Rows, in_slices, listed
from stixbridge.store.module_cache import Answers
from stixbridge.store.statements import (
    BURY,
    DAYS,
    FORGET_RUNS,
    INSERT_ALIAS,
    INSERT_ELEMENT,
    INSERT_NOTE,
    INSERT_PLACEMENT,
    INSIDE,
    INTEND,
    JOINING,
    LAST_SEQ,
    OF_TYPES,
    REFERRERS,
    SET_ASIDE,
    UPSERT_DELIVERY,
    UPSERT_PROGRESS,
    UPSERT_WANTED,
)
from stixbridge.store.suppression import Suppression


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where the delivery of an event stands (`stixbridge.sinks.base.State`), and what was delivered."""

    state: str
    body: dict[str, Any]
    digest: bytes
    published: bool = False
    intents: tuple[dict[str, Any], ...] = ()
    """Edits that were begun since, and whose end is not known."""


_ENDS_AT_ONCE = 200


class Store(Suppression):
    """The store of one configuration; made and opened as a `Database`.

    Attributes:
        history: microseconds for which pages and runs are remembered; None for ever.
    """

    history: int | None = None

    # what is to be done

    def progress(self, pipeline: str) -> tuple[int, int]:
        """(seq up to which a pipeline has delivered everything, time up to which it has looked for expiry)."""
        row = self._rows(
            "SELECT seq, expiry FROM progress WHERE pipeline = :pipeline", pipeline=pipeline
        )
        return (row[0]["seq"], row[0]["expiry"]) if row else (0, 0)

    def set_progress(self, pipeline: str, seq: int, expiry: int) -> None:
        """Record that everything up to a seq has been delivered."""
        with self._transaction() as connection:
            connection.execute(
                text(UPSERT_PROGRESS), {"pipeline": pipeline, "seq": seq, "expiry": expiry}
            )

    def last_seq(self, source: str) -> int:
        """The highest seq of a source."""
        return int(self._scalar(LAST_SEQ, source=source))

    def changed(self, source: str, after: int) -> list[str]:
        """Ids of objects changed after a seq, in the order they came."""
        sql = "SELECT id FROM objects WHERE source = :source AND seq > :after ORDER BY seq"
        return [row["id"] for row in self._rows(sql, source=source, after=after)]

    def groups(
        self, source: str, types: Sequence[str]
    ) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Each object of some types, in the order they came, with (id, type) of what its event is made of.

        That is what it refers to, the relationships from there, and their other ends.
        """
        for row in self._rows(OF_TYPES, source=source, types=listed(list(types))):
            inside = self._rows(INSIDE, source=source, id=row["id"])
            yield row["id"], [(one["id"], one["type"]) for one in inside]

    def days_of_changed(self, source: str, ids: set[str]) -> Iterator[set[str]]:
        """Some objects, those of one day together, in order of the days: of their version, else of their arrival.

        Links go by themselves, in the order they came: they are in the events of their ends.
        """
        days: dict[int, set[str]] = {}
        links: list[tuple[int, str]] = []
        with self._transaction() as connection:
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
        return [row["id"] for row in self._rows(sql, source=source, after=after, until=until)]

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
            for row in self._rows(sql, source=source, after=after)
        ]

    # objects and references

    def load(self, source: str, ids: Iterable[str]) -> dict[str, tuple[dict[str, Any], int | None]]:
        """Objects by id, with the time the server got them; absent ones are left out."""
        found: dict[str, tuple[dict[str, Any], int | None]] = {}
        with self._transaction() as connection:
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
        with self._transaction() as connection:
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
        with self._transaction() as connection:
            for start in range(0, len(wanted), _ENDS_AT_ONCE):
                ends = listed(wanted[start : start + _ENDS_AT_ONCE])
                for rows in in_slices(
                    connection, JOINING, wanted, {"source": source, "ends": ends}
                ):
                    found.update(row[0] for row in rows)
        return found

    # placements

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
        with self._transaction() as connection:
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

    def seen(self, pipeline: str, ids: Iterable[str]) -> set[str]:
        """Those of some objects that are in an event that was delivered."""
        found: set[str] = set()
        with self._transaction() as connection:
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

    def sharing(self, pipeline: str, values: Iterable[str]) -> list[str]:
        """Ids of objects in collecting events that say one of some values in a lone attribute."""
        found: set[str] = set()
        with self._transaction() as connection:
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

    def place(self, pipeline: str, event_uuid: str, placements: Rows, elements: Rows) -> None:
        """Record what is in an event, in place of what was."""
        key = {"pipeline": pipeline, "event": event_uuid}
        with self._transaction() as connection:
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

    def place_also(self, pipeline: str, event_uuid: str, placements: Rows) -> None:
        """Record that objects are going to be in an event, beside what is in it."""
        key = {"pipeline": pipeline, "event": event_uuid}
        if placements:
            with self._transaction() as connection:
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
            for row in self._rows(sql, pipeline=pipeline, event=event_uuid)
            if row["id"] in wanted
        ]

    # dead letters

    def set_aside(self, pipeline: str, source: str) -> dict[str, Reason]:
        """Objects that are left out: no conversion of a pipeline gets through them, or they were taken back."""
        rows = self._rows(SET_ASIDE, pipeline=pipeline, source=source)
        return {row["id"]: Reason(row["reason"]) for row in rows}

    def bury(self, pipeline: str, source: str, id_: str, error: str, moment: int) -> None:
        """Put an object aside that a conversion fails on; a newer version of it is tried."""
        self.execute(
            BURY, pipeline=pipeline, source=source, id=id_, error=error[:500], since=moment
        )

    def exhume(self, pipeline: str, id_: str) -> None:
        """Let an object that was put aside be converted again: it counts as changed."""
        with self._transaction() as connection:
            connection.execute(
                text("DELETE FROM dead WHERE pipeline = :pipeline AND id = :id"),
                {"pipeline": pipeline, "id": id_},
            )
            for (source,) in connection.execute(
                text("SELECT source FROM objects WHERE id = :id"), {"id": id_}
            ).all():
                seq = connection.execute(text(LAST_SEQ), {"source": source}).scalar_one()
                connection.execute(
                    text("UPDATE objects SET seq = :seq WHERE source = :source AND id = :id"),
                    {"seq": seq + 1, "source": source, "id": id_},
                )

    def answers(self) -> Answers:
        """What modules answered."""
        return Answers(self)

    # deliveries

    def want(
        self, sink: str, event_uuid: str, pipeline: str, body: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Record what a pipeline wants an event to be; returns what all pipelines want, in order of their names."""
        with self._transaction() as connection:
            connection.execute(
                text(UPSERT_WANTED),
                {"sink": sink, "event": event_uuid, "pipeline": pipeline, "body": pack(body)},
            )
            rows = connection.execute(
                text(
                    "SELECT body FROM wanted WHERE sink = :sink AND event = :event ORDER BY pipeline"
                ),
                {"sink": sink, "event": event_uuid},
            )
            return [unpack(row[0]) for row in rows]

    def delivered(self, sink: str, event_uuid: str) -> Delivered | None:
        """Where the delivery of an event stands, or None."""
        rows = self._rows(
            "SELECT state, body, digest, published, intent FROM deliveries WHERE sink = :sink AND event = :event",
            sink=sink,
            event=event_uuid,
        )
        if not rows:
            return None
        row = rows[0]
        intents = tuple(unpack(row["intent"])["edits"]) if row["intent"] is not None else ()
        return Delivered(
            row["state"], unpack(row["body"]), row["digest"], bool(row["published"]), intents
        )

    def intend(self, sink: str, event_uuid: str, edits: Sequence[Mapping[str, Any]]) -> None:
        """Record edits that are about to be sent; `set_delivered` forgets them."""
        intent = pack({"edits": list(edits)})
        self.execute(INTEND, sink=sink, event=event_uuid, intent=intent, none=b"")

    def carries(self, sink: str, uuid: str) -> bool:
        """Whether an event in a sink is one that was delivered there, or carries one."""
        sql = """
        SELECT 1 FROM deliveries WHERE sink = :sink AND event = :uuid
        UNION ALL SELECT 1 FROM aliases WHERE sink = :sink AND uuid = :uuid
        """
        return bool(self._rows(sql, sink=sink, uuid=uuid))

    def knows(self, sink: str) -> bool:
        """Whether anything was ever delivered to a sink."""
        return bool(self._rows("SELECT 1 FROM deliveries WHERE sink = :sink LIMIT 1", sink=sink))

    def set_delivered(
        self,
        sink: str,
        event_uuid: str,
        state: str,
        body: Mapping[str, Any],
        *,
        moment: int,
        digest: bytes = b"",
        published: bool = False,
        notes: Sequence[tuple[str | None, Outcome, Reason, str | None]] = (),
        aliases: Sequence[str] = (),
    ) -> None:
        """Record where a delivery stands, and what is to be said about it (in place of what was said before).

        Args:
            sink: its name.
            event_uuid: of the event.
            state: a `State`.
            body: what is there, or is about to be.
            moment: microseconds.
            digest: of what is wanted.
            published: whether we published it.
            notes: what is to be said.
            aliases: UUIDs of further events in the sink that carry it.
        """
        key = {"sink": sink, "event": event_uuid}
        with self._transaction() as connection:
            connection.execute(
                text(UPSERT_DELIVERY),
                {
                    **key,
                    "state": state,
                    "digest": digest,
                    "body": pack(body),
                    "info": str(body.get("info", "")),
                    "published": int(published),
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
        """Events that a pipeline wants in a sink and whose delivery was cut or held."""
        sql = """
        SELECT d.event FROM deliveries d JOIN wanted w ON w.sink = d.sink AND w.event = d.event
        WHERE d.sink = :sink AND w.pipeline = :pipeline AND d.state IN ('adding', 'waiting', 'held', 'deleting')
        ORDER BY +d.event
        """
        return [row["event"] for row in self._rows(sql, sink=sink, pipeline=pipeline)]

    def wanted(self, sink: str, event_uuid: str, *, but: str = "") -> list[dict[str, Any]]:
        """What all pipelines, or all but one, want an event to be, in order of their names."""
        rows = self._rows(
            "SELECT body FROM wanted WHERE sink = :sink AND event = :event AND pipeline <> :but ORDER BY pipeline",
            sink=sink,
            event=event_uuid,
            but=but,
        )
        return [unpack(row["body"]) for row in rows]

    # runs and questions

    def begin_run(self, pipeline: str, moment: int) -> int:
        """Open a run; returns its number."""
        with self._transaction() as connection:
            result = connection.execute(
                text("INSERT INTO runs (pipeline, started) VALUES (:pipeline, :started)"),
                {"pipeline": pipeline, "started": moment},
            )
            return int(result.lastrowid)

    def run_polls(self, number: int, source: str, before: int) -> None:
        """Record that a run is about to poll a source; what one brought that was cut ends here."""
        with self._transaction() as connection:
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

    def run_brought(self, number: int, after: int) -> None:
        """Record up to where what the poll of a run brought goes."""
        self.execute(
            "UPDATE runs SET seq_after = :after WHERE number = :number", after=after, number=number
        )

    def attribute_count(self, pipeline: str) -> int:
        """How many attributes a pipeline has in its events."""
        sql = "SELECT count(*) FROM (SELECT DISTINCT event, uuid FROM elements WHERE pipeline = :pipeline)"
        return int(self._scalar(sql, pipeline=pipeline))

    def end_run(self, number: int, moment: int, summary: Mapping[str, Any]) -> None:
        """Close a run."""
        with self._transaction() as connection:
            connection.execute(
                text(
                    "UPDATE runs SET finished = :finished, summary = :summary WHERE number = :number"
                ),
                {"finished": moment, "summary": orjson.dumps(summary).decode(), "number": number},
            )

    def forget_history(self, moment: int) -> None:
        """Forget pages, runs but the last of each pipeline, and answers of modules that are older than `history`."""
        if self.history is None:
            return
        before = moment - self.history
        with self._transaction() as connection:
            connection.execute(
                text("DELETE FROM pages WHERE received < :before"), {"before": before}
            )
            connection.execute(
                text("DELETE FROM answers WHERE asked < :before"), {"before": before // 1_000_000}
            )
            connection.execute(text(FORGET_RUNS), {"before": before})
