"""The tags that stand for context objects: of the known galaxy cluster, else a plain one.

MISP shows the name of every tag to every organisation. The name of a restricted object therefore
makes no tag, and an event report for fewer readers tells it. The name of a known cluster is public.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.known_clusters import known_cluster, names_of
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.misp_export_labels import cluster_tag
from stixbridge.mapping.context import TOLD
from stixbridge.mapping.malware import INSTANCE
from stixbridge.misp.clusters import Match
from stixbridge.misp.model import machine_tag, one_line

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]

_OWN_ORGANISATION_RANK = tlp.RANK["amber+strict"]
_VALUE = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-|://")


class ContextTags:
    """The tags of the context objects of one conversion."""

    def __init__(self, workspace: Workspace) -> None:
        self._objects = workspace.objects
        self._shapes = workspace.shapes
        self._markings = workspace.markings
        self._clusters = workspace.knowledge.clusters
        self._default_level = workspace.options.default_tlp
        self._matches: dict[str, Match | None] = {}
        self._tags: dict[str, str] = {}
        self._tag_markings: dict[str, Marking] = {}
        self._shown: dict[tuple[str, str], str | None] = {}

    def cluster(self, id_: str) -> Match | None:
        """The known galaxy cluster that a context object stands for."""
        if id_ not in self._matches:
            obj = self._objects[id_]
            exported = cluster_tag(obj, self._clusters)
            self._matches[id_] = (
                Match(exported, own=True, named=True, opening=0)
                if exported
                else known_cluster(obj, self._shapes[id_].table, self._clusters)
            )
        return self._matches[id_]

    def known(self, id_: str) -> bool:
        """Whether it is a known galaxy cluster."""
        return self.cluster(id_) is not None

    def tag(self, id_: str) -> str:
        """The tag that stands for a context object, whether or not it may be shown."""
        found = self._tags.get(id_)
        if found is None:
            match = self.cluster(id_)
            found = self._tags[id_] = match.tag if match is not None else self._plain(id_)
        return found

    def marking(self, id_: str) -> Marking:
        """The marking of an element with its tag; statements are about the object's text."""
        found = self._tag_markings.get(id_)
        if found is None:
            own = self._markings.of(self._objects[id_])
            found = self._tag_markings[id_] = Marking(own.level, own.tags, own.restricted)
        return found

    def shown_in(self, builder: EventBuilder, id_: str) -> str | None:
        """The tag that stands for a context object in an event; None where a report tells it.

        A report tells a course of action, and a restricted object that is no known cluster.
        """
        key = (builder.uuid, id_)
        if key not in self._shown:
            told = self._objects[id_]["type"] in TOLD
            hidden = told or (not self.known(id_) and self._secret(builder, id_))
            self._shown[key] = None if hidden else self.tag(id_)
        return self._shown[key]

    def name_beside(self, id_: str) -> str | None:
        """The name by which its producer knows a cluster, where the cluster has another."""
        match = self.cluster(id_)
        if match is None or match.named or match.own:
            return None
        obj = self._objects[id_]
        if obj["type"] == "location" and "administrative_area" not in obj:
            return None  # the name of a country or region in another spelling or language
        names = names_of(obj, self._shapes[id_].table)
        return one_line(names[0]) if names else None

    def beside(self, builder: EventBuilder, id_: str) -> frozenset[str]:
        """The tag of that name, where every organisation may see it."""
        if self.name_beside(id_) is None or self._secret(builder, id_):
            return frozenset()
        return frozenset({self._plain(id_)})

    def of_instance(self, builder: EventBuilder, id_: str) -> str | None:
        """The tag of a malware instance on what indicates it.

        None where its name is restricted, or holds a hash, a UUID or a URL.
        """
        obj = self._objects.get(id_)
        if obj is None or self._shapes[id_].table is not INSTANCE:
            return None
        name = obj.get("name")
        if not name or _VALUE.search(name) or self._secret(builder, id_):
            return None
        return machine_tag("stix", "malware", name)

    def _plain(self, id_: str) -> str:
        obj = self._objects[id_]
        names = names_of(obj, self._shapes[id_].table)
        return machine_tag("stix", obj["type"], names[0] if names else id_)

    def _secret(self, builder: EventBuilder, id_: str) -> bool:
        """Whether a name in an event is for fewer organisations than see the tags of a MISP."""
        marking = self._markings.of(self._objects[id_]).joined(builder.marking)
        return secret(marking, marking.level or self._default_level)


def secret(marking: Marking, level: str | None) -> bool:
    """Whether what has a marking is not for every organisation of a MISP.

    Args:
        marking: of an object or event.
        level: its TLP level, by the marking or by default.
    """
    return confining(marking) or (level is not None and tlp.RANK[level] >= _OWN_ORGANISATION_RANK)


def confining(marking: Marking) -> bool:
    """Whether a marking keeps something from most of an organisation."""
    return (
        marking.restricted
        or marking.level == "red"
        or not marking.tags.isdisjoint(("PAP:RED", "PAP:AMBER"))
    )
