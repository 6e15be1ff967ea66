"""Affected events in batches that fit into memory.

Batches made one after the other give the same events as all at once.

A batch is bounded by what its events are made of. Reports come first, so that nothing of them is
collected elsewhere; then the collecting events, each with what it holds and what is new in it.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stixbridge import times
from stixbridge.pipeline.affected import Affected, slices
from stixbridge.stix.references import parts
from stixbridge.store.store import ObjectStore

BATCH = 5_000
"""Objects after which a batch is closed."""
_AT_ONCE = 2_000
_DAYS_KEPT = 10_000
_LITERAL = re.compile(r"'((?:[^'\\]|\\.)*)'")


@dataclass(slots=True)
class Batch:
    """Events that are made together.

    Attributes:
        containers: ids of reports and the like.
        collecting: UUIDs of collecting events.
        loose: ids of objects that may go to a collecting event, besides what is in those.
    """

    containers: set[str] = field(default_factory=set)
    collecting: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)


class Packing:
    """Packs the events of one pipeline.

    Args (of the constructor):
        store: where the objects are.
        pipeline: its name.
        source: the name of its source.
        types: types that make events of their own.
        group: `day`, `creator`, or anything else where there is one collecting event.
        now: the reference time, microseconds.
    """

    def __init__(
        self,
        store: ObjectStore,
        pipeline: str,
        source: str,
        types: frozenset[str],
        group: str,
        now: int,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._source = source
        self._types = types
        self._group = group
        self._now = now
        self._days: dict[Any, str] = {}

    def batches(self, affected: Affected) -> list[Batch]:
        """The batches, in the order in which they are to be made."""
        events = self._store.placements.sizes(self._pipeline, affected.collecting)
        sizes = self._store.objects.sizes(self._source, affected.containers)
        total = sum(sizes.values()) + sum(size for _, size in events.values())
        if total + len(affected.loose) <= BATCH:
            batch = Batch(set(sizes), affected.collecting, affected.loose)
            return [batch] if batch.containers or batch.collecting or batch.loose else []
        batches = list(self._of_containers(sizes))
        batches.extend(self._of_collecting(events, affected.loose))
        return batches

    def _of_containers(self, sizes: Mapping[str, int]) -> Iterator[Batch]:
        """Containers with about as many objects each; those that are in each other are together."""
        joined = self._nested(sizes)
        done: set[str] = set()
        batch, size = Batch(), 0
        for id_ in sorted(sizes):
            waiting = [id_]
            while waiting:
                here = waiting.pop()
                if here in done or here not in sizes:
                    continue
                done.add(here)
                batch.containers.add(here)
                size += sizes[here] + 1
                waiting.extend(joined.get(here, ()))
            if size >= BATCH:
                yield batch
                batch, size = Batch(), 0
        if batch.containers:
            yield batch

    def _nested(self, containers: Iterable[str]) -> dict[str, set[str]]:
        """Which containers refer to which, in both directions."""
        joined: dict[str, set[str]] = {}
        for ids in slices(containers, _AT_ONCE):
            for id_, target in self._store.objects.targets(self._source, ids, self._types):
                joined.setdefault(id_, set()).add(target)
                joined.setdefault(target, set()).add(id_)
        return joined

    # collecting events

    def _of_collecting(
        self, events: Mapping[str, tuple[str, int]], loose: set[str]
    ) -> Iterator[Batch]:
        """Collecting events, each with the loose objects that are expected to go to it."""
        keys: dict[str, Batch] = {}
        sizes: dict[str, int] = {}
        for event, (day, size) in events.items():
            key = day or ("" if self._group != "creator" else event)
            keys.setdefault(key, Batch()).collecting.add(event)
            sizes[key] = sizes.get(key, 0) + size
        for key, id_ in self._keyed(sorted(loose)):
            keys.setdefault(key, Batch()).loose.add(id_)
            sizes[key] = sizes.get(key, 0) + 1
        batch, size = Batch(), 0
        for key in sorted(keys):
            batch.collecting |= keys[key].collecting
            batch.loose |= keys[key].loose
            size += sizes[key]
            if size >= BATCH:
                yield batch
                batch, size = Batch(), 0
        if batch.collecting or batch.loose:
            yield batch

    def _keyed(self, ids: list[str]) -> Iterator[tuple[str, str]]:
        """What objects are collected by, with their ids.

        Their day, that of the first that shares a value.

        This decides only which events are made together. The conversion looks at it more closely,
        and draws in what was missed.
        """
        if self._group not in ("day", "creator"):
            yield from (("", id_) for id_ in ids)
            return
        keys: list[str] = [""] * len(ids)
        marks, owners = array("q"), array("q")
        for start in range(0, len(ids), _AT_ONCE):
            piece = ids[start : start + _AT_ONCE]
            rows = self._store.objects.load(self._source, piece)
            for at, id_ in enumerate(piece, start):
                obj, added = rows.get(id_, ({}, None))
                keys[at] = self._key(obj, added)
                if self._group == "day":
                    for mark in (id_, *_marks(obj)):
                        marks.append(hash(mark))
                        owners.append(at)
        yield from zip(_joined(keys, marks, owners), ids, strict=True)

    def _key(self, obj: Mapping[str, Any], added: int | None) -> str:
        if self._group == "creator":
            return str(obj.get("created_by_ref"))
        text = obj.get("created")
        known = self._days.get(text) if isinstance(text, str) else None
        if known is not None:
            return known
        created = times.read(text)
        day = times.to_day(created if created is not None else added or self._now)
        if created is not None and len(self._days) < _DAYS_KEPT:
            self._days[text] = day
        return day


def _marks(obj: Mapping[str, Any]) -> Iterator[str]:
    """What brings objects into one event: the values that they have, and what they refer to."""
    pattern, value = obj.get("pattern"), obj.get("value")
    if isinstance(pattern, str):
        yield from _LITERAL.findall(pattern)
    if isinstance(value, str):
        yield value
    hashes = obj.get("hashes")
    if isinstance(hashes, dict):
        yield from (digest for digest in hashes.values() if isinstance(digest, str))
    yield from parts(obj)


def _joined(keys: list[str], marks: array[int], owners: array[int]) -> list[str]:
    """The keys of objects, where those that share a mark have the least of theirs."""
    parent = list(range(len(keys)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    last = -1
    for number in sorted(range(len(marks)), key=marks.__getitem__):
        if last >= 0 and marks[last] == marks[number]:
            first, second = root(owners[last]), root(owners[number])
            if first != second:
                parent[first] = second
                keys[second] = min(keys[first], keys[second])
        last = number
    return [keys[root(at)] for at in range(len(keys))]
