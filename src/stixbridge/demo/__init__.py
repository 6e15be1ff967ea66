"""`stixbridge demo`: the whole way on a sample, with no server and no preparation needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stixbridge.errors import ConfigError, ServerError
from stixbridge.ledger import counted

if TYPE_CHECKING:
    from stixbridge.pipeline.summary import Summary

Emit = Callable[[str], None]

# A fixed reference time, so that what has expired is the same at every demo.
_NOW = "2026-01-07T00:00:00Z"

_CONFIGURATION = """\
# written by `stixbridge demo`; the TAXII server it names lived in the demo's process
[store]
path = "{store}"

[sources.demo]
type = "taxii21"
url = "{url}"
collections = ["Indicators"]
default_tlp = "tlp:amber"

[sinks.feed]
type = "feed"
path = "{feed}"
{misp}
[pipelines.demo]
source = "demo"
sinks = [{sinks}]
enrich = {{ info = "{{report.name}}", threat_level = 1, tags = ["tlp:green"] }}
"""

_MISP = """
[sinks.misp]
type = "misp"
url = "{url}"
key = {{ env = "MISP_KEY" }}
"""


def show(folder: Path, emit: Emit) -> int:
    """Run the demo.

    Args:
        folder: everything is written below it; an earlier demo there is replaced.
        emit: takes the lines to show.

    Returns:
        The exit status.
    """
    from stixbridge.demo.sample import pages
    from stixbridge.demo.server import DemoServer
    from stixbridge.sinks.folder import make_folder

    make_folder(folder)
    store, feed, configuration = folder / "demo.db", folder / "feed", folder / "stixbridge.toml"
    _remove_earlier(store, feed)
    url = os.environ.get("MISP_URL")
    misp = _MISP.format(url=url) if url and os.environ.get("MISP_KEY") else ""
    started = time.perf_counter()
    with DemoServer(pages()) as server:
        configuration.write_text(
            _CONFIGURATION.format(
                store=store,
                url=server.url,
                feed=feed,
                misp=misp,
                sinks='"feed", "misp"' if misp else '"feed"',
            )
        )
        summaries = _run_twice(configuration, emit)
    seconds = time.perf_counter() - started
    emit(f"\n{seconds:.1f} s. The feed is in {feed}: any MISP can subscribe to it.")
    if any("foreign" in summary.events for summary in summaries):
        emit(
            "A demo starts with a new store. It takes the events of an earlier demo in that MISP"
            " for those of somebody else."
        )
    if not misp:
        emit("Export MISP_URL and MISP_KEY, and the demo delivers to that MISP too.")
    _show_next(configuration, emit)
    return _check(summaries, emit)


def _check(summaries: list[Summary], emit: Emit) -> int:
    """Whether the demo went as it should, as the exit status.

    Raises:
        ServerError: when a MISP did not take the events.
    """
    problems = [error for summary in summaries for error in summary.errors]
    if problems:
        raise ServerError("; ".join(problems))
    second = summaries[-1]
    if second.changed or any(name != "unchanged" for name in second.events):
        emit("The second run changed something; please report it.")
        return 1
    return 0


def _run_twice(configuration: Path, emit: Emit) -> list[Summary]:
    """Run the pipeline of the demo; the second time, nothing is new."""
    from stixbridge import times
    from stixbridge.config.build import make_pipelines, open_store
    from stixbridge.config.reader import load

    config = load(configuration)
    store = open_store(config)
    summaries: list[Summary] = []
    titles = ("First run: everything is new", "Second run: nothing changes")
    try:
        for number, title in enumerate(titles, 1):
            emit(f"\n{number}. {title}")
            for pipeline in make_pipelines(config, store, progress=lambda line: emit(f"   {line}")):
                summary = pipeline.run(times.microseconds(_NOW))
                pipeline.close()
                summaries.append(summary)
                _summarise(summary, emit)
    finally:
        store.close()
    return summaries


def _show_next(configuration: Path, emit: Emit) -> None:
    emit("What to type next:")
    emit(f"  stixbridge status -c {configuration}")
    emit(f"  stixbridge find -c {configuration} 192.0.2.10")
    emit("  stixbridge convert FILE -o OUT --ledger ledger.json")
    emit("  stixbridge init          # a configuration of your own")


def _summarise(summary: Summary, emit: Emit) -> None:
    emit(
        f"   = {summary.entries} entries, {summary.changed} new or newer;"
        f" events: {counted(summary.events)}"
    )
    ledger = summary.ledger
    if ledger.objects:
        emit(f"   = objects: {counted(ledger.outcomes)} ({counted(ledger.reasons)})")
        emit(f"   = properties: {counted(ledger.properties)}")
    for entry in ledger.entries:
        if "target" in entry:
            emit(f"   ! {entry['id']}: {entry['target']}")


def _remove_earlier(store: Path, feed: Path) -> None:
    """Remove what an earlier demo wrote, and nothing else."""
    try:
        for suffix in ("", "-wal", "-shm"):
            store.with_name(store.name + suffix).unlink(missing_ok=True)
        for file in feed.glob("*.json"):
            file.unlink()
        (feed / "hashes.csv").unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: {error.strerror}; choose another folder with -o"
        ) from None
