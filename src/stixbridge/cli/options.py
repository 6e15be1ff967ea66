"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

from stixbridge.errors import ConfigError

CONFIG = click.option(
    "-c",
    "--config",
    "config_path",
    default="stixbridge.toml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The configuration file.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
NOW = click.option(
    "--now",
    metavar="TIME",
    help="The reference time, as 2026-01-31T00:00:00Z; it decides what has expired.",
)
PIPELINES = click.argument("pipelines", nargs=-1, metavar="[PIPELINE…]")


def moment(now: str | None) -> int | None:
    """The reference time that `--now` gives, microseconds.

    Raises:
        ConfigError: when it is not a time.
    """
    from stixbridge import times

    found = times.microseconds(now) if now is not None else None
    if now is not None and found is None:
        raise ConfigError(f"--now: {now!r} is not a time; write it as 2026-01-31T00:00:00Z")
    return found
