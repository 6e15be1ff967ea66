"""Actions on tags, of the event or of elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..misp.model import tag_names
from .action import ANY, Action, On, joined, register
from .conditions import Template, as_pattern
from .limits import tag_element, tag_event, untag


@register
@dataclass(frozen=True, slots=True)
class AddTags(Action):
    """Add tags to the event, the attribute or all attributes of the object: templates. A TLP tag only tightens."""

    tags: tuple[Template, ...]
    name: ClassVar[str] = "add_tags"
    on: ClassVar[frozenset[str]] = ANY

    def apply(self, on: On) -> str | None:
        return joined(_tag(on, tag.render(on.context)) for tag in self.tags)


@register
@dataclass(frozen=True, slots=True)
class RemoveTags(Action):
    """Take tags away: names, or patterns with `*` and `?`. Markings stay."""

    tags: tuple[str, ...]
    name: ClassVar[str] = "remove_tags"
    on: ClassVar[frozenset[str]] = ANY

    def apply(self, on: On) -> str | None:
        patterns = [as_pattern(tag) for tag in self.tags]
        refused = []
        for element in on.attributes if on.element is not None else [on.event]:
            names = [name for name in tag_names(element) if any(pattern.fullmatch(name) for pattern in patterns)]
            refused.append(untag(element, names) if names else None)
        return joined(refused)


@register
@dataclass(frozen=True, slots=True)
class MapTags(Action):
    r"""Put other tags in the place of some: `{ map_tags = { "acme:label=\\"c2\\"" = "rsit:…" } }`. Markings stay."""

    tags: Mapping[str, str]
    name: ClassVar[str] = "map_tags"
    on: ClassVar[frozenset[str]] = ANY

    def apply(self, on: On) -> str | None:
        refused = []
        for element in on.attributes if on.element is not None else [on.event]:
            for name in [name for name in tag_names(element) if name in self.tags]:
                why = untag(element, [name])
                if why is None:
                    holder = on.obj if on.obj is not None else on.element
                    why = (
                        tag_event(element, self.tags[name], closed=on.row.closed)
                        if element is on.event
                        else tag_element(on.event, element, self.tags[name], holder)
                    )
                refused.append(why)
        return joined(refused)


@register
@dataclass(frozen=True, slots=True)
class AddGalaxy(Action):
    """Add a galaxy cluster by a name, alias or external id of it: `{ type = "malware", value = "Emotet" }`.

    `type` is a STIX type (`malware`, `threat-actor`, `attack-pattern`, `identity` for a sector, `location`, …).
    """

    value: Template
    type: str = "malware"
    name: ClassVar[str] = "add_galaxy"
    on: ClassVar[frozenset[str]] = ANY

    def apply(self, on: On) -> str | None:
        value = self.value.render(on.context)
        tag = on.knowledge.cluster_tag(self.type, "", [value], [value])
        if tag is None:
            return f"no {self.type} cluster is called {value!r}"
        return _tag(on, tag)


def _tag(on: On, tag: str) -> str | None:
    if on.element is None:
        return tag_event(on.event, tag, closed=on.row.closed)
    return joined(
        tag_element(on.event, attribute, tag, on.obj if on.obj is not None else on.element)
        for attribute in on.attributes
    )
