"""STIX 2.1, section 7.3: the description of an extension, shown only with `custom = "all"`."""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "extension-definition",
    Role.DEFINITION,
    properties={
        "name": "event report Custom properties",
        "description": "event report Custom properties",
        **dict.fromkeys(
            (
                "schema",
                "version",
                "extension_types",
                "extension_properties",
                "created_by_ref",
                "labels",
                "confidence",
                "external_references",
                "revoked",
            ),
            Reason.NO_PLACE,
        ),
        "modified": Reason.LIFECYCLE,
    },
)
