"""What an action is, and what it works on. The actions are in `events`, `tags`, `elements` and `additions`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from stixbridge import tlp
from stixbridge.errors import ConfigError
from stixbridge.ledger import Ledger
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import Converted, MispEvent
from stixbridge.settings.mistakes import near

if TYPE_CHECKING:
    from cel import Context

    from stixbridge.enrich.rules.conditions import Template

EVENT, ATTRIBUTE, OBJECT = "event", "attribute", "object"
ANY = frozenset({EVENT, ATTRIBUTE, OBJECT})
ELEMENT = frozenset({ATTRIBUTE, OBJECT})
MAX_COMMENT = 255


@dataclass(slots=True)
class On:
    """What a rule matched, and what its actions may use.

    Attributes:
        row: the event with its provenance.
        kind: `event`, `attribute` or `object`.
        element: the attribute or object; None for the event.
        obj: the object that an attribute is in.
        rule: the rule's name.
        context: for templates.
        knowledge: MISP's types and templates.
        ledger: takes lines.
        gone: UUIDs of elements that are dropped.
        ended: whether all STIX objects behind it are revoked or expired.
    """

    row: Converted
    kind: str
    element: dict[str, Any] | None
    obj: dict[str, Any] | None
    rule: str
    context: Context
    knowledge: Knowledge
    ledger: Ledger
    gone: set[str] = field(default_factory=set)
    ended: bool = False

    @property
    def event(self) -> MispEvent:
        """The event."""
        return self.row.event

    @property
    def holder(self) -> dict[str, Any] | None:
        """What stands in the event by itself: the object that an attribute is in, else what was matched."""
        return self.obj if self.obj is not None else self.element

    @property
    def attributes(self) -> list[dict[str, Any]]:
        """The attribute, or those of the object."""
        if self.element is None:
            return []
        return (
            [self.element] if self.kind == ATTRIBUTE else list(self.element.get("Attribute") or ())
        )


@dataclass(frozen=True, slots=True)
class Action:
    """An action. The first field may be given alone: `{ set_info = "…" }`.

    Class attributes:
        name: in rule files.
        on: what it can be done to; an action for events may stand in any rule.
    """

    name: ClassVar[str]
    on: ClassVar[frozenset[str]] = frozenset({EVENT})

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        """What MISP does not have of what the action names; checked when rules are read."""
        return ()

    def apply(self, on: On) -> str | None:
        """Do it; what was refused, or None.

        Raises:
            BadExpression: when a template fails.
        """
        raise NotImplementedError


ACTIONS: dict[str, type[Action]] = {}


def register(cls: type[Action]) -> type[Action]:
    """Put an action into the registry."""
    ACTIONS[cls.name] = cls
    return cls


def choice(value: int | str, words: Mapping[str, int]) -> int:
    """The number of a word, or the number itself.

    Raises:
        ConfigError: for any other.
    """
    number = words.get(value) if isinstance(value, str) else value
    if number not in words.values() or isinstance(value, bool):
        raise ConfigError(f"{value!r} is none of {', '.join(words)}")
    return int(number or 0)


def joined(refused: Iterable[str | None]) -> str | None:
    """Refusals in one text, each once."""
    texts = list(dict.fromkeys(text for text in refused if text))
    return "; ".join(texts) or None


def literal_tags(templates: Iterable[Template]) -> list[str]:
    """The tags of some templates that name nothing: those can be checked when rules are read."""
    parts = [template.parts[0] for template in templates if len(template.parts) == 1]
    return [part for part in parts if isinstance(part, str)]


def tag_problems(tags: Iterable[str], knowledge: Knowledge) -> Iterable[str]:
    """What is wrong with tags of known taxonomies."""
    problems = (tag_problem(tag, knowledge) for tag in tags)
    return [problem for problem in problems if problem is not None]


def tag_problem(tag: str, knowledge: Knowledge) -> str | None:
    """What is wrong with a tag of a known taxonomy; None for one that is right, or of no taxonomy."""
    if tlp.is_tlp_tag(tag):
        return None if tlp.level_of_name(tag) is not None else f"{tag!r} is not a TLP level"
    exact = knowledge.taxonomy_tag(tag)
    if exact is not None:
        return None if exact == tag else f"{tag!r} is spelled {exact!r} in its taxonomy"
    entries = knowledge.taxonomy_entries(tag)
    if entries:
        return f"{tag!r} is not in its taxonomy{near(tag, dict.fromkeys(entries))}"
    return None
