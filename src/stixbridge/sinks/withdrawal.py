"""What leaves an event: which jobs take something away, what stays until it has arrived elsewhere, what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import Delivered, Wanted
from stixbridge.misp.model import MispEvent, level_of, set_level
from stixbridge.sinks.delivery import Job

CLOSED = "closed"
"""In place of a TLP level: a marking that is not a TLP level."""


def parts(event: Mapping[str, Any]) -> set[str]:
    """UUIDs of all parts of an event: attributes, objects with theirs, references, reports."""
    found: set[str] = set()
    for name in ("Attribute", "Object", "EventReport"):
        for part in event.get(name) or []:
            found.add(str(part["uuid"]))
            for inner in ("Attribute", "ObjectReference"):
                found.update(str(row["uuid"]) for row in part.get(inner) or [])
    return found


WITHDRAWN = "[withdrawn] "
"""Put before the title of an event that has nothing in it any more."""


def takes_away(job: Job) -> int:
    """0 for a job that only adds or changes, 1 for one that takes parts away too, 2 for one that only does that."""
    if job.last is None:
        return 0
    now, before = parts(job.event), parts(job.last.body)
    return bool(before - now) + (bool(before - now) and not now - before)


def put_back(job: Job, elements: list[dict[str, Any]], levels: Mapping[str, str | None]) -> None:
    """Let some elements stay in an event that they would leave, as strictly marked as where they were to go.

    Args:
        job: of that event; changed.
        elements: rows with the `uuid` and the `id` of the STIX object of an attribute.
        levels: STIX id -> the TLP level that it has by now, or `CLOSED`.
    """
    if job.last is None:
        return
    ids: dict[str, set[str]] = {}
    for element in elements:
        ids.setdefault(str(element["uuid"]), set()).add(str(element["id"]))
    event = dict(job.event)
    for name in ("Attribute", "Object"):
        wanted = {str(part["uuid"]) for part in event.get(name) or []}
        back = []
        for part in job.last.body.get(name) or []:
            inside = {str(row["uuid"]) for row in (part, *(part.get("Attribute") or ()))}
            if str(part["uuid"]) not in wanted and inside & ids.keys():
                of = set().union(*(ids[uuid] for uuid in inside & ids.keys()))
                own = {levels[id_] for id_ in of & levels.keys()}
                back.append(staying_in(event, part, own | {level_of(job.last.body)}))
        if back:
            event[name] = [*(event.get(name) or []), *back]
            event["info"] = str(event["info"]).removeprefix(WITHDRAWN)
    job.wanted = replace(job.wanted, event=event)


def staying_in(event: MispEvent, part: dict[str, Any], levels: set[str | None]) -> dict[str, Any]:
    """A part that stays in an event for now: at distribution 0 and with its tag where it is stricter than the event.

    Args:
        event: as it shall be.
        part: as it was delivered.
        levels: the TLP levels that it has: where it was, and where it is to go; `CLOSED` for one that is no level.
    """
    inner = part.get("Attribute") or ()
    level = tlp.strictest([*(levels - {CLOSED}), level_of(part), *map(level_of, inner)])
    holds = level_of(event)
    stricter = level is not None and tlp.RANK[level] > (
        tlp.RANK[holds] if holds is not None else -1
    )
    if not stricter and CLOSED not in levels:
        return part
    copy = {**part, "distribution": "0"}
    if inner:
        copy["Attribute"] = [staying_in(event, row, levels) for row in inner]
    elif stricter and level is not None:
        set_level(copy, level)
    return copy


def narrowed(base: MispEvent, wanted: MispEvent) -> MispEvent:
    """What was delivered, at distribution 0 wherever it shall be stricter by now: for as long as a tag can't be stored.

    Args:
        base: what was delivered.
        wanted: what it shall be.
    """
    kept: MispEvent = dict(base)
    if _stricter(wanted, base):
        kept["distribution"] = "0"
    for name in ("Attribute", "Object", "EventReport"):
        if base.get(name):
            rows = {str(row["uuid"]): row for row in wanted.get(name) or ()}
            kept[name] = [narrowed(part, rows.get(str(part["uuid"]), part)) for part in base[name]]
    return kept


def _stricter(wanted: MispEvent, base: MispEvent) -> bool:
    level, before = level_of(wanted), level_of(base)
    if level is not None and tlp.RANK[level] > (tlp.RANK[before] if before is not None else -1):
        return True
    return wanted.get("distribution") == "0" != base.get("distribution")


def emptied(body: MispEvent, *, keep: tuple[str, ...] = ("Tag",)) -> MispEvent:
    """An event without its parts: all of them moved elsewhere, or are withdrawn.

    Args:
        body: the event; it is not changed.
        keep: lists that stay.
    """
    rest: MispEvent = {
        key: value for key, value in body.items() if not isinstance(value, list) or key in keep
    }
    info = str(body.get("info", ""))
    rest["info"] = info if info.startswith(WITHDRAWN) else WITHDRAWN + info
    return {**rest, "Attribute": [], "Object": [], "EventReport": []}


def withdrawn(delivered: Delivered) -> Wanted:
    """A delivered event as it is wanted when nothing is to be in it any more."""
    return replace(delivered.as_wanted(), event=emptied(delivered.body), clusters=())
