"""Whether the process has been asked to end; looked at between pages and events, and while waiting."""

from __future__ import annotations

import threading

from stixbridge.errors import StixbridgeError

_REQUESTED = threading.Event()


class Stopped(StixbridgeError):
    """Work was left because the process has been asked to end; the next run goes on with it."""

    exit_status = 130

    def __init__(self) -> None:
        super().__init__("stopped; nothing is lost, the next run goes on")


def request() -> None:
    """Ask all work to end at its next safe point."""
    _REQUESTED.set()


def withdraw() -> None:
    """Let work go on: for a process that is used again."""
    _REQUESTED.clear()


def check() -> None:
    """Raise where the process has been asked to end.

    Raises:
        Stopped: then.
    """
    if _REQUESTED.is_set():
        raise Stopped


def wait(seconds: float) -> None:
    """Wait, and no longer than until the process is asked to end.

    Raises:
        Stopped: then.
    """
    if _REQUESTED.wait(seconds):
        raise Stopped
