"""Private galaxy clusters of one MISP, for names that no galaxy knows.

A cluster is created once, with its description and relations. It is at distribution 0 and
unpublished: it describes, and never leaves the instance. An analyst's change in one stays; one that
an analyst deleted is not made again, and its plain tag stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stixbridge.ledger import Outcome, Reason
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import is_deleted
from stixbridge.sinks.misp.answers import message_of, rows, value_of
from stixbridge.sinks.misp.api import MispApi

Cluster = Mapping[str, Any]


class PrivateClusters:
    """Creates and updates private clusters; each is looked at once a change.

    Args (of the constructor):
        api: the MISP.
    """

    def __init__(self, api: MispApi) -> None:
        self._api = api
        self._names: dict[str, str] = {}
        self._seen: dict[str, Cluster] = {}
        self._refused: set[str] = set()

    def names(
        self, wanted: Sequence[Cluster], delivered: Sequence[Cluster], notes: list[Note]
    ) -> dict[str, str]:
        """Bring clusters to what is wanted.

        Args:
            wanted: as `conversion.private_clusters` describes them.
            delivered: as they were when their event was delivered last.
            notes: takes notes for a reader.

        Returns:
            Plain tag -> the tag of the cluster; without those that this MISP does not take.

        Raises:
            ServerError: when MISP fails.
        """
        fresh = [row for row in wanted if self._is_fresh(row)]
        remote = {
            str(row.get("uuid")): row for row in self._api.clusters([row["uuid"] for row in fresh])
        }
        before = {row["uuid"]: row for row in delivered}
        for row in fresh:
            self._bring(row, before.get(row["uuid"]), remote.get(row["uuid"]), notes)
        for row in fresh:
            if row["uuid"] not in self._refused:
                self._relate(row, remote.get(row["uuid"], {}), notes)
                self._seen[row["uuid"]] = row
        return {
            row["tag"]: self._names[row["tag"]]
            for row in wanted
            if row["tag"] in self._names and not row["withheld"]
        }

    def _is_fresh(self, row: Cluster) -> bool:
        """Whether a cluster was not looked at since its last change."""
        return row["uuid"] not in self._refused and self._seen.get(row["uuid"]) != row

    def _bring(
        self, row: Cluster, before: Cluster | None, remote: Cluster | None, notes: list[Note]
    ) -> None:
        """Bring one cluster to what is wanted.

        Args:
            row: as it is wanted.
            before: as it was delivered.
            remote: as MISP has it.
            notes: takes notes for a reader.
        """
        if row["withheld"]:
            if remote is not None and before is not None and not before["withheld"]:
                self._update(row, before, remote, notes)
        elif remote is None:
            self._create(row, notes)
        elif is_deleted(remote) or not remote.get("tag_name"):
            self._refuse(row, "an analyst deleted it", notes)
        else:
            self._names[row["tag"]] = str(remote.get("tag_name"))
            self._update(row, before or {}, remote, notes)

    def _create(self, row: Cluster, notes: list[Note]) -> None:
        galaxy = self._api.galaxy(row["galaxy"])
        if galaxy is None:
            why = f"this MISP has no galaxy {row['galaxy']!r}; update its galaxies"
            self._refuse(row, why, notes)
            return
        body = {"uuid": row["uuid"], **_body(row, row["elements"])}
        answer = self._api.post(f"galaxy_clusters/add/{galaxy}", body)
        value = value_of(answer)
        made = value.get("GalaxyCluster")
        if answer.status == 200 and isinstance(made, dict) and made.get("tag_name"):
            self._names[row["tag"]] = str(made["tag_name"])
        elif answer.status >= 500 or not value:
            raise self._api.failed("galaxy_clusters/add", answer, message_of(value, answer))
        else:
            self._refuse(row, message_of(value, answer), notes)

    def _refuse(self, row: Cluster, why: str, notes: list[Note]) -> None:
        """Leave a cluster out for good."""
        self._refused.add(row["uuid"])
        self._names.pop(row["tag"], None)
        text = f"no cluster for {row['value']}, its plain tag stays: {why}"
        notes.append((None, Outcome.PRESERVED, Reason.MISP_DROPPED, text))

    def _update(self, row: Cluster, before: Cluster, remote: Cluster, notes: list[Note]) -> None:
        """Send the changes of the source; those of an analyst stay."""
        if not before:
            return
        theirs = _elements_of(remote)
        ours, delivered = (
            {(key, value) for key, value in side.get("elements") or []} for side in (row, before)
        )
        elements = (theirs | (ours - delivered)) - (delivered - ours)
        text = str(remote.get("description") or "")
        by_source = text == before.get("description", text)
        description = row["description"] if by_source else text
        if elements == theirs and description == text:
            return
        body = {
            **_body(row, sorted(elements)),
            "description": description,
            "value": remote.get("value"),
        }
        answer = self._api.post(f"galaxy_clusters/edit/{row['uuid']}", body)
        value = value_of(answer)
        if answer.status >= 500 or not value:
            raise self._api.failed("galaxy_clusters/edit", answer, message_of(value, answer))
        if answer.status != 200:
            text = f"cluster {row['value']} not updated: {message_of(value, answer)}"
            notes.append((None, Outcome.DROPPED, Reason.REFUSED, text))

    def _relate(self, row: Cluster, remote: Cluster, notes: list[Note]) -> None:
        """Add the relations of a cluster that MISP does not have."""
        present = {
            (
                str(part.get("referenced_galaxy_cluster_type")),
                str(part.get("referenced_galaxy_cluster_uuid")),
            )
            for part in rows(remote, "GalaxyClusterRelation")
        }
        seen = self._seen.get(row["uuid"], {}).get("relations") or []
        for verb, target in row["relations"]:
            if (verb, target) not in present and [verb, target] not in seen:
                self._add_relation(row, verb, target, notes)

    def _add_relation(self, row: Cluster, verb: str, target: str, notes: list[Note]) -> None:
        relation = {
            "galaxy_cluster_uuid": row["uuid"],
            "referenced_galaxy_cluster_uuid": target,
            "referenced_galaxy_cluster_type": verb,
            "distribution": "0",
        }
        route = "galaxy_cluster_relations/add"
        answer = self._api.post(route, relation)
        if answer.status == 200:
            return  # in HTML: MISP escapes its own JSON here
        value = value_of(answer)
        if answer.status >= 500 or not value:
            raise self._api.failed(route, answer, message_of(value, answer))
        why = str(value.get("id") or message_of(value, answer))  # MISP puts the reason there
        if "already exists" not in why:
            text = f"relation {row['value']} {verb} {target}: {why}"
            notes.append((None, Outcome.DROPPED, Reason.MISP_DROPPED, text))


def _elements_of(remote: Cluster) -> set[tuple[str, str]]:
    return {(str(row.get("key")), str(row.get("value"))) for row in rows(remote, "GalaxyElement")}


def _body(row: Cluster, elements: Sequence[Any]) -> dict[str, Any]:
    return {
        "value": row["value"],
        "description": row["description"],
        "source": row["source"],
        "authors": ["stixbridge"],
        "distribution": "0",
        "GalaxyElement": [{"key": key, "value": value} for key, value in elements],
    }
