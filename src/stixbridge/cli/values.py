"""`stixbridge overlaps`, `suppress` and `serve`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stixbridge.cli.options import CONFIG, JSON
from stixbridge.cli.screen import count_of, emit, emit_bytes, say
from stixbridge.cli.upkeep import opened
from stixbridge.errors import ConfigError

if TYPE_CHECKING:
    from stixbridge.store import Store

_SHOWN = 50


@click.command()
@CONFIG
@JSON
def overlaps(config_path: Path, as_json: bool) -> None:
    """List the values that several pipelines deliver."""
    import orjson

    from stixbridge.queries.overlaps import overlaps as look
    from stixbridge.queries.overlaps import shares

    with opened(config_path) as (_, store):
        rows, common = look(store), shares(store)
    if as_json:
        emit_bytes(orjson.dumps({"values": rows, "pipelines": common}, option=orjson.OPT_INDENT_2))
        return
    for row in common:
        common_count = count_of(row["common"], "value")
        emit(
            f"{row['one']} and {row['other']}: {common_count} in common,"
            f" of {row['of_one']} and {row['of_other']}"
        )
    for row in rows[:_SHOWN]:
        emit(f"  {row['value']}  {', '.join(row['types'])}: {', '.join(row['pipelines'])}")
    if len(rows) > _SHOWN:
        emit(f"  … and {len(rows) - _SHOWN} more; --json lists them all")
    if not rows:
        emit("no value is in more than one pipeline")


@click.command()
@CONFIG
@JSON
@click.argument("values", nargs=-1, metavar="[VALUE…]")
@click.option("--why", default="", help="The reason; shown in the list.")
@click.option("--remove", is_flag=True, help="Remove the values from the list.")
def suppress(
    config_path: Path, as_json: bool, values: tuple[str, ...], why: str, remove: bool
) -> int:
    """Take `to_ids` from values, whichever feed they come from. Without a value: show the list."""
    with opened(config_path) as (_, store):
        if not values:
            _show_suppressed(store, as_json=as_json)
            return 0
        with store.claimed():
            change = partial(_remove, store) if remove else partial(_add, store, why)
            unknown = [value for value in values if not change(value)]
    if len(unknown) < len(values):
        say("the next run changes what was delivered")
    return 1 if unknown else 0


def _show_suppressed(store: Store, *, as_json: bool) -> None:
    import orjson

    from stixbridge.queries.overlaps import suppressed

    rows = suppressed(store)
    if as_json:
        emit_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        return
    for row in rows:
        emit(f"{row['value']}  {row['why'] or 'no reason given'} (since {row['since']})")
    if not rows:
        emit("nothing is suppressed")


def _add(store: Store, why: str, value: str) -> bool:
    """Suppress a value as it stands in MISP: `EVIL.example` there is `evil.example`."""
    from stixbridge import times

    for spelling in store.placements.spellings(value) or [value]:
        store.suppression.add(spelling, why, times.now())
        emit(f"{spelling}: suppressed")
    return True


def _remove(store: Store, value: str) -> bool:
    """Take a value off the list; whether it was there."""
    from stixbridge import times

    spellings = {*store.placements.spellings(value), value}
    removed = [
        spelling for spelling in spellings if store.suppression.remove(spelling, times.now())
    ]
    emit(f"{value}: {'no longer suppressed' if removed else 'was not on the list'}")
    return bool(removed)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen at; 0 takes a free one.",
)
def serve(folder: Path, host: str, port: int) -> int:
    """Serve a feed folder, read-only, for a MISP to subscribe to."""
    from stixbridge.sinks.feed.server import FeedServer

    if not (folder / "manifest.json").is_file():
        raise ConfigError(f"{folder}: no manifest.json; is it a feed folder that stixbridge wrote?")
    try:
        server = FeedServer(folder, host, port)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port}: {error.strerror or error}; choose another --host or --port"
        ) from None
    with server:
        say(
            f"serving {folder} at {server.url}; in MISP: Sync Actions, Feeds, Add, format MISP Feed"
        )
        server.serve_forever()
    return 0
