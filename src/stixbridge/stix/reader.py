"""Reads STIX from every kind of document into a flat list of entries.

The reader accepts bundles, TAXII envelopes, lists, single objects and JSON lines, as bytes, text,
dictionaries, or objects of the `stix2` library. A bad object becomes an entry with a reason and
does not affect the other objects.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from stixbridge.errors import InputError
from stixbridge.ledger import Reason
from stixbridge.stix import lenient

MAX_BYTES = 2_000_000_000
"""The largest size of one input in bytes, unpacked. It also stops a gzip bomb."""

_MAX_ID = 300
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*--[!-~]+", re.ASCII)
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,249}", re.ASCII)
_MAX_TYPE = 250
GZIP = b"\x1f\x8b"
_ENVELOPE = frozenset({"objects", "more", "next"})


class Entry(NamedTuple):
    """One entry of an input: a usable object, or the reason why it is unusable.

    Attributes:
        path: its place in the document, for example `$.objects[3]`; of a usable object perhaps the
            list that has it.
        obj: the unchanged object, if it is usable.
        reason: why it is unusable, if it is.
        id: its id, if it has one.
        properties: the number of properties of an unusable object.
        where: the name of the input, if it has one.
    """

    path: str
    obj: dict[str, Any] | None
    reason: Reason | None = None
    id: str | None = None
    properties: int = 0
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The entries of one input, and the id of its bundle if it has one."""

    entries: list[Entry]
    bundle_id: str | None = None


def read_bytes(data: bytes, where: str = "input") -> Document:
    """Read JSON text: one document, or JSON lines.

    Args:
        data: UTF-8 text, with or without a byte order mark, plain or under gzip.
        where: the name of the input for errors.

    Returns:
        The entries. Broken JSON becomes one entry with the reason `invalid-json`.

    Raises:
        InputError: the data unpack to more than `MAX_BYTES`.
    """
    if data[:2] == GZIP:
        try:
            data = _unpack(data, where)
        except (OSError, EOFError, zlib.error):
            return Document([Entry("$", None, Reason.INVALID_JSON)])
    data = without_mark(data)
    try:
        return read_value(parse(data), checked=True)
    except orjson.JSONDecodeError:
        return _read_lines(data)


def without_mark(data: bytes) -> bytes:
    """Return UTF-8 without a byte order mark, from UTF-8 or UTF-16 with one."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-16").encode()
    return data.removeprefix(b"\xef\xbb\xbf")


def parse(data: bytes) -> Any:
    """Parse JSON; unreadable members of lists become entries of the reason `invalid-json`.

    Raises:
        orjson.JSONDecodeError: when the text as a whole is not one JSON value.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        value = lenient.loads(data, unreadable)
        if value is None:
            raise
        return value


def unreadable(path: str, id_: str | None) -> Entry:
    """Return the entry for an object whose text can't be read."""
    return Entry(path, None, Reason.INVALID_JSON, _shown(id_))


def _unpack(data: bytes, where: str) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data), mode="rb") as file:
        out = file.read(MAX_BYTES + 1)
    if len(out) > MAX_BYTES:
        raise InputError(f"{where}: unpacks to over {MAX_BYTES:,} bytes; split it")
    return out


def _read_lines(data: bytes) -> Document:
    lines = [line for line in data.splitlines() if line.strip()]
    documents: list[Document] = []
    good = 0
    for number, line in enumerate(lines):
        path = f"$[{number}]"
        try:
            value = parse(line)
        except orjson.JSONDecodeError:
            documents.append(Document([Entry(path, None, Reason.INVALID_JSON)]))
            continue
        good += isinstance(value, dict | list)
        documents.append(read_value(value, path, checked=True))
    # to count as JSON lines, at least half of the lines must be JSON values
    if not good or good * 2 < len(lines) or len(lines) == 1:
        return Document([Entry("$", None, Reason.INVALID_JSON)])
    bundles = {document.bundle_id for document in documents if document.bundle_id}
    entries = [entry for document in documents for entry in document.entries]
    return Document(entries, bundles.pop() if len(bundles) == 1 else None)


