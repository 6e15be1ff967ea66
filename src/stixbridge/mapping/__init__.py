"""What each STIX type becomes in MISP: one file a type, and this list of them."""

from collections.abc import Mapping
from typing import Any

from . import (
    attack_pattern,
    autonomous_system,
    campaign,
    course_of_action,
    domain_name,
    email_addr,
    file,
    grouping,
    identity,
    indicator,
    intrusion_set,
    ipv4_addr,
    ipv6_addr,
    mac_addr,
    malware,
    marking_definition,
    mutex,
    network_traffic,
    observed_data,
    relationship,
    report,
    sighting,
    threat_actor,
    tool,
    url,
    vulnerability,
)
from .tables import Table

_MODULES = (
    attack_pattern,
    autonomous_system,
    campaign,
    course_of_action,
    domain_name,
    email_addr,
    file,
    grouping,
    identity,
    indicator,
    intrusion_set,
    ipv4_addr,
    ipv6_addr,
    mac_addr,
    malware,
    marking_definition,
    mutex,
    network_traffic,
    observed_data,
    relationship,
    report,
    sighting,
    threat_actor,
    tool,
    url,
    vulnerability,
)

TABLES: dict[str, Table] = {module.TABLE.stix_type: module.TABLE for module in _MODULES}
"""STIX type -> its table."""


def table_of(obj: Mapping[str, Any]) -> Table | None:
    """The table of an object: that of its type, but for identities that stand for a sector; None without one."""
    if obj["type"] == "identity" and obj.get("identity_class") == "class":
        return identity.SECTOR
    return TABLES.get(obj["type"])
