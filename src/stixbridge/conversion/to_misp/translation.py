"""A translation.

One STIX object as MISP attributes and objects, before it has an event, and so without UUIDs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stixbridge.conversion.to_misp.markings import UNMARKED, Marking
from stixbridge.ledger import Drop, Outcome, Reason

NO_TAGS: frozenset[str] = frozenset()


class Attribute(NamedTuple):
    """A value of a type. `data` is the content of an attachment, in base64."""

    type: str
    value: str
    category: str
    to_ids: bool
    correlate: bool
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """Attributes under an object template.

    Attributes:
        template: the name of the template; of a custom object, the STIX type.
        attributes: (relation, attribute), sorted.
        key: tells the objects of one STIX object apart.
        parent: key of the object that refers to this one, by `verb`.
        custom: MISP has no template of that name.
        identity: identifies the object within its event, whatever STIX object it comes from (the
            strongest hash of a file); empty where the STIX object does.
    """

    template: str
    attributes: tuple[tuple[str, Attribute], ...]
    key: str = ""
    parent: str = ""
    verb: str = ""
    custom: bool = False
    identity: str = ""


def unique(rows: Iterable[tuple[str, Attribute]]) -> tuple[tuple[str, Attribute], ...]:
    """Attributes of an object in order, each relation and value once.

    It detects if any of equal ones does.
    """
    found: dict[tuple[str, str, str], tuple[str, Attribute]] = {}
    for relation, row in sorted(rows, key=lambda pair: (pair[0], pair[1].value)):
        key = (relation, row.type, row.value)
        known = found.get(key)
        if known is None or (row.to_ids and not known[1].to_ids):
            found[key] = (relation, row)
    return tuple(found.values())


@dataclass(slots=True)
class Translation:
    """Everything that one STIX object becomes.

    Attributes:
        attributes: lone attributes.
        objects: objects.
        hub: the object that keeps a pattern's text and refers to all the others.
        excluded: attributes that are context only.
        comment: for every element.
        drops: parts of properties that are not carried over.
        consumed: ids of STIX objects that are translated as a part of this one.
        sources: ids of STIX objects of which a value is used here; their markings hold here.
        uuids: of an object that MISP exported, its own UUIDs: (type or relation, value) -> UUID;
            ("", "") is the MISP object.
        marking: everything that marks its elements.
        tags: of its elements, its producer's among them.
        tags_beside: the same in an event that names its producer already.
        creator: the id of its producer.
        timestamp: its `modified`, seconds.
        live: whether it is neither revoked nor expired.
        supplemented: whether more than its elements comes with it (`Supplements`).
    """

    attributes: Sequence[Attribute] = ()
    objects: Sequence[Object] = ()
    hub: Object | None = None
    excluded: Sequence[Attribute] = ()
    comment: str = ""
    drops: Sequence[Drop] = ()
    consumed: Sequence[str] = ()
    sources: Sequence[str] = ()
    uuids: Mapping[tuple[str, str], str] | None = None
    marking: Marking = UNMARKED
    tags: frozenset[str] = NO_TAGS
    tags_beside: frozenset[str] = NO_TAGS
    creator: str | None = None
    timestamp: int = 0
    live: bool = True
    supplemented: bool = True

    @property
    def empty(self) -> bool:
        """Whether nothing can be shown in MISP."""
        return not (self.attributes or self.objects or self.hub or self.excluded)


@dataclass(slots=True)
class Draft:
    """A translation that is being made; lists that grow.

    `kept` are texts that no attribute takes.
    """

    attributes: list[Attribute] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)
    hub: Object | None = None
    excluded: list[Attribute] = field(default_factory=list)
    comment: str = ""
    drops: list[Drop] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    uuids: dict[tuple[str, str], str] = field(default_factory=dict)

    def lose(self, path: str, outcome: Outcome, reason: Reason) -> None:
        """Record that a part of a property is not carried over, or not as it was."""
        self.drops.append((path, outcome, reason))

    def done(self) -> Translation:
        """The translation; values that fit no attribute stand in the comment."""
        kept = ", ".join(dict.fromkeys(self.kept))
        comment = ", ".join(text for text in (self.comment, kept) if text)
        return Translation(
            self.attributes, self.objects, self.hub, self.excluded, comment,
            self.drops, self.consumed, self.sources, self.uuids or None,
        )  # fmt: skip
