"""STIX 2.1, section 4.5: an event, like a report."""

from stixbridge.mapping.tables import Role, Table

TABLE = Table(
    "grouping",
    Role.CONTAINER,
    properties={
        "name": "event info",
        "description": "event report",
        "context": "tag SOURCE:context",
        "object_refs": "members of the event",
    },
)
