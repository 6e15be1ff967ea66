"""Parts that leave an event, and those that stay until they have arrived elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import Delivered, Wanted
from stixbridge.misp.model import MispEvent, level_of, set_level
from stixbridge.sinks.delivery import Job
from stixbridge.sinks.fields import (
    PARTS,
    VALUES,
    Part,
    by_uuid,
    in_lists,
    rank_of,
    rows_of,
    tlp_rank,
    with_rows,
)

CLOSED = "closed"
"""In place of a TLP level: a marking that is not a TLP level."""


def parts(event: Mapping[str, Any]) -> set[str]:
    """UUIDs of all parts of an event: attributes, objects with theirs, references, reports."""
    uuids: set[str] = set()
    for part in in_lists(event, PARTS):
        uuids.add(str(part["uuid"]))
        uuids.update(str(row["uuid"]) for row in in_lists(part, ("Attribute", "ObjectReference")))
    return uuids


WITHDRAWN = "[withdrawn] "
"""Put before the title of an event that has nothing in it any more."""


def takes_away(job: Job) -> int:
    """Whether a job takes parts out of its event.

    Returns:
        0 where it only adds or changes parts, 1 where it takes some away too, 2 where it does
        nothing else.
    """
    if job.last is None:
        return 0
    wanted, before = parts(job.event), parts(job.last.body)
    return bool(before - wanted) + (bool(before - wanted) and not wanted - before)


def put_back(job: Job, elements: list[dict[str, Any]], levels: Mapping[str, str | None]) -> None:
    """Let some elements stay in an event, marked as strictly as in the event they were to go to.

    Args:
        job: of the event that they would leave; changed.
        elements: rows with the `uuid` of an attribute and the `id` of its STIX object.
        levels: STIX id -> the TLP level that it has by now, or `CLOSED`.
    """
    if job.last is None:
        return
    ids: dict[str, set[str]] = {}
    for element in elements:
        ids.setdefault(str(element["uuid"]), set()).add(str(element["id"]))
    event = dict(job.event)
    before = level_of(job.last.body)
    for name in VALUES:
        wanted = by_uuid(event, name)
        back = [
            staying_in(event, part, {levels[id_] for id_ in stix & levels.keys()} | {before})
            for uuid, part in by_uuid(job.last.body, name).items()
            if uuid not in wanted and (stix := _ids_in(part, ids))
        ]
        if back:
            event[name] = [*rows_of(event, name), *back]
            event["info"] = str(event["info"]).removeprefix(WITHDRAWN)
    job.wanted = replace(job.wanted, event=event)


def _ids_in(part: Part, ids: Mapping[str, set[str]]) -> set[str]:
    """The STIX ids of a part and of the attributes in it."""
    uuids = (str(row["uuid"]) for row in (part, *rows_of(part, "Attribute")))
    return set().union(*(ids[uuid] for uuid in uuids if uuid in ids))


def staying_in(event: MispEvent, part: Part, levels: set[str | None]) -> Part:
    """A part that stays in an event for now.

    Where it is stricter than the event it is at distribution 0 and has its tag.

    Args:
        event: as it shall be.
        part: as it was delivered.
        levels: the TLP levels of the part: where it was, and where it is to go; `CLOSED` for a
            marking that is not a TLP level.
    """
    inner = rows_of(part, "Attribute")
    level = tlp.strictest([*(levels - {CLOSED}), level_of(part), *map(level_of, inner)])
    stricter = tlp_rank(level) > rank_of(event)
    if not stricter and CLOSED not in levels:
        return part
    copy = {**part, "distribution": "0"}
    if inner:
        copy["Attribute"] = [staying_in(event, row, levels) for row in inner]
    elif stricter and level is not None:
        set_level(copy, level)
    return copy


def narrowed(delivered: MispEvent, wanted: MispEvent) -> MispEvent:
    """A delivered event at distribution 0 wherever it shall be stricter by now.

    It is delivered so for as long as a tag can't be stored.

    Args:
        delivered: the event, or a part, as it was delivered.
        wanted: the same as it shall be.
    """
    now = {name: by_uuid(wanted, name) for name in PARTS}

    def narrow(name: str, part: Part) -> Part:
        return narrowed(part, now[name].get(str(part["uuid"]), part))

    kept = with_rows(delivered, PARTS, narrow)
    if _stricter(wanted, delivered):
        kept["distribution"] = "0"
    return kept


def _stricter(wanted: MispEvent, delivered: MispEvent) -> bool:
    if rank_of(wanted) > rank_of(delivered):
        return True
    return wanted.get("distribution") == "0" != delivered.get("distribution")


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
