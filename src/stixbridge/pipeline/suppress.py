"""Values on the suppression list detect nothing, whichever feed says them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.model import Converted, all_attributes
from stixbridge.misp.values import COMPOSITES
from stixbridge.store.suppression import Suppression


def suppress(rows: Iterable[Converted], listed: Suppression, ledger: Ledger) -> None:
    """Take `to_ids` from attributes whose values are on the list."""
    detecting = [
        (row, part) for row in rows for part in all_attributes(row.event) if part.get("to_ids")
    ]
    harmless = listed.matching({text for _, part in detecting for text in _detected(part)})
    for row, part in detecting if harmless else ():
        if harmless & _detected(part):
            part["to_ids"] = False
            uuid = str(part["uuid"])
            row.touched.append(("suppression list", uuid, "to_ids off"))
            text = f"{part['value']}: to_ids off"
            ledger.note(uuid, "to_ids", Outcome.DROPPED, Reason.SUPPRESSED, text)


def _detected(part: Mapping[str, Any]) -> set[str]:
    """What an attribute detects: its value, and the halves of a composite one.

    Of a file its hash, not its name.
    """
    value, kind = str(part["value"]), str(part["type"])
    if kind not in COMPOSITES:
        return {value}
    halves = value.split("|", 1)
    return {value, *(halves[1:] if kind.startswith("filename") else halves)}
