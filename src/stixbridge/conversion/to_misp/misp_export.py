"""STIX that MISP exported, back to what MISP had.

Attributes and objects with their own UUIDs, types and categories.

A record says what it is in its labels (`mapping.misp_made`). That changes how it is read, and
nothing of what it may
do: markings, limits and the checks of values hold as for any other document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.elements import NO_CORRELATION
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.misp_export_values import (
    Leaf,
    compared_in,
    files_in,
    folded,
    lone_value,
    pieces_of,
    plain,
    properties_of,
    references_of,
    relation_of,
)
from stixbridge.conversion.to_misp.translation import Attribute, Draft, Object, unique
from stixbridge.conversion.to_misp.walk import text_of
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.dialects import misp_export
from stixbridge.mapping.tables import Table, canonical_path
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import uuid_of
from stixbridge.misp.values import BadValue, base64_of, normalise

StixObject = Mapping[str, Any]
_MAX_DEPTH = 6
_REFERENCE = re.compile(r"_refs?(?:\[\d+\])?$")
_PROTOCOLS = "network-traffic:protocols"
_REPORT_LAYER = 'misp:data-layer="Event Report"'


def made_by_misp(objects: Iterable[StixObject]) -> bool:
    """Whether a report or grouping of the input says that MISP wrote it."""
    return any(
        obj["type"] in ("report", "grouping")
        and not misp_export.TOOLS.isdisjoint(obj.get("labels") or ())
        for obj in objects
    )


def fields_of(obj: StixObject) -> dict[str, str]:
    """The labels `misp:FIELD="VALUE"` of an object."""
    fields = {}
    for label in obj.get("labels") or ():
        if label.startswith("misp:"):
            name, sign, value = label[5:].partition("=")
            if sign:
                fields[name] = value.strip('"')
    return fields


def table_of(obj: StixObject) -> Table | None:
    """The table of an object that MISP wrote; None where it is STIX like any other."""
    type_ = obj["type"]
    fields = fields_of(obj)
    if type_ == "x-misp-galaxy-cluster":
        return misp_export.CLUSTER
    if "galaxy-type" in fields and type_ == "vulnerability":
        return misp_export.BRANDED
    if type_ in ("x-misp-attribute", "x-misp-object"):
        return misp_export.RECORD
    if type_ == "x-misp-event-report" or (
        type_ == "note" and _REPORT_LAYER in (obj.get("labels") or ())
    ):
        return misp_export.REPORT
    if type_ == "x-misp-analyst-note":
        return misp_export.ANALYST_NOTE
    if type_ == "x-misp-analyst-opinion":
        return misp_export.ANALYST_OPINION
    if type_ == "x-misp-opinion" or (type_ == "opinion" and "x_misp_author_ref" in obj):
        return misp_export.SIGHTED
    if ("type" in fields and "category" in fields) or "name" in fields:
        return misp_export.RECORD
    return None


def cluster_tag(obj: StixObject) -> str | None:
    """The tag of a galaxy cluster in an export: its galaxy's type and its value."""
    if obj["type"] == "x-misp-galaxy-cluster":
        galaxy, value = obj.get("x_misp_type"), obj.get("x_misp_value")
    else:
        galaxy, value = fields_of(obj).get("galaxy-type"), obj.get("name")
        ids = {
            row["external_id"]
            for row in obj.get("external_references") or ()
            if isinstance(row.get("external_id"), str) and row.get("source_name") != "cve"
        }
        if (
            isinstance(value, str)
            and len(ids) == 1
            and obj["type"] not in ("threat-actor", "vulnerability", "campaign")
        ):
            (one,) = ids
            value = value if one in value else f"{value} - {one}"
    if not isinstance(galaxy, str) or not isinstance(value, str) or '"' in galaxy + value:
        return None
    if galaxy.startswith("stix-"):  # clusters made of STIX: known by their UUID
        value = uuid_of(str(obj["id"])) or value
    return f'misp-galaxy:{galaxy}="{value}"'


def marking_of(obj: StixObject) -> Marking:
    """The TLP level that an export left among the labels; the others are marking-definitions."""
    return Marking(
        tlp.strictest(
            tlp.level_of_name(label) for label in obj.get("labels") or () if tlp.is_tlp_tag(label)
        )
    )


