"""The reviewed file: each key of a difference with its counts, an example and why it is one."""

import json
from pathlib import Path
from typing import Any

from .compare import Differences, Key

PATH = Path(__file__).with_name("differences.json")


def read() -> dict[Key, dict[str, Any]]:
    """The entries by key.

    Raises:
        ValueError: when a key stands twice.
    """
    rows = json.loads(PATH.read_bytes()) if PATH.exists() else []
    entries = {(row["stix_type"], row["property"], row["misp"], row["side"]): row for row in rows}
    if len(entries) != len(rows):
        raise ValueError(f"{PATH.name}: a key stands twice")
    return entries


def write(cases: Differences, corpora: Differences, reasons: dict[Key, str]) -> None:
    rows = [
        {
            "stix_type": key[0],
            "property": key[1],
            "misp": key[2],
            "side": key[3],
            "count": corpora.count[key],
            "cases": cases.count[key],
            "example": corpora.example.get(key) or cases.example[key],
            "reason": reasons.get(key, ""),
        }
        for key in sorted(cases.count.keys() | corpora.count.keys())
    ]
    text = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    PATH.write_text(f"[\n{text}\n]\n", encoding="utf-8")


def complaints(found: Differences, count: str) -> list[str]:
    """What of a comparison the reviewed file does not say, or says wrongly.

    Args:
        found: a comparison.
        count: which count of an entry it must have: `count` or `cases`.
    """
    entries = read()
    out = [f"no reason: {key}" for key, entry in entries.items() if not entry["reason"]]
    for key in sorted(found.count.keys() | entries.keys()):
        expected = entries[key][count] if key in entries else None
        if expected is None:
            out.append(f"not reviewed: {key}: {found.count[key]}, as in {found.example[key]}")
        elif expected != found.count[key]:
            out.append(
                f"{key}: {found.count[key]}, not {expected}"
                + (f", as in {e}" if (e := found.example.get(key)) else "")
            )
    out += [
        f"never used: {key}"
        for key, entry in entries.items()
        if not entry["count"] and not entry["cases"]
    ]
    return out
