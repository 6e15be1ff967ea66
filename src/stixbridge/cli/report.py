"""The end of a run, for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stixbridge.cli.screen import count_of, emit, emit_bytes, tell_bad
from stixbridge.ledger import counted

if TYPE_CHECKING:
    from stixbridge.pipeline.summary import Summary

_LINES = 40
_REFUSED = 10
"""Different refusals of settings that are shown; --json has them all."""
_SECONDS_AN_ATTRIBUTE = 0.003
"""How long a MISP takes to store an attribute, as measured."""
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


def show(summaries: Sequence[Summary], *, dry_run: bool, as_json: bool) -> None:
    """Print the results of some runs.

    Args:
        summaries: a result for each pipeline.
        dry_run: whether nothing was written.
        as_json: print JSON in place of text.
    """
    import orjson

    if as_json:
        rows = [summary.to_dict() for summary in summaries]
        emit_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        return
    for summary in summaries:
        _show_run(summary, dry_run)


def _show_run(summary: Summary, dry_run: bool) -> None:
    ledger = summary.ledger
    emit(f"{summary.pipeline}: {_pulled(summary)}")
    if ledger.objects:
        emit(f"  objects  {counted(ledger.outcomes)}")
        if ledger.reasons:
            emit(f"  reasons  {counted(ledger.reasons)}")
    emit(f"  events   {'would be ' if dry_run else ''}{counted(summary.events)}")
    if dry_run:
        _show_volume(summary)
        _show_changes(summary)
    _show_notes(summary)
    tell_bad(ledger.invalid, emit)
    for error in summary.errors:
        emit(f"  error    {error}")


def _pulled(summary: Summary) -> str:
    """How much came in; a run that asks no source, as `undo`, has no pages."""
    changed = f"{summary.changed} new or newer"
    if not summary.pages:
        return changed
    entries = count_of(summary.entries, "entry", "entries")
    return f"{entries} in {count_of(summary.pages, 'page')}, {changed}"


def _show_volume(summary: Summary) -> None:
    """How much a dry run would send."""
    volume = summary.volume
    new = {key.removeprefix("new "): volume[key] for key in volume if key.startswith("new ")}
    sent = {key: count for key, count in volume.items() if not key.startswith("new ")}
    needed = _time(volume.get("attributes", 0) * _SECONDS_AN_ATTRIBUTE)
    missing = f"; new in the sink: {counted(new)}" if new else ""
    emit(f"  sends    {counted(sent)}; a MISP needs about {needed} for that{missing}")


def _show_changes(summary: Summary) -> None:
    """The changes that a dry run would make."""
    for sink, delivery in summary.deliveries:
        if delivery.changes:
            emit(f"  {sink}: {delivery.action} {delivery.event} {delivery.body.get('info', '')}")
            for line in delivery.changes[:_LINES]:
                emit(f"    {line}", colour=_COLOURS.get(line[:1]))
            if len(delivery.changes) > _LINES:
                emit(f"    … and {len(delivery.changes) - _LINES} more; --json lists them all")


def _show_notes(summary: Summary) -> None:
    """Refusals of sinks, settings and rules."""
    refused: Counter[str] = Counter()
    for entry in summary.ledger.notes:
        path = entry.get("path", "")
        if "target" not in entry:
            continue
        if ": " in path:
            emit(f"  note     {path}: {entry['reason']}: {entry['target']}")
        elif path.startswith("enrich."):
            refused[entry["target"]] += 1
    for text, events in refused.most_common(_REFUSED):
        emit(f"  note     {text} ({count_of(events, 'event')})")


def _time(seconds: float) -> str:
    """A time as a person writes it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
