"""Notes, opinions (STIX 2.1, sections 4.13 and 4.15) and language-content (section 7.1)."""

from __future__ import annotations

from stixbridge.conversion.to_misp.notes import Notes
from stixbridge.conversion.to_misp.roles.base import Handler, StixObject
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Reason


class Note(Handler):
    """A note or opinion, put on its objects once all are placed and linked."""

    default = Reason.DANGLING

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._waiting: list[tuple[str, StixObject]] = []

    def translate(self, id_: str, obj: StixObject) -> None:
        """Note it for the end, unless it is revoked."""
        if not self.revoked(id_, obj):
            self._waiting.append((id_, obj))

    def conclude(self) -> None:
        """Put them where their objects are."""
        notes = Notes(self.workspace)
        for id_, obj in self._waiting:
            self.apply(notes, id_, obj)

    def apply(self, notes: Notes, id_: str, obj: StixObject) -> None:
        """Apply one."""
        notes.note(id_, obj)


class LanguageContent(Note):
    """A translation into another language, told in an event report."""

    def apply(self, notes: Notes, id_: str, obj: StixObject) -> None:
        """Apply one."""
        notes.translation(id_, obj)
