"""The files of a feed folder that list its events: `manifest.json` and `hashes.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import md5
from pathlib import Path
from typing import Any

import orjson

from stixbridge.errors import ConfigError
from stixbridge.misp.model import MispEvent
from stixbridge.misp.values import COMPOSITES
from stixbridge.sinks.fields import rows_of

MANIFEST, HASHES = "manifest.json", "hashes.csv"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; empty where it has none.

    Raises:
        ConfigError: when the file is something else.
    """
    path = folder / MANIFEST
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


def manifest_entry(event: MispEvent) -> dict[str, Any]:
    """The entry of an event in the manifest."""
    names = ("info", "date", "analysis", "threat_level_id", "timestamp")
    tags = [
        {"name": tag["name"], "colour": tag["colour"]}
        for tag in event["Tag"]
        if not tag.get("deleted")
    ]
    return {"Orgc": event["Orgc"], "Tag": tags, **{name: event[name] for name in names}}


def hashes_with(folder: Path, events: Mapping[str, MispEvent]) -> bytes:
    """The content of `hashes.csv` with the values of some events brought up to date.

    Args:
        folder: of the feed.
        events: by UUID, as the folder holds them.
    """
    path = folder / HASHES
    lines = path.read_text("ascii", "replace").splitlines() if path.exists() else []
    lines = [line for line in lines if line.rpartition(",")[2] not in events]
    for uuid, event in events.items():
        lines.extend(f"{digest},{uuid}" for digest in _hashes(event))
    return "".join(f"{line}\n" for line in sorted(lines)).encode("ascii")


def _hashes(event: MispEvent) -> list[str]:
    """MD5 of each value, each half of a composite by itself.

    MISP looks values up in the hashes of feeds that it has not fetched.
    """
    holders = [event, *(obj for obj in rows_of(event, "Object") if not obj.get("deleted"))]
    values: set[str] = set()
    for part in (row for holder in holders for row in rows_of(holder, "Attribute")):
        if not part.get("deleted"):
            value = str(part["value"])
            values.update(value.split("|", 1) if part["type"] in COMPOSITES else [value])
    return sorted(md5(value.encode(), usedforsecurity=False).hexdigest() for value in values)
