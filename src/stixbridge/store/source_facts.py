"""What was learned of a source's server.

Waits that it asked for, page sizes and forms that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import orjson

from stixbridge.store.database import Database


class SourceFacts(MutableMapping[str, Any]):
    """Facts of one source, by name; each access is a transaction. Values are what JSON can hold.

    Args (of the constructor):
        database: where they are.
        source: its name.
    """

    def __init__(self, database: Database, source: str) -> None:
        self._database = database
        self._source = source

    def __getitem__(self, name: str) -> Any:
        value = self._database.scalar(
            "SELECT value FROM source_facts WHERE source = :source AND name = :name",
            source=self._source,
            name=name,
        )
        if value is None:
            raise KeyError(name)
        return orjson.loads(value)

    def __setitem__(self, name: str, value: Any) -> None:
        self._database.execute(
            "INSERT INTO source_facts (source, name, value) VALUES (:source, :name, :value)"
            " ON CONFLICT (source, name) DO UPDATE SET value = excluded.value",
            source=self._source,
            name=name,
            value=orjson.dumps(value).decode(),
        )

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._database.execute(
            "DELETE FROM source_facts WHERE source = :source AND name = :name",
            source=self._source,
            name=name,
        )

    def __iter__(self) -> Iterator[str]:
        sql = "SELECT name FROM source_facts WHERE source = :source ORDER BY name"
        return iter([row["name"] for row in self._database.rows(sql, source=self._source)])

    def __len__(self) -> int:
        return sum(1 for _ in self)
