"""The way of one event to a MISP.

It is prepared (as this MISP takes it), then written as what it is there: an event of ours, several
linked ones, one that somebody else made and that ours was adopted by, or one that extends theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stixbridge.envelopes import Adoption, Delivered, Wanted
from stixbridge.ledger import Outcome, Reason
from stixbridge.sinks.delivery import OURS, Delivery, Job, LastDelivery, Note, PartRecord, State
from stixbridge.sinks.misp.adopted import as_adopted, event_as_adopted, in_our_terms
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.carry_over import record_as_wanted, with_edits
from stixbridge.sinks.misp.delete import after_deletion, deleted, had_parts
from stixbridge.sinks.misp.diff import Policy
from stixbridge.sinks.misp.event_write import EventWrite
from stixbridge.sinks.misp.foreign import Foreign
from stixbridge.sinks.misp.prepare import Preparation
from stixbridge.sinks.misp.settings import MispSettings
from stixbridge.sinks.misp.split import deliver_split, is_split
from stixbridge.sinks.misp.tags import NewTags
from stixbridge.sinks.misp.upload_stix import upload
from stixbridge.sinks.misp.write import EventWriter, WriteSettings
from stixbridge.sinks.places import carriers, share_uuid
from stixbridge.sinks.withdrawal import WITHDRAWN, narrowed, parts, withdrawn

Allowed = Callable[[Wanted, list[Note]], Wanted | None]
"""An event without everything that may not go into the MISP (`Sink.allowed`)."""


class EventDelivery:
    """Delivers events to one MISP, one at a time; several threads may.

    Args (of the constructor):
        api: the MISP.
        name: of the sink, for messages.
        settings: of the sink.
        allowed: keeps out what may not go into the sink.
    """

    def __init__(self, api: MispApi, name: str, settings: MispSettings, allowed: Allowed) -> None:
        orgc = settings.orgc.to_dict() if settings.orgc is not None else None
        ours = frozenset(field for field, whose in settings.conflicts.items() if whose == "ours")
        self._api = api
        self._settings = settings
        self._allowed = allowed
        self._new_tags = NewTags()
        self.preparation = Preparation(
            api, orgc, settings.clusters, deletes=settings.empty == "delete"
        )
        self._writer = EventWriter(
            api,
            name,
            WriteSettings(
                chunk=settings.chunk,
                max_request=settings.max_request,
                policy=Policy(ours, settings.deleted == "restore"),
                keep_published=settings.keep_published,
                only_complete=settings.only_complete,
                owner=orgc["uuid"] if orgc is not None else None,
            ),
        )
        self._foreign = Foreign(settings.foreign, settings.recognise, api, self._writer)

    def deliver(self, job: Job) -> Delivery:
        """Deliver one event; in a dry run, tell what would change.

        Raises:
            ServerError: when MISP fails; the next run goes on from what arrived.
        """
        before = carriers(job.last.delivered) if job.last is not None else []
        uploads = self._settings.mode == "upload_stix"
        delivery = self._upload(job) if uploads else self._event(job)
        if job.whole:
            uuids = dict.fromkeys([delivery.event, *before, *carriers(delivery.delivered)])
            delivery.changes = self._api.changes(uuids)
        return delivery

    def _event(self, job: Job) -> Delivery:
        """Deliver one event by our own conversion."""
        notes: list[Note] = []
        deleting = job.last is not None and job.last.state is State.DELETING
        job.last = after_deletion(self._api, job, notes)
        allowed = self._allowed(job.wanted, notes)
        if allowed is None and not self._is_there(job):
            return _left_out(job, "left out", notes)
        wanted = _wanted(job, allowed)
        empty = not parts(wanted.event)
        if deleting and job.last is None and empty:
            return _left_out(job, "deleted", notes)
        deletes = self._settings.empty == "delete" and empty and (deleting or had_parts(job))
        delivery = self._prepare_and_send(job, wanted, notes, deletes=deletes)
        if allowed is None and delivery.state is State.DELIVERED:
            delivery.action = "left out"
        return delivery

    def _prepare_and_send(
        self, job: Job, wanted: Wanted, notes: list[Note], *, deletes: bool
    ) -> Delivery:
        """Prepare an event and write it; delete it then, where nothing is left in it."""
        last = job.last.delivered if job.last is not None else None
        event, problem = self.preparation.apply(wanted, last, notes)
        write = EventWrite(job, event, notes)
        if problem is not None:
            return self._put_off(write, problem)
        delivery = self._send(write)
        if job.wanted.clusters and delivery.state in OURS:
            delivery.delivered = replace(delivery.delivered, clusters=job.wanted.clusters)
        return deleted(self._api, job, delivery) if deletes else delivery

    def _send(self, write: EventWrite) -> Delivery:
        """Write a prepared event, with the edits of analysts that its values bring along."""
        job = write.job
        event = with_edits(write.event, job.inherited)
        for uuid, fields in job.inherited.items():
            text = f"as somebody made it where it comes from: {', '.join(sorted(fields))}"
            write.notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, text))
        with self._new_tags.brought_by(event) as bringing:
            delivery = self._write(EventWrite(job, event, write.notes))
            record_as_wanted(delivery, write.event, job.inherited)
            bringing.arrived = delivery.state in OURS
        delivery.event = job.uuid
        return delivery

    def _write(self, write: EventWrite) -> Delivery:
        """Write an event as what it is in this MISP."""
        last = write.job.last
        adopted = last.delivered.adopted if last is not None else None
        if adopted is not None:
            return self._write_adopted(write, adopted)
        recognised = self._foreign.recognised(write)
        if recognised is not None:
            return recognised
        if is_split(write.event, last, self._settings.split):
            delivery = self._write_split(write)
        else:
            delivery = self._writer.write(write)
        if delivery.state is not State.FOREIGN:
            return delivery
        if self._foreign.policy == "adopt" and self._api.event(share_uuid(write.uuid, 1)):
            # ours, from a store that was lost: which part is in which event is seen there
            write.job.last = LastDelivery(State.ADDING, Delivered(write.event))
            return self._write_split(write)
        return self._foreign.deliver(write)

    def _write_split(self, write: EventWrite) -> Delivery:
        most = self._settings.split
        return deliver_split(write, most, self._api.event, self._writer.write)

    def _write_adopted(self, write: EventWrite, adopted: Adoption) -> Delivery:
        """Write an event under the UUIDs that it has in an event of somebody else."""
        job = write.job
        adopted = replace(adopted, restricted=job.wanted.restricted)
        publish = job.publish and (adopted.policy != "adopt" or adopted.published)
        part = replace(job, record=PartRecord(job, adopted), publish=publish)
        if part.last is not None:
            part.last = replace(part.last, delivered=as_adopted(part.last.delivered, adopted))
        event = event_as_adopted(write.event, adopted)
        delivery = self._writer.write(EventWrite(part, event, write.notes))
        before = job.last.delivered if job.last is not None else None
        delivery.delivered = in_our_terms(delivery.delivered, write.event, adopted, before)
        return delivery

    def _is_there(self, job: Job) -> bool:
        """Whether an event of ours is in MISP, as far as we know.

        Where an add was interrupted, MISP is asked.
        """
        if job.last is not None and job.last.state is State.ADDING:
            return self._api.event(job.uuid) is not None
        return job.last is not None and job.last.state in OURS

    def _put_off(self, write: EventWrite, action: str) -> Delivery:
        """Put off an event that can't be delivered now; one that is ours stays, or is narrowed.

        Args:
            write: of the event.
            action: `refused`, or `held`: a marking can't be stored.
        """
        last = write.job.last
        if last is not None and last.state in OURS:
            narrow = narrowed(last.body, write.event)
            if action == "held" and narrow != last.body:
                narrowing = EventWrite(replace(write.job, publish=False), narrow, write.notes)
                return self._narrow(narrowing, last, action)
            state = State.WAITING
        elif last is not None and last.state is State.ADDING:
            state = State.ADDING
        else:
            return write.result(State.HELD, action)
        delivery = Delivery(write.job.uuid, state, last.delivered, action, notes=write.notes)
        if state is State.WAITING:
            delivery.published, delivery.edits = last.published, last.edits
        return delivery

    def _narrow(self, write: EventWrite, last: LastDelivery, action: str) -> Delivery:
        """Narrow an event that shall be marked more strictly and can't be: nobody else reads it."""
        delivery = self._write(write)
        delivery.event, delivery.action = write.job.uuid, action
        if delivery.state in OURS:
            delivery.state = State.WAITING
        if last.delivered.clusters:
            delivery.delivered = replace(delivery.delivered, clusters=last.delivered.clusters)
        return delivery

    def _upload(self, job: Job) -> Delivery:
        """Hand the STIX over as it is; MISP converts it, and only adds."""
        self.preparation.limits()
        last, adopts = job.last, self._foreign.policy == "adopt"
        adopted = last is not None and last.delivered.adopted is not None
        if adopted:
            return self._event(job)
        if last is not None and adopts:
            # MISP knows it by now: our own conversion updates it, as an adopted event
            return self._event(replace(job, last=None))
        if last is not None and last.state is State.ADDING:
            if self._api.event(job.uuid) is not None:  # it arrived all the same
                delivered = Delivered.of(job.wanted)
                return Delivery(job.uuid, State.DELIVERED, delivered, "created")
        elif last is not None:
            text = (
                "changed since it was uploaded; MISP's own import can't update it:"
                ' use mode = "api" for that'
            )
            notes: list[Note] = [(None, Outcome.DROPPED, Reason.REFUSED, text)]
            return Delivery(job.uuid, last.state, last.delivered, "refused", notes=notes)
        delivery = upload(self._api, job)
        if delivery.state is State.FOREIGN and adopts:
            return self._event(replace(job, last=None))
        return delivery


def _left_out(job: Job, action: str, notes: list[Note]) -> Delivery:
    return Delivery(job.uuid, State.OUT, Delivered.of(job.wanted), action, notes=notes)


def _wanted(job: Job, allowed: Wanted | None) -> Wanted:
    """An event as it shall be in the MISP.

    Args:
        job: of the event.
        allowed: the event without what may not go in; None where all of it may not.
    """
    last = job.last
    if allowed is None:
        # under its old title: the new one may be too strict
        wanted = withdrawn(last.delivered if last is not None else Delivered.of(job.wanted))
        allowed = replace(wanted, event={**wanted.event, "uuid": job.uuid})
    adopted = last.delivered.adopted if last is not None else None
    emptied = str(allowed.event["info"]).startswith(WITHDRAWN)
    if last is None or adopted is None or adopted.policy != "adopt" or not emptied:
        return allowed
    # it is somebody else's as well: it keeps its title
    return replace(allowed, event={**allowed.event, "info": last.body["info"]})
