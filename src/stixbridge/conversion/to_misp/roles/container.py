"""Reports and groupings (STIX 2.1, sections 4.16 and 4.4): each is an event."""

from __future__ import annotations

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.misp_export_labels import is_made_by_misp
from stixbridge.conversion.to_misp.roles.base import Handler, StixObject
from stixbridge.conversion.to_misp.supplements import Supplements
from stixbridge.conversion.to_misp.tags import text
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Reason


class Container(Handler):
    """A report or grouping. With `group = "type:NAME"` others make events, too."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._supplements = Supplements(workspace)

    def translate(self, id_: str, obj: StixObject) -> None:
        """Record whether it lives."""
        if obj.get("revoked") is True:
            self.ends(id_, Reason.REVOKED)

    def open(self, builder: EventBuilder, obj: StixObject) -> None:
        """Mark and tag the event of a container, before its members are placed."""
        workspace = self.workspace
        marking = workspace.markings.of(obj)
        builder.marking = builder.marking.joined(marking)
        self.state(builder, marking)
        builder.creator = text(obj.get("created_by_ref"))
        from_misp = is_made_by_misp(obj)
        own = workspace.markings.of(obj)
        builder.tags |= workspace.tags.of(str(obj["id"]), obj, own, from_misp=from_misp)[0]

    def close(self, builder: EventBuilder, obj: StixObject) -> None:
        """Tell the container's own texts, once its members are placed and linked."""
        self._supplements.add_container(builder, obj)

    def settle(self, id_: str, obj: StixObject) -> None:
        """Record that a container that was not refused has its event, here or elsewhere."""
        self.fates.mapped(id_)
