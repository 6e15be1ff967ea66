"""The state of collections, deliveries and pipelines, from the store alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson

from stixbridge import times
from stixbridge.config.reader import Config
from stixbridge.queries.dead_letters import dead_letters
from stixbridge.store import Store


def status(config: Config, store: Store) -> dict[str, Any]:
    """Return the state of collections and deliveries, and the last run of each pipeline."""
    collections = store.sources.collections()
    for row in collections:
        row["lag"] = _lag(row["polled"], row["watermark"])
        row["polled"] = times.to_text(row["polled"]) if row["polled"] is not None else None
    pipelines = []
    for name, settings in config.pipelines.items():
        last = store.runs.last(name)
        summary = orjson.loads(last["summary"]) if last and last["summary"] else {}
        pipelines.append(
            {
                "pipeline": name,
                "last_run": times.to_text(last["started"]) if last else None,
                "number": last["number"] if last else None,
                "brought": store.runs.with_objects(name),
                "finished": bool(last and last["finished"]),
                "next_run": times.to_text(last["started"] + times.duration(settings.every))
                if last
                else None,
                "events": summary.get("events", {}),
                "errors": summary.get("errors", []),
            }
        )
    return {
        "store": store.path,
        "collections": collections,
        "sources": store.sources.count_by_source(),
        "deliveries": store.deliveries.count_by_state(),
        "notes": store.deliveries.count_notes(),
        "rejects": store.sources.count_rejects(),
        "pipelines": pipelines,
        "dead_letters": len(dead_letters(store)),
    }


def _lag(polled: int | None, watermark: str | None) -> str | None:
    """Return the time from the newest object to the last poll, as `3 days, 4:05:06`."""
    moment = times.read(watermark)
    if polled is None or moment is None:
        return None
    return str(timedelta(seconds=max(0, polled - moment) // 1_000_000))
