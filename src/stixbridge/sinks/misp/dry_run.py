"""A MISP whose writes are imagined, for a dry run: the sink does all that it would do, and nothing is written.

Reads go to the server. Writes are answered from what was read, as a MISP would that takes everything, and kept here, so
that what is asked for later is what would be there by then.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from stixbridge.http import Answer, Http
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.event_diff import event_diff
from stixbridge.sinks.fields import is_set
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
            there = next(self._search({"uuid": [uuid], "metadata": 1}), None)
            held = super().event(uuid) if there is not None else None
            self._keep(uuid, held)
        return _unpacked(self._now[uuid])

    def settled(self, uuid: str) -> dict[str, Any] | None:
        """The same: nobody fills it meanwhile."""
        return self.event(uuid)

    def post(self, route: str, body: Mapping[str, Any]) -> Answer:
        """Imagine a write."""
        controller, _, rest = route.partition("/")
        action, _, target = rest.partition("/")
        act = _WRITES[f"{controller}/{action}"]
        value, status = act(self, target.partition("/")[0], body)
        return Answer(status, {}, orjson.dumps(value), f"{self._url}/{route}")

    def change_analyst_data(
        self, event: str, kind: str, uuid: str, fields: Mapping[str, Any] | None
    ) -> Answer:
        """Imagine it in the event."""
        held = self.event(event)
        if held is not None:
            self._keep(event, _said(held, kind, uuid, fields))
        return Answer(200, {}, orjson.dumps({kind: {"uuid": uuid}}), self._url)

    def changes(self, uuids: Iterable[str]) -> list[str]:
        """What was imagined of some events since they were read, a line each; from here on it counts as there.

        Args:
            uuids: of the event of a job, and of others that carry it.
        """
        lines: list[str] = []
        for at, uuid in enumerate(uuids):
            before, now = _unpacked(self._before.get(uuid)), _unpacked(self._now.get(uuid))
            if before == now:
                continue
            self._before[uuid] = self._now[uuid]
            if at:
                lines.append(
                    f"{'~' if before else '+'} event {uuid} {(now or before or {}).get('info', '')}"
                )
            if now is None:
                lines.append("- the event itself")
                continue
            lines.extend(event_diff(before or {}, now))
            was, will = (is_set((row or {}).get("published")) for row in (before, now))
            if was != will:
                lines.append(f"~ published: {was} → {will}")
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
"""What each write would do. None asks for a part by itself: nothing is dropped here."""


def _merged(held: Mapping[str, Any], edit: Mapping[str, Any]) -> dict[str, Any]:
    """An element after an edit: parts by UUID, tags by name; what the edit does not name stays."""
    merged = dict(held)
    for key, value in edit.items():
        if key == "Tag":
            tags = {str(tag["name"]).lower(): tag for tag in held.get("Tag") or ()}
            for tag in value:
                if tag.get("deleted"):
                    tags.pop(str(tag["name"]).lower(), None)
                else:
                    tags.setdefault(str(tag["name"]).lower(), tag)
            merged["Tag"] = list(tags.values())
        elif isinstance(value, list) and all(
            isinstance(row, Mapping) and "uuid" in row for row in value
        ):
            rows = {str(row.get("uuid")): row for row in held.get(key) or ()}
            for row in value:
                rows[str(row["uuid"])] = _merged(rows.get(str(row["uuid"]), {}), row)
            merged[key] = list(rows.values())
        else:
            merged[key] = value
    return merged


def _said(
    part: Mapping[str, Any], kind: str, uuid: str, fields: Mapping[str, Any] | None
) -> dict[str, Any]:
    """An element with a note, opinion or relationship in it changed, or without it."""
    changed = dict(part)
    if part.get(kind):
        rows = [{**row, **(fields or {})} if row["uuid"] == uuid else row for row in part[kind]]
        changed[kind] = [row for row in rows if fields is not None or row["uuid"] != uuid]
    for name in ("Attribute", "Object", "EventReport"):
        if part.get(name):
            changed[name] = [_said(row, kind, uuid, fields) for row in part[name]]
    return changed


def _packed(event: MispEvent | None) -> bytes | None:
    return None if event is None else zlib.compress(orjson.dumps(event), _LEVEL)


def _unpacked(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    event: dict[str, Any] = orjson.loads(zlib.decompress(data))
    return event
