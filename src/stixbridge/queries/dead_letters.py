"""Dead letters: entries, objects and events that can't be processed. Each has a key.

- `entry:SOURCE/DIGEST`: an entry of a source that is not a usable STIX object.
- `object:PIPELINE/ID`: an object that the conversion fails on because of a fault in stixbridge.
- `event:SINK/UUID`: an event that a sink refused, that somebody else created, or that was deleted
  there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stixbridge import times
from stixbridge.errors import ConfigError
from stixbridge.sinks.delivery import State
from stixbridge.store import Store

_PASSED_BY = (State.REFUSED, State.FOREIGN, State.BLOCKED)
"""States of events that no run changes by itself."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter.

    Attributes:
        key: `entry:…`, `object:…` or `event:…`.
        what: a title, a place or a type.
        reason: why it can't be processed.
        since: when this was found, as text; empty if it is unknown.
    """

    key: str
    what: str
    reason: str
    since: str = ""


def dead_letters(store: Store, *, settled: bool = False) -> list[DeadLetter]:
    """Return the dead letters.

    Args:
        store: the store of the configuration.
        settled: whether to include those that a person dropped.
    """
    letters = [
        DeadLetter(
            f"entry:{row['source']}/{row['digest']}",
            f"{row['collection']} {row['path']}",
            row["reason"],
        )
        for row in store.quarantine.entries(settled=settled)
    ]
    letters += [
        DeadLetter(
            f"object:{row['pipeline']}/{row['id']}", "", row["error"], times.to_text(row["since"])
        )
        for row in store.quarantine.objects(settled=settled)
    ]
    for row in store.quarantine.events(_PASSED_BY, settled=settled):
        reason = "; ".join(filter(None, (row["state"], row["note"])))
        key = f"event:{row['sink']}/{row['event']}"
        letters.append(DeadLetter(key, row["info"], reason, times.to_text(row["updated"])))
    return letters


def show(store: Store, key: str) -> dict[str, Any]:
    """Return a dead letter with all its data.

    Raises:
        ConfigError: no dead letter has this key.
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
        shown["object"] = {
            source: store.objects.load(source, [id_])[id_][0]
            for source in store.objects.sources_of(id_)
        }
    if kind == "event":
        delivery = store.deliveries.delivered(place, id_)
        shown["event"] = delivery.delivered.body if delivery is not None else None
        shown["notes"] = [
            {key: note[key] for key in ("id", "reason", "target")}
            for note in store.deliveries.notes_of_event(id_)
            if note["sink"] == place
        ]
    return shown


def retry(store: Store, key: str) -> str:
    """Let the next run try a dead letter again; return a description of the effect.

    Raises:
        ConfigError: no dead letter has this key.
    """
    _letter(store, key)
    kind, place, id_ = _split(key)
    if kind == "entry":
        store.quarantine.forget_entry(place, id_)
        return "forgotten; it is read again when the source sends it again"
    if kind == "object":
        store.quarantine.release(place, id_)
        return "the next run converts it again"
    store.quarantine.offer_again(place, id_, State.HELD)
    return "the next run delivers it again"


def drop(store: Store, key: str) -> str:
    """Drop a dead letter for good; return a description of the effect.

    Raises:
        ConfigError: no dead letter has this key.
    """
    _letter(store, key)
    kind, place, id_ = _split(key)
    quarantine = store.quarantine
    settle = {
        "entry": quarantine.settle_entry,
        "object": quarantine.settle_object,
        "event": quarantine.settle_event,
    }
    settle[kind](place, id_)
    return "stays out; no longer listed"


def _letter(store: Store, key: str) -> DeadLetter:
    for letter in dead_letters(store, settled=True):
        if letter.key == key:
            return letter
    raise ConfigError(f"there is no dead letter {key!r}; stixbridge dead-letters lists them")


def _split(key: str) -> tuple[str, str, str]:
    kind, _, rest = key.partition(":")
    # an id may contain a slash; a UUID or digest does not
    place, _, id_ = rest.partition("/") if kind == "object" else rest.rpartition("/")
    return kind, place, id_
