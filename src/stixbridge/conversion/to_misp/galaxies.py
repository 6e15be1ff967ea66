"""Context objects: actors, malware, techniques, tools, campaigns, and where each is shown.

A context object is shown where something is linked to it, and on the event where a report has it.
What is linked to nothing stays out of MISP (`unlinked-context`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from stixbridge.conversion.to_misp.context_tags import ContextTags, confining, secret
from stixbridge.conversion.to_misp.context_texts import retold, speaks_for_itself
from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.known_clusters import names_of
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking, strictness
from stixbridge.conversion.to_misp.private_clusters import cluster_uuid, described, joined, withheld
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.tables import Role

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]

REVOKED_BY = "revoked-by"
"""The relationship of a revoked object to the one that stands for it."""


class Contexts:
    """The context objects of one conversion and where each is shown.

    Attributes:
        tags: the tags that stand for them.
        collecting: UUIDs of the events that collect what no report has.
    """

    def __init__(self, workspace: Workspace) -> None:
        objects = workspace.objects
        self._objects = objects
        self._shapes = workspace.shapes
        self._ids = frozenset(
            id_ for id_, shape in workspace.shapes.items() if shape.table.role is Role.CONTEXT
        )
        self._knowledge = workspace.knowledge
        self._markings = workspace.markings
        self._fates = workspace.fates
        self.tags = ContextTags(workspace)
        self.collecting: set[str] = set()
        self._successors = _successors(objects, self._ids)
        self._gone = frozenset(
            id_
            for id_ in self._ids
            if objects[id_].get("revoked") is True
            and id_ not in self._successors
            and not self.tags.known(id_)
        )
        self._tagged: dict[tuple[str, str], list[str]] = {}
        self._on_event: dict[str, set[str]] = {}
        self._holders: dict[str, set[str]] = {}
        self._links: dict[str, dict[str, Marking]] = {}
        self._events: dict[str, dict[str, None]] = {}
        self._sorted_events: dict[str, list[str]] = {}
        self._related: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self._before: dict[str, list[str]] = {}
        for before, after in self._successors.items():
            self._before.setdefault(after, []).append(before)

    def is_context(self, id_: object) -> bool:
        """Whether an id is that of a context object of the input."""
        return id_ in self._ids

    def gone(self, id_: str) -> bool:
        """Whether a context object is revoked and nothing stands for it: it is shown nowhere."""
        return id_ in self._gone

    def current(self, id_: str) -> str:
        """The object that stands for a revoked one (`revoked-by`), else the object itself."""
        return self._successors.get(id_, id_)

    def marking(self, id_: str) -> Marking:
        """The markings of an object."""
        return self._markings.of(self._objects[id_])

    def on(self, event_uuid: str, id_: str) -> None:
        """Show a context object on an event, since its report has it: the event gets its tag."""
        self._on_event.setdefault(event_uuid, set()).add(id_)
        self._holders.setdefault(id_, set()).add(event_uuid)
        self.linked(event_uuid, id_)

    def linked(self, event_uuid: str, id_: str, link: Marking = UNMARKED) -> None:
        """Show a context object in an event, since something there is linked to it.

        Args:
            event_uuid: of the event.
            id_: of the context object.
            link: marks the link; the least strict of several counts.
        """
        links = self._links.setdefault(event_uuid, {})
        before = links.get(id_)
        if before is None:
            links[id_] = link
            self._events.setdefault(id_, {})[event_uuid] = None
            self._sorted_events.pop(id_, None)
        elif link is not before and strictness(link) < strictness(before):
            links[id_] = link

    def tagged(self, event_uuid: str, id_: str, element: str) -> None:
        """Note that an element of an event carries its tag."""
        self._tagged.setdefault((event_uuid, id_), []).append(element)

    def events_of(self, id_: str) -> list[str]:
        """The events that it is shown in, sorted."""
        known = self._sorted_events.get(id_)
        if known is None:
            known = self._sorted_events[id_] = sorted(self._events.get(id_, ()))
        return known

    def shows(self, event_uuid: str, id_: str) -> bool:
        """Whether it is shown in an event."""
        return id_ in self._links.get(event_uuid, ())

    def related(
        self, event_uuid: str, source: str, verb: str, target: str, marking: Marking
    ) -> None:
        """Two context objects are related in an event.

        Clusters carry that where no marking confines it.
        """
        if not confining(marking.joined(self.marking(target))):
            self._related.setdefault((event_uuid, source), set()).add((verb, target))

    def clusters(
        self,
        builder: EventBuilder,
        source: str,
        default_level: str | None,
        confined: Container[str],
    ) -> list[dict[str, Any]]:
        """What no galaxy knows, of what is shown in an event, as clusters.

        A cluster is seen by all of the organisation, whatever event it came with: what is marked
        TLP:RED, or so that no level says it, makes none.

        Args:
            builder: of the event.
            source: the name of the source.
            default_level: the TLP level of what is not marked.
            confined: UUIDs of events whose markings confine what only they have.
        """
        found: dict[str, dict[str, Any]] = {}
        for id_ in sorted(self._links.get(builder.uuid, ())):
            if self.tags.known(id_):
                continue
            marking, table = self.marking(id_), self._shapes[id_].table
            level = marking.level or default_level
            holding = self._holders.get(id_, set())
            cluster = described(
                self._objects[id_],
                table,
                names_of(self._objects[id_], table),
                self.tags.tag(id_),
                source,
            )
            if cluster is None:
                continue
            if secret(marking, level):
                found[id_] = withheld(
                    cluster
                )  # where there is a cluster already, from before, it is to say no more
            elif builder.uuid not in confined and not (
                holding and all(event in confined for event in holding)
            ):
                found[id_] = {**cluster, "level": level}
        for id_, cluster in found.items():
            if cluster["withheld"]:
                continue
            for verb, target in self._related.get((builder.uuid, id_), ()):
                uuid = (
                    self._knowledge.clusters.uuid_of(self.tags.tag(target))
                    if self.tags.known(target)
                    else None
                )
                if target in found and not found[target]["withheld"]:
                    uuid = cluster_uuid(self.tags.tag(target))
                if uuid is not None and uuid != cluster["uuid"]:
                    cluster["relations"].append([verb, uuid])
            cluster["relations"].sort()
        return joined(list(found.values()))

    def finish(self, builder: EventBuilder) -> None:
        """Tag the event; tell what no galaxy knows, and what producers say of what one knows.

        A tag can't be marked more strictly than its event: such a context object is told in a
        restricted report only.
        """
        links = self._links.get(builder.uuid, {})
        on_event = self._on_event.get(builder.uuid, ())
        for id_ in sorted(links):
            marking = self.tags.marking(id_).joined(links[id_])
            closed = marking.exceeds(builder.marking, builder.level_rank)
            tag = self.tags.shown_in(builder, id_)
            evidence = [f"{element} {tag}" for element in self._tagged.get((builder.uuid, id_), ())]
            if tag is not None and not closed:
                if id_ in on_event:
                    builder.tags.add(tag)
                    evidence.append(f"{builder.uuid} {tag}")
                if builder.uuid not in self.collecting:
                    builder.tags |= self.tags.beside(builder, id_)
            if self._speaks(id_):
                evidence.append(self._tell(builder, id_, marking))
            else:
                self._leave_to_the_cluster(id_)
                if tag is None or (id_ in on_event and closed):
                    evidence.append(
                        builder.tell("Context", id_, f"## {self.tags.tag(id_)}\n", marking)
                    )
            for shown in (id_, *self._before.get(id_, ())):
                self._fates.mapped(shown, evidence)

    def _speaks(self, id_: str) -> bool:
        """Whether an object says more than a known cluster: a text or references of its own."""
        match = self.tags.cluster(id_)
        return match is None or speaks_for_itself(self._objects[id_], match)

    def _tell(self, builder: EventBuilder, id_: str, marking: Marking) -> str:
        obj = self._objects[id_]
        creator = self._markings.name(obj.get("created_by_ref"), self.marking(id_))
        match = self.tags.cluster(id_)
        text = retold(obj, self._shapes[id_].table, creator, match.tag if match is not None else "")
        return builder.tell("Context", id_, text, marking.joined(self.marking(id_)))

    def _leave_to_the_cluster(self, id_: str) -> None:
        """Record that the known cluster stands for what the object says."""
        obj = self._objects[id_]
        names = (name for name in self._shapes[id_].table.retold if name in obj)
        self._fates.drop(id_, [(name, Outcome.DROPPED, Reason.CLUSTER) for name in names])


def _successors(objects: Mapping[str, StixObject], contexts: frozenset[str]) -> dict[str, str]:
    """Revoked context object -> the last one that its `revoked-by` relationships lead to."""
    revoked = {id_ for id_ in contexts if objects[id_].get("revoked") is True}
    after: dict[str, str] = {}
    for obj in objects.values() if revoked else ():
        if obj["type"] == "relationship" and obj.get("relationship_type") == REVOKED_BY:
            source, target = str(obj.get("source_ref")), str(obj.get("target_ref"))
            if source in revoked and target in contexts and obj.get("revoked") is not True:
                after[source] = min(target, after.get(source, target))
    found: dict[str, str] = {}
    for id_, here in after.items():
        passed = {id_}
        while here in after and here not in passed:
            passed.add(here)
            here = after[here]
        if here not in passed:  # relationships in a circle lead nowhere
            found[id_] = here
    return found
