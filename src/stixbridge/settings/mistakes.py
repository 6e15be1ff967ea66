"""Mistakes in settings: gathered, so that all of them are reported at once, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""The way to a setting: `("sinks", "misp", "url")`; a number is a position in a list."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        path: the way to the setting.
        text: the mistake and its remedy; never shows a secret.
    """

    path: Path
    text: str

    def __str__(self) -> str:
        """As the Python API reports it: `orgc.uuid: 'x' is not a UUID`."""
        place = dotted(self.path).removeprefix(".")
        return f"{place}: {self.text}" if place else self.text


class Mistakes(list[Mistake]):
    """Takes mistakes while settings are read."""

    def add(self, path: Path, text: str) -> None:
        """Add a mistake."""
        self.append(Mistake(path, text))


def dotted(path: Path) -> str:
    """A path as text: `.sinks.misp.url`, `.pipelines.acme.sinks[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` when a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
