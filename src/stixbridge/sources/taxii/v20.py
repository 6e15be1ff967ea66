"""TAXII 2.0 (OASIS): pages by `Range` and `Content-Range` (section 3.4), whatever the server makes of them.

- A page is what `Content-Range` says it is, not what was asked for: some take the end of a range as exclusive.
- Past the end is 416; an answer without `Content-Range` is everything.
- Nothing promises an order, so the watermark comes after the last page only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

from stixbridge import times
from stixbridge.errors import ServerError
from stixbridge.http import Answer
from stixbridge.settings.registry import source
from stixbridge.sources.base import Collection, ManifestRow, Page
from stixbridge.sources.taxii.client import EMPTY_PAGES, Progress, Stuck, Taxii, header_time, listed
from stixbridge.sources.taxii.settings import Taxii20Settings
from stixbridge.stix.reader import read_value

MEDIA_TYPE = "application/vnd.oasis.taxii+json; version=2.0"
STIX_TYPE = "application/vnd.oasis.stix+json; version=2.0"
_CONTENT_RANGE = re.compile(r"items\s+(\d+)-(\d+)/(\d+|\*)", re.ASCII)


@source("taxii20", Taxii20Settings)
class Taxii20(Taxii):
    """A TAXII 2.0 server as a source; the arguments are those of `Taxii`."""

    MEDIA_TYPE = MEDIA_TYPE

    def _restarts(self, _progress: Progress) -> bool:
        return False  # a range may be asked for again: what fails has been tried several times

    def _objects(
        self, collection: Collection, progress: Progress, match: Mapping[str, str]
    ) -> Iterator[Page]:
        params = dict(match)
        if progress.added_after is not None:
            # compared as text: three digits, as the objects have
            params["added_after"] = times.to_text(progress.added_after // 1000 * 1000)[:-4] + "Z"
        last = None
        for answer, value in self._ranges(urljoin(collection.url, "objects/"), params, STIX_TYPE):
            if value and value.get("type") != "bundle" and "objects" not in value:
                raise ServerError(f"source {self.name}: {answer.url} answered with no bundle")
            last = header_time(answer.headers.get("x-taxii-date-added-last"))
            if last is not None and (progress.watermark is None or last > progress.watermark):
                progress.watermark = last
            bundle = value if value.get("type") == "bundle" else {"objects": value.get("objects")}
            yield Page(read_value(bundle).entries, None, last)
        if progress.watermark is not None:
            yield Page([], times.to_text(progress.watermark), last)

    def manifest(self, collection: Collection) -> Iterator[list[ManifestRow]]:
        """See `Taxii.manifest`."""
        for _, value in self._ranges(urljoin(collection.url, "manifest/"), {}, MEDIA_TYPE):
            yield listed(value.get("objects"))

    def _ranges(
        self, url: str, params: Mapping[str, str], accept: str
    ) -> Iterator[tuple[Answer, dict[str, Any]]]:
        """The answers of a listing, range by range."""
        start = empty = 0
        size = max(self._page_size, 2)  # with an exclusive end a range of one is none
        while True:
            headers = {"Accept": accept, "Range": f"items={start}-{start + size - 1}"}
            try:
                answer = self._http.get(url, params, headers=headers)
            except ServerError as error:
                if error.status == 416 or (error.status == 404 and start):
                    return
                raise
            value = self._parsed(answer)
            yield answer, value
            empty = 0 if value.get("objects") else empty + 1
            if empty > EMPTY_PAGES:
                raise Stuck(f"source {self.name}: {url} gives empty ranges without end")
            said = answer.headers.get("content-range")
            if said is None:
                return
            found = _CONTENT_RANGE.search(said)
            if found is None:
                raise Stuck(f"source {self.name}: {url} answered with Content-Range {said!r}")
            first, last, total = int(found[1]), int(found[2]), found[3]
            if first != start or last < first:
                raise Stuck(
                    f"source {self.name}: {url} answered {found[0]} when asked for items from {start}"
                )
            start = last + 1
            if total != "*" and start >= int(total):
                return
