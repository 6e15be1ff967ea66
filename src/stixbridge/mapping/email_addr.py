"""STIX 2.1, section 6.5.

An address without a role counts as a sender, because gateways block those.
"""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "email-addr",
    Role.OBSERVABLE,
    fields={
        "value": Field("email-src", selects=True),
        "display_name": Field(None, comment=""),
    },
    links={"belongs_to_ref": "belongs-to"},
)
