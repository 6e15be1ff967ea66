"""The Traffic Light Protocol: the order of the levels, and their names in markings.

The output is never less restricted than the input. All code that compares or joins levels uses
this module.
"""

from __future__ import annotations

from collections.abc import Iterable

LEVELS = ("clear", "green", "amber", "amber+strict", "red")
"""TLP 2.0, from the least to the most restricted."""

RANK = {level: rank for rank, level in enumerate(LEVELS)}

WIDEST = {"red": 0, "amber+strict": 0, "amber": 1, "green": 3, "clear": 3}
"""Level -> the widest distribution that it allows.

0 is the own organisation, 1 this community, 2 connected communities, 3 all communities.
"""

# TLP 1 calls it white.
_NAMES = {**{level: level for level in LEVELS}, "white": "clear"}

# The fixed marking-definitions of STIX 2.1 (section 7.2.1.4) and of TLP 2.0 (OASIS's extension).
# Feeds refer to them without sending them.
WELL_KNOWN = {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "clear",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "green",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "amber",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "red",
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": "clear",
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "green",
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": "amber",
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": "amber+strict",
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": "red",
    # the one that every OpenCTI has in addition
    "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37": "amber+strict",
}


def tag(level: str) -> str:
    """Return the MISP tag of a level, for example `tlp:amber+strict`."""
    return f"tlp:{level}"


def level_of_name(name: object) -> str | None:
    """Return the level of a name such as `TLP:WHITE`, `tlp:amber+strict` or `red`, or None."""
    if not isinstance(name, str):
        return None
    text = name.strip().lower()
    text = text.removeprefix("tlp").lstrip(":. -")
    return _NAMES.get(text.replace(" ", "+").replace("_", "+"))


def is_tlp_tag(name: str) -> bool:
    """Return whether a tag is in the TLP taxonomy, known level or not (`tlp:ex:chr`)."""
    return name.strip().lower().startswith("tlp:")


def strictest(levels: Iterable[str | None]) -> str | None:
    """Return the most restricted of several levels, or None without any level."""
    best: str | None = None
    for level in levels:
        if level is not None and (best is None or RANK[level] > RANK[best]):
            best = level
    return best
