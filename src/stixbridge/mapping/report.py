"""STIX 2.1, section 4.16: an event."""

from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "report",
    Role.CONTAINER,
    properties={
        "name": "event info",
        "description": "event report",
        "published": "event date",
        "report_types": "tag SOURCE:report-type",
        "object_refs": "members of the event",
    },
)
