"""STIX 2.1, section 4.8."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "infrastructure",
    Role.DETAIL,
    template="infrastructure",
    fields={
        "name": Field(None, "name"),
        "description": Field(None, "description"),
        "infrastructure_types[*]": Field(None, "infrastructure_type"),
        "aliases[*]": Field(None, "alias"),
    },
    properties={
        "kill_chain_phases": "tag kill-chain",
        "first_seen": "first_seen",
        "last_seen": "last_seen",
    },
)
