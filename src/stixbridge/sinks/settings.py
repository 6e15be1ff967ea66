"""Settings that all sinks have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge.settings.base import Settings


@dataclass(frozen=True, kw_only=True)
class SinkSettings(Settings):
    """What every sink has: nothing yet; a sink adds its own."""

    @property
    def describes_unknown(self) -> bool:
        """Whether the sink makes something of actors and malware that no galaxy knows, so that events describe them."""
        return False

    def arguments(self) -> Mapping[str, Any]:
        """The settings as arguments of the sink's constructor."""
        return vars(self)
