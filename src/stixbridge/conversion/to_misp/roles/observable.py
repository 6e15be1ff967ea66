"""Cyber-observables (STIX 2.1, section 6): context, without `to_ids` by themselves."""

from __future__ import annotations

from stixbridge.conversion.to_misp.roles.base import Content, StixObject
from stixbridge.conversion.to_misp.translation import Translation


class Observable(Content):
    """An observable; one that another takes in whole has no element of its own."""

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Translate an observable, with the values of those it refers to."""
        workspace = self.workspace
        made = workspace.translator.observable(obj, workspace.shapes[id_], workspace.objects.get)
        more = obj.get("x_opencti_description")
        if isinstance(more, str) and more.strip():
            made.comment = f"{made.comment}, {more.strip()}" if made.comment else more.strip()
        return made
