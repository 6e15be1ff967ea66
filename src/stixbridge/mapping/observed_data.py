"""STIX 2.1, section 4.14: the times and the count of its observables."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "observed-data",
    Role.OBSERVED,
    properties={
        "first_observed": "first_seen",
        "last_observed": "last_seen",
        "number_observed": "comment",
        "revoked": "left out when true",
        **dict.fromkeys(
            ("created_by_ref", "confidence", "labels", "modified"),
            Reason.NO_PLACE,
        ),
        "objects": "attributes and objects",
        "object_refs": "attributes and objects",
    },
)
