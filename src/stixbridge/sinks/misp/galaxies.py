"""Private galaxy clusters: what no galaxy knows, created once in a MISP, with what is known of it and its relations.

They are at distribution 0 and unpublished: they describe, and never leave the instance. What an analyst changed in one
stays; one that an analyst deleted is not made again, and its plain tag stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stixbridge.ledger import Outcome, Reason
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import is_set
from stixbridge.sinks.misp.answers import message_of, rows, value_of
from stixbridge.sinks.misp.api import MispApi

Cluster = Mapping[str, Any]


class PrivateClusters:
    """The private clusters of one MISP; each is looked at once a change.

    Args (of the constructor):
        api: the MISP.
    """

    def __init__(self, api: MispApi) -> None:
        self._api = api
        self._names: dict[str, str] = {}
        self._seen: dict[str, Cluster] = {}
        self._refused: set[str] = set()

    def names(
        self, wanted: Sequence[Cluster], base: Sequence[Cluster], notes: list[Note]
    ) -> dict[str, str]:
        """Bring clusters to what is wanted.

        Args:
            wanted: as `conversion.clusters` describes them.
            base: as they were when their event was delivered last.
            notes: takes what a reader should know.

        Returns:
            Plain tag -> the tag of the cluster; without those that this MISP does not take.

        Raises:
            ServerError: when MISP fails.
        """
        fresh = [
            row
            for row in wanted
            if row["uuid"] not in self._refused and self._seen.get(row["uuid"]) != row
        ]
        held = {
            str(row.get("uuid")): row for row in self._api.clusters([row["uuid"] for row in fresh])
        }
        before = {row["uuid"]: row for row in base}
        for row in fresh:
            there = held.get(row["uuid"])
            if row["withheld"]:
                if there is not None and not before.get(row["uuid"], row)["withheld"]:
                    self._update(row, before[row["uuid"]], there, notes)
            elif there is None:
                self._create(row, notes)
            elif is_set(there.get("deleted")) or not there.get("tag_name"):
                self._not_made(row, "an analyst deleted it", notes)
            else:
                self._names[row["tag"]] = str(there.get("tag_name"))
                self._update(row, before.get(row["uuid"], {}), there, notes)
        for row in fresh:
            if row["uuid"] not in self._refused:
                self._relate(row, held.get(row["uuid"], {}), notes)
                self._seen[row["uuid"]] = row
        return {
            row["tag"]: self._names[row["tag"]]
            for row in wanted
            if row["tag"] in self._names and not row["withheld"]
        }

    def _create(self, row: Cluster, notes: list[Note]) -> None:
        galaxy = self._api.galaxy(row["galaxy"])
        if galaxy is None:
            self._not_made(
                row, f"this MISP has no galaxy {row['galaxy']!r}; update its galaxies", notes
            )
            return
        answer = self._api.post(
            f"galaxy_clusters/add/{galaxy}", {"uuid": row["uuid"], **_body(row, row["elements"])}
        )
        value = value_of(answer)
        made = value.get("GalaxyCluster")
        if answer.status == 200 and isinstance(made, dict) and made.get("tag_name"):
            self._names[row["tag"]] = str(made["tag_name"])
        elif answer.status >= 500 or not value:
            raise self._api.failed("galaxy_clusters/add", answer, message_of(value, answer))
        else:
            self._not_made(row, message_of(value, answer), notes)

    def _not_made(self, row: Cluster, why: str, notes: list[Note]) -> None:
        self._refused.add(row["uuid"])
        self._names.pop(row["tag"], None)
        text = f"no cluster for {row['value']}, its plain tag stays: {why}"
        notes.append((None, Outcome.PRESERVED, Reason.MISP_DROPPED, text))

    def _update(self, row: Cluster, base: Cluster, held: Cluster, notes: list[Note]) -> None:
        """Change what the source changed; what an analyst changed stays."""
        theirs = {
            (str(part.get("key")), str(part.get("value"))) for part in rows(held, "GalaxyElement")
        }
        ours, before = (
            {(key, value) for key, value in part.get("elements") or []} for part in (row, base)
        )
        elements = (theirs | (ours - before)) - (before - ours)
        text = str(held.get("description") or "")
        description = row["description"] if text == base.get("description", text) else text
        if not base or (elements == theirs and description == text):
            return
        body = {
            **_body(row, sorted(elements)),
            "description": description,
            "value": held.get("value"),
        }
        answer = self._api.post(f"galaxy_clusters/edit/{row['uuid']}", body)
        value = value_of(answer)
        if answer.status >= 500 or not value:
            raise self._api.failed("galaxy_clusters/edit", answer, message_of(value, answer))
        if answer.status != 200:
            said = f"cluster {row['value']} not updated: {message_of(value, answer)}"
            notes.append((None, Outcome.DROPPED, Reason.REFUSED, said))

    def _relate(self, row: Cluster, held: Cluster, notes: list[Note]) -> None:
        there = {
            (
                str(part.get("referenced_galaxy_cluster_type")),
                str(part.get("referenced_galaxy_cluster_uuid")),
            )
            for part in rows(held, "GalaxyClusterRelation")
        }
        known = self._seen.get(row["uuid"], {}).get("relations") or []
        for verb, target in row["relations"]:
            if (verb, target) in there or [verb, target] in known:
                continue
            relation = {
                "galaxy_cluster_uuid": row["uuid"],
                "referenced_galaxy_cluster_uuid": target,
                "referenced_galaxy_cluster_type": verb,
                "distribution": "0",
            }
            answer = self._api.post("galaxy_cluster_relations/add", relation)
            if answer.status == 200:
                continue  # in HTML: MISP escapes its own JSON here
            value = value_of(answer)
            if answer.status >= 500 or not value:
                raise self._api.failed(
                    "galaxy_cluster_relations/add", answer, message_of(value, answer)
                )
            why = str(value.get("id") or message_of(value, answer))  # MISP puts the reason there
            if "already exists" not in why:
                said = f"relation {row['value']} {verb} {target}: {why}"
                notes.append((None, Outcome.DROPPED, Reason.MISP_DROPPED, said))


def _body(row: Cluster, elements: list[Any]) -> dict[str, Any]:
    return {
        "value": row["value"],
        "description": row["description"],
        "source": row["source"],
        "authors": ["stixbridge"],
        "distribution": "0",
        "GalaxyElement": [{"key": key, "value": value} for key, value in elements],
    }
