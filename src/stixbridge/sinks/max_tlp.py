"""How strictly marked a thing may be to go into a sink."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stixbridge import tlp
from stixbridge.envelopes import Wanted
from stixbridge.errors import ConfigError
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, MispEvent, level_of
from stixbridge.sinks.delivery import Note


class Ceiling:
    """Keeps out what is marked too strictly, and what is marked so that no level says it.

    Args (of the constructor):
        max_tlp: the strictest level that goes in.
        place: what it keeps things out of, for notes.

    Raises:
        ConfigError: when that is no level.
    """

    def __init__(self, max_tlp: str, place: str) -> None:
        level = tlp.level_of_name(max_tlp)
        if level is None:
            raise ConfigError(
                f"max_tlp: {max_tlp!r} is no TLP level; write one of {', '.join(map(tlp.tag, tlp.LEVELS))}"
            )
        self._max = tlp.RANK[level]
        self._place = place

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted | None:
        """An event without what is too strict; None where all of it is.

        Args:
            wanted: as a pipeline makes it; it is not changed.
            notes: takes what is kept out, and why.
        """
        event = wanted.event
        level = level_of(event)
        no_level = f"a marking that is no TLP level keeps it out of {self._place}"
        if level is not None and tlp.RANK[level] > self._max:
            notes.append((None, Outcome.DROPPED, Reason.MARKING, self._too_strict(level)))
            return None
        if wanted.restricted:
            notes.append((None, Outcome.DROPPED, Reason.MARKING, no_level))
            return None
        kept: MispEvent = dict(event)
        rank = tlp.RANK[level] if level is not None else -1
        for name in ("Attribute", "Object"):
            rows = []
            for part in event.get(name) or []:
                strictest = tlp.strictest(
                    level_of(row) for row in (part.get("Attribute") or [part])
                )
                own = tlp.RANK[strictest] if strictest is not None else -1
                if own > self._max:
                    why = self._too_strict(str(strictest))
                elif part.get("distribution") == "0" and own <= rank:
                    why = no_level
                else:
                    rows.append(part)
                    continue
                notes.append((str(part["uuid"]), Outcome.DROPPED, Reason.MARKING, why))
            kept[name] = rows
        # a report or a note at distribution 0 tells what is marked more strictly than what it is on
        kept["EventReport"] = [
            row for row in event.get("EventReport") or [] if row.get("distribution") != "0"
        ]
        why = f"it is marked more strictly than what it is about; stays out of {self._place}"
        clusters = [row for row in wanted.clusters if self._fits(row["level"])]
        return replace(wanted, event=_without_notes(kept, notes, why), clusters=clusters)

    def _fits(self, level: str | None) -> bool:
        return level is None or tlp.RANK[level] <= self._max

    def _too_strict(self, level: str) -> str:
        return f"tlp:{level} stays out of {self._place} (max_tlp)"


def _without_notes(part: dict[str, Any], notes: list[Note], why: str) -> dict[str, Any]:
    """An element, and what is in it, without the analyst data that is for fewer than it is."""
    kept = dict(part)
    for name in ANALYST_DATA:
        for row in kept.get(name) or ():
            if row.get("distribution") == "0":
                notes.append((str(row["uuid"]), Outcome.DROPPED, Reason.MARKING, f"{name}: {why}"))
        if name in kept:
            kept[name] = [row for row in kept[name] if row.get("distribution") != "0"]
    for name in ("Attribute", "Object", "EventReport"):
        if name in kept:
            kept[name] = [_without_notes(row, notes, why) for row in kept[name]]
    return kept
