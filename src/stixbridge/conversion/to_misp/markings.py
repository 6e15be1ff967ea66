"""Which markings hold for each object: object markings and granular ones (law 2).

The source's default is no matter of an object: it marks an event that nothing else marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stixbridge import tlp
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping import labels
from stixbridge.mapping.marking_readings import Reading, joined, reading_of


@dataclass(frozen=True, slots=True)
class Marking:
    """What holds for one object.

    Attributes:
        level: the strictest TLP level, or None.
        tags: other marking tags (PAP).
        restricted: a marking that can't be expressed as a tag: the element stays at distribution 0.
        statements: ids of statement markings, told once in the event report.
        drops: marking references that could not be resolved.
        rank: of the level; -1 without one.
    """

    level: str | None = None
    tags: frozenset[str] = frozenset()
    restricted: bool = False
    statements: tuple[str, ...] = ()
    drops: tuple[Drop, ...] = ()
    rank: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", -1 if self.level is None else tlp.RANK[self.level])

    def joined(self, other: Marking) -> Marking:
        """Both markings at once; the strictest level."""
        if other is self or other is UNMARKED:
            return self
        if self.covers(other):
            return self
        return Marking(
            self.level if self.rank >= other.rank else other.level,
            self.tags | other.tags,
            self.restricted or other.restricted,
            self.statements,
            self.drops,
        )

    def exceeds(self, event: Marking, rank: int) -> bool:
        """Whether a text with this marking is for fewer readers than its event.

        Texts, notes and tags have no marking.

        Args:
            event: the marking of the event.
            rank: how strict the event is for its readers.
        """
        return self.restricted or self.rank > rank or not (self.tags - _OPEN) <= event.tags

    def covers(self, other: Marking) -> bool:
        """Whether another marking would not make this one stricter."""
        return (
            self.rank >= other.rank
            and self.restricted >= other.restricted
            and self.tags >= other.tags
        )


_OPEN = frozenset({"PAP:CLEAR"})
"""Marking tags that restrict nothing."""

UNMARKED = Marking()


LABELS = ("labels", "x_opencti_labels", "indicator_types", "report_types", "malware_types")
"""Properties with words of the producer, any of which may be a marking level."""


def _marking_in(words: tuple[str, ...], least: int) -> Marking:
    """The marking that the words of a producer say: a level in a label tightens, and never loosens.

    Args:
        words: labels and types.
        least: the rank of the level that holds without them; a level that is not stricter says
            nothing.
    """
    level = tlp.strictest(labels.level_of(word) for word in words)
    if level is not None and tlp.RANK[level] <= least:
        level = None
    paps = frozenset(pap for word in words if (pap := labels.pap_of(word)))
    return Marking(level, paps) if level is not None or paps else UNMARKED


def strictness(marking: Marking) -> tuple[bool, int]:
    """Orders markings: what no tag can express is the strictest."""
    return marking.restricted, marking.rank


class Markings:
    """Resolves the markings of objects against the marking-definitions of the input.

    Cached by reference lists.

    Args (of the constructor):
        objects: of the input, by id.
        default: the level of objects without a marking.
        variants: other texts of marking-definitions, by id: a marking-definition has no versions.
    """

    def __init__(
        self,
        objects: Mapping[str, Mapping[str, Any]],
        variants: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        default: str | None = None,
    ) -> None:
        self._objects = objects
        self._variants = variants or {}
        self._default = tlp.RANK[default or "clear"]
        self._readings: dict[str, Reading] = {}
        self._cache: dict[tuple[tuple[str, ...], tuple[str, ...]], Marking] = {}
        self.used: set[str] = set()
        self.named: set[str] = set()

    def of(self, obj: Mapping[str, Any]) -> Marking:
        """The markings that hold for an object."""
        refs = obj.get("object_marking_refs")
        granular = obj.get("granular_markings")
        names = tuple(refs or ())
        if granular:
            names += tuple([row["marking_ref"] for row in granular])
        words: tuple[str, ...] = ()
        for name in LABELS:
            values = obj.get(name)
            if values:
                words += tuple(values)
        if not names and not words:
            return UNMARKED
        known = self._cache.get((names, words))
        if known is None:
            known = self._resolve(names) if names else UNMARKED
            least = known.rank if known.rank >= 0 else self._default
            known = self._cache[names, words] = known.joined(_marking_in(words, least))
        return known

    def may_name(self, named: Mapping[str, Any], told: Marking) -> bool:
        """Whether a name may stand where `told` holds; what nothing marks counts as green.

        Args:
            named: who is named, an identity.
            told: what holds where the name would stand.
        """
        own = self.of(named)
        if own.restricted and not told.restricted:
            return False
        shown = tlp.RANK[told.level or "green"]
        return own.rank <= shown

    def name(self, ref: object, told: Marking) -> str | None:
        """The name of a producer, where it may stand.

        An identity that is named is in the output by that.

        Args:
            ref: the id of an identity.
            told: the marking that holds where the name would stand.
        """
        identity = self._objects.get(ref) if isinstance(ref, str) else None
        if identity is None or not self.may_name(identity, told):
            return None
        name = identity.get("name")
        if not isinstance(name, str) or not name:
            return None
        self.named.add(str(ref))
        return name

    def reading(self, ref: str) -> Reading:
        """The meaning of a marking-definition: the strictest of all texts under its id."""
        known = self._readings.get(ref)
        if known is None:
            texts = [self._objects.get(ref, {"id": ref}), *self._variants.get(ref, ())]
            known = self._readings[ref] = joined(reading_of(text) for text in texts)
        return known

    def _resolve(self, refs: tuple[str, ...]) -> Marking:
        drops: list[Drop] = []
        readings = []
        for ref in refs:
            self.used.add(ref)
            reading = self.reading(ref)
            readings.append(reading)
            if reading.unranked:
                reason = Reason.MARKING if ref in self._objects else Reason.DANGLING
                drops.append(("object_marking_refs", Outcome.DROPPED, reason))
        every = joined(readings)
        return Marking(
            every.level,
            every.tags,
            every.restricted,
            tuple(ref for ref in refs if self.reading(ref).statement is not None),
            tuple(drops),
        )
