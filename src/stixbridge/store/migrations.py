"""Migrates a store of an older schema, in the transaction that opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, text

from stixbridge.envelopes import Adoption, AnalystDataChange, Delivered, Edit, Split, Wanted
from stixbridge.store import schema
from stixbridge.store.codec import ends_of, pack_delivered, pack_edits, pack_wanted, unpack
from stixbridge.store.statements import INSERT_LINK

_AT_ONCE = 5_000


def migrate(connection: Connection, found: int) -> None:
    """Migrate a store to `schema.VERSION`. New tables exist already.

    Args:
        connection: a connection in a transaction, so that a store is migrated completely or not at
            all.
        found: the current version of the store.
    """
    for version in range(found, schema.VERSION):
        _STEPS[version](connection)
    connection.execute(
        text("UPDATE meta SET value = :version WHERE name = 'version'"),
        {"version": str(schema.VERSION)},
    )


def _links(connection: Connection) -> None:
    """Migrate 1 to 2: the ends of relationships."""
    rows = connection.execute(
        text("SELECT source, id, body FROM objects WHERE type = 'relationship'")
    )
    while part := rows.fetchmany(_AT_ONCE):
        ends = [(source, ends_of(unpack(body)), id_) for source, id_, body in part]
        links = [(source, *pair, id_) for source, pair, id_ in ends if pair is not None]
        if links:
            connection.exec_driver_sql(INSERT_LINK, links)


def _upkeep(connection: Connection) -> None:
    """2 to 3: vanished objects, settled letters; smaller tables, and indexes that are used."""
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
    """Migrate 3 to 4, 4 to 5, 5 to 6, 7 to 8: add all missing columns."""
    for name, table in schema.metadata.tables.items():
        rows = connection.execute(text("SELECT name FROM pragma_table_info(:name)"), {"name": name})
        existing = {row[0] for row in rows}
        for column in table.columns:
            if column.name in existing:
                continue
            kind = column.type.compile(connection.dialect)
            needed = (
                "" if column.nullable else f" NOT NULL DEFAULT {'0' if 'INT' in kind else repr('')}"
            )
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN {column.name} {kind}{needed}"))


def _envelopes(connection: Connection) -> None:
    """Migrate 6 to 7: the bookkeeping of an event moves from the event to its envelope."""
    _rewrite(connection, "wanted", "body", lambda row: pack_wanted(_wanted(row)))
    _rewrite(connection, "deliveries", "body", lambda row: pack_delivered(_delivered(row)))
    _rewrite(connection, "deliveries", "intent", lambda row: pack_edits(map(_edit, row["edits"])))


def _rewrite(
    connection: Connection, table: str, column: str, form: Callable[[dict[str, Any]], bytes]
) -> None:
    """Convert all packed bodies in a column, some rows at a time."""
    select = text(
        f"SELECT rowid, {column} FROM {table} WHERE rowid > :after AND {column} IS NOT NULL"  # noqa: S608
        " ORDER BY rowid LIMIT :most"
    )
    update = text(f"UPDATE {table} SET {column} = :body WHERE rowid = :row")  # noqa: S608
    after = -1
    while rows := connection.execute(select, {"after": after, "most": _AT_ONCE}).all():
        values = [{"row": row, "body": form(unpack(body))} for row, body in rows]
        connection.execute(update, values)
        after = rows[-1][0]


_OFFERED = ("restricted", "clusters", "publish", "sharing_group")
"""Fields of wanted events in version 6, and of delivered ones without changes for the sink.
"""
_RECORDED = ("taken", "shares", "share_heads", "deleted_shares", "gone", "given", "stored")
"""Fields that version 6 had in a delivered event."""


def _plain(event: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in names}


def _offer(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event[name] for name in _OFFERED if event.get(name) is not None}


def _wanted(event: Mapping[str, Any]) -> Wanted:
    return Wanted(_plain(event, *_OFFERED), **_offer(event))


def _delivered(event: Mapping[str, Any]) -> Delivered:
    adopted = event.get("taken")
    split = None
    if "shares" in event:
        heads = event.get("share_heads") or {}
        split = Split(
            event["shares"],
            {int(number): head for number, head in heads.items()},
            frozenset(event.get("deleted_shares") or ()),
        )
    return Delivered(
        _plain(event, *_OFFERED, *_RECORDED),
        **_offer(event),
        adopted=None if not adopted else _adoption(adopted),
        split=split,
        analyst_kept=event.get("given") or {},
        deleted_by_analyst=frozenset(event.get("gone") or ()),
        stored_values=event.get("stored") or {},
    )


def _adoption(adopted: Mapping[str, Any]) -> Adoption:
    return Adoption(
        adopted["as"],
        event=adopted.get("event"),
        uuids=adopted.get("uuids") or {},
        restricted=bool(adopted.get("closed")),
        distribution=adopted.get("distribution"),
        sharing_group_id=adopted.get("sharing_group_id"),
        published=bool(adopted.get("published")),
    )


def _edit(edit: Mapping[str, Any]) -> Edit:
    changes = tuple(AnalystDataChange(*change) for change in edit.get("said") or ())
    body = _plain(edit, "publish_owed", "said", *_OFFERED, *_RECORDED)
    return Edit(body, bool(edit.get("publish_owed")), changes)


_STEPS: dict[int, Callable[[Connection], None]] = {
    1: _links,
    2: _upkeep,
    3: _columns,
    4: _columns,
    5: _columns,
    6: _envelopes,
    7: _columns,
}
