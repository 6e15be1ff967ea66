"""A MISP in a dry run: the sink does everything that it would do, and nothing is written.

Reads go to the server. Writes are answered from what was read, as a MISP would that takes
everything, and kept here, so that later reads find what would be there by then.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from stixbridge.envelopes import AnalystDataChange
from stixbridge.http import Answer, Http
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.event_diff import event_diff
from stixbridge.sinks.fields import PARTS, Part, is_set, rows_of, with_rows
from stixbridge.sinks.misp.api import MispApi

_LEVEL = 1
"""Of the compression: a dry run keeps every event that it touches."""


class DryRunApi(MispApi):
    """One MISP that is only read.

    Args (of the constructor):
        http: a connection that carries the key.
        name: of the sink, for messages.
    """

    def __init__(self, http: Http, name: str) -> None:
        super().__init__(http, name)
        self._before: dict[str, bytes | None] = {}
        self._now: dict[str, bytes | None] = {}
        self._uuids: dict[str, str] = {}
        self._lock = threading.Lock()

    def event(self, uuid: str) -> dict[str, Any] | None:
        """An event as it would be by now; one request where there is none."""
        if uuid not in self._now:
            head = next(self._search({"uuid": [uuid], "metadata": 1}), None)
            event_now = super().event(uuid) if head is not None else None
            self._keep(uuid, event_now)
        return _unpacked(self._now[uuid])

    def settled(self, uuid: str) -> dict[str, Any] | None:
        """The same: nobody fills it meanwhile."""
        return self.event(uuid)

    def post(self, route: str, body: Mapping[str, Any]) -> Answer:
        """Answer a write, and keep what it would do."""
        controller, _, rest = route.partition("/")
        action, _, target = rest.partition("/")
        act = _WRITES[f"{controller}/{action}"]
        value, status = act(self, target.partition("/")[0], body)
        return Answer(status, {}, orjson.dumps(value), f"{self._url}/{route}")

    def change_analyst_data(
        self, event: str, kind: str, uuid: str, fields: Mapping[str, Any] | None
    ) -> Answer:
        """Keep the change in the event."""
        present = self.event(event)
        if present is not None:
            change = AnalystDataChange(kind, uuid, None if fields is None else dict(fields))
            self._keep(event, _with_change(present, change))
        return Answer(200, {}, orjson.dumps({kind: {"uuid": uuid}}), self._url)

    def changes(self, uuids: Iterable[str]) -> list[str]:
        """The changes of some events since they were read, a line each.

        They count as read from then on.

        Args:
            uuids: of the event of a job, and of others that carry it.
        """
        lines: list[str] = []
        for at, uuid in enumerate(uuids):
            before, now = _unpacked(self._before.get(uuid)), _unpacked(self._now.get(uuid))
            if before != now:
                self._before[uuid] = self._now[uuid]
                if at:
                    info = (now or before or {}).get("info", "")
                    lines.append(f"{'~' if before else '+'} event {uuid} {info}")
                lines.extend(_changes(before or {}, now))
        return lines

    def _keep(self, uuid: str, event: MispEvent | None) -> None:
        with self._lock:
            self._now[uuid] = _packed(event)
            self._before.setdefault(uuid, self._now[uuid])
            if event is not None:
                self._uuids[str(event["id"])] = uuid

    # writes

    def _add(self, _: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        uuid = str(body["uuid"])
        if self.event(uuid) is not None:
            return {"name": "Event already exists"}, 404
        event = _merged({"id": uuid, "Orgc": {"uuid": self.rights().org_uuid}}, body)
        self._keep(uuid, event)
        return {"Event": event}, 200

    def _edit(self, uuid: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        edit = body["Event"]
        event = _merged(self.event(uuid) or {}, {"published": False, **edit})
        self._keep(uuid, event)
        return {"Event": event}, 200

    def _publish(self, id_: str, _: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        uuid = self._uuids.get(id_, id_)
        self._keep(uuid, {**(self.event(uuid) or {}), "published": True})
        return {"saved": True}, 200

    def _delete(self, id_: str, _: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        self._keep(self._uuids.get(id_, id_), None)
        return {"saved": True}, 200

    def _unblock(self, _: str, __: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        return {"saved": True}, 200

    def _upload(self, _: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        uuid = str(body["id"]).removeprefix("bundle--")
        if self.event(uuid) is not None:
            return {"message": "Event with the same UUID already exists."}, 403
        made = {
            "id": uuid,
            "uuid": uuid,
            "info": f"what MISP's own import makes of {len(body['objects'])} objects",
        }
        self._keep(
            uuid, {**made, "Attribute": [{"uuid": uuid, "type": "of", "value": made["info"]}]}
        )
        return {"Event": made, "Attribute": [{}]}, 200

    def _make_cluster(self, _: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        self.new_clusters += 1
        return {
            "GalaxyCluster": {"uuid": body["uuid"], "tag_name": f"a new cluster, {body['value']}"}
        }, 200

    def _take(self, _: str, __: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        return {"GalaxyCluster": {}}, 200


_WRITES: Mapping[str, Callable[[DryRunApi, str, Mapping[str, Any]], tuple[dict[str, Any], int]]] = {
    "events/add": DryRunApi._add,
    "events/edit": DryRunApi._edit,
    "events/publish": DryRunApi._publish,
    "events/delete": DryRunApi._delete,
    "events/upload_stix": DryRunApi._upload,
    "event_blocklists/delete": DryRunApi._unblock,
    "galaxy_clusters/add": DryRunApi._make_cluster,
    "galaxy_clusters/edit": DryRunApi._take,
    "galaxy_cluster_relations/add": DryRunApi._take,
}
"""The effect of each write. No write asks for one part: nothing is dropped here."""


def _changes(before: Part, now: Part | None) -> list[str]:
    """The changes of one event."""
    if now is None:
        return ["- the event itself"]
    lines = event_diff(before, now)
    was, will = (is_set(event.get("published")) for event in (before, now))
    return lines if was == will else [*lines, f"~ published: {was} → {will}"]


def _merged(present: Mapping[str, Any], edit: Mapping[str, Any]) -> Part:
    """A part after an edit: inner parts by UUID, tags by name; everything else stays."""
    merged = dict(present)
    for key, value in edit.items():
        if key == "Tag":
            merged["Tag"] = _merged_tags(rows_of(present, "Tag"), value)
        elif _is_list_of_parts(value):
            parts = {str(row.get("uuid")): row for row in rows_of(present, key)}
            for row in value:
                uuid = str(row["uuid"])
                parts[uuid] = _merged(parts.get(uuid, {}), row)
            merged[key] = list(parts.values())
        else:
            merged[key] = value
    return merged


def _is_list_of_parts(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return all(isinstance(row, Mapping) and "uuid" in row for row in value)


def _merged_tags(present: Iterable[Part], edit: Iterable[Part]) -> list[Part]:
    tags = {str(tag["name"]).lower(): tag for tag in present}
    for tag in edit:
        folded = str(tag["name"]).lower()
        if tag.get("deleted"):
            tags.pop(folded, None)
        else:
            tags.setdefault(folded, tag)
    return list(tags.values())


def _with_change(part: Part, change: AnalystDataChange) -> Part:
    """A part with a note, opinion or relationship in it changed, or without it."""
    changed = with_rows(part, PARTS, lambda _, row: _with_change(row, change))
    if part.get(change.kind):
        changed[change.kind] = [
            {**row, **(change.fields or {})} if row["uuid"] == change.uuid else row
            for row in part[change.kind]
            if row["uuid"] != change.uuid or change.fields is not None
        ]
    return changed


def _packed(event: MispEvent | None) -> bytes | None:
    return None if event is None else zlib.compress(orjson.dumps(event), _LEVEL)


def _unpacked(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    event: dict[str, Any] = orjson.loads(zlib.decompress(data))
    return event
