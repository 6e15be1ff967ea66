"""STIX 2.1, section 4.15: an analyst opinion (MISP 2.5) on its subject, from 0 to 100."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "opinion",
    Role.NOTE,
    properties={
        "explanation": "analyst opinion, comment",
        "opinion": "analyst opinion",
        "authors": "analyst opinion, authors",
        "object_refs": "analyst opinion on each",
        "created": "analyst opinion",
        "modified": "analyst opinion",
        "created_by_ref": "analyst opinion, authors",
        "revoked": "left out when true",
        "external_references": "analyst opinion, comment",
        **dict.fromkeys(("lang", "confidence", "labels"), Reason.NO_PLACE),
    },
)

SCALE = {"strongly-disagree": 0, "disagree": 25, "neutral": 50, "agree": 75, "strongly-agree": 100}
"""opinion-enum (section 10.20) -> the number on MISP's scale."""
