"""TAXII 2.1 (OASIS): paging that loses nothing.

The rules (section 3.4 and 5.4, and what servers do instead):

- All parameters go with every request, `next` included; `next` is opaque and is never sent twice.
- `more` without `next`: go on with `added_after` just before `X-TAXII-Date-Added-Last`, since more objects of that time
  may wait behind the page; an error where it does not advance.
- The watermark comes from the server's headers only, never from a clock here, and a poll starts an overlap before it,
  since servers stamp objects before they can be seen.
- When a page does not arrive, paging starts again at the last time that a page reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urljoin

from stixbridge import times
from stixbridge.errors import ServerError
from stixbridge.settings.registry import source
from stixbridge.sources.base import Collection, ManifestRow, Page
from stixbridge.sources.taxii.client import EMPTY_PAGES, Progress, Stuck, Taxii, header_time, listed
from stixbridge.sources.taxii.settings import TaxiiSettings
from stixbridge.stix.reader import Entry, read_value

MEDIA_TYPE = "application/taxii+json;version=2.1"
_Item = TypeVar("_Item")
_MANIFEST_PAGE = 10_000
"""Entries of a manifest asked for at a time: they are short, and some servers page them by time only."""


@source("taxii21", TaxiiSettings)
class Taxii21(Taxii):
    """A TAXII 2.1 server as a source; the arguments are those of `Taxii`."""

    MEDIA_TYPE = MEDIA_TYPE

    def _restarts(self, progress: Progress) -> bool:
        return "next" in progress.params

    def _objects(
        self, collection: Collection, progress: Progress, match: Mapping[str, str]
    ) -> Iterator[Page]:
        base = {**match, "limit": str(self._page_size)}
        if progress.added_after is not None:
            base["added_after"] = times.to_text(progress.added_after)
        for entries, last in self._listing(
            urljoin(collection.url, "objects/"), base, progress, _entries
        ):
            mark = times.to_text(progress.watermark) if progress.watermark is not None else None
            yield Page(entries, mark, last)

    def manifest(self, collection: Collection) -> Iterator[list[ManifestRow]]:
        """See `Taxii.manifest`."""
        url, base = (
            urljoin(collection.url, "manifest/"),
            {"limit": str(max(self._page_size, _MANIFEST_PAGE))},
        )
        for rows, _ in self._listing(
            url, base, Progress(None, None), lambda value: listed(value.get("objects"))
        ):
            yield rows

    def _listing(
        self,
        url: str,
        base: dict[str, str],
        progress: Progress,
        read: Callable[[dict[str, Any]], list[_Item]],
    ) -> Iterator[tuple[list[_Item], int | None]]:
        """The pages of a listing: what `read` finds in each, and the time that the server gives its last entry."""
        progress.params = dict(base)
        while True:
            answer = self._http.get(url, progress.params, idempotent="next" not in progress.params)
            value = self._parsed(answer)
            if (
                value
                and value.get("type") != "bundle"
                and not value.keys() & {"objects", "more", "next"}
            ):
                raise ServerError(f"source {self.name}: {answer.url} answered with no envelope")
            items = read(value)
            last = header_time(answer.headers.get("x-taxii-date-added-last"))
            if last is not None and (progress.watermark is None or last > progress.watermark):
                progress.watermark = last
            progress.seen += len(items)
            yield items, last
            progress.empty = 0 if items else progress.empty + 1
            if progress.empty > EMPTY_PAGES:
                raise Stuck(
                    f"source {self.name}: {url} gives empty pages without end; got {progress.seen} so far"
                )
            more, token = value.get("more") is True, value.get("next")
            advanced = last is not None and (progress.last is None or last > progress.last)
            if value.get("type") == "bundle" and "more" not in value and items and last is not None:
                # pages by header only, and never says whether there is more
                if not advanced:
                    if len(items) >= progress.largest > 0:
                        raise Stuck(
                            f"source {self.name}: {url}: a full page of objects of one time; raise page_size"
                        )
                    return
                if progress.last is not None:
                    progress.largest = max(progress.largest, len(progress.before))
                progress.before = items
            elif not more:
                return
            if isinstance(token, str | int) and token != "":
                # the same next again is no fault (medallion moves on behind it); the same page again is
                mark = hash(tuple(map(_name, items)))
                if items and mark in progress.pages:
                    raise Stuck(
                        f"source {self.name}: {url} gave the same page twice; its paging does not advance"
                    )
                progress.pages.add(mark)
                progress.params = {**base, "next": str(token)}
                continue
            if last is None or not advanced:
                raise Stuck(
                    f"source {self.name}: {url} says more, but gives neither next nor an X-TAXII-Date-Added-Last that"
                    f" advances; got {progress.seen} objects so far"
                )
            # just before it: other objects of that time may not have fitted on the page
            progress.last = last
            progress.params = {**base, "added_after": times.to_text(last - 1)}


def _name(item: Any) -> Any:
    """What tells an entry of a page from others: its id and version."""
    if isinstance(item, Entry):
        return item.id, str((item.obj or {}).get("modified")), item.path if item.id is None else ""
    return item


def _entries(value: dict[str, Any]) -> list[Entry]:
    """The objects of an envelope (section 3.7); a bundle in its place is accepted, so is a missing or null list."""
    return read_value(
        value if value.get("type") == "bundle" else {"objects": value.get("objects")}
    ).entries
