"""Context objects: actors, malware, techniques, tools, campaigns.

A known galaxy cluster, or a plain tag.

A context object is shown where something is linked to it, and on the event where a report has it.
What is linked to nothing stays out of MISP (`unlinked-context`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.known_clusters import known_cluster, names_of
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking, strictness
from stixbridge.conversion.to_misp.misp_export_labels import cluster_tag
from stixbridge.conversion.to_misp.private_clusters import cluster_uuid, described, joined, withheld
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.model import machine_tag, one_line

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]


class Contexts:
    """The context objects of one conversion and where each is shown."""

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
        self._gone = frozenset(id_ for id_ in self._ids if objects[id_].get("revoked") is True)
        self._tags: dict[str, tuple[str, bool]] = {}
        self._tag_markings: dict[str, Marking] = {}
        self._tagged: dict[tuple[str, str], list[str]] = {}
        self._on_event: dict[str, set[str]] = {}
        self._holders: dict[str, set[str]] = {}
        self._links: dict[str, dict[str, Marking]] = {}
        self._events: dict[str, dict[str, None]] = {}
        self._sorted_events: dict[str, list[str]] = {}
        self._related: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def is_context(self, id_: object) -> bool:
        """Whether an id is that of a context object of the input."""
        return id_ in self._ids

    def gone(self, id_: str) -> bool:
        """Whether a context object is revoked: it is shown nowhere."""
        return id_ in self._gone

    def marking(self, id_: str) -> Marking:
        """The markings of an object."""
        return self._markings.of(self._objects[id_])

    def may_name(self, named: StixObject, told: Marking) -> bool:
        """Whether a name may stand where `told` holds."""
        return self._markings.may_name(named, told)

    def marking_of_tag(self, id_: str) -> Marking:
        """What holds for its tag.

        A known cluster's says nothing of the object's text, so only the level counts.
        """
        found = self._tag_markings.get(id_)
        if found is None:
            marking = self.marking(id_)
            found = Marking(marking.level) if self.known(id_) else marking
            self._tag_markings[id_] = found
        return found

    def tag(self, id_: str) -> str:
        """The tag that stands for a context object."""
        return self._tag(id_)[0]

    def known(self, id_: str) -> bool:
        """Whether it is a known galaxy cluster."""
        return self._tag(id_)[1]

    def _tag(self, id_: str) -> tuple[str, bool]:
        found = self._tags.get(id_)
        if found is None:
            obj = self._objects[id_]
            names = names_of(obj, self._shapes[id_].table)
            match = known_cluster(obj, self._shapes[id_].table, self._knowledge.clusters)
            tag = cluster_tag(obj, self._knowledge.clusters) or (
                match.tag if match is not None else None
            )
            name = names[0] if names else id_
            found = self._tags[id_] = (
                (tag, True) if tag else (machine_tag("stix", obj["type"], name), False)
            )
        return found

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
            if self.known(id_):
                continue
            marking, table = self.marking(id_), self._shapes[id_].table
            level = marking.level or default_level
            holding = self._holders.get(id_, set())
            cluster = described(
                self._objects[id_],
                table,
                names_of(self._objects[id_], table),
                self.tag(id_),
                source,
            )
            if cluster is None:
                continue
            if confining(marking) or level == "red":
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
                    self._knowledge.clusters.uuid_of(self.tag(target))
                    if self.known(target)
                    else None
                )
                if target in found and not found[target]["withheld"]:
                    uuid = cluster_uuid(self.tag(target))
                if uuid is not None and uuid != cluster["uuid"]:
                    cluster["relations"].append([verb, uuid])
            cluster["relations"].sort()
        return joined(list(found.values()))

    def finish(self, builder: EventBuilder) -> None:
        """Tag the event, and retell the context objects that no galaxy knows.

        A tag can't be marked more strictly than its event: such a context object is told in a
        restricted report only.
        """
        links = self._links.get(builder.uuid, {})
        on_event = self._on_event.get(builder.uuid, ())
        for id_ in sorted(links):
            obj, table = self._objects[id_], self._shapes[id_].table
            marking = self.marking_of_tag(id_).joined(links[id_])
            closed = marking.exceeds(builder.marking, builder.level_rank)
            tag, known = self._tag(id_)
            if known:
                self._fates.drop(
                    id_,
                    [
                        (name, Outcome.DROPPED, Reason.CLUSTER)
                        for name in table.retold
                        if name in obj
                    ],
                )
            evidence = [f"{element} {tag}" for element in self._tagged.get((builder.uuid, id_), ())]
            if id_ in on_event and not closed:
                builder.tags.add(tag)
                evidence.append(f"{builder.uuid} {tag}")
            if not known:
                text = retold(
                    obj, table, self._markings.name(obj.get("created_by_ref"), self.marking(id_))
                )
                evidence.append(builder.tell("Context", id_, text, marking))
            elif id_ in on_event and closed:
                evidence.append(builder.tell("Context", id_, f"## {tag}\n", marking))
            self._fates.mapped(id_, evidence)


def confining(marking: Marking) -> bool:
    """Whether a marking keeps something from most of an organisation."""
    return (
        marking.restricted
        or marking.level == "red"
        or not marking.tags.isdisjoint(("PAP:RED", "PAP:AMBER"))
    )


def retold(obj: StixObject, table: Table, creator: str | None) -> str:
    """A context object in Markdown: its name, and the properties its table names."""
    lines = [f"## {one_line(obj.get('name') or obj['id'])} ({obj['type']})", ""]
    for name in table.retold:
        value = obj.get(name)
        if value in (None, "", []):
            continue
        if name == "description":
            lines.extend((str(value), ""))
            continue
        if name == "created_by_ref":
            value = creator or value
        elif name == "external_references":
            value = [
                " ".join(str(part) for part in row.values() if isinstance(part, str))
                for row in value
            ]
        elif name == "kill_chain_phases":
            value = [f"{row['kill_chain_name']}:{row['phase_name']}" for row in value]
        text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        lines.append(f"- {name.replace('_', ' ')}: {one_line(text)}")
    return "\n".join(lines) + "\n"
