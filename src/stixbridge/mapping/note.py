"""STIX 2.1, section 4.13: an analyst note (MISP 2.5), or an event report for clusters."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "note",
    Role.NOTE,
    properties={
        "abstract": "analyst note",
        "content": "analyst note",
        "authors": "analyst note, authors",
        "object_refs": "analyst note on each",
        "lang": "analyst note, language",
        "created": "analyst note",
        "modified": "analyst note",
        "created_by_ref": "analyst note, authors",
        "revoked": "left out when true",
        "external_references": "analyst note",
        **dict.fromkeys(("confidence", "labels"), Reason.NO_PLACE),
    },
)
