"""Relationships (STIX 2.1, section 5.1): references, analyst-data relationships, tags, rows of an event report."""

from __future__ import annotations

from stixbridge.conversion.to_misp.roles.base import Handler, StixObject
from stixbridge.conversion.to_misp.workspace import Workspace


class Relationship(Handler):
    """Those between two context objects come last: only then is it known which contexts are shown where."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._between: list[tuple[str, StixObject]] = []

    def translate(self, id_: str, obj: StixObject) -> None:
        """Record that a revoked one does not come out."""
        self.revoked(id_, obj)

    def link(self, id_: str, obj: StixObject) -> None:
        """Draw it, unless it has to wait."""
        if self.fates.decided(id_):
            return
        contexts = self.workspace.contexts
        if contexts.is_context(obj.get("source_ref")) and contexts.is_context(
            obj.get("target_ref")
        ):
            self._between.append((id_, obj))
        else:
            self.links.relationship(id_, obj)

    def conclude(self) -> None:
        """Draw those between two context objects."""
        for id_, obj in self._between:
            self.links.relationship(id_, obj)
