"""Writes one event to a MISP: adds it, or edits it with only our own changes.

Then the answer is compared with what was sent (`confirm`), and the event is published (`publish`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stixbridge.envelopes import Delivered, Edit
from stixbridge.errors import ServerError, Unreachable
from stixbridge.http import Answer
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import Delivery, LastDelivery, PartRecord, State
from stixbridge.sinks.fields import VALUES, in_lists, is_set
from stixbridge.sinks.misp.answers import event_in, message_of, table, value_of
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.chunks import chunks
from stixbridge.sinks.misp.confirm import Confirmation, as_delivered
from stixbridge.sinks.misp.diff import Changes, Policy, compare
from stixbridge.sinks.misp.event_write import EventWrite, Sent, Start
from stixbridge.sinks.misp.publish import Publisher, with_pending_publication
from stixbridge.sinks.misp.recovery import after_interruption, arrived
from stixbridge.sinks.misp.repair import Repair
from stixbridge.sinks.misp.widening import before_widening
from stixbridge.stopping import check

_OURS = frozenset({State.ADDING, State.DELIVERED, State.WAITING})
_BLOCKED = "deleted in MISP; not created again"


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """How events are written.

    Attributes:
        chunk: attributes in one request; a larger event goes in several.
        max_request: bytes of one request.
        policy: whose change counts where the source and an analyst both changed something.
        keep_published: publish an event again that was published before an edit of ours.
        only_complete: publish no event of which MISP dropped a part.
        owner: UUID of the organisation that our events carry, where it is not the key's own.
    """

    chunk: int = 1_000
    max_request: int = 10_000_000
    policy: Policy = field(default_factory=Policy)
    keep_published: bool = False
    only_complete: bool = False
    owner: str | None = None


class EventWriter:
    """Writes events to one MISP, one at a time; several threads may.

    Args (of the constructor):
        api: the MISP.
        name: of the sink, for messages.
        settings: how events are written.
    """

    def __init__(self, api: MispApi, name: str, settings: WriteSettings) -> None:
        self._api = api
        self._name = name
        self._settings = settings
        self._repair = Repair(api)
        self._confirmation = Confirmation(api, self._repair)
        self._publisher = Publisher(api, only_complete=settings.only_complete)

    def write(self, write: EventWrite) -> Delivery:
        """Bring an event to what is wanted, however it was delivered before.

        Returns:
            The result; `State.FOREIGN`, and nothing written, where an event of this UUID is
            somebody else's.

        Raises:
            ServerError: when MISP fails as a whole.
        """
        last, restores = write.job.last, self._settings.policy.restore
        if last is not None and last.state is State.BLOCKED and not restores:
            return _blocked(write, _BLOCKED)
        if last is None or last.state not in _OURS:
            return self.add(write)
        remote = self._api.event(write.uuid)
        if remote is None:
            adds = last.state is State.ADDING or restores
            return self.add(write) if adds else _blocked(write, _BLOCKED)
        edits = last.edits
        if edits:
            last = _after_interruption(write, last, remote)
        if last.state is State.ADDING:
            return self._resume(write, last.delivered, self._api.settled(write.uuid))
        return self.edit(write, Start(last.delivered, remote, last.published, edits))

    # adding

    def add(self, write: EventWrite) -> Delivery:
        """Add an event that is not in MISP as far as we know; see `write`."""
        write.job.begin(State.ADDING, Delivered(write.event))
        first, *rest = self._chunks(write.event)
        route = "events/add/metadata:1" if rest else "events/add"
        try:
            answer = self._api.post(route, first)
        except Unreachable:
            # the server may go on without us: look, never send again blindly
            remote = self._api.settled(write.uuid)
            if remote is None:
                raise
            return self._resume(write, Delivered(write.event), remote)
        made = event_in(value_of(answer))
        if answer.status != 200 or made is None:
            return self._not_added(write, answer)
        stored = self._follow(write, rest)[0] if rest else made
        sent = Sent(Changes(body=write.event), None, "created")
        return self._finish(write, sent, stored)

    def _not_added(self, write: EventWrite, answer: Answer) -> Delivery:
        """Read why MISP did not add an event.

        Raises:
            ServerError: when the reason is not the event.
        """
        value = value_of(answer)
        message = message_of(value, answer)
        if answer.status == 404 and "already exists" in message:
            return write.result(State.FOREIGN)
        if answer.status == 403 and "blocklist" in message:
            return _blocked(write, "deleted in MISP before; it is on the event blocklist")
        if answer.status in (401, 403) and not value.get("errors"):
            raise self._api.failed("events/add", answer, message)
        if answer.status >= 500 or not value:
            remote = self._api.settled(write.uuid)
            if remote is None:
                raise self._api.failed("events/add", answer, message)
            return self._resume(write, Delivered(write.event), remote)
        write.notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return write.result(State.REFUSED)

    def _resume(
        self, write: EventWrite, sent: Delivered, remote: Mapping[str, Any] | None
    ) -> Delivery:
        """Go on with an interrupted add: an edit starts from the parts that arrived."""
        if remote is None:
            return self.add(write)
        owner = str(table(remote, "Orgc").get("uuid") or "")
        wanted = _uuids(write.event) | _uuids(sent.body)
        present = _uuids(remote)
        unknown = present and wanted and not present & wanted
        if unknown or owner not in (self._settings.owner, self._api.rights().org_uuid):
            return write.result(State.FOREIGN)
        delivered = replace(sent, body=arrived(sent.body, remote))
        return self.edit(write, Start(delivered, remote, action="created"))

    # editing

    def edit(self, write: EventWrite, start: Start) -> Delivery:
        """Edit an event that is in MISP.

        Args:
            write: of the event.
            start: the parts that are ours, and the event as MISP has it.
        """
        job = write.job
        was_published = is_set(start.remote.get("published"))
        kept = start.keeps_published and was_published and self._settings.keep_published
        if kept or any(edit.publish_pending for edit in start.edits):
            job.publish = job.publish_again = True
        narrow = before_widening(write.event, start.delivered.body)
        if narrow is write.event:
            delivery = self._edit_once(write, start, finish=True)
        else:
            delivery = self._edit_twice(write, narrow, start)
        delivery = with_pending_publication(job, delivery)
        if was_published and delivery.action != "unchanged" and not job.publish:
            text = "was published; an edit unpublishes, publish it again"
            write.notes.append((None, Outcome.PRESERVED, Reason.CONFLICT, text))
        return delivery

    def _edit_twice(self, write: EventWrite, narrow: MispEvent, start: Start) -> Delivery:
        """Edit an event that gets wider in two steps.

        Everything else comes first, and is seen to be stored: nothing has more readers before what
        restricts it is there.
        """
        first = EventWrite(write.job, narrow, [])
        delivery = self._edit_once(first, replace(start, action="updated"), finish=False)
        edited = delivery.action != "unchanged"
        remote = self._api.event(write.uuid) if edited else start.remote
        if delivery.state is not State.DELIVERED or remote is None:
            write.notes.extend(first.notes)
            delivery.notes = write.notes
            return delivery
        # the second step does not meet these conflicts
        write.notes.extend(note for note in first.notes if note[2] is Reason.CONFLICT)
        start = replace(start, delivered=delivery.delivered, remote=remote)
        delivery = self._edit_once(write, start, finish=not edited)
        if edited and delivery.state is State.DELIVERED:
            delivery.action = start.action
            return self._publish(write, delivery, remote)
        return delivery

    def _edit_once(self, write: EventWrite, start: Start, *, finish: bool) -> Delivery:
        """Send the changes of an event, and compare.

        Args:
            write: of the event.
            start: the point that the edit starts from.
            finish: publish the event in the end.
        """
        changes = compare(write.event, start.delivered, start.remote, self._settings.policy)
        write.notes.extend(changes.notes)
        before = start.delivered.body
        if not changes.body and not changes.analyst_data:
            delivered = as_delivered(write.event, changes, before)
            action = start.action if start.action == "created" else "unchanged"
            delivery = Delivery(
                write.uuid, State.DELIVERED, delivered, action, start.published, write.notes
            )
            return self._publish(write, delivery, start.remote) if finish else delivery
        edit = Edit(changes.body, write.job.publish_again, tuple(changes.analyst_data))
        write.job.begin_edit(edit)
        changes.refused = self._repair.analyst_data(write.uuid, changes.analyst_data, write.notes)
        sent = Sent(changes, before, start.action)
        if not changes.body:
            return self._finish(write, sent, start.remote, publish=finish)
        return self._send(write, sent, start, finish=finish)

    def _send(self, write: EventWrite, sent: Sent, start: Start, *, finish: bool) -> Delivery:
        """Send an edit in as many requests as it needs."""
        first, *rest = self._chunks(sent.changes.body)
        stored = self._post_edit(write, first, whole=not rest)
        if stored is None:
            # notes may have been changed all the same
            edits = write.job.last.edits if write.job.last is not None else ()
            return Delivery(
                write.uuid,
                State.WAITING,
                start.delivered,
                "refused",
                start.published,
                write.notes,
                edits=edits,
            )
        refused = False
        if rest:
            stored, refused = self._follow(write, rest)
        delivery = self._finish(write, sent, stored, publish=finish and not refused)
        if refused:
            delivery.state = State.WAITING
        return delivery

    def _chunks(self, body: MispEvent) -> list[MispEvent]:
        return chunks(body, self._settings.chunk, self._settings.max_request)

    def _post_edit(
        self, write: EventWrite, body: MispEvent, *, whole: bool = False
    ) -> dict[str, Any] | None:
        """Send an edit.

        Returns:
            The event as MISP answers it, without its parts unless `whole`; None where MISP refuses
            the edit.
        """
        route = f"events/edit/{write.uuid}" + ("" if whole else "/metadata:1")
        answer = self._api.post(route, {"Event": body})
        value = value_of(answer)
        edited = event_in(value)
        if answer.status == 200 and edited is not None:
            return edited
        message = message_of(value, answer)
        if answer.status >= 500 or not value or _is_about_the_key(answer, value, message):
            raise self._api.failed(route, answer, message)
        write.notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return None

    def _follow(self, write: EventWrite, rest: list[MispEvent]) -> tuple[dict[str, Any], bool]:
        """Send the other requests of a large event.

        After an interruption the next run sees which of them arrived, and sends the others.

        Returns:
            The event as MISP has it in the end, and whether MISP refused a request.
        """
        refused = False
        for body in rest:
            check()
            refused |= self._post_edit(write, body) is None
        stored = self._api.event(write.uuid)
        if stored is None:
            raise ServerError(
                f"sink {self._name}: event {write.uuid} was deleted while it was being filled"
            )
        return stored, refused

    # the end

    def _finish(
        self, write: EventWrite, sent: Sent, stored: Mapping[str, Any], *, publish: bool = True
    ) -> Delivery:
        """Compare what is stored with what was sent, and publish."""
        delivery = self._confirmation.confirm(write, sent, stored)
        if publish and delivery.state is State.DELIVERED:
            return self._publish(write, delivery, stored)
        return delivery

    def _publish(
        self, write: EventWrite, delivery: Delivery, remote: Mapping[str, Any]
    ) -> Delivery:
        event_id = str(remote.get("id") or write.uuid)
        return self._publisher.publish(write.job, delivery, event_id)


def _after_interruption(
    write: EventWrite, last: LastDelivery, remote: Mapping[str, Any]
) -> LastDelivery:
    """The last delivery with the interrupted edits that arrived."""
    delivered = after_interruption(last.delivered, last.edits, remote)
    last = replace(last, delivered=delivered, edits=())
    if last.state is not State.ADDING and not isinstance(write.job.record, PartRecord):
        # so that edits that fail again and again don't pile up
        write.job.begin(State.WAITING, last.delivered)
    return last


def _blocked(write: EventWrite, text: str) -> Delivery:
    write.notes.append((None, Outcome.DROPPED, Reason.BLOCKED, text))
    return write.result(State.BLOCKED)


def _is_about_the_key(answer: Answer, value: Mapping[str, Any], message: str) -> bool:
    """Whether MISP refuses the key, and not this event."""
    if answer.status not in (401, 403) or value.get("errors"):
        return False
    return not (answer.status == 403 and "not authorised" in message)


def _uuids(event: Mapping[str, Any]) -> set[str]:
    return {str(row["uuid"]) for row in in_lists(event, VALUES)}
