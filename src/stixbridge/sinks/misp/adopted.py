"""An event of ours under the UUIDs that it has in an event of somebody else, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import Adoption, Delivered
from stixbridge.misp.model import ANALYST_DATA, MispEvent, level_of
from stixbridge.sinks.fields import (
    PARTS,
    Part,
    by_uuid,
    in_lists,
    is_deleted,
    is_set,
    rows_of,
    wider,
    with_rows,
)
from stixbridge.sinks.misp.recovery import arrived
from stixbridge.sinks.places import extension_uuid

_UUIDS = ("uuid", "object_uuid", "referenced_uuid", "related_object_uuid")
_INNER = (*PARTS, "ObjectReference", "Sighting", *ANALYST_DATA)


def adoption_of(
    remote: Mapping[str, Any], event: MispEvent, uuid: str | None, *, restricted: bool
) -> Adoption:
    """How an event of somebody else is adopted, with who could read it until then.

    Args:
        remote: their event.
        event: ours.
        uuid: of theirs, where it is not ours.
        restricted: whether a marking that is not a tag keeps ours at distribution 0.
    """
    distribution = str(remote.get("distribution"))
    return Adoption(
        "adopt",
        event=uuid,
        uuids=equal_values(event, remote),
        restricted=restricted,
        distribution=distribution,
        sharing_group_id=remote.get("sharing_group_id") if distribution == "4" else None,
        published=is_set(remote.get("published")),
    )


def equal_values(event: MispEvent, remote: Mapping[str, Any]) -> dict[str, str]:
    """Attributes of ours that another's event has under other UUIDs: ours -> theirs.

    MISP keeps the first of two attributes of one type and value, and drops the second in silence.
    """
    rows = rows_of(remote, "Attribute")
    uuids = {str(row.get("uuid")) for row in rows}
    theirs = {_type_and_value(row): str(row.get("uuid")) for row in rows if not is_deleted(row)}
    equal: dict[str, str] = {}
    for row in rows_of(event, "Attribute"):
        uuid, equal_uuid = str(row["uuid"]), theirs.get(_type_and_value(row))
        if equal_uuid is not None and uuid not in uuids and equal_uuid != uuid:
            equal[uuid] = equal_uuid
    return equal


def _type_and_value(row: Part) -> tuple[str, str]:
    return str(row.get("type")), str(row.get("value")).strip().lower()


def delivered_by_others(wanted: Mapping[str, Any], remote: Mapping[str, Any]) -> MispEvent:
    """The parts of a wanted event that somebody else's event has, as the start of an edit of it.

    Everything in it stays as it is, unless too many can read it.

    Args:
        wanted: the event as it shall be, under the UUIDs that are there.
        remote: the event that is there.
    """
    start = arrived(wanted, remote)
    start["Tag"] = []  # they are theirs, whoever else wants them
    if wider(remote.get("distribution"), wanted.get("distribution")):
        start["distribution"] = remote.get("distribution")
    ours, theirs = ({name: by_uuid(side, name) for name in PARTS} for side in (wanted, remote))
    return with_rows(
        start,
        PARTS,
        lambda name, row: delivered_by_others(ours[name][row["uuid"]], theirs[name][row["uuid"]]),
    )


# UUIDs


def in_our_terms(
    delivered: Delivered, event: MispEvent, adopted: Adoption, before: Delivered | None = None
) -> Delivered:
    """A delivered event under our UUIDs, as it is recorded, from one under those in MISP.

    Args:
        delivered: the event under the UUIDs that it has in MISP.
        event: ours, which has the UUIDs of everything new in it.
        adopted: how the event was adopted.
        before: the event as it was recorded, which has the UUIDs of everything that was to go.
    """
    ours = _renamed_envelope(delivered, _back(event, adopted, before))
    body: MispEvent = {**ours.body, "uuid": event["uuid"]}
    if adopted.policy == "extend":
        body.pop("extends_uuid", None)
    if event.get("extends_uuid"):
        body["extends_uuid"] = event["extends_uuid"]
    return replace(ours, body=body, adopted=adopted)


def _back(event: MispEvent, adopted: Adoption, before: Delivered | None) -> Callable[[str], str]:
    """From a UUID in MISP to ours."""
    if adopted.policy == "adopt":
        ours = {theirs: uuid for uuid, theirs in adopted.uuids.items()}
    else:
        known = list(_all_uuids(event))
        if before is not None:
            known += [*_all_uuids(before.body), *before.deleted_by_analyst]
        ours = {extension_uuid(uuid): uuid for uuid in known}
    return lambda uuid: ours.get(uuid, uuid)


def as_adopted(delivered: Delivered, adopted: Adoption) -> Delivered:
    """A delivered event under the UUIDs that it has in MISP, as an earlier delivery adopted it."""
    body = event_as_adopted(delivered.body, adopted)
    return replace(_renamed_envelope(delivered, _there(adopted)), body=body)


def event_as_adopted(event: MispEvent, adopted: Adoption) -> MispEvent:
    """An event under the UUIDs that it has in MISP, as an earlier delivery adopted it."""
    if adopted.policy == "extend":
        return extending(event, adopted.event)
    renamed = _renamed(_within(event, adopted), _there(adopted))
    return {**renamed, "uuid": adopted.event or event["uuid"]}


def extending(event: MispEvent, other: str | None = None) -> MispEvent:
    """An event of ours that extends one of somebody else.

    Everything in it has a derived UUID, since ours are taken.

    Args:
        event: ours.
        other: UUID of theirs, where it is not ours.
    """
    uuid = str(event["uuid"])
    return {
        **_renamed(event, extension_uuid),
        "uuid": extension_uuid(uuid),
        "extends_uuid": other or uuid,
    }


def _there(adopted: Adoption) -> Callable[[str], str]:
    """From a UUID of ours to the one in MISP."""
    if adopted.policy == "extend":
        return extension_uuid
    return lambda uuid: adopted.uuids.get(uuid, uuid)


def _within(event: MispEvent, adopted: Adoption) -> MispEvent:
    """An event with the distribution that it had when it was adopted, if its marking allows it."""
    if adopted.distribution is None:
        return event
    widest = _widest(event, adopted)
    if wider(adopted.distribution, widest):
        return {**event, "distribution": widest}
    shared = {**event, "distribution": adopted.distribution}
    if adopted.distribution == "4":
        shared["sharing_group_id"] = adopted.sharing_group_id
    return shared


def _widest(event: MispEvent, adopted: Adoption) -> str:
    """The widest distribution that the marking of an event allows."""
    level = level_of(event)
    if adopted.restricted:
        return "0"
    return "3" if level is None else str(tlp.WIDEST[level])


def _all_uuids(part: Mapping[str, Any]) -> Iterator[str]:
    """Every UUID in an event."""
    yield from (part[key] for key in _UUIDS if isinstance(part.get(key), str))
    for row in in_lists(part, _INNER):
        yield from _all_uuids(row)


def _renamed(part: Mapping[str, Any], rename: Callable[[str], str]) -> Part:
    """A part and everything in it under other UUIDs."""
    renamed = with_rows(part, _INNER, lambda _, row: _renamed(row, rename))
    uuids = {key: rename(part[key]) for key in _UUIDS if isinstance(part.get(key), str)}
    return {**renamed, **uuids}


def _renamed_envelope(delivered: Delivered, rename: Callable[[str], str]) -> Delivered:
    """A delivered event, and the records of its parts, under other UUIDs."""
    return replace(
        delivered,
        body=_renamed(delivered.body, rename),
        analyst_kept={rename(uuid): kept for uuid, kept in delivered.analyst_kept.items()},
        deleted_by_analyst=frozenset(map(rename, delivered.deleted_by_analyst)),
        stored_values={rename(uuid): value for uuid, value in delivered.stored_values.items()},
    )
