"""Relationships (STIX 2.1, section 5.1).

References, analyst-data relationships, tags, rows of an event report.
"""

from __future__ import annotations

from stixbridge.conversion.to_misp.markings import UNMARKED
from stixbridge.conversion.to_misp.relationships import Link
from stixbridge.conversion.to_misp.roles.base import Handler, StixObject
from stixbridge.conversion.to_misp.supplements import Supplements
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import one_line


class Relationship(Handler):
    """Those between two context objects come last.

    Only then is it known which contexts are shown where.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._supplements = Supplements(workspace)
        self._between: list[Link] = []
        self._waiting: dict[str, Link] = {}

    def translate(self, id_: str, obj: StixObject) -> None:
        """Read its ends and its type, or record why it does not come out."""
        if self.revoked(id_, obj):
            return
        workspace = self.workspace
        source, target, verb = (
            obj.get("source_ref"),
            obj.get("target_ref"),
            obj.get("relationship_type"),
        )
        if not source or not target or not verb:
            self.fates.outcome(id_, Outcome.INVALID, Reason.INVALID_OBJECT)
            return
        workspace.mentioned.update((source, target))
        if source not in workspace.objects or target not in workspace.objects:
            self.fates.outcome(id_, Outcome.DROPPED, Reason.DANGLING)
            return
        if source == target and not workspace.shapes[id_].detailed:
            # an object's relationship with itself says nothing
            self.fates.outcome(id_, Outcome.DROPPED, Reason.REDUNDANT)
            return
        if verb == "based-on" and source.partition("--")[2] == target.partition("--")[2]:
            # two halves of a record that MISP exported
            self.fates.outcome(id_, Outcome.DROPPED, Reason.REDUNDANT)
            return
        shape = workspace.shapes[id_]
        marking = workspace.markings.of(obj) if shape.marked else UNMARKED
        verb = one_line(verb) or "related-to"
        link = Link(id_, source, verb, target, marking, obj, shape.detailed)
        contexts = workspace.contexts
        if contexts.is_context(source) and contexts.is_context(target):
            self._between.append(link)
        else:
            self._waiting[id_] = link

    def link(self, id_: str, obj: StixObject) -> None:
        """Draw it, unless it has to wait."""
        link = self._waiting.get(id_)
        if link is not None:
            self._draw(link)

    def conclude(self) -> None:
        """Draw those between two context objects."""
        for link in self._between:
            self._draw(link)

    def _draw(self, link: Link) -> None:
        """Draw one; its external references are in the same events."""
        drawn = self.links.relationship(link)
        obj, workspace = link.obj, self.workspace
        if obj is not None and "external_references" in obj:
            seconds = workspace.seconds_of(link.id, obj)
            for event in sorted({row.event for row in drawn} & workspace.builders.keys()):
                builder = workspace.builders[event]
                self._supplements.links(builder, link.id, obj, link.marking, seconds)
