"""A MISP as a sink, over its REST API.

An event goes through `deliver` (one event), `prepare` (as this MISP takes it), `write` (added or
edited), `confirm` (compared with the answer) and `publish`; `parallel` has several under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from stixbridge.envelopes import Delivered, Wanted
from stixbridge.errors import ConfigError
from stixbridge.http import Auth, Http
from stixbridge.misp.model import MispEvent
from stixbridge.settings.registry import sink
from stixbridge.settings.secret import Secret
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job
from stixbridge.sinks.fields import by_uuid
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.carry_over import Edits, analyst_edits
from stixbridge.sinks.misp.deliver import EventDelivery
from stixbridge.sinks.misp.dry_run import DryRunApi
from stixbridge.sinks.misp.parallel import Parallel
from stixbridge.sinks.misp.settings import MispSettings
from stixbridge.sinks.places import place_of

if TYPE_CHECKING:
    from pymisp import MISPEvent, PyMISP


@sink("misp", MispSettings)
class MispSink(Sink):
    """A MISP.

    Args (of the constructor):
        url: of the MISP; or an existing `PyMISP`, which brings its URL, key and TLS settings.
        key: an auth key, beside a URL.
        name: of the sink.
        concurrency: events in flight at a time.
        settings: any other setting of `MispSettings`, as in the configuration.

    Raises:
        ConfigError: naming every setting that is wrong.
    """

    def __init__(
        self,
        url: str | PyMISP,
        key: str | Secret | None = None,
        *,
        name: str = "misp",
        concurrency: int = 1,
        **settings: Any,
    ) -> None:
        if not isinstance(url, str):
            settings = {**_tls_of(url), **settings}
            key, url = url.key, url.root_url
        if not url or not key:
            raise ConfigError("a MISP sink takes a URL and a key, or an existing PyMISP object")
        secret = Secret(text=key) if isinstance(key, str) else key
        checked = MispSettings(url=url, key=secret, concurrency=concurrency, **settings)
        super().__init__(
            name, max_tlp=checked.max_tlp, settings=f"{checked.max_tlp} {checked.clusters}"
        )
        self.restores = checked.deleted == "restore"
        self._given = checked
        self._http = Http(
            url,
            auth=Auth(header="Authorization", value=secret.read("key")),
            timeout=checked.timeout,
            **checked.http_arguments(),
        )
        self._connect(MispApi(self._http, name))

    def _connect(self, api: MispApi) -> None:
        """Work with a MISP."""
        self._api = api
        self._events = EventDelivery(api, self.name, self._given, self.allowed)
        # MISP makes the tags of an upload; of two at a time one would collide
        most = 1 if self._given.mode == "upload_stix" else self._given.concurrency
        self._parallel = Parallel(self._events.deliver, most)
        api.on_slow = self._parallel.ease

    def for_dry_run(self) -> Self:
        """This sink with a MISP that is only read: its writes are answered and not sent."""
        twin = super().for_dry_run()
        twin._connect(DryRunApi(self._http, self.name))
        return twin

    def missing(self, tags: set[str]) -> dict[str, int]:
        """The number of tags that this MISP lacks, and of clusters that a run would make."""
        plain = {tag for tag in tags if not tag.startswith("misp-galaxy:")}
        return {
            "new tags": len(self._api.absent_tags(plain, fresh=False)),
            "new clusters": self._api.new_clusters,
        }

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Deliver events, several at a time; see `Sink`."""
        return self._parallel.run(jobs)

    def add(
        self, events: Iterable[MispEvent | MISPEvent], *, publish: bool = False
    ) -> list[Delivery]:
        """Deliver events without a store; an event that is in MISP already is left as it is.

        Args:
            events: plain events, as `convert(…).events` gives them, or `pymisp.MISPEvent`s.
            publish: publish each that is complete.

        Returns:
            The result of each, in order.

        Raises:
            ServerError: when MISP failed for one of them; the others are delivered.
        """
        plain = [
            event if isinstance(event, dict) else orjson.loads(event.to_json()) for event in events
        ]
        # published only as the last step: MISP would publish what is not complete
        jobs = [
            Job(Wanted.of({**event, "published": False}), None, publish=publish) for event in plain
        ]
        deliveries = list(self.deliver(jobs))
        for delivery in deliveries:
            if delivery.error is not None:
                raise delivery.error
        return deliveries

    def analyst_edits(self, delivered: Delivered, uuids: set[str]) -> Edits:
        """Edits of others at some attributes; one request for each event that they are in."""
        places = {uuid: place_of(delivered, uuid) for uuid in uuids}
        events = {
            event: self._api.event(event) for event in sorted({at for at, _ in places.values()})
        }
        remote_rows = {uuid: by_uuid(event, "Attribute") for uuid, event in events.items() if event}
        edits_of: Edits = {}
        for uuid, row in by_uuid(delivered.body, "Attribute").items():
            event, own = places.get(uuid, ("", uuid))
            if event in remote_rows:
                edits = analyst_edits(row, remote_rows[event].get(own))
                if edits:
                    edits_of[uuid] = edits
        return edits_of

    def limits(self) -> list[str]:
        """The limits of the key, and what follows, a line each.

        Raises:
            ServerError: for a wrong key, or an answer that is not MISP's.
        """
        return self._events.preparation.limits()

    def false_positives(self, since: int) -> list[tuple[str, int]] | None:
        """Values that were sighted as false positives since a moment (microseconds), and when.

        Returns:
            None where the key may not see them.
        """
        if self._given.false_positives == "none":
            return []
        return self._api.false_positives(since, own=self._given.false_positives == "own")


def _tls_of(misp: PyMISP) -> dict[str, Any]:
    """The TLS settings of a PyMISP: it verifies, does not, or has a file of authorities."""
    ca = Path(misp.ssl) if isinstance(misp.ssl, str) else None
    return {"ca": ca, "verify_tls": bool(misp.ssl)}
