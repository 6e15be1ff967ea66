"""The last step of a delivery: the event is published, without e-mail, where it is complete."""

from __future__ import annotations

from stixbridge.envelopes import Edit
from stixbridge.ledger import Outcome, Reason
from stixbridge.sinks.delivery import Delivery, Job, State
from stixbridge.sinks.misp.answers import message_of, value_of
from stixbridge.sinks.misp.api import MispApi


class Publisher:
    """Publishes events of one MISP.

    Args (of the constructor):
        api: the MISP.
        only_complete: publish no event of which MISP dropped a part.
    """

    def __init__(self, api: MispApi, *, only_complete: bool) -> None:
        self._api = api
        self._only_complete = only_complete

    def publish(self, job: Job, delivery: Delivery, event_id: str) -> Delivery:
        """Publish an event where its job asks for it.

        Args:
            job: of the event.
            delivery: of the event, delivered; changed.
            event_id: of the event in MISP.

        Returns:
            The delivery; it waits where MISP may publish the event later.
        """
        unchanged = delivery.action == "unchanged"
        published = job.last is not None and job.last.published and unchanged
        if not job.publish or published:
            delivery.published = published
            return delivery
        why = self._why_not(delivery)
        if why is not None:
            delivery.notes.append(why)
            return delivery
        answer = self._api.post(f"events/publish/{event_id}", {})
        value = value_of(answer)
        if answer.status == 200 and value.get("saved") is True:
            delivery.published = True
            return delivery
        message = message_of(value, answer)
        if answer.status in (403, 405):  # this key never may
            text = f"not published: {message}"
            delivery.notes.append((None, Outcome.DROPPED, Reason.REFUSED, text))
            return delivery
        text = f"not published, tried again: {message}"
        delivery.notes.append((None, Outcome.DROPPED, Reason.REFUSED, text))
        delivery.state, delivery.arrived = State.WAITING, True
        return with_pending_publication(job, delivery)

    def _why_not(self, delivery: Delivery) -> tuple[None, Outcome, Reason, str] | None:
        """A note on why an event may not be published; None where it may."""
        incomplete = any(reason is Reason.MISP_DROPPED for _, _, reason, _ in delivery.notes)
        if self._only_complete and incomplete:
            text = "not published: not complete, and only_complete says so"
            return None, Outcome.PRESERVED, Reason.REFUSED, text
        if not self._api.rights().publish:
            text = "not published: the role may not publish"
            return None, Outcome.DROPPED, Reason.REFUSED, text
        return None


def with_pending_publication(job: Job, delivery: Delivery) -> Delivery:
    """A delivery with the record that the event was published and is to be published again.

    Args:
        job: of the event.
        delivery: changed, where it waits.
    """
    if job.publish_again and delivery.state is State.WAITING:
        delivery.edits = (*delivery.edits, Edit(publish_pending=True))
    return delivery
