"""STIX 2.1, section 4.17."""

from stixbridge.mapping.context import context

TABLE = context(
    "threat-actor",
    (
        "threat_actor_types",
        "first_seen",
        "last_seen",
        "roles",
        "goals",
        "sophistication",
        "resource_level",
        "primary_motivation",
        "secondary_motivations",
        "personal_motivations",
    ),
)
