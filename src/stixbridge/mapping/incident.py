"""STIX 2.1, section 4.7, a stub, with the incident extension's properties at the top level."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "incident",
    Role.DETAIL,
    template="incident",
    fields={
        "name": Field(None, "name"),
        "description": Field(None, "description"),
        "criticality": Field(None, "criticality"),
        "detection_methods[*]": Field(None, "detection_method"),
        "determination": Field(None, "determination"),
        "incident_types[*]": Field(None, "incident_type"),
        "investigation_status": Field(None, "investigation_status"),
        "recoverability": Field(None, "recoverability"),
    },
    properties={"kill_chain_phases": "tag kill-chain"},
)
