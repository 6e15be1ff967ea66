"""MISP over its REST API.

The way of one event: `flight` (several at a time), `_one` (as this MISP takes it), `writing` (added or edited,
verified, published), `foreign` (where it is somebody else's).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from stixbridge.envelopes import Adoption, Delivered, Wanted
from stixbridge.errors import ConfigError
from stixbridge.http import Auth, Http
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent
from stixbridge.settings.registry import sink
from stixbridge.settings.secret import Secret
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import OURS, Delivery, Job, LastDelivery, Note, PartRecord, State
from stixbridge.sinks.fields import by_uuid
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.carry_over import Work, others_work, recorded, with_work
from stixbridge.sinks.misp.delete import after_deletion, had_parts, removed
from stixbridge.sinks.misp.diff import Policy
from stixbridge.sinks.misp.dry_run import Imagined
from stixbridge.sinks.misp.foreign import (
    Foreign,
    as_adopted,
    carriers,
    event_as_adopted,
    in_our_terms,
    place_of,
)
from stixbridge.sinks.misp.parallel import Flight
from stixbridge.sinks.misp.prepare import Preparation
from stixbridge.sinks.misp.settings import MispSettings
from stixbridge.sinks.misp.split import deliver_split, is_split, share_uuid
from stixbridge.sinks.misp.tags import NewTags
from stixbridge.sinks.misp.upload_stix import uploaded
from stixbridge.sinks.misp.write import EventWriter
from stixbridge.sinks.withdrawal import WITHDRAWN, narrowed, parts, withdrawn

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
        given = MispSettings(url=url, key=secret, concurrency=concurrency, **settings)
        super().__init__(name, max_tlp=given.max_tlp, settings=f"{given.max_tlp} {given.clusters}")
        self.restores = given.deleted == "restore"
        self._trust = given.false_positives
        self._split = given.split
        self._delete_empty = given.empty == "delete"
        self._http = Http(
            url,
            auth=Auth(header="Authorization", value=secret.read("key")),
            timeout=given.timeout,
            **given.http_arguments(),
        )
        # MISP makes the tags of an upload; of two at a time one would collide
        self._concurrency = 1 if given.mode == "upload_stix" else given.concurrency
        self._mode = given.mode
        self._policies = (given.foreign, given.recognise)
        orgc = given.orgc.to_dict() if given.orgc is not None else None
        self._preparing = partial(
            Preparation, orgc=orgc, clusters=given.clusters, deletes=self._delete_empty
        )
        ours = frozenset(name for name, whose in given.conflicts.items() if whose == "ours")
        self._writing = partial(
            EventWriter,
            name=name,
            chunk=given.chunk,
            max_request=given.max_request,
            policy=Policy(ours, self.restores),
            keep_published=given.keep_published,
            only_complete=given.only_complete,
            owner=orgc["uuid"] if orgc is not None else None,
        )
        self._connect(MispApi(self._http, name))

    def _connect(self, api: MispApi) -> None:
        """Work with a MISP."""
        self._api = api
        self._new_tags = NewTags()
        self._preparation = self._preparing(api)
        self._writer = self._writing(api)
        self._foreign = Foreign(*self._policies, api, self._writer)
        self._flight = Flight(self._act, self._concurrency)
        api.on_slow = self._flight.ease

    def for_dry_run(self) -> Self:
        """This sink with a MISP that is only read: it does all that it would do, and imagines what it writes."""
        twin = super().for_dry_run()
        twin._connect(Imagined(self._http, self.name))
        return twin

    def missing(self, tags: set[str]) -> dict[str, int]:
        """How many tags this MISP does not have, and the clusters that a rehearsal would have made."""
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
        return self._flight.run(jobs)

    def add(
        self, events: Iterable[MispEvent | MISPEvent], *, publish: bool = False
    ) -> list[Delivery]:
        """Deliver events without a store: what exists in MISP already is left as it is.

        Args:
            events: plain events, as `convert(…).events` gives them, or `pymisp.MISPEvent`s.
            publish: publish each that is complete.

        Returns:
            What became of each, in order.

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

    def analyst_edits(self, delivered: Delivered, uuids: set[str]) -> Work:
        """What others did to some attributes of a delivered event; one request for each event that they are in."""
        places = {uuid: place_of(delivered, uuid) for uuid in uuids}
        held = {
            event: self._api.event(event)
            for event in sorted({event for event, _ in places.values()})
        }
        found: Work = {}
        for uuid, row in by_uuid(delivered.body, "Attribute").items():
            if uuid in uuids:
                event, own = places[uuid]
                there = held[event]
                work = (
                    others_work(row, by_uuid(there, "Attribute").get(own))
                    if there is not None
                    else {}
                )
                if work:
                    found[uuid] = work
        return found

    def limits(self) -> list[str]:
        """What the key may not do, and what follows, a line each.

        Raises:
            ServerError: for a wrong key, or an answer that is not MISP's.
        """
        return self._preparation.limits()

    def false_positives(self, since: int) -> list[tuple[str, int]] | None:
        """Values that were sighted as false positives since a moment (microseconds), and when; None where not shown."""
        return (
            self._api.false_positives(since, own=self._trust == "own")
            if self._trust != "none"
            else []
        )

    # one event

    def _act(self, job: Job) -> Delivery:
        """Deliver one event; in a rehearsal, say what would change."""
        before = carriers(job.last.delivered) if job.last is not None else []
        delivery = self._upload(job) if self._mode == "upload_stix" else self._one(job)
        if job.whole:
            delivery.changes = self._api.changes(
                dict.fromkeys([delivery.event, *before, *carriers(delivery.delivered)])
            )
        return delivery

    def _one(self, job: Job) -> Delivery:
        """Deliver one event; under other UUIDs where one of somebody else was adopted or extended before."""
        notes: list[Note] = []
        deleting = job.last is not None and job.last.state is State.DELETING
        last = job.last = after_deletion(self._api, job, notes)
        adopted = last.delivered.adopted if last is not None else None
        wanted = self.allowed(job.wanted, notes)
        left_out = wanted is None
        if wanted is None:
            if not self._is_there(job):
                delivered = Delivered.of(job.wanted)
                return Delivery(job.uuid, State.OUT, delivered, "left out", notes=notes)
            # under its old title: the new one may be too strict
            wanted = withdrawn(last.delivered if last is not None else Delivered.of(job.wanted))
            wanted = replace(wanted, event={**wanted.event, "uuid": job.uuid})
        if (
            adopted is not None
            and adopted.policy == "adopt"
            and last is not None
            and str(wanted.event["info"]).startswith(WITHDRAWN)
        ):
            # it is somebody else's as well
            wanted = replace(wanted, event={**wanted.event, "info": last.body["info"]})
        if deleting and last is None and not parts(wanted.event):
            delivered = Delivered.of(job.wanted)
            return Delivery(job.uuid, State.OUT, delivered, "deleted", notes=notes)
        emptying = self._delete_empty and not parts(wanted.event) and (deleting or had_parts(job))
        event, problem = self._preparation.apply(
            wanted, last.delivered if last is not None else None, notes
        )
        if problem is not None:
            return self._put_off(job, event, problem, notes)
        sent = with_work(event, job.inherited)
        for part, done in job.inherited.items():
            text = f"as somebody made it where it comes from: {', '.join(sorted(done))}"
            notes.append((part, Outcome.PRESERVED, Reason.CONFLICT, text))
        with self._new_tags.brought_by(sent) as brought:
            delivery = self._written(job, sent, adopted, notes)
            recorded(delivery, event, job.inherited)
            brought.arrived = delivery.state in OURS
        delivery.event = job.uuid
        if left_out and delivery.state is State.DELIVERED:
            delivery.action = "left out"
        if job.wanted.clusters and delivery.state in OURS:
            delivery.delivered = replace(delivery.delivered, clusters=job.wanted.clusters)
        return removed(self._api, job, delivery) if emptying else delivery

    def _written(
        self, job: Job, event: MispEvent, adopted: Adoption | None, notes: list[Note]
    ) -> Delivery:
        """Write a prepared event as what it is in this MISP: ours, several, adopted, or extending another's."""
        if adopted is not None:
            adopted = replace(adopted, restricted=job.wanted.restricted)
            publish = job.publish and (adopted.policy != "adopt" or adopted.published)
            part = replace(job, record=PartRecord(job, adopted), publish=publish)
            if part.last is not None:
                part.last = replace(part.last, delivered=as_adopted(part.last.delivered, adopted))
            delivery = self._writer.write(part, event_as_adopted(event, adopted), notes)
            before = job.last.delivered if job.last is not None else None
            delivery.delivered = in_our_terms(delivery.delivered, event, adopted, before)
            return delivery
        recognised = self._foreign.recognised(job, event, notes)
        if recognised is not None:
            return recognised
        if is_split(event, job.last, self._split):
            delivery = deliver_split(
                job, event, notes, self._split, self._api.event, self._writer.write
            )
        else:
            delivery = self._writer.write(job, event, notes)
        if delivery.state is not State.FOREIGN:
            return delivery
        if (
            self._foreign.policy == "adopt"
            and self._api.event(share_uuid(str(event["uuid"]), 1)) is not None
        ):
            # ours, from a store that was lost: which part is in which event is seen there
            job.last = LastDelivery(State.ADDING, Delivered(event))
            return deliver_split(
                job, event, notes, self._split, self._api.event, self._writer.write
            )
        return self._foreign.deliver(job, event, notes)

    def _is_there(self, job: Job) -> bool:
        """Whether an event of ours is in MISP, as far as we know; where an add was cut, as far as MISP knows."""
        if job.last is not None and job.last.state is State.ADDING:
            return self._api.event(job.uuid) is not None
        return job.last is not None and job.last.state in OURS

    def _put_off(self, job: Job, event: MispEvent, action: str, notes: list[Note]) -> Delivery:
        """An event that can't be delivered now and is tried again; one that is ours stays as it is, or is narrowed."""
        last, uuid = job.last, job.uuid
        if last is not None and last.state in OURS:
            tight = narrowed(last.body, event)
            if action == "held" and tight != last.body:
                # it shall be marked more strictly, and can't be: until then nobody else sees it
                delivery = self._written(
                    replace(job, publish=False), tight, last.delivered.adopted, notes
                )
                delivery.event, delivery.action = uuid, action
                if delivery.state in OURS:
                    delivery.state = State.WAITING
                if last.delivered.clusters:
                    delivery.delivered = replace(
                        delivery.delivered, clusters=last.delivered.clusters
                    )
                return delivery
            return Delivery(
                uuid,
                State.WAITING,
                last.delivered,
                action,
                last.published,
                notes,
                edits=last.edits,
            )
        if last is not None and last.state is State.ADDING:
            return Delivery(uuid, State.ADDING, last.delivered, action, notes=notes)
        return Delivery(uuid, State.HELD, Delivered(event), action, notes=notes)

    def _upload(self, job: Job) -> Delivery:
        """Hand the STIX over as it is; MISP converts it, add-only."""
        self._preparation.limits()
        last = job.last
        adopted = last is not None and last.delivered.adopted is not None
        if last is not None and (adopted or self._foreign.policy == "adopt"):
            # known by now: an update goes by our own conversion, as that of an adopted event
            return self._one(job if adopted else replace(job, last=None))
        if (
            last is not None
            and last.state is State.ADDING
            and self._api.event(job.uuid) is not None
        ):
            # it arrived all the same
            return Delivery(job.uuid, State.DELIVERED, Delivered.of(job.wanted), "created")
        if last is not None and last.state is not State.ADDING:
            note = "changed since it was uploaded; MISP's own import can't update it: use mode = \"api\" for that"
            notes: list[Note] = [(None, Outcome.DROPPED, Reason.REFUSED, note)]
            return Delivery(job.uuid, last.state, last.delivered, "refused", notes=notes)
        delivery = uploaded(self._api, job)
        if delivery.state is State.FOREIGN and self._foreign.policy == "adopt":
            return self._one(replace(job, last=None))
        return delivery


def _tls_of(misp: PyMISP) -> dict[str, Any]:
    """The TLS settings of a PyMISP: it verifies, does not, or has a file of authorities."""
    ca = Path(misp.ssl) if isinstance(misp.ssl, str) else None
    return {"ca": ca, "verify_tls": bool(misp.ssl)}
