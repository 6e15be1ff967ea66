"""What TAXII 2.0 and 2.1 have in common: collections, and paging that starts again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import orjson

from stixbridge import times
from stixbridge.errors import ConfigError, ServerError
from stixbridge.http import MAX_WAIT, Auth, Http, Refused, pause
from stixbridge.settings.sections import AuthSection
from stixbridge.sources.base import Collection, ManifestRow, Page, Server
from stixbridge.sources.taxii.answers import OtherVersion, Stuck, resource
from stixbridge.sources.taxii.discovery import Discovery, collections
from stixbridge.sources.taxii.progress import Progress
from stixbridge.sources.taxii.requests import RequestForm
from stixbridge.sources.taxii.settings import TaxiiSettings
from stixbridge.stix.reader import Entry

_RESTARTS = 3
EMPTY_PAGES = 100
"""Empty pages in a row after which a listing is taken for endless."""
_IDS_AT_ONCE = 40
"""How many ids go into one `match[id]`: a URL of 2,000 characters passes everywhere."""
HELP = "set another page_size, or report it to the operator of the server"


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
    ADDED_AFTER: ClassVar[str] = "microseconds"
    OTHER_TYPES: ClassVar[Mapping[str, str]] = {}
    """Other Accept headers to try at a server that answers 406, and the `type` that each stands
    for; an empty text for
    the same version."""

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
        self.unread = []
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
        """Everything in the collections since `since`, for `convert`, with no store.

        What is no object comes too.

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

        `unread` has the errors of API roots that can't be read beside others.

        Raises:
            ConfigError: when one that was asked for is not there or may not be read.
            ServerError: when the server does not answer as TAXII, or has nothing to read.
        """
        self._recall_pace()
        offer = Discovery(self._url, self._resource, self._collection_rows, self.name).offer()
        self.unread = offer.errors
        try:
            return collections(offer.rows, self._wanted, f"source {self.name}", self._url)
        except ConfigError:
            if offer.errors:  # it may be at a root that is down
                raise offer.errors[0] from None
            raise
        finally:
            self._remember_pace()

    def _resource(self, url: str) -> dict[str, Any]:
        """The resource at a URL; another Accept header is tried where the server answers 406."""
        try:
            return resource(self._http.get(url), self.name)
        except Refused as error:
            if error.status != 406:
                raise
            refused = error
        for accept, kind in self.OTHER_TYPES.items():
            try:
                value = resource(self._http.get(url, headers={"Accept": accept}), self.name)
            except ServerError:
                continue
            if kind:
                raise OtherVersion(
                    f'source {self.name}: {url} answers for {accept!r} only; set type = "{kind}"',
                    status=406,
                )
            self.facts["accept"] = accept
            self._http.headers["Accept"] = accept
            return value
        raise refused

    def _collection_rows(self, root: str) -> Iterable[dict[str, Any]]:
        """The collections of an API root."""
        raise NotImplementedError

    # paging

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        """The pages of a collection after a watermark.

        Args:
            collection: from `collections`.
            watermark: as the last stored page gave it; None on the first run.

        Yields:
            Pages, to be stored in their order, each with its watermark; one that can't be stored
            ends it.

        Raises:
            ServerError: when the server does not answer, or its paging does not advance.
        """
        self._recall_pace()
        stored = times.read(watermark) if watermark is not None else None
        progress = Progress(self._start(stored), stored, not self.facts.get("unordered"))
        restarts, reached = 0, None
        while True:
            try:
                yield from self._listed_pages(collection, progress)
            except ServerError as error:
                if self._is_quiet(collection, progress, error):
                    yield Page()
                    return
                if not self.form.adapt(error, progress.params):
                    if progress.reached is not None and (
                        reached is None or progress.reached > reached
                    ):
                        reached, restarts = progress.reached, min(restarts, 1)
                    self._check_restart(error, progress, restarts)
                    restarts += 1
                progress = progress.next_attempt(again=restarts > 1)
                continue
            finally:
                self._remember_pace()
            return

    def _listed_pages(self, collection: Collection, progress: Progress) -> Iterator[Page]:
        """One way through the objects of a collection."""
        for page in self._objects(collection, progress, self._match):
            self.form.worked()
            yield page
        if not progress.in_order:
            self._remember("unordered", True)
        if progress.future is not None:
            day = times.to_day(progress.future)
            self._notice(
                f"{collection.title}: an object was added on {day} by the server's account, which"
                " lies in the"
                " future; the watermark stays before it"
            )

    def _check_restart(self, error: ServerError, progress: Progress, restarts: int) -> None:
        """Wait before a listing is begun again.

        A page that did not arrive may be gone with its `next`.

        Raises:
            ServerError: when beginning again does not help.
        """
        if restarts >= _RESTARTS or isinstance(error, Stuck) or not self._restarts(progress):
            raise error
        wait = error.wait if isinstance(error, Refused) and error.wait is not None else 0.0
        if wait > MAX_WAIT:
            raise error
        if wait:
            pause(wait)

    def _is_quiet(self, collection: Collection, progress: Progress, error: ServerError) -> bool:
        """Whether a 404 means that nothing is new: the collection answered before, and is there."""
        if error.status != 404 or progress.stored is None or progress.pages or progress.seen:
            return False
        if "next" in progress.params:
            return False
        try:
            return "id" in self._resource(collection.url)
        except ServerError:
            return False

    def by_id(self, collection: Collection, ids: Sequence[str]) -> Iterator[Page]:
        """Objects by their ids (`match[id]`), some at a time.

        What the server does not have is not in the pages.

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
            match = {"match[id]": ",".join(some)}
            for page in self._objects(collection, Progress(None, None), match):
                if any(entry.id not in some for entry in page.entries):
                    raise Stuck(
                        f"source {self.name}: {collection.url} does not know match[id]; set ask ="
                        " false"
                    )
                if page.entries:
                    yield Page(page.entries, None, page.date_added, page.date_first)

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

    # what was learned of the server

    @cached_property
    def form(self) -> RequestForm:
        """The form of requests that the server takes."""
        accept = self.facts.get("accept")
        if isinstance(accept, str) and accept in self.OTHER_TYPES:
            self._http.headers["Accept"] = accept
        return RequestForm(self._page_size, self.ADDED_AFTER, self.facts)

    def _remember(self, name: str, value: Any) -> None:
        if self.facts.get(name) != value:
            self.facts[name] = value

    def _notice(self, text: str) -> None:
        """Say something once, not at every poll."""
        said = self.facts.get("notices") or []
        if text not in said:
            self.facts["notices"] = [*said[-20:], text]
            self.notify(text)

    def _recall_pace(self) -> None:
        """Count the requests of earlier runs, so that `rate_limit` holds across runs."""
        _ = self.form
        sent = self.facts.get("requests") if self._http.pace is not None else None
        if self._http.pace is not None and isinstance(sent, list):
            self._http.pace.remember(moment for moment in sent if isinstance(moment, int | float))

    def _remember_pace(self) -> None:
        if self._http.pace is not None:
            self.facts["requests"] = self._http.pace.sent
