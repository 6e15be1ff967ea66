"""The common part of all context types. Context objects become galaxy clusters.

A known cluster has its own description. An unknown one becomes an ordinary tag, and its texts go
to the event report "Context".
"""

from collections.abc import Mapping

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Fate, Role, Table

NAMES = ("name", "aliases", "x_mitre_aliases", "x_opencti_aliases")
NUMBER_PROPERTIES = frozenset(
    {
        "x_mitre_id",
        "x_mitre_attack_id",
        "x_opencti_mitre_id",
        "mitre_id",
        "technique_id",
        "external_id",
    }
)
"""Properties in which producers write the number of a technique, group or program in ATT&CK."""
TOLD = frozenset({"course-of-action"})
"""Types that are told in an event report and make no tag: a report has dozens of mitigations."""
CLUSTER_GALAXIES: Mapping[str, str] = {
    "attack-pattern": "mitre-attack-pattern",
    "campaign": "campaigns",
    "course-of-action": "mitre-course-of-action",
    "intrusion-set": "threat-actor",
    "malware": "tool",
    "threat-actor": "threat-actor",
    "tool": "tool",
}
"""STIX type -> the galaxy for private clusters of this type."""

_TEXT = "event report, where no cluster is known"
_RETOLD = (
    "description",
    "aliases",
    "kill_chain_phases",
    "created_by_ref",
    "confidence",
    "labels",
    "external_references",
)


def context(
    stix_type: str, retold: tuple[str, ...], names: tuple[str, ...] = NAMES, **more: Fate
) -> Table:
    """Make a table for a context type.

    Args:
        stix_type: the name of the type.
        retold: its text properties; they go to the event report if no cluster is known.
        names: the properties with its names; the first is the main name.
        more: the fates of other properties.
    """
    own: Mapping[str, Fate] = {
        "name": "tag misp-galaxy",
        **dict.fromkeys(_RETOLD + retold, _TEXT),
        "x_mitre_aliases": "tag misp-galaxy",
        **dict.fromkeys(sorted(NUMBER_PROPERTIES | {"x_mitre_domains"}), "tag misp-galaxy"),
        "x_opencti_aliases": "tag misp-galaxy",
        "revoked": "left out when true",
        "modified": Reason.LIFECYCLE,
        **more,
    }
    return Table(
        stix_type,
        Role.CONTEXT,
        properties=own,
        names=names,
        retold=_RETOLD + retold,
    )
