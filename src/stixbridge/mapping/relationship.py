"""STIX 2.1, section 5.1."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "relationship",
    Role.RELATIONSHIP,
    properties={
        "relationship_type": "reference, relationship or tag",
        "description": "comment or event report",
        "source_ref": "reference, relationship or tag",
        "target_ref": "reference, relationship or tag",
        "start_time": "comment or event report",
        "stop_time": "comment or event report",
        "confidence": "comment or event report",
        "revoked": "left out when true",
        **dict.fromkeys(("created_by_ref", "labels"), Reason.NO_PLACE),
        "modified": Reason.LIFECYCLE,
    },
)
