"""Settings that public servers are known to need: defaults of a source that names one as its `preset`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "mitre-attack": {
        "url": "https://attack-taxii.mitre.org/api/v21/",
        "rate_limit": "10/10m",
        # `added_after` and the headers go by `created`: what changed is never returned
        "full": True,
        "ask": False,
    },
    "opencti": {"page_size": 500},
    "cisa-ais": {"needs": ("cert",)},
    "ibm-xforce": {"type": "taxii20", "needs": ("auth",)},
    "recorded-future": {"needs": ("auth",)},
    "eclecticiq": {"needs": ("auth",)},
    "kaspersky": {"needs": ("auth",)},
    "crowdsec": {"needs": ("auth",)},
    "cyware": {"rate_limit": "60/1m", "needs": ("auth",)},
    "socdefenders": {"needs": ("auth",)},
}
"""Settings by preset; `needs` names what its operator asks of every client, told when it is missing."""


def with_preset(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a source with what its preset adds; its own go first.

    Args:
        table: `[sources.NAME]`.
    """
    preset = PRESETS.get(str(table.get("preset")), {})
    return {**{key: value for key, value in preset.items() if key != "needs"}, **table}


def needs(preset: str | None) -> tuple[str, ...]:
    """Settings that a preset's operator asks of every client."""
    return tuple(PRESETS.get(preset or "", {}).get("needs", ()))
