"""Context objects: actors, malware, techniques, tools, campaigns. A known galaxy cluster, or a plain tag.

A context object is shown where something is linked to it, and on the event where a report has it. What is linked to
nothing stays out of MISP (`unlinked-context`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking, Markings, strictness
from stixbridge.conversion.to_misp.misp_export import cluster_tag
from stixbridge.conversion.to_misp.private_clusters import cluster_uuid, described, joined, withheld
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import machine_tag, one_line, uuid_of

StixObject = Mapping[str, Any]


class Contexts:
    """The context objects of one conversion and where each is shown."""

    def __init__(
        self,
        objects: Mapping[str, StixObject],
        tables: Mapping[str, Table],
        knowledge: Knowledge,
        markings: Markings,
    ) -> None:
        self._objects = objects
        self._tables = tables
        self._ids = frozenset(id_ for id_, table in tables.items() if table.role is Role.CONTEXT)
        self._knowledge = knowledge
        self._markings = markings
        self._gone = frozenset(id_ for id_ in self._ids if objects[id_].get("revoked") is True)
        self._tags: dict[str, tuple[str, bool]] = {}
        self._on_event: dict[str, set[str]] = {}
        self._holders: dict[str, set[str]] = {}
        self._shown: dict[str, set[str]] = {}
        self._events: dict[str, set[str]] = {}
        self._links: dict[tuple[str, str], Marking] = {}
        self._related: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def is_context(self, id_: str) -> bool:
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
        """What holds for its tag: a known cluster's says nothing of the object's text, so only the level counts."""
        marking = self.marking(id_)
        return Marking(marking.level) if self.known(id_) else marking

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
            names = names_of(obj, self._tables[id_])
            tag = cluster_tag(obj) or known_cluster(obj, self._tables[id_], self._knowledge)
            name = names[0] if names else id_
            found = self._tags[id_] = (
                (tag, True) if tag else (machine_tag("stix", obj["type"], name), False)
            )
        return found

    def _creator(self, id_: str) -> str | None:
        """The name of who made an object, where it may be told."""
        creator = self._objects.get(str(self._objects[id_].get("created_by_ref")))
        if creator is None or not self.may_name(creator, self.marking(id_)):
            return None
        name = creator.get("name")
        return name if isinstance(name, str) and name else None

    def on(self, event_uuid: str, id_: str) -> None:
        """A report has it: the event gets its tag."""
        self._on_event.setdefault(event_uuid, set()).add(id_)
        self._holders.setdefault(id_, set()).add(event_uuid)
        self.linked(event_uuid, id_)

    def linked(self, event_uuid: str, id_: str, link: Marking = UNMARKED) -> None:
        """Something in the event is linked to it; `link` marks the link, and the least strict of several counts."""
        before = self._links.get((event_uuid, id_))
        if before is None or strictness(link) < strictness(before):
            self._links[event_uuid, id_] = link
        self._shown.setdefault(event_uuid, set()).add(id_)
        self._events.setdefault(id_, set()).add(event_uuid)

    def events_of(self, id_: str) -> list[str]:
        """The events that it is shown in, sorted."""
        return sorted(self._events.get(id_, ()))

    def shown(self, id_: str) -> bool:
        """Whether it is shown anywhere."""
        return id_ in self._events

    def related(
        self, event_uuid: str, source: str, verb: str, target: str, marking: Marking
    ) -> None:
        """Two context objects are related in an event; clusters carry that where no marking confines it."""
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

        A cluster is seen by all of the organisation, whatever event it came with: what is marked TLP:RED, or so that no
        level says it, makes none.

        Args:
            builder: of the event.
            source: the name of the source.
            default_level: the TLP level of what is not marked.
            confined: UUIDs of events whose markings confine what only they have.
        """
        found: dict[str, dict[str, Any]] = {}
        for id_ in sorted(self._shown.get(builder.uuid, ())):
            if self.known(id_):
                continue
            marking, table = self.marking(id_), self._tables[id_]
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
                uuid = self._knowledge.uuid_of_tag(self.tag(target)) if self.known(target) else None
                if target in found and not found[target]["withheld"]:
                    uuid = cluster_uuid(self.tag(target))
                if uuid is not None and uuid != cluster["uuid"]:
                    cluster["relations"].append([verb, uuid])
            cluster["relations"].sort()
        return joined(list(found.values()))

    def finish(self, builder: EventBuilder) -> None:
        """Tag the event, and retell what no galaxy tells of the unknown ones.

        A tag can't be marked more strictly than its event: such a context object is told in a restricted report only.
        """
        level = builder.level
        rank = tlp.RANK[level] if level else tlp.RANK["green"]
        for id_ in sorted(self._shown.get(builder.uuid, ())):
            marking = self.marking_of_tag(id_).joined(self._links[builder.uuid, id_])
            closed = marking.restricted or (
                marking.level is not None and tlp.RANK[marking.level] > rank
            )
            tagged = id_ in self._on_event.get(builder.uuid, ())
            if tagged and not closed:
                builder.tags.add(self.tag(id_))
            if not self.known(id_):
                builder.tell(
                    "Context",
                    id_,
                    retold(self._objects[id_], self._tables[id_], self._creator(id_)),
                    marking,
                )
            elif tagged and closed:
                builder.tell("Context", id_, f"## {self.tag(id_)}\n", marking)


def confining(marking: Marking) -> bool:
    """Whether a marking keeps something from most of an organisation."""
    return (
        marking.restricted
        or marking.level == "red"
        or not marking.tags.isdisjoint(("PAP:RED", "PAP:AMBER"))
    )


def known_cluster(obj: StixObject, table: Table, knowledge: Knowledge) -> str | None:
    """The tag of the known galaxy cluster that an object stands for, or None."""
    uuid = uuid_of(str(obj["id"])) or ""
    return knowledge.cluster_tag(str(obj["type"]), uuid, external_ids(obj), names_of(obj, table))


def names_of(obj: StixObject, table: Table) -> list[str]:
    """The name of a context object, then its other names."""
    names: list[str] = []
    for name in table.names:
        value = obj.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item.strip():
                names.append(item.strip().replace("-", " ") if name == "region" else item.strip())
    return names


def external_ids(obj: StixObject) -> list[str]:
    """The ids of an object in MITRE's catalogues, by its external references."""
    refs = obj.get("external_references")
    return [
        row["external_id"]
        for row in (refs if isinstance(refs, list) else [])
        if isinstance(row.get("external_id"), str)
        and str(row.get("source_name", "")).lower().startswith("mitre")
    ]


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