class Restorer:
    """Reads the records of one export."""

    def __init__(self, objects: Mapping[str, StixObject], knowledge: Knowledge) -> None:
        self._objects = objects
        self._knowledge = knowledge

    def is_second(self, id_: str) -> bool:
        """Whether an indicator is the second half of a record.

        Its values are those of an observed-data.
        """
        return id_.startswith("indicator--") and self.first_of(id_) in self._objects

    @staticmethod
    def first_of(id_: str) -> str:
        """The id of the observed-data that is the first half of an indicator's record."""
        return f"observed-data--{id_[11:]}"

    def translate(self, obj: StixObject, *, detects: bool) -> Draft:
        """Translate a record.

        Args:
            obj: the record.
            detects: whether it may carry `to_ids`.

        Raises:
            PatternError: for a pattern outside the grammar.
        """
        draft = Draft()
        fields = fields_of(obj)
        if obj["type"] == "x-misp-object":
            self._listed(draft, obj, detects)
        elif obj["type"] == "x-misp-attribute":
            flag = obj.get("x_misp_to_ids")
            to_ids = detects and (
                flag is True or (flag is None and obj.get("x_misp_type") in self._knowledge.to_ids)
            )
            self._attribute(draft, obj, str(obj.get("x_misp_type")), str(obj.get("x_misp_value")),
                            str(obj.get("x_misp_category")), to_ids)  # fmt: skip
            draft.comment = text_of(obj.get("x_misp_comment") or "")
        elif "name" in fields:
            self._object(draft, obj, fields["name"], detects)
        else:
            self._lone(draft, obj, fields, detects)
        return draft

    # attributes

    def _lone(
        self, draft: Draft, obj: StixObject, fields: Mapping[str, str], detects: bool
    ) -> None:
        type_ = fields["type"]
        draft.comment = text_of(obj.get("description") or "")
        second: list[Leaf] = []
        if obj["type"] == "observed-data":
            leaves = list(self._observed(obj, draft))
            twin = self._twin(obj)
            if twin is not None:
                second = list(compared_in(twin))
                draft.comment = draft.comment or text_of(twin.get("description") or "")
        elif (
            obj["type"] == "indicator"
            and obj.get("pattern_type", "stix") == "stix"
            and type_ not in misp_export.RULES
        ):
            leaves = second = list(compared_in(obj))
        else:
            rule = str(obj.get("pattern") or "")
            leaves = [
                ("", rule.strip() if obj["type"] == "indicator" else text_of(obj.get("name") or ""))
            ]
            second = leaves if obj["type"] == "indicator" else []
        value = lone_value(type_, leaves)
        flag = fields.get("to_ids")
        to_ids = bool(second) if flag is None else flag == "True"
        data = next((found for path, found in leaves if path in misp_export.CONTENT), None)
        self._attribute(
            draft, obj, type_, value or "", fields.get("category", ""), to_ids and detects, data
        )

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
            draft.drops.append(
                ("pattern" if "pattern" in obj else "labels", Outcome.DROPPED, Reason.INVALID_VALUE)
            )
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
        """An `x-misp-object`: its attributes are listed as they were."""
        rows: list[tuple[str, Attribute]] = []
        listed = obj.get("x_misp_attributes")
        for at, row in enumerate(listed if isinstance(listed, list) else ()):
            made = None
            if isinstance(row, dict):
                type_ = str(row.get("type"))
                flag = row.get("to_ids")
                to_ids = detects and (
                    type_ in self._knowledge.to_ids if flag is None else flag is True
                )
                data = row.get("data")
                value = text_of(row.get("value") or "")
                made = self._made(type_, value, "", to_ids, data if isinstance(data, str) else None)
            if made is None:
                draft.drops.append(
                    (f"x_misp_attributes[{at}]", Outcome.DROPPED, Reason.INVALID_VALUE)
                )
                continue
            relation = str(row.get("object_relation") or made.type)
            rows.append((relation, made))
            draft.uuids[relation, made.value] = uuid_of(str(row.get("uuid") or "")) or ""
        self._finish(draft, obj, str(obj.get("x_misp_name") or "misp-object"), rows)
        draft.comment = text_of(obj.get("x_misp_comment") or "")

    def _object(self, draft: Draft, obj: StixObject, name: str, detects: bool) -> None:
        draft.comment = (
            text_of(obj.get("description") or "")
            if obj["type"] in ("indicator", "observed-data")
            else ""
        )
        flagged: set[Leaf] | None = None
        if obj["type"] == "observed-data":
            leaves = list(self._observed(obj, draft))
            twin = self._twin(obj)
            compared = list(compared_in(twin)) if twin is not None else []
            inner = [
                leaf for _, _, _, inside in pieces_of(name, compared).values() for leaf in inside
            ]
            flagged = {plain(leaf) for leaf in inner}
        elif (
            obj["type"] == "indicator"
            and obj.get("pattern_type", "stix") == "stix"
            and name not in misp_export.RULES
        ):
            leaves = list(compared_in(obj))
        elif obj["type"] == "indicator":
            leaves = [*self._rule(obj, name)]
        else:
            leaves, flagged = [*properties_of(obj)], set()
        files, leaves = files_in(name, leaves, uuid_of(str(obj["id"])) or "")
        pieces = pieces_of(name, leaves)
        for key, (template, verb, parent, inside) in pieces.items():
            rows: list[tuple[str, Attribute]] = []
            for relation, value, data in files if not key else ():
                made = self._row(template, relation, value, detects and flagged is None, data)
                if made is not None:
                    rows.append((relation, made))
            for relation, value, leaf in self._related(template, inside):
                if not relation:
                    draft.drops.append((_place(obj), Outcome.DROPPED, Reason.NO_PLACE))
                    continue
                row = self._row(
                    template,
                    relation,
                    value,
                    detects and (flagged is None or plain(leaf) in flagged),
                )
                if row is None:
                    draft.drops.append((_place(obj), Outcome.DROPPED, Reason.INVALID_VALUE))
                else:
                    rows.append((relation, row))
            self._finish(draft, obj, template, rows, key, parent, verb)

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
            return Attribute(made.type, made.value, made.category, made.to_ids, False, made.data)
        return made

    def _finish(
        self,
        draft: Draft,
        obj: StixObject,
        name: str,
        rows: list[tuple[str, Attribute]],
        key: str = "",
        parent: str = "",
        verb: str = "",
    ) -> None:
        if rows:
            custom = not self._knowledge.relations(name)
            draft.objects.append(Object(name, unique(rows), key, parent, verb, custom))
            if not key:
                draft.uuids["", ""] = uuid_of(str(obj["id"])) or ""

    def _related(self, name: str, leaves: list[Leaf]) -> Iterator[tuple[str, str, Leaf]]:
        """(relation, value, leaf) of each value that is one of the object's."""
        relations = self._knowledge.relations(name)
        unfolded = {folded(relation): relation for relation in relations}
        for path, value in leaves:
            if path.startswith("="):
                yield (
                    path[1:] if path[1:] in relations else "contact_information",
                    value,
                    (path, value),
                )
                continue
            if name == "ip-port" and path.startswith(_PROTOCOLS) and value in ("ipv4", "ipv6"):
                continue
            relation = relation_of(name, path, value, relations)
            if relation is None:
                last = (
                    canonical_path(path).rpartition(".")[2].rpartition(":")[2].removesuffix("[*]")
                )
                if not last.startswith("x_misp_"):
                    yield "", value, (path, value)
                    continue
                relation = unfolded.get(last, last.removeprefix("x_misp_"))
            yield relation, value, (path, value)

    @staticmethod
    def _rule(obj: StixObject, name: str) -> Iterator[Leaf]:
        pattern, properties = misp_export.RULES.get(name, (name, {}))
        yield f"={pattern}", str(obj.get("pattern") or "")
        for own, relation in properties.items():
            if isinstance(obj.get(own), str):
                yield f"={relation}", obj[own]
        for row in obj.get("external_references") or ():
            if isinstance(row.get("url"), str):
                yield "=ref" if name == "suricata" else "=reference", row["url"]
        for own, value in obj.items():
            if own.startswith("x_misp_") and isinstance(value, str):
                yield f"{obj['type']}:{own}", value

    # values

    def _twin(self, obj: StixObject) -> StixObject | None:
        return self._objects.get(f"indicator--{str(obj['id'])[15:]}")

    def _observed(self, obj: StixObject, draft: Draft) -> Iterator[Leaf]:
        """The values of the observables of a record.

        Those that another refers to stand below it.
        """
        refs = [ref for ref in obj.get("object_refs") or () if ref in self._objects]
        draft.consumed.extend(refs)
        inner = {ref: self._objects[ref] for ref in refs}
        below = {
            ref
            for id_, one in inner.items()
            for ref in references_of(one)
            if ref in inner and ref != id_
        }
        for id_ in [ref for ref in refs if ref not in below] or refs[:1]:
            yield from self._leaves(inner[id_]["type"], "", inner[id_], 0)

    def _leaves(self, type_: str, path: str, obj: Mapping[str, Any], depth: int) -> Iterator[Leaf]:
        for name, value in obj.items():
            if depth == 0 and name in (
                "type",
                "id",
                "spec_version",
                "object_marking_refs",
                "defanged",
            ):
                continue
            yield from self._inside(type_, f"{path}.{name}" if path else name, value, depth + 1)

    def _inside(self, type_: str, path: str, value: Any, depth: int) -> Iterator[Leaf]:
        if depth > _MAX_DEPTH:
            return
        if isinstance(value, dict):
            yield from self._leaves(type_, path, value, depth)
        elif isinstance(value, list):
            for at, item in enumerate(value):
                yield from self._inside(type_, f"{path}[{at}]", item, depth + 1)
        elif isinstance(value, str) and value in self._objects and _REFERENCE.search(path):
            target = self._objects[value]
            inner = {
                key: item
                for key, item in target.items()
                if key not in ("type", "id", "spec_version")
            }
            yield from self._leaves(type_, path, inner, depth + 1)
        elif isinstance(value, str | int | float):
            yield f"{type_}:{path}", text_of(value)


def _place(obj: StixObject) -> str:
    return "pattern" if "pattern" in obj else "object_refs" if "object_refs" in obj else "labels"


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
