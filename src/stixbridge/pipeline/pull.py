"""The way in: pages from a source into the store.

Objects that the pages refer to are asked for, and objects that the source no longer has are marked.

Pages are stored in the order in which they come, each in one transaction with the watermark that
stands after it; later ones are read ahead meanwhile. Several collections are pulled side by side,
and one that fails stops no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from stixbridge import stopping, tlp
from stixbridge.api import without_collector
from stixbridge.concurrency import side_by_side
from stixbridge.errors import ServerError
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.sources.base import Collection, Page, Server, Source
from stixbridge.sources.read_ahead import ahead
from stixbridge.sources.taxii.client import Stuck
from stixbridge.sources.window import Window
from stixbridge.store import Store

Progress = Callable[[str], None]

_AT_ONCE = 4
"""Collections that are pulled at a time."""
_OFFER_KEPT = 86_400_000_000
"""Microseconds for which a server is not asked again which collections it has."""
_ASKED_AT_ONCE = 2_000
"""Missing ids that one poll asks for."""
_ROUNDS = 3
_ID = re.compile(r"[a-z0-9-]+--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_GONE = (403, 404, 410)
_UNKNOWN_FILTER = (400, 404, 405, 406, 414, 501)


@dataclass(frozen=True, slots=True)
class PullPolicy:
    """What a source is asked for besides what is new.

    Attributes:
        window: which objects are let in.
        ask: whether objects that others refer to and that never came are asked for by id.
        compare_every: microseconds between two comparisons with the manifests; None for never.
    """

    window: Window = field(default_factory=Window)
    ask: bool = True
    compare_every: int | None = None


@dataclass(slots=True)
class Pulled:
    """What one poll of a source brought.

    Attributes:
        pages: that came.
        entries: in them.
        changed: objects that were new or newer, or vanished.
        ledger: of what was not stored: older versions, what the window left out.
        errors: of collections that could not be read to their end.
    """

    pages: int = 0
    entries: int = 0
    changed: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    errors: list[ServerError] = field(default_factory=list)

    def add(self, pulled: Pulled) -> None:
        """Add what another collection brought."""
        self.pages += pulled.pages
        self.entries += pulled.entries
        self.changed += pulled.changed
        self.ledger.merge(pulled.ledger)
        self.errors.extend(pulled.errors)


class Puller:
    """Pulls one source.

    Args (of the constructor):
        source: where objects come from.
        store: where they go.
        policy: what else is asked for.
        progress: called with a line of text now and then.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        policy: PullPolicy | None = None,
        *,
        progress: Progress | None = None,
    ) -> None:
        self.source = source
        self.store = store
        self.policy = policy or PullPolicy()
        self._say = progress or (lambda _: None)
        self._begun = 0

    def pull(self, moment: int, *, full: bool = False) -> Pulled:
        """Poll every collection once.

        Args:
            moment: now, microseconds.
            full: for everything, as on the first run.

        Raises:
            ConfigError: when the source can't be used as configured.
            StoreError: when the store can't be used.
            Stopped: when the process has been asked to end; what came is stored.
        """
        with without_collector():
            return self._pull(moment, full=full)

    def _pull(self, moment: int, *, full: bool) -> Pulled:
        pulled = Pulled()
        self._begun = self.store.objects.last_seq(self.source.name)
        try:
            collections = self._collections(moment)
        except ServerError as error:
            pulled.errors.append(error)
            return pulled
        parts = [Pulled() for _ in collections]
        tasks = [
            partial(self._pull_one, part, collection, moment, full=full)
            for part, collection in zip(parts, collections, strict=True)
        ]
        errors = side_by_side(tasks, _AT_ONCE) if tasks else []
        for part in parts:
            pulled.add(part)
        for failed in errors:
            if failed is not None:
                raise failed
        if not pulled.errors and isinstance(self.source, Server):
            try:
                if self.policy.ask:
                    self._ask(self.source, collections, pulled, moment)
                self._compare(self.source, collections, pulled, moment)
            except ServerError as error:
                pulled.errors.append(error)
        return pulled

    def _collections(self, moment: int) -> list[Collection]:
        """The collections of the source; a server is asked for them once a day."""
        source = self.source
        if not isinstance(source, Server):
            return source.collections()
        kept = self.store.sources.offered(source.name, source.choice, moment - _OFFER_KEPT)
        if kept is not None:
            return [Collection(**row) for row in kept]
        found = source.collections()
        rows = [{"id": row.id, "title": row.title, "url": row.url} for row in found]
        if rows:
            self.store.sources.set_offered(source.name, source.choice, moment, rows)
        return found

    def _pull_one(self, pulled: Pulled, collection: Collection, moment: int, *, full: bool) -> None:
        source = self.source.name
        watermark = None if full else self.store.sources.watermark(source, collection.id)
        pages = ahead(self.source.pages(collection, watermark))
        try:
            for page in pages:
                stopping.check()
                self._store_page(pulled, collection, page, moment)
        except ServerError as error:
            if error.status in _GONE:
                self.store.sources.forget_offered(source)
            self.store.sources.record_poll(
                source, collection.id, moment, str(error), collection.title
            )
            pulled.errors.append(error)
        finally:
            pages.close()
        if not pulled.pages and not pulled.errors:
            self.store.sources.record_poll(source, collection.id, moment, title=collection.title)

    def _store_page(self, pulled: Pulled, collection: Collection, page: Page, moment: int) -> None:
        entries, outside = self.policy.window.split(page.entries, moment)
        if outside:
            # a newer version of what is here comes in: it may be revoked
            known = self.store.objects.known(self.source.name, [str(entry.id) for entry in outside])
            entries += [entry for entry in outside if entry.id in known]
            for entry in outside:
                if entry.id not in known:
                    properties = len(entry.obj or ())
                    pulled.ledger.entry(
                        entry.id, None, Outcome.DROPPED, Reason.FILTERED, properties
                    )
        count = self.store.inbox.add_page(
            self.source.name,
            collection.id,
            entries,
            watermark=page.watermark,
            date_added=page.date_added,
            received=moment,
            title=collection.title,
            begun=self._begun,
        )
        pulled.pages += 1
        pulled.entries += len(page.entries)
        pulled.changed += len(count.changed)
        for id_, properties in count.superseded:
            pulled.ledger.entry(id_, None, Outcome.DROPPED, Reason.SUPERSEDED, properties)
        if page.entries:
            self._say(
                f"{collection.title}: page {pulled.pages}, {len(page.entries)} entries, "
                f"{len(count.changed)} new or newer"
            )

    # what others refer to

    def _ask(
        self, source: Server, collections: list[Collection], pulled: Pulled, moment: int
    ) -> None:
        """Ask for what the new objects refer to and never came.

        What the server does not have is remembered.
        """
        for _ in range(_ROUNDS):
            seq = self.store.objects.last_seq(source.name)
            wanting = [
                id_
                for id_ in self.store.sources.missing_references(source.name)
                if self._askable(id_)
            ]
            some = wanting[:_ASKED_AT_ONCE]
            for collection in collections:
                left = sorted(set(some) - self.store.objects.known(source.name, some))
                try:
                    for page in source.by_id(collection, left):
                        stopping.check()
                        self._store_page(pulled, collection, page, moment)
                except ServerError as error:
                    if not isinstance(error, Stuck) and error.status not in _UNKNOWN_FILTER:
                        raise
                    # it can't be asked so, or has none of them: what is missing may come by itself
                    self._say(f"{collection.title}: can't be asked for single objects ({error})")
            # what is not here now does not exist there, or is not let in
            found = self.store.objects.known(source.name, some)
            done = len(some) == len(wanting)
            self.store.sources.record_asked(
                source.name, seq if done else None, sorted(set(some) - found), moment
            )
            if not found:
                return

    def _askable(self, id_: str) -> bool:
        types = self.policy.window.types
        wanted = not types or id_.partition("--")[0] in types
        return wanted and id_ not in tlp.WELL_KNOWN and _ID.fullmatch(id_) is not None

    # what the source has no longer, or in another version

    def _compare(
        self, source: Server, collections: list[Collection], pulled: Pulled, moment: int
    ) -> None:
        """Compare the store with the manifests, when it is time for that."""
        every, sources = self.policy.compare_every, self.store.sources
        if every is None or moment - sources.last_comparison(source.name) < every:
            return
        obstacle = self._read_manifests(source, collections)
        if obstacle is not None:
            self._say(f"{source.name}: not compared, since {obstacle}")
            sources.record_comparison(source.name, moment)
            return
        vanished, outdated = sources.compare_manifest(source.name, moment)
        pulled.changed += len(vanished)
        if vanished:
            self._say(f"{source.name}: {len(vanished)} objects were removed at the server")
        for collection in collections if outdated else ():
            # a server that keeps the time of the first version never says that there is another
            for page in source.by_id(collection, outdated):
                stopping.check()
                self._store_page(pulled, collection, page, moment)

    def _read_manifests(self, source: Server, collections: list[Collection]) -> str | None:
        """Store the manifests of a source; why they can't be compared, if so."""
        known = self.store.sources.collections_with_content(source.name)
        missing = known.keys() - {collection.id for collection in collections}
        if missing and not source.chosen:
            # not a withdrawal: it may be readable again tomorrow
            return f"{known[min(missing)]} is not offered any more"
        self.store.sources.list_manifest(source.name, [], first=True)
        for collection in collections:
            count = 0
            try:
                for rows in source.manifest(collection):
                    stopping.check()
                    self.store.sources.list_manifest(source.name, rows)
                    count += len(rows)
            except ServerError as error:
                if error.status not in _UNKNOWN_FILTER:
                    raise
                return f"it shows no manifest ({error})"  # which the next poll will not change
            if not count and collection.id in known:
                return f"the manifest of {collection.title} lists nothing"
        return None
