"""Delivery to one sink without a pipeline: events made by hand, and the memory of what was
delivered.
"""

import copy
import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

from doubles.misp import MispDouble

from stixbridge.envelopes import Delivered, Edit, Wanted
from stixbridge.errors import ServerError
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, LastDelivery, State
from stixbridge.sinks.misp.sink import MispSink

from .misp import Misp

Json = dict[str, Any]

SECONDS = 1_767_600_000
FILE_TEMPLATE = "688c46fb-5edb-40a3-8273-1af7923e2215"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def derived(event_uuid: str, *parts: str) -> str:
    """The UUID of a part of an event: the same for the same parts."""
    return str(uuid.uuid5(uuid.UUID(event_uuid), " ".join(parts)))


def attribute(event_uuid: str, value: str, type_: str = "ip-dst", **more: Any) -> Json:
    """An attribute as the conversion makes it."""
    return {
        "uuid": derived(event_uuid, type_, value), "type": type_, "category": "Network activity",
        "value": value, "to_ids": True, "disable_correlation": False, "distribution": "5",
        "comment": "", "timestamp": str(SECONDS),
        **more,
    }  # fmt: skip


def file_object(event_uuid: str, name: str = "evil.exe", md5: str = MD5, **more: Any) -> Json:
    """A file object with a name and a hash."""
    part_uuid = derived(event_uuid, "file", name)
    inner = [
        attribute(
            part_uuid,
            name,
            "filename",
            object_relation="filename",
            category="Payload delivery",
            to_ids=False,
        ),
        attribute(part_uuid, md5, "md5", object_relation="md5", category="Payload delivery"),
    ]
    return {
        "uuid": part_uuid, "name": "file", "meta-category": "file", "template_uuid": FILE_TEMPLATE,
        "template_version": "25", "distribution": "5", "comment": "", "timestamp": str(SECONDS),
        "Attribute": inner, **more,
    }  # fmt: skip


def report(event_uuid: str, name: str, content: str) -> Json:
    """An event report."""
    part_uuid = derived(event_uuid, "report", name)
    return {
        "uuid": part_uuid,
        "name": name,
        "content": content,
        "distribution": "5",
        "timestamp": str(SECONDS),
    }


def sighting(event_uuid: str, name: str, type_: str = "0") -> Json:
    """A sighting."""
    part_uuid = derived(event_uuid, "sighting", name)
    return {"uuid": part_uuid, "type": type_, "source": "acme", "date_sighting": str(SECONDS)}


def event(event_uuid: str, *attributes: Json, **more: Any) -> Json:
    """An event as the conversion makes it."""
    return {
        "uuid": event_uuid, "info": "stixbridge test", "date": "2026-01-05", "threat_level_id": "4",
        "analysis": "2", "distribution": "0", "published": False, "timestamp": str(SECONDS),
        "Attribute": list(attributes), "Object": [], **more,
    }  # fmt: skip


def tags(*names: str) -> list[Json]:
    """Tags by name."""
    return [{"name": name} for name in names]


def tagged(part: Json) -> list[str]:
    """The names of a part's tags, sorted."""
    return sorted(tag["name"] for tag in part.get("Tag") or [])


def changed(part: Json, **fields: Any) -> Json:
    """A copy with other fields."""
    return {**copy.deepcopy(part), **fields}


def sink_of(misp: Misp | MispDouble, **settings: Any) -> MispSink:
    """A sink to a MISP, with some settings."""
    return MispSink(misp.url, misp.key, **settings)


class Delivering:
    """Delivers events to a sink and remembers how each stands, as a pipeline's store does."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.last: dict[str, LastDelivery] = {}

    def __call__(
        self,
        wanted: Json | Wanted,
        *,
        publish: bool = False,
        stix: Callable[[], list[Json]] = list,
    ) -> Delivery:
        """Deliver one event."""
        envelope = copy.deepcopy(wanted if isinstance(wanted, Wanted) else Wanted.of(wanted))
        event_uuid = envelope.uuid
        job = Job(
            envelope, self.last.get(event_uuid), _Record(self, event_uuid), publish, stix, SECONDS
        )
        (delivery,) = list(self.sink.deliver([job]))
        if delivery.error is not None:
            raise delivery.error
        self.last[event_uuid] = LastDelivery(
            delivery.state, delivery.delivered, delivery.published, delivery.edits
        )
        return delivery


@dataclasses.dataclass
class _Record:
    """What a store takes down."""

    of: Delivering
    event: str

    def begin(self, state: State, delivered: Delivered) -> None:
        self.of.last[self.event] = LastDelivery(state, copy.deepcopy(delivered))

    def begin_edits(self, edits: tuple[Edit, ...]) -> None:
        last = self.of.last[self.event]
        state = State.ADDING if last.state is State.ADDING else State.WAITING
        self.of.last[self.event] = dataclasses.replace(
            last, state=state, edits=copy.deepcopy(edits)
        )

    def known(self, uuid: str) -> bool:
        return uuid in self.of.last


def interpose(sink: Any, post: Callable[[Callable[[str, Any], Any], str, Any], Any]) -> None:
    """Put something between a MISP sink and its requests: `post(real, route, body)` answers in
    their place.
    """
    api, real = sink._api, sink._api.post
    api.post = lambda route, body: post(real, route, body)


def kill_at(
    sink: Any, routes: str | tuple[str, ...], *, number: int = 1, stored: bool = True
) -> None:
    """Let the process end at a request, stored by MISP or not: the sink has no chance to look.

    Args:
        sink: a MISP sink.
        routes: how the route begins.
        number: of those requests, from 1.
        stored: whether MISP got it.
    """
    seen = 0

    def post(real: Callable[[str, Any], Any], route: str, body: Any) -> Any:
        nonlocal seen
        seen += route.startswith(routes)
        if route.startswith(routes) and seen == number:
            if stored:
                real(route, body)
            raise ServerError("killed here")
        return real(route, body)

    interpose(sink, post)


def noted(delivery: Delivery) -> list[tuple[str | None, str]]:
    """What a delivery notes: (part, reason)."""
    return [(part, reason.value) for part, _, reason, _ in delivery.notes]
