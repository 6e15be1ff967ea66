"""A store for the time of one conversion: the objects of an input that does not fit in memory, and their ledger."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
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
from stixbridge.stix.reader import Entry as Incoming
from stixbridge.stix.versions import digest_of
from stixbridge.store.store import Store

_TABLES = (
    "CREATE TABLE accounts (id TEXT PRIMARY KEY, outcome TEXT, reason TEXT, target TEXT, size INTEGER, drops BLOB,"
    " rank INTEGER) WITHOUT ROWID",
    "CREATE TABLE lines (id TEXT, path TEXT, outcome TEXT, reason TEXT, target TEXT, size INTEGER, note INTEGER)",
    "CREATE TABLE versions (id TEXT, digest BLOB, size INTEGER)",
    "CREATE INDEX versions_id ON versions (id)",
    "CREATE TABLE inside (id TEXT PRIMARY KEY) WITHOUT ROWID",
)
_ACCOUNT = """
INSERT INTO accounts VALUES (:id, :outcome, :reason, :target, :size, :drops, :rank)
ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason, target = excluded.target,
  size = excluded.size, drops = excluded.drops, rank = excluded.rank
WHERE excluded.rank > accounts.rank
"""
_LINE = "INSERT INTO lines VALUES (:id, :path, :outcome, :reason, :target, :size, :note)"
# the first of several versions is noted with the second
_VERSION = """
INSERT INTO versions SELECT :id, :digest, :size
WHERE :later OR NOT EXISTS (SELECT 1 FROM versions WHERE id = :id)
"""
_OTHER_VERSIONS = """
INSERT INTO lines SELECT id, NULL, 'dropped', CASE WHEN newest THEN 'duplicate' ELSE 'superseded' END, NULL, size, 0
FROM (SELECT v.id, v.size, v.digest = o.digest AS newest,
  row_number() OVER (PARTITION BY v.id ORDER BY v.digest = o.digest DESC) AS place
  FROM versions v JOIN objects o ON o.id = v.id)
