"""Settings that all sources have, and those that all servers have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from stixbridge import times
from stixbridge.settings.base import Settings
from stixbridge.settings.checks import Duration, Percent, Tlp
from stixbridge.settings.sections import Connection
from stixbridge.sources.window import Window

Vanished = Literal["keep", "tag", "to_ids_off", "delete"]
"""What happens to objects that a server no longer has."""


@dataclass(frozen=True, kw_only=True)
class SourceSettings(Settings):
    """Settings of every source.

    Attributes:
        default_tlp: the TLP level of an event that nothing marks.
        types: the STIX types to let in, all of them when empty. Markings, identities and extension
            definitions always come in.
        max_age: indicators, reports, sightings and the like that have not changed for so long stay
            out, as `90d`.
        min_confidence: objects with a lower `confidence` stay out; objects without `confidence`
            come in.
    """

    default_tlp: Tlp | None = None
    types: tuple[str, ...] = ()
    max_age: Duration | None = None
    min_confidence: Percent = 0

    def window(self) -> Window:
        """Which objects are let in."""
        age = times.duration(self.max_age) if self.max_age is not None else None
        return Window(frozenset(self.types), age, self.min_confidence)

    def arguments(self) -> Mapping[str, Any]:
        """The settings as arguments of the source, without those that the pipeline uses."""
        pipeline = {field.name for field in (*fields(SourceSettings), *_OF_SERVERS)}
        return {name: value for name, value in vars(self).items() if name not in pipeline}


@dataclass(frozen=True, kw_only=True)
class ServerSettings(SourceSettings, Connection):
    """Settings of every server as a source.

    Attributes:
        ask: ask by id for objects that others refer to and that never came, such as members of a
            report from before `since`. The bridge remembers what the server does not have, and does
            not ask for it again.
        vanished: what happens to objects that the server's manifest no longer lists: `keep` leaves
            them, `tag` adds `stixbridge:source="vanished"`, `to_ids_off` treats them as revoked,
            `delete` soft-deletes them. An object that comes back is restored.
        compare_every: how often the store is compared with the whole manifest, which also finds
            newer versions that the server does not announce. Without it: never with `vanished =
            "keep"`, else every `7d`.
    """

    ask: bool = True
    vanished: Vanished = "keep"
    compare_every: Duration | None = None

    def compare_interval(self) -> int | None:
        """Microseconds between two comparisons with the manifest; None for never."""
        every = self.compare_every
        if every is None and self.vanished != "keep":
            every = "7d"
        return times.duration(every) if every is not None else None


_OF_SERVERS = tuple(
    field for field in fields(ServerSettings) if field.name in ServerSettings.__annotations__
)
