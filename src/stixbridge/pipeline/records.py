"""The records of a delivery: before anything is sent, and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stixbridge.envelopes import Delivered, Edit, Wanted
from stixbridge.misp.model import Converted
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, LastDelivery, State
from stixbridge.sinks.places import carriers
from stixbridge.stix.versions import digest_of
from stixbridge.store import Store
from stixbridge.store.deliveries import DeliveryRow
from stixbridge.store.placements import Element


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """The store as a sink sees it while it delivers one event.

    Attributes:
        store: where deliveries are recorded.
        sink: the name of the sink.
        event: the UUID of the event.
        moment: of the run, microseconds.
    """

    store: Store
    sink: str
    event: str
    moment: int

    def begin(self, state: State, delivered: Delivered) -> None:
        """Record that the event is about to be created or deleted."""
        self.store.deliveries.set_delivered(
            self.sink,
            self.event,
            DeliveryRow(state, delivered),
            moment=self.moment,
            aliases=carriers(delivered),
        )

    def begin_edits(self, edits: tuple[Edit, ...]) -> None:
        """Record edits that are about to be sent."""
        self.store.deliveries.begin_edits(self.sink, self.event, edits)

    def known(self, uuid: str) -> bool:
        """Whether an event in the sink is one of ours, or carries one."""
        return self.store.deliveries.carries(self.sink, uuid)


def last_delivery(row: DeliveryRow | None) -> LastDelivery | None:
    """The last delivery of an event, from its row in the store."""
    if row is None:
        return None
    return LastDelivery(State(row.state), row.delivered, row.published, row.edits)


def record_delivery(store: Store, sink: Sink, job: Job, delivery: Delivery, moment: int) -> None:
    """Record the result of a job.

    Args:
        store: where deliveries are recorded.
        sink: that the event went to.
        job: of the event.
        delivery: of the event; its state is not `State.FAILED`.
        moment: of the run, microseconds.
    """
    # an incomplete one is sent again when the event is made again
    digest = b"" if delivery.incomplete else digest_in(job.wanted, sink)
    store.deliveries.set_delivered(
        sink.name,
        delivery.event,
        DeliveryRow(delivery.state, delivery.delivered, digest, delivery.published),
        moment=moment,
        notes=delivery.notes,
        aliases=carriers(delivery.delivered),
    )
    if delivery.edits:
        store.deliveries.begin_edits(sink.name, delivery.event, delivery.edits)


def digest_in(wanted: Wanted, sink: Sink) -> bytes:
    """A digest of an event as it shall be in a sink, and of the sink's settings."""
    return digest_of({"event": wanted.fields(), "settings": sink.settings})


def elements(row: Converted) -> Iterator[Element]:
    """The values in an event, as the store has them."""
    for attribute in row.event["Attribute"]:
        uuid = str(attribute["uuid"])
        for id_ in row.elements.get(uuid, ()):
            yield uuid, id_, "Attribute", attribute["type"], attribute["value"]
    for obj in row.event["Object"]:
        kind = f"Object {obj['name']}"
        ids = row.elements.get(str(obj["uuid"]), ())
        for attribute in obj.get("Attribute") or []:
            for id_ in ids:
                yield str(attribute["uuid"]), id_, kind, attribute["type"], attribute["value"]
