"""STIX 2.1, section 4.6: a tag for a producer, a cluster for a sector, else an object."""

from stixbridge.mapping.context import context
from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "identity",
    Role.DETAIL,
    template="identity",
    fields={
        "name": Field(None, "name"),
        "description": Field(None, "description"),
        "identity_class": Field(None, "identity_class"),
        "roles[*]": Field(None, "roles"),
        "sectors[*]": Field(None, "sectors"),
        "contact_information": Field(None, "contact_information"),
    },
)

SECTOR = context(
    "identity", ("identity_class", "roles", "sectors", "contact_information"), names=("name",)
)
"""The table for identities of the class `class`, which are sectors of industry."""

OF_A_PRODUCER = frozenset(
    {"type", "spec_version", "id", "name", "created", "modified", "object_marking_refs"}
)
"""Properties that count as mapped for an identity that is only a producer."""
