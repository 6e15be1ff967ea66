"""The handler of a role, and the common part of all content (indicators, observables …)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking
from stixbridge.conversion.to_misp.relationships import Link, Links, links_of
from stixbridge.conversion.to_misp.shapes import Shape
from stixbridge.conversion.to_misp.supplements import Supplements
from stixbridge.conversion.to_misp.tags import creator_of
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Outcome, Reason

StixObject = Mapping[str, Any]


_EXPIRED = frozenset({"retention:expired"})
"""The tag of MISP's taxonomy `retention` for what is past its time."""


class Handler:
    """One role.

    Attributes:
        default: the reason why an object of this role is not in the output, where nothing else was
            recorded.
    """

    default: Reason = Reason.UNLINKED

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.fates = workspace.fates
        self.links: Links

    def translate(self, id_: str, obj: StixObject) -> None:
        """Translate an object, or record why it does not come out."""

    def place(self, builder: EventBuilder, id_: str, obj: StixObject) -> None:
        """Put an object into an event that it is a member of."""

    def link(self, id_: str, obj: StixObject) -> None:
        """Draw the relationships in the object's own properties, once everything is placed."""
        workspace = self.workspace
        if not workspace.shapes[id_].links or id_ in workspace.records or self.fates.refused(id_):
            return
        translation = workspace.translations.get(id_)
        consumed = frozenset(translation.consumed if translation is not None else ())
        marking = workspace.markings.of(obj)
        for verb, ref in self.references(id_, obj):
            if ref in workspace.objects and ref not in consumed:
                self.links.link(Link(id_, id_, verb, ref, marking))

    def references(self, id_: str, obj: StixObject) -> list[tuple[str, str]]:
        """(relationship type, id of the target) for the object's own properties."""
        return list(links_of(obj, self.workspace.shapes[id_].table))

    def conclude(self) -> None:
        """Draw what had to wait until all other links were drawn."""

    def close(self, builder: EventBuilder, obj: StixObject) -> None:
        """Add to the event of a container of this role, once everything is linked."""

    def settle(self, id_: str, obj: StixObject) -> None:
        """Record what became of an object about which nothing was recorded."""
        self.fates.outcome(id_, Outcome.DROPPED, self.default)

    # shared by several roles

    def ends(self, id_: str, reason: Reason) -> bool:
        """Record that a content object or container has ended.

        True where it does not come out for that.
        """
        self.workspace.ended[id_] = reason
        options = self.workspace.options
        if id_ in options.delivered or (reason is Reason.EXPIRED and options.keep_expired):
            return False
        self.fates.outcome(id_, Outcome.DROPPED, reason)
        return True

    def revoked(self, id_: str, obj: StixObject) -> bool:
        """Record that a revoked relationship, sighting or note does not come out."""
        if obj.get("revoked") is True:
            self.fates.outcome(id_, Outcome.DROPPED, Reason.REVOKED)
            return True
        return False

    def state(self, builder: EventBuilder, marking: Marking) -> None:
        """Tell the statement markings of something that is in an event."""
        for ref in marking.statements:
            text = self.workspace.markings.reading(ref).statement or ""
            builder.tell("Statements", ref, text, UNMARKED)


class Content(Handler):
    """Objects that become attributes and objects."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.supplements = Supplements(workspace)

    def translate(self, id_: str, obj: StixObject) -> None:
        """Translate an object that lives or was delivered before."""
        workspace = self.workspace
        reason = self.end_of(obj)
        if reason is not None and self.ends(id_, reason):
            return
        translation = self.translation(id_, obj, reason is None)
        if translation is None:
            return
        workspace.translations[id_] = translation
        if translation.drops:
            self.fates.drop(id_, translation.drops)
        if translation.empty:
            if not self.fates.refused(id_):
                reason = Reason.INVALID_VALUE if translation.drops else Reason.NO_VALUE
                self.fates.outcome(id_, Outcome.DROPPED, reason)
            return
        shape = workspace.shapes[id_]
        translation.live = id_ not in workspace.ended
        own = workspace.markings.of(obj) if shape.marked else UNMARKED
        translation.marking = self.marking(obj, own, translation)
        translation.timestamp = workspace.seconds_of(id_, obj)
        if shape.tagging:
            translation.tags, translation.tags_beside = self.tags(id_, obj, own)
            translation.creator = creator_of(obj)
        if reason is Reason.EXPIRED:
            translation.tags |= _EXPIRED
            translation.tags_beside |= _EXPIRED
        translation.supplemented = self.supplemented(id_, obj, shape)

    def end_of(self, obj: StixObject) -> Reason | None:
        """Why an object is not live; None where it is."""
        return Reason.REVOKED if obj.get("revoked") is True else None

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """The translation of an object; None where it has none.

        Args:
            id_: the STIX id.
            obj: the object.
            live: whether it is neither revoked nor expired.
        """
        raise NotImplementedError

    def place(self, builder: EventBuilder, id_: str, obj: StixObject) -> None:
        """Place the translation, and everything that comes with it."""
        translation = self.workspace.translations.get(id_)
        if translation is None or translation.empty:
            return
        if translation.marking.statements:
            self.state(builder, translation.marking)
        builder.place(id_, translation)
        if translation.supplemented:
            self.supplements.add(builder, id_, obj, translation)

    def tags(
        self, id_: str, obj: StixObject, marking: Marking
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The tags of each element, with and without that of the producer."""
        return self.workspace.tags.of(id_, obj, marking)

    def supplemented(self, id_: str, obj: StixObject, shape: Shape) -> bool:
        """Whether more than its elements comes with an object."""
        return shape.supplemented or id_ in self.workspace.ended

    def marking(self, obj: StixObject, own: Marking, translation: Translation) -> Marking:
        """An object's own marking, joined with those of the objects it is made of."""
        workspace = self.workspace
        marking = own
        for ref in (*translation.consumed, *translation.sources):
            marking = marking.joined(workspace.markings.of(workspace.objects[ref]))
        return marking
