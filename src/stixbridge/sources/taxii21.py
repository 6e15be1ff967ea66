"""TAXII 2.1 (OASIS): discovery, API roots, collections, and paging that loses nothing.

The rules of paging (section 3.4 and 5.4, and what servers do instead):

- All parameters go with every request, `next` included; `next` is opaque and is never sent twice.
- `more` without `next`: go on with `added_after` just before `X-TAXII-Date-Added-Last`, since more objects of that time
  may wait behind the page; an error where it does not advance.
- The watermark comes from the server's headers only, never from a clock here, and a poll starts an overlap before it,
  since servers stamp objects before they can be seen.
- When a page does not arrive, paging starts again at the last time that a stored page reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urljoin

import orjson

from .. import times
from ..errors import ConfigError, ServerError
from ..net import MAX_WAIT, Answer, Auth, Http, pause
from ..stix.read import Document, Entry, read_value
from .page import Collection, Page

MEDIA_TYPE = "application/taxii+json;version=2.1"
_RESTARTS = 3
_EMPTY_PAGES = 100


class _Stuck(ServerError):
    """Paging that does not advance; no second attempt changes that."""


@dataclass(slots=True)
class _Progress:
    """Where the paging of one collection stands."""

    added_after: int | None
    watermark: int | None
    seen: int = 0
    last: int | None = None
    entries: list[Entry] = field(default_factory=list)
    empty: int = 0
    largest: int = 0
    params: dict[str, str] = field(default_factory=dict)


class Taxii21:
    """A TAXII 2.1 server as a source.

    Args (of the constructor):
        url: discovery, API root or collection.
        collections: titles, aliases or ids; all readable ones when empty.
        auth: credentials; sent to the host of `url` only.
        since: first run only: how far back, as `5d`, or a time.
        page_size: objects asked for in a page; the server may give fewer.
        overlap: how long before the watermark a poll starts, as `10m`.
        name: of the source.
        http: settings of the connection (own CA, time-outs, byte cap).
    """

    def __init__(
        self,
        url: str,
        *,
        collections: tuple[str, ...] | list[str] = (),
        auth: Auth | None = None,
        since: str | None = None,
        page_size: int = 1000,
        overlap: str = "10m",
        name: str = "taxii",
        http: Http | None = None,
    ) -> None:
        self.name = name
        self._url = url
        self._wanted = tuple(collections)
        self._since = since
        self._page_size = page_size
        try:
            self._overlap = times.duration(overlap)
            if since is not None and times.microseconds(since) is None:
                times.duration(since)
        except ValueError as error:
            raise ConfigError(f"source {name}: {error}") from None
        self._http = http or Http(url, auth=auth, accept=MEDIA_TYPE)
        if http is not None and auth is not None:
            raise ConfigError("give auth in the http settings or beside them, not both")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def objects(self) -> list[Entry]:
        """Everything in the collections since `since`, for `convert`, with no store: what is no object comes too.

        Raises:
            ServerError: when the server does not answer, or not as TAXII.
        """
        return [
            entry
            for collection in self.collections()
            for page in self.pages(collection, None)
            for entry in page.entries
        ]

    # finding the collections

    def collections(self) -> list[Collection]:
        """The collections to poll.

        Raises:
            ConfigError: when one that was asked for is not there or may not be read.
            ServerError: when the server does not answer as TAXII.
        """
        roots, single = self._roots()
        found: list[dict[str, Any]] = [] if single is None else [single]
        for root in roots:
            answer = self._json(_joined(root, "collections/"))
            rows = answer.get("collections") or []
            if not isinstance(rows, list):
                raise ServerError(f"source {self.name}: {root}collections/ answered without a list of collections")
            found.extend(
                {**row, "_root": root} for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)
            )
        chosen: list[Collection] = []
        problems: list[str] = []
        for wanted in self._wanted:
            matches = [row for row in found if wanted in (row["id"], row.get("title"), row.get("alias"))]
            if not matches:
                titles = ", ".join(sorted(str(row.get("title") or row["id"]) for row in found)) or "none"
                problems.append(f"source {self.name}: no collection {wanted!r} at {self._url}; there are: {titles}")
            for row in matches:
                if row.get("can_read") is False:
                    problems.append(f"source {self.name}: collection {wanted!r} may not be read with these credentials")
                chosen.append(_collection(row))
        if problems:
            raise ConfigError(problems)
        if not self._wanted:
            chosen = [_collection(row) for row in found if row.get("can_read") is not False]
        # the same id at two API roots is two collections, each with its own watermark
        urls = {collection.id: collection.url for collection in map(_collection, found)}
        twice = {c.id for c in map(_collection, found) if c.url != urls[c.id]}
        chosen = [Collection(c.url if c.id in twice else c.id, c.title, c.url) for c in chosen]
        return list(dict.fromkeys(chosen))

    def _roots(self) -> tuple[list[str], dict[str, Any] | None]:
        """The API roots that `url` means; or none of them, and the one collection that it is."""
        url = self._url if self._url.endswith("/") else self._url + "/"
        try:
            answer = self._json(url)
        except ServerError as error:
            if error.status not in (403, 404, 405, 406):
                raise
            answer = {}  # servers without discovery: the URL may be an API root all the same
        if isinstance(answer.get("api_roots"), list):
            roots = [answer["default"]] if isinstance(answer.get("default"), str) else []
            roots += [root for root in answer["api_roots"] if isinstance(root, str)]
            absolute = [_joined(url, root if root.endswith("/") else root + "/") for root in roots]
            return list(dict.fromkeys(absolute)), None
        if isinstance(answer.get("collections"), list):
            return [urljoin(url, "..")], None
        if isinstance(answer.get("id"), str) and "can_read" in answer:
            return [], {**answer, "_root": urljoin(url, "../..")}
        return [url], None

    # paging

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        """The pages of a collection after a watermark.

        Args:
            collection: from `collections`.
            watermark: as the last stored page gave it; None on the first run.

        Yields:
            Pages; the caller stores each, with its watermark, before it takes the next.

        Raises:
            ServerError: when the server does not answer, or its paging does not advance.
        """
        stored = times.read(watermark) if watermark is not None else None
        start = reached = self._start(stored)
        restarts = 0
        while True:
            progress = _Progress(start, stored)
            try:
                for page in self._run(collection, progress):
                    yield page
                    stored = progress.watermark
                    if page.date_added is not None and (reached is None or page.date_added > reached):
                        reached, restarts = page.date_added, 0
            except ServerError as error:
                # a page that did not arrive may be gone with its `next`: only the watermark is sure
                if restarts >= _RESTARTS or isinstance(error, _Stuck) or "next" not in progress.params:
                    raise
                wait = getattr(error, "wait", None) or 0.0
                if wait > MAX_WAIT:
                    raise
                if wait:
                    pause(wait)
                restarts += 1
                # from what this run has read, not an overlap before it: else a page never gets behind the overlap
                if reached is not None:
                    start = reached - 1 if start is None else max(start, reached - 1)
                continue
            return

    def _start(self, watermark: int | None) -> int | None:
        if watermark is not None:
            return watermark - max(self._overlap, 1)
        if self._since is None:
            return None
        moment = times.microseconds(self._since)
        return moment if moment is not None else times.now() - times.duration(self._since)

    def _run(self, collection: Collection, progress: _Progress) -> Iterator[Page]:
        base = {"limit": str(self._page_size)}
        if progress.added_after is not None:
            base["added_after"] = times.to_text(progress.added_after)
        progress.params = dict(base)
        url = urljoin(collection.url, "objects/")
        while True:
            answer = self._http.get(url, progress.params, idempotent="next" not in progress.params)
            value = self._parsed(answer)
            if value and value.get("type") != "bundle" and not value.keys() & {"objects", "more", "next"}:
                raise ServerError(f"source {self.name}: {answer.url} answered with no envelope")
            document = _objects(value)
            last = _header_time(answer.headers.get("x-taxii-date-added-last"))
            if last is not None and (progress.watermark is None or last > progress.watermark):
                progress.watermark = last
            progress.seen += len(document.entries)
            mark = times.to_text(progress.watermark) if progress.watermark is not None else None
            yield Page(document.entries, mark, last)
            more, token = value.get("more") is True, value.get("next")
            advanced = last is not None and (progress.last is None or last > progress.last)
            if value.get("type") == "bundle" and "more" not in value and document.entries and last is not None:
                # pages by header only, and never says whether there is more
                if not advanced:
                    if len(document.entries) >= progress.largest > 0:
                        raise _Stuck(f"source {self.name}: {url}: a full page of objects of one time; raise page_size")
                    return
                if progress.last is not None:
                    progress.largest = max(progress.largest, len(progress.entries))
                progress.entries = document.entries
            elif not more:
                return
            if isinstance(token, str | int) and token != "":
                # the same next again is no fault (medallion moves on behind it); the same page again is
                progress.empty = 0 if document.entries else progress.empty + 1
                if progress.empty > _EMPTY_PAGES or (document.entries and document.entries == progress.entries):
                    raise _Stuck(f"source {self.name}: {url} gave the same page twice; its paging does not advance")
                progress.entries = document.entries
                progress.params = {**base, "next": str(token)}
                continue
            if last is None or not advanced:
                raise _Stuck(
                    f"source {self.name}: {url} says more, but gives neither next nor an X-TAXII-Date-Added-Last that"
                    f" advances; got {progress.seen} objects so far"
                )
            # just before it: other objects of that time may not have fitted on the page
            progress.last = last
            base["added_after"] = times.to_text(last - 1)
            progress.params = dict(base)

    def _json(self, url: str) -> dict[str, Any]:
        return self._parsed(self._http.get(url))

    def _parsed(self, answer: Answer) -> dict[str, Any]:
        """The JSON object of an answer; the Content-Type is not believed, servers have it wrong."""
        body = answer.body.lstrip()
        try:
            if not body:
                raise ServerError(f"source {self.name}: {answer.url} answered with nothing")
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if body[:1] == b"<":
                raise ServerError(
                    f"source {self.name}: {answer.url} answered with a web page, not TAXII; is the URL right?"
                ) from None
            raise ServerError(f"source {self.name}: {answer.url} answered with broken JSON ({error})") from None
        if not isinstance(value, dict):
            raise ServerError(f"source {self.name}: {answer.url} answered with a list, not a TAXII resource")
        return value


def _collection(row: Mapping[str, Any]) -> Collection:
    id_ = str(row["id"])
    return Collection(
        id_, str(row.get("title") or id_), urljoin(str(row["_root"]), f"collections/{quote(id_, safe='')}/")
    )


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError as error:
        raise ServerError(f"{base}: {reference!r} is no URL ({error})") from None


def _objects(value: dict[str, Any]) -> Document:
    """The objects of an envelope (section 3.7); a bundle in its place is accepted, so is a missing or null list."""
    if value.get("type") == "bundle":
        return read_value(value)
    return read_value({"objects": value.get("objects")})


def _header_time(text: str | None) -> int | None:
    """The time in an X-TAXII header; None for what is none (`undefined`, an empty text, dates without order)."""
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
