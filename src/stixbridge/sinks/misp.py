"""MISP over its REST API: events are added, or edited with only what changed, and what was stored is verified.

"200 is not stored": MISP drops parts in silence, so every answer is compared with what was sent, by UUID, and each
missing part is asked for by itself, for the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .. import tlp
from ..checks import FOREIGN, MODES
from ..errors import ConfigError, ServerError, Unreachable
from ..ledger import Outcome, Reason
from ..misp.model import MispEvent, tag_names
from ..net import Auth, Http
from ..stopping import check
from .changes import Changes, Policy, compute, resume_base
from .clusters import ClusterNames
from .delivery import RESTRICTED, Delivery, Job, Note, State
from .flight import Flight
from .foreign import TAKEN, as_taken, equal_values, extending
from .misp_api import MispApi, message_of, value_of
from .pieces import pieces
from .verification import false_positives, lost_tags, missing, without, without_tags

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
        self._foreign = foreign
        self._policy = policy
        self._keep_published = keep_published
        self._only_complete = only_complete
        self._orgc = dict(orgc) if orgc is not None else None
        self._chunk = chunk
        self._max_request = max_request
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
        delivery = self._sent(job, event, notes)
        delivery.event = str(job.event["uuid"])
        delivery.harmless = list(job.harmless)
        if taken and TAKEN not in delivery.body:
            delivery.body = {**delivery.body, TAKEN: taken}
        return delivery

    def _sent(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        last = job.last
        if last is not None and last.state is State.BLOCKED:
            notes.append((None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again"))
            return Delivery(str(event["uuid"]), State.BLOCKED, event, "blocked", notes=notes)
        if last is None or last.state not in (State.ADDING, State.DELIVERED, State.WAITING):
            return self._add(job, event, notes)
        held = self._api.event(str(event["uuid"]))
        if held is None:
            if last.state is State.ADDING:
                return self._add(job, event, notes)
            notes.append((None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again"))
            return Delivery(str(event["uuid"]), State.BLOCKED, event, "blocked", notes=notes)
        job.harmless.extend(false_positives(held))
        if last.state is State.ADDING:
            return self._resume(job, event, last.body, self._api.settled(str(event["uuid"])), notes)
        if last.state is State.WAITING and last.body.get("distribution") == "0" != event.get("distribution"):
            # a marking was lost: it has to be there before anything gets wider
            narrow = self._edit(job, {**event, "distribution": "0"}, last.body, held, [], published=False, finish=False)
            held = self._api.event(str(event["uuid"]))
            if narrow.state is not State.DELIVERED or held is None:
                return narrow
            return self._edit(job, event, narrow.body, held, notes, published=False)
        return self._edit(job, event, last.body, held, notes, published=last.published)

    @staticmethod
    def _put_off(job: Job, event: MispEvent, action: str, notes: list[Note]) -> Delivery:
        """What can't be delivered now and is tried again; an event that is ours already stays what it is."""
        ours = job.last is not None and job.last.state in (State.DELIVERED, State.WAITING)
        if ours and job.last is not None:
            return Delivery(str(job.event["uuid"]), State.WAITING, job.last.body, action, job.last.published, notes)
        return Delivery(str(job.event["uuid"]), State.HELD, event, action, notes=notes)

    def _add(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        uuid = str(event["uuid"])
        job.begin()
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
        if answer.status == 200 and isinstance(value.get("Event"), dict):
            stored = self._followed(uuid, rest, notes) if rest else value["Event"]
            return self._verified(job, event, stored, notes, "created")
        message = message_of(value, answer)
        if answer.status == 404 and "already exists" in message:
            return self._not_ours(job, event, notes)
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
            return self._add(job, event, notes)
        owner = str((held.get("Orgc") or {}).get("uuid") or "")
        wanted = {str(row["uuid"]) for name in ("Attribute", "Object") for row in event.get(name) or []}
        theirs = {str(row["uuid"]) for name in ("Attribute", "Object") for row in held.get(name) or []}
        ours = self._orgc["uuid"] if self._orgc is not None else self._api.rights().org_uuid
        if owner not in (ours, self._api.rights().org_uuid) or (theirs and wanted and not theirs & wanted):
            return self._not_ours(job, event, notes)
        base = resume_base(sent, held)
        return self._edit(job, event, base, held, notes, published=False, action="created")

    def _edit(
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
        changes = compute(event, base, held, self._policy)
        notes.extend(changes.notes)
        uuid = str(event["uuid"])
        if not changes.body:
            delivery = Delivery(
                uuid, State.DELIVERED, event, action if action == "created" else "unchanged", published, notes
            )
            return self._publish(job, delivery, str(held.get("id") or uuid)) if finish else delivery
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
        return self._verified(job, event, stored, notes, action, changes, finish=finish)

    def _edited(self, uuid: str, body: MispEvent, notes: list[Note], *, whole: bool = False) -> dict[str, Any] | None:
        """Send an edit; what MISP answers of the event, without its parts unless `whole`; None where it refuses."""
        route = f"events/edit/{uuid}" if whole else f"events/edit/{uuid}/metadata:1"
        answer = self._api.post(route, {"Event": body})
        value = value_of(answer)
        if answer.status == 200 and isinstance(value.get("Event"), dict):
            return dict(value["Event"])
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
            raise ServerError(f"sink {self.name}: event {uuid} is gone while it was being filled")
        return stored

    # events of someone else

    def _not_ours(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        """An event of this UUID is in MISP, and we did not make it: what `foreign` says."""
        uuid = str(event["uuid"])
        held = self._api.event(uuid) if self._foreign == "adopt" else None
        if self._foreign == "extend":
            own = extending(event)
            there = self._api.event(str(own["uuid"]))
            notes.append(
                (None, Outcome.PRESERVED, Reason.ADOPTED, f"extends the event of someone else, as {own['uuid']}")
            )
            base = resume_base(own, there) if there is not None else {}
            delivery = (
                self._edit(job, own, base, there, notes, published=False) if there else self._add(job, own, notes)
            )
            delivery.body = {**delivery.body, TAKEN: {"as": "extend"}}
            return delivery
        if held is not None:
            uuids = equal_values(event, held)
            taken = {"as": "adopt", "uuids": uuids}
            own = as_taken(event, taken)
            notes.append((None, Outcome.PRESERVED, Reason.ADOPTED, "the event of someone else was taken over"))
            delivery = self._edit(job, own, resume_base(own, held), held, notes, published=False)
            if delivery.state in (State.DELIVERED, State.WAITING) and delivery.action != "refused":
                delivery.body = {**delivery.body, TAKEN: taken}
                return delivery
        notes.append((None, Outcome.DROPPED, Reason.FOREIGN, "the event in MISP is not ours; left as it is"))
        return Delivery(uuid, State.FOREIGN, event, "foreign", notes=notes)

    # verification

    def _verified(
        self,
        job: Job,
        event: MispEvent,
        stored: Mapping[str, Any],
        notes: list[Note],
        action: str,
        changes: Changes | None = None,
        *,
        finish: bool = True,
    ) -> Delivery:
        sent = event if changes is None else changes.body
        gaps = missing(sent, stored)
        body = event
        if gaps:
            gone = {uuid for name, part in gaps if (uuid := self._reason(name, part, str(stored["id"]), notes))}
            body = without(event, gone)
        lost = lost_tags(sent, stored)
        for tag in sorted(lost):
            marking = tlp.is_tlp_tag(tag) or tag.startswith("PAP:")
            if marking:
                notes.append(
                    (None, Outcome.PRESERVED, Reason.HELD_MARKING, f"{tag} was not stored; kept at distribution 0")
                )
            else:
                notes.append((None, Outcome.DROPPED, Reason.MISP_DROPPED, f"tag {tag}"))
        delivery = Delivery(str(event["uuid"]), State.DELIVERED, body, action, False, notes)
        if any(note[2] is Reason.HELD_MARKING for note in notes):
            if str(stored.get("distribution")) != "0":
                self._api.post(f"events/edit/{event['uuid']}", {"Event": {"distribution": "0"}})
            delivery.state = State.WAITING
            delivery.body = {**without_tags(body, lost), "distribution": "0"}
            return delivery
        return self._publish(job, delivery, str(stored.get("id") or event["uuid"])) if finish else delivery

    def _reason(self, name: str, part: Mapping[str, Any], event_id: str, notes: list[Note]) -> str | None:
        """Ask MISP for a missing part alone: it is stored after all (None), or MISP says why it is not."""
        uuid = str(part["uuid"])
        route = {"Attribute": "attributes/add", "Object": "objects/add"}.get(name)
        if route is None:
            notes.append((uuid, Outcome.DROPPED, Reason.MISP_DROPPED, f"{name}: MISP does not say why"))
            return uuid
        answer = self._api.post(f"{route}/{event_id}", part)
        value = value_of(answer)
        if answer.status == 200 and name in value:
            return None
        label = part.get("value") or part.get("name") or ""
        notes.append((uuid, Outcome.DROPPED, Reason.MISP_DROPPED, f"{label}: {message_of(value, answer)}"))
        return uuid

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

    # direct upload

    def _upload(self, job: Job) -> Delivery:
        """Hand the STIX over as it is (`events/upload_stix/2`); MISP converts it, add-only."""
        self._api.rights()
        uuid = str(job.event["uuid"])
        notes: list[Note] = []
        if job.last is not None and (TAKEN in job.last.body or self._foreign == "adopt"):
            # known by now: an update goes by our own conversion, as that of an event that was taken over
            return self._one(job if TAKEN in job.last.body else replace(job, last=None))
        if job.last is not None and job.last.state is not State.ADDING:
            note = "changed since it was uploaded; MISP's own import can't update it: use mode = \"api\" for that"
            return Delivery(
                uuid, job.last.state, job.last.body, "refused", notes=[(None, Outcome.DROPPED, Reason.REFUSED, note)]
            )
        objects = job.stix()
        bundle: dict[str, Any] = {"type": "bundle", "id": f"bundle--{uuid}", "objects": objects}
        if not any(obj.get("spec_version") == "2.1" for obj in objects):
            bundle["spec_version"] = "2.0"
        job.begin()
        answer = self._api.post("events/upload_stix/2", bundle)
        value = value_of(answer)
        if answer.status == 200:
            held = value.get("Event") if isinstance(value.get("Event"), dict) else {}
            saved = [len(value.get(name) or (held or {}).get(name) or []) for name in ("Attribute", "Object")]
            if sum(saved):
                return Delivery(uuid, State.DELIVERED, job.event, "created", notes=notes)
            notes.append((None, Outcome.DROPPED, Reason.REFUSED, "MISP answered 200 and saved no attribute"))
        else:
            message = message_of(value, answer)
            if "already exists" in message and self._foreign == "adopt":
                return self._one(replace(job, last=None))
            if answer.status in (401,) or answer.status >= 500:
                raise self._api.failed("events/upload_stix/2", answer, message)
            reason = Reason.FOREIGN if "already exists" in message else Reason.REFUSED
            notes.append((None, Outcome.DROPPED, reason, message))
        return Delivery(uuid, State.REFUSED, job.event, "refused", notes=notes)

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
