"""Events that are in MISP already and are not ours: left alone, taken over, or extended by one of ours.

They have the UUID of the report, or, where that is asked for, its title and some of its values: scripts give UUIDs of
their own. What was taken over or extended is on record in the delivered body (`TAKEN`), so that later runs find it:
`{"as": "adopt", "uuids": {ours: theirs}, "event": UUID}` or `{"as": "extend", "event": UUID}`, without `event` where
it has our UUID.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stixbridge import tlp
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import (
    ANALYST_DATA,
    NAMESPACE,
    MispEvent,
    all_attributes,
    derived_uuid,
    level_of,
)
from stixbridge.sinks.base import (
    CLOSED,
    GIVEN,
    GONE,
    OURS,
    RESTRICTED,
    SHARES,
    STORED,
    TAKEN,
    Delivery,
    Job,
    Note,
    Remembering,
    State,
)
from stixbridge.sinks.misp.answers import is_set, number
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.diff import by_uuid, wider
from stixbridge.sinks.misp.recovery import resume_base
from stixbridge.sinks.misp.split import event_of, share_uuid
from stixbridge.sinks.misp.write import EventWriter

_UNDECIDED = frozenset({State.FOREIGN, State.REFUSED, State.HELD})
"""States of an event that was never ours."""


class Foreign:
    """What is done about events of someone else.

    Args (of the constructor):
        policy: `skip`, `adopt` or `extend`.
        recognise: by the `uuid` alone, or by the `title` too.
        api: the MISP.
        writer: writes to it.
    """

    def __init__(self, policy: str, recognise: str, api: MispApi, writer: EventWriter) -> None:
        self.policy = policy
        self._recognise = recognise
        self._api = api
        self._writer = writer
        self._lock = threading.Lock()

    def recognised(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery | None:
        """Deliver an event that a script made already, under another UUID; None where there is no such event.

        Args:
            job: as for `deliver`.
            event: the same.
            notes: the same.
        """
        if self._recognise != "title" or (
            job.last is not None and job.last.state not in _UNDECIDED
        ):
            return None
        with (
            self._lock
        ):  # until it is on record whose it is: another report may have the same title
            uuid = self._nearest(job, event, notes)
            return self.deliver(job, event, notes, uuid) if uuid is not None else None

    def _nearest(self, job: Job, event: MispEvent, notes: list[Note]) -> str | None:
        """The UUID of the event that a script made of the same report; None where there is none.

        It is of the key's organisation, has the title and one of the values; of several the one with the most of them,
        then the newest.

        Args:
            job: of an event.
            event: as this MISP takes it.
            notes: takes the UUIDs of the others.
        """
        uuids = self._api.titled(str(event["info"]))
        own = {str(event["uuid"]), str(extending(event)["uuid"])}
        if own & set(uuids):
            return None  # it is there under our UUID
        values = _values(event)
        found: list[tuple[int, int, str]] = []
        for uuid in uuids:
            held = self._api.event(uuid) if not job.record.known(uuid) else None
            if held is not None:
                theirs = _values(held)
                if values & theirs:
                    found.append((len(values & theirs), number(held.get("timestamp")), uuid))
        if not found:
            return None
        best = max(found)[2]
        others = ", ".join(sorted(uuid for _, _, uuid in found if uuid != best))
        if others:
            text = (
                f"{best} is the nearest; more events of this title are left as they are: {others}"
            )
            notes.append((None, Outcome.PRESERVED, Reason.FOREIGN, text))
        return best

    def deliver(
        self, job: Job, event: MispEvent, notes: list[Note], uuid: str | None = None
    ) -> Delivery:
        """Deliver an event that somebody else has in MISP already, as the policy says.

        Args:
            job: as for `EventWriter.write`.
            event: the same.
            notes: the same.
            uuid: of the event in MISP, where it is not that of ours.
        """
        other = {"event": uuid} if uuid is not None else {}
        theirs = uuid or str(event["uuid"])
        if self.policy == "extend":
            return self._extended(job, event, notes, other)
        held = self._api.event(theirs) if self.policy == "adopt" else None
        if held is not None and self._api.may_edit(held):
            closed = bool(job.event.get(RESTRICTED))
            taken = {
                "as": "adopt",
                "uuids": equal_values(event, held),
                CLOSED: closed,
                **_as_it_was(held),
                **other,
            }
            own = as_taken(event, taken)
            base = _base_of_theirs(own, held)
            # what is there from now on is ours, and what is sent is looked for after a cut
            job.begin(State.WAITING, {**in_our_terms(base, event, taken), TAKEN: taken})
            one = replace(job, publish=False)  # nobody has looked at the two together yet
            delivery = self._writer.edit(one, own, base, held, notes, published=False, keep=False)
            if delivery.state in OURS and delivery.action != "refused":
                text = f"the event of someone else was taken over: {theirs}"
                notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
                delivery.body = {**in_our_terms(delivery.body, event, taken), TAKEN: taken}
                return delivery
        elif held is not None:
            whose = str((held.get("Orgc") or {}).get("name") or "another organisation")
            notes.append(
                (None, Outcome.DROPPED, Reason.FOREIGN, f"this key may not edit what is {whose}'s")
            )
        notes.append(
            (
                None,
                Outcome.DROPPED,
                Reason.FOREIGN,
                f"{theirs} is in MISP and not ours; left as it is",
            )
        )
        return Delivery(str(event["uuid"]), State.FOREIGN, event, "foreign", notes=notes)

    def _extended(
        self, job: Job, event: MispEvent, notes: list[Note], other: dict[str, str]
    ) -> Delivery:
        taken = {"as": "extend", **other}
        own = as_taken(event, taken)
        held = self._api.event(str(own["uuid"]))
        text = f"{own['uuid']} extends the event of someone else, {own['extends_uuid']}"
        notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
        one = replace(job, record=Remembering(job, {TAKEN: taken}))
        if held is None:
            delivery = self._writer.add(one, own, notes)
        else:
            base = resume_base(own, held)
            job.begin(State.WAITING, {**in_our_terms(base, event, taken), TAKEN: taken})
            delivery = self._writer.edit(one, own, base, held, notes, published=False)
        delivery.body = {**in_our_terms(delivery.body, event, taken), TAKEN: taken}
        return delivery


def _as_it_was(held: Mapping[str, Any]) -> dict[str, Any]:
    """Who saw an event when it was taken over."""
    kept = {
        "distribution": str(held.get("distribution")),
        "published": is_set(held.get("published")),
    }
    return (
        {**kept, "sharing_group_id": held.get("sharing_group_id")}
        if kept["distribution"] == "4"
        else kept
    )


def _within(event: MispEvent, taken: Mapping[str, Any]) -> MispEvent:
    """An event as widely seen as it was when it was taken over, as far as its marking allows."""
    if "distribution" not in taken:
        return event
    level = level_of(event)
    widest = "0" if taken.get(CLOSED) else str(tlp.WIDEST[level]) if level is not None else "3"
    if wider(taken["distribution"], widest):
        return {**event, "distribution": widest}
    group = {"sharing_group_id": taken["sharing_group_id"]} if "sharing_group_id" in taken else {}
    return {**event, "distribution": taken["distribution"], **group}


def _base_of_theirs(own: Mapping[str, Any], held: Mapping[str, Any]) -> MispEvent:
    """The base of an edit of what somebody else made: what is there stays, but for what is seen by too many.

    Args:
        own: what it shall be, under the UUIDs that are there.
        held: what is there.
    """
    base = resume_base(own, held)
    base["Tag"] = []  # theirs, whoever else wants them
    if wider(held.get("distribution"), own.get("distribution")):
        base["distribution"] = held.get("distribution")
    for name in ("Attribute", "Object", "EventReport"):
        if base.get(name):
            wanted, there = by_uuid(own, name), by_uuid(held, name)
            base[name] = [
                _base_of_theirs(wanted[row["uuid"]], there[row["uuid"]]) for row in base[name]
            ]
    return base


def in_our_terms(
    body: Mapping[str, Any],
    event: MispEvent,
    taken: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> MispEvent:
    """A body under our UUIDs, as it is on record, from one under those that it has in MISP.

    Args:
        body: as MISP has it.
        event: ours, which has the UUIDs of all that is new in it.
        taken: how the event was taken.
        before: what was on record, which has those of what was to go.
    """
    if taken["as"] == "adopt":
        back = {theirs: ours for ours, theirs in taken["uuids"].items()}
    else:
        back = {_extension(uuid): uuid for one in (event, before or {}) for uuid in _all_uuids(one)}
    ours: MispEvent = {**_renamed(body, lambda uuid: back.get(uuid, uuid)), "uuid": event["uuid"]}
    if taken["as"] == "extend":
        ours.pop("extends_uuid", None)
    if event.get("extends_uuid"):
        ours["extends_uuid"] = event["extends_uuid"]
    return ours


def place_of(body: Mapping[str, Any], part: str) -> tuple[str, str]:
    """Where in MISP an attribute of a delivered event is: the UUID of the event, and its own.

    Args:
        body: as it is on record.
        part: the attribute's UUID of ours.
    """
    taken = body.get(TAKEN) or {}
    event = event_of(body, part)
    if taken.get("as") == "extend":
        return _extension(event), _extension(part)
    return str(taken.get("event") or event), str((taken.get("uuids") or {}).get(part, part))


def event_in_misp(body: Mapping[str, Any]) -> str:
    """The UUID that a delivered event has in MISP."""
    taken, uuid = body.get(TAKEN) or {}, str(body.get("uuid"))
    return _extension(uuid) if taken.get("as") == "extend" else str(taken.get("event") or uuid)


def carriers(body: Mapping[str, Any]) -> list[str]:
    """The UUIDs of further events in a MISP that carry an event, as it was delivered."""
    uuid, taken = str(body.get("uuid")), body.get(TAKEN) or {}
    found = [share_uuid(uuid, number) for number in sorted(set((body.get(SHARES) or {}).values()))]
    if taken.get("event"):
        found.append(str(taken["event"]))
    if taken.get("as") == "extend":
        found.append(_extension(uuid))
    return found


def as_taken(event: MispEvent, taken: Mapping[str, Any]) -> MispEvent:
    """An event under the UUIDs that it has in MISP, as an earlier delivery took it."""
    if taken["as"] == "extend":
        return extending(event, taken.get("event"))
    uuids: Mapping[str, str] = taken["uuids"]
    own = _within(event, taken)
    return {
        **_renamed(own, lambda uuid: uuids.get(uuid, uuid)),
        "uuid": taken.get("event", event["uuid"]),
    }


def extending(event: MispEvent, other: str | None = None) -> MispEvent:
    """An event of ours that extends the foreign one: everything in it under derived UUIDs, since those are taken.

    Args:
        event: ours.
        other: UUID of the foreign one, where it is not that of ours.
    """
    uuid = str(event["uuid"])
    return {
        **_renamed(event, _extension),
        "uuid": _extension(uuid),
        "extends_uuid": other or uuid,
    }


def _values(event: Mapping[str, Any]) -> set[str]:
    """The values in an event, in lower case."""
    live = [row for row in all_attributes(dict(event)) if not is_set(row.get("deleted"))]
    return {str(row.get("value")).strip().lower() for row in live}


def equal_values(event: MispEvent, theirs: Mapping[str, Any]) -> dict[str, str]:
    """Attributes of ours that a foreign event has under other UUIDs: ours -> theirs.

    MISP keeps the first of two attributes of one type and value, and drops the second in silence.
    """
    held = {
        (str(row.get("type")), str(row.get("value")).strip().lower()): str(row.get("uuid"))
        for row in theirs.get("Attribute") or []
        if not is_set(row.get("deleted"))
    }
    there = {str(row.get("uuid")) for row in theirs.get("Attribute") or []}
    found: dict[str, str] = {}
    for row in event.get("Attribute") or []:
        other = held.get((str(row["type"]), str(row["value"]).strip().lower()))
        if other is not None and str(row["uuid"]) not in there and other != row["uuid"]:
            found[str(row["uuid"])] = other
    return found


def _extension(uuid: str) -> str:
    """The UUID that something of ours has in an event that extends another's."""
    return derived_uuid(NAMESPACE, "extends", uuid)


def _all_uuids(part: Any) -> Iterator[str]:
    """Every UUID in an event."""
    for key, value in part.items():
        if key in _UUIDS and isinstance(value, str):
            yield value
        elif key == GONE:
            yield from value
        elif key in _INNER and isinstance(value, list):
            for row in value:
                yield from _all_uuids(row)


_UUIDS = ("uuid", "object_uuid", "referenced_uuid", "related_object_uuid")
_INNER = ("Attribute", "Object", "EventReport", "ObjectReference", "Sighting", *ANALYST_DATA)


def _renamed(part: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """A part and all in it under other UUIDs."""
    found: dict[str, Any] = {}
    for key, value in part.items():
        if key in _UUIDS and isinstance(value, str):
            found[key] = rename(value)
        elif key in _INNER and isinstance(value, list):
            found[key] = [_renamed(row, rename) for row in value]
        elif key == GONE:
            found[key] = [rename(uuid) for uuid in value]
        elif key in (GIVEN, STORED):
            found[key] = {rename(uuid): known for uuid, known in value.items()}
        else:
            found[key] = value
    return found
