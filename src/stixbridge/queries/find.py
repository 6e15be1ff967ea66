"""`find` and `status`: answers from the store, with no server asked."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import orjson

from stixbridge import times
from stixbridge.config.build import make_maker
from stixbridge.config.model import Config
from stixbridge.queries.dead_letters import letters
from stixbridge.sinks.misp.foreign import place_of
from stixbridge.store import Store


def find(config: Config, store: Store, what: str) -> list[dict[str, Any]]:
    """Everything known about a STIX id, a value, or a MISP UUID.

    Args:
        config: for the pipelines' settings.
        store: from `wiring.open_store`.
        what: the id, value or UUID.

    Returns:
        A row for each STIX object found: `id`, `source`, `object`, `events` (each with its sinks and elements),
        `missing` (what was not carried over, and why) and `touched` (rules that changed it or its event).
    """
    half = re.sub(r"([\\%_])", r"\\\1", what)
    asked = {"what": what, "lower": what.lower(), "first": f"{half}|%", "second": f"%|{half}"}
    ids = {row["id"] for row in store.query(_BY_WHAT, **asked)}
    found: list[dict[str, Any]] = []
    for id_ in sorted(ids):
        for row in store.query(
            "SELECT source, version, seq FROM objects WHERE id = :id ORDER BY source", id=id_
        ):
            source = row["source"]
            obj, _ = store.load(source, [id_])[id_]
            pipelines = [
                name for name, settings in config.pipelines.items() if settings.source == source
            ]
            made = [_made(config, store, name, id_) for name in pipelines]
            found.append(
                {
                    "id": id_,
                    "source": source,
                    "type": obj["type"],
                    "name": obj.get("name") or obj.get("value") or "",
                    "revoked": obj.get("revoked") is True,
                    "modified": obj.get("modified") or obj.get("created") or "",
                    "events": [event for name in pipelines for event in _events(store, name, id_)],
                    "missing": [entry for missing, _ in made for entry in missing],
                    "touched": [entry for _, touched in made for entry in touched],
                }
            )
    return found


_BY_WHAT = r"""
SELECT id FROM objects WHERE id = :what
UNION SELECT id FROM elements WHERE value IN (:what, :lower) OR uuid = :lower
UNION SELECT id FROM elements WHERE type LIKE '%|%' AND (value LIKE :first ESCAPE '\' OR value LIKE :second ESCAPE '\')
UNION SELECT id FROM placements WHERE event = :lower
UNION SELECT p.id FROM aliases a JOIN placements p ON p.event = a.event WHERE a.uuid = :lower
"""


def _events(store: Store, pipeline: str, id_: str) -> list[dict[str, Any]]:
    events = []
    rows = store.query(
        "SELECT event, collecting FROM placements WHERE pipeline = :pipeline AND id = :id ORDER BY event",
        pipeline=pipeline,
        id=id_,
    )
    for row in rows:
        elements = store.query(
            "SELECT uuid, kind, type, value FROM elements WHERE pipeline = :pipeline AND event = :event AND id = :id"
            " ORDER BY uuid",
            pipeline=pipeline,
            event=row["event"],
            id=id_,
        )
        sinks = store.query(
            "SELECT sink, state, info, published FROM deliveries WHERE event = :event ORDER BY sink",
            event=row["event"],
        )
        uuids = {element["uuid"] for element in elements}
        for sink in sinks:
            # an event that is split has its parts in several, and one that was taken over has its own UUIDs
            held = store.delivered(sink["sink"], row["event"])
            body = held.body if held is not None else {"uuid": row["event"]}
            places = {uuid: place_of(body, uuid) for uuid in sorted(uuids)}
            sink["event"] = next((event for event, _ in places.values()), row["event"])
            sink["elements"] = {uuid: there for uuid, (_, there) in places.items() if there != uuid}
        notes = [
            note
            for note in store.query(
                "SELECT sink, id, reason, target FROM notes WHERE event = :event ORDER BY number",
                event=row["event"],
            )
            if note["id"] is None or note["id"] in uuids
        ]
        events.append(
            {
                "pipeline": pipeline,
                "event": row["event"],
                "elements": elements,
                "sinks": sinks,
                "notes": notes,
            }
        )
    return events


def _made(
    config: Config, store: Store, pipeline: str, id_: str
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """What a conversion of today does not carry over of an object, and which rules touch it; nothing is kept of it."""
    made = make_maker(config, store, pipeline, offline=True).make({id_}, [], times.now())
    missing = [
        {"pipeline": pipeline, **entry} for entry in made.ledger.entries if entry["id"] == id_
    ]
    touched = [
        {"pipeline": pipeline, "event": event, "rule": rule, "uuid": uuid, "action": action}
        for event, row in made.wanted.items()
        if row is not None and id_ in row.stix_ids
        for rule, uuid, action in row.touched
        if uuid == event or id_ in row.elements.get(uuid, ())
    ]
    return missing, touched


def status(config: Config, store: Store) -> dict[str, Any]:
    """How things stand: collections, deliveries, the last run of each pipeline."""
    collections = store.query(
        "SELECT source, collection, title, watermark, polled, error FROM cursors ORDER BY source, title, collection"
    )
    for row in collections:
        row["lag"] = _lag(row["polled"], row["watermark"])
        row["polled"] = times.to_text(row["polled"]) if row["polled"] is not None else None
    sources = store.query(
        "SELECT source, count(*) AS objects, count(vanished) AS vanished FROM objects GROUP BY source ORDER BY source"
    )
    deliveries = store.query(
        "SELECT sink, state, count(*) AS events FROM deliveries GROUP BY sink, state ORDER BY sink, state"
    )
    pipelines = []
    for name, settings in config.pipelines.items():
        rows = store.query(
            "SELECT number, started, finished, summary FROM runs WHERE pipeline = :name ORDER BY number DESC LIMIT 1",
            name=name,
        )
        last = rows[0] if rows else None
        summary = orjson.loads(last["summary"]) if last and last["summary"] else {}
        pipelines.append(
            {
                "pipeline": name,
                "last_run": times.to_text(last["started"]) if last else None,
                "number": last["number"] if last else None,
                "brought": store.query(_BROUGHT, name=name),
                "finished": bool(last and last["finished"]),
                "next_run": times.to_text(last["started"] + times.duration(settings.every))
                if last
                else None,
                "events": summary.get("events", {}),
                "errors": summary.get("errors", []),
            }
        )
    rejects = store.query(
        "SELECT source, collection, reason, count(*) AS count FROM rejects"
        " GROUP BY source, collection, reason ORDER BY source, collection, reason"
    )
    notes = store.query(
        "SELECT reason, count(*) AS count FROM notes GROUP BY reason ORDER BY reason"
    )
    return {
        "store": store.path,
        "collections": collections,
        "sources": sources,
        "deliveries": deliveries,
        "notes": notes,
        "rejects": rejects,
        "pipelines": pipelines,
        "dead_letters": len(letters(store)),
    }


_BROUGHT = """
SELECT number, started, seq_after - seq_before AS objects,
  EXISTS (SELECT 1 FROM undone u WHERE u.run = runs.number) AS undone
FROM runs
WHERE pipeline = :name AND seq_after > seq_before ORDER BY number DESC LIMIT 10
"""


def _lag(polled: int | None, watermark: str | None) -> str | None:
    """How far behind its last poll the newest thing of a collection is, as `3 days, 4:05:06`."""
    moment = times.read(watermark)
    if polled is None or moment is None:
        return None
    return str(timedelta(seconds=max(0, polled - moment) // 1_000_000))
