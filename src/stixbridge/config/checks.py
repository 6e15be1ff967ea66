"""What the value of a setting may be: one table of checks, used by the configuration and by the Python API.

A check takes a value and answers what is wrong with it, or nothing. None opens a connection or a file.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from stixbridge import times, tlp

GROUPS = ("report", "input", "day", "creator")
"""What objects in no report go by; `report` means the default of the place."""

CUSTOM = ("drop", "objects", "all")
"""What becomes of types and properties that no table knows."""

PRESERVE = ("none", "source")
"""Whether an event carries the STIX objects behind it."""

MATCH = ("type", "id", "version", "spec_version")
"""What TAXII can be asked for by `match[…]`."""

VANISHED = ("keep", "tag", "to_ids_off", "delete")
"""What becomes of objects that a server has no longer."""

ENGINES = ("native", "misp-stix")
DELETED = ("respect", "restore")
"""What becomes of a part that an analyst deleted and the source changes."""

CONFLICTS = ("info", "date", "threat_level_id", "analysis", "distribution", "to_ids", "comment", "category",
             "first_seen", "last_seen", "disable_correlation", "name", "content")  # fmt: skip
"""Fields of which can be said whose value stands, `ours` or `theirs`."""

FOREIGN = ("skip", "adopt", "extend")
"""What becomes of an event that is in MISP and not ours."""

EMPTY = ("keep", "delete")
"""What becomes of an event that nothing is in any more."""

RECOGNISE = ("uuid", "title")
"""How an event of someone else is recognised."""

MODES = ("api", "upload_stix")

CLUSTERS = ("tags", "private", "none")
"""What becomes of actors, malware and techniques that no galaxy knows."""

TRUST = ("own", "any", "none")
"""Whose false-positive sightings count."""


def value_problems(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every value of a table that its type allows and its meaning doesn't: the setting, and what is wrong."""
    found: list[tuple[str, str]] = []
    for key, check in _CHECKS.items():
        value = table.get(key)
        if isinstance(value, str):
            text = check(value)
            if text:
                found.append((key, text))
    match = table.get("match")
    for key in match if isinstance(match, dict) else ():
        if key not in MATCH:
            found.append(
                (
                    f"match.{key}",
                    f"{key!r} is none of {', '.join(MATCH)}{near(key, dict.fromkeys(MATCH))}",
                )
            )
    confidence = table.get("min_confidence")
    if isinstance(confidence, int) and not 0 <= confidence <= 100:
        found.append(("min_confidence", f"{confidence} is not between 0 and 100"))
    if table.get("mode") == "upload_stix":
        for key in ("max_tlp", "split", "clusters", "empty", "recognise"):
            if key in table:
                found.append(
                    (key, 'not with mode = "upload_stix", which hands the STIX over as it is')
                )
    orgc = table.get("orgc")
    if (
        isinstance(orgc, dict)
        and isinstance(orgc.get("uuid"), str)
        and (text := _uuid_problem(orgc["uuid"]))
    ):
        found.append(("orgc.uuid", text))
    if "gnupg_home" in table and "sign" not in table:
        found.append(("gnupg_home", "of no use without sign"))
    conflicts = table.get("conflicts")
    for key, value in conflicts.items() if isinstance(conflicts, dict) else ():
        if key not in CONFLICTS:
            found.append((f"conflicts.{key}", f"{key!r} is none of {', '.join(CONFLICTS)}"))
        if value not in ("ours", "theirs"):
            found.append((f"conflicts.{key}", f"{value!r} is neither ours nor theirs"))
    guard = table.get("guard")
    for key, value in guard.items() if isinstance(guard, dict) else ():
        if isinstance(value, str) and not re.fullmatch(r"\d+|\d+(\.\d+)?%", value, re.ASCII):
            found.append((f"guard.{key}", f'{value!r} is no limit; write "10000" or "10%"'))
    for key in (
        "page_size",
        "timeout",
        "max_bytes",
        "chunk",
        "max_request",
        "concurrency",
        "split",
    ):
        value = table.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            found.append((key, f"{value} is not above 0"))
    return found


def _tlp_problem(value: str) -> str | None:
    if tlp.level_of_name(value) is None:
        return f"{value!r} is no TLP level; write one of {', '.join(map(tlp.tag, tlp.LEVELS))}"
    return None


