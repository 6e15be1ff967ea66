"""STIX 2.1, section 4.7. What the pattern says is in the tables of the observables."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "indicator",
    Role.INDICATOR,
    properties={
        "name": "comment",
        "description": "comment and event report",
        "indicator_types": "tag SOURCE:indicator-type",
        "pattern": "attribute, object",
        "pattern_type": "attribute type",
        "pattern_version": Reason.NO_PLACE,
        "valid_from": Reason.LIFECYCLE,
        "valid_until": "to_ids and expiration sighting",
        "kill_chain_phases": "tag kill-chain",
    },
)

LANGUAGES = {
    "yara": "yara",
    "sigma": "sigma",
    "snort": "snort",
    "suricata": "snort",
    "zeek": "zeek",
    "bro": "bro",
    "kql": "kusto-query",
}
"""Pattern languages other than STIX (pattern-type-ov) and the attribute type of each.

Others are kept as `other`.
"""

NEVER_DETECTED = frozenset({"benign", "anonymization", "anomalous-activity", "attribution"})
"""indicator_types (section 10.7) that keep an indicator from carrying `to_ids`."""

SAYS_NOTHING = frozenset({"malicious-activity", "unknown"})
"""Types that add nothing to an indicator; dropped as redundant."""
