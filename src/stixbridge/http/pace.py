"""Waits: those that keep requests below a rate, and those that a server asks for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from stixbridge import times
from stixbridge.stopping import wait as wait_unless_stopped

MAX_WAIT = 300.0
"""The longest wait in seconds that a run sits out; a longer one is left to a later run."""
_WAIT_HEADERS = ("retry-after", "x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset")
_AN_EPOCH = 1_000_000_000
_IN_MILLISECONDS = 100_000_000_000


def pause(seconds: float) -> None:
    """Wait, unless the process is asked to end; the one place that sleeps."""
    wait_unless_stopped(seconds)


def rate(text: str) -> tuple[int, float]:
    """Read `10/10m` as (requests, seconds).

    Raises:
        ValueError: for anything else.
    """
    count, slash, span = text.partition("/")
    if not slash or not (count.isascii() and count.isdigit()) or len(count) > 6 or int(count) < 1:
        raise ValueError(f"{text!r} is not a rate; write requests and a duration, as 10/10m")
    return int(count), times.duration(span) / 1_000_000


class Pace:
    """Keeps requests below a rate: no more than so many in any span of time.

    Args (of the constructor):
        limit: as `10/10m`.
    """

    def __init__(self, limit: str) -> None:
        self._count, self._seconds = rate(limit)
        self._sent: deque[float] = deque(maxlen=self._count)
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Wait until a request may be sent."""
        with self._lock:
            if len(self._sent) == self._count:
                left = self._sent[0] + self._seconds - time.time()
                if left > 0:
                    pause(min(left, self._seconds))
            self._sent.append(time.time())

    def remember(self, moments: Iterable[float]) -> None:
        """Count requests that were sent before: by an earlier run, seconds since 1970."""
        with self._lock:
            known = sorted({*self._sent, *moments})
            now = time.time()
            # a clock that was put back must not stop requests for long
            self._sent.extend(min(moment, now) for moment in known)

    @property
    def sent(self) -> list[float]:
        """When the last requests were sent, seconds since 1970."""
        with self._lock:
            return list(self._sent)


_PACES: dict[tuple[str, str], Pace] = {}
_PACES_LOCK = threading.Lock()


def pace_of(origin: str, limit: str) -> Pace:
    """One pace for all connections to a server: several pipelines may ask it.

    Raises:
        ValueError: when the limit is not a rate.
    """
    with _PACES_LOCK:
        return _PACES.setdefault((origin, limit), Pace(limit))


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait; None where it does not.

    `Retry-After` (RFC 9110, section 10.2.3) goes before the headers of rate limits. Each may be
    seconds, seconds since 1970 or a date: servers differ.
    """
    for name in _WAIT_HEADERS:
        wait = _seconds(headers.get(name))
        if wait is not None:
            return wait
    return None


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return _seconds_until(text)
    if not 0 <= number < float("inf"):
        return 0.0 if number < 0 else None
    if number >= _IN_MILLISECONDS:
        number /= 1000
    return max(0.0, number - time.time()) if number >= _AN_EPOCH else number


def _seconds_until(text: str) -> float | None:
    moment = times.microseconds(text.strip())
    if moment is not None:
        return max(0.0, moment / 1_000_000 - time.time())
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
