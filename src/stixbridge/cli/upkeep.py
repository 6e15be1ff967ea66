"""Looking after a bridge: `status`, `find`, `dead-letters`, `backup` and `restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stixbridge.cli.options import CONFIG, JSON
from stixbridge.cli.screen import count_of, emit, emit_bytes
from stixbridge.errors import ConfigError
from stixbridge.ledger import counted

if TYPE_CHECKING:
    from stixbridge.config.reader import Config
    from stixbridge.store import Store

_BY_DESIGN = frozenset({"lifecycle", "redundant"})
"""Reasons of properties that an event does not need: every object has some; --json lists them."""

_DIGEST = 64
"""Characters of the SHA-256 of a file, which is in the place of its watermark."""


def _mark(row: dict[str, Any]) -> str:
    """Up to where a collection was read: a time of the server, or the content of a file."""
    mark = str(row["watermark"])
    if len(mark) == _DIGEST:
        return f"read as it is (SHA-256 {mark[:12]}…)"
    return f"watermark {mark}  lag {row['lag'] or 'unknown'}"


@click.command()
@CONFIG
@JSON
def status(config_path: Path, as_json: bool) -> None:
    """Show collections, deliveries and the last runs."""
    import orjson

    from stixbridge.queries.status import status as look

    with opened(config_path) as (config, store):
        found = look(config, store)
    if as_json:
        emit_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    emit(f"store {found['store']}")
    for row in found["collections"]:
        _show_collection(row)
    for row in found["sources"]:
        objects = count_of(row["objects"], "object")
        emit(
            f"source {row['source']}: {objects}, {row['vanished'] or 'none'} removed at the server"
        )
    for row in found["pipelines"]:
        _show_pipeline(row)
    for row in found["deliveries"]:
        emit(f"sink {row['sink']}: {count_of(row['events'], 'event')} {row['state']}")
    for row in found["rejects"]:
        place = f"{row['source']} / {row['collection']}"
        emit(f"bad entries in {place}: {row['count']} {row['reason']}")
    for row in found["notes"]:
        emit(f"notes: {row['count']} {row['reason']}")
    if found["dead_letters"]:
        emit(f"dead letters: {found['dead_letters']}; stixbridge dead-letters lists them")


def _show_collection(row: dict[str, Any]) -> None:
    emit(f"collection {row['source']} / {row['title'] or row['collection']}")
    emit(f"  polled {row['polled']}  {_mark(row)}")
    if row["error"]:
        emit(f"  last error: {row['error']}")


def _show_pipeline(row: dict[str, Any]) -> None:
    last = "none yet"
    if row["last_run"]:
        last = row["last_run"] + ("" if row["finished"] else " (interrupted)")
    emit(f"pipeline {row['pipeline']}: last run {last}; events {counted(row['events'])}")
    for run in row["brought"]:
        how = "undone" if run["undone"] else f"stixbridge undo {run['number']}"
        emit(f"  run {run['number']} brought {count_of(run['objects'], 'object')} ({how})")
    emit(f"  next run {row['next_run'] or 'at once'} with --watch")
    for error in row["errors"]:
        emit(f"  error: {error}")


@click.command(name="find")
@CONFIG
@JSON
@click.argument("what")
def find(config_path: Path, as_json: bool, what: str) -> int:
    """Find a STIX id, a value or a MISP UUID.

    Shows the events that it is in, and what of it is missing there and why.
    """
    import orjson

    from stixbridge.queries.find import find as look

    with opened(config_path) as (config, store):
        found = look(config, store, what)
    if as_json:
        emit_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        for row in found:
            _show_object(row)
        if not found:
            name = Path(store.path).name
            emit(f"No object in {name} has the id, value or UUID {what!r}.")
    return 0 if found else 1


def _show_object(row: dict[str, Any]) -> None:
    emit(f"{row['id']}  {row['name']}")
    ended = ", revoked" if row["revoked"] else ""
    emit(f"  source {row['source']}, modified {row['modified'] or 'at an unknown time'}{ended}")
    for event in row["events"]:
        _show_event(event)
    for entry in row["touched"]:
        place = " (the event)" if entry["uuid"] == entry["event"] else ""
        emit(f"  rule {entry['rule']}: {entry['action']}{place}")
    if not row["events"]:
        emit("  in no event")
    for entry in row["missing"]:
        reason = entry.get("reason", entry["outcome"])
        if reason not in _BY_DESIGN:
            emit(f"  missing {entry.get('path', 'the object')}: {reason}")


def _show_event(event: dict[str, Any]) -> None:
    for sink in event["sinks"]:
        emit(f"  event {sink['event']} in {sink['sink']}: {sink['state']}  {sink['info']}")
        for ours, theirs in sink["elements"].items():
            emit(f"    {ours} is {theirs} there")
    for element in event["elements"]:
        value = f"{element['type']} = {element['value'][:120]}"
        emit(f"    {element['kind']} {element['uuid']}  {value}")
    for note in event["notes"]:
        emit(f"    note ({note['sink']}): {note['reason']}: {note['target']}")


@click.group(name="dead-letters", invoke_without_command=True)
@CONFIG
@JSON
@click.pass_context
def dead_letters(context: click.Context, config_path: Path, as_json: bool) -> int | None:
    """List what can't be delivered.

    These are bad entries, objects that the conversion fails on, and events that a sink refused.
    """
    context.obj = config_path
    if context.invoked_subcommand is not None:
        return None
    import orjson

    from stixbridge.queries.dead_letters import dead_letters as look

    with opened(config_path) as (_, store):
        found = look(store)
    if as_json:
        emit_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_DATACLASS))
        return 0
    for letter in found:
        emit(f"{letter.key}  {letter.what}")
        emit(f"  {letter.reason}{f' (since {letter.since})' if letter.since else ''}")
    emit(count_of(len(found), "dead letter"))
    return 0


@dead_letters.command(name="show")
@click.argument("key")
@click.pass_obj
def show_letter(config_path: Path, key: str) -> None:
    """Show everything about a dead letter, as JSON."""
    import orjson

    from stixbridge.queries.dead_letters import show

    with opened(config_path) as (_, store):
        emit_bytes(orjson.dumps(show(store, key), option=orjson.OPT_INDENT_2))


@dead_letters.command(name="retry")
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@click.pass_obj
def retry_letters(config_path: Path, keys: tuple[str, ...]) -> None:
    """Let the next run try dead letters again."""
    from stixbridge.queries.dead_letters import retry

    with opened(config_path) as (_, store), store.claimed():
        for key in keys:
            emit(f"{key}: {retry(store, key)}")


@dead_letters.command(name="drop")
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@click.pass_obj
def drop_letters(config_path: Path, keys: tuple[str, ...]) -> None:
    """Leave dead letters out for good, and list them no longer."""
    from stixbridge.queries.dead_letters import drop

    with opened(config_path) as (_, store), store.claimed():
        for key in keys:
            emit(f"{key}: {drop(store, key)}")


@click.command()
@CONFIG
@click.argument("file", type=click.Path(path_type=Path))
def backup(config_path: Path, file: Path) -> None:
    """Write a copy of the store, also during a run; `restore` puts it back."""
    if not file.parent.is_dir():
        raise ConfigError(f"{file}: the folder {file.parent} does not exist; make it first")
    with opened(config_path) as (_, store):
        store.backup(file)
    emit(f"{file} written")


@click.command()
@CONFIG
@click.argument("file", type=click.Path(path_type=Path))
def restore(config_path: Path, file: Path) -> None:
    """Replace the store by a copy that `backup` wrote; changes since the copy are lost."""
    from stixbridge.config.reader import load
    from stixbridge.store import Store

    config = load(config_path)
    path = Path(config.store.path).expanduser()
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    Store(file).close()  # it is a store, of a version that is known
    Store.restore(path, file)
    emit(f"{path} is now as {file} was")


@contextmanager
def opened(config_path: Path) -> Iterator[tuple[Config, Store]]:
    """The configuration and its store."""
    from stixbridge.config.build import open_store
    from stixbridge.config.reader import load

    config = load(config_path)
    store = open_store(config)
    try:
        yield config, store
    finally:
        store.close()
