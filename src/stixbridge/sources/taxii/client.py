"""What TAXII 2.0 and 2.1 have in common: discovery, API roots, collections, and paging that starts again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import quote, urljoin

import orjson

from stixbridge import times
from stixbridge.errors import ConfigError, ServerError
from stixbridge.http import MAX_WAIT, Answer, Auth, Http, pause
from stixbridge.settings.sections import AuthSection
from stixbridge.sources.base import Collection, ManifestRow, Page, Server
from stixbridge.sources.taxii.settings import TaxiiSettings
from stixbridge.stix.reader import Entry

_RESTARTS = 3
EMPTY_PAGES = 100
"""Empty pages in a row after which a listing is taken for endless."""
_IDS_AT_ONCE = 40
"""How many ids go into one `match[id]`: a URL of 2,000 characters passes everywhere."""


class Stuck(ServerError):
    """Paging that does not advance; no second attempt changes that."""


@dataclass(slots=True)
class Progress:
    """Where the paging of one listing stands.

    Attributes:
        added_after: where it began.
        watermark: the latest time that the server named, this or an earlier poll.
        params: of the last request.
        seen: entries so far.
        last: time of the last page.
        before: the page before, to see that paging advances.
        pages: digests of all pages so far: one that comes again is a circle.
        empty: empty pages in a row.
        largest: entries of the largest page before the last.
    """

    added_after: int | None
    watermark: int | None
    params: dict[str, str] = field(default_factory=dict)
    seen: int = 0
    last: int | None = None
    before: list[Any] = field(default_factory=list)
    pages: set[int] = field(default_factory=set)
    empty: int = 0
    largest: int = 0


class Taxii(Server):
    """A TAXII server as a source; `Taxii20` and `Taxii21` know how each pages.

    Args (of the constructor):
        url: discovery, API root or collection.
        auth: credentials; sent to the host of `url` only.
        name: of the source.
        http: the connection, in place of one that is made of the settings.
        settings: any other setting of `TaxiiSettings`, as in the configuration.

    Raises:
        ConfigError: naming every setting that is wrong.
    """

    MEDIA_TYPE: ClassVar[str]

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | AuthSection | None = None,
        name: str = "taxii",
        http: Http | None = None,
        **settings: Any,
    ) -> None:
        if http is not None and auth is not None:
            raise ConfigError("give auth in the http settings or beside them, not both")
        if isinstance(auth, Auth) or auth is None:
            credentials = auth
            given = TaxiiSettings(url=url, **settings)
        else:
            credentials = auth.auth("auth")
            given = TaxiiSettings(url=url, auth=auth, **settings)
        self.name = name
        self._url = url
        self._wanted = given.collections
        self._since = given.since
        self._page_size = given.page_size
        self._full = given.full
        self._match = {
            f"match[{key}]": ",".join(values) for key, values in given.match.items() if values
        }
        self._overlap = times.duration(given.overlap)
        self._http = http or Http(
            url,
            auth=credentials,
            accept=self.MEDIA_TYPE,
            timeout=given.timeout,
            max_bytes=given.max_bytes,
            rate_limit=given.rate_limit,
            **given.http_arguments(),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def choice(self) -> str:
        """The URL and the collections that the configuration names."""
        return orjson.dumps([self._url, self._wanted]).decode()

    @property
    def chosen(self) -> bool:
        """Whether the configuration names collections."""
        return bool(self._wanted)

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
                raise ServerError(
                    f"source {self.name}: {root}collections/ answered without a list of collections"
                )
            found.extend(
                {**row, "_root": root}
                for row in rows
                if isinstance(row, dict) and isinstance(row.get("id"), str)
            )
        chosen: list[Collection] = []
        problems: list[str] = []
        for wanted in self._wanted:
            matches = [
                row for row in found if wanted in (row["id"], row.get("title"), row.get("alias"))
            ]
            if not matches:
                titles = (
                    ", ".join(sorted(str(row.get("title") or row["id"]) for row in found)) or "none"
                )
                problems.append(
                    f"source {self.name}: no collection {wanted!r} at {self._url}; there are: {titles}"
                )
            for row in matches:
                if row.get("can_read") is False:
                    problems.append(
                        f"source {self.name}: collection {wanted!r} may not be read with these credentials"
                    )
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
            Pages, to be stored in their order, each with its watermark; one that can't be stored ends it.

        Raises:
            ServerError: when the server does not answer, or its paging does not advance.
        """
        stored = times.read(watermark) if watermark is not None else None
        start = reached = self._start(stored)
        restarts = 0
        while True:
            progress = Progress(start, stored)
            try:
                for page in self._objects(collection, progress, self._match):
                    yield page
                    stored = progress.watermark
                    if page.date_added is not None and (
                        reached is None or page.date_added > reached
                    ):
                        reached, restarts = page.date_added, 0
            except ServerError as error:
                # a page that did not arrive may be gone with its `next`: only the watermark is sure
                if (
                    restarts >= _RESTARTS
                    or isinstance(error, Stuck)
                    or not self._restarts(progress)
                ):
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

    def by_id(self, collection: Collection, ids: Sequence[str]) -> Iterator[Page]:
        """Objects by their ids (`match[id]`), some at a time; what the server does not have is not in the pages.

        Args:
            collection: from `collections`.
            ids: of the objects.

        Yields:
            Pages without a watermark.

        Raises:
            ServerError: as for `pages`; also where the server sends what was not asked for.
        """
        for at in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[at : at + _IDS_AT_ONCE]
            for page in self._objects(
                collection, Progress(None, None), {"match[id]": ",".join(some)}
            ):
                if any(entry.id not in some for entry in page.entries):
                    raise Stuck(
                        f"source {self.name}: {collection.url} does not know match[id]; set ask = false"
                    )
                if page.entries:
                    yield Page(page.entries, None, page.date_added)

    def manifest(self, collection: Collection) -> Iterator[list[ManifestRow]]:
        """The whole manifest of a collection (TAXII 2.1, section 5.3), page by page.

        Raises:
            ServerError: when the server does not answer, or its paging does not advance.
        """
        raise NotImplementedError

    def _objects(
        self, collection: Collection, progress: Progress, match: Mapping[str, str]
    ) -> Iterator[Page]:
        """One way through a listing of objects; raises where a page does not come."""
        raise NotImplementedError

    def _restarts(self, progress: Progress) -> bool:
        """Whether a listing that broke may go on from what has been read."""
        raise NotImplementedError

    def _start(self, watermark: int | None) -> int | None:
        if watermark is not None and not self._full:
            return watermark - max(self._overlap, 1)
        if self._since is None:
            return None
        moment = times.microseconds(self._since)
        return moment if moment is not None else times.now() - times.duration(self._since)

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
            raise ServerError(
                f"source {self.name}: {answer.url} answered with broken JSON ({error})"
            ) from None
        if not isinstance(value, dict):
            raise ServerError(
                f"source {self.name}: {answer.url} answered with a list, not a TAXII resource"
            )
        return value


def listed(rows: object) -> list[ManifestRow]:
    """The entries of a manifest: 2.1 has an entry for each `version`, 2.0 one for all `versions`."""
    found: list[ManifestRow] = []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            versions = row.get("versions")
            known = [
                times.read(one)
                for one in (versions if isinstance(versions, list) else [row.get("version")])
            ]
            found.append((row["id"], max((one for one in known if one is not None), default=None)))
    return found


def header_time(text: str | None) -> int | None:
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


def _collection(row: Mapping[str, Any]) -> Collection:
    id_ = str(row["id"])
    return Collection(
        id_,
        str(row.get("title") or id_),
        urljoin(str(row["_root"]), f"collections/{quote(id_, safe='')}/"),
    )


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError as error:
        raise ServerError(f"{base}: {reference!r} is not a URL ({error})") from None
