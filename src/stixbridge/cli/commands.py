"""The commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stixbridge.cli.options import NOW
from stixbridge.cli.screen import count_of, emit, emit_bytes, say, tell_bad
from stixbridge.errors import ConfigError
from stixbridge.ledger import counted, written

if TYPE_CHECKING:
    from stixbridge.ledger import Readable
    from stixbridge.misp.model import Converted

LARGE = 50_000_000
"""Bytes of input, unpacked, above which `convert` uses a temporary store instead of memory."""


def register(group: click.Group) -> None:
    """Add the commands to the program."""
    from stixbridge.cli.rules import rules
    from stixbridge.cli.run import replay, run, undo
    from stixbridge.cli.upkeep import backup, dead_letters, find, restore, status
    from stixbridge.cli.values import overlaps, serve, suppress

    for command in (
        convert,
        run,
        replay,
        undo,
        rules,
        demo,
        init,
        schema,
        status,
        find,
        dead_letters,
        backup,
        restore,
        overlaps,
        suppress,
        serve,
    ):
        group.add_command(command)


def spread(arguments: list[str]) -> list[str]:
    """Let `--fail-on` and `--set` take several values, as in `--fail-on marking dropped`.

    Args:
        arguments: of the command line.

    Returns:
        The same with the option repeated, as the parser wants it. What follows belongs to the
        option as long as it is a kind of the ledger, or of the form KEY=VALUE with a known key.
    """
    from stixbridge.ledger import Outcome, Reason

    fits = {
        "--fail-on": lambda text: text in {*Outcome, *Reason},
        "--set": lambda text: (
            text.partition("=")[0] in (*_OF_ENRICH, *_OF_CONVERSION) and "=" in text
        ),
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
    "-o",
    "--output",
    default="-",
    show_default=True,
    metavar="DIR",
    help="A folder; - writes each event as a line to standard output.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["events", "feed"]),
    default="events",
    show_default=True,
    help="Files of events, or a MISP feed.",
)
@click.option(
    "--engine",
    type=click.Choice(["native", "misp-stix"]),
    default="native",
    show_default=True,
    help="The converter; misp-stix is the official one (extra misp-stix).",
)
@click.option(
    "--source",
    metavar="NAME",
    help="The name of the source: it stands in titles and tags, and is part of derived UUIDs.",
)
@NOW
@click.option(
    "--group",
    default="report",
    show_default=True,
    metavar="HOW",
    help="How objects in no report are collected: report, input, day, creator or type:NAME.",
)
@click.option(
    "--rules",
    "rule_files",
    multiple=True,
    metavar="FILE",
    help="A file of rules; can be repeated.",
)
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a ledger of every object to this file.",
)
@click.option(
    "--fail-on",
    multiple=True,
    metavar="KIND",
    help="Exit with 1 when the ledger has this outcome or reason; can be repeated.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of enrich, or default_tlp, labels, uuid_namespace, galaxies, custom or"
    " preserve; lists with commas.",
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
    """Convert STIX files, folders, globs or standard input (-) to MISP events.

    All inputs are converted together. Objects that no report mentions are collected in one event.
    """
    import orjson

    from stixbridge.api import options
    from stixbridge.sources.files import Input, expand

    kinds = _kinds(fail_on)
    enrich, conversion = _settings(settings, rule_files)
    chosen = options(now=now, source=source, group=group, **conversion)
    if format_ == "feed" and output == "-":
        raise ConfigError("--format feed writes a folder: name it with -o")
    inputs = [Input(path, LARGE) for path in expand(files)]

    def put(converted: list[Converted]) -> int:
        if output == "-":
            for row in converted:
                emit_bytes(orjson.dumps({"Event": row.event}))
        else:
            _write(converted, Path(output), format_, chosen.now)
        return len(converted)

    if engine == "native" and sum(given.size for given in inputs) > LARGE:
        from stixbridge.pipeline.chunked import LargeConversion

        with LargeConversion(chosen, enrich) as large:
            large.read(inputs)
            events = sum(put(converted) for converted in large.converted())
            return _end(large.ledger, events, ledger, kinds)
    from stixbridge.api import convert_documents

    result = convert_documents(
        [given.document() for given in inputs], chosen, engine=engine, enrich=enrich
    )
    return _end(result.ledger, put(result.converted), ledger, kinds)


def _end(ledger: Readable, events: int, file: Path | None, kinds: set[str]) -> int:
    """Write the ledger and the counts; the exit status."""
    if file is not None:
        from stixbridge.sinks.folder import make_folder, replacing

        make_folder(file.parent)
        with replacing(file) as out:
            out.writelines(written(ledger))
    reasons = f" ({counted(ledger.reasons)})" if ledger.reasons else ""
    say(f"{count_of(ledger.objects, 'object')}: {counted(ledger.outcomes)}{reasons}")
    tell_bad(ledger.entries if ledger.outcomes["invalid"] else (), say)
    say(count_of(events, "event"))
    return 1 if ledger.alarming or kinds & ledger.kinds else 0


def _kinds(names: tuple[str, ...]) -> set[str]:
    from stixbridge.ledger import Outcome, Reason

    known = {*Outcome, *Reason}
    wanted = {part.strip() for name in names for part in name.split(",") if part.strip()}
    unknown = sorted(wanted - known)
    if unknown:
        raise ConfigError(
            f"--fail-on: no outcome or reason is called {', '.join(unknown)};"
            f" there are {', '.join(sorted(known))}"
        )
    return wanted


_OF_CONVERSION = ("default_tlp", "labels", "uuid_namespace", "galaxies", "custom", "preserve")
_OF_ENRICH = (
    "info",
    "threat_level",
    "analysis",
    "distribution",
    "sharing_group",
    "tags",
    "publish",
)


def _settings(pairs: tuple[str, ...], rule_files: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """Read `--set KEY=VALUE`: settings of `enrich`, and of the conversion."""
    from stixbridge.conversion.settings import ConvertSettings
    from stixbridge.enrich import Enrich

    sections = (Enrich.KIND, ConvertSettings.KIND)
    kinds = {setting.name: setting.kind for each in sections for setting in each.settings}
    values: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or key not in (*_OF_ENRICH, *_OF_CONVERSION):
            raise ConfigError(
                f"--set {pair!r}: write KEY=VALUE;"
                f" keys are {', '.join((*_OF_ENRICH, *_OF_CONVERSION))}"
            )
        if text.startswith("["):
            raise ConfigError(f"--set {key}: write the values with commas between, as {key}=a,b")
        values[key] = kinds[key].from_text(text)
    conversion = {key: values.pop(key) for key in _OF_CONVERSION if key in values}
    return Enrich(**values, rules=rule_files), conversion


def _write(converted: list[Converted], folder: Path, format_: str, now: int) -> None:
    from stixbridge.envelopes import Wanted
    from stixbridge.sinks.base import Sink
    from stixbridge.sinks.delivery import Job
    from stixbridge.sinks.feed.sink import FeedSink
    from stixbridge.sinks.files import FilesSink

    sink: Sink = FeedSink(folder) if format_ == "feed" else FilesSink(folder)
    jobs = [
        Job(
            Wanted.of(row.event, restricted=row.closed, restricted_parts=row.restricted),
            None,
            now=now // 1_000_000,
        )
        for row in converted
    ]
    for delivery in sink.deliver(jobs):
        for id_, _, _, target in delivery.notes:
            say(f"{id_ or delivery.event}: {target}")


@click.command()
@click.option(
    "-o",
    "--output",
    default="demo-out",
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to write to.",
)
def demo(output: Path) -> int:
    """Show everything on a sample: a TAXII server in this process, a feed folder, and two runs."""
    from stixbridge.demo import show

    return show(output, emit)


@click.command()
def schema() -> None:
    """Print a JSON Schema of the configuration, for editors that complete and check TOML."""
    import orjson

    from stixbridge.config.schema import schema as made

    emit_bytes(orjson.dumps(made(), option=orjson.OPT_INDENT_2))


@click.command()
@click.argument("path", default="stixbridge.toml", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def init(path: Path, force: bool) -> None:
    """Write an example of a configuration, with comments."""
    from stixbridge.cli.template import CONFIGURATION

    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; --force overwrites it")
    try:
        path.write_text(CONFIGURATION)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    emit(f"{path} written. Fill in the URLs and export the secrets that it names. Then:")
    emit(f"  stixbridge run -c {path} --dry-run")
