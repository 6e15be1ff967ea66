"""Actions on attributes and objects, and what is added to an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from stixbridge import times, tlp
from stixbridge.enrich.marking_guard import is_marking, put_tag, tag_element
from stixbridge.enrich.rules.actions.base import (
    ATTRIBUTE,
    ELEMENT,
    MAX_COMMENT,
    OBJECT,
    Action,
    On,
    choice,
    joined,
    register,
)
from stixbridge.enrich.rules.conditions import Template
from stixbridge.misp.model import derived_uuid, one_line, set_level, tag_names
from stixbridge.misp.values import MAX_REPORT, BadValue, cut, normalise, storable

_SIGHTINGS = {"sighting": 0, "false-positive": 1, "expiration": 2}


@register
@dataclass(frozen=True, slots=True)
class SetToIds(Action):
    """Set or clear `to_ids`; never set on what is revoked or expired."""

    to: bool
    name: ClassVar[str] = "set_to_ids"
    on: ClassVar[frozenset[str]] = ELEMENT

    def apply(self, on: On) -> str | None:
        if self.to and on.ended:
            return "what is behind it is revoked or expired: to_ids stays off"
        for attribute in on.attributes:
            attribute["to_ids"] = self.to
        return None


@register
@dataclass(frozen=True, slots=True)
class SetCategory(Action):
    """Set the category of an attribute; one that its type can have."""

    to: str
    name: ClassVar[str] = "set_category"
    on: ClassVar[frozenset[str]] = frozenset({ATTRIBUTE})

    def apply(self, on: On) -> str | None:
        for attribute in on.attributes:
            if self.to not in on.knowledge.allowed.get(attribute["type"], ()):
                return f"{attribute['type']} can't be in {self.to!r}"
            attribute["category"] = self.to
        return None


@register
@dataclass(frozen=True, slots=True)
class SetComment(Action):
    """Set the comment: a template."""

    to: Template
    name: ClassVar[str] = "set_comment"
    on: ClassVar[frozenset[str]] = ELEMENT

    def apply(self, on: On) -> str | None:
        if on.element is not None:
            on.element["comment"] = one_line(storable(self.to.render(on.context)))[:MAX_COMMENT]
        return None


class _SetSeen(Action):
    """What `first_seen` and `last_seen` have in common."""

    to: Template
    on = ELEMENT

    def apply(self, on: On) -> str | None:
        text = self.to.render(on.context)
        moment = times.read(text)
        if moment is None:
            return f"{text!r} is no time"
        if on.element is not None:
            which = self.name.removeprefix("set_")
            other = on.element.get("last_seen" if which == "first_seen" else "first_seen")
            limit = times.read(other)
            if limit is not None and (moment > limit if which == "first_seen" else moment < limit):
                return f"{text} is on the wrong side of {other}: MISP drops both"
            on.element[which] = times.to_text(moment)
        return None


@register
@dataclass(frozen=True, slots=True)
class SetFirstSeen(_SetSeen):
    """Set `first_seen`: a template of a time, as `{stix[0].created}`."""

    to: Template
    name: ClassVar[str] = "set_first_seen"


@register
@dataclass(frozen=True, slots=True)
class SetLastSeen(_SetSeen):
    """Set `last_seen`: a template of a time."""

    to: Template
    name: ClassVar[str] = "set_last_seen"


@register
@dataclass(frozen=True, slots=True)
class SetCorrelation(Action):
    """Let MISP correlate an element's values, or not."""

    to: bool
    name: ClassVar[str] = "set_correlation"
    on: ClassVar[frozenset[str]] = ELEMENT

    def apply(self, on: On) -> str | None:
        for attribute in on.attributes:
            attribute["disable_correlation"] = not self.to
        return None


