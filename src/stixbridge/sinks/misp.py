"""MISP over its REST API.

The way of one event: `flight` (several at a time), `_one` (as this MISP takes it), `writing` (added or edited,
verified, published), `foreign` (where it is somebody else's).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from .. import tlp
from ..checks import FOREIGN, MODES
from ..errors import ConfigError
from ..ledger import Outcome, Reason
from ..misp.model import MispEvent, tag_names
from ..net import Auth, Http
from .changes import Policy
from .clusters import ClusterNames
from .delivery import RESTRICTED, Delivery, Job, Note, State
from .flight import Flight
from .foreign import TAKEN, Foreign, as_taken
from .misp_api import MispApi
from .upload import uploaded
from .writing import EventWriter

if TYPE_CHECKING:
    from pymisp import MISPEvent, PyMISP

# Fields of ours that are no MISP's.
_OWN_FIELDS = ("sharing_group", RESTRICTED)
_LIMITS = (
    "this key may not create tags: those that MISP does not have are dropped, and an event whose marking is one of them"
    " is held",
    "this key may not publish: events stay unpublished",
)


class MispSink:
    """A MISP.

    Args (of the constructor):
        misp: its URL; or an existing `PyMISP`, which brings its key and TLS settings; or a connection.
        key: an auth key, beside a URL.
        name: of the sink.
        ca: a PEM file of the server's own certificate authority, beside a URL.
        verify: False trusts any certificate, beside a URL.
        mode: `api`, or `upload_stix`: MISP's own import of raw STIX, add-only.
        timeout: seconds, beside a URL or `PyMISP`.
        foreign: what becomes of an event that is in MISP and not ours: `skip`, `adopt` or `extend`.
        chunk: attributes in one request; a larger event goes in several.
        max_request: bytes of one request.
        concurrency: events in flight at a time.
        policy: whose word counts where the source and an analyst both changed something; the analyst's when None.
        keep_published: publish an event again that was published before an edit of ours.
        only_complete: publish no event of which MISP dropped a part.
        orgc: the organisation that events carry, `name` and `uuid`, where the key may say so (sync, admin); else the
            key's own.
    """

    def __init__(
        self,
        misp: str | PyMISP | Http,
        key: str | None = None,
        *,
        name: str = "misp",
        ca: Path | None = None,
        verify: bool = True,
        mode: str = "api",
        timeout: float = 300.0,
        foreign: str = "skip",
        chunk: int = 1_000,
        max_request: int = 10_000_000,
        concurrency: int = 1,
        policy: Policy | None = None,
        keep_published: bool = False,
        only_complete: bool = False,
        orgc: Mapping[str, str] | None = None,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"mode: {mode!r} is none of {', '.join(MODES)}")
        if foreign not in FOREIGN:
            raise ConfigError(f"foreign: {foreign!r} is none of {', '.join(FOREIGN)}")
        if isinstance(misp, Http):
            url, key = misp.base, "in the connection"
        elif isinstance(misp, str):
            url = misp
        else:
            url, key = misp.root_url, misp.key
            verify = bool(misp.ssl)
            if isinstance(misp.ssl, str):
                ca = Path(misp.ssl)
        if not url or not key:
            raise ConfigError("a MISP sink takes a URL and a key, or an existing PyMISP object")
        self.name = name
        self._mode = mode
        self._http = (
            misp
            if isinstance(misp, Http)
            else Http(url, auth=Auth(header="Authorization", value=key), ca=ca, verify=verify, timeout=timeout)
        )
        self._api = MispApi(self._http, name)
        self._clusters = ClusterNames(self._api.clusters)
        self._orgc = dict(orgc) if orgc is not None else None
        self._writer = EventWriter(
            self._api,
            name,
            chunk=chunk,
            max_request=max_request,
            policy=policy,
            keep_published=keep_published,
            only_complete=only_complete,
            owner=self._orgc["uuid"] if self._orgc is not None else None,
        )
        self._foreign = Foreign(foreign, self._api, self._writer)
        # what is known of the MISP is asked for once, whichever event needs it first
        self._lock = threading.Lock()
        self._flight = Flight(self._upload if mode == "upload_stix" else self._one, concurrency)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Deliver events, several at a time; see `Sink`."""
        return self._flight.run(jobs)

    def add(self, events: Iterable[MispEvent | MISPEvent], *, publish: bool = False) -> list[Delivery]:
        """Deliver events without a store: what exists in MISP already is left as it is.

        Args:
            events: plain events, as `convert(…).events` gives them, or `pymisp.MISPEvent`s.
            publish: publish each that is complete.

        Returns:
            What became of each, in order.
        """
        plain = [event if isinstance(event, dict) else orjson.loads(event.to_json()) for event in events]
        jobs = [Job(event, None, lambda: None, publish=publish) for event in plain]
        return list(self.deliver(jobs))

    def limits(self) -> list[str]:
        """What the key may not do, and what follows, a line each.

        Raises:
            ServerError: for a wrong key, or an answer that is not MISP's.
        """
        with self._lock:
            rights = self._api.rights()
        return [text for allowed, text in zip((rights.tag_editor, rights.publish), _LIMITS, strict=True) if not allowed]

    # one event

    def _one(self, job: Job) -> Delivery:
        """Deliver one event; under other UUIDs where a foreign one was taken over or extended before."""
        taken = job.last.body.get(TAKEN) if job.last is not None else None
        notes: list[Note] = []
        event = as_taken({key: value for key, value in job.event.items() if key not in _OWN_FIELDS}, taken)
        if self._orgc is not None:
            # unless it is locked, a sync key can't edit what it added itself
            event |= {"Orgc": self._orgc, "locked": True}
        with self._lock:
            self._api.rights()
            group = job.event.get("sharing_group")
            if group and not self._share(event, str(group), notes):
                return self._put_off(job, event, "refused", notes)
            self._clusters.apply(event)
            self._known_tags(event, notes)
        if any(note[2] is Reason.HELD_MARKING for note in notes):
            return self._put_off(job, event, "held", notes)
        delivery = self._writer.write(job, event, notes)
        if delivery.state is State.FOREIGN:
            delivery = self._foreign.deliver(job, event, notes)
        delivery.event = str(job.event["uuid"])
        delivery.harmless = list(job.harmless)
        if taken and TAKEN not in delivery.body:
            delivery.body = {**delivery.body, TAKEN: taken}
        return delivery

    @staticmethod
    def _put_off(job: Job, event: MispEvent, action: str, notes: list[Note]) -> Delivery:
        """What can't be delivered now and is tried again; an event that is ours already stays what it is."""
        ours = job.last is not None and job.last.state in (State.DELIVERED, State.WAITING)
        if ours and job.last is not None:
            return Delivery(str(job.event["uuid"]), State.WAITING, job.last.body, action, job.last.published, notes)
        return Delivery(str(job.event["uuid"]), State.HELD, event, action, notes=notes)

    def _upload(self, job: Job) -> Delivery:
        """Hand the STIX over as it is; MISP converts it, add-only."""
        with self._lock:
            self._api.rights()
        last = job.last
        if last is not None and (TAKEN in last.body or self._foreign.policy == "adopt"):
            # known by now: an update goes by our own conversion, as that of an event that was taken over
            return self._one(job if TAKEN in last.body else replace(job, last=None))
        if last is not None and last.state is not State.ADDING:
            note = "changed since it was uploaded; MISP's own import can't update it: use mode = \"api\" for that"
            notes: list[Note] = [(None, Outcome.DROPPED, Reason.REFUSED, note)]
            return Delivery(str(job.event["uuid"]), last.state, last.body, "refused", notes=notes)
        delivery = uploaded(self._api, job)
        if delivery.state is State.FOREIGN and self._foreign.policy == "adopt":
            return self._one(replace(job, last=None))
        return delivery

    # before anything is sent

    def _known_tags(self, event: MispEvent, notes: list[Note]) -> None:
        """For a role that may not create tags: hold an event whose marking can't be stored."""
        if self._api.rights().tag_editor:
            return
        needed = set(tag_names(event))
        for name in ("Attribute", "Object"):
            for part in event.get(name) or []:
                needed.update(tag_names(part))
                for inner in part.get("Attribute") or [] if name == "Object" else []:
                    needed.update(tag_names(inner))
        markings = {tag for tag in needed if tlp.is_tlp_tag(tag) or tag.startswith("PAP:")}
        if not self._api.absent_tags(markings, fresh=False):
            return
        for tag in self._api.absent_tags(markings, fresh=True):  # it may have been created since we looked
            text = f"{tag} does not exist in MISP and this role may not create tags; create it, then run again"
            notes.append((None, Outcome.PRESERVED, Reason.HELD_MARKING, text))

    def _share(self, event: MispEvent, wanted: str, notes: list[Note]) -> bool:
        groups = self._api.sharing_groups()
        for group in groups:
            if wanted in (group.get("uuid"), group.get("name")):
                event["sharing_group_id"] = str(group["id"])
                return True
        names = ", ".join(sorted(str(group.get("name")) for group in groups)) or "none"
        notes.append((None, Outcome.DROPPED, Reason.REFUSED, f"no sharing group {wanted!r}; this key sees: {names}"))
        return False
