"""Output for a person.

Names in documents and answers of servers are hostile: no control character reaches the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click

from stixbridge.errors import ConfigError


def shown(text: object) -> str:
    """A text fit for a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in str(text))


def say(text: str) -> None:
    """A message: on standard error, so that standard output is the result's."""
    click.echo(shown(text), err=True)


def complain(text: str) -> None:
    """An error."""
    click.echo(shown(f"stixbridge: {text}"), err=True)


class ReaderGone(Exception):
    """The reader of our output has gone."""


@contextmanager
def _output() -> Iterator[None]:
    """Errors of standard output in words.

    Raises:
        ReaderGone: when its reader has gone.
        ConfigError: when it can't be written for another reason, as a full disk.
    """
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise ConfigError(f"standard output: {error.strerror or error}") from None


def emit(text: str, *, colour: str | None = None) -> None:
    """A result, on standard output; in colour where that is a terminal."""
    with _output():
        click.echo(click.style(shown(text), fg=colour) if colour else shown(text))


def emit_bytes(data: bytes) -> None:
    """A result in bytes, one line, on standard output."""
    with _output():
        sys.stdout.buffer.write(data + b"\n")


def finish() -> None:
    """Write out what is still on its way to standard output; errors as for `emit`."""
    with _output():
        sys.stdout.flush()


def count_of(count: int, noun: str, plural: str = "") -> str:
    """`1 page`, `2 pages`.

    Args:
        count: how many.
        noun: for one.
        plural: for several, where that is not the noun with an s.
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


_SHOWN = 10


def tell_bad(entries: Iterable[dict[str, str]], out: Callable[[str], None]) -> None:
    """List entries that are not usable STIX, and where they stand."""
    count = 0
    for entry in entries:
        if entry["outcome"] == "invalid":
            count += 1
            if count <= _SHOWN:
                place = " ".join(
                    part for part in (entry.get("target"), entry.get("path"), entry["id"]) if part
                )
                out(f"  invalid  {place}: {entry['reason']}")
    if count > _SHOWN:
        out(f"  invalid  … and {count - _SHOWN} more; --ledger FILE or --json lists them all")
