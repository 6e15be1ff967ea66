"""Made events as a sink is to have them."""

from __future__ import annotations

from collections.abc import Mapping

from stixbridge import tlp
from stixbridge.envelopes import Wanted
from stixbridge.misp.model import Converted, level_of
from stixbridge.sinks.base import Sink
from stixbridge.sinks.fields import VALUES, Part, in_lists, rows_of
from stixbridge.sinks.withdrawal import CLOSED, withdrawn
from stixbridge.store.deliveries import DeliveryRow

MadeEvents = Mapping[str, Converted | None]
"""UUID of an event -> the event as it was made; None for one that nothing is in any more."""


def for_sink(sink: Sink, row: Converted | None) -> Converted | None:
    """An event as it is made for a sink.

    It is None where a rule routes it elsewhere; an event that was delivered before is withdrawn.
    """
    if row is not None and row.sinks is not None and sink.name not in row.sinks:
        return None
    return row


def wanted_of(row: Converted | None, last: DeliveryRow | None) -> Wanted | None:
    """An event as a pipeline wants it to be; None where there is to be none, and never was.

    Args:
        row: the event as it is made for the sink.
        last: how it was delivered before.
    """
    if row is None or row.dropped:
        return withdrawn(last.delivered) if last is not None else None
    # the name of a cluster tells what it is about
    public = not row.closed and level_of(row.event) != "red"
    return Wanted.of(
        row.event,
        restricted=row.closed,
        restricted_parts=row.restricted,
        clusters=row.clusters if public else (),
        publish=row.publish,
    )


def levels_in(row: Converted) -> dict[str, str | None]:
    """The TLP level that each object has in an event: STIX id -> level.

    It is `CLOSED` where a marking that is not a TLP level holds the object.
    """
    event = level_of(row.event)
    levels: dict[str, str | None] = dict.fromkeys(row.stix_ids, CLOSED if row.closed else event)
    for part in in_lists(row.event, VALUES):
        level = _level_of_part(part, event)
        for id_ in row.elements.get(str(part["uuid"]), ()):
            levels[id_] = _stricter(levels.get(id_), level)
    return levels


def _level_of_part(part: Part, event: str | None) -> str | None:
    """The level of a part, from its tags and those of its attributes; or `CLOSED`."""
    level = tlp.strictest(map(level_of, [part, *rows_of(part, "Attribute")]))
    is_restricted = part.get("distribution") == "0" and level in (None, event)
    return CLOSED if is_restricted else level


def _stricter(level: str | None, other: str | None) -> str | None:
    return CLOSED if CLOSED in (level, other) else tlp.strictest([level, other])
