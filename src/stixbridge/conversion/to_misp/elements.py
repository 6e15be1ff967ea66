"""Makes attributes and objects of values, by the types and templates of MISP.

A value that is none of its type gets the type that it plainly has, or is kept as `other`.
"""

from __future__ import annotations

from collections.abc import Iterable

from stixbridge.conversion.to_misp.translation import Attribute, Draft, Object, unique
from stixbridge.conversion.to_misp.walk import Found
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping.tables import Composite, Table
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.values import (
    COMPOSITES,
    EVERYTHING,
    BadValue,
    base64_of,
    normalise,
    reclassified,
    storable,
)

# Correlation is off where equal values say nothing about each other.
NO_CORRELATION = frozenset(
    {"port", "size-in-bytes", "AS", "filename", "mime-type", "link", "counter", "datetime", "float",
     "boolean", "text"}
)  # fmt: skip


class Elements:
    """Makes the elements of translations; holds MISP's knowledge and nothing of a run."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def element(
        self, table: Table, fields: list[Found], detects: bool, draft: Draft, key: str
    ) -> list[Attribute] | Object:
        """One attribute where one value (or a composite) says it all, otherwise an object."""
        if commented(fields):
            fields = [row for row in fields if row[1].comment is None]
        if len(fields) == 1:
            path, field, value = fields[0]
            if field.type is not None:
                attribute = self.attribute(field.type, value, detects, draft, path)
                return [attribute] if attribute is not None else []
        elif len(fields) == 2:
            attribute = self._composite(table, fields, detects)
            if attribute is not None:
                return [attribute]
        if table.template is not None:
            made = self.object(table.template, fields, detects, draft, key)
            if made is not None or not draft.kept:
                return made if made is not None else []
            # no field of the object took its value: the values stand as they are
            return self._as_text(fields, draft)
        found = [
            self.attribute(field.type, value, detects, draft, path)
            for path, field, value in fields
            if field.type is not None
        ]
        return [attribute for attribute in found if attribute is not None]

    def _as_text(self, fields: list[Found], draft: Draft) -> list[Attribute]:
        """Values that fit no field, as attributes of the type `other`."""
        draft.kept.clear()
        found = [self._other(value) for _, _, value in fields]
        return [attribute for attribute in found if attribute is not None]

    def _composite(self, table: Table, fields: list[Found], detects: bool) -> Attribute | None:
        """One attribute of two values.

        None where one half does not fit (a name that resolves to a name).
        """
        composite = _composite_of(table, fields)
        if composite is None:
            return None
        by_path = {path: value for path, _, value in fields}
        left, right = by_path[composite.left], by_path[composite.right]
        if "|" in left:
            return None  # MISP separates the halves by it
        joined = f"{left}|{right}"
        try:
            value = normalise(composite.type, joined)
        except BadValue:
            return None
        same = says_the_same(composite.type, joined, value)
        return self.made(composite.type, value, detects) if same else None

    def object(
        self, name: str | None, fields: list[Found], detects: bool, draft: Draft, key: str
    ) -> Object | None:
        """An object of a template; None where no value fits a relation of it.

        Args:
            name: of the template.
            fields: the values with their fields.
            detects: whether the values that select may carry `to_ids`.
            draft: takes the losses.
            key: tells the objects of one STIX object apart.
        """
        if name is None:
            return None
        template = self._knowledge.template(name)
        attributes: list[tuple[str, Attribute]] = []
        for path, field, value in fields:
            if field.relation is None:
                if field.comment is None:
                    draft.lose(path, Outcome.DROPPED, Reason.NO_PLACE)
                continue
            content = base64_of(value) if field.data else None
            if field.data and content is None:
                draft.lose(path, Outcome.DROPPED, Reason.INVALID_VALUE)
                continue
            if field.data:
                value = f"{key}.bin"
            elif field.convert is not None:
                value = field.convert(value)
            type_, template_ids, no_correlation, category = template.relations[field.relation]
            selects = detects and field.selects and template_ids is not False
            attribute = self._in_object(type_, value, selects, draft, path)
            if attribute is None:
                draft.kept.append(f"{field.relation}: {value}")
                continue
            if category and category in self._knowledge.allowed[type_]:
                attribute = attribute._replace(category=category)
            if no_correlation or content is not None:
                attribute = attribute._replace(
                    correlate=attribute.correlate and not no_correlation, data=content
                )
            attributes.append((field.relation, attribute))
        if not attributes:
            return None
        return Object(name, unique(attributes), key)

    def _in_object(
        self, type_: str, value: str, detects: bool, draft: Draft, path: str
    ) -> Attribute | None:
        """An attribute of an object, whose type its relation fixes.

        None where the value is none of that type.
        """
        try:
            normal = normalise(type_, value)
        except BadValue:
            draft.lose(path, Outcome.PRESERVED, Reason.INVALID_VALUE)
            return None
        if not says_the_same(type_, value, normal):
            draft.lose(path, Outcome.PRESERVED, Reason.MENDED)
            detects = False
        return self.made(type_, normal, detects)

    def attribute(
        self, type_: str, value: str, detects: bool, draft: Draft, path: str
    ) -> Attribute | None:
        """A lone attribute.

        A value that is none of the type gets the type it plainly has, or else `other`.

        None only where the value holds nothing.
        """
        try:
            normal = normalise(type_, value)
        except BadValue:
            fitting = reclassified(type_, value)
            if fitting is not None:
                return self.made(fitting[0], fitting[1], detects)
            made = self._other(value)
            outcome = Outcome.DROPPED if made is None else Outcome.PRESERVED
            draft.lose(path, outcome, Reason.INVALID_VALUE)
            return made
        if not says_the_same(type_, value, normal):
            draft.lose(path, Outcome.PRESERVED, Reason.MENDED)
            detects = False
        return self.made(type_, normal, detects)

    def _other(self, value: str) -> Attribute | None:
        """A value that MISP takes under no type of its own: kept, without `to_ids`."""
        try:
            return self.made("other", normalise("other", value), False)
        except BadValue:
            return None

    def made(self, type_: str, value: str, detects: bool) -> Attribute:
        """An attribute of a normalised value."""
        knowledge = self._knowledge
        return Attribute(
            type_,
            value,
            knowledge.categories[type_],
            detects and type_ in knowledge.to_ids and value not in EVERYTHING,
            type_ not in NO_CORRELATION,
        )

    def value(self, type_: str, value: str, drops: list[Drop], path: str) -> Attribute | None:
        """A lone attribute without `to_ids` (links, CVEs).

        None with a drop where MISP would refuse the value.
        """
        try:
            return self.made(type_, normalise(type_, value), False)
        except BadValue:
            drops.append((path, Outcome.DROPPED, Reason.INVALID_VALUE))
            return None

    def unreadable(self, pattern: str) -> Attribute | None:
        """The text of a pattern outside the grammar: kept for a reader, without `to_ids`."""
        try:
            value = normalise("stix2-pattern", pattern)
        except BadValue:
            return None
        return Attribute("stix2-pattern", value, "Payload delivery", False, False)


def says_the_same(type_: str, value: str, normal: str) -> bool:
    """Whether a value is unchanged but for characters that MISP can't hold."""
    if value.isascii() or type_ in ("url", "uri", "link"):
        return True
    return storable(value) == value or "\\u{" not in normal


def commented(fields: Iterable[Found]) -> bool:
    """Whether a value goes to the comment of the element."""
    for _, field, _ in fields:  # noqa: SIM110 - twice as fast as any()
        if field.comment is not None:
            return True
    return False


def comment_of(fields: Iterable[Found]) -> str:
    """The values that no attribute takes: `ASLR: true, DEP: true`."""
    texts = {
        f"{field.comment}: {value}" if field.comment else value
        for _, field, value in fields
        if field.comment is not None
    }
    return ", ".join(sorted(texts))


def _composite_of(table: Table, fields: list[Found]) -> Composite | None:
    types = {path: field.type for path, field, _ in fields}
    for composite in table.composites:
        if types.keys() == {composite.left, composite.right}:
            left, _ = COMPOSITES[composite.type]
            if types[composite.left] == left:
                return composite
    return None