WHERE place > 1
"""
_SORTED = """
CREATE TABLE sorted AS SELECT id, path, outcome, reason, target FROM lines
ORDER BY coalesce(id, ''), coalesce(path, ''), outcome, reason, coalesce(target, '')
"""
_CAME_OUT = {Outcome.MAPPED: 2, Outcome.PRESERVED: 1}
_NEVER_FREE = ("relationship", "sighting", "marking-definition")
_MOST = 2_000
_BODY = 1_000
"""Packed bytes of an object that count as one more."""
SOURCE = "input"
PIPELINE = "convert"


class Shelf(Store):
    """A store without durability, with the ledger beside the objects.

    It reads like a `Ledger`: `objects`, `outcomes`, `properties`, `reasons`, `kinds`, `alarming`, `entries`.

    Args (of the constructor):
        path: of the file, in a folder that is removed afterwards.
        reference_time: of the conversion.
    """

    def __init__(self, path: str | Path, reference_time: str | None = None) -> None:
        super().__init__(path, durable=False)
        self.reference_time = reference_time
        with self._transaction() as connection:
            for sql in _TABLES:
                connection.execute(text(sql))

    # what came in

    def containers(self, types: Collection[str]) -> dict[str, int]:
        """Ids of what makes events of its own, in order, and how many objects each refers to (large count more)."""
        names = {f"t{at}": name for at, name in enumerate(sorted(types))}
        listed = ", ".join(f":{name}" for name in names)
        sql = f"""
        SELECT o.id, (SELECT count(*) + coalesce(sum(length(m.body)), 0) / {_BODY} FROM refs r LEFT JOIN objects m
          ON m.source = r.source AND m.id = r.target WHERE r.source = o.source AND r.id = o.id) AS size
        FROM objects o WHERE o.type IN ({listed}) ORDER BY o.id
        """  # noqa: S608
        return {row["id"]: row["size"] for row in self._rows(sql, **names)}

    def nested(self, types: Collection[str]) -> list[tuple[str, str]]:
        """Which containers refer to which."""
        names = {f"t{at}": name for at, name in enumerate(sorted(types))}
        listed = ", ".join(f":{name}" for name in names)
        sql = f"""
        SELECT a.id, b.id AS inner_id FROM objects a JOIN refs r ON r.source = a.source AND r.id = a.id
        JOIN objects b ON b.source = r.source AND b.id = r.target WHERE a.type IN ({listed}) AND b.type IN ({listed})
        """  # noqa: S608
        return [(row["id"], row["inner_id"]) for row in self._rows(sql, **names)]

    def keep(self, entries: Iterable[Incoming]) -> None:
        """Store usable objects, no id twice, and note every version of an id that comes more than once."""
        page = list(entries)
        held = self.load(SOURCE, [str(entry.id) for entry in page])
        others = []
        for entry in page:
            if entry.obj is not None and entry.id in held:
                first = held[str(entry.id)][0]
                others.append(
                    {"id": entry.id, "digest": digest_of(first), "size": len(first), "later": 0}
                )
                others.append(
                    {
                        "id": entry.id,
                        "digest": digest_of(entry.obj),
                        "size": len(entry.obj),
                        "later": 1,
                    }
                )
        done = self.last_seq(SOURCE)
        if self.add_page(SOURCE, "", page, watermark=None, date_added=None, received=0).rejected:
            refused = {
                entry.id for entry in self.rejected(SOURCE, done)
            }  # nested too deep to be written
            others = [row for row in others if row["id"] not in refused]
        if others:
            with self._transaction() as connection:
                connection.execute(text(_VERSION), others)

    def settle_versions(self) -> None:
        """One version of each id is the newest; the others are lines of the ledger."""
        with self._transaction() as connection:
            connection.execute(text(_OTHER_VERSIONS))

    def free(self, types: Collection[str]) -> list[str]:
        """Ids of objects that are in no container, and are none of these types."""
        names = {f"t{at}": name for at, name in enumerate(sorted({*types, *_NEVER_FREE}))}
        listed = ", ".join(f":{name}" for name in names)
        sql = f"""
        SELECT id FROM objects WHERE type NOT IN ({listed}) AND id NOT IN (SELECT id FROM inside) ORDER BY id
        """  # noqa: S608
        return [row["id"] for row in self._rows(sql, **names)]

    def all_ids(self) -> Iterator[str]:
        """Every id, in order."""
        last = ""
        while True:
            sql = "SELECT id FROM objects WHERE source = :source AND id > :last ORDER BY id LIMIT :most"
            rows = self._rows(sql, source=SOURCE, last=last, most=_MOST)
            if not rows:
                return
            yield from (row["id"] for row in rows)
            last = rows[-1]["id"]

    def unaccounted(self, after: str) -> list[str]:
        """Some ids above one that no ledger has spoken of."""
        sql = """
        SELECT id FROM objects WHERE source = :source AND id > :after AND id NOT IN (SELECT id FROM accounts)
        ORDER BY id LIMIT :most
        """
        return [row["id"] for row in self._rows(sql, source=SOURCE, after=after, most=_MOST)]

    def put_inside(self, ids: Iterable[str]) -> None:
        """Record that objects are in a container."""
        rows = [{"id": id_} for id_ in ids]
        if rows:
            with self._transaction() as connection:
                connection.execute(
                    text("INSERT INTO inside VALUES (:id) ON CONFLICT DO NOTHING"), rows
                )

    # the ledger

    def account(
        self, ledger: Ledger, own: Collection[str], containers: Collection[str] = ()
    ) -> None:
        """Take over what a ledger says; of objects that are not its own only that they came out.

        Args:
            ledger: of one conversion.
            own: ids that it was for.
            containers: ids of what makes events of its own: of those only what its own conversion says counts.
        """
        rows = [
            {
                "id": id_,
                "outcome": outcome,
                "reason": reason,
                "target": target,
                "size": size,
                "drops": orjson.dumps(drops) if drops else None,
                "rank": _rank(outcome, drops, id_ in own),
            }
            for id_, (outcome, reason, target, size, drops) in ledger.accounts.items()
            if id_ in own or (outcome in _CAME_OUT and id_ not in containers)
        ]
        entries, notes = ledger.lines
        with self._transaction() as connection:
            if rows:
                connection.execute(text(_ACCOUNT), rows)
            lines = [_row(line, 0, 0) for line in entries] + [_row(line, 0, 1) for line in notes]
            if lines:
                connection.execute(text(_LINE), lines)

    def lines(self, lines: Iterable[tuple[Entry, int]]) -> None:
        """Record entries of the input that are no object to convert, each with its number of properties."""
        rows = [_row(line, size, 0) for line, size in lines]
        if rows:
            with self._transaction() as connection:
                connection.execute(text(_LINE), rows)

    @property
    def outcomes(self) -> dict[str, int]:
        """Objects by outcome."""
        sql = """
        SELECT outcome, count(*) AS number FROM (SELECT outcome FROM accounts UNION ALL
        SELECT outcome FROM lines WHERE note = 0) GROUP BY outcome
        """
        counts = {row["outcome"]: row["number"] for row in self._rows(sql)}
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
        for row in self._rows(
            "SELECT outcome, sum(size) AS number FROM lines WHERE note = 0 GROUP BY outcome"
        ):
            counts[Outcome(row["outcome"])] += row["number"]
        return {outcome.value: counts[outcome] for outcome in Outcome}

    @property
    def reasons(self) -> dict[str, int]:
        """Objects that did not come out, by reason, the most frequent first."""
        sql = """
        SELECT reason, count(*) AS number FROM (SELECT reason FROM accounts WHERE reason IS NOT NULL UNION ALL
        SELECT reason FROM lines WHERE note = 0) GROUP BY reason ORDER BY number DESC, reason
        """
        return {str(row["reason"]): row["number"] for row in self._rows(sql)}

    @property
    def kinds(self) -> set[str]:
        """What `--fail-on` is held against."""
        found = {name for name, count in self.outcomes.items() if count}
        sql = "SELECT DISTINCT outcome, reason FROM lines UNION SELECT DISTINCT NULL, reason FROM accounts"
        for row in self._rows(sql):
            found.update(value for value in (row["outcome"], row["reason"]) if value)
        for _, account in self._accounts():
            found.update(why for _, _, why in account[4])
        return found

    @property
    def alarming(self) -> bool:
        """Whether something is invalid, refused or held."""
        noted = {
            row["reason"] for row in self._rows("SELECT DISTINCT reason FROM lines WHERE note = 1")
        }
        return bool(self.outcomes["invalid"]) or bool(noted & ALARMING)

    @property
    def entries(self) -> Iterator[dict[str, str]]:
        """Everything that is not plainly mapped, in the order of `Ledger.entries`."""
        told = (
            line
            for id_, account in self._accounts()
            for line in sorted(entries_of(id_, account), key=order_of)
        )
        for line in heapq.merge(told, self._lines(), key=order_of):
            yield plain(line)

    def _accounts(self) -> Iterator[tuple[str, Account]]:
        last = ""
        while rows := self._rows(
            "SELECT * FROM accounts WHERE id > :last ORDER BY id LIMIT :most", last=last, most=_MOST
        ):
            for row in rows:
                drops = orjson.loads(row["drops"]) if row["drops"] else ()
                lost = tuple((path, Outcome(how), Reason(why)) for path, how, why in drops)
                reason = Reason(row["reason"]) if row["reason"] else None
                yield row["id"], (Outcome(row["outcome"]), reason, row["target"], row["size"], lost)
            last = rows[-1]["id"]

    def _lines(self) -> Iterator[Entry]:
        with self._transaction() as connection:
            connection.execute(text("DROP TABLE IF EXISTS sorted"))
            connection.execute(text(_SORTED))
        last = 0
        while rows := self._rows(
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


def _rank(outcome: Outcome, drops: Collection[Drop], own: bool) -> int:
    """Of several accounts of one object that counts which loses least; of equal ones that where it belongs."""
    lost = sum(how is Outcome.DROPPED for _, how, _ in drops)
    return _CAME_OUT.get(outcome, 0) * 1_000_000 - 2 * lost + own


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
