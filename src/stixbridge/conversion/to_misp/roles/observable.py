"""Cyber-observables (STIX 2.1, section 6): context, without `to_ids` by themselves."""

from __future__ import annotations

from stixbridge.conversion.to_misp.roles.base import StixObject
from stixbridge.conversion.to_misp.roles.custom import ReferringContent
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.mapping import DIALECT_TYPES


class Observable(ReferringContent):
    """An observable; one that another takes in whole has no element of its own."""

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Translate an observable, with the values of those it refers to."""
        workspace = self.workspace
        made = workspace.translator.observable(obj, workspace.shapes[id_], workspace.objects.get)
        more = obj.get("x_opencti_description")
        if isinstance(more, str) and more.strip():
            made.comment = f"{made.comment}, {more.strip()}" if made.comment else more.strip()
        if obj["type"] in DIALECT_TYPES and workspace.options.custom != "drop":
            self.refer(id_, obj)
            if made.empty:
                return self._custom(id_, obj) or made
        return made

    def _custom(self, id_: str, obj: StixObject) -> Translation | None:
        """Translate an observable of a dialect without known properties like an unknown type."""
        made = self.custom(id_, obj)
        self.fates.tell(id_, frozenset(obj))
        return None if made.empty else made
