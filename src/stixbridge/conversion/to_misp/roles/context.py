"""Context (actors, malware, techniques, tools, campaigns).

Galaxy clusters and tags on what is linked to it.
"""

from __future__ import annotations

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.roles.base import Handler, StixObject


class Context(Handler):
    """A context object that a report has tags the event; others tag what they are linked to."""

    def place(self, builder: EventBuilder, id_: str, obj: StixObject) -> None:
        """Put its tag on the event, or that of the object that stands for it."""
        contexts = self.workspace.contexts
        if not contexts.gone(id_) and id_ not in self.workspace.linked_clusters:
            contexts.on(builder.uuid, contexts.current(id_))

    def settle(self, id_: str, obj: StixObject) -> None:
        """Record that it is revoked, or that nothing is linked to it."""
        if not self.revoked(id_, obj):
            super().settle(id_, obj)
