"""MISP's REST API, as far as the sink needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from stixbridge.errors import ServerError, Unreachable
from stixbridge.http import Answer, Http, pause
from stixbridge.sinks.fields import is_set
from stixbridge.sinks.misp.answers import event_in, message_of, number, rows, table, value_of

_PERMISSIONS = ("tag_editor", "publish", "add", "sync", "galaxy_editor", "site_admin")
_SLOW = 0.25
"""The share of the time-out after which an answer counts as slow."""
_ALWAYS = "4102444800"
"""Seconds: the end of every range of time."""
_DERIVED = "5"
"""The version of the UUIDs that the conversion gives; MISP's own are of version 4."""
_CLUSTERS_AT_ONCE = 50
_SETTLE_TRIES = 60
_SETTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Rights:
    """The permissions of the key's user, and its organisation."""

    org_uuid: str
    tag_editor: bool
    publish: bool
    add: bool
    sync: bool
    galaxy_editor: bool
    site_admin: bool


class MispApi:
    """One MISP, by one key.

    Args (of the constructor):
        http: a connection that carries the key.
        name: of the sink, for messages.

    Attributes:
        on_slow: called when an answer took a quarter of the time-out.
        new_clusters: galaxy clusters that were only imagined (`imagined`).
    """

    new_clusters = 0

    def __init__(self, http: Http, name: str) -> None:
        self.http = http
        self._url = http.base.rstrip("/")
        self._name = name
        self._rights: Rights | None = None
        self._tags: set[str] | None = None
        self._groups: list[dict[str, Any]] | None = None
        self._galaxies: dict[str, str] | None = None
        self._unblocks: bool | None = None
        self.on_slow: Callable[[], None] = lambda: None

    def rights(self) -> Rights:
        """The permissions of the key.

        Raises:
            ServerError: for a wrong key, or an answer that is not MISP's.
        """
        if self._rights is None:
            me = self.read("users/view/me")
            role = table(me, "Role")
            organisation = table(me, "Organisation") or table(table(me, "User"), "Organisation")
            self._rights = Rights(
                str(organisation.get("uuid") or ""),
                *(bool(role.get(f"perm_{name}")) for name in _PERMISSIONS),
            )
            if not self._rights.add:
                raise ServerError(
                    f"sink {self._name}: the role of this key may not add events; use another key",
                    status=403,
                )
        return self._rights

    # events

    def event(self, uuid: str) -> dict[str, Any] | None:
        """An event with its soft-deleted parts; None where there is none.

        MISP hides an event that never had an attribute from whoever asks for deleted ones too: that
        is asked by itself.
        """
        for more in ({"deleted": [0, 1]}, {}):
            for event in self._search({"uuid": [uuid], **more}):
                if event.get("uuid") == uuid:
                    return event
        return None

    def _search(self, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The events that `events/restSearch` finds."""
        answer, value = self.ask(
            "events/restSearch", {**asked, "includeAnalystData": 1, "returnFormat": "json"}
        )
        if answer.status != 200 or not isinstance(value.get("response"), list):
            raise self.failed("events/restSearch", answer, message_of(value, answer))
        return (event for row in rows(value, "response") if (event := event_in(row)) is not None)

    def titled(self, info: str) -> list[str]:
        """The UUIDs of the events of the key's organisation that have a title."""
        if not info or info.startswith("!"):
            return []  # MISP reads that as: all others
        organisation = self.rights().org_uuid
        return [
            str(event.get("uuid"))
            for event in self._search({"eventinfo": info, "metadata": 1})
            if str(event.get("info")).strip() == info.strip()
            and str(table(event, "Orgc").get("uuid")) == organisation
        ]

    def extended(self, uuid: str) -> bool:
        """Whether other events extend an event."""
        return bool(
            table(self.read(f"events/view/{uuid}/extended:1"), "Event").get("extensionEvents")
        )

    def may_edit(self, event: Mapping[str, Any]) -> bool:
        """Whether the key may edit an event."""
        rights = self.rights()
        own = str(table(event, "Orgc").get("uuid")) == rights.org_uuid
        return own or rights.site_admin or (rights.sync and is_set(event.get("locked")))

    def may_unblock(self) -> bool:
        """Whether the key may take the UUID of a deleted event off the blocklist."""
        if self._unblocks is None:
            try:
                self._unblocks = (
                    self.http.get(f"{self._url}/event_blocklists/index/limit:1").status == 200
                )
            except ServerError as error:
                if error.status not in (401, 403, 404):
                    raise
                self._unblocks = False
        return self._unblocks

    def settled(self, uuid: str) -> dict[str, Any] | None:
        """An event once it has stopped growing.

        A server whose client has gone away goes on filling the event.
        """
        before: str | None = None
        event = None
        for _ in range(_SETTLE_TRIES):
            event = self.event(uuid)
            count = None if event is None else str(event.get("attribute_count"))
            if count is not None and count == before:
                return event
            if count is None and before == "":
                return None
            before = count if count is not None else ""
            pause(_SETTLE_SECONDS)
        return event

    # what there is

    def absent_tags(self, tags: set[str], *, fresh: bool) -> list[str]:
        """Those of some tags that do not exist in MISP, as of the last look or a fresh one."""
        if self._tags is None or fresh:
            value = self.read("tags/index")
            self._tags = {str(row.get("name", "")).lower() for row in rows(value, "Tag")}
        return sorted(tag for tag in tags if tag.lower() not in self._tags)

    def clusters(self, uuids: list[str]) -> list[Mapping[str, Any]]:
        """The galaxy clusters that this MISP has of some UUIDs."""
        result: list[Mapping[str, Any]] = []
        for at in range(0, len(uuids), _CLUSTERS_AT_ONCE):
            answer, value = self.ask(
                "galaxy_clusters/restSearch", {"uuid": uuids[at : at + _CLUSTERS_AT_ONCE]}
            )
            if answer.status in (403, 404, 405):
                continue  # a MISP, or a key, without galaxies
            if answer.status != 200 or not isinstance(value.get("response"), list):
                raise self.failed("galaxy_clusters/restSearch", answer, message_of(value, answer))
            result.extend(rows(value, "response", "GalaxyCluster"))
        return result

    def false_positives(self, since: int, *, own: bool) -> list[tuple[str, int]] | None:
        """Values that were sighted as false positives (type 1) since a moment, and when.

        Sightings that the bridge sent are left out: in them a source says so, and that is no
        evidence against another source.

        Args:
            since: microseconds.
            own: only those of the key's own organisation.

        Returns:
            None where the role, or the MISP, has no sightings to show.
        """
        asked = {
            "returnFormat": "json",
            "type": "1",
            "from": str(max(since, 0) // 1_000_000),
            "to": _ALWAYS,
        }
        answer, value = self.ask("sightings/restSearch", asked)
        message = message_of(value, answer)
        if answer.status in (403, 404, 405) and value and "Authentication failed" not in message:
            return None
        if answer.status != 200 or not isinstance(value.get("response"), list):
            raise self.failed("sightings/restSearch", answer, message)
        sightings = [row for row in rows(value, "response", "Sighting") if row.get("value")]
        organisation = self.rights().org_uuid if own and sightings else None
        return [
            (str(row["value"]), number(row.get("date_sighting")) * 1_000_000)
            for row in sightings
            if organisation in (None, table(row, "Organisation").get("uuid"))
            and not is_derived(row)
        ]

    def galaxy(self, kind: str) -> str | None:
        """The id of the galaxy of a type; None where this MISP has none."""
        if self._galaxies is None:
            result = rows(self.read("galaxies/index"), "response", "Galaxy")
            self._galaxies = {
                str(row.get("type")): str(row["id"]) for row in result if row.get("id")
            }
        return self._galaxies.get(kind)

    def sharing_groups(self) -> list[dict[str, Any]]:
        """The sharing groups that the key sees."""
        if self._groups is None:
            result = rows(self.read("sharing_groups/index"), "response", "SharingGroup")
            self._groups = [row for row in result if row.get("id")]
        return self._groups

    # calls

    def read(self, route: str) -> dict[str, Any]:
        """GET what is known to be JSON.

        Raises:
            ServerError: for anything else.
        """
        try:
            answer = self.http.get(f"{self._url}/{route}")
        except Unreachable:
            raise
        except ServerError as error:
            hint = "; is the key right?" if error.status in (401, 403) else ""
            raise ServerError(f"sink {self._name}: {error}{hint}", status=error.status) from None
        value = value_of(answer)
        if not value:
            raise ServerError(
                f"sink {self._name}: {answer.url} answered with a web page, not MISP's API;"
                " is the URL right?"
            )
        return value

    def ask(self, route: str, body: Mapping[str, Any]) -> tuple[Answer, dict[str, Any]]:
        """POST what only reads, again where no answer came; the answer, and its JSON."""
        answer = self.http.post(f"{self._url}/{route}", orjson.dumps(body), idempotent=True)
        return answer, value_of(answer)

    def post(self, route: str, body: Mapping[str, Any]) -> Answer:
        """POST what writes, once. Any answer is returned: at MISP 403 and 404 say things.

        Raises:
            Unreachable: when no answer came; MISP may have acted all the same.
        """
        began = time.monotonic()
        answer = self.http.post(f"{self._url}/{route}", orjson.dumps(body))
        if time.monotonic() - began > self.http.timeout * _SLOW:
            self.on_slow()
        return answer

    def change_analyst_data(
        self, event: str, kind: str, uuid: str, fields: Mapping[str, Any] | None
    ) -> Answer:
        """Change fields of a note, opinion or relationship; or delete it, without its blocklist.

        Args:
            event: the UUID of the event that it is in.
            kind: `Note`, `Opinion` or `Relationship`.
            uuid: its own.
            fields: None to delete it.
        """
        if fields is None:
            return self.post(
                f"analyst_data/delete/{kind}/{uuid}/0", {}
            )  # with 1 it could never come back
        return self.post(f"analyst_data/edit/{kind}/{uuid}", fields)

    def changes(self, uuids: Iterable[str]) -> list[str]:
        """The changes that a dry run did not send (`dry_run`): none, posts are sent here."""
        return []

    def failed(self, route: str, answer: Answer, message: str) -> ServerError:
        """An answer that ends the delivery, as an error."""
        return ServerError(
            f"sink {self._name}: {self._url}/{route} answered {answer.status}: {message}",
            status=answer.status,
        )


def is_derived(row: Mapping[str, Any]) -> bool:
    """Whether a row has a UUID as the conversion derives them, so that it came from the bridge."""
    return str(row.get("uuid"))[14:15] == _DERIVED
