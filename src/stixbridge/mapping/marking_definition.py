"""STIX 2.1, section 7.2.1: a tag, or a line in an event report for a statement."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "marking-definition",
    Role.MARKING,
    properties={
        "name": "tag",
        "definition_type": "tag",
        "definition": "tag or event report",
        "extensions": "tag",
        "created": "identity",
        **dict.fromkeys(
            ("created_by_ref", "external_references", "labels", "confidence"), Reason.NO_PLACE
        ),
        "modified": Reason.LIFECYCLE,
        "x_opencti_definition": "tag",
        "x_opencti_definition_type": "tag",
    },
)
