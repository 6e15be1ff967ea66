"""From the schema of an older version to this one, in the transaction that opens the store."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

from stixbridge.store import schema
from stixbridge.store.codec import ends_of, unpack
from stixbridge.store.statements import INSERT_LINK

_AT_ONCE = 5_000


def migrate(connection: Connection, found: int) -> None:
    """Bring a store to `schema.VERSION`; new tables are there already.

    Args:
        connection: in a transaction: a store is changed as a whole or not at all.
        found: the version it has.
    """
    for version in range(found, schema.VERSION):
        _STEPS[version](connection)
    connection.execute(
        text("UPDATE meta SET value = :version WHERE name = 'version'"),
        {"version": str(schema.VERSION)},
    )


def _links(connection: Connection) -> None:
    """1 to 2: the ends of relationships."""
    rows = connection.execute(
        text("SELECT source, id, body FROM objects WHERE type = 'relationship'")
    )
    while part := rows.fetchmany(_AT_ONCE):
        ends = [(source, ends_of(unpack(body)), id_) for source, id_, body in part]
        links = [(source, *pair, id_) for source, pair, id_ in ends if pair is not None]
        if links:
            connection.exec_driver_sql(INSERT_LINK, links)


def _upkeep(connection: Connection) -> None:
    """2 to 3: what vanished at its source, what a person has settled; smaller tables, and indexes that are used."""
    _columns(connection)
    for name in ("refs_id", "links_id", "placements_id", "elements_value", "objects_valid_until"):
        connection.execute(text(f"DROP INDEX {name}"))
    for name in ("refs", "links"):
        columns = ", ".join(column.name for column in schema.metadata.tables[name].columns)
        connection.execute(text(f"ALTER TABLE {name} RENAME TO old_{name}"))
        schema.metadata.tables[name].create(connection)
        connection.execute(text(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM old_{name}"))  # noqa: S608
        connection.execute(text(f"DROP TABLE old_{name}"))
    for made in schema.metadata.tables.values():
        for index in made.indexes:
            index.create(connection, checkfirst=True)


def _columns(connection: Connection) -> None:
    """3 to 4, 4 to 5, 5 to 6: every column that a store in between versions lacks."""
    for name, table in schema.metadata.tables.items():
        rows = connection.execute(text("SELECT name FROM pragma_table_info(:name)"), {"name": name})
        there = {row[0] for row in rows}
        for column in table.columns:
            if column.name in there:
                continue
            kind = column.type.compile(connection.dialect)
            needed = (
                "" if column.nullable else f" NOT NULL DEFAULT {'0' if 'INT' in kind else repr('')}"
            )
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN {column.name} {kind}{needed}"))


_STEPS: dict[int, Callable[[Connection], None]] = {
    1: _links,
    2: _upkeep,
    3: _columns,
    4: _columns,
    5: _columns,
}
