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

from stixbridge import stopping, times, tlp
from stixbridge.api import without_collector
from stixbridge.concurrency import side_by_side
from stixbridge.errors import ServerError
from stixbridge.http import MAX_WAIT, Refused
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.sources.base import Collection, Page, Server, Source
from stixbridge.sources.read_ahead import ahead
from stixbridge.sources.taxii.answers import Stuck
from stixbridge.sources.window import Window
from stixbridge.stix.reader import Entry
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
_UNKNOWN_FILTER = (400, 403, 404, 405, 406, 414, 500, 501)
_FEW = 10
"""Objects that a manifest may miss without being doubted."""
_LONGEST_WAIT = 7 * 86_400.0
"""Seconds for which a server is believed that asks to wait."""


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
        self._comparing = False

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
        source = self.source
        source.facts = self.store.source_facts(source.name)
        source.notify = self._say
        self._begun = self.store.objects.last_seq(source.name)
        try:
            self._check_wait(moment)
            collections = self._collections(moment)
        except ServerError as error:
            self._remember_wait(error, moment)
            pulled.errors.append(error)
            return pulled
        pulled.errors.extend(source.unread)
        self._comparing = isinstance(source, Server) and self._compares(moment)
        self._pull_all(collections, pulled, moment, full=full)
        if not pulled.errors and isinstance(source, Server):
            try:
                if self.policy.ask:
                    self._ask(source, collections, pulled, moment)
                self._compare(source, collections, pulled, moment, full=full)
            except ServerError as error:
                pulled.errors.append(error)
        for problem in pulled.errors:
            self._remember_wait(problem, moment)
        return pulled

    def _pull_all(
        self, collections: list[Collection], pulled: Pulled, moment: int, *, full: bool
    ) -> None:
        """Pull all collections side by side; one that fails stops no other."""
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

    def _compares(self, moment: int) -> bool:
        """Whether it is time to compare the store with the manifests.

        What comes from now on counts as listed.
        """
        every = self.policy.compare_every
        sources = self.store.sources
        if every is None or moment - sources.last_comparison(self.source.name) < every:
            return False
        sources.list_manifest(self.source.name, [], first=True)
        return True

    def _check_wait(self, moment: int) -> None:
        """Leave a server alone for as long as it asked for in an earlier run.

        Raises:
            ServerError: while that lasts.
        """
        until = self.source.facts.get("not_before")
        if isinstance(until, int) and moment < until:
            raise ServerError(
                f"source {self.source.name}: the server asked to wait, and is not asked again"
                " before"
                f" {times.to_text(until)[:19]}Z"
            )

    def _remember_wait(self, error: ServerError, moment: int) -> None:
        wait = error.wait if isinstance(error, Refused) else None
        if wait is not None and wait > MAX_WAIT:
            self.source.facts["not_before"] = moment + int(min(wait, _LONGEST_WAIT) * 1_000_000)

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
        if rows and not source.unread:
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
        entries = self._let_in(pulled, page, moment)
        count = self.store.inbox.add_page(
            self.source.name,
            collection.id,
            entries,
            watermark=page.watermark,
            date_added=page.date_added,
            date_first=page.date_first,
            received=moment,
            title=collection.title,
            begun=self._begun,
        )
        if self._comparing:
            rows = [(entry.id, None) for entry in entries if entry.obj is not None and entry.id]
            self.store.sources.list_manifest(self.source.name, rows)
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

    def _let_in(self, pulled: Pulled, page: Page, moment: int) -> list[Entry]:
        """The entries of a page that the window lets in, and newer versions of what is stored."""
        entries, outside = self.policy.window.split(page.entries, moment)
        if outside:
            # a newer version may be revoked
            ids = [str(entry.id) for entry in outside]
            known = self.store.objects.known(self.source.name, ids)
            entries += [entry for entry in outside if entry.id in known]
            for entry in outside:
                if entry.id not in known:
                    size = len(entry.obj or ())
                    pulled.ledger.entry(entry.id, None, Outcome.DROPPED, Reason.FILTERED, size)
        return entries

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
            answered = not some
            for collection in collections:
                answered |= self._ask_one(source, collection, some, pulled, moment)
            if not answered:
                return
            # what is not here now does not exist there, or is not let in
            found = self.store.objects.known(source.name, some)
            done = len(some) == len(wanting)
            self.store.sources.record_asked(
                source.name, seq if done else None, sorted(set(some) - found), moment
            )
            if not found:
                return

    def _ask_one(
        self,
        source: Server,
        collection: Collection,
        ids: list[str],
        pulled: Pulled,
        moment: int,
    ) -> bool:
        """Ask one collection for objects; one that can't be asked so is left in peace for a day.

        Returns:
            Whether it answered.
        """
        refusals = source.facts.get("not_by_id") or {}
        if moment < refusals.get(collection.id, 0):
            return False
        left = sorted(set(ids) - self.store.objects.known(source.name, ids))
        try:
            for page in source.by_id(collection, left):
                stopping.check()
                self._store_page(pulled, collection, page, moment)
        except ServerError as error:
            if not isinstance(error, Stuck) and error.status not in _UNKNOWN_FILTER:
                raise
            # what is missing may come by itself
            source.facts["not_by_id"] = {**refusals, collection.id: moment + _OFFER_KEPT}
            self._say(
                f"{collection.title}: can't be asked for single objects ({error}); it is asked"
                " again in a"
                " day, or never with ask = false"
            )
            return False
        return True

    def _askable(self, id_: str) -> bool:
        types = self.policy.window.types
        wanted = not types or id_.partition("--")[0] in types
        return wanted and id_ not in tlp.WELL_KNOWN and _ID.fullmatch(id_) is not None

    # what the source has no longer, or in another version

    def _compare(
        self,
        source: Server,
        collections: list[Collection],
        pulled: Pulled,
        moment: int,
        *,
        full: bool,
    ) -> None:
        """Compare the store with the manifests, when it is time for that."""
        sources = self.store.sources
        if not self._comparing or not source.comparable:
            return
        doubt = self._read_manifests(source, collections) or (None if full else self._doubt(source))
        if doubt is not None:
            self._say(f"{source.name}: not compared with its manifests, since {doubt}")
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
        """List all manifests in the store; why they can't be compared, where that is so."""
        sources = self.store.sources
        known = sources.collections_with_content(source.name)
        missing = known.keys() - {collection.id for collection in collections}
        if missing and not source.chosen:
            # not a withdrawal: it may be readable again tomorrow
            return f"{known[min(missing)]} is not offered any more"
        for collection in collections:
            count = 0
            try:
                for rows in source.manifest(collection):
                    stopping.check()
                    sources.list_manifest(source.name, rows)
                    count += len(rows)
            except ServerError as error:
                if error.status not in _UNKNOWN_FILTER or count:
                    raise
                return (
                    f"{collection.title} shows no manifest ({error}); without compare_every and"
                    " with"
                    ' vanished = "keep" it is not asked for'
                )
            if not count and collection.id in known:
                return f"the manifest of {collection.title} lists nothing"
        return None

    def _doubt(self, source: Server) -> str | None:
        """Why manifests are not believed: some are cut, and what they miss would be withdrawn."""
        missing, stored = self.store.sources.missing_in_manifest(source.name)
        if missing > _FEW and missing * 2 > stored:
            return (
                f"they miss {missing} of {stored} objects, which looks cut short; if they are"
                " right, poll"
                " everything once: stixbridge run --full"
            )
        return None
