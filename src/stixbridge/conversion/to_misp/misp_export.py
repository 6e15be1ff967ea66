"""Restores the attributes and objects of MISP from its STIX exports.

They get back their own UUIDs, types and categories. A record says what it is in its labels
(`misp_export_labels`). Many come in two halves of one UUID: an observed-data with the values, and
an indicator with those of them that detect. Both halves count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stixbridge import times
from stixbridge.conversion.to_misp.elements import NO_CORRELATION
from stixbridge.conversion.to_misp.misp_export_files import files_in, is_content
from stixbridge.conversion.to_misp.misp_export_labels import fields_of
from stixbridge.conversion.to_misp.misp_export_observables import Leaf, Observables
from stixbridge.conversion.to_misp.misp_export_values import (
    compared_in,
    is_redundant,
    lone_value,
    pieces_of,
    plain,
    properties_of,
    related,
    rule_of,
    rule_properties,
    unfolded,
)
from stixbridge.conversion.to_misp.translation import Attribute, Draft, Object, unique
from stixbridge.conversion.to_misp.walk import text_of
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.dialects import misp_export
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import uuid_of
from stixbridge.misp.values import BadValue, base64_of, normalise
from stixbridge.stix.pattern import PatternError

StixObject = Mapping[str, Any]
Row = tuple[str, Attribute]
"""(relation, attribute)."""


class _Source(NamedTuple):
    """The values of a record, and those among them that detect.

    Attributes:
        leaves: all values.
        detecting: those that detect; None where all do.
    """

    leaves: Sequence[Leaf]
    detecting: Sequence[Leaf] | None


class _Reading(NamedTuple):
    """How the values of a record are read.

    Attributes:
        obj: the record.
        names: property of the export -> its name in MISP.
        flagged: the values that detect; None where all do.
        detects: whether any may detect.
    """

    obj: StixObject
    names: Mapping[str, str]
    flagged: frozenset[Leaf] | None
    detects: bool

    def flags(self, *keys: Leaf) -> bool:
        """Whether a value detects, by any of its keys."""
        return self.detects and (self.flagged is None or any(key in self.flagged for key in keys))


class Restorer:
    """Reads the records of one input.

    Args (of the constructor):
        objects: of the input, by id.
        knowledge: MISP's types and templates.
        halves: id of a record -> ids of its other halves.
    """

    def __init__(
        self,
        objects: Mapping[str, StixObject],
        knowledge: Knowledge,
        halves: Mapping[str, Sequence[str]],
    ) -> None:
        self._objects = objects
        self._knowledge = knowledge
        self._halves = halves
        self._observables = Observables(objects)

    def translate(self, obj: StixObject, *, detects: bool) -> Draft:
        """Translate a record, with its other halves.

        Args:
            obj: the record.
            detects: whether it may carry `to_ids`.

        Raises:
            PatternError: for a pattern outside the grammar, where no other half has the values.
        """
        draft = Draft()
        fields = fields_of(obj)
        draft.comment = _comment(obj, fields)
        if obj["type"] == "x-misp-object":
            self._listed(draft, obj, detects)
        elif obj["type"] == "x-misp-attribute":
            self._own_type(draft, obj, fields, detects)
        elif "name" in fields:
            self._object(draft, obj, fields["name"], detects)
        else:
            self._lone(draft, obj, fields, detects)
        comments = [draft.comment]
        for half in self._others(obj):
            draft.consumed.append(str(half["id"]))
            if half["type"] == "observed-data":
                draft.consumed.extend(self._observables.refs(half))
            comments.append(_comment(half, fields_of(half)))
        draft.comment = " | ".join(dict.fromkeys(comment for comment in comments if comment))
        return draft

    # attributes

    def _own_type(
        self, draft: Draft, obj: StixObject, fields: Mapping[str, str], detects: bool
    ) -> None:
        """An `x-misp-attribute`, which names its parts."""
        to_ids = obj.get("x_misp_to_ids") is True or fields.get("to_ids") == "True"
        type_ = str(obj.get("x_misp_type") or fields.get("type"))
        category = str(obj.get("x_misp_category") or fields.get("category"))
        value, data = text_of(obj.get("x_misp_value") or ""), obj.get("x_misp_data")
        content = data if isinstance(data, str) else None
        self._attribute(draft, obj, type_, value, category, to_ids and detects, content)

    def _lone(
        self, draft: Draft, obj: StixObject, fields: Mapping[str, str], detects: bool
    ) -> None:
        type_ = fields["type"]
        if obj["type"] == "observed-data" or (
            _is_stix_pattern(obj) and type_ not in misp_export.RULES
        ):
            leaves, detecting = self._read(obj, draft)
            flag = self._lone_flag(obj, detecting)
        elif obj["type"] == "indicator":
            leaves, flag = [("", rule_of(obj))], fields.get("to_ids", "True") == "True"
        else:
            leaves, flag = [("", text_of(obj.get("name") or ""))], fields.get("to_ids") == "True"
        data = next((value for path, value in leaves if is_content(path)), None)
        category = fields.get("category", "")
        value = lone_value(type_, leaves) or ""
        self._attribute(draft, obj, type_, value, category, flag and detects, data)

    def _lone_flag(self, obj: StixObject, detecting: Sequence[Leaf] | None) -> bool:
        """Whether a lone attribute detects.

        The label of the export says it. Without that label, an indicator detects.
        """
        halves = self._others(obj)
        if any(half.get("revoked") is True for half in halves):
            return False
        labels = [fields_of(row).get("to_ids") for row in (obj, *halves)]
        label = next((label for label in labels if label), "")
        if label:
            return label == "True"
        return detecting is None or bool(detecting)

    def _attribute(
        self,
        draft: Draft,
        obj: StixObject,
        type_: str,
        value: str,
        category: str,
        to_ids: bool,
        data: str | None = None,
    ) -> None:
        made = self._made(type_, value, category, to_ids, data)
        if made is None:
            draft.drops.append((_place(obj), Outcome.DROPPED, Reason.INVALID_VALUE))
        else:
            draft.attributes.append(made)
            draft.uuids[made.type, made.value] = uuid_of(str(obj["id"])) or ""

    def _made(
        self, type_: str, value: str, category: str, to_ids: bool, data: str | None = None
    ) -> Attribute | None:
        knowledge = self._knowledge
        if type_ not in knowledge.categories:
            return None
        try:
            value = normalise(type_, value)
        except BadValue:
            return None
        if category not in knowledge.allowed[type_]:
            category = knowledge.categories[type_]
        content = base64_of(data) if data is not None else None
        return Attribute(type_, value, category, to_ids, type_ not in NO_CORRELATION, content)

    # objects

    def _listed(self, draft: Draft, obj: StixObject, detects: bool) -> None:
        """Restore an `x-misp-object`, which lists its attributes as they were.

        An attribute without `to_ids` does not detect.
        """
        rows: list[Row] = []
        listed = obj.get("x_misp_attributes")
        for at, row in enumerate(listed if isinstance(listed, list) else ()):
            made = self._listed_row(row, detects) if isinstance(row, dict) else None
            if made is None:
                path = f"x_misp_attributes[{at}]"
                draft.drops.append((path, Outcome.DROPPED, Reason.INVALID_VALUE))
                continue
            relation = str(row.get("object_relation") or made.type)
            rows.append((relation, made))
            draft.uuids[relation, made.value] = uuid_of(str(row.get("uuid") or "")) or ""
        self._finish(draft, obj, str(obj.get("x_misp_name") or "misp-object"), rows)

    def _listed_row(self, row: Mapping[str, Any], detects: bool) -> Attribute | None:
        data, value = row.get("data"), row.get("value")
        return self._made(
            str(row.get("type")),
            text_of("" if value is None else value),
            str(row.get("category")),
            detects and row.get("to_ids") is True,
            data if isinstance(data, str) else None,
        )

    def _object(self, draft: Draft, obj: StixObject, name: str, detects: bool) -> None:
        leaves, detecting = self._source(obj, name, draft)
        own = uuid_of(str(obj["id"])) or ""
        names = self._observables.original_names(obj)
        wires = unfolded(self._knowledge.relations(name)) | names
        flagged = None if detecting is None else self._flagged(name, detecting, own, wires)
        reading = _Reading(obj, names, flagged, detects)
        told = {_comparable(value) for _, value in leaves}
        more = [leaf for leaf in detecting or () if _comparable(leaf[1]) not in told]
        files, rest = files_in(name, [*leaves, *more], own, wires)
        for key, (template, verb, parent, inside) in pieces_of(name, rest).items():
            rows: list[Row] = []
            for relation, value, data in files if not key else ():
                flag = reading.flags((relation, value))
                made = self._row(template, relation, value, flag, data)
                if made is None:
                    draft.drops.append((_place(obj), Outcome.DROPPED, Reason.INVALID_VALUE))
                else:
                    rows.append((relation, made))
            for leaf in inside:
                rows.extend(self._rows(draft, reading, template, leaf))
            self._finish(draft, obj, template, rows, key, parent, verb)

    def _rows(self, draft: Draft, reading: _Reading, template: str, leaf: Leaf) -> Iterator[Row]:
        """The rows of one value of a record; what comes out of none has a line in the ledger."""
        found = list(related(template, leaf, self._knowledge.relations(template), reading.names))
        place = _place(reading.obj)
        if not found and not is_redundant(template, leaf):
            draft.drops.append((place, Outcome.DROPPED, Reason.NO_PLACE))
        for relation, value in found:
            flag = reading.flags(plain(leaf), (relation, value), ("", leaf[1]))
            row = self._row(template, relation, value, flag)
            if row is None:
                draft.drops.append((place, Outcome.DROPPED, Reason.INVALID_VALUE))
            else:
                yield relation, row

    def _source(self, obj: StixObject, name: str, draft: Draft) -> _Source:
        """The values of a record that is an object."""
        if obj["type"] == "observed-data" or (
            _is_stix_pattern(obj) and name not in misp_export.RULES
        ):
            return self._read(obj, draft)
        if obj["type"] == "indicator":
            return _Source(list(rule_properties(obj, name)), None)
        return _Source(list(properties_of(obj)), ())

    def _flagged(
        self, name: str, detecting: Sequence[Leaf], own: str, wires: Mapping[str, str]
    ) -> frozenset[Leaf]:
        """The values that detect, by their path, by their relation, and by themselves."""
        files, leaves = files_in(name, list(detecting), own, wires)
        found = {(relation, value) for relation, value, _ in files}
        for template, _, _, inside in pieces_of(name, leaves).values():
            relations = self._knowledge.relations(template)
            for leaf in inside:
                found.update((plain(leaf), ("", leaf[1])))
                found.update(related(template, leaf, relations, {}))
        return frozenset(found)

    def _row(
        self, name: str, relation: str, value: str, flag: bool, data: str | None = None
    ) -> Attribute | None:
        known = self._knowledge.relations(name).get(relation)
        if known is None:
            return self._made("text", value, "", False)
        type_, template_ids, no_correlation, category = known
        to_ids = flag and template_ids is not False and type_ in self._knowledge.to_ids
        made = self._made(type_, value, category or "", to_ids, data)
        if made is not None and no_correlation:
            return made._replace(correlate=False)
        return made

    def _finish(
        self,
        draft: Draft,
        obj: StixObject,
        name: str,
        rows: list[Row],
        key: str = "",
        parent: str = "",
        verb: str = "",
    ) -> None:
        if rows:
            custom = not self._knowledge.relations(name)
            draft.objects.append(Object(name, unique(rows), key, parent, verb, custom))
            if not key:
                draft.uuids["", ""] = uuid_of(str(obj["id"])) or ""

    # halves

    def _others(self, obj: StixObject) -> list[StixObject]:
        """The other halves of a record."""
        return [self._objects[id_] for id_ in self._halves.get(str(obj["id"]), ())]

    def _read(self, obj: StixObject, draft: Draft) -> _Source:
        """The values of a pattern, or of observables and of the pattern that is the other half."""
        if obj["type"] == "indicator":
            return _Source(list(compared_in(obj)), None)
        detecting = self._detecting(obj)
        draft.consumed.extend(self._observables.refs(obj))
        return _Source(list(self._observables.leaves(obj)) or detecting, detecting)

    def _detecting(self, obj: StixObject) -> list[Leaf]:
        """The values of the other half, if it is a readable pattern and not revoked."""
        found: list[Leaf] = []
        for half in self._others(obj):
            if half["type"] == "indicator" and half.get("revoked") is not True:
                try:
                    found.extend(compared_in(half))
                except PatternError:
                    continue
        return found


def _is_stix_pattern(obj: StixObject) -> bool:
    return bool(obj["type"] == "indicator" and obj.get("pattern_type", "stix") == "stix")


def _comparable(value: str) -> str | int:
    """A value as it is compared between halves, which spell times in two ways."""
    moment = times.read(value) if value[:1].isdigit() and "-" in value else None
    return value if moment is None else moment


def _comment(obj: StixObject, fields: Mapping[str, str]) -> str:
    """The comment that a record had.

    The description of a rule or a domain object is one of its values.
    """
    described = obj["type"] in misp_export.DESCRIBED and fields.get("name") not in misp_export.RULES
    return text_of(
        (obj.get("description") if described else None) or obj.get("x_misp_comment") or ""
    )


def _place(obj: StixObject) -> str:
    """The property that holds the values of a record."""
    return next(
        (name for name in ("pattern", "object_refs", "x_misp_value") if name in obj), "labels"
    )


def sighting_of(obj: StixObject, objects: Mapping[str, StixObject]) -> dict[str, Any]:
    """The sighting that an opinion of an export stands for.

    One who disagrees saw a false positive.
    """
    refs = obj.get("object_refs")
    target = refs[0] if isinstance(refs, list) and refs else obj.get("object_ref")
    opinion = str(obj.get("opinion") or obj.get("x_misp_opinion") or "")
    author = objects.get(str(obj.get("x_misp_author_ref"))) or {}
    made: dict[str, Any] = {
        "type": "sighting",
        "id": obj["id"],
        "sighting_of_ref": target,
        "created": obj.get("modified") or obj.get("created"),
        "x_opencti_negative": "disagree" in opinion,
        "source": obj.get("x_misp_source") or author.get("name") or obj.get("x_misp_author") or "",
    }
    for name in ("object_marking_refs", "granular_markings", "created_by_ref"):
        if name in obj:
            made[name] = obj[name]
    return made
