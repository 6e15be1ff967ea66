"""TAXII 2.0 (OASIS).

Pages by `Range` and `Content-Range` (section 3.4), whatever the server makes of them.

- A page is what `Content-Range` says it is, not what was asked for: some take the end of a range as
  exclusive.
- Past the end is 416; an answer with 200 and without `Content-Range` is everything, one with 206 is
  a part.
- Collections are paged like objects.
- Nothing promises an order, so the watermark comes after the last page only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

from stixbridge.errors import ServerError
from stixbridge.http import Answer
from stixbridge.settings.registry import source
from stixbridge.sources.base import Collection, ManifestRow, Page
from stixbridge.sources.taxii.answers import (
    OtherVersion,
    Stuck,
    clock,
    dates,
    is_bundle,
    is_empty,
    manifest_rows,
    resource,
)
from stixbridge.sources.taxii.client import EMPTY_PAGES, HELP, Taxii
from stixbridge.sources.taxii.discovery import joined
from stixbridge.sources.taxii.progress import Progress
from stixbridge.sources.taxii.settings import Taxii20Settings
from stixbridge.stix.reader import read_value

MEDIA_TYPE = "application/vnd.oasis.taxii+json; version=2.0"
STIX_TYPE = "application/vnd.oasis.stix+json; version=2.0"
_TYPE_21 = "application/taxii+json;version=2.1"
_CONTENT_RANGE = re.compile(r"items\s+(\d+)-(\d+)/(\d+|\*)", re.ASCII)


@source("taxii20", Taxii20Settings)
class Taxii20(Taxii):
    """A TAXII 2.0 server as a source; the arguments are those of `Taxii`."""

    MEDIA_TYPE = MEDIA_TYPE
    ADDED_AFTER = "milliseconds"  # compared as text: three digits, as the objects have
    OTHER_TYPES = {  # noqa: RUF012
        "application/vnd.oasis.taxii+json": "",
        _TYPE_21: "taxii21",
    }

    def _collection_rows(self, root: str) -> Iterable[dict[str, Any]]:
        url = joined(root, "collections/")
        self._resource(url)  # tries other Accept headers
        for _, value in self._ranges(url, {}, self._http.headers["Accept"], "collections"):
            rows = value.get("collections")
            if (rows is not None and not isinstance(rows, list)) or "error" in value:
                raise ServerError(
                    f"source {self.name}: {url} answered without a list of collections"
                )
            yield from rows or ()

    def _restarts(self, _progress: Progress) -> bool:
        return False  # a range may be asked for again: what fails has been tried several times

    def _objects(
        self, collection: Collection, progress: Progress, match: Mapping[str, str]
    ) -> Iterator[Page]:
        params = {**match, **self.form.added_after(progress.added_after)}
        progress.params = params
        url = urljoin(collection.url, "objects/")
        quiet = progress.stored is not None and "added_after" in params
        first = last = None
        for answer, value in self._ranges(url, params, STIX_TYPE, "objects", quiet=quiet):
            self._check_version(answer, value)
            first, last = dates(answer)
            progress.page(first, last, clock(answer))
            bundle = value if is_bundle(value) else {"objects": value.get("objects")}
            entries = read_value(bundle, checked=True).entries
            progress.seen += len(entries)
            yield Page(entries, None, last, first)
        mark = progress.watermark(at_end=True)
        if mark is not None:
            yield Page([], mark, last)

    def _check_version(self, answer: Answer, value: dict[str, Any]) -> None:
        if value.keys() & {"more", "next"} and not is_bundle(value):
            raise OtherVersion(
                f'source {self.name}: {answer.url} answers as TAXII 2.1; set type = "taxii21"'
            )
        if value and not is_bundle(value) and "objects" not in value:
            raise ServerError(f"source {self.name}: {answer.url} answered with no bundle")

    def manifest(self, collection: Collection) -> Iterator[list[ManifestRow]]:
        """See `Taxii.manifest`."""
        url = urljoin(collection.url, "manifest/")
        for _, value in self._ranges(url, {}, self._http.headers["Accept"], "objects"):
            yield manifest_rows(value)

    def _ranges(
        self, url: str, params: Mapping[str, str], accept: str, name: str, *, quiet: bool = False
    ) -> Iterator[tuple[Answer, dict[str, Any]]]:
        """The answers of a listing, range by range; `name` is that of the list in them."""
        start: int | None = 0
        empty = 0
        while start is not None:
            size = max(self.form.page_size, 2)  # with an exclusive end a range of one is none
            headers = {"Accept": accept, "Range": f"items={start}-{start + size - 1}"}
            try:
                answer = self._http.get(url, params, headers=headers)
            except ServerError as error:
                if error.status == 416 or (error.status == 404 and start):
                    return
                raise
            nothing = not start and is_empty(answer) and (quiet or answer.status == 204)
            value = {} if nothing else resource(answer, self.name)
            yield answer, value
            rows = value.get(name)
            count = len(rows) if isinstance(rows, list) else 0
            empty = 0 if count else empty + 1
            if empty > EMPTY_PAGES:
                raise Stuck(f"source {self.name}: {url} gives empty ranges without end; {HELP}")
            start = self._next_start(answer, start, count)

    def _next_start(self, answer: Answer, start: int, count: int) -> int | None:
        """Where the next range begins; None at the end."""
        text = answer.headers.get("content-range")
        if text is None:
            # 206 is a part of the whole (RFC 9110, section 15.3.7), however large
            return start + count if answer.status == 206 and count else None
        found = _CONTENT_RANGE.search(text)
        if found is None:
            raise Stuck(
                f"source {self.name}: {answer.url} answered with Content-Range {text!r}; {HELP}"
            )
        first, last, total = int(found[1]), int(found[2]), found[3]
        if first != start or last < first:
            raise Stuck(
                f"source {self.name}: {answer.url} answered {found[0]} when asked for items from"
                f" {start};"
                f" {HELP}"
            )
        after = last + 1
        return None if total != "*" and after >= int(total) else after
