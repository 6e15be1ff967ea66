"""Converts STIX timestamps (STIX 2.1, section 3.13) to microseconds since 1970 in UTC, and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@lru_cache(maxsize=65536)
def microseconds(text: str) -> int | None:
    """Read a timestamp.

    Real data have offsets, missing fractions and missing zones; all are accepted.

    Args:
        text: RFC 3339 text; without a zone it counts as UTC.

    Returns:
        Microseconds since the epoch, or None if the text is not a timestamp.
    """
    plain = text.strip().upper()
    leap = _LEAP.fullmatch(plain)
    if leap is not None:  # a leap second; it counts as the second after it
        plain = f"{leap[1]}:59{leap[2]}"
    if _EPOCH_TEXT.fullmatch(plain):
        return int(plain) * (1_000_000 if len(plain) == _SECONDS else 1_000)
    try:
        moment = datetime.fromisoformat(plain)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return (moment - _EPOCH) // _MICROSECOND + (1_000_000 if leap is not None else 0)
    except (ValueError, OverflowError):
        return None


_LEAP = re.compile(
    r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}):60((?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?)", re.ASCII
)
_EPOCH_TEXT = re.compile(r"\d{10}|\d{13}", re.ASCII)
"""Seconds or milliseconds since 1970, as some producers write them; no date has this form."""
_SECONDS = 10


def read(value: object) -> int | None:
    """Read a timestamp from a value of any JSON type; see `microseconds`."""
    return microseconds(value) if isinstance(value, str) and len(value) <= 64 else None


def past(value: object, now: int) -> int | None:
    """`read` for a time that something happened at.

    None for one before 1970 or after `now`, which nobody meant.

    Args:
        value: of any JSON type; Go and .NET write the year 1 where they have no time.
        now: microseconds.
    """
    moment = read(value)
    return moment if moment is not None and 0 <= moment <= now else None


@lru_cache(maxsize=65536)
def to_text(moment: int) -> str:
    """Write a moment as all servers accept it: UTC, microseconds, `Z` (TAXII 2.1, section 3.1)."""
    return f"{_EPOCH + timedelta(microseconds=moment):%Y-%m-%dT%H:%M:%S.%f}Z"


@lru_cache(maxsize=65536)
def to_day(moment: int) -> str:
    """Return the day of a moment in UTC, as `YYYY-MM-DD`."""
    return f"{_EPOCH + timedelta(microseconds=moment):%Y-%m-%d}"


def now() -> int:
    """Read the clock. Public functions call this once and pass the moment on."""
    return (datetime.now(UTC) - _EPOCH) // _MICROSECOND


_DIGITS = 12
_LONGEST = 50 * 366 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> int:
    """Read `5d`, `12h`, `90m`, `30s`, `2w` as microseconds.

    Raises:
        ValueError: the text has another form.
    """
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit()) or unit not in _UNITS:
        raise ValueError(
            f"{text[:40]!r} is not a duration; write a number and one of s, m, h, d, w, as in 5d"
        )
    if len(number) > _DIGITS or int(number) * _UNITS[unit] > _LONGEST:
        raise ValueError(f"{text[:40]!r} is over 50 years")
    return int(number) * _UNITS[unit] * 1_000_000
