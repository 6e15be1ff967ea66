"""STIX 2.1, section 6.2."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "autonomous-system",
    Role.OBSERVABLE,
    template="asn",
    fields={
        "number": Field("AS", "asn"),
        "name": Field(None, "description"),
        "rir": Field(None, comment="registry"),
    },
)
