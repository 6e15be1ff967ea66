"""STIX 2.1, section 6.10."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "ipv4-addr",
    Role.OBSERVABLE,
    fields={"value": Field("ip-dst", selects=True)},
    links={"resolves_to_refs": "resolves-to", "belongs_to_refs": "belongs-to"},
)
