"""A URL that serves STIX: a bundle, a list, JSON lines, gzip, or a zip of such files.

The document is asked for with the `ETag` and `Last-Modified` of the last one that was stored, so
that a poll of one that has not changed costs one small answer. What a document no longer has
follows `vanished`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import orjson

from stixbridge.errors import ConfigError, ServerError
from stixbridge.http import MAX_BYTES, Answer, Auth, Http, Refused
from stixbridge.http.refusals import is_web_page, page_title
from stixbridge.settings.checks import Count, Rate, Seconds, Url
from stixbridge.settings.registry import source
from stixbridge.settings.sections import AuthSection
from stixbridge.sources.base import Collection, ManifestRow, Page, Server
from stixbridge.sources.settings import ServerSettings
from stixbridge.stix.reader import Entry, read_bytes
from stixbridge.stix.versions import version_of

_ACCEPT = "application/stix+json, application/json, */*;q=0.5"
_ZIP = b"PK\x03\x04"
_PAGE = 2_000
_SUFFIXES = (".json", ".stix", ".stix2", ".jsonl", ".ndjson", ".gz")
_TAXII = frozenset({"api_roots", "collections", "can_read", "max_content_length"})


@dataclass(frozen=True, kw_only=True)
class HttpsSettings(ServerSettings):
    """A URL that serves STIX.

    Attributes:
        url: of the document: a bundle, a list of objects, JSON lines, any of them under gzip, or a
            zip of such files.
        allow_hosts: other hosts that the URL may redirect to. They get no credentials.
        rate_limit: `10/10m` sends no more than 10 requests in any 10 minutes; it waits.
        auth: credentials, see [auth](#auth). They go to the host of `url` only.
        timeout: seconds to wait for the server at any one point.
        max_bytes: the most that the document may hold.
        ask: no object can be asked for by itself.
        compare_every: with `vanished`, each document that has changed is compared with the store.
    """

    url: Url
    allow_hosts: tuple[str, ...] = ()
    rate_limit: Rate | None = None
    auth: AuthSection | None = None
    timeout: Seconds = 60.0
    max_bytes: Count = MAX_BYTES

    def compare_interval(self) -> int | None:
        """Compare every document that is read, where something follows from that."""
        return 0 if self.vanished != "keep" else None


@source("https", HttpsSettings)
class Https(Server):
    """A document at a URL as a source of a pipeline.

    Args (of the constructor):
        url: of the document.
        auth: credentials; sent to the host of `url` only.
        name: of the source.
        http: the connection, in place of one that is made of the settings.
        settings: any other setting of `HttpsSettings`, as in the configuration.

    Raises:
        ConfigError: naming every setting that is wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | AuthSection | None = None,
        name: str = "https",
        http: Http | None = None,
        **settings: Any,
    ) -> None:
        if http is not None and auth is not None:
            raise ConfigError("give auth in the http settings or beside them, not both")
        section = None if auth is None or isinstance(auth, Auth) else auth
        credentials = section.auth("auth") if section is not None else auth
        given = HttpsSettings(url=url, auth=section, **settings)
        self.name = name
        self._url = url
        self._rows: list[ManifestRow] = []
        self._max_bytes = given.max_bytes
        self._http = http or Http(
            url,
            auth=credentials if isinstance(credentials, Auth) else None,
            accept=_ACCEPT,
            timeout=given.timeout,
            max_bytes=given.max_bytes,
            rate_limit=given.rate_limit,
            allow_hosts=given.allow_hosts,
            **given.http_arguments(),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def choice(self) -> str:
        """The URL."""
        return self._url

    @property
    def chosen(self) -> bool:
        """There is one document, and the configuration names it."""
        return True

    @property
    def comparable(self) -> bool:
        """Whether a document was read, and not found unchanged."""
        return bool(self._rows)

    def collections(self) -> list[Collection]:
        """The document."""
        return [Collection(self._url, urlsplit(self._url).path.rpartition("/")[2] or self._url)]

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        """The objects of the document; nothing where it is as it was.

        Raises:
            ServerError: when it can't be read, or is not STIX.
        """
        self._rows = []
        before = _read_mark(watermark)
        try:
            answer = self._http.get(self._url, headers=_conditions(before))
        except Refused as error:
            if error.status == 304:
                return
            error.args = (f"source {self.name}: {error}",)
            raise
        digest = sha256(answer.body).hexdigest()
        if digest == before.get("digest"):
            return
        mark = orjson.dumps(
            {
                "digest": digest,
                "etag": answer.headers.get("etag"),
                "modified": answer.headers.get("last-modified"),
            }
        ).decode()
        entries = self._entries(answer)
        self._rows = [
            (entry.id, version_of(entry.obj))
            for entry in entries
            if entry.obj is not None and entry.id is not None
        ]
        left = iter(entries)
        page = list(islice(left, _PAGE))
        while True:
            following = list(islice(left, _PAGE))
            # the mark stands after the last page: a poll that is cut reads the document again
            yield Page(page, None if following else mark)
            if not following:
                return
            page = following

    def by_id(self, collection: Collection, ids: Sequence[str]) -> Iterator[Page]:
        """A document can't be asked for single objects, and has nothing more."""
        yield from ()

    def manifest(self, collection: Collection) -> Iterator[list[ManifestRow]]:
        """What the document lists."""
        yield self._rows

    def _entries(self, answer: Answer) -> list[Entry]:
        place = f"source {self.name}: {answer.url}"
        body = answer.body
        if not body.strip():
            raise ServerError(f"{place} is empty; is it the URL of the document?")
        if body[:4] == _ZIP:
            return self._unzipped(body, place)
        entries = read_bytes(body, place).entries
        usable = any(entry.obj is not None for entry in entries)
        if not usable and is_web_page(answer):
            raise ServerError(
                f"{place} is a web page{page_title(answer)}, not STIX; is it the URL of the file"
                " itself?"
            )
        if not usable and entries and _looks_like_taxii(body):
            raise ServerError(f'{place} is a TAXII server; set type = "taxii21"')
        if not usable and len(entries) == 1:
            raise ServerError(
                f"{place} is not STIX ({entries[0].reason}); a bundle, a list of objects or JSON"
                " lines"
                " are read, also under gzip or in a zip"
            )
        return entries

    def _unzipped(self, body: bytes, place: str) -> list[Entry]:
        """The entries of all files in a zip, those that are wrong with the name of their file."""
        entries: list[Entry] = []
        left = self._max_bytes * 10
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                members = [
                    info
                    for info in sorted(archive.infolist(), key=lambda info: info.filename)
                    if info.filename.lower().endswith(_SUFFIXES)
                ]
                for info in members:
                    with archive.open(info) as file:
                        data = file.read(left + 1)
                    left -= len(data)
                    if left < 0:
                        raise ServerError(f"{place} unpacks to too much; raise max_bytes")
                    entries += [
                        entry if entry.obj is not None else entry._replace(where=info.filename)
                        for entry in read_bytes(data, f"{place} {info.filename}").entries
                    ]
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            raise ServerError(f"{place} is a zip that can't be read ({error})") from None
        if not members:
            raise ServerError(f"{place} is a zip without a STIX file ({', '.join(_SUFFIXES)})")
        return entries


def _read_mark(watermark: str | None) -> Mapping[str, Any]:
    try:
        value = orjson.loads(watermark or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _conditions(before: Mapping[str, Any]) -> dict[str, str]:
    """The headers with which an unchanged document is not sent again (RFC 9110, section 13.1)."""
    conditions = {"If-None-Match": before.get("etag"), "If-Modified-Since": before.get("modified")}
    return {name: str(value) for name, value in conditions.items() if value}


def _looks_like_taxii(body: bytes) -> bool:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and not _TAXII.isdisjoint(value)
