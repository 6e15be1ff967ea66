"""Actions that add to an event: attributes, objects, references, reports and sightings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from stixbridge import tlp
from stixbridge.enrich.marking_guard import is_marking, put_tag, tag_element
from stixbridge.enrich.rules.actions.base import (
    ATTRIBUTE,
    MAX_COMMENT,
    OBJECT,
    Action,
    On,
    choice,
    joined,
    literal_tags,
    register,
    tag_problems,
)
from stixbridge.enrich.rules.conditions import Template
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import MispEvent, derived_uuid, one_line, set_level, tag_names
from stixbridge.misp.values import MAX_REPORT, BadValue, cut, normalise, storable
from stixbridge.settings.mistakes import near

_SIGHTINGS = {"sighting": 0, "false-positive": 1, "expiration": 2}


@register
@dataclass(frozen=True, slots=True)
class AddAttribute(Action):
    """Add an attribute to the event. An attribute with the same type and value is extended."""

    value: Template
    type: str
    category: str = ""
    to_ids: bool = False
    comment: Template | None = None
    tags: tuple[Template, ...] = ()
    name: ClassVar[str] = "add_attribute"

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        allowed = knowledge().allowed.get(self.type)
        if allowed is None:
            yield f"MISP has no type {self.type!r}{near(self.type, knowledge().allowed)}"
        elif self.category and self.category not in allowed:
            yield f"{self.type} can't be in {self.category!r}; {', '.join(sorted(allowed))}"
        yield from tag_problems(literal_tags(self.tags), knowledge())

    def apply(self, on: On) -> str | None:
        categories = on.knowledge.allowed.get(self.type)
        if categories is None:
            return f"MISP has no type {self.type!r}"
        if self.category and self.category not in categories:
            return f"{self.type} can't be in {self.category!r}"
        try:
            value = normalise(self.type, self.value.render(on.context))
        except BadValue:
            return f"{self.value.text} is not a value for {self.type}"
        uuid = derived_uuid(str(on.event["uuid"]), self.type, value)
        attribute = next((row for row in on.event["Attribute"] if row["uuid"] == uuid), None)
        if attribute is None:
            attribute = self._made(on, uuid, value)
            on.event["Attribute"].append(attribute)
        elif _distribution(on) == "0" and attribute["distribution"] != "0":
            return "the event has the value already, with a looser marking"
        on.row.elements.setdefault(uuid, _behind(on))
        return joined(tag_element(on.event, attribute, tag.render(on.context)) for tag in self.tags)

    def _made(self, on: On, uuid: str, value: str) -> dict[str, Any]:
        made = _attribute(on, uuid, self.type, value, self.category)
        made["to_ids"] = self.to_ids and not on.ended
        made["comment"] = _comment(on, self.comment)
        return made


@register
@dataclass(frozen=True, slots=True)
class AddObject(Action):
    """Add an object: `{ add_object = { template = "…", values = { relation = "…" } } }`."""

    template: str
    values: Mapping[str, Template]
    comment: Template | None = None
    refers_as: str = ""
    name: ClassVar[str] = "add_object"

    def problems(self, knowledge: Callable[[], Knowledge]) -> Iterable[str]:
        if not self.values:
            yield "an object has values"
        relations = knowledge().relations(self.template)
        if not relations:
            yield f"MISP has no object template {self.template!r}"
            return
        for name in self.values:
            if name not in relations:
                yield f"{self.template} has no relation {name!r}{near(name, relations)}"

    def apply(self, on: On) -> str | None:
        relations = on.knowledge.relations(self.template)
        if not relations:
            return f"MISP has no object template {self.template!r}"
        values: dict[str, str] = {}
        for relation, template in sorted(self.values.items()):
            if relation not in relations:
                return f"{self.template} has no relation {relation!r}"
            type_ = relations[relation][0]
            try:
                values[relation] = normalise(type_, template.render(on.context))
            except BadValue:
                return f"{template.text} is not a value for {type_}"
        target = on.element["uuid"] if on.element is not None else ""
        uuid = derived_uuid(
            on.event["uuid"], "rule", on.rule, self.template, target, *values.values()
        )
        if all(obj["uuid"] != uuid for obj in on.event["Object"]):
            on.event["Object"].append(self._made(on, uuid, values, target))
            on.row.elements.setdefault(uuid, _behind(on))
        return None

    def _made(self, on: On, uuid: str, values: Mapping[str, str], target: str) -> dict[str, Any]:
        about = on.knowledge.template(self.template)
        relations = on.knowledge.relations(self.template)
        made: dict[str, Any] = {
            "uuid": uuid,
            "name": self.template,
            "meta-category": about.category,
            "template_uuid": about.uuid,
            "template_version": about.version,
            "distribution": _distribution(on),
            "comment": _comment(on, self.comment),
            "timestamp": on.event["timestamp"],
            "Attribute": [],
        }
        for relation, value in values.items():
            type_, _, no_correlation, category = relations[relation]
            row = _attribute(on, derived_uuid(uuid, relation, value), type_, value, category or "")
            row |= {
                "object_relation": relation,
                "disable_correlation": no_correlation,
                "distribution": "5",
            }
            made["Attribute"].append(row)
        if self.refers_as and target:
            made["ObjectReference"] = [_reference(on, uuid, target, self.refers_as)]
        return made


@register
@dataclass(frozen=True, slots=True)
class AddReference(Action):
    """Add references from an object to all elements with a value.

    For example `{ to = "{object.values.domain[0]}" }`.

    Test the value in the condition first: `has(object.values.domain)`.
    """

    to: Template
    relationship: str = "related-to"
    name: ClassVar[str] = "add_reference"
    on: ClassVar[frozenset[str]] = frozenset({OBJECT})

    def apply(self, on: On) -> str | None:
        if on.element is None:
            return None
        value = self.to.render(on.context)
        targets = [part["uuid"] for part in _parts_with(on.event, value)]
        targets = [uuid for uuid in targets if uuid != on.element["uuid"]]
        if not targets:
            return f"the event does not contain {value!r}"
        references = on.element.setdefault("ObjectReference", [])
        known = {reference["uuid"] for reference in references}
        for uuid in targets:
            reference = _reference(on, on.element["uuid"], uuid, self.relationship)
            if reference["uuid"] not in known:
                references.append(reference)
        return None


@register
@dataclass(frozen=True, slots=True)
class AddReport(Action):
    """Add an event report with a title and a text in Markdown. Both are templates."""

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
        if all(report["uuid"] != row["uuid"] for report in reports):
            reports.append(row)
        return None


@register
@dataclass(frozen=True, slots=True)
class AddSighting(Action):
    """Add a `sighting`, `false-positive` or `expiration` to an attribute, with its time."""

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
    """Return the STIX ids of the match; added elements belong to them, too."""
    return list(on.row.elements.get(on.holder["uuid"], ())) if on.holder is not None else []


def _distribution(on: On) -> str:
    """Return the distribution for a new element: at most that of the element it is made from."""
    return (
        "0"
        if any(part and part.get("distribution") == "0" for part in (on.holder, on.element))
        else "5"
    )


def _attribute(on: On, uuid: str, type_: str, value: str, category: str) -> dict[str, Any]:
    """A new attribute that does not detect, with the markings of what the rule matched."""
    made: dict[str, Any] = {
        "uuid": uuid,
        "type": type_,
        "category": category or on.knowledge.categories[type_],
        "value": value,
        "to_ids": False,
        "disable_correlation": False,
        "distribution": _distribution(on),
        "comment": "",
        "timestamp": on.event["timestamp"],
    }
    names = {name for row in on.attributes for name in tag_names(row)}
    level = tlp.strictest(tlp.level_of_name(name) for name in names if tlp.is_tlp_tag(name))
    if level is not None:
        set_level(made, level)
    for name in names:
        if is_marking(name) and not tlp.is_tlp_tag(name):
            put_tag(made, name)
    return made


def _comment(on: On, template: Template | None) -> str:
    if template is None:
        return ""
    return one_line(storable(template.render(on.context)))[:MAX_COMMENT]


def _parts_with(event: MispEvent, value: str) -> Iterable[dict[str, Any]]:
    """The attributes and objects of an event that have a value, or a UUID."""
    for part in [*event["Attribute"], *event["Object"]]:
        values = [part.get("value"), *(row["value"] for row in part.get("Attribute") or ())]
        if value in values or value == part["uuid"]:
            yield part


def _reference(on: On, source: str, target: str, verb: str) -> dict[str, Any]:
    return {
        "uuid": derived_uuid(on.event["uuid"], "reference", on.rule, source, target, verb),
        "object_uuid": source,
        "referenced_uuid": target,
        "relationship_type": verb,
        "comment": "",
    }