@register
@dataclass(frozen=True, slots=True)
class AddAttribute(Action):
    """Add an attribute to the event, or to what is there of the same type and value."""

    value: Template
    type: str
    category: str = ""
    to_ids: bool = False
    comment: Template | None = None
    tags: tuple[Template, ...] = ()
    name: ClassVar[str] = "add_attribute"

    def apply(self, on: On) -> str | None:
        categories = on.knowledge.allowed.get(self.type)
        if categories is None:
            return f"MISP has no type {self.type!r}"
        if self.category and self.category not in categories:
            return f"{self.type} can't be in {self.category!r}"
        try:
            value = normalise(self.type, self.value.render(on.context))
        except BadValue:
            return f"{self.value.text} is no {self.type}"
        uuid = derived_uuid(str(on.event["uuid"]), self.type, value)
        known = next((row for row in on.event["Attribute"] if row["uuid"] == uuid), None)
        if known is not None and _distribution(on) == "0" and known["distribution"] != "0":
            return "the value is there already, and marked less strictly"
        if known is None:
            known = _attribute(on, uuid, self.type, value, self.category, self.to_ids, self.comment)
            on.event["Attribute"].append(known)
        on.row.elements.setdefault(uuid, _behind(on))
        return joined(tag_element(on.event, known, tag.render(on.context)) for tag in self.tags)


@register
@dataclass(frozen=True, slots=True)
class AddObject(Action):
    """Add an object: `{ add_object = { template = "…", values = { relation = "…" } } }`."""

    template: str
    values: Mapping[str, Template]
    comment: Template | None = None
    refers_as: str = ""
    name: ClassVar[str] = "add_object"

    def apply(self, on: On) -> str | None:
        relations = on.knowledge.relations(self.template)
        if not relations:
            return f"MISP has no object template {self.template!r}"
        rows = []
        for relation, template in sorted(self.values.items()):
            if relation not in relations:
                return f"{self.template} has no relation {relation!r}"
            type_, _, no_correlation, category = relations[relation]
            try:
                rows.append(
                    (
                        relation,
                        type_,
                        normalise(type_, template.render(on.context)),
                        no_correlation,
                        category,
                    )
                )
            except BadValue:
                return f"{template.text} is no {type_}"
        target = on.element["uuid"] if on.element is not None else ""
        uuid = derived_uuid(
            on.event["uuid"], "rule", on.rule, self.template, target, *(row[2] for row in rows)
        )
        if any(obj["uuid"] == uuid for obj in on.event["Object"]):
            return None
        about = on.knowledge.template(self.template)
        made: dict[str, Any] = {
            "uuid": uuid,
            "name": self.template,
            "meta-category": about.category,
            "template_uuid": about.uuid,
            "template_version": about.version,
            "distribution": _distribution(on),
            "comment": one_line(storable(self.comment.render(on.context)))[:MAX_COMMENT]
            if self.comment
            else "",
            "timestamp": on.event["timestamp"],
            "Attribute": [],
        }
        for relation, type_, value, no_correlation, category in rows:
            row = _attribute(
                on, derived_uuid(uuid, relation, value), type_, value, category or "", False, None
            )
            row.update(
                object_relation=relation, disable_correlation=no_correlation, distribution="5"
            )
            made["Attribute"].append(row)
        if self.refers_as and target:
            made["ObjectReference"] = [_reference(on, uuid, target, self.refers_as)]
        on.event["Object"].append(made)
        on.row.elements.setdefault(uuid, _behind(on))
        return None


@register
@dataclass(frozen=True, slots=True)
class AddReference(Action):
    """Refer from an object to every element of the event with a value: `{ to = "{object.values.domain[0]}" }`.

    Ask for it first: `has(object.values.domain)`.
    """

    to: Template
    relationship: str = "related-to"
    name: ClassVar[str] = "add_reference"
    on: ClassVar[frozenset[str]] = frozenset({OBJECT})

    def apply(self, on: On) -> str | None:
        if on.element is None:
            return None
        value = self.to.render(on.context)
        rows = on.element.setdefault("ObjectReference", [])
        known = {row["uuid"] for row in rows}
        found = 0
        for other in [*on.event["Attribute"], *on.event["Object"]]:
            values = [other.get("value"), *(row["value"] for row in other.get("Attribute") or ())]
            if other["uuid"] != on.element["uuid"] and (value in values or value == other["uuid"]):
                found += 1
                row = _reference(on, on.element["uuid"], other["uuid"], self.relationship)
                if row["uuid"] not in known:
                    rows.append(row)
        if not rows:
            del on.element["ObjectReference"]
        return None if found else f"nothing in the event is {value!r}"


