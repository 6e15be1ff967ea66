"""What TAXII servers answer, read leniently: envelopes, times in headers, rows of manifests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from stixbridge import times
from stixbridge.errors import ServerError
from stixbridge.http import Answer
from stixbridge.http.refusals import is_taxii_1, is_web_page, page_title
from stixbridge.sources.base import ManifestRow
from stixbridge.stix.reader import parse, read_bytes, without_mark

_NO = (False, None, 0, "false", "no", "0", "")


class Stuck(ServerError):
    """Paging that does not advance; no second attempt changes that."""


class OtherVersion(ServerError):
    """The server speaks another version of TAXII than the source is configured for."""


def is_true(value: object) -> bool:
    """Whether a flag is set, in any form that servers write: true, "true", 1."""
    return (value.strip().lower() if isinstance(value, str) else value) not in _NO


def is_empty(answer: Answer) -> bool:
    """Whether an answer has no body."""
    return answer.status == 204 or not without_mark(answer.body).strip()


def resource(answer: Answer, name: str, *, lists: bool = False) -> dict[str, Any]:
    """The JSON object of an answer; the Content-Type is not believed, servers have it wrong.

    Args:
        answer: from the server.
        name: of the source.
        lists: whether a list or JSON lines are taken for the `objects` of an envelope.

    Raises:
        ServerError: when it is none.
    """
    body = without_mark(answer.body).strip()
    place = f"source {name}: {answer.url}"
    if not body:
        raise ServerError(f"{place} answered with nothing; is it the URL of a TAXII server?")
    try:
        value = parse(body)
    except orjson.JSONDecodeError as error:
        return _not_json(answer, body, place, error, lists=lists)
    if isinstance(value, list) and value and lists:
        return {"objects": value}
    if not isinstance(value, dict):
        what = "a list" if isinstance(value, list) else "a single value"
        raise ServerError(f"{place} answered with {what}, not a TAXII resource")
    return value


def _not_json(
    answer: Answer, body: bytes, place: str, error: Exception, *, lists: bool
) -> dict[str, Any]:
    """JSON lines as an envelope; an error that says what else the answer is."""
    if is_taxii_1(answer):
        raise ServerError(f"{place} is a TAXII 1.x server; TAXII 2.0 and 2.1 can be read")
    if is_web_page(answer) or body[:1] == b"<":
        raise ServerError(
            f"{place} answered with a web page{page_title(answer)}, not TAXII; is the URL right?"
        )
    entries = read_bytes(body).entries if lists else []
    if not any(entry.obj is not None for entry in entries):
        raise ServerError(f"{place} answered with broken JSON ({error})")
    return {"objects": entries}


def is_bundle(value: Mapping[str, Any]) -> bool:
    """Whether a resource is a STIX bundle."""
    return value.get("type") == "bundle"


def manifest_rows(value: Mapping[str, Any]) -> list[ManifestRow]:
    """The rows of a manifest: 2.1 has one for each `version`, 2.0 one for all `versions`."""
    rows = value.get("objects")
    listed: list[ManifestRow] = []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            versions = row.get("versions")
            texts = versions if isinstance(versions, list) else [row.get("version")]
            moments = [moment for moment in map(times.read, texts) if moment is not None]
            listed.append((row["id"], max(moments, default=None)))
    return listed


def header_time(text: str | None) -> int | None:
    """The time in an X-TAXII header.

    None for what is none (`undefined`, an empty text, dates without order).
    """
    if not text:
        return None
    moment = times.microseconds(text.strip())
    if moment is not None:
        return moment if moment > 0 else None
    try:
        parsed = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if not isinstance(parsed, datetime):
        return None
    return times.microseconds((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat())


def dates(answer: Answer) -> tuple[int | None, int | None]:
    """When the server got the first and the last object of a page, as far as it says."""
    first, last = (
        header_time(answer.headers.get(f"x-taxii-date-added-{end}")) for end in ("first", "last")
    )
    return first, last


def clock(answer: Answer) -> int:
    """The later of the clock here and that of the server: a time after it lies in the future."""
    return max(times.now(), header_time(answer.headers.get("date")) or 0)
