"""The translator.

STIX objects and patterns to attributes and objects, by the tables and the pattern algebra.

The translation does not depend on the event that it goes to. A translator holds MISP's knowledge
and nothing of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stixbridge.conversion.to_misp.elements import Elements, comment_of, commented
from stixbridge.conversion.to_misp.patterns import Patterns
from stixbridge.conversion.to_misp.shapes import Shape
from stixbridge.conversion.to_misp.translation import Attribute, Draft, Object, Translation, unique
from stixbridge.conversion.to_misp.walk import Found, Objects, Piece, Walk, text_of
from stixbridge.mapping.tables import COMMON, Table
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.values import (
    cut,
    storable,
)

MAX_RELATION = 128
"""The longest name of a relation that MISP stores."""

_SCALAR = (str, int, float)


class Translator:
    """Applies the tables to observables, details and custom objects.

    `patterns` translates indicators.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._elements = Elements(knowledge)
        self.patterns = Patterns(self._elements)
        self.value = self._elements.value
        self.unreadable = self._elements.unreadable

    def observable(self, obj: Mapping[str, Any], shape: Shape, get: Objects) -> Translation:
        """Translate a cyber-observable; references that a path of its table follows are taken in.

        Args:
            obj: the observable.
            shape: its shape.
            get: finds the objects it refers to.
        """
        table = shape.table
        found = _scalars(obj, shape)
        if found is not None:
            draft = Draft()
            self._add(draft, self._elements.element(table, found, False, draft, table.stix_type))
            if commented(found):
                draft.comment = comment_of(found)
            return draft.done()
        walk = Walk(table, obj, get)
        draft = Draft(drops=walk.drops, sources=walk.taken)
        main, *pieces = walk.pieces
        pieces = [piece for piece in pieces if piece.found]
        key = str(obj["type"])
        if pieces:
            made = (
                self._elements.object(table.template, main.found, False, draft, key)
                if main.found
                else None
            )
            if made is not None:
                draft.objects.append(made)
            self._pieces(draft, pieces, key)
        else:
            self._add(draft, self._elements.element(table, main.found, False, draft, key))
        draft.comment = comment_of(row for piece in walk.pieces for row in piece.found)
        # an object that does not fit in here has to stand by itself
        lost = {path.rpartition(".")[0] for path, _, _ in draft.drops}
        empty = not (draft.attributes or draft.objects)
        draft.consumed = [ref for ref, path in walk.consumed if not empty and path not in lost]
        return draft.done()

    @staticmethod
    def _add(draft: Draft, element: list[Attribute] | Object) -> None:
        if isinstance(element, Object):
            draft.objects.append(element)
        else:
            draft.attributes.extend(element)

    def _pieces(self, draft: Draft, pieces: list[Piece], key: str) -> None:
        for piece in pieces:
            if piece.part is None:
                continue
            above = piece.parent
            while above is not None and not above.found:
                above = above.parent
            parent = "" if above is None else f"{key}/{above.key}" if above.key else key
            made = self._elements.object(
                piece.part.template, piece.found, False, draft, f"{key}/{piece.key}"
            )
            if made is not None:
                draft.objects.append(replace(made, parent=parent, verb=piece.part.verb))

    def detail(self, obj: Mapping[str, Any], table: Table) -> Draft:
        """Translate a type with an object template (identity, infrastructure) in full.

        To the object.
        """
        walk = Walk(table, obj, lambda _: None)
        draft = Draft(drops=walk.drops)
        made = self._elements.object(
            table.template, walk.pieces[0].found, False, draft, str(obj["type"])
        )
        if made is not None:
            draft.objects.append(made)
        draft.comment = comment_of(row for piece in walk.pieces for row in piece.found)
        return draft

    def custom(self, obj: Mapping[str, Any], *, refers: bool = False) -> Translation:
        """Translate an object of a type that no table knows: a MISP object, each property a text.

        Properties that STIX gives every object (times, markings, labels) go where they always go.

        Args:
            obj: the object without its references.
            refers: whether it had some; with nothing else its type stands for it.
        """
        draft = Draft()
        attributes: list[tuple[str, Attribute]] = []
        for name, value in obj.items():
            if name in COMMON or value in (None, "", [], {}):
                continue
            for item in value if isinstance(value, list) else [value]:
                made = self._elements.attribute("text", text_of(item), False, draft, name)
                if made is not None:
                    attributes.append((cut(storable(name), MAX_RELATION), made))
        stix_type = str(obj["type"])
        if not attributes and refers:
            made = self._elements.attribute("text", stix_type, False, draft, "type")
            attributes.extend([("type", made)] if made is not None else ())
        if not attributes:
            return draft.done()
        # an object of MISP's own template has that template's relations, and this one has others
        name = f"stix-{stix_type}" if self._knowledge.relations(stix_type) else stix_type
        draft.objects.append(Object(name, unique(attributes), "", custom=True))
        return draft.done()


def _scalars(obj: Mapping[str, Any], shape: Shape) -> list[Found] | None:
    """The values of an object all of whose properties are plain values with a field.

    None for any other.
    """
    if shape.scalars is None:
        return None
    found: list[Found] = []
    for name, field in shape.scalars:
        value = obj[name]
        if isinstance(value, str):
            found.append((name, field, value))
        elif isinstance(value, _SCALAR):
            found.append((name, field, text_of(value)))
        elif value is not None:
            return None
    return found
