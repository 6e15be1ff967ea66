"""A MISP feed folder: any MISP can subscribe to it, by a web server or as a local folder. No server is needed.

MISP merges what it fetches and never removes what is left out, so what is withdrawn stays in the folder as a
tombstone: `deleted: true` with a newer timestamp. MISP reads an event again only when its timestamp in `manifest.json`
is newer, and overwrites a part only when the part's own timestamp is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import md5
from pathlib import Path
from typing import Any

import orjson

from stixbridge import tlp
from stixbridge.envelopes import Delivered
from stixbridge.errors import ConfigError
from stixbridge.misp.model import ANALYST_DATA, MispEvent
from stixbridge.misp.values import COMPOSITES
from stixbridge.settings.registry import sink
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, Note, State
from stixbridge.sinks.event_diff import event_diff
from stixbridge.sinks.feed.settings import FeedSettings
from stixbridge.sinks.feed.signing import Signer, unsign
from stixbridge.sinks.folder import event_in, make_folder, write_atomically
from stixbridge.sinks.misp.answers import number, table
from stixbridge.sinks.storable import mended
from stixbridge.sinks.withdrawal import emptied

ORGC = {"name": "stixbridge", "uuid": "0b6f2f3e-7d0c-5b52-8c1b-4d3f0a9c2e11"}
"""The organisation that events in a feed carry where the configuration names none."""

_COLOURS = {
    "red": "#FF2B2B",
    "amber": "#FFC000",
    "amber+strict": "#FFC000",
    "green": "#33FF00",
    "clear": "#FFFFFF",
}
_COLOUR = "#0088CC"


@sink("feed", FeedSettings)
class FeedSink(Sink):
    """A feed folder.

    Args (of the constructor):
        path: the folder; made when absent.
        name: of the sink.
        settings: any other setting of `FeedSettings`, as in the configuration.

    Raises:
        ConfigError: naming every setting that is wrong; when there is no GnuPG, or no such key.
    """

    def __init__(self, path: str | Path, *, name: str = "feed", **settings: Any) -> None:
        given = FeedSettings(path=Path(path), **settings)
        super().__init__(
            name,
            max_tlp=given.max_tlp,
            settings=f"{given.max_tlp} {given.sign or ''}",
            place="the feed",
        )
        self._path = given.path.expanduser()
        self._orgc = given.orgc.to_dict() if given.orgc is not None else ORGC
        self._signer = Signer(given.sign, given.gnupg_home) if given.sign is not None else None

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Write the events, then `hashes.csv`, `manifest.json` and the signature; only then is anything delivered."""
        if self.dry:
            yield from (self._one(job)[0] for job in jobs)
            return
        make_folder(self._path)
        manifest = self._manifest()
        done: list[Delivery] = []
        touched: dict[str, MispEvent] = {}
        for job in jobs:
            delivery, event = self._one(job, number(table(manifest, job.uuid).get("timestamp")))
            done.append(delivery)
            if event is not None:
                touched[delivery.event] = event
        entries = {uuid: _manifest_entry(event) for uuid, event in touched.items()}
        if any(manifest.get(uuid) != entry for uuid, entry in entries.items()):
            self._write_hashes(touched)
            write_atomically(self._path / "manifest.json", orjson.dumps({**manifest, **entries}))
        if self._signer is not None:
            self._signer.sign(self._path, [f"{uuid}.json" for uuid in touched])
        elif touched:
            unsign(self._path)
        yield from done

    def _one(self, job: Job, listed: int = 0) -> tuple[Delivery, MispEvent | None]:
        uuid, delivered = job.uuid, Delivered.of(job.wanted)
        path = self._path / f"{uuid}.json"
        old = event_in(path)
        notes: list[Note] = []
        allowed = self.allowed(job.wanted, notes)
        state, action = State.DELIVERED, "created" if old is None else "updated"
        if allowed is None:
            state, action = State.OUT, "left out"
            if old is None:
                return Delivery(uuid, state, delivered, action, notes=notes), None
            # under its old title: the new one may be what is too strict
            wanted = emptied(old, keep=())
        else:
            wanted = allowed.event
        event = self._framed(mended(wanted, notes, job.now), old or {}, job.now, listed)
        changes: list[str] = []
        if old is not None and _content(event) == _content(old):
            event = old
            action = action if state is State.OUT else "unchanged"
        elif self.dry:
            changes = event_diff(old or {}, event)
        else:
            write_atomically(path, orjson.dumps({"Event": event}))
        return Delivery(
            uuid, state, delivered, action, published=True, notes=notes, changes=changes
        ), event

    def _framed(
        self, wanted: MispEvent, old: Mapping[str, Any], now: int, listed: int
    ) -> MispEvent:
        """The event as the folder holds it: organisation, tombstones, timestamps that grow with every change.

        Args:
            wanted: what it shall be.
            old: what the folder has.
            now: seconds.
            listed: its timestamp in the manifest; its file may be lost.
        """
        plain = {key: value for key, value in wanted.items() if not isinstance(value, list)}
        event: MispEvent = dict(plain)
        event.pop(
            "sharing_group_id", None
        )  # a feed has the distribution that its subscriber gives it
        event["Orgc"] = self._orgc
        event["published"] = True
        event["Tag"] = _tags(wanted, old)
        for name in ("Attribute", "Object", "EventReport"):
            event[name] = _parts(wanted, old, name, now)
        event |= {kind: wanted[kind] for kind in ANALYST_DATA if wanted.get(kind)}
        stamp = max(int(wanted["timestamp"]), listed + 1 if listed and not old else 0)
        if old and _content(event) != _content(dict(old)):
            stamp = max(stamp, now, int(old["timestamp"]) + 1)
        elif old:
            stamp = int(old["timestamp"])
        event["timestamp"] = event["publish_timestamp"] = str(stamp)
        return event

    def _manifest(self) -> dict[str, Any]:
        path = self._path / "manifest.json"
        if not path.exists():
            return {}
        try:
            value = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise ConfigError(
                f"{path}: not a MISP manifest; point the sink at another folder, or remove the file"
            )
        return value

    def _write_hashes(self, touched: Mapping[str, MispEvent]) -> None:
        path = self._path / "hashes.csv"
        lines: list[str] = []
        if path.exists():
            for line in path.read_text("ascii", "replace").splitlines():
                if line.rpartition(",")[2] not in touched:
                    lines.append(line)
        for uuid, event in touched.items():
            lines.extend(f"{digest},{uuid}" for digest in _hashes(event))
        write_atomically(path, "".join(f"{line}\n" for line in sorted(lines)).encode("ascii"))


