"""Actions on the attributes and objects of an event."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from stixbridge import times
from stixbridge.enrich.rules.actions.base import (
    ATTRIBUTE,
    ELEMENT,
    MAX_COMMENT,
    Action,
    On,
    register,
)
from stixbridge.enrich.rules.conditions import Template
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import one_line
from stixbridge.misp.values import storable
from stixbridge.settings.mistakes import near


@register
@dataclass(frozen=True, slots=True)
class SetToIds(Action):
    """Set or clear `to_ids`. It can't be set on revoked or expired indicators."""

    to: bool
    name: ClassVar[str] = "set_to_ids"
    on: ClassVar[frozenset[str]] = ELEMENT

    def apply(self, on: On) -> str | None:
        if self.to and on.ended:
            return "its indicators are revoked or expired: to_ids stays off"
        for attribute in on.attributes:
            attribute["to_ids"] = self.to
        return None


@register
@dataclass(frozen=True, slots=True)
class SetCategory(Action):
    """Set the category of an attribute. The type must allow it."""

    to: str
    name: ClassVar[str] = "set_category"
    on: ClassVar[frozenset[str]] = frozenset({ATTRIBUTE})

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        known = {name: None for names in knowledge().allowed.values() for name in names}
        if self.to not in known:
            yield f"MISP has no category {self.to!r}{near(self.to, known)}"

    def apply(self, on: On) -> str | None:
        for attribute in on.attributes:
            if self.to not in on.knowledge.allowed.get(attribute["type"], ()):
                return f"{attribute['type']} can't be in {self.to!r}"
            attribute["category"] = self.to
        return None


@register
@dataclass(frozen=True, slots=True)
class SetComment(Action):
    """Set the comment. The value is a template."""

    to: Template
    name: ClassVar[str] = "set_comment"
    on: ClassVar[frozenset[str]] = ELEMENT

    def apply(self, on: On) -> str | None:
        if on.element is not None:
            on.element["comment"] = one_line(storable(self.to.render(on.context)))[:MAX_COMMENT]
        return None


class _SetSeen(Action):
    """The common part of `set_first_seen` and `set_last_seen`."""

    to: Template
    on = ELEMENT

    def apply(self, on: On) -> str | None:
        text = self.to.render(on.context)
        moment = times.read(text)
        if moment is None:
            return f"{text!r} is not a time"
        if on.element is not None:
            which = self.name.removeprefix("set_")
            other = on.element.get("last_seen" if which == "first_seen" else "first_seen")
            limit = times.read(other)
            if limit is not None and (moment > limit if which == "first_seen" else moment < limit):
                return f"{text} contradicts {other}: MISP would drop both"
            on.element[which] = times.to_text(moment)
        return None


@register
@dataclass(frozen=True, slots=True)
class SetFirstSeen(_SetSeen):
    """Set `first_seen`. The value is a template for a time, for example `{stix[0].created}`."""

    to: Template
    name: ClassVar[str] = "set_first_seen"


@register
@dataclass(frozen=True, slots=True)
class SetLastSeen(_SetSeen):
    """Set `last_seen`. The value is a template for a time."""

    to: Template
    name: ClassVar[str] = "set_last_seen"


@register
@dataclass(frozen=True, slots=True)
class SetCorrelation(Action):
    """Turn correlation in MISP on or off for the values of an element."""

    to: bool
    name: ClassVar[str] = "set_correlation"
    on: ClassVar[frozenset[str]] = ELEMENT

    def apply(self, on: On) -> str | None:
        for attribute in on.attributes:
            attribute["disable_correlation"] = not self.to
        return None
