"""Indicators (STIX 2.1, section 4.7): live ones detect, by their pattern or rule."""

from __future__ import annotations

from stixbridge import times
from stixbridge.conversion.to_misp.roles.base import Content, StixObject
from stixbridge.conversion.to_misp.supplements import COMMENT_LINE
from stixbridge.conversion.to_misp.translation import Draft, Translation
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping.indicator import HARDLY_DETECTED, MALICIOUS, NEVER_DETECTED
from stixbridge.misp.values import refang
from stixbridge.stix.pattern import PatternError


class Indicator(Content):
    """An indicator past its `valid_until` is like a revoked one (law 4)."""

    def end_of(self, obj: StixObject) -> Reason | None:
        """Revoked or expired."""
        if obj.get("revoked") is True:
            return Reason.REVOKED
        until = times.read(obj.get("valid_until"))
        if until is not None and until <= self.workspace.options.now:
            return Reason.EXPIRED
        return None

    def translation(self, id_: str, obj: StixObject) -> Translation | None:
        """Translate the pattern; an unreadable one is recorded as invalid."""
        detects = id_ in self.workspace.live and _may_detect(obj)
        try:
            draft = self.workspace.translator.indicator(obj, detects=detects)
        except PatternError:
            draft = Draft()
            text = isinstance(obj.get("pattern"), str)
            reason = Reason.INVALID_PATTERN if text else Reason.INVALID_OBJECT
            self.fates.outcome(id_, Outcome.INVALID, reason)
        else:
            if not (draft.attributes or draft.objects or draft.hub or draft.excluded):
                self.fates.outcome(id_, Outcome.DROPPED, Reason.INVALID_VALUE)
        comment = _comment_of(obj, draft, draft.drops)
        if comment and draft.comment:
            comment = f"{comment} ({draft.comment})"
        draft.comment = comment or draft.comment
        return draft.done()


def _may_detect(obj: StixObject) -> bool:
    """Whether the types of an indicator (section 10.7) and OpenCTI's flag let it detect."""
    if obj.get("x_opencti_detection") is False:
        return False
    kinds = obj.get("indicator_types")
    if not kinds:
        return True
    found = set(kinds)
    if found & NEVER_DETECTED:
        return False
    return MALICIOUS in found or not found & HARDLY_DETECTED


def _comment_of(obj: StixObject, draft: Draft, drops: list[Drop]) -> str:
    """The comment of the elements: the name, and the first line of the description (at most 255 characters)."""
    name = obj.get("name") or ""
    if name:
        plain = refang(name.strip()).lower()
        for row in draft.attributes:
            value = row.value.lower()
            if plain == value or ("|" in value and plain in value.split("|")):
                drops.append(("name", Outcome.DROPPED, Reason.REDUNDANT))
                name = ""
                break
    first = str(obj.get("description") or "").strip().partition("\n")[0].strip()
    if first and first == name:
        first = ""
    comment = f"{name}: {first}" if name and first else name or first
    return comment if len(comment) <= COMMENT_LINE else comment[: COMMENT_LINE - 1] + "…"
