"""The ledger of a run: objects by the shape of what became of them, lines and notes.

Thousands of objects share a shape (outcome, reason, target, number of properties, what is lost of
them), so that an object takes little memory; entries are made when somebody reads them. Many lines
go to a scratch database.
"""

from __future__ import annotations

import heapq
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stixbridge.ledger import (
    ALARMING,
    Account,
    Entry,
    Ledger,
    Outcome,
    Reason,
    count_properties,
    entries_of,
    order_of,
    plain,
)
from stixbridge.store.database import Database
from stixbridge.store.stored_ledger import StoredLedger

IN_MEMORY = 50_000
"""Lines above which they go to the scratch database."""


class RunLedger:
    """What became of the objects of a run; reads like a `Ledger`.

    An object may be looked at by several batches: that it came out in one of them is its last word.

    Args (of the constructor):
        reference_time: of the run.
    """

    def __init__(self, reference_time: str | None = None) -> None:
        self.reference_time = reference_time
        self._lines: list[Entry] = []
        self._line_reasons: Counter[str] = Counter()
        self._notes: list[Entry] = []
        self._counts: Counter[Outcome] = Counter()
        self._properties: Counter[Outcome] = Counter()
        # id -> number of its shape
        self._accounts: dict[str, int] = {}
        self._shapes: list[Account] = []
        self._numbers: dict[Account, int] = {}
        self._scratch: StoredLedger | None = None

    def note(
        self,
        id_: str | None,
        path: str | None,
        outcome: Outcome,
        reason: Reason,
        target: str | None = None,
    ) -> None:
        """Record something about an element or an event: listed, not counted as an object."""
        self._notes.append((id_, path, outcome, reason, target))

    def merge(self, ledger: Ledger, accept: Callable[[str, Account], bool] | None = None) -> None:
        """Add the ledger of a poll, or of a batch.

        Args:
            ledger: to add.
            accept: says of which objects the account counts; all where it is None.
        """
        lines, notes = ledger.lines
        self._lines.extend(lines)
        self._line_reasons.update(str(line[3]) for line in lines)
        self._notes.extend(notes)
        counts, properties = ledger.line_counts
        self._counts.update(counts)
        self._properties.update(properties)
        accounts, shapes = self._accounts, self._shapes
        for id_, account in ledger.accounts.items():
            known = accounts.get(id_)
            if (known is None or shapes[known][0] is not Outcome.MAPPED) and (
                accept is None or accept(id_, account)
            ):
                accounts[id_] = self._number(account)
        if len(self._lines) > IN_MEMORY:
            self._spill()

    def add(self, accounts: Mapping[str, Account]) -> None:
        """Add what became of some objects."""
        for id_, account in accounts.items():
            self._accounts[id_] = self._number(account)

    def _number(self, account: Account) -> int:
        """The number of a shape."""
        number = self._numbers.setdefault(account, len(self._shapes))
        if number == len(self._shapes):
            self._shapes.append(account)
        return number

    def _spill(self) -> None:
        if self._scratch is None:
            folder = tempfile.TemporaryDirectory(prefix="stixbridge-", ignore_cleanup_errors=True)
            database = Database(Path(folder.name) / "ledger.db", durable=False)
            self._scratch = StoredLedger(database)
            weakref.finalize(self, _remove, database, folder)
        self._scratch.lines((line, 0) for line in self._lines if line[2] is not Outcome.INVALID)
        self._lines = [line for line in self._lines if line[2] is Outcome.INVALID]

    def unaccounted(self, ids: set[str]) -> set[str]:
        """Those of some objects that nothing was said of yet."""
        return ids - self._accounts.keys()

    def _by_shape(self) -> Iterator[tuple[Account, int]]:
        """The shapes that objects have, and how many have each."""
        for number, count in Counter(self._accounts.values()).items():
            yield self._shapes[number], count

    @property
    def outcomes(self) -> dict[str, int]:
        """Objects by outcome; the four add up to `objects`."""
        counts = Counter(self._counts)
        for account, count in self._by_shape():
            counts[account[0]] += count
        return {outcome.value: counts[outcome] for outcome in Outcome}

    @property
    def objects(self) -> int:
        """Entries of the input."""
        return sum(self._counts.values()) + len(self._accounts)

    @property
    def properties(self) -> dict[str, int]:
        """Properties by outcome.

        Those of an object that is dropped as a whole are dropped with it.
        """
        counts = Counter(self._properties)
        for account, count in self._by_shape():
            of_one: Counter[Outcome] = Counter()
            count_properties(account, of_one)
            for outcome, number in of_one.items():
                counts[outcome] += number * count
        return {outcome.value: counts[outcome] for outcome in Outcome}

    @property
    def reasons(self) -> dict[str, int]:
        """Objects that did not come out, by reason, the most frequent first."""
        counts = Counter(self._line_reasons)
        for account, count in self._by_shape():
            if account[1] is not None:
                counts[str(account[1])] += count
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def kinds(self) -> set[str]:
        """The outcomes of objects, and every reason that occurs anywhere."""
        result: set[str] = {outcome for outcome, count in self.outcomes.items() if count}
        result.update(note[2] for note in self._notes)
        result.update(self._line_reasons)
        result.update(note[3] for note in self._notes if note[3] is not None)
        for (_, reason, _, _, drops), _ in self._by_shape():
            result.update(why for why in (reason, *(why for _, _, why in drops)) if why is not None)
        return result

    @property
    def alarming(self) -> bool:
        """Whether something is invalid, refused or held back (exit status 1)."""
        return bool(self.outcomes["invalid"]) or any(note[3] in ALARMING for note in self._notes)

    @property
    def notes(self) -> list[dict[str, str]]:
        """The notes about elements and events, in a fixed order."""
        return [plain(note) for note in sorted(self._notes, key=order_of)]

    @property
    def invalid(self) -> list[dict[str, str]]:
        """The entries of the input that are no usable STIX, in a fixed order."""
        result = [line for line in self._lines if line[2] is Outcome.INVALID]
        for id_, number in self._accounts.items():
            if self._shapes[number][0] is Outcome.INVALID:
                result.extend(entries_of(id_, self._shapes[number]))
        return [plain(line) for line in sorted(result, key=order_of)]

    @property
    def entries(self) -> Iterator[dict[str, str]]:
        """Everything that is not plainly mapped, in a fixed order."""
        rows = [*self._lines, *self._notes]
        for id_, number in self._accounts.items():
            rows.extend(entries_of(id_, self._shapes[number]))
        rows.sort(key=order_of)
        stored = self._scratch.rows() if self._scratch is not None else iter(())
        for row in heapq.merge(rows, stored, key=order_of):
            yield plain(row)

    def to_dict(self) -> dict[str, Any]:
        """The ledger as JSON data."""
        return {**self.counts(), "entries": list(self.entries)}

    def counts(self) -> dict[str, Any]:
        """The ledger as JSON data, without its entries."""
        return {
            "objects": self.objects,
            "outcomes": self.outcomes,
            "properties": self.properties,
            "reference_time": self.reference_time,
        }


def _remove(database: Database, folder: tempfile.TemporaryDirectory[str]) -> None:
    database.close()
    folder.cleanup()
