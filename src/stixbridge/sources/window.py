"""Which of the incoming objects a source lets in: a smaller window on a large feed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stixbridge import times
from stixbridge.stix.reader import Entry

# What others need to be understood, and what carries no judgement of its own: always let in.
_ALWAYS = frozenset({"marking-definition", "identity", "extension-definition", "language-content"})
# What grows old. Actors, malware and techniques don't, and relationships go with their ends.
_AGES = frozenset(
    {"indicator", "observed-data", "report", "grouping", "sighting", "note", "opinion", "incident"}
)


@dataclass(frozen=True, slots=True)
class Window:
    """What a source lets in.

    Attributes:
        types: STIX types; all where there is none. Markings, identities and extension definitions
            always come in.
        max_age: microseconds since the last change; older indicators, reports, sightings and the
            like stay out.
        min_confidence: 0 to 100; what says a lower confidence stays out, what says none comes in.
    """

    types: frozenset[str] = frozenset()
    max_age: int | None = None
    min_confidence: int = 0

    def split(self, entries: Iterable[Entry], now: int) -> tuple[list[Entry], list[Entry]]:
        """Entries that come in, and those that stay out.

        What is no object comes in, to be accounted for.

        Args:
            entries: of a page.
            now: microseconds.
        """
        if not self.types and self.max_age is None and not self.min_confidence:
            return list(entries), []
        inside: list[Entry] = []
        outside: list[Entry] = []
        for entry in entries:
            (outside if self._excludes(entry, now) else inside).append(entry)
        return inside, outside

    def _excludes(self, entry: Entry, now: int) -> bool:
        obj = entry.obj
        if obj is None or obj["type"] in _ALWAYS:
            return False
        if self.types and obj["type"] not in self.types:
            return True
        confidence = obj.get("confidence")
        if isinstance(confidence, int) and confidence < self.min_confidence:
            return True
        if self.max_age is None or obj["type"] not in _AGES:
            return False
        changed = times.read(obj.get("modified")) or times.read(obj.get("created"))
        return changed is not None and changed < now - self.max_age
