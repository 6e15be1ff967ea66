"""Selects the rules that can match and applies them to one event.

Event rules run first. Then the rules for objects and attributes run, element by element. Rules with
`for = "end"` run last and see the changed event. Within each group the order is that of the files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from stixbridge import times
from stixbridge.enrich.marking_guard import may_stand
from stixbridge.enrich.rules.actions.base import ATTRIBUTE, EVENT, OBJECT, Action, On
from stixbridge.enrich.rules.conditions import FUNCTIONS, BadExpression, Expression, Template
from stixbridge.enrich.rules.variables import attribute_view, event_view, ledger_view, object_view
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import Converted

if TYPE_CHECKING:
    from cel import Context

END = "end"
TARGETS = (EVENT, OBJECT, ATTRIBUTE, END)

StixObject = Mapping[str, Any]

_REFERENCES = (("ObjectReference", "referenced_uuid"), ("Relationship", "related_object_uuid"))
"""Parts that refer to others, and the field with the UUID that they refer to."""
_ONE_TYPE = re.compile(
    r"""^\s*(attribute\.type|object\.name)\s*==\s*(?:"([^"]*)"|'([^']*)')\s*(?:$|&&)"""
)
_SOME_TYPES = re.compile(r"^\s*(attribute\.type|object\.name)\s+in\s+\[([^\]]*)\]\s*(?:$|&&)")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: shown in the ledger and by `explain`.
        target: `event`, `object`, `attribute` or `end`.
        when: the condition; None matches always.
        actions: the actions, in order.
        types: attribute types or object names that it can match; empty for all.
        stop: whether later rules skip the elements that it matched.
        place: file and line.
    """

    name: str
    target: str
    when: Expression | None
    actions: tuple[Action, ...]
    types: frozenset[str] = frozenset()
    stop: bool = False
    place: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The names that its condition and templates use."""
        found = set(self.when.names if self.when is not None else ())
        for action in self.actions:
            for template in templates_of(action):
                found |= template.names
        return frozenset(found)


def templates_of(action: Action) -> Iterable[Template]:
    """Return the templates in the fields of an action."""
    for name in action.__dataclass_fields__:
        value = getattr(action, name)
        rows = (
            value.values()
            if isinstance(value, Mapping)
            else value
            if isinstance(value, tuple)
            else (value,)
        )
        for row in rows:
            if isinstance(row, Template):
                yield row


def types_in(condition: str) -> tuple[str, frozenset[str]]:
    """Return the types that the first part of a condition allows.

    Returns:
        ("attribute" or "object", types), or ("", …) if the condition does not begin with types.
    """
    one = _ONE_TYPE.match(condition)
    if one is not None and "||" not in condition:
        return one[1].partition(".")[0], frozenset({one[2] if one[2] is not None else one[3]})
    some = _SOME_TYPES.match(condition)
    if some is not None and "||" not in condition:
        found = re.findall(r"""["']([^"']*)["']""", some[2])
        return some[1].partition(".")[0], frozenset(found)
    return "", frozenset()


class Group(NamedTuple):
    """Rules that can match one type, and the names they use."""

    rules: tuple[Rule, ...]
    names: frozenset[str]


@dataclass(slots=True)
class Step:
    """The effect of one rule on one element, for `rules explain`."""

    rule: str
    on: str
    actions: list[str]
    before: dict[str, Any]
    after: dict[str, Any]
    refused: list[str] = field(default_factory=list)


