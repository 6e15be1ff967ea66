"""Events that are in MISP already and are not ours: left alone, taken over, or extended by one of ours.

They have the UUID of the report, or, where that is asked for, its title and some of its values: scripts give UUIDs of
their own. How an event was adopted is recorded with what was delivered (`Delivered.adopted`), so that later runs find
it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import Adoption, Delivered
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import (
    ANALYST_DATA,
    NAMESPACE,
    MispEvent,
    all_attributes,
    derived_uuid,
    level_of,
)
from stixbridge.sinks.delivery import OURS, Delivery, Job, Note, PartRecord, State
from stixbridge.sinks.fields import by_uuid, is_set, wider
from stixbridge.sinks.misp.answers import number
from stixbridge.sinks.misp.api import MispApi
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
        theirs = uuid or str(event["uuid"])
        if self.policy == "extend":
            return self._extended(job, event, notes, uuid)
        held = self._api.event(theirs) if self.policy == "adopt" else None
        if held is not None and self._api.may_edit(held):
            adopted = _adoption(held, event, uuid, restricted=job.wanted.restricted)
            own = event_as_adopted(event, adopted)
            base = Delivered(_base_of_theirs(own, held))
            # from now on what is there is ours, and after a cut the next run looks for what was sent
            job.begin(State.WAITING, in_our_terms(base, event, adopted))
            one = replace(job, publish=False)  # nobody has looked at the two together yet
            delivery = self._writer.edit(one, own, base, held, notes, published=False, keep=False)
            if delivery.state in OURS and delivery.action != "refused":
                text = f"the event of someone else was taken over: {theirs}"
                notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
                delivery.delivered = in_our_terms(delivery.delivered, event, adopted)
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
        return Delivery(str(event["uuid"]), State.FOREIGN, Delivered(event), "foreign", notes=notes)

    def _extended(
        self, job: Job, event: MispEvent, notes: list[Note], uuid: str | None
    ) -> Delivery:
        adopted = Adoption("extend", event=uuid)
        own = event_as_adopted(event, adopted)
        held = self._api.event(str(own["uuid"]))
        text = f"{own['uuid']} extends the event of someone else, {own['extends_uuid']}"
        notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, text))
        one = replace(job, record=PartRecord(job, adopted))
        if held is None:
            delivery = self._writer.add(one, own, notes)
        else:
            base = Delivered(resume_base(own, held))
            job.begin(State.WAITING, in_our_terms(base, event, adopted))
            delivery = self._writer.edit(one, own, base, held, notes, published=False)
        delivery.delivered = in_our_terms(delivery.delivered, event, adopted)
        return delivery


def _adoption(
    held: Mapping[str, Any], event: MispEvent, uuid: str | None, *, restricted: bool
) -> Adoption:
    """How an event of somebody else is adopted, with who saw it until then."""
    distribution = str(held.get("distribution"))
    return Adoption(
        "adopt",
        event=uuid,
        uuids=equal_values(event, held),
        restricted=restricted,
        distribution=distribution,
        sharing_group_id=held.get("sharing_group_id") if distribution == "4" else None,
        published=is_set(held.get("published")),
    )


def _within(event: MispEvent, adopted: Adoption) -> MispEvent:
    """An event with the distribution that it had when it was adopted, as far as its marking allows."""
    if adopted.distribution is None:
        return event
    level = level_of(event)
    widest = "0" if adopted.restricted else str(tlp.WIDEST[level]) if level is not None else "3"
    if wider(adopted.distribution, widest):
        return {**event, "distribution": widest}
    shared = {**event, "distribution": adopted.distribution}
    if adopted.distribution == "4":
        shared["sharing_group_id"] = adopted.sharing_group_id
    return shared


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
    delivered: Delivered,
    event: MispEvent,
    adopted: Adoption,
    before: Delivered | None = None,
) -> Delivered:
    """A delivered event under our UUIDs, as it is recorded, from one under those that it has in MISP.

    Args:
        delivered: the event as MISP has it.
        event: ours, which has the UUIDs of everything new in it.
        adopted: how the event was adopted.
        before: the event as it was recorded, which has the UUIDs of everything that was to go.
    """
    if adopted.policy == "adopt":
        back = {theirs: ours for ours, theirs in adopted.uuids.items()}
    else:
        known = list(_all_uuids(event))
        if before is not None:
            known += [*_all_uuids(before.body), *before.deleted_by_analyst]
        back = {_extension(uuid): uuid for uuid in known}
    ours = _renamed_envelope(delivered, lambda uuid: back.get(uuid, uuid))
    body: MispEvent = {**ours.body, "uuid": event["uuid"]}
    if adopted.policy == "extend":
        body.pop("extends_uuid", None)
    if event.get("extends_uuid"):
        body["extends_uuid"] = event["extends_uuid"]
    return replace(ours, body=body, adopted=adopted)


def place_of(delivered: Delivered, part: str) -> tuple[str, str]:
    """Where in MISP an attribute of a delivered event is: the UUID of the event, and its own.

    Args:
        delivered: the event as it is recorded.
        part: the UUID of the attribute, ours.
    """
    adopted, event = delivered.adopted, event_of(delivered, part)
    if adopted is None:
        return event, part
    if adopted.policy == "extend":
        return _extension(event), _extension(part)
    return adopted.event or event, adopted.uuids.get(part, part)


def event_in_misp(delivered: Delivered) -> str:
    """The UUID that a delivered event has in MISP."""
    adopted, uuid = delivered.adopted, str(delivered.body.get("uuid"))
    if adopted is None:
        return uuid
    return _extension(uuid) if adopted.policy == "extend" else adopted.event or uuid


def carriers(delivered: Delivered) -> list[str]:
    """The UUIDs of further events in a MISP that carry a delivered event."""
    uuid, adopted, split = str(delivered.body.get("uuid")), delivered.adopted, delivered.split
    numbers = sorted(set(split.numbers.values())) if split is not None else []
    found = [share_uuid(uuid, number) for number in numbers]
    if adopted is not None and adopted.event:
        found.append(adopted.event)
    if adopted is not None and adopted.policy == "extend":
        found.append(_extension(uuid))
    return found


def as_adopted(delivered: Delivered, adopted: Adoption) -> Delivered:
    """A delivered event under the UUIDs that it has in MISP, as an earlier delivery adopted it."""
    uuids = adopted.uuids
    rename = _extension if adopted.policy == "extend" else lambda uuid: uuids.get(uuid, uuid)
    body = event_as_adopted(delivered.body, adopted)
    return replace(_renamed_envelope(delivered, rename), body=body)


def event_as_adopted(event: MispEvent, adopted: Adoption) -> MispEvent:
    """An event under the UUIDs that it has in MISP, as an earlier delivery adopted it."""
    if adopted.policy == "extend":
        return extending(event, adopted.event)
    own = _within(event, adopted)
    return {
        **_renamed(own, lambda uuid: adopted.uuids.get(uuid, uuid)),
        "uuid": adopted.event or event["uuid"],
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
        else:
            found[key] = value
    return found


def _renamed_envelope(delivered: Delivered, rename: Callable[[str], str]) -> Delivered:
    """A delivered event, and what is recorded of its parts, under other UUIDs."""
    return replace(
        delivered,
        body=_renamed(delivered.body, rename),
        analyst_kept={rename(uuid): kept for uuid, kept in delivered.analyst_kept.items()},
        deleted_by_analyst=frozenset(map(rename, delivered.deleted_by_analyst)),
        stored_values={rename(uuid): value for uuid, value in delivered.stored_values.items()},
    )
