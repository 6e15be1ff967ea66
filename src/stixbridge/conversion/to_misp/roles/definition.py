"""Marking-definitions (STIX 2.1, section 7.2) and extension-definitions (section 7.3)."""

from __future__ import annotations

from stixbridge.conversion.to_misp.roles.base import Handler, StixObject
from stixbridge.ledger import Outcome, Reason


class MarkingDefinition(Handler):
    """It is in the output as the tag, distribution or statement of what it marks."""

    def settle(self, id_: str, obj: StixObject) -> None:
        """Record whether it marks anything."""
        if id_ not in self.workspace.markings.used:
            super().settle(id_, obj)
            return
        self.fates.mapped(id_)
        reading = self.workspace.markings.reading(id_)
        if reading.drops:
            self.fates.drop(id_, reading.drops)
        if "name" in obj and reading.statement is not None:
            self.fates.drop(id_, [("name", Outcome.DROPPED, Reason.REDUNDANT)])


class Definition(Handler):
    """It is told with the extension that it defines, where custom properties are told at all."""
