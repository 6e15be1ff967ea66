"""STIX 2.1, section 4.6: a producer is a tag, a sector a cluster, anyone else an identity object."""

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

SECTOR = context("identity", ("identity_class", "roles", "sectors", "contact_information"))
"""An identity of the class `class`: a sector of industry, not somebody."""

OF_A_PRODUCER = frozenset(
    {"type", "spec_version", "id", "name", "created", "modified", "object_marking_refs"}
)
"""Properties that an identity keeps which is in the output only by its name, as a producer."""