class Rules:
    """An ordered set of rules.

    Args (of the constructor):
        rules: in order.
        knowledge: returns MISP's types and templates; called when a rule fires.
        trace: called with each step.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        knowledge: Callable[[], Knowledge],
        trace: Callable[[Step], None] | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self._knowledge = knowledge
        self._trace = trace
        self._by_type: dict[tuple[str, str], Group] = {}
        self.failed: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self.rules)

    def group(self, target: str, type_: str = "") -> Group:
        """Return the rules that can match a type; the result is cached."""
        known = self._by_type.get((target, type_))
        if known is None:
            found = [
                rule
                for rule in self.rules
                if rule.target == target and (not rule.types or type_ in rule.types)
            ]
            names = frozenset().union(*(rule.names for rule in found))
            known = self._by_type[target, type_] = Group(tuple(found), names)
        return known

    def apply(
        self, row: Converted, objects: Mapping[str, StixObject], ledger: Ledger, source: str
    ) -> bool:
        """Apply all rules to one event.

        Args:
            row: the event; changed in place.
            objects: the STIX objects of the conversion, by id.
            ledger: the ledger of the conversion; receives lines about drops and refusals.
            source: the name of the source.

        Returns:
            False if a rule drops the event.
        """
        run = _Run(self, row, objects, ledger, source)
        for target in (EVENT, OBJECT, ATTRIBUTE, END):
            if target in (EVENT, END):
                run.over(self.group(target), EVENT, None, None)
            elif target == OBJECT:
                for obj in list(row.event["Object"]):
                    run.over(self.group(OBJECT, obj["name"]), OBJECT, obj, None)
            else:
                run.attributes(self.group)
            if run.leave_out():
                return False
        return True

    def report(self, ledger: Ledger) -> None:
        """Add one line to the ledger for each rule that failed, and reset the counts."""
        for (rule, text), count in sorted(self.failed.items()):
            times_ = "once" if count == 1 else f"{count} times"
            ledger.note(
                None, f"rule {rule}", Outcome.DROPPED, Reason.RULE_FAILED, f"{times_}: {text}"
            )
        self.failed.clear()


class _Run:
    """Applies the rules to one event."""

    def __init__(
        self,
        rules: Rules,
        row: Converted,
        objects: Mapping[str, StixObject],
        ledger: Ledger,
        source: str,
    ) -> None:
        self._rules = rules
        self._row = row
        self._objects = objects
        self._ledger = ledger
        self._source = {"name": source}
        self._event_view: dict[str, Any] | None = None
        self._gone: set[str] = set()
        self._now = times.read(ledger.reference_time) or 0

    def attributes(self, of: Callable[[str, str], Group]) -> None:
        """Return the attributes outside objects, then those in objects."""
        event = self._row.event
        for attribute in list(event["Attribute"]):
            self.over(of(ATTRIBUTE, attribute["type"]), ATTRIBUTE, attribute, None)
        for obj in list(event["Object"]):
            if obj["uuid"] in self._gone:
                continue
            for attribute in list(obj["Attribute"]):
                self.over(of(ATTRIBUTE, attribute["type"]), ATTRIBUTE, attribute, obj)

    def over(
        self, group: Group, kind: str, element: dict[str, Any] | None, obj: dict[str, Any] | None
    ) -> None:
        """Apply all rules that can match an event, an object or an attribute to it."""
        context: Context | None = None
        for rule in group.rules:
            # all rules share one context; it is built again only after a change
            if context is None:
                context = self._context(kind, element, obj, group.names)
            if not self._matches(rule, context):
                continue
            on = On(
                self._row, kind, element, obj, rule.name, context, self._rules._knowledge(),
                self._ledger, self._gone,
                self._ended(kind, element, obj),
            )  # fmt: skip
            self._fire(rule, on)
            context = None
            self._event_view = None
            if rule.stop or (element is not None and element["uuid"] in self._gone):
                break

    def _fire(self, rule: Rule, on: On) -> None:
        """Do the actions of a rule, and tell `rules explain` of it."""
        trace = self._rules._trace
        if trace is None:
            self._act(rule, on)
            return
        target = on.element if on.element is not None else on.event
        before = self._view(on.kind, on.element, on.obj)
        refused = self._act(rule, on)
        self._event_view = None
        after = {} if target["uuid"] in self._gone else self._view(on.kind, on.element, on.obj)
        names = [action.name for action in rule.actions]
        trace(Step(rule.name, str(target["uuid"]), names, before, after, refused))

    def _matches(self, rule: Rule, context: Context) -> bool:
        if rule.when is None:
            return True
        try:
            return rule.when.evaluate(context) is True
        except BadExpression as error:
            self._rules.failed[rule.name, str(error)] += 1
            return False

    def _act(self, rule: Rule, on: On) -> list[str]:
        target = str((on.element or on.event)["uuid"])
        refusals = []
        for action in rule.actions:
            try:
                refused = action.apply(on)
            except BadExpression as error:
                self._rules.failed[rule.name, f"{action.name}: {error}"] += 1
                continue
            if refused is not None:
                refusals.append(f"{action.name}: {refused}")
                place = f"rule {rule.name}: {action.name}"
                self._ledger.note(target, place, Outcome.DROPPED, Reason.RULE_REFUSED, refused)
            else:
                self._row.touched.append((rule.name, target, action.name))
            if target in on.gone or str(on.event["uuid"]) in on.gone:
                self._ledger.note(
                    target, f"rule {rule.name}", Outcome.DROPPED, Reason.RULE, _shown(on)[:200]
                )
                break
        return refusals

    def leave_out(self) -> bool:
        """Remove dropped elements; return True if the whole event is dropped."""
        if not self._gone:
            return False
        event = self._row.event
        if event["uuid"] in self._gone:
            self._row.dropped = True
            self._row.left_out.update(dict.fromkeys(self._row.stix_ids, Reason.RULE))
        else:
            drop(event, self._gone, self._row, Reason.RULE)
        return self._row.dropped

    # the variables of conditions

    def _context(
        self,
        kind: str,
        element: dict[str, Any] | None,
        obj: dict[str, Any] | None,
        used: frozenset[str],
    ) -> Context:
        from cel import Context

        if self._event_view is None:
            self._event_view = event_view(self._row)
        values: dict[str, Any] = {"event": self._event_view, "source": self._source}
        if kind == ATTRIBUTE and element is not None:
            values["attribute"] = attribute_view(element)
            values["object"] = object_view(obj)
        elif element is not None:
            values["object"] = object_view(element)
        if "report" in used:
            values["report"] = dict(self._objects.get(self._row.container or "") or {})
        if used & {"stix", "ledger"}:
            ids = self._ids(kind, element, obj)
            if "stix" in used:
                values["stix"] = self._stix(ids, of_event=element is None)
            if "ledger" in used:
                values["ledger"] = ledger_view(self._ledger, ids)
        return Context(values, FUNCTIONS)

    def _stix(self, ids: list[str], *, of_event: bool) -> list[StixObject]:
        """The STIX objects behind something; for an event, those that may be told on it."""
        objects = [self._objects[id_] for id_ in ids if id_ in self._objects]
        if not of_event:
            return objects
        event, report = self._row.event, self._row.container
        return [
            obj for obj in objects if obj["id"] == report or may_stand(event, obj, self._objects)
        ]

    def _ids(
        self, kind: str, element: dict[str, Any] | None, obj: dict[str, Any] | None
    ) -> list[str]:
        if element is None:
            return [self._row.container] if self._row.container is not None else self._row.stix_ids
        holder = obj if obj is not None else element
        return self._row.elements.get(str(holder["uuid"]), [])

    def _ended(self, kind: str, element: dict[str, Any] | None, obj: dict[str, Any] | None) -> bool:
        """Return whether all STIX objects of an element are revoked or expired."""
        if element is None:
            return False
        behind = [
            self._objects[id_] for id_ in self._ids(kind, element, obj) if id_ in self._objects
        ]
        indicators = [one for one in behind if one["type"] == "indicator"] or behind
        return bool(indicators) and all(self._is_over(one) for one in indicators)

    def _is_over(self, obj: StixObject) -> bool:
        until = times.read(obj.get("valid_until"))
        return obj.get("revoked") is True or (until is not None and until <= self._now)

    def _view(
        self, kind: str, element: dict[str, Any] | None, obj: dict[str, Any] | None
    ) -> dict[str, Any]:
        if element is None:
            return event_view(self._row)
        return attribute_view(element) if kind == ATTRIBUTE else object_view(element)


def _shown(on: On) -> str:
    """The value, name or title by which people know what a rule matched."""
    if on.element is None:
        return str(on.event["info"])
    return str(on.element.get("value") or on.element.get("name"))


def drop(event: dict[str, Any], dropped: set[str], row: Converted, reason: str) -> None:
    """Take elements out of an event, with what refers to them.

    An object without attributes goes, too.

    Args:
        event: changed in place.
        dropped: UUIDs; those of objects that become empty are added.
        row: the event with its provenance.
        reason: for the ledger.
    """
    for obj in event["Object"]:
        obj["Attribute"] = _without(obj["Attribute"], dropped)
        if not obj["Attribute"]:
            dropped.add(obj["uuid"])
    event["Attribute"] = _without(event["Attribute"], dropped)
    event["Object"] = _without(event["Object"], dropped)
    for element in (event, *event["Attribute"], *event["Object"]):
        for name, target in _REFERENCES:
            if name in element:
                element[name] = _without(element[name], dropped, target)
                if not element[name]:
                    del element[name]
    # they stay members of the event, so that a later poll or a replay evaluates them again
    row.left_out.update(dict.fromkeys(_lost(row, dropped), reason))
    if row.container is None and not event["Attribute"] and not event["Object"]:
        row.dropped = True


def _lost(row: Converted, dropped: set[str]) -> set[str]:
    """The STIX ids that only dropped elements came from."""
    lost = {id_ for uuid in dropped for id_ in row.elements.pop(uuid, ())}
    return lost - {id_ for ids in row.elements.values() for id_ in ids}


def _without(
    rows: list[dict[str, Any]], uuids: set[str], key: str = "uuid"
) -> list[dict[str, Any]]:
    return [row for row in rows if row.get(key) not in uuids]
