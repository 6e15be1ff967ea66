"""The settings of a TAXII server as a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from stixbridge.http import MAX_BYTES
from stixbridge.settings.checks import Check, Count, Duration, Rate, Seconds, Since, Url
from stixbridge.settings.mistakes import near
from stixbridge.settings.sections import AuthSection
from stixbridge.sources.settings import ServerSettings
from stixbridge.sources.taxii.presets import NEEDS, PRESETS

MatchField = Literal["type", "id", "version", "spec_version"]
"""What TAXII can be asked for by `match[…]` (TAXII 2.1, section 3.5)."""


def _preset_problem(value: str) -> str | None:
    if value in PRESETS:
        return None
    return f"{value!r} is not one of {', '.join(PRESETS)}{near(value, PRESETS)}"


Preset = Annotated[str, Check("the name of a preset", _preset_problem, {"enum": list(PRESETS)})]


@dataclass(frozen=True, kw_only=True)
class TaxiiSettings(ServerSettings):
    """A TAXII server.

    Attributes:
        url: discovery, API root or collection.
        preset: a server by name, see [presets](#presets): its settings are defaults here.
        collections: titles, aliases or ids; all readable collections when empty. The server is
            asked once a day which collections it has.
        since: for the first run only: how far back to go, as `5d`, or a time.
        overlap: how long before the watermark a poll starts, since servers stamp objects before
            they can be seen.
        page_size: objects to ask for in a page; the server may give fewer.
        match: what the server is to send: `{ type = ["indicator"], version = ["all"] }`.
        full: ask for everything at every poll, for servers whose `added_after` does not show what
            changed. `stixbridge run --full` does so once.
        rate_limit: `10/10m` sends no more than 10 requests in any 10 minutes of a run; it waits.
        auth: credentials, see [auth](#auth). They go to the host of `url` only.
        timeout: seconds to wait for the server at any one point.
        max_bytes: the most that one answer may hold.
    """

    url: Url
    preset: Preset | None = None
    collections: tuple[str, ...] = ()
    since: Since | None = None
    overlap: Duration = "10m"
    page_size: Count = 1000
    match: Mapping[MatchField, tuple[str, ...]] = field(default_factory=dict)
    full: bool = False
    rate_limit: Rate | None = None
    auth: AuthSection | None = None
    timeout: Seconds = 60.0
    max_bytes: Count = MAX_BYTES

    @classmethod
    def contradictions(cls, changed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """A preset whose operator asks for more."""
        preset = changed.get("preset")
        missing = [name for name in NEEDS.get(str(preset), ()) if name not in changed]
        if missing:
            yield "preset", f"{preset} wants {' and '.join(missing)} of every client"


@dataclass(frozen=True, kw_only=True)
class Taxii20Settings(TaxiiSettings):
    """A TAXII 2.0 server.

    Attributes:
        compare_every: how often the store is compared with the whole manifest. Servers of 2.0 keep
            the time at which they got the first version of an object, so only a comparison finds
            newer versions.
    """

    compare_every: Duration | None = "1d"
