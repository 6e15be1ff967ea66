"""The commands."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError
from ..ledger import counted, written
from .screen import emit, emit_bytes, say

if TYPE_CHECKING:
    from ..config import Config
    from ..ledger import Readable
    from ..misp.model import Converted
    from ..store import Store

_CONFIG = click.option(
    "-c",
    "--config",
    "config_path",
    default="stixbridge.toml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The configuration.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
LARGE = 50_000_000
"""Bytes of input, unpacked, above which `convert` goes by a temporary store instead of memory."""

_NOW = click.option(
    "--now", metavar="TIME", help="The reference time, as 2026-01-31T00:00:00Z; decides what has expired."
)


def register(group: click.Group) -> None:
    """Add the commands to the program."""
    from .rules import rules

    for command in (convert, run, replay, rules, demo, init, status, find):
        group.add_command(command)


def spread(arguments: list[str]) -> list[str]:
    """Let `--fail-on` and `--set` take several values: `--fail-on marking dropped`, `--set a=1 b=2`.

    Args:
        arguments: of the command line.

    Returns:
        The same with the option repeated, as the parser wants it. What follows belongs to the option as long as it
        is a kind of the ledger, or of the form KEY=VALUE with a known key.
    """
    from ..ledger import Outcome, Reason

    fits = {
        "--fail-on": lambda text: text in {*Outcome, *Reason},
        "--set": lambda text: text.partition("=")[0] in (*_OF_ENRICH, *_OF_CONVERSION) and "=" in text,
    }
    out: list[str] = []
    at = 0
    while at < len(arguments):
        word = arguments[at]
        out.append(word)
        at += 1
        if word in fits and at < len(arguments):
            out.append(arguments[at])
            at += 1
            while at < len(arguments) and fits[word](arguments[at]):
                out.extend((word, arguments[at]))
                at += 1
    return out


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "-o", "--output", default="-", show_default=True, metavar="DIR", help="A folder, or - for one line an event."
)
@click.option("--format", "format_", type=click.Choice(["events", "feed"]), default="events", show_default=True)
@click.option("--engine", type=click.Choice(["native", "misp-stix"]), default="native", show_default=True)
@click.option("--source", metavar="NAME", help="The source's name: in titles, tags and derived UUIDs.")
@_NOW
@click.option(
    "--group", default="report", show_default=True, metavar="HOW", help="report, input, day, creator or type:NAME."
)
@click.option(
    "--rules", "rule_files", multiple=True, metavar="FILE", help="A file of rules; may be given several times."
)
@click.option("--ledger", type=click.Path(path_type=Path), metavar="FILE", help="Write what became of everything.")
@click.option(
    "--fail-on", multiple=True, metavar="KIND", help="Exit with 1 when the ledger has this outcome or reason."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of enrich, or default_tlp, labels, uuid_namespace, galaxies, custom, preserve; lists with commas.",
)
def convert(
    files: tuple[str, ...],
    output: str,
    format_: str,
    engine: str,
    source: str | None,
    now: str | None,
    group: str,
    rule_files: tuple[str, ...],
    ledger: Path | None,
    fail_on: tuple[str, ...],
    settings: tuple[str, ...],
) -> int:
    """Convert STIX files, folders, globs or standard input (-) to MISP events. All inputs are one."""
    import orjson

    from ..api import options
    from ..sources.files import Input, expand

    kinds = _kinds(fail_on)
    enrich, conversion = _settings(settings, rule_files)
    chosen = options(now=now, source=source, group=group, **conversion)
    if format_ == "feed" and output == "-":
        raise ConfigError("a feed is a folder: give one with -o")
    inputs = [Input(path, LARGE) for path in expand(files)]

    def put(converted: list[Converted]) -> int:
        if output == "-":
            for row in converted:
                emit_bytes(orjson.dumps({"Event": row.event}))
        else:
            _write(converted, Path(output), format_, chosen.now)
        return len(converted)

    if engine == "native" and sum(given.size for given in inputs) > LARGE:
        from ..large import LargeConversion

        with LargeConversion(chosen, enrich) as large:
            large.read(inputs)
            events = sum(put(converted) for converted in large.converted())
            return _end(large.ledger, events, ledger, kinds)
    from ..api import convert_documents

    result = convert_documents([given.document() for given in inputs], chosen, engine=engine, enrich=enrich)
    return _end(result.ledger, put(result.converted), ledger, kinds)


def _end(ledger: Readable, events: int, file: Path | None, kinds: set[str]) -> int:
    """Write the ledger, say what became of the objects, and give the exit status."""
    if file is not None:
        from ..sinks.folder import make_folder, replacing

        make_folder(file.parent)
        with replacing(file) as out:
            out.writelines(written(ledger))
    count, reasons = ledger.objects, ledger.reasons
    say(
        f"{count} object{'' if count == 1 else 's'}: {counted(ledger.outcomes)}"
        + (f" ({counted(reasons)})" if reasons else "")
    )
    _tell_bad(ledger.entries if ledger.outcomes["invalid"] else (), say)
    say(f"{events} event{'' if events == 1 else 's'}")
    return 1 if ledger.alarming or kinds & ledger.kinds else 0


def _kinds(names: tuple[str, ...]) -> set[str]:
    from ..ledger import Outcome, Reason

    known = {*Outcome, *Reason}
    wanted = {part.strip() for name in names for part in name.split(",") if part.strip()}
    unknown = sorted(wanted - known)
    if unknown:
        raise ConfigError(f"--fail-on: nothing is called {', '.join(unknown)}; kinds are {', '.join(sorted(known))}")
    return wanted


_NUMBERS = ("threat_level", "analysis", "distribution")
_LISTS = ("tags", "labels")
_OF_CONVERSION = ("default_tlp", "labels", "uuid_namespace", "galaxies", "custom", "preserve")
_OF_ENRICH = ("info", *_NUMBERS, "sharing_group", "tags", "publish")


def _settings(pairs: tuple[str, ...], rule_files: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """Read `--set KEY=VALUE`: settings of `enrich`, and of the conversion."""
    from ..enrich import Enrich

    values: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or key not in (*_OF_ENRICH, *_OF_CONVERSION):
            raise ConfigError(f"--set {pair!r}: write KEY=VALUE; keys are {', '.join((*_OF_ENRICH, *_OF_CONVERSION))}")
        value: Any = text
        if key in _LISTS:
            if text.startswith("["):
                raise ConfigError(f"--set {key}: write the values with commas between, as {key}=a,b")
            value = tuple(part.strip() for part in text.split(",") if part.strip())
        elif key in _NUMBERS:
            if not text.isdigit():
                raise ConfigError(f"--set {key}: {text!r} is no number")
            value = int(text)
        elif key == "publish":
            if text.lower() not in ("true", "false"):
                raise ConfigError(f"--set publish: {text!r} is neither true nor false")
            value = text.lower() == "true"
        elif key == "galaxies":
            value = Path(text)
        values[key] = value
    conversion = {key: values.pop(key) for key in _OF_CONVERSION if key in values}
    return Enrich(**values, rules=rule_files), conversion


def _write(converted: list[Converted], folder: Path, format_: str, now: int) -> None:
    from ..sinks.delivery import RESTRICTED, Job, Sink
    from ..sinks.feed import FeedSink
    from ..sinks.files import FilesSink

    sink: Sink = FeedSink(folder) if format_ == "feed" else FilesSink(folder)
    events = [{**row.event, RESTRICTED: True} if row.closed else row.event for row in converted]
    jobs = [Job(event, None, lambda: None, now=now // 1_000_000) for event in events]
    for delivery in sink.deliver(jobs):
        for id_, _, _, target in delivery.notes:
            say(f"{id_ or delivery.event}: {target}")


@click.command()
@_CONFIG
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE…]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing anywhere.")
@click.option("--once", is_flag=True, help="One pass, as for cron (what happens anyway).")
@_NOW
@_JSON
def run(
    config_path: Path, pipelines: tuple[str, ...], dry_run: bool, once: bool, now: str | None, as_json: bool
) -> int:
    """Pull, convert, enrich and deliver. What was done before is not done again."""
    from .. import times
    from ..config import load
    from ..wiring import check_secrets

    del once
    moment = times.microseconds(now) if now is not None else None
    if now is not None and moment is None:
        raise ConfigError(f"--now: {now!r} is no time; write it as 2026-01-31T00:00:00Z")
    import stamina

    stamina.instrumentation.set_on_retry_hooks([])  # our errors say what a retry could not mend
    config = load(config_path)
    check_secrets(config, pipelines)
    return _passes(config, pipelines, moment, dry_run=dry_run, as_json=as_json)


@click.command()
@_CONFIG
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE…]")
@click.option("--dry-run", is_flag=True, help="Show as a diff what would change; write nothing anywhere.")
@_NOW
@_JSON
def replay(config_path: Path, pipelines: tuple[str, ...], dry_run: bool, now: str | None, as_json: bool) -> int:
    """Make and deliver everything in the store again, asking no source: after a change of rules or version."""
    from .. import times
    from ..config import load
    from ..wiring import check_secrets

    moment = times.microseconds(now) if now is not None else None
    if now is not None and moment is None:
        raise ConfigError(f"--now: {now!r} is no time; write it as 2026-01-31T00:00:00Z")
    config = load(config_path)
    check_secrets(config, pipelines)
    return _passes(config, pipelines, moment, dry_run=dry_run, as_json=as_json, again=True)


def _passes(
    config: Config,
    pipelines: tuple[str, ...],
    moment: int | None,
    *,
    dry_run: bool,
    as_json: bool,
    again: bool = False,
) -> int:
    from ..store import Store
    from ..wiring import open_store

    with tempfile.TemporaryDirectory() as empty:
        # a dry run writes nothing, not even an empty store
        fresh = dry_run and not Path(config.store.path).expanduser().exists()
        store = Store(Path(empty) / "dry.db") if fresh else open_store(config)
        return _run(config, store, pipelines, moment, dry_run=dry_run, as_json=as_json, again=again)


def _run(
    config: Config,
    store: Store,
    pipelines: tuple[str, ...],
    moment: int | None,
    *,
    dry_run: bool,
    as_json: bool,
    again: bool,
) -> int:
    import orjson

    from ..pipeline import rehearse
    from ..wiring import make_pipelines

    status_ = 0
    summaries = []
    try:
        for pipeline in make_pipelines(config, store, pipelines, progress=None if as_json else say):
            try:
                summary = rehearse(pipeline, moment, replay=again) if dry_run else pipeline.run(moment, replay=again)
            finally:
                pipeline.close()
            status_ = max(status_, summary.status)
            summaries.append(summary.to_dict())
            if not as_json:
                _report(summary, dry_run)
    finally:
        store.close()
    if as_json:
        emit_bytes(orjson.dumps(summaries, option=orjson.OPT_INDENT_2))
    return status_


def _report(summary: Any, dry_run: bool) -> None:
    """The end of a run, for a person."""
    ledger = summary.ledger
    would = "would be " if dry_run else ""
    emit(f"{summary.pipeline}: {summary.entries} entries in {summary.pages} pages, {summary.changed} new or newer")
    if ledger.objects:
        emit(f"  objects  {counted(ledger.outcomes)}")
        if ledger.reasons:
            emit(f"  reasons  {counted(ledger.reasons)}")
    emit(f"  events   {would}{counted(summary.events)}")
    for sink, delivery in summary.deliveries if dry_run else ():
        if delivery.changes:
            emit(f"  {sink}: {delivery.action} {delivery.event} {delivery.body.get('info', '')}")
            for line in delivery.changes[:_LINES]:
                emit(f"    {line}", colour=_COLOURS.get(line[:1]))
            if len(delivery.changes) > _LINES:
                emit(f"    … and {len(delivery.changes) - _LINES} more; --json has them all")
    for entry in ledger.entries:
        if "target" in entry and entry.get("path", "").find(": ") > 0:
            emit(f"  note     {entry['path']}: {entry['reason']}: {entry['target']}")
    _tell_bad(ledger.entries, emit)
    for error in summary.errors:
        emit(f"  error    {error}")


_SHOWN = 10
_LINES = 40
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


def _tell_bad(entries: Iterable[dict[str, str]], out: Callable[[str], None]) -> None:
    """Say what is no usable STIX, and where it stands."""
    count = 0
    for entry in entries:
        if entry["outcome"] == "invalid":
            count += 1
            if count <= _SHOWN:
                place = " ".join(part for part in (entry.get("target"), entry.get("path"), entry["id"]) if part)
                out(f"  invalid  {place}: {entry['reason']}")
    if count > _SHOWN:
        out(f"  invalid  … and {count - _SHOWN} more; --ledger FILE or --json has them all")


@click.command()
@click.option("-o", "--output", default="demo-out", show_default=True, type=click.Path(path_type=Path))
def demo(output: Path) -> int:
    """Show the whole way on a sample: a TAXII server in this process, a feed folder, and a second run."""
    from ..demo import show

    return show(output, emit)


@click.command()
@click.argument("path", default="stixbridge.toml", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(path: Path, force: bool) -> None:
    """Write a commented configuration to start from."""
    from .template import CONFIGURATION

    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; --force overwrites it")
    try:
        path.write_text(CONFIGURATION)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    emit(f"{path} written. Fill in the URLs, export the secrets it names, then: stixbridge run -c {path} --dry-run")


@click.command()
@_CONFIG
@_JSON
def status(config_path: Path, as_json: bool) -> None:
    """How things stand: collections, deliveries, the last runs."""
    import orjson

    from ..config import load
    from ..lookup import status as look
    from ..wiring import open_store

    config = load(config_path)
    store = open_store(config)
    try:
        found = look(config, store)
    finally:
        store.close()
    if as_json:
        emit_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    emit(f"store {found['store']}")
    for row in found["collections"]:
        emit(f"collection {row['source']} / {row['title'] or row['collection']}")
        emit(f"  polled {row['polled']}  watermark {row['watermark']}  objects of the source {row['objects']}")
        if row["error"]:
            emit(f"  last error: {row['error']}")
    for row in found["pipelines"]:
        state = "never run" if not row["last_run"] else row["last_run"] + ("" if row["finished"] else " (was cut)")
        emit(f"pipeline {row['pipeline']}: last run {state}; events {counted(row['events'])}")
        for error in row["errors"]:
            emit(f"  error: {error}")
    for row in found["deliveries"]:
        emit(f"sink {row['sink']}: {row['events']} events {row['state']}")
    for row in found["rejects"]:
        emit(f"bad entries in {row['source']} / {row['collection']}: {row['count']} {row['reason']}")
    for row in found["notes"]:
        emit(f"notes: {row['count']} {row['reason']}")


@click.command(name="find")
@_CONFIG
@_JSON
@click.argument("what")
def find(config_path: Path, as_json: bool, what: str) -> int:
    """Find a STIX id, a value or a MISP UUID: where it is, and what of it is missing and why."""
    import orjson

    from ..config import load
    from ..lookup import find as look
    from ..wiring import open_store

    config = load(config_path)
    store = open_store(config)
    try:
        found = look(config, store, what)
    finally:
        store.close()
    if as_json:
        emit_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        for row in found:
            _found(row)
        if not found:
            emit(f"nothing in the store is or says {what}")
    return 0 if found else 1


def _found(row: dict[str, Any]) -> None:
    emit(f"{row['id']}  {row['name']}")
    ended = ", revoked" if row["revoked"] else ""
    emit(f"  source {row['source']}, modified {row['modified'] or 'never said'}{ended}")
    for event in row["events"]:
        for sink in event["sinks"]:
            emit(f"  event {event['event']} in {sink['sink']}: {sink['state']}  {sink['info']}")
        for element in event["elements"]:
            emit(f"    {element['kind']} {element['uuid']}  {element['type']} = {element['value'][:120]}")
        for note in event["notes"]:
            emit(f"    note ({note['sink']}): {note['reason']}: {note['target']}")
    for entry in row["touched"]:
        emit(f"  rule {entry['rule']}: {entry['action']}{' (the event)' if entry['uuid'] == entry['event'] else ''}")
    if not row["events"]:
        emit("  in no event")
    for entry in row["missing"]:
        emit(f"  missing {entry.get('path', 'the object')}: {entry.get('reason', entry['outcome'])}")
