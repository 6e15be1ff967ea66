"""What a person sees. Names in documents and server answers are hostile: no control character reaches the terminal."""

from __future__ import annotations

import sys

import click


def shown(text: object) -> str:
    """A text fit for a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in str(text))


def say(text: str) -> None:
    """A message: on standard error, so that standard output is the result's."""
    click.echo(shown(text), err=True)


def complain(text: str) -> None:
    """An error."""
    click.echo(shown(f"stixbridge: {text}"), err=True)


def emit(text: str) -> None:
    """A result, on standard output."""
    click.echo(shown(text))


def emit_bytes(data: bytes) -> None:
    """A result in bytes, one line, on standard output."""
    sys.stdout.buffer.write(data + b"\n")
