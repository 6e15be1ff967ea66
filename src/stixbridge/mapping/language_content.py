"""STIX 2.1, section 7.1: translations go to an event report beside the translated object."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "language-content",
    Role.TRANSLATION,
    properties={
        "object_ref": "event report Translations",
        "object_modified": Reason.LIFECYCLE,
        "contents": "event report Translations",
        "revoked": "left out when true",
        **dict.fromkeys(
            ("created_by_ref", "confidence", "labels", "external_references"), Reason.NO_PLACE
        ),
        "modified": Reason.LIFECYCLE,
    },
)
