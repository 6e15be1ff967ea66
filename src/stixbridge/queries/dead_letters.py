"""Dead letters: what can't pass, by itself or by a person's word. Entries, objects and events, each with a key.

- `entry:SOURCE/DIGEST`: an entry of a source that is no usable STIX object.
- `object:PIPELINE/ID`: an object that the conversion fails on, by an error of its own.
- `event:SINK/UUID`: an event that a sink refused, that is someone else's, or that was deleted there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from stixbridge import times
from stixbridge.errors import ConfigError
from stixbridge.sinks.base import State
from stixbridge.store import Store

_PASSED_BY = (State.REFUSED, State.FOREIGN, State.BLOCKED)
"""States of events that no run takes up again by itself."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter.

    Attributes:
        key: `entry:…`, `object:…` or `event:…`.
        what: a title, a place or a type.
        reason: why it can't pass.
        since: when that was found, as text; empty where it is not known.
    """

    key: str
    what: str
    reason: str
    since: str = ""


def letters(store: Store, *, settled: bool = False) -> list[Letter]:
    """All dead letters that nobody has settled.

    Args:
        store: from `wiring.open_store`.
        settled: those too that were dropped by a person.
    """
    found = [
        Letter(
            f"entry:{row['source']}/{row['digest']}",
            f"{row['collection']} {row['path']}",
            row["reason"],
        )
        for row in store.query(_ENTRIES, settled=int(settled))
    ]
    found += [
        Letter(
            f"object:{row['pipeline']}/{row['id']}", "", row["error"], times.to_text(row["since"])
        )
        for row in store.query(_OBJECTS, settled=int(settled))
    ]
    states = orjson.dumps(_PASSED_BY).decode()
    for row in store.query(_EVENTS, settled=int(settled), states=states):
        reason = "; ".join(filter(None, (row["state"], row["told"])))
        key = f"event:{row['sink']}/{row['event']}"
        found.append(Letter(key, row["info"], reason, times.to_text(row["updated"])))
    return found


def show(store: Store, key: str) -> dict[str, Any]:
    """A dead letter with all that is known of it.

    Raises:
        ConfigError: when there is none of this key.
    """
    letter = _letter(store, key)
    shown: dict[str, Any] = {
        "key": letter.key,
        "what": letter.what,
        "reason": letter.reason,
        "since": letter.since,
    }
    kind, place, id_ = _split(key)
    if kind == "object":
        row = store.query("SELECT DISTINCT source FROM objects WHERE id = :id", id=id_)
        shown["object"] = {
            source["source"]: store.load(source["source"], [id_])[id_][0] for source in row
        }
    if kind == "event":
        held = store.delivered(place, id_)
        shown["event"] = held.body if held is not None else None
        shown["notes"] = store.query(
            "SELECT id, reason, target FROM notes WHERE sink = :sink AND event = :event ORDER BY number",
            sink=place,
            event=id_,
        )
    return shown


def retry(store: Store, key: str) -> str:
    """Let the next run try a dead letter again; returns what will happen.

    Raises:
        ConfigError: when there is none of this key.
    """
    _letter(store, key)
    kind, place, id_ = _split(key)
    if kind == "entry":
        store.execute(
            "UPDATE rejects SET settled = 2 WHERE source = :source AND digest = :digest",
            source=place,
            digest=id_,
        )
        return "forgotten; it is read anew when the source sends it again"
    if kind == "object":
        store.exhume(place, id_)
        return "the next run converts it again"
    store.execute(
        "UPDATE deliveries SET state = :state, settled = 0 WHERE sink = :sink AND event = :event",
        state=State.HELD,
        sink=place,
        event=id_,
    )
    return "the next run delivers it again"


def drop(store: Store, key: str) -> str:
    """Settle a dead letter: it stays out, and is listed no longer; returns what that means.

    Raises:
        ConfigError: when there is none of this key.
    """
    _letter(store, key)
    kind, place, id_ = _split(key)
    store.execute(_DROP[kind], place=place, id=id_)
    return "stays out; no longer listed"


def _letter(store: Store, key: str) -> Letter:
    for letter in letters(store, settled=True):
        if letter.key == key:
            return letter
    raise ConfigError(f"no dead letter {key!r}; stixbridge dead-letters lists them")


def _split(key: str) -> tuple[str, str, str]:
    kind, _, rest = key.partition(":")
    # an id may have a slash in it, a UUID or digest has none
    place, _, id_ = rest.partition("/") if kind == "object" else rest.rpartition("/")
    return kind, place, id_


_ENTRIES = """
SELECT source, digest, path, reason, collection FROM rejects WHERE settled <= :settled ORDER BY source, seq, digest
"""
_OBJECTS = """
SELECT pipeline, id, error, since FROM dead d WHERE settled <= :settled
AND EXISTS (SELECT 1 FROM objects o WHERE o.id = d.id AND o.seq = d.seq) ORDER BY pipeline, id
"""
_EVENTS = """
SELECT d.sink, d.event, d.state, d.info, d.updated,
  (SELECT n.target FROM notes n WHERE n.sink = d.sink AND n.event = d.event ORDER BY n.number LIMIT 1) AS told
FROM deliveries d WHERE settled <= :settled AND d.state IN (SELECT value FROM json_each(:states))
ORDER BY d.sink, d.event
"""
_DROP = {
    "entry": "UPDATE rejects SET settled = 1 WHERE source = :place AND digest = :id",
    "object": "UPDATE dead SET settled = 1 WHERE pipeline = :place AND id = :id",
    "event": "UPDATE deliveries SET settled = 1 WHERE sink = :place AND event = :id",
}
