"""The database behind the store: the file, its transactions, its errors in words."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError

from stixbridge.errors import StoreError
from stixbridge.store import schema
from stixbridge.store.lease import Lease, Leases, claimed
from stixbridge.store.migrations import migrate

Rows = list[dict[str, Any]]
_BUSY_SECONDS = 10.0
"""How long another process may hold the file."""
_SLICE = 5_000
"""How many values go into one IN list."""
AMONG_KEYS = "(SELECT value FROM json_each(:keys))"


class Database:
    """An SQLite file in WAL mode.

    Args (of the constructor):
        path: of the file; made when absent.
        durable: False for a file that nobody needs after a cut: it is not waited for until it is on
            the disk.

    Raises:
        StoreError: when it is locked, damaged, or made by a newer version.
    """

    def __init__(self, path: str | Path, *, durable: bool = True) -> None:
        self.path = str(path)
        self._leases = Leases(self.path)
        if self.path.startswith(("postgresql:", "postgres:")):
            raise StoreError(
                "store.url: PostgreSQL is not supported yet; use store.path with a file"
            )
        folder = Path(self.path).parent
        if not folder.is_dir():
            raise StoreError(
                f"store {self.path}: the folder {folder} does not exist; make it, or change "
                "store.path"
            )
        if not Path(self.path).exists():
            with contextlib.suppress(OSError):  # what is wrong with the path SQLite says
                os.close(
                    os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600)
                )  # it holds what is marked for few
        self._engine = create_engine(
            URL.create("sqlite", database=self.path), connect_args={"timeout": _BUSY_SECONDS}
        )
        event.listen(self._engine, "connect", _on_connect if durable else _on_connect_to_scratch)
        event.listen(self._engine, "begin", _on_begin)
        with self.transaction() as connection:
            schema.metadata.create_all(connection)
            version = connection.execute(
                text("SELECT value FROM meta WHERE name = 'version'")
            ).scalar()
            if version is None:
                connection.execute(
                    text("INSERT INTO meta VALUES ('version', :version)"),
                    {"version": str(schema.VERSION)},
                )
            elif not str(version).isdecimal():
                raise StoreError(
                    f"store {self.path}: its schema version is {version!r};"
                    " is it a stixbridge store?"
                )
            elif int(version) > schema.VERSION:
                raise StoreError(
                    f"store {self.path}: made by a newer stixbridge (schema {version}, this one "
                    f"knows {schema.VERSION}); update stixbridge"
                )
            elif int(version) < schema.VERSION:
                migrate(connection, int(version))

    def lease(self, name: str) -> AbstractContextManager[Lease]:
        """Be the only one who works on something; see `Store.lease`."""
        return self._leases.take(name)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @staticmethod
    def restore(path: Path, copy: Path) -> None:
        """Put a copy in the place of a store.

        Raises:
            StoreError: when a process works with the store, or the file can't be written.
        """
        with claimed(str(path)):
            part = path.with_name(f".{path.name}.part")
            try:
                shutil.copyfile(copy, part)
                # what was not yet written into the old file must not be written into this one
                for beside in ("-wal", "-shm"):
                    Path(f"{path}{beside}").unlink(missing_ok=True)
                part.replace(path)
            except OSError as error:
                part.unlink(missing_ok=True)
                raise StoreError(
                    f"restore {path}: {error}; check the folder's rights and free space"
                ) from None

    def claimed(self) -> AbstractContextManager[None]:
        """Be the only process that works with the file; see `Store.claimed`."""
        return claimed(self.path)

    def copy_to(self, path: Path) -> None:
        """Copy the whole store to another file, while others may use it.

        Raises:
            StoreError: when the file can't be written.
        """
        try:
            self._copy(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"store {self.path}: can't be copied to {path.parent} ({error}); is there room?"
            ) from None

    def backup(self, path: Path) -> None:
        """Write a copy of the whole store, whole or not at all, while others may use it.

        Raises:
            StoreError: when the file can't be written.
        """
        temporary = path.with_name(f".{path.name}.part")
        try:
            temporary.unlink(missing_ok=True)
            self._copy(temporary)
            temporary.replace(path)
        except (OSError, sqlite3.Error) as error:
            temporary.unlink(missing_ok=True)
            raise StoreError(
                f"backup {path}: {error}; check the folder's rights and free space"
            ) from None

    def _copy(self, path: Path) -> None:
        with (
            closing(sqlite3.connect(self.path)) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back by an exception.

        Raises:
            StoreError: when the database fails.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            reason = str(error.orig)
            hint = (
                "another process holds it; wait for it or stop it"
                if "locked" in reason
                else "check disk and rights"
            )
            raise StoreError(f"store {self.path}: {reason}; {hint}") from None
        except DatabaseError as error:
            raise StoreError(
                f"store {self.path}: {error.orig}; is it a stixbridge store?"
            ) from None

    def execute(self, sql: str, **values: Any) -> None:
        """Run one statement in a transaction."""
        with self.transaction() as connection:
            connection.execute(text(sql), values)

    def rows(self, sql: str, **values: Any) -> Rows:
        """Read rows; values are bound."""
        with self.transaction() as connection:
            return [dict(row) for row in connection.execute(text(sql), values).mappings()]

    def column(self, sql: str, **values: Any) -> list[Any]:
        """Read the first column of all rows."""
        with self.transaction() as connection:
            return list(connection.execute(text(sql), values).scalars())

    def scalar(self, sql: str, **values: Any) -> Any:
        """Read one value."""
        with self.transaction() as connection:
            return connection.execute(text(sql), values).scalar()


def many(connection: Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement for many rows, whose values stand in the order of its question marks."""
    if rows:
        connection.exec_driver_sql(sql, list(rows))


def in_slices(
    connection: Connection, sql: str, keys: list[str], values: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Run a query for many keys, a slice of them at a time.

    It ends in `IN`, or has `{keys}` after it.
    """
    # one parameter for all: a statement with a parameter for each costs more to prepare than to run
    statement = text(
        sql.replace("{keys}", AMONG_KEYS) if "{keys}" in sql else f"{sql} {AMONG_KEYS}"
    )
    for start in range(0, len(keys), _SLICE):
        yield connection.execute(
            statement, {**values, "keys": listed(keys[start : start + _SLICE])}
        ).fetchall()


def listed(keys: Sequence[str]) -> str:
    """Keys as one value, for `AMONG_KEYS`."""
    return orjson.dumps(keys).decode()


def _on_connect(connection: Any, _record: object) -> None:
    # transactions are begun by us (see _on_begin), not guessed by the driver
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA wal_autocheckpoint = 8000")
    cursor.execute("PRAGMA cache_size = -8000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _on_connect_to_scratch(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = OFF")
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # a transaction that reads first and writes later would fail half-way when another process wrote
    # meanwhile
    connection.exec_driver_sql("BEGIN IMMEDIATE")
