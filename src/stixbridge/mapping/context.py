"""What all context types share: what says who and how is a galaxy cluster where one is known.

A known cluster carries its own description; an unknown one is a plain tag, and its texts are retold in the event
report "Context".
"""

from collections.abc import Mapping

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Fate, Role, Table

NAMES = ("name", "aliases", "x_mitre_aliases", "x_opencti_aliases")
CLUSTER_GALAXIES: Mapping[str, str] = {
    "attack-pattern": "mitre-attack-pattern",
    "campaign": "campaigns",
    "course-of-action": "mitre-course-of-action",
    "intrusion-set": "threat-actor",
    "malware": "tool",
    "threat-actor": "threat-actor",
    "tool": "tool",
}
"""The galaxy that a private cluster goes to which stands for what no galaxy knows, by STIX type."""

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
    """A table for a context type.

    Args:
        stix_type: its name.
        retold: its own properties that are retold where no cluster is known.
        names: properties that hold its names, the first being the name.
        more: other fates.
    """
    own: Mapping[str, Fate] = {
        "name": "tag misp-galaxy",
        **dict.fromkeys(_RETOLD + retold, _TEXT),
        "x_mitre_aliases": "tag misp-galaxy",
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
