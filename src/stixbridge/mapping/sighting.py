"""STIX 2.1, section 5.2."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "sighting",
    Role.SIGHTING,
    properties={
        "sighting_of_ref": "sighting",
        "first_seen": "sighting",
        "last_seen": "sighting",
        "count": "sighting source",
        "where_sighted_refs": "sighting source",
        "summary": Reason.NO_PLACE,
        "description": Reason.NO_PLACE,
        "observed_data_refs": Reason.NO_PLACE,
        "revoked": "true: not converted",
        **dict.fromkeys(("confidence", "labels"), Reason.NO_PLACE),
        "modified": Reason.LIFECYCLE,
        "created_by_ref": "sighting source, if the object names no other observer",
        "x_opencti_negative": "false-positive sighting",
    },
)