def read_value(value: Any, path: str = "$", *, checked: bool = False) -> Document:
    """Read a parsed value: bundle, envelope, list, object, or objects of the `stix2` library.

    Args:
        value: any value; one that is not STIX becomes an entry with the reason `not-stix`.
        path: its place in the document.
        checked: whether the value was parsed from JSON. Other values may contain data that JSON
            can't express, and are checked.
    """
    value = plain(value)
    if isinstance(value, list):
        return _entries(value, path, checked=checked)
    if not isinstance(value, dict):
        return Document([Entry(path, None, Reason.NOT_STIX)])
    is_bundle = value.get("type") == "bundle"
    if not is_bundle and not _is_envelope(value):
        if isinstance(value.get("type"), str):
            return Document([_entry(value, path, checked=checked)])
        return Document([Entry(path, None, Reason.NOT_STIX, properties=len(value))])
    id_ = value.get("id") if is_bundle else None
    bundle_id = id_ if isinstance(id_, str) and len(id_) <= _MAX_ID else None
    objects = value.get("objects")
    if objects is None:
        return Document([], bundle_id)
    if isinstance(objects, dict):
        objects = [objects] if "type" in objects else list(objects.values())
    if not isinstance(objects, list):
        return Document([Entry(f"{path}.objects", None, Reason.NOT_STIX)], bundle_id)
    document = _entries(objects, f"{path}.objects", checked=checked)
    return Document(document.entries, bundle_id or document.bundle_id)


def _is_envelope(value: Mapping[str, Any]) -> bool:
    return "type" not in value and (not value or not _ENVELOPE.isdisjoint(value))


def _entries(objects: list[Any], path: str, *, checked: bool) -> Document:
    """Return the entries of a list of objects; bundles in it are opened."""
    entries: list[Entry] = []
    bundles: set[str] = set()
    for number, item in enumerate(objects):
        if checked and type(item) is dict:
            id_, type_ = item.get("id"), item.get("type")
            usable = type(id_) is str and type(type_) is str and _is_id(id_) and is_type(type_)
            if usable and type_ != "bundle":
                entries.append(Entry(path, item, None, id_))
                continue
        item = plain(item)
        inner = f"{path}[{number}]"
        if isinstance(item, dict) and item.get("type") == "bundle":
            document = read_value(item, inner, checked=checked)
            entries.extend(document.entries)
            if document.bundle_id:
                bundles.add(document.bundle_id)
        else:
            entries.append(_entry(item, inner, checked=checked))
    return Document(entries, bundles.pop() if len(bundles) == 1 else None)


def _is_id(id_: str) -> bool:
    return len(id_) <= _MAX_ID and _ID.fullmatch(id_) is not None


def plain(value: Any) -> Any:
    """Convert objects of the `stix2` library, or others with `serialize`, to plain data."""
    if isinstance(value, dict | list | str | int | float | bool | type(None) | Entry):
        return value
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if hasattr(value, "serialize"):
        return orjson.loads(value.serialize())
    if hasattr(value, "source") and hasattr(value, "query"):  # stix2.MemoryStore and other stores
        return list(value.query())
    if isinstance(value, Iterable):
        return list(value)
    return value


def _entry(item: Any, path: str, *, checked: bool) -> Entry:
    """Make one entry; `checked` is true for a value that was parsed from JSON."""
    if isinstance(item, Entry):
        return item
    if not isinstance(item, dict):
        return Entry(path, None, Reason.NOT_STIX)
    type_, id_ = item.get("type"), item.get("id")
    if not is_type(type_):
        reason = Reason.INVALID_OBJECT if isinstance(id_, str) else Reason.NOT_STIX
        return Entry(path, None, reason, _shown(id_), len(item))
    if not isinstance(id_, str) or not _is_id(id_):
        return Entry(path, None, Reason.INVALID_OBJECT, _shown(id_), len(item))
    if not checked:
        try:
            orjson.dumps(item)
        except (TypeError, RecursionError):
            return Entry(path, None, Reason.LIMIT, id_, len(item))
    return Entry(path, item, id=id_)


def _shown(id_: object) -> str | None:
    """Return an id in a form that is safe to print: short and without control characters."""
    if not isinstance(id_, str):
        return None
    return "".join(char if char.isprintable() else "?" for char in id_[:_MAX_ID])


@lru_cache(maxsize=4096)
def _is_type(value: str) -> bool:
    return _TYPE.fullmatch(value) is not None


def is_type(value: object) -> bool:
    """Return whether a value can be the `type` of an object."""
    return isinstance(value, str) and len(value) <= _MAX_TYPE and _is_type(value)
