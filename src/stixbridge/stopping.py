"""A request to end the process. Work checks it between pages and events, and while it waits."""

from __future__ import annotations

import threading

from stixbridge.errors import StixbridgeError

_REQUESTED = threading.Event()


class Stopped(StixbridgeError):
    """Work stopped because the process was asked to end; the next run continues it."""

    exit_status = 130

    def __init__(self) -> None:
        super().__init__("stopped; nothing is lost, the next run continues")


def request() -> None:
    """Ask all work to end at its next safe point."""
    _REQUESTED.set()


def withdraw() -> None:
    """Cancel the request, so that the process can be used again."""
    _REQUESTED.clear()


def check() -> None:
    """Check whether the process was asked to end.

    Raises:
        Stopped: it was.
    """
    if _REQUESTED.is_set():
        raise Stopped


def wait(seconds: float) -> None:
    """Wait for a time, or until the process is asked to end.

    Raises:
        Stopped: it was.
    """
    if _REQUESTED.wait(seconds):
        raise Stopped