def _url_problem(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        return f"no URL ({error}); write it as https://host/path/"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "no URL; write it as https://host/path/"
    if parts.username or parts.password:
        return "a URL holds no credentials; use auth or key with a reference to the secret"
    return None


def _span_problem(value: str) -> str | None:
    if times.microseconds(value) is not None:
        return None
    try:
        times.duration(value)
    except ValueError as error:
        return str(error)
    return None


def _duration_problem(value: str) -> str | None:
    try:
        times.duration(value)
    except ValueError as error:
        return str(error)
    return None


def _rate_problem(value: str) -> str | None:
    count, _, span = value.partition("/")
    if not re.fullmatch(r"[1-9]\d{0,5}", count, re.ASCII) or _duration_problem(span):
        return f"{value!r} is no rate; write requests and a duration, as 10/10m"
    return None


def _group_problem(value: str) -> str | None:
    return (
        None
        if value in GROUPS or value.startswith("type:")
        else f"{value!r} is none of {', '.join(GROUPS)}, type:NAME"
    )


def _one_of(*known: str) -> Callable[[str], str | None]:
    return lambda value: (
        None
        if value in known
        else f"{value!r} is none of {', '.join(known)}{near(value, dict.fromkeys(known))}"
    )


def _uuid_problem(value: str) -> str | None:
    return (
        None
        if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value)
        else f"{value!r} is no UUID"
    )


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "url": _url_problem,
    "default_tlp": _tlp_problem,
    "max_tlp": _tlp_problem,
    "since": _span_problem,
    "overlap": _duration_problem,
    "max_age": _duration_problem,
    "compare_every": _duration_problem,
    "every": _duration_problem,
    "expired_after": _duration_problem,
    "jitter": _duration_problem,
    "history": _duration_problem,
    "rate_limit": _rate_problem,
    "vanished": _one_of(*VANISHED),
    "proxy": _url_problem,
    "group": _group_problem,
    "custom": _one_of(*CUSTOM),
    "preserve": _one_of(*PRESERVE),
    "engine": _one_of(*ENGINES),
    "mode": _one_of(*MODES),
    "foreign": _one_of(*FOREIGN),
    "deleted": _one_of(*DELETED),
    "clusters": _one_of(*CLUSTERS),
    "empty": _one_of(*EMPTY),
    "recognise": _one_of(*RECOGNISE),
    "false_positives": _one_of(*TRUST),
    "uuid_namespace": _uuid_problem,
}

TEMPLATE_NAMES = (
    "report.name",
    "report.id",
    "source.name",
    "event.info",
    "event.date",
    "event.tlp",
    "event.uuid",
)
"""What the template of a title may name."""

_MAX_TAG = 255


def enrich_problems(settings: Mapping[str, Any]) -> list[str]:
    """Every mistake in `enrich` settings that types don't show."""
    found: list[str] = []
    for name, low, high in (("threat_level", 1, 4), ("analysis", 0, 2), ("distribution", 0, 3)):
        value = settings.get(name)
        if isinstance(value, int) and not low <= value <= high:
            found.append(f"{name} is {value}; it goes from {low} to {high}")
    info = settings.get("info")
    if isinstance(info, str):
        found.extend(_template_problems(info))
    tags = settings.get("tags")
    if isinstance(tags, str):
        found.append(f"tags: a list is needed, as [{tags!r}]")
    for tag in tags if isinstance(tags, list | tuple) else ():
        if not isinstance(tag, str):
            continue
        if tlp.is_tlp_tag(tag) and tlp.level_of_name(tag) is None:
            found.append(
                f"tags: {tag!r} is no TLP level; write one of {', '.join(map(tlp.tag, tlp.LEVELS))}"
            )
        if not tag.strip() or len(tag) > _MAX_TAG:
            found.append(f"tags: a tag has 1 to {_MAX_TAG} characters")
    return found


def _template_problems(template: str) -> list[str]:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        return [f"info: {template!r} is no template: {error}"]
    return [
        f"info: nothing is called {{{name}}}; names are {', '.join(TEMPLATE_NAMES)}"
        for name in names
        if name not in TEMPLATE_NAMES
    ]


def near(name: str, known: Mapping[str, Any]) -> str:
    """`; did you mean …?` when a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