@register
@dataclass(frozen=True, slots=True)
class AddReport(Action):
    """Add an event report: a title, and a text in Markdown; both templates."""

    text: Template
    title: Template
    name: ClassVar[str] = "add_report"

    def apply(self, on: On) -> str | None:
        title = one_line(storable(self.title.render(on.context)))[:MAX_COMMENT]
        row = {
            "uuid": derived_uuid(on.event["uuid"], "rule", "report", on.rule, title),
            "name": title,
            "content": cut(storable(self.text.render(on.context)), MAX_REPORT),
            "distribution": _distribution(on),
            "timestamp": on.event["timestamp"],
        }
        reports = on.event.setdefault("EventReport", [])
        if all(held["uuid"] != row["uuid"] for held in reports):
            reports.append(row)
        return None


@register
@dataclass(frozen=True, slots=True)
class AddSighting(Action):
    """Add a sighting to an attribute: `sighting`, `false-positive` or `expiration`, with the time of the attribute."""

    type: str = "sighting"
    source: str = ""
    name: ClassVar[str] = "add_sighting"
    on: ClassVar[frozenset[str]] = frozenset({ATTRIBUTE})

    def __post_init__(self) -> None:
        choice(self.type, _SIGHTINGS)

    def apply(self, on: On) -> str | None:
        for attribute in on.attributes:
            rows = attribute.setdefault("Sighting", [])
            uuid = derived_uuid(on.event["uuid"], "rule", "sighting", on.rule, attribute["uuid"])
            if all(row["uuid"] != uuid for row in rows):
                rows.append(
                    {
                        "uuid": uuid,
                        "type": str(choice(self.type, _SIGHTINGS)),
                        "source": self.source or on.row.names.get("source.name", ""),
                        "date_sighting": attribute["timestamp"],
                    }
                )
        return None


def _behind(on: On) -> list[str]:
    """The STIX ids behind what a rule matched: what it adds comes from them, too."""
    return list(on.row.elements.get(on.holder["uuid"], ())) if on.holder is not None else []


def _distribution(on: On) -> str:
    """What is made from an element that is kept close is kept as close."""
    return (
        "0"
        if any(part and part.get("distribution") == "0" for part in (on.holder, on.element))
        else "5"
    )


def _attribute(
    on: On, uuid: str, type_: str, value: str, category: str, to_ids: bool, comment: Template | None
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "uuid": uuid,
        "type": type_,
        "category": category or on.knowledge.categories[type_],
        "value": value,
        "to_ids": to_ids and not on.ended,
        "disable_correlation": False,
        "distribution": _distribution(on),
        "comment": one_line(storable(comment.render(on.context)))[:MAX_COMMENT]
        if comment is not None
        else "",
        "timestamp": on.event["timestamp"],
    }
    level = tlp.strictest(
        tlp.level_of_name(name)
        for row in on.attributes
        for name in tag_names(row)
        if tlp.is_tlp_tag(name)
    )
    if level is not None:
        set_level(made, level)
    others = {
        name
        for row in on.attributes
        for name in tag_names(row)
        if is_marking(name) and not tlp.is_tlp_tag(name)
    }
    for name in others:
        put_tag(made, name)
    return made


def _reference(on: On, source: str, target: str, verb: str) -> dict[str, Any]:
    return {
        "uuid": derived_uuid(on.event["uuid"], "reference", on.rule, source, target, verb),
        "object_uuid": source,
        "referenced_uuid": target,
        "relationship_type": verb,
        "comment": "",
    }