def _parts(
    wanted: Mapping[str, Any], old: Mapping[str, Any], name: str, now: int
) -> list[dict[str, Any]]:
    """The parts that are wanted, and a tombstone for each that was there and is not."""
    before = {str(part["uuid"]): part for part in old.get(name) or []}
    rows: list[dict[str, Any]] = []
    for part in wanted.get(name) or []:
        known = before.pop(str(part["uuid"]), None)
        row = dict(part)
        if known is not None:
            if "deleted" in known:
                row["deleted"] = False
            row["Tag"] = _tags(part, known)
            if not row["Tag"]:
                del row["Tag"]
        if name == "Object":
            row["Attribute"] = _parts(part, known or {}, "Attribute", now)
            references = _parts(part, known or {}, "ObjectReference", now)
            if references:
                row["ObjectReference"] = references
        if known is not None:
            same = _content(row) == _content(known)
            stamp = (
                number(known.get("timestamp"))
                if same
                else max(int(part.get("timestamp", 0)), now, number(known.get("timestamp")) + 1)
            )
            row["timestamp"] = str(stamp)
        rows.append(row)
    for known in before.values():
        stone = dict(known)
        if name == "EventReport":
            stone["content"] = ""  # MISP keeps a report that is deleted in a feed
        stone["deleted"] = True
        if name == "Object":
            stone["Attribute"] = [
                {**inner, "deleted": True} for inner in known.get("Attribute") or []
            ]
        if _content(stone) != _content(known):
            stone["timestamp"] = str(max(now, number(known.get("timestamp")) + 1))
            for inner in stone.get("Attribute") or []:
                inner["timestamp"] = stone["timestamp"]
        rows.append(stone)
    return sorted(rows, key=lambda row: str(row["uuid"]))


def _tags(part: Mapping[str, Any], old: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tags with colours; one that was there and is no longer wanted stays, as deleted."""
    wanted = [str(tag["name"]) for tag in part.get("Tag") or []]
    rows: list[dict[str, Any]] = [{"name": name, "colour": colour(name)} for name in wanted]
    for tag in old.get("Tag") or []:
        if tag["name"] not in wanted:
            rows.append({"name": tag["name"], "colour": colour(str(tag["name"])), "deleted": True})
    return sorted(rows, key=lambda row: str(row["name"]))


def colour(tag: str) -> str:
    """The colour of a tag: TLP's own, else MISP's blue."""
    level = tlp.level_of_name(tag) if tlp.is_tlp_tag(tag) else None
    return _COLOURS[level] if level is not None else _COLOUR


def _content(part: Mapping[str, Any]) -> Any:
    """A part without its times and colours, to see whether it changed."""
    if isinstance(part, Mapping):
        return {
            key: _content(value)
            for key, value in part.items()
            if key not in ("timestamp", "publish_timestamp", "colour") and value not in ([], None)
        }
    if isinstance(part, list):
        return [_content(item) for item in part]
    return part


def _manifest_entry(event: MispEvent) -> dict[str, Any]:
    return {
        "Orgc": event["Orgc"],
        "Tag": [
            {"name": tag["name"], "colour": tag["colour"]}
            for tag in event["Tag"]
            if not tag.get("deleted")
        ],
        "info": event["info"],
        "date": event["date"],
        "analysis": event["analysis"],
        "threat_level_id": event["threat_level_id"],
        "timestamp": event["timestamp"],
    }


def _hashes(event: MispEvent) -> list[str]:
    """MD5 of each value, each half of a composite by itself: what MISP looks up in feeds it has not fetched."""
    values: set[str] = set()
    parts = list(event.get("Attribute") or [])
    for obj in event.get("Object") or []:
        if not obj.get("deleted"):
            parts.extend(obj.get("Attribute") or [])
    for part in parts:
        if part.get("deleted"):
            continue
        value = str(part["value"])
        values.update(value.split("|", 1) if part["type"] in COMPOSITES else [value])
    return sorted(md5(value.encode(), usedforsecurity=False).hexdigest() for value in values)
