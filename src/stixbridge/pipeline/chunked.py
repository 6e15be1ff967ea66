"""Converting an input that does not fit in memory: `stixbridge convert` on large files and streams.

One pass puts all objects into a temporary store. Then a group of reports at a time is converted
with what belongs to them, and its events are handed out. What is in no report is converted last and
as one, for it is one event, or few. The outcome is that of a conversion in memory.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from stixbridge import times
from stixbridge.api import without_collector
from stixbridge.conversion.to_misp.engine import Conversion, convert_entries
from stixbridge.conversion.to_misp.options import Options
from stixbridge.enrich import Enrich, Enrichment
from stixbridge.errors import ConfigError, StoreError
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.knowledge import load
from stixbridge.misp.model import Converted
from stixbridge.pipeline.affected import container_types
from stixbridge.pipeline.batches import Batch
from stixbridge.pipeline.select import Selection, Selector, placements
from stixbridge.sources.files import SMALL, Input
from stixbridge.stix.reader import Entry
from stixbridge.stix.stream import Scan
from stixbridge.store.spool import PIPELINE, SOURCE, Spool
from stixbridge.store.stored_ledger import StoredLedger

_PAGE = 2_000
_GROUP = 20_000


class LargeConversion:
    """One conversion; a context manager, for its temporary store.

    Args (of the constructor):
        settings: from `stixbridge.api.options`.
        enrich: settings for every event.
        group: how many objects are converted at a time, about.
    """

    def __init__(
        self,
        settings: Options,
        enrich: Enrich | Enrichment | None = None,
        *,
        group: int = _GROUP,
    ) -> None:
        self._settings = settings
        self._enrich = (
            Enrichment(enrich, galaxies=settings.galaxies) if isinstance(enrich, Enrich) else enrich
        )
        self._group = group
        try:
            self._temporary = tempfile.TemporaryDirectory(
                prefix="stixbridge-", ignore_cleanup_errors=True
            )
        except OSError as error:
            raise ConfigError(
                f"no temporary folder for a large input: {error.strerror or error}; set TMPDIR to "
                "a folder with space"
            ) from None
        self._knowledge = load(settings.galaxies)
        self._types = container_types(settings.group)
        self._lines: set[int] = set()
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._spool.close()
        self._temporary.cleanup()

    @property
    def ledger(self) -> StoredLedger:
        """What became of the input; complete when all events have been taken."""
        return self._spool.ledger

    def _begin(self) -> None:
        """An empty store."""
        path = Path(self._temporary.name) / "input.db"
        path.unlink(missing_ok=True)
        self._spool = Spool(path, times.to_text(self._settings.now))
        self._selector = Selector(self._spool, PIPELINE, SOURCE, self._types)
        self._bundles: set[str] = set()

    # 1. read

    def read(self, inputs: Sequence[Input]) -> None:
        """Read all inputs; what is broken counts as one invalid entry, and nothing of it is taken.

        Raises:
            InputError: when one can't be read, or holds a value over the limit.
            ConfigError: when the temporary store does not fit on the disk.
        """
        try:
            self._read_all(inputs)
        except StoreError as error:
            raise ConfigError(
                f"the temporary store of a large input: {error}; set TMPDIR to a folder with space"
            ) from None

    def _read_all(self, inputs: Sequence[Input]) -> None:
        broken: set[int] = set()
        while (number := self._read(inputs, broken)) is not None:
            # what came of it before its end is in the store: once more, as JSON lines, and if that
            # fails without it
            if number in self._lines:
                broken.add(number)
            self._lines.add(number)
            self._spool.close()
            self._begin()
        for at in sorted(broken):
            entry = (None, "$", Outcome.INVALID, Reason.INVALID_JSON, inputs[at].name)
            self.ledger.lines([(entry, 0)])
        for rejected in self._spool.objects.rejected(SOURCE, 0):
            line = (
                rejected.id,
                rejected.path,
                Outcome.INVALID,
                rejected.reason or Reason.LIMIT,
                None,
            )
            self.ledger.lines([(line, rejected.properties)])
        self._spool.settle_versions()
        name = self._bundles.pop() if len(self._bundles) == 1 else None
        if name is None and self._settings.source is None:
            digest = sha256()
            for at, id_ in enumerate(self._spool.all_ids()):
                digest.update(f"\n{id_}".encode() if at else id_.encode())
            name = digest.hexdigest()[:32]
        self._settings = replace(self._settings, input_name=name)

    def _read(self, inputs: Sequence[Input], broken: set[int]) -> int | None:
        """Read all but the broken ones; the number of one that turns out to be broken."""
        for at, source in enumerate(inputs):
            if at in broken:
                continue
            if source.size <= SMALL:
                document = source.document()
                self._keep(document.entries, source.name)
                bundle_id = document.bundle_id
            else:
                with source.stream() as file:
                    scan = Scan(file, source.name, lines=at in self._lines)
                    try:
                        self._keep(scan.entries(), source.name)
                    except (gzip.BadGzipFile, EOFError, zlib.error):
                        self._lines.add(at)  # no lines either
                        return at
                if scan.broken:
                    return at
                bundle_id = scan.bundle_id
            if bundle_id:
                self._bundles.add(bundle_id)
        return None

    def _keep(self, entries: Iterable[Entry], where: str) -> None:
        page: dict[str, Entry] = {}
        for entry in entries:
            if entry.obj is None:
                reason = entry.reason or Reason.INVALID_OBJECT
                line = (entry.id, entry.path, Outcome.INVALID, reason, where)
                self.ledger.lines([(line, entry.properties)])
                continue
            id_ = str(entry.obj["id"])
            if id_ in page or len(page) >= _PAGE:
                self._spool.keep(page.values())
                page = {}
            page[id_] = entry
        self._spool.keep(page.values())

    # 2. convert

    def converted(self) -> Iterator[list[Converted]]:
        """The events, group by group; the ledger is complete when all have been taken."""
        later: list[set[str]] = []
        refused: set[str] = set()
        for group in self._groups():
            selection = self._selector.select(Batch(group))
            conversion = self._convert(selection)
            refused |= group - {str(row.container) for row in conversion.converted}
            for row in conversion.converted:
                self._spool.put_inside(row.members)
            self._place(conversion)
            if selection.reaches_out(_inside(selection, conversion)):
                later.append(group)  # what joins it from outside depends on where that will be
            else:
                yield self._done(selection, conversion)
        # a report that makes no event still speaks of what it lists
        free = self._selector.select(Batch(refused, loose=set(self._spool.free(self._types))))
        conversion = self._convert(free)
        self._place(conversion)
        yield self._done(free, conversion)
        for group in later:
            selection = self._selector.select(Batch(group))
            yield self._done(selection, self._convert(selection))
        self._account_the_rest()

    def _place(self, conversion: Conversion) -> None:
        contents = {str(row.event["uuid"]): placements(row) for row in conversion.converted}
        self._spool.placements.add_all(PIPELINE, contents)

    def _groups(self) -> Iterator[set[str]]:
        """Containers that are converted together.

        About as many objects each, with those that are in each other.
        """
        sizes = self._spool.containers(self._types)
        joined: dict[str, set[str]] = {}
        for outer, inner in self._spool.nested(self._types):
            joined.setdefault(outer, set()).add(inner)
            joined.setdefault(inner, set()).add(outer)
        done: set[str] = set()
        group: set[str] = set()
        size = 0
        for id_ in sizes:
            waiting = [id_]
            while waiting:
                here = waiting.pop()
                if here in done:
                    continue
                done.add(here)
                group.add(here)
                size += sizes[here]
                waiting.extend(joined.get(here, ()))
            if size >= self._group:
                yield group
                group, size = set(), 0
        if group:
            yield group

    def _convert(self, selection: Selection) -> Conversion:
        settings = replace(
            self._settings,
            containers=selection.containers,
            collect=selection.collect,
            placed={id_: frozenset(events) for id_, events in selection.placed.items()},
        )
        entries = [Entry("$", obj, id=id_) for id_, (obj, _) in selection.objects.items()]
        with without_collector():
            return convert_entries(entries, settings, self._knowledge)

    def _done(self, selection: Selection, conversion: Conversion) -> list[Converted]:
        inside = _inside(selection, conversion)
        rows = conversion.converted
        if self._enrich is not None:
            rows = self._enrich.apply(
                rows, conversion.objects, conversion.ledger, self._settings.source
            )
        elsewhere = {
            id_ for id_, (obj, _) in selection.objects.items() if obj["type"] in self._types
        } - selection.containers
        self.ledger.account(conversion.ledger, inside - elsewhere, elsewhere)
        return rows

    def _account_the_rest(self) -> None:
        """What is in no event: links and context that nothing shows."""
        last = ""
        while ids := self._spool.unaccounted(last):
            selection = self._selector.select(Batch(loose=set(ids)))
            selection.collect = set()
            self.ledger.account(self._convert(selection).ledger, set(ids))
            last = ids[-1]


def _inside(selection: Selection, conversion: Conversion) -> set[str]:
    """What the events are, and what belongs to them."""
    inside = selection.containers | selection.collect
    for row in conversion.converted:
        inside.update(row.stix_ids, row.members)
    return inside
