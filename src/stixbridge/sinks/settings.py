"""Settings that all sinks have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge.settings.base import Settings
from stixbridge.settings.checks import Tlp


@dataclass(frozen=True, kw_only=True)
class SinkSettings(Settings):
    """Settings of every sink; a sink adds its own.

    Attributes:
        max_tlp: events and elements that are marked more strictly stay out of the sink, and are
            withdrawn where they were delivered. So is what carries a marking that is not a TLP
            level. Without it, there is no limit.
    """

    max_tlp: Tlp | None = None

    @property
    def describes_unknown(self) -> bool:
        """Whether events describe actors and malware that no galaxy knows, for this sink."""
        return False

    def arguments(self) -> Mapping[str, Any]:
        """The settings as arguments of the sink's constructor."""
        return vars(self)
