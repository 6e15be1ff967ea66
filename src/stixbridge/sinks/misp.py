"""MISP over its REST API: events are added, or edited with only what changed, and what was stored is verified.

"200 is not stored": MISP drops parts in silence, so every answer is compared with what was sent, by UUID, and each
missing part is asked for by itself, for the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .. import tlp
from ..checks import MODES
from ..errors import ConfigError, ServerError, Unreachable
from ..ledger import Outcome, Reason
from ..misp.model import MispEvent, tag_names
from ..net import Answer, Auth, Http, pause
from .changes import Changes, compute, resume_base
from .clusters import ClusterNames
from .delivery import RESTRICTED, Delivery, Job, Note, State
from .verification import lost_tags, missing, without, without_tags

if TYPE_CHECKING:
    from pymisp import MISPEvent, PyMISP

_SETTLE_TRIES = 60
_SETTLE_SECONDS = 1.0
# Fields of ours that are no MISP's.
_OWN_FIELDS = ("sharing_group", RESTRICTED)


@dataclass(frozen=True, slots=True)
class Rights:
    """What the key's user may do, and who it is."""

    org_uuid: str
    tag_editor: bool
    publish: bool
    add: bool


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
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"mode: {mode!r} is none of {', '.join(MODES)}")
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
        self._url = url.rstrip("/")
        self._mode = mode
        self._http = (
            misp
            if isinstance(misp, Http)
            else Http(url, auth=Auth(header="Authorization", value=key), ca=ca, verify=verify, timeout=timeout)
        )
        self._rights: Rights | None = None
        self._tags: set[str] | None = None
        self._groups: list[dict[str, Any]] | None = None
        self._clusters = ClusterNames(self._clusters_of)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Deliver events one by one; see `Sink`."""
        for job in jobs:
            yield self._upload(job) if self._mode == "upload_stix" else self._one(job)

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

    def rights(self) -> Rights:
        """What the key may do.

        Raises:
            ServerError: for a wrong key, or an answer that is not MISP's.
        """
        if self._rights is None:
            me = self._read("users/view/me")
            role = me.get("Role") or {}
            user = me.get("User") or {}
            organisation = me.get("Organisation") or user.get("Organisation") or {}
            self._rights = Rights(
                str(organisation.get("uuid") or ""),
                bool(role.get("perm_tag_editor")),
                bool(role.get("perm_publish")),
                bool(role.get("perm_add")),
            )
            if not self._rights.add:
                raise ServerError(
                    f"sink {self.name}: the role of this key may not add events; use another key", status=403
                )
        return self._rights

    # one event

    def _one(self, job: Job) -> Delivery:
        self.rights()
        event = {key: value for key, value in job.event.items() if key not in _OWN_FIELDS}
        notes: list[Note] = []
        if job.event.get("sharing_group") and not self._share(event, str(job.event["sharing_group"]), notes):
            return self._put_off(job, event, "refused", notes)
        self._clusters.apply(event)
        self._known_tags(event, notes)
        if any(note[2] is Reason.HELD_MARKING for note in notes):
            return self._put_off(job, event, "held", notes)
        last = job.last
        if last is not None and last.state is State.BLOCKED:
            notes.append((None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again"))
            return Delivery(str(event["uuid"]), State.BLOCKED, event, "blocked", notes=notes)
        if last is None or last.state not in (State.ADDING, State.DELIVERED, State.WAITING):
            return self._add(job, event, notes)
        held = self._get(str(event["uuid"]))
        if held is None:
            if last.state is State.ADDING:
                return self._add(job, event, notes)
            notes.append((None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP; not created again"))
            return Delivery(str(event["uuid"]), State.BLOCKED, event, "blocked", notes=notes)
        if last.state is State.ADDING:
            return self._resume(job, event, last.body, self._settled(str(event["uuid"])), notes)
        if last.state is State.WAITING and last.body.get("distribution") == "0" != event.get("distribution"):
            # a marking was lost: it has to be there before anything gets wider
            narrow = self._edit(job, {**event, "distribution": "0"}, last.body, held, [], published=False, finish=False)
            held = self._get(str(event["uuid"]))
            if narrow.state is not State.DELIVERED or held is None:
                return narrow
            return self._edit(job, event, narrow.body, held, notes, published=False)
        return self._edit(job, event, last.body, held, notes, published=last.published)

    @staticmethod
    def _put_off(job: Job, event: MispEvent, action: str, notes: list[Note]) -> Delivery:
        """What can't be delivered now and is tried again; an event that is ours already stays what it is."""
        ours = job.last is not None and job.last.state in (State.DELIVERED, State.WAITING)
        if ours and job.last is not None:
            return Delivery(str(event["uuid"]), State.WAITING, job.last.body, action, job.last.published, notes)
        return Delivery(str(event["uuid"]), State.HELD, event, action, notes=notes)

    def _add(self, job: Job, event: MispEvent, notes: list[Note]) -> Delivery:
        uuid = str(event["uuid"])
        job.begin()
        try:
            answer = self._post("events/add", event)
        except Unreachable:
            # the server may go on without us: look, never send again blindly
            held = self._settled(uuid)
            if held is None:
                raise
            return self._resume(job, event, event, held, notes)
        value = _value(answer)
        if answer.status == 200 and isinstance(value.get("Event"), dict):
            return self._verified(job, event, value["Event"], notes, "created")
        message = _message(value, answer)
        if answer.status == 404 and "already exists" in message:
            notes.append((None, Outcome.DROPPED, Reason.FOREIGN, "the event in MISP is not ours; left as it is"))
            return Delivery(uuid, State.FOREIGN, event, "foreign", notes=notes)
        if answer.status == 403 and "blocklist" in message:
            notes.append(
                (None, Outcome.DROPPED, Reason.BLOCKED, "deleted in MISP before; it is on the event blocklist")
            )
            return Delivery(uuid, State.BLOCKED, event, "blocked", notes=notes)
        if answer.status in (401, 403) and not value.get("errors"):
            raise self._failed("events/add", answer, message)
        if answer.status >= 500 or not value:
            held = self._settled(uuid)
            if held is not None:
                return self._resume(job, event, event, held, notes)
            raise self._failed("events/add", answer, message)
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
        if owner != self.rights().org_uuid or (theirs and wanted and not theirs & wanted):
            notes.append((None, Outcome.DROPPED, Reason.FOREIGN, "the event in MISP is not ours; left as it is"))
            return Delivery(str(event["uuid"]), State.FOREIGN, event, "foreign", notes=notes)
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
        changes = compute(event, base, held)
        notes.extend(changes.notes)
        uuid = str(event["uuid"])
        if not changes.body:
            delivery = Delivery(
                uuid, State.DELIVERED, event, action if action == "created" else "unchanged", published, notes
            )
            return self._publish(job, delivery, str(held.get("id") or uuid)) if finish else delivery
        answer = self._post(f"events/edit/{uuid}", {"Event": changes.body})
        value = _value(answer)
        if answer.status != 200 or not isinstance(value.get("Event"), dict):
            message = _message(value, answer)
            if answer.status >= 500 or not value or (answer.status in (401, 403) and not value.get("errors")):
                raise self._failed(f"events/edit/{uuid}", answer, message)
            notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
            return Delivery(uuid, State.WAITING, dict(base), "refused", published, notes)
        if held.get("published") in (True, "1", 1) and not job.publish:
            notes.append(
                (None, Outcome.PRESERVED, Reason.CONFLICT, "was published; an edit unpublishes, publish it again")
            )
        return self._verified(job, event, value["Event"], notes, action, changes, finish=finish)

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
                self._post(f"events/edit/{event['uuid']}", {"Event": {"distribution": "0"}})
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
        answer = self._post(f"{route}/{event_id}", part)
        value = _value(answer)
        if answer.status == 200 and name in value:
            return None
        label = part.get("value") or part.get("name") or ""
        notes.append((uuid, Outcome.DROPPED, Reason.MISP_DROPPED, f"{label}: {_message(value, answer)}"))
        return uuid

    def _publish(self, job: Job, delivery: Delivery, event_id: str) -> Delivery:
        """The last step, without e-mail, and only for a complete event."""
        last_published = job.last is not None and job.last.published and delivery.action == "unchanged"
        if not job.publish or last_published:
            delivery.published = last_published
            return delivery
        if not self.rights().publish:
            delivery.notes.append((None, Outcome.DROPPED, Reason.REFUSED, "not published: the role may not publish"))
            return delivery
        answer = self._post(f"events/publish/{event_id}", {})
        if answer.status == 200 and _value(answer).get("saved") is True:
            delivery.published = True
        else:
            message = f"not published: {_message(_value(answer), answer)}"
            delivery.notes.append((None, Outcome.DROPPED, Reason.REFUSED, message))
        return delivery

    # direct upload

    def _upload(self, job: Job) -> Delivery:
        """Hand the STIX over as it is (`events/upload_stix/2`); MISP converts it, add-only."""
        self.rights()
        uuid = str(job.event["uuid"])
        notes: list[Note] = []
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
        answer = self._post("events/upload_stix/2", bundle)
        value = _value(answer)
        if answer.status == 200:
            held = value.get("Event") if isinstance(value.get("Event"), dict) else {}
            saved = [len(value.get(name) or (held or {}).get(name) or []) for name in ("Attribute", "Object")]
            if sum(saved):
                return Delivery(uuid, State.DELIVERED, job.event, "created", notes=notes)
            notes.append((None, Outcome.DROPPED, Reason.REFUSED, "MISP answered 200 and saved no attribute"))
        else:
            message = _message(value, answer)
            if answer.status in (401,) or answer.status >= 500:
                raise self._failed("events/upload_stix/2", answer, message)
            reason = Reason.FOREIGN if "already exists" in message else Reason.REFUSED
            notes.append((None, Outcome.DROPPED, reason, message))
        return Delivery(uuid, State.REFUSED, job.event, "refused", notes=notes)

    # reading

    def _get(self, uuid: str) -> dict[str, Any] | None:
        """An event with its soft-deleted parts; None where there is none."""
        body = orjson.dumps({"uuid": [uuid], "deleted": [0, 1], "returnFormat": "json"})
        answer = self._http.post(f"{self._url}/events/restSearch", body, idempotent=True)
        value = _value(answer)
        rows = value.get("response")
        if answer.status != 200 or not isinstance(rows, list):
            raise self._failed("events/restSearch", answer, _message(value, answer))
        for row in rows:
            event = row.get("Event") if isinstance(row, dict) else None
            if isinstance(event, dict) and event.get("uuid") == uuid:
                return event
        return None

    def _settled(self, uuid: str) -> dict[str, Any] | None:
        """An event once it has stopped growing: a server whose client went away goes on filling it."""
        before: str | None = None
        event = None
        for _ in range(_SETTLE_TRIES):
            event = self._get(uuid)
            count = None if event is None else str(event.get("attribute_count"))
            if count is not None and count == before:
                return event
            if count is None and before == "":
                return None
            before = count if count is not None else ""
            pause(_SETTLE_SECONDS)
        return event

    def _known_tags(self, event: MispEvent, notes: list[Note]) -> None:
        """For a role that may not create tags: hold an event whose marking can't be stored."""
        if self.rights().tag_editor:
            return
        needed = set(tag_names(event))
        for name in ("Attribute", "Object"):
            for part in event.get(name) or []:
                needed.update(tag_names(part))
                for inner in part.get("Attribute") or [] if name == "Object" else []:
                    needed.update(tag_names(inner))
        markings = {tag for tag in needed if tlp.is_tlp_tag(tag) or tag.startswith("PAP:")}
        if not self._absent(markings, fresh=False):
            return
        for tag in self._absent(markings, fresh=True):  # it may have been created since we looked
            text = f"{tag} does not exist in MISP and this role may not create tags; create it, then run again"
            notes.append((None, Outcome.PRESERVED, Reason.HELD_MARKING, text))

    def _absent(self, tags: set[str], *, fresh: bool) -> list[str]:
        """Those of some tags that do not exist in MISP, as of the last look or a fresh one."""
        if self._tags is None or fresh:
            value = self._read("tags/index")
            self._tags = {str(row.get("name", "")).lower() for row in value.get("Tag") or []}
        return sorted(tag for tag in tags if tag.lower() not in self._tags)

    def _clusters_of(self, uuids: list[str]) -> list[Mapping[str, Any]]:
        answer = self._post("galaxy_clusters/restSearch", {"uuid": uuids})
        rows = _value(answer).get("response") if answer.status == 200 else None
        found = [row.get("GalaxyCluster") for row in rows or () if isinstance(row, dict)]
        return [row for row in found if isinstance(row, dict)]

    def _share(self, event: MispEvent, wanted: str, notes: list[Note]) -> bool:
        if self._groups is None:
            rows = self._read("sharing_groups/index").get("response") or []
            self._groups = [row["SharingGroup"] for row in rows if isinstance(row, dict) and "SharingGroup" in row]
        for group in self._groups:
            if wanted in (group.get("uuid"), group.get("name")):
                event["sharing_group_id"] = str(group["id"])
                return True
        names = ", ".join(sorted(str(group.get("name")) for group in self._groups)) or "none"
        notes.append((None, Outcome.DROPPED, Reason.REFUSED, f"no sharing group {wanted!r}; this key sees: {names}"))
        return False

    def _read(self, route: str) -> dict[str, Any]:
        try:
            answer = self._http.get(f"{self._url}/{route}")
        except Unreachable:
            raise
        except ServerError as error:
            hint = "; is the key right?" if error.status in (401, 403) else ""
            raise ServerError(f"sink {self.name}: {error}{hint}", status=error.status) from None
        value = _value(answer)
        if not value:
            raise ServerError(
                f"sink {self.name}: {answer.url} answered with a web page, not MISP's API; is the URL right?"
            )
        return value

    def _post(self, route: str, body: Mapping[str, Any]) -> Answer:
        return self._http.post(f"{self._url}/{route}", orjson.dumps(body))

    def _failed(self, route: str, answer: Answer, message: str) -> ServerError:
        return ServerError(
            f"sink {self.name}: {self._url}/{route} answered {answer.status}: {message}", status=answer.status
        )


def _value(answer: Answer) -> dict[str, Any]:
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {"response": value}


def _message(value: Mapping[str, Any], answer: Answer) -> str:
    """What MISP says, in one line."""
    errors = value.get("errors")
    text = errors if isinstance(errors, str) else orjson.dumps(errors).decode() if errors else ""
    said = str(value.get("message") or value.get("name") or "")
    joined = f"{said} {text}".strip() if text not in said else said
    return " ".join((joined or "a web page, not MISP's API; is the URL right?").split())[:500]
