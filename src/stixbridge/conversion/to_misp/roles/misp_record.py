"""Records of MISP's: attributes, objects and event reports that an export of MISP wrote as STIX."""

from __future__ import annotations

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.misp_export import Restorer
from stixbridge.conversion.to_misp.roles.base import Content, Handler, StixObject
from stixbridge.conversion.to_misp.tags import text
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import one_line
from stixbridge.stix.pattern import PatternError


class Record(Content):
    """An attribute or object of MISP's. Of two halves the observed-data has everything."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._restorer = Restorer(workspace.objects, workspace.knowledge)

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Restore the record."""
        if self._restorer.is_second(id_):
            return None
        try:
            translation = self._restorer.translate(obj, detects=live).done()
        except PatternError:
            self.fates.outcome(id_, Outcome.INVALID, Reason.INVALID_PATTERN)
            return None
        self.workspace.records.update(translation.consumed)
        return translation

    def tags(
        self, id_: str, obj: StixObject, marking: Marking
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The tags that the record had in MISP."""
        return self.workspace.tags.of(id_, obj, marking, from_misp=True)

    def references(self, id_: str, obj: StixObject) -> list[tuple[str, str]]:
        """A note of an export annotates."""
        if obj["type"] == "note":
            return [("annotates", ref) for ref in obj.get("object_refs") or ()]
        return super().references(id_, obj)

    def settle(self, id_: str, obj: StixObject) -> None:
        """The second half of a pair is in the output where the first half is."""
        if self._restorer.is_second(id_) and self.fates.is_mapped(self._restorer.first_of(id_)):
            self.fates.mapped(id_)
            self.workspace.tags.account(id_, obj)
        else:
            super().settle(id_, obj)


class EventReport(Handler):
    """An event report that MISP wrote, with its own UUID."""

    def place(self, builder: EventBuilder, id_: str, obj: StixObject) -> None:
        """Add the report to the event."""
        name = text(obj.get("x_misp_name")) or text(obj.get("abstract")) or "(no name)"
        content = text(obj.get("x_misp_content")) or text(obj.get("content")) or ""
        marking = self.workspace.markings.of(obj)
        uuid = builder.restore_report(id_, one_line(name), content, marking)
        self.fates.outcome(id_, Outcome.MAPPED, None, "event report")
        self.fates.mapped(id_, [uuid])
