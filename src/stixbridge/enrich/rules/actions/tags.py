"""Actions that change the tags of the event or of elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from stixbridge.enrich.marking_guard import tag_element, tag_event, untag
from stixbridge.enrich.rules.actions.base import (
    ANY,
    Action,
    On,
    joined,
    literal_tags,
    register,
    tag_problems,
)
from stixbridge.enrich.rules.conditions import Template, as_pattern
from stixbridge.misp.clusters import GALAXIES
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import tag_names
from stixbridge.settings.mistakes import near


@register
@dataclass(frozen=True, slots=True)
class AddTags(Action):
    """Add tags to the event, the attribute, or all attributes of the object. Tags are templates.

    A TLP tag may only tighten the marking.
    """

    tags: tuple[Template, ...]
    name: ClassVar[str] = "add_tags"
    on: ClassVar[frozenset[str]] = ANY

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        return tag_problems(literal_tags(self.tags), knowledge())

    def apply(self, on: On) -> str | None:
        tags = [tag.render(on.context) for tag in self.tags]
        return joined(_tag(on, element, tag) for element in _tagged(on) for tag in tags)


@register
@dataclass(frozen=True, slots=True)
class RemoveTags(Action):
    """Remove tags by name, or by pattern with `*` and `?`. Markings stay."""

    tags: tuple[str, ...]
    name: ClassVar[str] = "remove_tags"
    on: ClassVar[frozenset[str]] = ANY

    def apply(self, on: On) -> str | None:
        patterns = [as_pattern(tag) for tag in self.tags]
        refused = []
        for element in _tagged(on):
            names = [
                name
                for name in tag_names(element)
                if any(pattern.fullmatch(name) for pattern in patterns)
            ]
            refused.append(untag(element, names) if names else None)
        return joined(refused)


@register
@dataclass(frozen=True, slots=True)
class MapTags(Action):
    r"""Replace tags by others: `{ map_tags = { "acme:label=\\"c2\\"" = "rsit:…" } }`.

    Markings stay.
    """

    tags: Mapping[str, str]
    name: ClassVar[str] = "map_tags"
    on: ClassVar[frozenset[str]] = ANY

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        return tag_problems(self.tags.values(), knowledge())

    def apply(self, on: On) -> str | None:
        refused = []
        for element in _tagged(on):
            for name in [name for name in tag_names(element) if name in self.tags]:
                why = untag(element, [name])
                refused.append(why or _tag(on, element, self.tags[name]))
        return joined(refused)


@register
@dataclass(frozen=True, slots=True)
class AddGalaxy(Action):
    """Add a galaxy cluster by name, alias or external id: `{ type = "malware", value = "Emotet" }`.

    `type` is a STIX type (`malware`, `threat-actor`, `attack-pattern`, `identity` for a sector,
    `location`, …).
    """

    value: Template
    type: str = "malware"
    name: ClassVar[str] = "add_galaxy"
    on: ClassVar[frozenset[str]] = ANY

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        if self.type not in GALAXIES:
            yield f"no type {self.type!r}{near(self.type, GALAXIES)}; {', '.join(GALAXIES)}"

    def apply(self, on: On) -> str | None:
        value = self.value.render(on.context)
        tag = on.knowledge.cluster_tag(self.type, "", [value], [value])
        if tag is None:
            return f"the galaxies have no {self.type} cluster {value!r}"
        return joined(_tag(on, element, tag) for element in _tagged(on))


def _tagged(on: On) -> list[dict[str, Any]]:
    """Return the tagged elements of the match: the event, or attributes (objects have no tags)."""
    return on.attributes if on.element is not None else [on.event]


def _tag(on: On, element: dict[str, Any], tag: str) -> str | None:
    if element is on.event:
        return tag_event(on.event, tag, closed=on.row.closed)
    return tag_element(on.event, element, tag, on.holder)
