"""`stixbridge run` and `replay`: once, by schedule, or as a rehearsal."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stixbridge import stopping
from stixbridge.cli.options import CONFIG, JSON, NOW, PIPELINES, moment
from stixbridge.cli.screen import ReaderGone, complain, emit, emit_bytes, finish, say, tell_bad
from stixbridge.errors import ConfigError
from stixbridge.ledger import counted

if TYPE_CHECKING:
    from stixbridge.config.reader import Config
    from stixbridge.pipeline.schedule import Scheduled
    from stixbridge.pipeline.summary import Summary
    from stixbridge.store import Store

_LINES = 40
_REFUSED = 10
"""Different refusals of settings that are shown; --json has them all."""
_SECONDS_AN_ATTRIBUTE = 0.003
"""What a MISP takes to store one, as measured."""
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


@click.command()
@CONFIG
@PIPELINES
@click.option(
    "--dry-run", is_flag=True, help="Show as a diff what would be done; write nothing anywhere."
)
@click.option("--once", is_flag=True, help="One pass, as for cron (what happens anyway).")
@click.option("--watch", is_flag=True, help="Run by the schedule of each pipeline, until stopped.")
@click.option(
    "--full", is_flag=True, help="Ask for everything again, from `since` on, not for what is new."
)
@click.option(
    "--confirm", is_flag=True, help="Go on where the guard of a pipeline would stop the run."
)
@NOW
@JSON
def run(
    config_path: Path,
    pipelines: tuple[str, ...],
    dry_run: bool,
    once: bool,
    watch: bool,
    full: bool,
    confirm: bool,
    now: str | None,
    as_json: bool,
) -> int:
    """Pull, convert, enrich and deliver. What was done before is not done again."""
    import stamina

    stamina.instrumentation.set_on_retry_hooks([])  # our errors say what a retry could not mend
    if watch and (once or dry_run or now is not None or full or confirm):
        raise ConfigError("--watch goes with none of --once, --dry-run, --now, --full, --confirm")
    if watch:
        return _watch(config_path, pipelines, as_json=as_json)
    return _passes(
        config_path,
        pipelines,
        moment(now),
        dry_run=dry_run,
        as_json=as_json,
        full=full,
        confirmed=confirm,
    )


@click.command()
@CONFIG
@PIPELINES
@click.option(
    "--dry-run", is_flag=True, help="Show as a diff what would change; write nothing anywhere."
)
@click.option(
    "--confirm", is_flag=True, help="Go on where the guard of a pipeline would stop the run."
)
@NOW
@JSON
def replay(
    config_path: Path,
    pipelines: tuple[str, ...],
    dry_run: bool,
    confirm: bool,
    now: str | None,
    as_json: bool,
) -> int:
    """Make and deliver everything in the store again, asking no source: after a change of rules or version."""
    return _passes(
        config_path,
        pipelines,
        moment(now),
        dry_run=dry_run,
        as_json=as_json,
        again=True,
        confirmed=confirm,
    )


@click.command()
@CONFIG
@click.argument("number", metavar="RUN", type=int)
@click.option(
    "--dry-run", is_flag=True, help="Show as a diff what would change; write nothing anywhere."
)
@NOW
@JSON
def undo(config_path: Path, number: int, dry_run: bool, now: str | None, as_json: bool) -> int:
    """Take back what a run brought, out of every event; a newer version of it comes in as ever."""
    from stixbridge.config.build import check_secrets, make_pipelines, open_store
    from stixbridge.config.reader import load
    from stixbridge.pipeline.dry_run import rehearse

    config = load(config_path)
    store = open_store(config)
    try:
        made = store.runs.get(number)
        name = made["pipeline"] if made is not None else ""
        if name not in config.pipelines:
            raise ConfigError(f"there is no run {number}; stixbridge status lists the runs")
        check_secrets(config, (name,))
        (pipeline,) = make_pipelines(config, store, (name,), None if as_json else say)
        try:
            if dry_run:
                summary = rehearse(pipeline, moment(now), undo=number)
            else:
                with store.claimed():
                    summary = pipeline.undo(number, moment(now))
        finally:
            pipeline.close()
    finally:
        store.close()
    _show([summary], dry_run=dry_run, as_json=as_json)
    return summary.status


def _passes(
    config_path: Path,
    names: tuple[str, ...],
    now: int | None,
    *,
    dry_run: bool,
    as_json: bool,
    again: bool = False,
    full: bool = False,
    confirmed: bool = False,
) -> int:
    """One pass of each pipeline."""
    from stixbridge.config.build import check_secrets, make_pipelines, open_store
    from stixbridge.config.reader import load
    from stixbridge.pipeline.dry_run import rehearse
    from stixbridge.pipeline.schedule import run_once

    config = load(config_path)
    check_secrets(config, names)
    with tempfile.TemporaryDirectory() as empty:
        progress = None if as_json else say
        if dry_run:
            # a dry run writes nothing, not even an empty store
            there = Path(config.store.path).expanduser().exists()
            store = open_store(config if there else config.with_store(Path(empty) / "dry.db"))
            summaries = []
            try:
                for pipeline in make_pipelines(config, store, names, progress):
                    try:
                        summaries.append(rehearse(pipeline, now, replay=again, full=full))
                    finally:
                        pipeline.close()
            finally:
                store.close()
        else:
            path = Path(config.store.path).expanduser()
            if not path.exists():
                say(f"a new store: {path.resolve()}")
            store = open_store(config)
            try:
                with store.claimed():
                    made = make_pipelines(config, store, names, progress)
                    summaries = run_once(made, now, replay=again, full=full, confirmed=confirmed)
            finally:
                store.close()
    _show(summaries, dry_run=dry_run, as_json=as_json)
    return max((summary.status for summary in summaries), default=0)


def _watch(config_path: Path, names: tuple[str, ...], *, as_json: bool) -> int:
    """Run until the process is asked to end; SIGHUP reads the configuration again."""
    from stixbridge.config.build import open_store
    from stixbridge.config.reader import load
    from stixbridge.pipeline.schedule import Watch

    config = load(config_path)
    store = open_store(config)

    def scheduled() -> list[Scheduled]:
        return _scheduled(load(config_path), config, store, names)

    def report(summary: Summary) -> None:
        _show([summary], dry_run=False, as_json=as_json)
        finish()

    daemon = Watch(scheduled, report, complain)
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.request())
    with store.claimed():
        ended = daemon.run()
    try:
        say(
            "stopped"
            if ended
            else "stopped in the middle of something; nothing is lost, the next start goes on with it"
        )
        finish()
    except (OSError, ReaderGone):  # nobody reads it; Python would complain of that at its end
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if not ended:
        os._exit(0)  # what is under way waits for a server: the end of the process rolls it back
    store.close()
    return 0


def _scheduled(
    config: Config, first: Config, store: Store, names: tuple[str, ...]
) -> list[Scheduled]:
    """The pipelines of a configuration with their schedules."""
    from stixbridge.config.build import check_secrets, make_pipelines
    from stixbridge.pipeline.schedule import Scheduled
    from stixbridge.times import duration

    if config.store != first.store:
        raise ConfigError("store: can't be changed while it is in use; stop and start again")
    check_secrets(config, names)
    return [
        Scheduled(
            pipeline,
            duration(config.pipelines[pipeline.name].every) / 1_000_000,
            duration(config.pipelines[pipeline.name].jitter) / 1_000_000,
        )
        for pipeline in make_pipelines(config, store, names)
    ]


def _show(summaries: Sequence[Summary], *, dry_run: bool, as_json: bool) -> None:
    import orjson

    if as_json:
        emit_bytes(
            orjson.dumps([summary.to_dict() for summary in summaries], option=orjson.OPT_INDENT_2)
        )
        return
    for summary in summaries:
        _report(summary, dry_run)


def _report(summary: Summary, dry_run: bool) -> None:
    """The end of a run, for a person."""
    ledger = summary.ledger
    would = "would be " if dry_run else ""
    emit(
        f"{summary.pipeline}: {summary.entries} entries in {summary.pages} pages, {summary.changed} new or newer"
    )
    if ledger.objects:
        emit(f"  objects  {counted(ledger.outcomes)}")
        if ledger.reasons:
            emit(f"  reasons  {counted(ledger.reasons)}")
    emit(f"  events   {would}{counted(summary.events)}")
    if dry_run:
        seconds = summary.volume.get("attributes", 0) * _SECONDS_AN_ATTRIBUTE
        new = {
            key.removeprefix("new "): count
            for key, count in summary.volume.items()
            if key.startswith("new ")
        }
        sent = {key: count for key, count in summary.volume.items() if not key.startswith("new ")}
        there = f"; new there: {counted(new)}" if new else ""
        emit(f"  sends    {counted(sent)}; a MISP needs about {_shown(seconds)} for that{there}")
    for sink, delivery in summary.deliveries if dry_run else ():
        if delivery.changes:
            emit(f"  {sink}: {delivery.action} {delivery.event} {delivery.body.get('info', '')}")
            for line in delivery.changes[:_LINES]:
                emit(f"    {line}", colour=_COLOURS.get(line[:1]))
            if len(delivery.changes) > _LINES:
                emit(f"    … and {len(delivery.changes) - _LINES} more; --json has them all")
    notes = ledger.notes
    for entry in notes:
        if "target" in entry and entry.get("path", "").find(": ") > 0:
            emit(f"  note     {entry['path']}: {entry['reason']}: {entry['target']}")
    refused = Counter(
        f"{entry['path']}: {entry['reason']}: {entry['target']}"
        for entry in notes
        if "target" in entry and entry.get("path", "").startswith("enrich.")
    )
    for text, times in refused.most_common(_REFUSED):
        emit(f"  note     {text}" + (f" ({times} times)" if times > 1 else ""))
    tell_bad(ledger.invalid, emit)
    for error in summary.errors:
        emit(f"  error    {error}")


def _shown(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
