"""STIX 2.1, section 6.4. A name together with its address becomes `domain|ip`."""

from stixbridge.mapping.tables import Composite, Field, Role, Table

TABLE = Table(
    "domain-name",
    Role.OBSERVABLE,
    template="domain-ip",
    fields={
        "value": Field("domain", "domain", selects=True),
        "resolves_to_refs[*].value": Field("ip-dst", "ip", selects=True),
    },
    composites=(Composite("domain|ip", "value", "resolves_to_refs[*].value"),),
    links={"resolves_to_refs": "resolves-to"},
)
