"""The ceiling of a sink: the strictest TLP level that goes into it."""

from __future__ import annotations

from dataclasses import replace

from stixbridge import tlp
from stixbridge.envelopes import Wanted
from stixbridge.errors import ConfigError
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA, MispEvent, level_of
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import PARTS, VALUES, Part, rank_of, rows_of, tlp_rank, with_rows

_CONTENT = (*VALUES, "EventReport")


class Ceiling:
    """Keeps out events and elements that are marked too strictly, or without a level.

    Args (of the constructor):
        max_tlp: the strictest level that goes in.
        place: the name of the sink, for notes.

    Raises:
        ConfigError: when `max_tlp` is not a TLP level.
    """

    def __init__(self, max_tlp: str, place: str) -> None:
        level = tlp.level_of_name(max_tlp)
        if level is None:
            levels = ", ".join(map(tlp.tag, tlp.LEVELS))
            raise ConfigError(f"max_tlp: {max_tlp!r} is not a TLP level; write one of {levels}")
        self._max = tlp.RANK[level]
        self._place = place

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted | None:
        """An event without everything that is too strict; None where the whole event is.

        Args:
            wanted: as a pipeline makes it; it is not changed.
            notes: takes a note on each thing that stays out.
        """
        level = level_of(wanted.event)
        why = self._why_out(level, restricted=wanted.restricted)
        if why is not None:
            notes.append((None, Outcome.DROPPED, Reason.MARKING, why))
            return None
        event: MispEvent = dict(wanted.event)
        for name in VALUES:
            event[name] = self._allowed_parts(wanted, name, notes)
        # a report or a note at distribution 0 tells about something that is marked more strictly
        event["EventReport"] = _for_all(wanted.event, "EventReport")
        had = any(wanted.event.get(name) for name in _CONTENT)
        if had and not any(event[name] for name in _CONTENT):
            why = f"nothing in it may go to {self._place}"
            notes.append((None, Outcome.DROPPED, Reason.MARKING, why))
            return None
        why = f"its marking is stricter than that of its subject; it stays out of {self._place}"
        event = _without_notes(event, notes, why)
        clusters = [row for row in wanted.clusters if tlp_rank(row["level"]) <= self._max]
        return replace(wanted, event=event, clusters=clusters)

    def _allowed_parts(self, wanted: Wanted, name: str, notes: list[Note]) -> list[Part]:
        rank, kept = rank_of(wanted.event), []
        restricted = set(wanted.restricted_parts)
        for part in rows_of(wanted.event, name):
            level = tlp.strictest(map(level_of, rows_of(part, "Attribute") or [part]))
            is_restricted = part["uuid"] in restricted or (
                part.get("distribution") == "0" and tlp_rank(level) <= rank
            )
            why = self._why_out(level, restricted=is_restricted)
            if why is None:
                kept.append(part)
            else:
                notes.append((str(part["uuid"]), Outcome.DROPPED, Reason.MARKING, why))
        return kept

    def _why_out(self, level: str | None, *, restricted: bool) -> str | None:
        """Why a part stays out; None where it goes in."""
        if tlp_rank(level) > self._max:
            return f"tlp:{level} stays out of {self._place} (max_tlp)"
        if restricted:
            return f"a marking that is not a TLP level keeps it out of {self._place}"
        return None


def _for_all(part: Part, name: str) -> list[Part]:
    """The rows of a list that are not at distribution 0."""
    return [row for row in rows_of(part, name) if row.get("distribution") != "0"]


def _without_notes(part: Part, notes: list[Note], why: str) -> Part:
    """A part and everything in it, without analyst data that has fewer readers than the part."""
    kept = dict(part)
    for name in ANALYST_DATA:
        if name in part:
            kept[name] = _for_all(part, name)
            notes.extend(
                (str(row["uuid"]), Outcome.DROPPED, Reason.MARKING, f"{name}: {why}")
                for row in rows_of(part, name)
                if row.get("distribution") == "0"
            )
    return with_rows(kept, PARTS, lambda _, row: _without_notes(row, notes, why))
