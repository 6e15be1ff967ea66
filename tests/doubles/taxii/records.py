"""What the double stores, and how a listing is chosen from it."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

FILTERS = {"match[id]", "match[type]", "match[version]", "match[spec_version]"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

Stix = dict[str, Any]


@dataclass(frozen=True)
class Record:
    object: Stix
    date_added: str
    version: str


@dataclass(frozen=True)
class Walk:
    """A listing in progress; `next` names it.

    It is a snapshot of its first page, as on medallion.
    """

    key: tuple[str, dict[str, str]]  # what the client has to repeat: path and parameters
    records: list[Record]
    offset: int = 0
    pages: int = 0
    empty: int = 0


@dataclass
class Collection:
    id: str
    title: str
    can_read: bool
    root: int
    records: list[Record] = field(default_factory=list)


def recorded(item: Stix, stamp: str) -> Record:
    return Record(item, stamp, str(item.get("modified", item.get("created", stamp))))


def sound(name: str, value: str) -> bool:
    """Say whether a parameter has a value that every server understands."""
    if name == "limit":
        return value.isdecimal() and int(value) > 0
    if name == "added_after":
        with suppress(ValueError):
            return bool(TIMESTAMP.fullmatch(value) and datetime.fromisoformat(value))
        return False
    if name in FILTERS:
        return all(value.split(",")) and " " not in value
    return value != ""


def select(collection: Collection, query: Mapping[str, str]) -> list[Record]:
    """Return the records that the parameters ask for, in the order of their stamps."""
    wanted = {name[6:-1]: set(query[name].split(",")) for name in FILTERS & query.keys()}
    versions = wanted.get("version", {"last"})
    by_id: dict[str, list[Record]] = {}
    for record in collection.records:
        by_id.setdefault(record.object["id"], []).append(record)
    chosen = []
    for known in by_id.values():
        known.sort(key=lambda record: datetime.fromisoformat(record.version))
        for record in known:
            names = {"all", record.version}
            if record is known[0]:
                names.add("first")
            if record is known[-1]:
                names.add("last")
            if names & versions:
                chosen.append(record)
    chosen = [
        record
        for record in chosen
        if record.date_added > query.get("added_after", "")
        and wanted.get("id", {record.object["id"]}) & {record.object["id"]}
        and wanted.get("type", {record.object["type"]}) & {record.object["type"]}
        and _spec(record) in wanted.get("spec_version", {_spec(record)})
    ]
    return sorted(chosen, key=lambda record: record.date_added)


def _spec(record: Record) -> str:
    return str(record.object.get("spec_version", "2.1"))


def manifest(record: Record) -> Stix:
    media_type = f"application/stix+json;version={_spec(record)}"
    return {
        "id": record.object["id"],
        "date_added": record.date_added,
        "version": record.version,
        "media_type": media_type,
    }


def described(collection: Collection) -> Stix:
    media_types = ["application/stix+json;version=2.1"]
    rights = {"can_read": collection.can_read, "can_write": False}
    return {"id": collection.id, "title": collection.title, **rights, "media_types": media_types}
