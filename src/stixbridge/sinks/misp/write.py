"""Writes one event to a MISP: adds it, or edits it with only what changed; then compares what is stored, and publishes.

"200 is not stored": MISP drops parts in silence, so every answer is compared with what was sent, by UUID, and each
missing part is asked for by itself, for the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from stixbridge.envelopes import Delivered, Edit
from stixbridge.errors import ServerError, Unreachable
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent, tag_names
from stixbridge.sinks.delivery import Delivery, Job, Note, PartRecord, State
from stixbridge.sinks.fields import by_uuid, is_set, wider
from stixbridge.sinks.misp.answers import event_in, message_of, value_of
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.chunks import pieces
from stixbridge.sinks.misp.diff import Changes, Policy, compute
from stixbridge.sinks.misp.recovery import after_cut, resume_base
from stixbridge.sinks.misp.repair import Repair, has_analyst_data
from stixbridge.sinks.misp.tags import is_marking
from stixbridge.sinks.misp.verify import (
    lost_tags,
    missing,
    stored_otherwise,
    stuck_tags,
    unstored,
    with_old_fields,
    with_parts_back,
    with_tags_back,
    without,
    without_tags,
)
from stixbridge.stopping import check

_PARTS = ("Attribute", "Object")
_MUST = frozenset({"to_ids", "distribution", "deleted"})
"""Fields that may not stay as they were."""


class EventWriter:
    """Writes events to one MISP, one at a time; several threads may.

    Args (of the constructor):
        api: the MISP.
        name: of the sink, for messages.
        chunk: attributes in one request; a larger event goes in several.
        max_request: bytes of one request.
        policy: whose word counts where the source and an analyst both changed something.
        keep_published: publish an event again that was published before an edit of ours.
        only_complete: publish no event of which MISP dropped a part.
        owner: UUID of the organisation that our events carry, where it is not the key's own.
    """

    def __init__(
        self,
        api: MispApi,
        name: str,
        *,
        chunk: int,
        max_request: int,
        policy: Policy | None,
        keep_published: bool,
        only_complete: bool,
        owner: str | None,
    ) -> None:
        self._api = api
        self._name = name
        self._chunk = chunk
        self._max_request = max_request
        self._policy = policy
        self._keep_published = keep_published
        self._only_complete = only_complete
        self._repair = Repair(api)
        self._owner = owner

    def write(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        """Bring an event to what is wanted, whatever became of it before.

        Args:
            job: what was delivered before, and whether to publish.
            event: what it shall be, as this MISP takes it.
            notes: takes what a reader should know; they are the delivery's.

        Returns:
            What became of it; `State.FOREIGN`, and nothing written, where an event of this UUID is somebody else's.

        Raises:
            ServerError: when MISP fails as a whole.
        """
        last = job.last
        restore = self._policy is not None and self._policy.restore
        if last is not None and last.state is State.BLOCKED and not restore:
            notes.append(
                (None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again")
            )
            return Delivery(
                str(event["uuid"]), State.BLOCKED, Delivered(event), "blocked", notes=notes
            )
        if last is None or last.state not in (State.ADDING, State.DELIVERED, State.WAITING):
            return self.add(job, event, notes)
        held = self._api.event(str(event["uuid"]))
        edits = last.edits
        if held is not None and edits:
            last = replace(last, delivered=after_cut(last.delivered, edits, held), edits=())
            if last.state is not State.ADDING and not isinstance(job.record, PartRecord):
                # so that edits that fail again and again don't pile up
                job.begin(State.WAITING, last.delivered)
        if held is None:
            if last.state is State.ADDING or restore:
                return self.add(job, event, notes)
            notes.append(
                (None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again")
            )
            return Delivery(
                str(event["uuid"]), State.BLOCKED, Delivered(event), "blocked", notes=notes
            )
        if last.state is State.ADDING:
            return self._resume(
                job, event, last.delivered, self._api.settled(str(event["uuid"])), notes
            )
        return self.edit(
            job, event, last.delivered, held, notes, published=last.published, edits=edits
        )

    def add(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        """Add an event that is not there as far as we know; see `write`."""
        uuid = str(event["uuid"])
        job.begin(State.ADDING, Delivered(event))
        first, *rest = pieces(event, self._chunk, self._max_request)
        route = "events/add/metadata:1" if rest else "events/add"
        try:
            answer = self._api.post(route, first)
        except Unreachable:
            # the server may go on without us: look, never send again blindly
            held = self._api.settled(uuid)
            if held is None:
                raise
            return self._resume(job, event, Delivered(event), held, notes)
        value = value_of(answer)
        made = event_in(value)
        if answer.status == 200 and made is not None:
            stored = self._followed(uuid, rest, notes)[0] if rest else made
            return self._verified(job, event, stored, notes, "created")
        message = message_of(value, answer)
        if answer.status == 404 and "already exists" in message:
            return _foreign(event, notes)
        if answer.status == 403 and "blocklist" in message:
            notes.append(
                (
                    None,
                    Outcome.DROPPED,
                    Reason.BLOCKED,
                    "deleted in MISP before; it is on the event blocklist",
                )
            )
            return Delivery(uuid, State.BLOCKED, Delivered(event), "blocked", notes=notes)
        if answer.status in (401, 403) and not value.get("errors"):
            raise self._api.failed("events/add", answer, message)
        if answer.status >= 500 or not value:
            held = self._api.settled(uuid)
            if held is not None:
                return self._resume(job, event, Delivered(event), held, notes)
            raise self._api.failed("events/add", answer, message)
        notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return Delivery(uuid, State.REFUSED, Delivered(event), "refused", notes=notes)

    def _resume(
        self,
        job: Job,
        event: MispEvent,
        sent: Delivered,
        held: Mapping[str, Any] | None,
        notes: list[Note],
    ) -> Delivery:
        """Go on with an add that was cut: of what was sent, what arrived is the base of an edit."""
        if held is None:
            return self.add(job, event, notes)
        owner = str((held.get("Orgc") or {}).get("uuid") or "")
        wanted = {
            str(row["uuid"])
            for one in (event, sent.body)
            for name in _PARTS
            for row in one.get(name) or []
        }
        theirs = {str(row["uuid"]) for name in _PARTS for row in held.get(name) or []}
        ours = (self._owner, self._api.rights().org_uuid)
        if owner not in ours or (theirs and wanted and not theirs & wanted):
            return _foreign(event, notes)
        base = replace(sent, body=resume_base(sent.body, held))
        return self.edit(job, event, base, held, notes, published=False, action="created")

    def edit(
        self,
        job: Job,
        event: MispEvent,
        base: Delivered,
        held: Mapping[str, Any],
        notes: list[Note],
        *,
        published: bool,
        action: str = "updated",
        finish: bool = True,
        keep: bool = True,
        edits: tuple[Edit, ...] = (),
    ) -> Delivery:
        """Edit an event that is there.

        Args:
            job: as for `write`.
            event: the same.
            base: what of it is ours.
            held: what MISP has.
            notes: as for `write`.
            published: whether we published it.
            action: what the delivery is called where something changed.
            finish: publish it in the end.
            keep: `keep_published` holds.
            edits: edits that were cut before.
        """
        uuid = str(event["uuid"])
        was_published = is_set(held.get("published"))
        if (keep and was_published and self._keep_published) or any(
            edit.publish_pending for edit in edits
        ):
            job.publish = job.publish_again = True
        careful = before_widening(event, base.body)
        stepped = False
        if careful is not event:
            # everything else first, and seen to be there: nothing is shown to more before what restricts it is stored
            told: list[Note] = []
            narrow = self._edited_to(
                job, careful, base, held, told, published, "updated", finish=False
            )
            stepped = narrow.action != "unchanged"
            there = self._api.event(uuid) if stepped else held
            if narrow.state is not State.DELIVERED or there is None:
                notes.extend(told)
                return _pending(job, narrow)
            notes.extend(
                note for note in told if note[2] is Reason.CONFLICT
            )  # the second step does not meet them
            base, held = narrow.delivered, there
        delivery = self._edited_to(
            job, event, base, held, notes, published, action, finish=finish and not stepped
        )
        if stepped and delivery.state is State.DELIVERED:
            delivery.action = action
            delivery = (
                self._publish(job, delivery, str(held.get("id") or uuid)) if finish else delivery
            )
        delivery = _pending(job, delivery)
        if was_published and delivery.action != "unchanged" and not job.publish:
            notes.append(
                (
                    None,
                    Outcome.PRESERVED,
                    Reason.CONFLICT,
                    "was published; an edit unpublishes, publish it again",
                )
            )
        return delivery

    def _edited_to(
        self,
        job: Job,
        event: MispEvent,
        base: Delivered,
        held: Mapping[str, Any],
        notes: list[Note],
        published: bool,
        action: str,
        *,
        finish: bool,
    ) -> Delivery:
        """Send what has changed, and compare."""
        changes = compute(event, base, held, self._policy)
        notes.extend(changes.notes)
        uuid = str(event["uuid"])
        if not changes.body and not changes.analyst_data:
            delivered = _recorded(event, changes, base.body)
            delivery = Delivery(
                uuid,
                State.DELIVERED,
                delivered,
                action if action == "created" else "unchanged",
                published,
                notes,
            )
            return self._publish(job, delivery, str(held.get("id") or uuid)) if finish else delivery
        job.begin_edit(Edit(changes.body, job.publish_again, tuple(changes.analyst_data)))
        changes.refused = self._repair.analyst_data(uuid, changes.analyst_data, notes)
        if not changes.body:
            return self._verified(
                job, event, held, notes, action, changes, base.body, finish=finish
            )
        first, *rest = pieces(changes.body, self._chunk, self._max_request)
        stored = self._edited(uuid, first, notes, whole=not rest)
        if stored is None:
            # notes may have been changed all the same
            edits = job.last.edits if job.last is not None else ()
            return Delivery(uuid, State.WAITING, base, "refused", published, notes, edits=edits)
        refused = False
        if rest:
            stored, refused = self._followed(uuid, rest, notes)
        delivery = self._verified(
            job, event, stored, notes, action, changes, base.body, finish=finish and not refused
        )
        if refused:
            delivery.state = State.WAITING
        return delivery

    def _edited(
        self, uuid: str, body: MispEvent, notes: list[Note], *, whole: bool = False
    ) -> dict[str, Any] | None:
        """Send an edit; what MISP answers of the event, without its parts unless `whole`; None where it refuses."""
        route = f"events/edit/{uuid}" if whole else f"events/edit/{uuid}/metadata:1"
        answer = self._api.post(route, {"Event": body})
        value = value_of(answer)
        edited = event_in(value)
        if answer.status == 200 and edited is not None:
            return edited
        message = message_of(value, answer)
        foreign = answer.status == 403 and "not authorised" in message  # this event, not the key
        if (
            answer.status >= 500
            or not value
            or (answer.status in (401, 403) and not value.get("errors") and not foreign)
        ):
            raise self._api.failed(route, answer, message)
        notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return None

    def _followed(
        self, uuid: str, rest: list[MispEvent], notes: list[Note]
    ) -> tuple[dict[str, Any], bool]:
        """Send the other pieces of a large event; what is stored in the end, and whether a piece was refused.

        A cut leaves some of them: the next run sees which, and sends the others.
        """
        refused = False
        for piece in rest:
            check()
            refused |= self._edited(uuid, piece, notes) is None
        stored = self._api.event(uuid)
        if stored is None:
            raise ServerError(f"sink {self._name}: event {uuid} is gone while it was being filled")
        return stored, refused

    # verification

    def _verified(
        self,
        job: Job,
        event: MispEvent,
        stored: Mapping[str, Any],
        notes: list[Note],
        action: str,
        changes: Changes | None = None,
        base: Mapping[str, Any] | None = None,
        *,
        finish: bool = True,
    ) -> Delivery:
        """Compare what is stored with what was sent, and ask for what is missing.

        Args:
            job: as for `write`.
            event: what it shall be.
            stored: what MISP has after it; without analyst data where that was the answer of a write.
            notes: takes what is missing, and why.
            action: what the delivery is called.
            changes: what was sent of it; all of it when None.
            base: what was ours before those changes.
            finish: publish it in the end.
        """
        uuid = str(event["uuid"])
        sent = event if changes is None else changes.body
        if has_analyst_data(sent):
            stored = self._api.event(uuid) or stored
        gone = self._repair.parts(missing(sent, stored), str(stored["id"]), notes)
        left: dict[str, set[str]] = {}
        if changes is not None and base is not None:
            kept = self._repair.fields(unstored(sent, stored), notes)
            changes.stored_values = {**changes.stored_values, **stored_otherwise(sent, stored)}
            left = {**kept, **{one.uuid: set(one.fields) for one in changes.refused if one.fields}}
        lost = lost_tags(sent, stored)
        for tag in sorted(set().union(*lost.values())):
            if is_marking(tag):
                text = f"{tag} was not stored; kept at distribution 0"
                notes.append((None, Outcome.PRESERVED, Reason.HELD_MARKING, text))
            else:
                notes.append((None, Outcome.DROPPED, Reason.MISP_DROPPED, f"tag {tag}"))
        if changes is None:
            changes = Changes(stored_values=stored_otherwise(sent, stored))
        delivered = _recorded(event, changes, base or {}, gone, left, lost)
        delivery = Delivery(uuid, State.DELIVERED, delivered, action, False, notes)
        stuck = stuck_tags(sent, stored)
        if stuck:
            body = with_tags_back(delivery.body, stuck)
            delivery.delivered = replace(delivery.delivered, body=body)
            names = ", ".join(sorted(set().union(*stuck.values())))
            notes.append(
                (
                    None,
                    Outcome.DROPPED,
                    Reason.MISP_DROPPED,
                    f"still there, and tried again: {names}",
                )
            )
        delivery.incomplete = bool(lost or left or stuck)
        if any(note[2] is Reason.HELD_MARKING for note in notes):
            delivery.state = State.WAITING
            if str(stored.get("distribution")) != "0":
                self._narrow(job, uuid)
                _set_distribution(delivery, "0")
            elif base is not None and "distribution" not in sent:
                _set_distribution(delivery, base.get("distribution", "0"))
            return delivery
        if any(fields & _MUST for fields in left.values()):
            delivery.state = State.WAITING  # what has to be withdrawn is tried again at every run
            return delivery
        return self._publish(job, delivery, str(stored.get("id") or uuid)) if finish else delivery

    def _narrow(self, job: Job, uuid: str) -> None:
        """Let nobody but the own organisation see an event."""
        job.begin_edit(Edit({"distribution": "0"}))
        route = f"events/edit/{uuid}"
        answer = self._api.post(route, {"Event": {"distribution": "0"}})
        value = value_of(answer)
        if answer.status != 200 or event_in(value) is None:
            raise self._api.failed(route, answer, message_of(value, answer))

    def _publish(self, job: Job, delivery: Delivery, event_id: str) -> Delivery:
        """The last step, without e-mail, and only for a complete event."""
        last_published = (
            job.last is not None and job.last.published and delivery.action == "unchanged"
        )
        if not job.publish or last_published:
            delivery.published = last_published
            return delivery
        if self._only_complete and any(note[2] is Reason.MISP_DROPPED for note in delivery.notes):
            note = "not published: not complete, and only_complete says so"
            delivery.notes.append((None, Outcome.PRESERVED, Reason.REFUSED, note))
            return delivery
        if not self._api.rights().publish:
            delivery.notes.append(
                (None, Outcome.DROPPED, Reason.REFUSED, "not published: the role may not publish")
            )
            return delivery
        answer = self._api.post(f"events/publish/{event_id}", {})
        if answer.status == 200 and value_of(answer).get("saved") is True:
            delivery.published = True
            return delivery
        why = message_of(value_of(answer), answer)
        if answer.status in (403, 405):  # this key never may
            delivery.notes.append((None, Outcome.DROPPED, Reason.REFUSED, f"not published: {why}"))
            return delivery
        delivery.notes.append(
            (None, Outcome.DROPPED, Reason.REFUSED, f"not published, tried again: {why}")
        )
        delivery.state, delivery.arrived = State.WAITING, True
        return _pending(job, delivery)


def _pending(job: Job, delivery: Delivery) -> Delivery:
    """A delivery that waits, with the record that an event that was published is to be published again."""
    if job.publish_again and delivery.state is State.WAITING:
        delivery.edits = (*delivery.edits, Edit(publish_pending=True))
    return delivery


def _set_distribution(delivery: Delivery, distribution: str) -> None:
    body = {**delivery.body, "distribution": distribution}
    delivery.delivered = replace(delivery.delivered, body=body)


def before_widening(event: MispEvent, base: Mapping[str, Any]) -> MispEvent:
    """An event as it may be before all that restricts it is stored: no distribution wider, no marking less.

    Args:
        event: what it shall be.
        base: what was delivered of it.

    Returns:
        The event itself where nothing in it gets wider.
    """
    kept: MispEvent = dict(event)
    ours, before = (
        str(event.get("distribution", "0")),
        str(base.get("distribution", event.get("distribution", "0"))),
    )
    if wider(ours, before):
        kept["distribution"] = before
        kept.pop("sharing_group_id", None)
        if before == "4":
            kept["sharing_group_id"] = base.get("sharing_group_id")
    wanted = {name.lower() for name in tag_names(event)}
    markings = [
        tag
        for tag in base.get("Tag") or ()
        if is_marking(tag["name"]) and tag["name"].lower() not in wanted
    ]
    if markings:
        kept["Tag"] = [*(event.get("Tag") or ()), *markings]
    changed = kept != event
    for name in ("Attribute", "Object", "EventReport"):
        if event.get(name):
            rows = by_uuid(base, name)
            kept[name] = [
                before_widening(part, rows.get(str(part["uuid"]), part)) for part in event[name]
            ]
            changed |= any(
                one is not other for one, other in zip(kept[name], event[name], strict=True)
            )
    return kept if changed else event


def _recorded(
    event: MispEvent,
    changes: Changes,
    base: Mapping[str, Any],
    gone: Collection[str] = (),
    left: Mapping[str, set[str]] | None = None,
    lost: Mapping[str, set[str]] | None = None,
) -> Delivered:
    """What of a wanted event is in MISP, and from us.

    Args:
        event: as it was wanted.
        changes: what was to be sent; what is in MISP by somebody else's hand is not ours.
        base: what was ours before.
        gone: UUIDs of parts that are not stored.
        left: UUID of a part -> fields that are not changed.
        lost: UUID of a part -> tags that are not stored.
    """
    tags = dict(changes.others_tags)
    for uuid, names in (lost or {}).items():
        tags[uuid] = tags.get(uuid, set()) | {name.lower() for name in names}
    body = without_tags(with_old_fields(without(event, gone), left or {}, base), tags)
    stay = {uuid for uuid, names in (left or {}).items() if "deleted" in names}
    return Delivered(
        with_parts_back(body, base, stay),
        analyst_kept={uuid: fields for uuid, fields in changes.analyst_kept.items() if fields},
        deleted_by_analyst=frozenset(changes.deleted_by_analyst),
        stored_values=dict(changes.stored_values),
    )


def _foreign(event: MispEvent, notes: list[Note]) -> Delivery:
    return Delivery(str(event["uuid"]), State.FOREIGN, Delivered(event), "foreign", notes=notes)
