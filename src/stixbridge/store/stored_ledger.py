"""A ledger that is kept in a scratch database.

Of an input, or of a run, that does not fit in memory.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import text

from stixbridge.ledger import (
    ALARMING,
    Account,
    Drop,
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

_TABLES = (
    "CREATE TABLE accounts (id TEXT PRIMARY KEY, outcome TEXT, reason TEXT, target TEXT, size "
    "INTEGER, drops BLOB, rank INTEGER) WITHOUT ROWID",
    (
        "CREATE TABLE lines (id TEXT, path TEXT, outcome TEXT, reason TEXT, target TEXT, size "
        "INTEGER, note INTEGER)"
    ),
)
_ACCOUNT = """
INSERT INTO accounts VALUES (:id, :outcome, :reason, :target, :size, :drops, :rank)
ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason,
  target = excluded.target,
  size = excluded.size, drops = excluded.drops, rank = excluded.rank
WHERE excluded.rank > accounts.rank
"""
_LINE = "INSERT INTO lines VALUES (:id, :path, :outcome, :reason, :target, :size, :note)"
_SORTED = """
CREATE TABLE sorted AS SELECT id, path, outcome, reason, target FROM lines
ORDER BY coalesce(id, ''), coalesce(path, ''), outcome, reason, coalesce(target, '')
"""
_CAME_OUT = {Outcome.MAPPED: 2, Outcome.PRESERVED: 1}
_MOST = 2_000


class StoredLedger:
    """A ledger in a scratch database; reads like a `Ledger`.

    Args (of the constructor):
        database: where it is made.
        reference_time: of the conversion.
    """

    def __init__(self, database: Database, reference_time: str | None = None) -> None:
        self._database = database
        self.reference_time = reference_time
        with self._database.transaction() as connection:
            for sql in _TABLES:
                connection.execute(text(sql))

    def account(
        self, ledger: Ledger, inside: Collection[str], containers: Collection[str] = ()
    ) -> None:
        """Take over what a ledger says; of objects that are not its own only that they came out.

        Args:
            ledger: of one conversion.
            inside: ids that it was for.
            containers: ids of what makes events of its own: of those only what its own conversion
                says counts.
        """
        rows = [
            {
                "id": id_,
                "outcome": outcome,
                "reason": reason,
                "target": target,
                "size": size,
                "drops": orjson.dumps(drops) if drops else None,
                "rank": _rank(outcome, drops, id_ in inside),
            }
            for id_, (outcome, reason, target, size, drops) in ledger.accounts.items()
            if id_ in inside or (outcome in _CAME_OUT and id_ not in containers)
        ]
        entries, notes = ledger.lines
        with self._database.transaction() as connection:
            if rows:
                connection.execute(text(_ACCOUNT), rows)
            lines = [_row(line, 0, 0) for line in entries] + [_row(line, 0, 1) for line in notes]
            if lines:
                connection.execute(text(_LINE), lines)

    def lines(self, lines: Iterable[tuple[Entry, int]]) -> None:
        """Record entries of the input that can't be converted.

        Each comes with its number of properties.
        """
        rows = (_row(line, size, 0) for line, size in lines)
        with self._database.transaction() as connection:
            while piece := list(islice(rows, _MOST)):
                connection.execute(text(_LINE), piece)

    @property
    def outcomes(self) -> dict[str, int]:
        """Objects by outcome."""
        sql = """
        SELECT outcome, count(*) AS number FROM (SELECT outcome FROM accounts UNION ALL
        SELECT outcome FROM lines WHERE note = 0) GROUP BY outcome
        """
        counts = {row["outcome"]: row["number"] for row in self._database.rows(sql)}
        return {outcome.value: counts.get(outcome.value, 0) for outcome in Outcome}

    @property
    def objects(self) -> int:
        """Entries of the input."""
        return sum(self.outcomes.values())

    @property
    def properties(self) -> dict[str, int]:
        """Properties by outcome."""
        counts: Counter[Outcome] = Counter()
        for _, account in self._accounts():
            count_properties(account, counts)
        for row in self._database.rows(
            "SELECT outcome, sum(size) AS number FROM lines WHERE note = 0 GROUP BY outcome"
        ):
            counts[Outcome(row["outcome"])] += row["number"]
        return {outcome.value: counts[outcome] for outcome in Outcome}

    @property
    def reasons(self) -> dict[str, int]:
        """Objects that did not come out, by reason, the most frequent first."""
        sql = """
        SELECT reason, count(*) AS number FROM (SELECT reason FROM accounts
        WHERE reason IS NOT NULL UNION ALL
        SELECT reason FROM lines WHERE note = 0) GROUP BY reason ORDER BY number DESC, reason
        """
        return {str(row["reason"]): row["number"] for row in self._database.rows(sql)}

    @property
    def kinds(self) -> set[str]:
        """What `--fail-on` is held against."""
        result = {name for name, count in self.outcomes.items() if count}
        sql = (
            "SELECT DISTINCT outcome, reason FROM lines UNION SELECT DISTINCT NULL, reason "
            "FROM accounts"
        )
        for row in self._database.rows(sql):
            result.update(value for value in (row["outcome"], row["reason"]) if value)
        for _, account in self._accounts():
            result.update(why for _, _, why in account[4])
        return result

    @property
    def alarming(self) -> bool:
        """Whether something is invalid, refused or held."""
        noted = {
            row["reason"]
            for row in self._database.rows("SELECT DISTINCT reason FROM lines WHERE note = 1")
        }
        return bool(self.outcomes["invalid"]) or bool(noted & ALARMING)

    @property
    def entries(self) -> Iterator[dict[str, str]]:
        """Everything that is not plainly mapped, in the order of `Ledger.entries`."""
        return (plain(row) for row in self.rows())

    def rows(self) -> Iterator[Entry]:
        """The same, as tuples."""
        accounts = (
            line
            for id_, account in self._accounts()
            for line in sorted(entries_of(id_, account), key=order_of)
        )
        return heapq.merge(accounts, self._lines(), key=order_of)

    def _accounts(self) -> Iterator[tuple[str, Account]]:
        last = ""
        while rows := self._database.rows(
            "SELECT * FROM accounts WHERE id > :last ORDER BY id LIMIT :most", last=last, most=_MOST
        ):
            for row in rows:
                drops = orjson.loads(row["drops"]) if row["drops"] else ()
                lost = tuple((path, Outcome(how), Reason(why)) for path, how, why in drops)
                reason = Reason(row["reason"]) if row["reason"] else None
                yield row["id"], (Outcome(row["outcome"]), reason, row["target"], row["size"], lost)
            last = rows[-1]["id"]

    def _lines(self) -> Iterator[Entry]:
        with self._database.transaction() as connection:
            connection.execute(text("DROP TABLE IF EXISTS sorted"))
            connection.execute(text(_SORTED))
        last = 0
        while rows := self._database.rows(
            "SELECT rowid, * FROM sorted WHERE rowid > :last LIMIT :most", last=last, most=_MOST
        ):
            for row in rows:
                yield (
                    row["id"],
                    row["path"],
                    Outcome(row["outcome"]),
                    Reason(row["reason"]),
                    row["target"],
                )
            last = rows[-1]["rowid"]


def _rank(outcome: Outcome, drops: Collection[Drop], inside: bool) -> int:
    """Of several accounts of one object that counts which loses least.

    Of equal ones that where it belongs.
    """
    lost = sum(how is Outcome.DROPPED for _, how, _ in drops)
    return _CAME_OUT.get(outcome, 0) * 1_000_000 - 2 * lost + inside


def _row(line: Entry, size: int, note: int) -> dict[str, Any]:
    id_, path, outcome, reason, target = line
    return {
        "id": id_,
        "path": path,
        "outcome": outcome,
        "reason": reason,
        "target": target,
        "size": size,
        "note": note,
    }
