"""Presets: the settings that known servers need, as defaults of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.settings.registry import SOURCES

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "mitre-attack": {
        "url": "https://attack-taxii.mitre.org/api/v21/",
        "rate_limit": "10/10m",
        # `added_after` and the headers go by `created`: what changed is never returned
        "full": True,
        "ask": False,
    },
    "opencti": {"page_size": 500},
    "cisa-ais": {},
    "ibm-xforce": {"type": "taxii20"},
    "recorded-future": {},
    "eclecticiq": {},
    "kaspersky": {},
    "crowdsec": {},
    "cyware": {"rate_limit": "60/1m"},
    "socdefenders": {},
}
"""Settings by preset."""

NEEDS: Mapping[str, tuple[str, ...]] = {
    "cisa-ais": ("cert",),
    "ibm-xforce": ("auth",),
    "recorded-future": ("auth",),
    "eclecticiq": ("auth",),
    "kaspersky": ("auth",),
    "crowdsec": ("auth",),
    "cyware": ("auth",),
    "socdefenders": ("auth",),
}
"""Settings that the operator of a server asks of every client, by preset."""

SOURCES.add_presets(PRESETS)
