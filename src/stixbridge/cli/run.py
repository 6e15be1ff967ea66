"""`stixbridge run`, `replay` and `undo`: once, by schedule, or as a dry run."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stixbridge import stopping
from stixbridge.cli.options import CONFIG, JSON, NOW, PIPELINES, moment
from stixbridge.cli.report import show
from stixbridge.cli.screen import ReaderGone, complain, finish, say
from stixbridge.errors import ConfigError

if TYPE_CHECKING:
    from stixbridge.config.reader import Config
    from stixbridge.pipeline.pull import Progress
    from stixbridge.pipeline.schedule import Scheduled
    from stixbridge.pipeline.summary import Summary
    from stixbridge.store import Store

_NOT_WITH_WATCH = ("once", "dry_run", "now", "full", "confirm")


@dataclass(frozen=True)
class RunOptions:
    """How pipelines run.

    Attributes:
        now: the reference time, microseconds; the clock when None.
        replay: make everything again from the store, and ask no source.
        full: ask for everything again.
        confirmed: go on where a guard would stop the run.
    """

    now: int | None
    replay: bool = False
    full: bool = False
    confirmed: bool = False


@click.command()
@CONFIG
@PIPELINES
@click.option(
    "--dry-run", is_flag=True, help="Show as a diff what would change; write nothing anywhere."
)
@click.option("--once", is_flag=True, help="Run once, as for cron; this is the default.")
@click.option(
    "--watch", is_flag=True, help="Run by the schedule of each pipeline, until it is stopped."
)
@click.option(
    "--full",
    is_flag=True,
    help="Ask for everything from `since` on, not only for new objects.",
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
    """Pull, convert, enrich and deliver what is new since the last run."""
    import stamina

    stamina.instrumentation.set_on_retry_hooks([])  # our errors say what a retry could not mend
    if watch:
        _check_alone()
        return _watch(config_path, pipelines, as_json=as_json)
    options = RunOptions(moment(now), full=full, confirmed=confirm)
    return _pass(config_path, pipelines, options, dry_run=dry_run, as_json=as_json)


def _check_alone() -> None:
    """Refuse the options that make no sense beside `--watch`.

    Raises:
        ConfigError: naming each of them.
    """
    given = click.get_current_context().params
    problems = [
        f"--watch can't be combined with --{name.replace('_', '-')}"
        for name in _NOT_WITH_WATCH
        if given[name]
    ]
    if problems:
        raise ConfigError(problems)


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
    """Make and deliver all events again from the store, for example after a change of rules."""
    options = RunOptions(moment(now), replay=True, confirmed=confirm)
    return _pass(config_path, pipelines, options, dry_run=dry_run, as_json=as_json)


@click.command()
@CONFIG
@click.argument("number", metavar="RUN", type=int)
@click.option(
    "--dry-run", is_flag=True, help="Show as a diff what would change; write nothing anywhere."
)
@NOW
@JSON
def undo(config_path: Path, number: int, dry_run: bool, now: str | None, as_json: bool) -> int:
    """Take what a run brought out of every event again. A newer version of it comes in as usual."""
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
    show([summary], dry_run=dry_run, as_json=as_json)
    return summary.status


def _pass(
    config_path: Path, names: tuple[str, ...], options: RunOptions, *, dry_run: bool, as_json: bool
) -> int:
    """Run each pipeline once; the exit status."""
    from stixbridge.config.build import check_secrets
    from stixbridge.config.reader import load

    config = load(config_path)
    check_secrets(config, names)
    run_all = _rehearse_all if dry_run else _run_all
    summaries = run_all(config, names, options, None if as_json else say)
    show(summaries, dry_run=dry_run, as_json=as_json)
    return max((summary.status for summary in summaries), default=0)


def _run_all(
    config: Config, names: tuple[str, ...], options: RunOptions, progress: Progress | None
) -> list[Summary]:
    from stixbridge.config.build import make_pipelines, open_store
    from stixbridge.pipeline.schedule import run_once

    path = config.store.path.expanduser()
    if not path.exists():
        say(f"made a new store: {path.resolve()}")
    store = open_store(config)
    try:
        with store.claimed():
            return run_once(
                make_pipelines(config, store, names, progress),
                options.now,
                replay=options.replay,
                full=options.full,
                confirmed=options.confirmed,
            )
    finally:
        store.close()


def _rehearse_all(
    config: Config, names: tuple[str, ...], options: RunOptions, progress: Progress | None
) -> list[Summary]:
    """A dry run: it writes nothing, not even an empty store."""
    from stixbridge.config.build import make_pipelines, open_store
    from stixbridge.pipeline.dry_run import rehearse

    summaries = []
    with tempfile.TemporaryDirectory() as empty:
        if not config.store.path.expanduser().exists():
            config = config.with_store(Path(empty) / "dry.db")
        store = open_store(config)
        try:
            for pipeline in make_pipelines(config, store, names, progress):
                try:
                    summaries.append(
                        rehearse(pipeline, options.now, replay=options.replay, full=options.full)
                    )
                finally:
                    pipeline.close()
        finally:
            store.close()
    return summaries


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
        show([summary], dry_run=False, as_json=as_json)
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
            else "stopped in the middle of a run; nothing is lost, the next start goes on with it"
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
        raise ConfigError(
            "store: it can't be changed while it is in use; stop the bridge and start it again"
        )
    check_secrets(config, names)
    return [
        Scheduled(
            pipeline,
            duration(config.pipelines[pipeline.name].every) / 1_000_000,
            duration(config.pipelines[pipeline.name].jitter) / 1_000_000,
        )
        for pipeline in make_pipelines(config, store, names)
    ]
