"""Indicators (STIX 2.1, section 4.7): live ones detect, by their pattern or rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stixbridge import times
from stixbridge.conversion.to_misp.roles.base import Content, StixObject
from stixbridge.conversion.to_misp.shapes import Shape
from stixbridge.conversion.to_misp.supplements import COMMENT_LINE, fits_a_comment
from stixbridge.conversion.to_misp.translation import Attribute, Translation
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.indicator import NEVER_DETECTED
from stixbridge.misp.values import refang
from stixbridge.stix.pattern import PatternError, PatternLimit


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

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Translate the pattern; an unreadable one is recorded as invalid."""
        try:
            translation = self.workspace.translator.patterns.indicator(
                obj, detects=live and _may_detect(obj)
            )
        except PatternError as error:
            translation = self._unreadable(id_, obj, error)
        else:
            if translation.empty:
                self.fates.outcome(id_, Outcome.DROPPED, Reason.INVALID_VALUE)
        comment, redundant = _comment_of(obj, translation.attributes)
        if redundant:
            translation.drops = [
                *translation.drops,
                ("name", Outcome.DROPPED, Reason.REDUNDANT),
            ]
        if comment and translation.comment:
            comment = f"{comment} ({translation.comment})"
        translation.comment = comment or translation.comment
        return translation

    def _unreadable(self, id_: str, obj: StixObject, error: PatternError) -> Translation:
        """Keep the text of a pattern that can't be read."""
        pattern = obj.get("pattern")
        if not isinstance(pattern, str) or not pattern.strip():
            self.fates.outcome(id_, Outcome.INVALID, Reason.INVALID_OBJECT)
            return Translation()
        text = self.workspace.translator.unreadable(pattern)
        if isinstance(error, PatternLimit):
            kept = Outcome.DROPPED if text is None else Outcome.PRESERVED
            self.fates.outcome(id_, kept, Reason.LIMIT, str(error))
        else:
            self.fates.outcome(id_, Outcome.INVALID, Reason.INVALID_PATTERN, str(error))
        return Translation(attributes=() if text is None else (text,))

    def supplemented(self, id_: str, obj: StixObject, shape: Shape) -> bool:
        """Links, a text that does not fit the comment, custom properties, or an end."""
        if not shape.supplemented and id_ not in self.workspace.ended:
            return len(obj.get("name") or "") + 2 > COMMENT_LINE
        return (
            "external_references" in obj
            or not fits_a_comment(obj)
            or self.workspace.options.custom == "all"
            or id_ in self.workspace.ended
        )


def _may_detect(obj: StixObject) -> bool:
    """Whether the types of an indicator (section 10.7) and OpenCTI's flag let it detect."""
    if obj.get("x_opencti_detection") is False:
        return False
    until = obj.get("valid_until")
    if until is not None and times.read(until) is None:
        return False  # nobody knows whether it is still valid
    return NEVER_DETECTED.isdisjoint(obj.get("indicator_types") or ())


_TYPE_BEFORE = re.compile(r"[A-Za-z][\w/ -]{0,23}[:=]\s*(?!//)")
"""`SHA256: …`, `url: …` and the like before the value that a name repeats."""


def _comment_of(obj: StixObject, attributes: Sequence[Attribute]) -> tuple[str, bool]:
    """The comment of the elements.

    The name, and the first line of the description (at most 255 characters).

    Returns:
        The comment, and whether the name was left out since it repeats the value.
    """
    name = obj.get("name") or ""
    redundant = False
    if name:
        whole = name.strip().lower()
        plain = refang(_TYPE_BEFORE.sub("", name.strip())).lower()
        for row in attributes:
            value = row.value.lower()
            if value in (plain, whole) or ("|" in value and plain in value.split("|")):
                name, redundant = "", True
                break
    first = str(obj.get("description") or "").strip().partition("\n")[0].strip()
    if first and first == name:
        first = ""
    comment = f"{name}: {first}" if name and first else name or first
    if len(comment) > COMMENT_LINE:
        comment = comment[: COMMENT_LINE - 1] + "…"
    return comment, redundant
