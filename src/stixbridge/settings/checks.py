"""The types of settings that need more than a Python type: durations, TLP levels, URLs.

A dataclass of settings uses them as annotations (`max_tlp: Tlp`, `every: Duration`). A check takes
a value and answers what is wrong with it, or nothing. No check opens a connection or reads a file.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from stixbridge import times, tlp


@dataclass(frozen=True)
class Check:
    """A condition for the values of a type.

    Attributes:
        name: what such a value is called, as "a duration, as `5d`".
        problem: gives the problem with a value, or None.
        schema: what a JSON Schema can say of it.
    """

    name: str
    problem: Callable[[Any], str | None]
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)


def _tlp_problem(value: str) -> str | None:
    if tlp.level_of_name(value) is None:
        return f"{value!r} is not a TLP level; write one of {', '.join(_TLP_TAGS)}"
    return None


def _url_problem(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        return f"not a URL ({error}); write it as https://host/path/"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "not a URL; write it as https://host/path/"
    if parts.username or parts.password:
        return "a URL holds no credentials; use auth or key with a reference to the secret"
    return None


def _duration_problem(value: str) -> str | None:
    try:
        times.duration(value)
    except ValueError as error:
        return str(error)
    return None


def _since_problem(value: str) -> str | None:
    return None if times.microseconds(value) is not None else _duration_problem(value)


def _rate_problem(value: str) -> str | None:
    count, _, span = value.partition("/")
    if not re.fullmatch(r"[1-9]\d{0,5}", count, re.ASCII) or _duration_problem(span):
        return f"{value!r} is not a rate; write requests and a duration, as 10/10m"
    return None


def _uuid_problem(value: str) -> str | None:
    return None if re.fullmatch(_UUID, value) else f"{value!r} is not a UUID"


def _group_problem(value: str) -> str | None:
    if value in GROUPS or value.startswith("type:"):
        return None
    return f"{value!r} is not one of {', '.join(GROUPS)}, type:NAME"


def _share_problem(value: str) -> str | None:
    if re.fullmatch(_SHARE, value, re.ASCII):
        return None
    return f'{value!r} is not a limit; write "10000" or "10%"'


def _tag_problem(value: str) -> str | None:
    if tlp.is_tlp_tag(value) and tlp.level_of_name(value) is None:
        return _tlp_problem(value)
    if not value.strip() or len(value) > _MAX_TAG:
        return f"a tag has 1 to {_MAX_TAG} characters"
    return None


def _template_problem(value: str) -> str | None:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(value) if name is not None]
    except ValueError as error:
        return f"{value!r} is not a template: {error}"
    unknown = [f"{{{name}}}" for name in names if name not in TEMPLATE_NAMES]
    if unknown:
        return f"nothing is called {', '.join(unknown)}; names are {', '.join(TEMPLATE_NAMES)}"
    return None


def _path_problem(value: Path) -> str | None:
    try:
        value.expanduser()
    except RuntimeError as error:
        return f"{str(value)[:100]!r} is not a path ({error})"
    return f"{str(value)[:100]!r} is not a path" if "\0" in str(value) else None


def _positive_problem(value: float) -> str | None:
    return f"{value} is not above 0" if value <= 0 else None


def between(low: int, high: int) -> Check:
    """A check for whole numbers of a range.

    Args:
        low: the lowest.
        high: the highest.
    """
    return Check(
        f"a whole number from {low} to {high}",
        lambda value: None if low <= value <= high else f"{value} is not between {low} and {high}",
        {"minimum": low, "maximum": high},
    )


GROUPS = ("report", "input", "day", "creator")
"""What objects in no report go by; `report` means the default of the place."""

TEMPLATE_NAMES = (
    "report.name",
    "report.id",
    "source.name",
    "event.info",
    "event.date",
    "event.tlp",
    "event.uuid",
)
"""The names that the template of a title may have."""

_TLP_TAGS = tuple(map(tlp.tag, tlp.LEVELS))
_MAX_TAG = 255
_UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_SHARE = r"\d+|\d+(\.\d+)?%"
_DURATION = r"^[0-9]{1,12}[smhdw]$"

Tlp = Annotated[
    str,
    Check(
        "a TLP level, as `tlp:amber`",
        _tlp_problem,
        {"anyOf": [{"enum": list(_TLP_TAGS)}, {"type": "string"}]},
    ),
]
Url = Annotated[str, Check("a URL", _url_problem, {"pattern": "^https?://"})]
Duration = Annotated[str, Check("a duration, as `5d`", _duration_problem, {"pattern": _DURATION})]
Since = Annotated[str, Check("a duration, as `5d`, or a time", _since_problem)]
Rate = Annotated[
    str,
    Check(
        "a rate, as `10/10m`", _rate_problem, {"pattern": "^[1-9][0-9]{0,5}/[0-9]{1,12}[smhdw]$"}
    ),
]
Uuid = Annotated[str, Check("a UUID", _uuid_problem, {"pattern": f"^{_UUID}$"})]
Group = Annotated[
    str,
    Check(
        "`report`, `input`, `day`, `creator` or `type:NAME`",
        _group_problem,
        {"anyOf": [{"enum": list(GROUPS)}, {"pattern": "^type:"}]},
    ),
]
Share = Annotated[
    str,
    Check(
        'a number or a share, as `"10000"` or `"10%"`', _share_problem, {"pattern": f"^({_SHARE})$"}
    ),
]
Tag = Annotated[str, Check("a tag", _tag_problem, {"minLength": 1, "maxLength": _MAX_TAG})]
Template = Annotated[str, Check("a template", _template_problem)]
FilePath = Annotated[Path, Check("a path", _path_problem)]
Count = Annotated[int, Check("a whole number above 0", _positive_problem, {"minimum": 1})]
Seconds = Annotated[float, Check("seconds", _positive_problem, {"exclusiveMinimum": 0})]
Percent = Annotated[int, between(0, 100)]
