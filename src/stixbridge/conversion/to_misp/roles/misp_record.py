"""Records of MISP's: attributes, objects and event reports that an export of MISP wrote as STIX."""

from __future__ import annotations

from collections.abc import Sequence

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.misp_export import Restorer
from stixbridge.conversion.to_misp.roles.base import Content, Handler, StixObject
from stixbridge.conversion.to_misp.tags import confidence_tag, text
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import one_line
from stixbridge.stix.pattern import PatternError


class Record(Content):
    """An attribute or object of MISP's. Its halves are translated together."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._firsts = {half: id_ for id_, halves in workspace.halves.items() for half in halves}
        self._restorer = Restorer(workspace.objects, workspace.knowledge, workspace.halves)

    def translate(self, id_: str, obj: StixObject) -> None:
        """Restore the record; its time is that of the half that changed last."""
        if id_ in self._firsts:
            return
        super().translate(id_, obj)
        translation = self.workspace.translations.get(id_)
        if translation is not None:
            for half in self._others(id_):
                changed = self.workspace.seconds_of(str(half["id"]), half)
                translation.timestamp = max(translation.timestamp, changed)

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Restore the record."""
        try:
            translation = self._restorer.translate(obj, detects=live).done()
        except PatternError:
            self.fates.outcome(id_, Outcome.INVALID, Reason.INVALID_PATTERN)
            return None
        self.workspace.records.update(translation.consumed)
        for ref in translation.consumed:
            # properties of MISP are values of the record, whose own lines say which are lost
            own = self.workspace.objects[ref]
            self.fates.tell(ref, frozenset(name for name in own if name.startswith("x_misp_")))
        return translation

    def tags(
        self, id_: str, obj: StixObject, marking: Marking
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The tags of all halves of a record. Of several confidences, the lowest counts."""
        workspace = self.workspace
        tags, beside = workspace.tags.of(id_, obj, marking, from_misp=True)
        halves = self._others(id_)
        for half in halves:
            own = workspace.markings.of(half)
            more = workspace.tags.of(str(half["id"]), half, own, from_misp=True)
            tags, beside = tags | more[0], beside | more[1]
        higher = self._higher([obj, *halves])
        return tags - higher, beside - higher

    def _higher(self, halves: Sequence[StixObject]) -> set[str | None]:
        """The tags of confidences that are higher than the lowest one of a record."""
        said = [
            (half["confidence"], half) for half in halves if type(half.get("confidence")) is int
        ]
        lowest = min((value for value, _ in said), default=0)
        tags = set()
        for value, half in said:
            if value > lowest:
                self.fates.drop(
                    str(half["id"]), [("confidence", Outcome.DROPPED, Reason.REDUNDANT)]
                )
                tags.add(confidence_tag(value))
        return tags - {confidence_tag(lowest)}

    def references(self, id_: str, obj: StixObject) -> list[tuple[str, str]]:
        """A note of an export annotates."""
        if obj["type"] == "note":
            return [("annotates", ref) for ref in obj.get("object_refs") or ()]
        return super().references(id_, obj)

    def settle(self, id_: str, obj: StixObject) -> None:
        """The other halves of a record have ended with the first."""
        if self.workspace.ended.get(self._firsts.get(id_, "")) is Reason.REVOKED:
            self.fates.outcome(id_, Outcome.DROPPED, Reason.REVOKED)
        else:
            super().settle(id_, obj)

    def _others(self, id_: str) -> list[StixObject]:
        """The other halves of a record."""
        workspace = self.workspace
        return [workspace.objects[half] for half in workspace.halves.get(id_, ())]


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
