"""STIX 2.1, section 4.9."""

from stixbridge.mapping.context import context

TABLE = context(
    "intrusion-set",
    (
        "first_seen",
        "last_seen",
        "goals",
        "resource_level",
        "primary_motivation",
        "secondary_motivations",
    ),
)
