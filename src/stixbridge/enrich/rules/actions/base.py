"""What an action is, and what it works on.

The actions are in `events`, `tags`, `elements` and `additions`.
"""

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
    """The match of a rule, and the data for its actions.

    Attributes:
        row: the event with its provenance.
        kind: `event`, `attribute` or `object`.
        element: the attribute or object; None for the event.
        obj: the object of an attribute, if it is in one.
        rule: the rule's name.
        context: the variables for templates.
        knowledge: MISP's types and templates.
        ledger: receives lines.
        gone: UUIDs of dropped elements.
        ended: whether all its STIX objects are revoked or expired.
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
        """The object of a matched attribute, otherwise the matched element itself."""
        return self.obj if self.obj is not None else self.element

    @property
    def attributes(self) -> list[dict[str, Any]]:
        """The matched attribute, or all attributes of the matched object."""
        if self.element is None:
            return []
        return (
            [self.element] if self.kind == ATTRIBUTE else list(self.element.get("Attribute") or ())
        )


@dataclass(frozen=True, slots=True)
class Action:
    """An action. A rule may write the first field alone: `{ set_info = "…" }`.

    Class attributes:
        name: its name in rule files.
        on: the kinds of elements it applies to; any rule may use an action for events.
    """

    name: ClassVar[str]
    on: ClassVar[frozenset[str]] = frozenset({EVENT})

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        """What MISP does not have of what the action names; checked when rules are read."""
        return ()

    def apply(self, on: On) -> str | None:
        """Apply the action; return the reason for a refusal, or None.

        Raises:
            BadExpression: a template fails.
        """
        raise NotImplementedError


ACTIONS: dict[str, type[Action]] = {}


def register(cls: type[Action]) -> type[Action]:
    """Add an action to the registry."""
    ACTIONS[cls.name] = cls
    return cls


def choice(value: int | str, words: Mapping[str, int]) -> int:
    """Return the number of a word, or the number itself.

    Raises:
        ConfigError: the value is neither.
    """
    number = words.get(value) if isinstance(value, str) else value
    if number not in words.values() or isinstance(value, bool):
        raise ConfigError(f"{value!r} is not one of {', '.join(words)}")
    return int(number or 0)


def joined(refused: Iterable[str | None]) -> str | None:
    """Join refusals to one text, each once."""
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
    """Return a message about a tag that is wrong in its taxonomy, otherwise None."""
    if tlp.is_tlp_tag(tag):
        return None if tlp.level_of_name(tag) is not None else f"{tag!r} is not a TLP level"
    exact = knowledge.taxonomy_tag(tag)
    if exact is not None:
        return None if exact == tag else f"{tag!r} is spelled {exact!r} in its taxonomy"
    entries = knowledge.taxonomy_entries(tag)
    if entries:
        return f"{tag!r} is not in its taxonomy{near(tag, dict.fromkeys(entries))}"
    return None
