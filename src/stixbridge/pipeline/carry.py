"""Edits of analysts at a value that moves from one event to another go with the value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stixbridge.misp.model import MispEvent
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import OURS, Job
from stixbridge.sinks.fields import Part, rank_of, rows_of, wider
from stixbridge.sinks.withdrawal import parts, takes_away

_Value = tuple[str, str]
"""Type and value of an attribute: it has another UUID in another event."""
_WITHDRAWING = ("to_ids", "deleted")
"""Edits that take something away: they hold for any readers."""


def carry_edits(sink: Sink, jobs: Iterable[Job]) -> None:
    """Give jobs the edits of analysts at values that come from other events (`Job.inherited`).

    Args:
        sink: asked for the edits.
        jobs: changed.
    """
    jobs = list(jobs)
    leaving = [(job, rows) for job in jobs if (rows := _leaving(job))]
    values = {value for _, rows in leaving for value in rows.values()}
    arriving = _arriving(jobs, values) if values else {}
    for job, rows in leaving:
        moved = {uuid: value for uuid, value in rows.items() if value in arriving}
        if job.last is not None and moved:
            edits = sink.analyst_edits(job.last.delivered, set(moved))
            for uuid, fields in edits.items():
                _give(fields, job.last.body, arriving[moved[uuid]])


def _give(fields: Mapping[str, Any], before: MispEvent, targets: Iterable[tuple[Job, str]]) -> None:
    """Give the edits at one value to the jobs that it moves to."""
    for job, uuid in targets:
        kept = _for_readers(fields, job.event, before)
        if kept:
            job.inherited[uuid] = kept


def _leaving(job: Job) -> dict[str, _Value]:
    """The attributes that leave the event of a job: UUID -> value."""
    if job.last is None or job.last.state not in OURS or not takes_away(job):
        return {}
    wanted = parts(job.event)
    rows = rows_of(job.last.body, "Attribute")
    return {str(row["uuid"]): _value(row) for row in rows if str(row["uuid"]) not in wanted}


def _arriving(jobs: Iterable[Job], values: set[_Value]) -> dict[_Value, list[tuple[Job, str]]]:
    """The jobs that some values are new in, and the UUIDs that they have there."""
    arriving: dict[_Value, list[tuple[Job, str]]] = {}
    for job in jobs:
        known = parts(job.last.body) if job.last is not None else set()
        for row in rows_of(job.event, "Attribute"):
            if _value(row) in values and str(row["uuid"]) not in known:
                arriving.setdefault(_value(row), []).append((job, str(row["uuid"])))
    return arriving


def _value(row: Part) -> _Value:
    return str(row["type"]), str(row["value"])


def _for_readers(edits: Mapping[str, Any], event: MispEvent, before: MispEvent) -> dict[str, Any]:
    """The edits that the readers of another event may see.

    Args:
        edits: of one attribute.
        event: that the value moves to.
        before: that it comes from: its readers could see them.
    """
    more_readers = rank_of(event) < rank_of(before) or wider(
        event.get("distribution"), before.get("distribution")
    )
    return {
        name: value for name, value in edits.items() if not more_readers or name in _WITHDRAWING
    }
