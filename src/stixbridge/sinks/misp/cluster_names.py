"""The names that a MISP has for galaxy clusters.

Its galaxies are older or newer than those of the package, and have other names for some clusters.

A cluster is looked up by its UUID within its galaxy (one UUID can be in several). A tag whose
cluster the MISP does not have stays as it is: MISP stores it as a plain tag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stixbridge.misp.knowledge import load
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.misp.tags import tagged

Search = Callable[[list[str]], list[Mapping[str, Any]]]
"""UUIDs -> the clusters (`GalaxyCluster`) that a MISP has of them."""


class ClusterNames:
    """Renames galaxy tags as one MISP has them; asks for each cluster once.

    Args (of the constructor):
        search: asks the MISP.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._names: dict[str, str] = {}

    def apply(self, event: MispEvent) -> None:
        """Rename the galaxy tags of an event and its parts; lists are replaced, not changed."""
        parts = list(tagged(event))
        self._ask(
            {tag["name"] for part in parts for tag in part["Tag"] if _is_cluster(tag["name"])}
        )
        for part in parts:
            renamed = [
                {**tag, "name": self._names.get(tag["name"], tag["name"])} for tag in part["Tag"]
            ]
            if renamed != part["Tag"]:
                part["Tag"] = list({tag["name"]: tag for tag in renamed}.values())

    def _ask(self, tags: set[str]) -> None:
        """Ask MISP for the names of clusters that were not asked for before."""
        new = tags - self._names.keys()
        self._names.update({tag: tag for tag in new})
        clusters = load().clusters
        uuids = {tag: uuid for tag in new if (uuid := clusters.uuid_of(tag))}
        by_uuid: dict[str, list[str]] = {}
        for tag, uuid in uuids.items():
            by_uuid.setdefault(uuid, []).append(tag)
        for cluster in self._search(sorted(by_uuid)) if by_uuid else ():
            name, kind = str(cluster.get("tag_name") or ""), str(cluster.get("type") or "")
            for tag in by_uuid.get(str(cluster.get("uuid")).lower(), ()) if name else ():
                if tag.startswith(f"misp-galaxy:{kind}="):
                    self._names[tag] = name


def _is_cluster(name: str) -> bool:
    return name.startswith("misp-galaxy:")
