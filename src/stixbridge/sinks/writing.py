"""Writes one event to a MISP: adds it, or edits it with only what changed; then compares what is stored, and publishes.

"200 is not stored": MISP drops parts in silence, so every answer is compared with what was sent, by UUID, and each
missing part is asked for by itself, for the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .. import tlp
from ..errors import ServerError, Unreachable
from ..ledger import Outcome, Reason
from ..misp.model import MispEvent
from ..stopping import check
from .answers import event_in, message_of, value_of
from .changes import Changes, Policy, after_cut, compute, resume_base
from .delivery import Delivery, Job, Note, State
from .misp_api import MispApi
from .pieces import pieces
from .repairing import Repair, has_analyst_data
from .verification import lost_tags, missing, unstored, with_old_fields, without, without_tags

_PARTS = ("Attribute", "Object")
_MUST = frozenset({"to_ids", "distribution"})
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
        if last is not None and last.state is State.BLOCKED:
            notes.append((None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again"))
            return Delivery(str(event["uuid"]), State.BLOCKED, event, "blocked", notes=notes)
        if last is None or last.state not in (State.ADDING, State.DELIVERED, State.WAITING):
            return self.add(job, event, notes)
        held = self._api.event(str(event["uuid"]))
        if held is not None and last.intents:
            last = replace(last, body=after_cut(last.body, last.intents, held), intents=())
        if held is None:
            if last.state is State.ADDING:
                return self.add(job, event, notes)
            notes.append((None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again"))
            return Delivery(str(event["uuid"]), State.BLOCKED, event, "blocked", notes=notes)
        if last.state is State.ADDING:
            return self._resume(job, event, last.body, self._api.settled(str(event["uuid"])), notes)
        if last.state is State.WAITING and last.body.get("distribution") == "0" != event.get("distribution"):
            # a marking was lost: it has to be there before anything gets wider
            narrow = self.edit(job, {**event, "distribution": "0"}, last.body, held, [], published=False, finish=False)
            held = self._api.event(str(event["uuid"]))
            if narrow.state is not State.DELIVERED or held is None:
                return narrow
            return self.edit(job, event, narrow.body, held, notes, published=False)
        return self.edit(job, event, last.body, held, notes, published=last.published)

    def add(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        """Add an event that is not there as far as we know; see `write`."""
        uuid = str(event["uuid"])
        job.begin(State.ADDING, event)
        first, *rest = pieces(event, self._chunk, self._max_request)
        route = "events/add/metadata:1" if rest else "events/add"
        try:
            answer = self._api.post(route, first)
        except Unreachable:
            # the server may go on without us: look, never send again blindly
            held = self._api.settled(uuid)
            if held is None:
                raise
            return self._resume(job, event, event, held, notes)
        value = value_of(answer)
        made = event_in(value)
        if answer.status == 200 and made is not None:
            stored = self._followed(uuid, rest, notes) if rest else made
            return self._verified(job, event, stored, notes, "created")
        message = message_of(value, answer)
        if answer.status == 404 and "already exists" in message:
            return _foreign(event, notes)
        if answer.status == 403 and "blocklist" in message:
            notes.append(
                (None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP before; it is on the event blocklist")
            )
            return Delivery(uuid, State.BLOCKED, event, "blocked", notes=notes)
        if answer.status in (401, 403) and not value.get("errors"):
            raise self._api.failed("events/add", answer, message)
        if answer.status >= 500 or not value:
            held = self._api.settled(uuid)
            if held is not None:
                return self._resume(job, event, event, held, notes)
            raise self._api.failed("events/add", answer, message)
        notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return Delivery(uuid, State.REFUSED, event, "refused", notes=notes)

    def _resume(
        self,
        job: Job,
        event: MispEvent,
        sent: Mapping[str, Any],
        held: Mapping[str, Any] | None,
        notes: list[Note],
    ) -> Delivery:
        """Go on with an add that was cut: of what was sent, what arrived is the base of an edit."""
        if held is None:
            return self.add(job, event, notes)
        owner = str((held.get("Orgc") or {}).get("uuid") or "")
        wanted = {str(row["uuid"]) for one in (event, sent) for name in _PARTS for row in one.get(name) or []}
        theirs = {str(row["uuid"]) for name in _PARTS for row in held.get(name) or []}
        ours = (self._owner, self._api.rights().org_uuid)
        if owner not in ours or (theirs and wanted and not theirs & wanted):
            return _foreign(event, notes)
        base = resume_base(sent, held)
        return self.edit(job, event, base, held, notes, published=False, action="created")

    def edit(
        self,
        job: Job,
        event: MispEvent,
        base: Mapping[str, Any],
        held: Mapping[str, Any],
        notes: list[Note],
        *,
        published: bool,
        action: str = "updated",
        finish: bool = True,
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
        """
        changes = compute(event, base, held, self._policy)
        notes.extend(changes.notes)
        uuid = str(event["uuid"])
        if not changes.body and not changes.said:
            delivery = Delivery(
                uuid, State.DELIVERED, event, action if action == "created" else "unchanged", published, notes
            )
            return self._publish(job, delivery, str(held.get("id") or uuid)) if finish else delivery
        job.intend(changes.body)
        changes.refused = self._repair.analyst_data(uuid, changes.said, notes)
        if not changes.body:
            return self._verified(job, event, held, notes, action, changes, base, finish=finish)
        first, *rest = pieces(changes.body, self._chunk, self._max_request)
        stored = self._edited(uuid, first, notes, whole=not rest)
        if stored is None:
            return Delivery(uuid, State.WAITING, dict(base), "refused", published, notes)
        if rest:
            stored = self._followed(uuid, rest, notes)
        was_published = held.get("published") in (True, "1", 1)
        if was_published and self._keep_published:
            job.publish = True
        elif was_published and not job.publish:
            notes.append(
                (None, Outcome.PRESERVED, Reason.CONFLICT, "was published; an edit unpublishes, publish it again")
            )
        return self._verified(job, event, stored, notes, action, changes, base, finish=finish)

    def _edited(self, uuid: str, body: MispEvent, notes: list[Note], *, whole: bool = False) -> dict[str, Any] | None:
        """Send an edit; what MISP answers of the event, without its parts unless `whole`; None where it refuses."""
        route = f"events/edit/{uuid}" if whole else f"events/edit/{uuid}/metadata:1"
        answer = self._api.post(route, {"Event": body})
        value = value_of(answer)
        edited = event_in(value)
        if answer.status == 200 and edited is not None:
            return edited
        message = message_of(value, answer)
        if answer.status >= 500 or not value or (answer.status in (401, 403) and not value.get("errors")):
            raise self._api.failed(route, answer, message)
        notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return None

    def _followed(self, uuid: str, rest: list[MispEvent], notes: list[Note]) -> dict[str, Any]:
        """Send the other pieces of a large event; what is stored in the end.

        A cut leaves some of them: the next run sees which, and sends the others.
        """
        for piece in rest:
            check()
            self._edited(uuid, piece, notes)
        stored = self._api.event(uuid)
        if stored is None:
            raise ServerError(f"sink {self._name}: event {uuid} is gone while it was being filled")
        return stored

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
            left = {**kept, **{one.uuid: set(one.fields) for one in changes.refused if one.fields}}
        body = with_old_fields(without(event, gone), left, base or {})
        lost = lost_tags(sent, stored)
        for tag in sorted(lost):
            marking = tlp.is_tlp_tag(tag) or tag.startswith("PAP:")
            if marking:
                notes.append(
                    (None, Outcome.PRESERVED, Reason.HELD_MARKING, f"{tag} was not stored; kept at distribution 0")
                )
            else:
                notes.append((None, Outcome.DROPPED, Reason.MISP_DROPPED, f"tag {tag}"))
        delivery = Delivery(uuid, State.DELIVERED, without_tags(body, lost), action, False, notes)
        delivery.incomplete = bool(lost or left)
        if any(note[2] is Reason.HELD_MARKING for note in notes):
            if str(stored.get("distribution")) != "0":
                self._api.post(f"events/edit/{uuid}", {"Event": {"distribution": "0"}})
            delivery.state = State.WAITING
            delivery.body = {**delivery.body, "distribution": "0"}
            return delivery
        if any(fields & _MUST for fields in left.values()):
            delivery.state = State.WAITING  # what has to be withdrawn is tried again at every run
            return delivery
        return self._publish(job, delivery, str(stored.get("id") or uuid)) if finish else delivery

    def _publish(self, job: Job, delivery: Delivery, event_id: str) -> Delivery:
        """The last step, without e-mail, and only for a complete event."""
        last_published = job.last is not None and job.last.published and delivery.action == "unchanged"
        if not job.publish or last_published:
            delivery.published = last_published
            return delivery
        if self._only_complete and any(note[2] is Reason.MISP_DROPPED for note in delivery.notes):
            note = "not published: not complete, and only_complete says so"
            delivery.notes.append((None, Outcome.PRESERVED, Reason.REFUSED, note))
            return delivery
        if not self._api.rights().publish:
            delivery.notes.append((None, Outcome.DROPPED, Reason.REFUSED, "not published: the role may not publish"))
            return delivery
        answer = self._api.post(f"events/publish/{event_id}", {})
        if answer.status == 200 and value_of(answer).get("saved") is True:
            delivery.published = True
        else:
            message = f"not published: {message_of(value_of(answer), answer)}"
            delivery.notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return delivery


def _foreign(event: MispEvent, notes: list[Note]) -> Delivery:
    return Delivery(str(event["uuid"]), State.FOREIGN, event, "foreign", notes=notes)
