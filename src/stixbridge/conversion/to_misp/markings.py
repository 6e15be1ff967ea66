"""Which markings hold for each object: object markings and granular ones (law 2).

The source's default is no matter of an object: it marks an event that nothing else marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stixbridge import tlp
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.misp.model import machine_tag

_PAP = ("CLEAR", "WHITE", "GREEN", "AMBER", "RED")


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

    def covers(self, other: Marking) -> bool:
        """Whether another marking would not make this one stricter."""
        return (
            self.rank >= other.rank
            and self.restricted >= other.restricted
            and self.tags >= other.tags
        )


UNMARKED = Marking()


def strictness(marking: Marking) -> tuple[bool, int]:
    """Orders markings: what no tag can express is the strictest."""
    return marking.restricted, marking.rank


class Markings:
    """Resolves the markings of objects against the marking-definitions of the input; cached by reference lists."""

    def __init__(self, objects: Mapping[str, Mapping[str, Any]]) -> None:
        self._objects = objects
        self._cache: dict[tuple[str, ...], Marking] = {}
        self.used: set[str] = set()
        self.named: set[str] = set()

    def of(self, obj: Mapping[str, Any]) -> Marking:
        """The markings that hold for an object."""
        refs = obj.get("object_marking_refs")
        granular = obj.get("granular_markings")
        if not refs and not granular:
            return UNMARKED
        names = tuple(refs or ())
        if granular:
            names += tuple([row["marking_ref"] for row in granular])
        known = self._cache.get(names)
        if known is None:
            known = self._cache[names] = self._resolve(names)
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
        """The name of a producer, where it may stand; an identity that is named is in the output by that.

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

    def _resolve(self, refs: tuple[str, ...]) -> Marking:
        levels: list[str | None] = []
        tags: set[str] = set()
        statements: list[str] = []
        restricted = False
        drops: list[Drop] = []
        for ref in refs:
            self.used.add(ref)
            definition = self._objects.get(ref, {"id": ref})
            level = tlp.level_of_marking(definition)
            if level is not None:
                levels.append(level)
                continue
            pap = pap_tag(definition)
            acs = acs_tags(definition)
            if pap is not None:
                tags.add(pap)
            elif acs is not None:
                tags |= acs
                restricted = restricted or is_closed(definition)
                colour = definition.get("definition")
                levels.append(
                    tlp.level_of_name(colour.get("color")) if isinstance(colour, dict) else None
                )
            elif statement_of(definition) is not None:
                statements.append(ref)
            else:
                restricted = True
                reason = Reason.MARKING if ref in self._objects else Reason.DANGLING
                drops.append(("object_marking_refs", Outcome.DROPPED, reason))
        level = tlp.strictest(levels)
        return Marking(level, frozenset(tags), restricted, tuple(statements), tuple(drops))


def pap_tag(definition: Mapping[str, Any]) -> str | None:
    """The tag of a PAP marking (Permissible Actions Protocol), in the taxonomy's spelling."""
    name = definition.get("name") or definition.get("x_opencti_definition")
    if isinstance(name, str) and name.upper().startswith("PAP:") and name.upper()[4:] in _PAP:
        return f"PAP:{name.upper()[4:].replace('WHITE', 'CLEAR')}"
    return None


ACS = "extension-definition--3a65884d-005a-4290-8335-cb2d778a83ce"
"""Access Control Specification markings of the US government, as an extension of a marking-definition."""

_CONTROLS = (
    "classification",
    "formal_determination",
    "caveat",
    "sensitivity",
    "shareability",
    "entity",
)
_AIS = {"consent": "AISConsent", "color": "TLPMarking"}


def acs_tags(definition: Mapping[str, Any]) -> set[str] | None:
    """The tags of an ACS marking, or of one of CISA's Automated Indicator Sharing; None for any other.

    They are those of the taxonomies `acs-marking` and `ais-marking`.
    """
    extensions = definition.get("extensions")
    acs = extensions.get(ACS) if isinstance(extensions, dict) else None
    if isinstance(acs, dict):
        return set(_acs(acs))
    inner = definition.get("definition")
    if str(definition.get("definition_type")).lower() == "ais" and isinstance(inner, dict):
        tags = {
            machine_tag("ais-marking", predicate, str(inner[name]).upper())
            for name, predicate in _AIS.items()
            if isinstance(inner.get(name), str)
        }
        if isinstance(inner.get("proprietary"), bool | str):
            tags.add(
                machine_tag("ais-marking", "CISA_Proprietary", str(inner["proprietary"]).lower())
            )
        return tags
    return None


def _acs(acs: Mapping[str, Any]) -> Iterator[str]:
    controls = acs.get("control_set")
    for name in _CONTROLS:
        value = controls.get(name) if isinstance(controls, dict) else None
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item:
                yield machine_tag("acs-marking", name, item)
    privileges = acs.get("access_privilege")
    for row in privileges if isinstance(privileges, list) else ():
        if (
            isinstance(row, dict)
            and row.get("rule_effect") == "permit"
            and isinstance(row.get("privilege_action"), str)
        ):
            yield machine_tag("acs-marking", "privilege_action", row["privilege_action"])


def is_closed(definition: Mapping[str, Any]) -> bool:
    """Whether an ACS marking is for some only: a tag says what it permits, and does not enforce it."""
    extensions = definition.get("extensions")
    acs = extensions.get(ACS) if isinstance(extensions, dict) else None
    if not isinstance(acs, dict):
        return False
    controls = acs.get("control_set")
    if not isinstance(controls, dict) or controls.get("classification") != "U":
        return True
    return "PUBREL" not in (controls.get("formal_determination") or ())


def statement_of(definition: Mapping[str, Any]) -> str | None:
    """The text of a statement marking (STIX 2.1, section 7.2.1.3)."""
    inner = definition.get("definition")
    if isinstance(inner, dict) and isinstance(inner.get("statement"), str):
        return str(inner["statement"])
    return None
