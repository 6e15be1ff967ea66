"""Envelopes: an event between pipeline, store and sinks, with what the bridge knows about it.

The event in an envelope is a plain MISP event: every field of it is MISP's. `Wanted` goes from a
pipeline to a sink, `Delivered` comes back, and `Edit` is recorded before an edit is sent. The store
writes all three (`stixbridge.store.codec`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from stixbridge.misp.model import MispEvent

_SHARING_GROUP = "sharing_group"
"""The field in which enrichment, and a script that calls it, names a sharing group."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event as a pipeline wants it to be in a sink.

    Attributes:
        event: the MISP event.
        restricted: a marking that is not a tag keeps the event at distribution 0.
        restricted_parts: UUIDs of attributes and objects that such a marking restricts.
        clusters: descriptions of actors, malware and techniques that no galaxy has
            (`conversion.private_clusters`).
        publish: whether a rule asks to publish the event; None where no rule says anything.
        sharing_group: UUID or name of the sharing group that goes with distribution 4.
    """

    event: MispEvent
    restricted: bool = False
    clusters: Sequence[Mapping[str, Any]] = ()
    publish: bool | None = None
    sharing_group: str | None = None
    restricted_parts: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        event: MispEvent,
        *,
        restricted: bool = False,
        restricted_parts: Sequence[str] = (),
        clusters: Sequence[Mapping[str, Any]] = (),
        publish: bool | None = None,
    ) -> Self:
        """Put an event into an envelope; a sharing group in the event moves beside it."""
        group = event.get(_SHARING_GROUP)
        if _SHARING_GROUP in event:
            event = {key: value for key, value in event.items() if key != _SHARING_GROUP}
        name = None if group is None else str(group)
        return cls(event, restricted, clusters, publish, name, restricted_parts)

    @property
    def uuid(self) -> str:
        """The UUID of the event."""
        return str(self.event["uuid"])

    def fields(self) -> dict[str, Any]:
        """Everything in the envelope in one mapping, for a digest.

        Older versions computed digests of this form.
        """
        named = {
            "restricted": self.restricted or None,
            "restricted_parts": list(self.restricted_parts) or None,
            "clusters": self.clusters or None,
            "publish": self.publish,
            _SHARING_GROUP: self.sharing_group,
        }
        return {**self.event, **{key: value for key, value in named.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Adoption:
    """How an event of somebody else in MISP became the home of ours.

    Attributes:
        policy: `adopt` where ours is edited into theirs, `extend` where ours extends theirs.
        event: the UUID of their event, where it differs from ours.
        uuids: UUID of an attribute of ours -> UUID of the attribute in their event that has the
            same value.
        restricted: a marking that is not a tag keeps the event at distribution 0.
        distribution: of their event before it was adopted; None where it was extended.
        sharing_group_id: of their event then, where the distribution was 4.
        published: whether their event was published then.
    """

    policy: str
    event: str | None = None
    uuids: Mapping[str, str] = field(default_factory=dict)
    restricted: bool = False
    distribution: str | None = None
    sharing_group_id: str | None = None
    published: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """How a large event is divided into several in MISP.

    The first has number 0 and the UUID of the whole.

    Attributes:
        numbers: UUID of an attribute or object -> number of the event that it is in; those in the
            first are not listed.
        heads: number -> tags and distribution of that event, where they differ from those of the
            first.
        deleted: numbers of events that an analyst deleted.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    heads: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    deleted: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event as we delivered it to a sink, under our UUIDs.

    Attributes:
        body: the MISP event without what the sink did not keep, and without what is there by
            somebody else's hand.
        restricted: as in `Wanted`, where the sink took the event as it was wanted.
        restricted_parts: as in `Wanted`.
        clusters: as in `Wanted`.
        publish: as in `Wanted`, where the sink took the event as it was wanted.
        sharing_group: as in `Wanted`, where the sink took the event as it was wanted.
        adopted: how it became part of an event of somebody else; None where the event is ours
            alone.
        split: how it is divided into several events; None where it never was.
        analyst_kept: UUID of a part -> field -> the value that we delivered, where somebody else
            then set the value that the source wants by now.
        deleted_by_analyst: UUIDs of parts that somebody else deleted; they are not sent again.
        stored_values: UUID of an attribute -> its value as MISP stored it, where that differs from
            what we sent.
    """

    body: MispEvent
    restricted: bool = False
    clusters: Sequence[Mapping[str, Any]] = ()
    publish: bool | None = None
    sharing_group: str | None = None
    adopted: Adoption | None = None
    split: Split | None = None
    analyst_kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deleted_by_analyst: frozenset[str] = frozenset()
    stored_values: Mapping[str, str] = field(default_factory=dict)
    restricted_parts: Sequence[str] = ()

    @classmethod
    def of(cls, wanted: Wanted, *, adopted: Adoption | None = None) -> Self:
        """The envelope of an event that a sink took, or is about to take, as it is wanted."""
        return cls(
            wanted.event,
            wanted.restricted,
            wanted.clusters,
            wanted.publish,
            wanted.sharing_group,
            adopted,
            restricted_parts=wanted.restricted_parts,
        )

    def as_wanted(self) -> Wanted:
        """The same event as something to be delivered."""
        return Wanted(
            self.body,
            self.restricted,
            self.clusters,
            self.publish,
            self.sharing_group,
            self.restricted_parts,
        )


@dataclass(frozen=True, slots=True)
class AnalystDataChange:
    """A note, opinion or relationship of ours to change; an edit of its event would not change it.

    Attributes:
        kind: `Note`, `Opinion` or `Relationship`.
        uuid: its own.
        fields: that change; None to delete it.
    """

    kind: str
    uuid: str
    fields: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit that was begun, as it is on record until its end is known.

    Attributes:
        body: the edit as it was sent, or what is about to be in a further event of a split one.
        publish_pending: the event was published before, and is to be published again after the
            edit.
        analyst_data: changes of analyst data that go with it.
    """

    body: MispEvent = field(default_factory=dict)
    publish_pending: bool = False
    analyst_data: tuple[AnalystDataChange, ...] = ()
