"""What a conversion depends on besides its input; nothing else changes its output."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Settings of one conversion.

    Attributes:
        now: the reference time, microseconds; decides what has expired.
        source: the name of the source; names events and spaces of tags, and is part of derived
            UUIDs.
        group: what is in no report goes by `input`, `day`, `creator` or `type:NAME`.
        default_tlp: the level of what carries no marking.
        uuid_namespace: all event UUIDs are derived in this namespace.
        labels: labels that become tags; `*` takes all.
        custom: `drop` what no table knows, make objects of custom `objects`, or tell custom
            properties as well (`all`).
        preserve: `source` attaches the original objects to each event.
        galaxies: a file of tags that go before the galaxies.
        input_name: stands for the source's name where there is none (a bundle's id).
        delivered: STIX ids that were delivered before: revoked and expired ones stay, without
            `to_ids`.
        assigned: day of the collecting event that an id was given before; kept.
        date_added: when the server got an object, microseconds; the day of what has no `created`.
        containers: ids that make events, where not all of them shall; the others are there to be
            referred to.
        collect: ids that may go to a collecting event, where not all may.
        placed: events that an id is in already, beyond this conversion.
        keep_expired: whether expired indicators that were never delivered are kept, without
            `to_ids`.
        describe: whether what no galaxy knows is described as clusters.
    """

    now: int
    source: str | None = None
    group: str = "input"
    default_tlp: str | None = None
    uuid_namespace: str | None = None
    labels: tuple[str, ...] = ("*",)
    custom: str = "objects"
    preserve: str = "none"
    galaxies: Path | None = None
    input_name: str | None = None
    delivered: Container[str] = frozenset()
    assigned: Mapping[str, str] = field(default_factory=dict)
    date_added: Mapping[str, int] = field(default_factory=dict)
    containers: Container[str] | None = None
    collect: Container[str] | None = None
    placed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    keep_expired: bool = False
    describe: bool = False

    @property
    def name(self) -> str:
        """How the source is called in texts."""
        return self.source or "STIX"

    @cached_property
    def tag_space(self) -> str:
        """The name space of tags that carry the producer's own words."""
        kept = "".join(
            char if char.isalnum() or char in "-_." else "-" for char in self.name.lower()
        )
        return kept.strip("-") or "stix"
