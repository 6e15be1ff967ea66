"""TAXII 2.1 (OASIS): paging that loses nothing.

The rules (section 3.4 and 5.4, and what servers do instead):

- All parameters go with every request, `next` included; `next` is opaque and is never sent twice.
- `more` without `next`: go on with `added_after` just before `X-TAXII-Date-Added-Last`, since more
  objects of that time may wait behind the page; where it does not advance, with larger pages, or an
  error.
- `next` without `more`: follow it after a page that is as large as any; an end that was announced
  is quiet.
- The watermark comes from the server's headers only, never from a clock here, and a poll starts an
  overlap before it, since servers stamp objects before they can be seen.
- When a page does not arrive, paging starts again at the last time that is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urljoin

from stixbridge.errors import ServerError
from stixbridge.http import Answer, Refused
from stixbridge.settings.registry import source
from stixbridge.sources.base import Collection, ManifestRow, Page
from stixbridge.sources.taxii.answers import (
    OtherVersion,
    Stuck,
    clock,
    dates,
    is_bundle,
    is_empty,
    is_true,
    manifest_rows,
    resource,
)
from stixbridge.sources.taxii.client import EMPTY_PAGES, HELP, Taxii
from stixbridge.sources.taxii.discovery import joined
from stixbridge.sources.taxii.progress import Progress
from stixbridge.sources.taxii.settings import TaxiiSettings
from stixbridge.stix.reader import Entry, read_value

MEDIA_TYPE = "application/taxii+json;version=2.1"
_TYPE_20 = "application/vnd.oasis.taxii+json; version=2.0"
_Item = TypeVar("_Item")
_MANIFEST_PAGE = 10_000
"""Entries of a manifest asked for at a time: they are short, and some servers page them by time
only.
"""


@source("taxii21", TaxiiSettings)
class Taxii21(Taxii):
    """A TAXII 2.1 server as a source; the arguments are those of `Taxii`."""

    MEDIA_TYPE = MEDIA_TYPE
    OTHER_TYPES = {"application/taxii+json": "", _TYPE_20: "taxii20"}  # noqa: RUF012

    def _collection_rows(self, root: str) -> Iterable[dict[str, Any]]:
        url = joined(root, "collections/")
        value: dict[str, Any] = self._resource(url)
        seen: set[str] = set()
        while True:
            rows = value.get("collections")
            if (rows is not None and not isinstance(rows, list)) or "error" in value:
                raise ServerError(
                    f"source {self.name}: {url} answered without a list of collections"
                )
            yield from rows or ()
            token = str(value.get("next") or "")
            if not token or token in seen or not is_true(value.get("more")):
                return
            seen.add(token)
            value = resource(self._http.get(url, {"next": token}), self.name)

    def _restarts(self, progress: Progress) -> bool:
        return "next" in progress.params

    def _objects(
        self, collection: Collection, progress: Progress, match: Mapping[str, str]
    ) -> Iterator[Page]:
        base = {
            **match,
            "limit": str(self.form.page_size),
            **self.form.added_after(progress.added_after),
        }
        url = urljoin(collection.url, "objects/")
        at_end = False
        for number, (entries, answer, at_end) in enumerate(
            self._listing(url, base, progress, _entries), 1
        ):
            first, last = dates(answer)
            placed = [
                entry
                if entry.obj is not None
                else entry._replace(path=f"page {number}: {entry.path}")
                for entry in entries
            ]
            yield Page(placed, progress.watermark(at_end=at_end), last, first)
        if not at_end:
            yield Page([], progress.watermark(at_end=True))

    def manifest(self, collection: Collection) -> Iterator[list[ManifestRow]]:
        """See `Taxii.manifest`."""
        url = urljoin(collection.url, "manifest/")
        base = {"limit": str(max(self.form.page_size, _MANIFEST_PAGE))}
        for rows, _, _ in self._listing(url, base, Progress(None, None), manifest_rows):
            yield rows

    def _listing(
        self,
        url: str,
        base: dict[str, str],
        progress: Progress,
        read: Callable[[dict[str, Any]], list[_Item]],
    ) -> Iterator[tuple[list[_Item], Answer, bool]]:
        """The pages of a listing.

        What `read` finds in each, the answer, and whether it is the last.
        """
        progress.params = dict(base)
        while True:
            try:
                answer = self._http.get(
                    url, progress.params, idempotent="next" not in progress.params
                )
            except Refused as error:
                if progress.doubted and 400 <= (error.status or 0) < 500 and error.status != 429:
                    return  # the server had said that there is no more
                raise
            value = self._envelope(answer, progress)
            items = read(value)
            first, last = dates(answer)
            progress.page(first, last, clock(answer))
            progress.seen += len(items)
            try:
                following = self._following(url, value, items, last, progress)
            except Stuck:
                yield items, answer, False  # what came is kept
                raise
            progress.largest = max(progress.largest, len(items))
            yield items, answer, following is None
            if following is None:
                return
            progress.params = {**base, **following}

    def _envelope(self, answer: Answer, progress: Progress) -> dict[str, Any]:
        """The envelope of an answer (section 3.7).

        A bundle is accepted, and a list or lines instead of a first page.
        """
        first = "next" not in progress.params
        quiet = first and progress.stored is not None and "added_after" in progress.params
        if is_empty(answer) and (quiet or (first and answer.status == 204)):
            return {}
        value = resource(answer, self.name, lists=first)
        if is_bundle(value) and "content-range" in answer.headers:
            raise OtherVersion(
                f'source {self.name}: {answer.url} answers as TAXII 2.0; set type = "taxii20"'
            )
        if value and not is_bundle(value) and not value.keys() & {"objects", "more", "next"}:
            raise ServerError(f"source {self.name}: {answer.url} answered with no envelope")
        return value

    def _following(
        self,
        url: str,
        value: dict[str, Any],
        items: list[_Item],
        last: int | None,
        progress: Progress,
    ) -> dict[str, str] | None:
        """The parameters of the next page; None at the end."""
        progress.empty = 0 if items else progress.empty + 1
        if progress.empty > EMPTY_PAGES:
            raise Stuck(
                f"source {self.name}: {url} gives empty pages without end; got {progress.seen} "
                "so far"
                f"; {HELP}"
            )
        more = is_true(value.get("more"))
        following = self._by_token(url, value.get("next"), items, progress, more=more)
        if following is not None:
            return following
        if is_bundle(value) and "more" not in value and items and last is not None:
            return self._by_header(url, items, last, progress)
        return self._by_time(url, items, last, progress) if more else None

    def _by_token(
        self, url: str, token: object, items: list[_Item], progress: Progress, *, more: bool
    ) -> dict[str, str] | None:
        """The next page by its `next`, which is followed after a full page whatever `more` says."""
        repeated = self._is_repeated(items, progress)
        if not isinstance(token, str | int) or token == "":
            return None
        if more and repeated:
            raise Stuck(
                f"source {self.name}: {url} gave the same page twice; its paging does not advance;"
                f" {HELP}"
            )
        full = bool(items) and not repeated and len(items) >= progress.largest
        progress.doubted = not more
        return {"next": str(token)} if more or full else None

    @staticmethod
    def _is_repeated(items: list[_Item], progress: Progress) -> bool:
        """Whether a page came before; the same `next` may come, medallion moves on behind it."""
        digest = hash(tuple(map(_name, items)))
        repeated = bool(items) and digest in progress.pages
        progress.pages.add(digest)
        return repeated

    def _by_header(
        self, url: str, items: list[_Item], last: int, progress: Progress
    ) -> dict[str, str] | None:
        """The next page of a server that pages by header, and never says whether there is more."""
        if progress.last is not None and last <= progress.last:
            if len(items) >= progress.full > 0:
                raise Stuck(
                    f"source {self.name}: {url}: a full page of objects of one time; raise"
                    " page_size"
                )
            return None
        if progress.last is not None:
            progress.full = max(progress.full, progress.before)
        progress.before = len(items)
        progress.last = last
        return self.form.added_after(last - 1)

    def _by_time(
        self, url: str, items: list[_Item], last: int | None, progress: Progress
    ) -> dict[str, str]:
        """The next page of a server that says `more` and gives no `next`."""
        if last is None or (progress.last is not None and last <= progress.last):
            if last is not None and self.form.enlarge(len(items)):
                progress.last = None
                return {"limit": str(self.form.page_size), **self.form.added_after(last - 1)}
            raise Stuck(
                f"source {self.name}: {url} says more, but gives neither next nor an"
                " X-TAXII-Date-Added-Last"
                f" that advances; got {progress.seen} objects so far; {HELP}"
            )
        # just before it: other objects of that time may not have fitted on the page
        progress.last = last
        return self.form.added_after(last - 1)


def _name(item: Any) -> Any:
    """What tells an entry of a page from others: its id and version."""
    if isinstance(item, Entry):
        return item.id, str((item.obj or {}).get("modified")), item.path if item.id is None else ""
    return item


def _entries(value: dict[str, Any]) -> list[Entry]:
    """The objects of an envelope or bundle; a missing or null list is an empty one."""
    content = value if is_bundle(value) else {"objects": value.get("objects")}
    return read_value(content, checked=True).entries
