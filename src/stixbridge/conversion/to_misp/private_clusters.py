"""What no galaxy knows, described as a cluster, for a sink that makes private clusters of it.

The UUID comes from the type and the name, as the plain tag does: one name is one cluster, whichever
source says it, and a document can't choose the UUID of another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge import tlp
from stixbridge.mapping.context import CLUSTER_GALAXIES
from stixbridge.mapping.tables import Table
from stixbridge.misp.model import NAMESPACE, derived_uuid, one_line
from stixbridge.misp.values import cut, storable

_MAX_VALUE = 255
_MAX_DESCRIPTION = 60_000
_WITHHELD = "It is marked for fewer readers by now."
_OTHERWISE = frozenset(
    {
        "description",
        "aliases",
        "created_by_ref",
        "external_references",
        "kill_chain_phases",
        "labels",
        "confidence",
    }
)
"""Properties that a cluster has a place of its own for, or none."""


def cluster_uuid(tag: str) -> str:
    """The UUID of the private cluster that takes the place of a plain tag."""
    return derived_uuid(NAMESPACE, "cluster", tag.lower())


def described(
    obj: Mapping[str, Any], table: Table, names: list[str], tag: str, source: str
) -> dict[str, Any] | None:
    """A context object as a cluster; None for a type that no galaxy is for.

    Args:
        obj: unknown to all galaxies.
        table: of its type.
        names: its name, then its other names.
        tag: the plain tag that stands for it.
        source: the name of the source.

    Returns:
        `uuid`, `tag`, `galaxy` (a type), `value`, `description`, `source`, `elements` (pairs of key
        and value, sorted), `relations` (empty), `level` (its TLP level, or None), `withheld`.
    """
    galaxy = CLUSTER_GALAXIES.get(str(obj["type"]))
    if galaxy is None or not names:
        return None
    elements = {("stix-id", str(obj["id"]))}
    elements |= {("synonyms", one_line(name)) for name in names[1:]}
    for row in obj.get("external_references") or ():
        for key, name in (("refs", "url"), ("external_id", "external_id")):
            if isinstance(row.get(name), str):
                elements.add((key, one_line(row[name])))
    for phase in obj.get("kill_chain_phases") or ():
        elements.add(("kill_chain", one_line(f"{phase['kill_chain_name']}:{phase['phase_name']}")))
    for name in table.retold:
        value = obj.get(name)
        if name not in _OTHERWISE and value not in (None, "", []):
            for item in value if isinstance(value, list) else [value]:
                elements.add((name.replace("_", "-"), one_line(str(item))))
    return {
        "uuid": cluster_uuid(tag),
        "tag": tag,
        "galaxy": galaxy,
        "value": cut(storable(one_line(names[0])), _MAX_VALUE),
        "description": cut(storable(str(obj.get("description") or "")), _MAX_DESCRIPTION),
        "source": cut(storable(source), _MAX_VALUE),
        "elements": sorted(
            [key, cut(storable(value), _MAX_VALUE)] for key, value in elements if value
        ),
        "relations": [],
        "level": None,
        "withheld": False,
    }


def withheld(cluster: dict[str, Any]) -> dict[str, Any]:
    """A cluster that says nothing: of what is marked for few.

    None is made of it; one that is there says no more.
    """
    return {**cluster, "description": _WITHHELD, "elements": [], "relations": [], "withheld": True}


def joined(clusters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Clusters by UUID: of several objects of one name the first describes, all add."""
    found: dict[str, dict[str, Any]] = {}
    for cluster in sorted(clusters, key=lambda row: bool(row["withheld"])):
        if cluster["withheld"] and cluster["uuid"] in found:
            continue
        known = found.setdefault(cluster["uuid"], cluster)
        if known is not cluster:
            known["description"] = known["description"] or cluster["description"]
            known["level"] = tlp.strictest([known["level"], cluster["level"]])
            for name in ("elements", "relations"):
                known[name] = sorted({tuple(row) for row in (*known[name], *cluster[name])})
                known[name] = [list(row) for row in known[name]]
    return [found[uuid] for uuid in sorted(found)]
