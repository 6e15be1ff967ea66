"""Actions that set fields of the event, choose its sinks, or drop it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stixbridge import times
from stixbridge.enrich.marking_guard import (
    distribute_element,
    distribute_event,
    is_stricter,
    share_event,
)
from stixbridge.enrich.rules.actions.base import ANY, Action, On, choice, register
from stixbridge.enrich.rules.conditions import Template
from stixbridge.errors import ConfigError
from stixbridge.misp.model import one_line
from stixbridge.misp.values import storable

MAX_INFO = 1_000
LEVELS = {"high": 1, "medium": 2, "low": 3, "undefined": 4}
ANALYSIS = {"initial": 0, "ongoing": 1, "completed": 2}


@register
@dataclass(frozen=True, slots=True)
class SetInfo(Action):
    """Set the title. The value is a template."""

    to: Template
    name: ClassVar[str] = "set_info"

    def apply(self, on: On) -> str | None:
        text = one_line(storable(self.to.render(on.context)))[:MAX_INFO]
        if not text:
            return "a title can't be empty"
        if on.element is not None and is_stricter(on.event, on.attributes, on.holder):
            return "the text comes from an object with a stricter marking than the event"
        on.event["info"] = text
        return None


@register
@dataclass(frozen=True, slots=True)
class SetDate(Action):
    """Set the date. The value is a template for a day or time, for example `{report.published}`."""

    to: Template
    name: ClassVar[str] = "set_date"

    def apply(self, on: On) -> str | None:
        text = self.to.render(on.context)
        moment = times.read(f"{text}T00:00:00Z" if len(text) == 10 else text)
        if moment is None:
            return f"{text!r} is not a date"
        on.event["date"] = times.to_day(moment)
        return None


@register
@dataclass(frozen=True, slots=True)
class SetThreatLevel(Action):
    """Set the threat level: `high`, `medium`, `low`, `undefined`, or 1 to 4."""

    to: int | str
    name: ClassVar[str] = "set_threat_level"

    def __post_init__(self) -> None:
        choice(self.to, LEVELS)

    def apply(self, on: On) -> str | None:
        on.event["threat_level_id"] = str(choice(self.to, LEVELS))
        return None


@register
@dataclass(frozen=True, slots=True)
class SetAnalysis(Action):
    """Set the state of analysis: `initial`, `ongoing`, `completed`, or 0 to 2."""

    to: int | str
    name: ClassVar[str] = "set_analysis"

    def __post_init__(self) -> None:
        choice(self.to, ANALYSIS)

    def apply(self, on: On) -> str | None:
        on.event["analysis"] = str(choice(self.to, ANALYSIS))
        return None


@register
@dataclass(frozen=True, slots=True)
class SetDistribution(Action):
    """Set the distribution of the event (0 to 3) or of an element (0 to 3, 5 inherits).

    It is never wider than a marking allows.
    """

    to: int
    name: ClassVar[str] = "set_distribution"
    on: ClassVar[frozenset[str]] = ANY

    def __post_init__(self) -> None:
        if self.to not in (0, 1, 2, 3, 5):
            raise ConfigError(f"{self.to} is not a distribution; write 0 to 3, or 5 to inherit")

    def apply(self, on: On) -> str | None:
        if on.element is None:
            if self.to == 5:
                return "an event can't inherit a distribution; write 0 to 3"
            return distribute_event(on.event, self.to, closed=on.row.closed)
        return distribute_element(on.event, on.element, self.to, on.obj)


@register
@dataclass(frozen=True, slots=True)
class SetSharingGroup(Action):
    """Assign the event to a sharing group, by UUID or name. RED events are refused."""

    to: str
    name: ClassVar[str] = "set_sharing_group"

    def apply(self, on: On) -> str | None:
        return share_event(on.event, self.to, closed=on.row.closed)


@register
@dataclass(frozen=True, slots=True)
class Publish(Action):
    """Publish the event once its delivery is complete (`true`), or never (`false`).

    This overrides the setting of the pipeline.
    """

    to: bool = True
    name: ClassVar[str] = "publish"

    def apply(self, on: On) -> str | None:
        on.row.publish = self.to
        return None


@register
@dataclass(frozen=True, slots=True)
class Hold(Action):
    """Hold the event back for now. The text is the reason."""

    because: Template
    name: ClassVar[str] = "hold"

    def apply(self, on: On) -> str | None:
        on.row.held = self.because.render(on.context) or "a rule matched"
        return None


@register
@dataclass(frozen=True, slots=True)
class Route(Action):
    """Deliver the event only to these sinks of the pipeline."""

    to: tuple[str, ...]
    name: ClassVar[str] = "route"

    def __post_init__(self) -> None:
        if not self.to:
            raise ConfigError("at least one sink is needed; use drop_event to drop an event")

    def apply(self, on: On) -> str | None:
        on.row.sinks = frozenset(self.to)
        return None


@register
@dataclass(frozen=True, slots=True)
class Drop(Action):
    """Drop the matched attribute, object, or event."""

    to: bool = True
    name: ClassVar[str] = "drop"
    on: ClassVar[frozenset[str]] = ANY

    def apply(self, on: On) -> str | None:
        if self.to:
            on.gone.add(str((on.element or on.event)["uuid"]))
        return None


@register
@dataclass(frozen=True, slots=True)
class DropEvent(Action):
    """Drop the whole event, even if the rule matched only an element."""

    to: bool = True
    name: ClassVar[str] = "drop_event"

    def apply(self, on: On) -> str | None:
        if self.to:
            on.gone.add(str(on.event["uuid"]))
        return None
