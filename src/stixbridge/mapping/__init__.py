"""What each STIX type becomes in MISP: one file a type, and this list of them."""

from collections.abc import Mapping
from typing import Any

from stixbridge.mapping import (
    artifact,
    attack_pattern,
    autonomous_system,
    campaign,
    course_of_action,
    directory,
    domain_name,
    email_addr,
    email_message,
    extension_definition,
    file,
    grouping,
    identity,
    incident,
    indicator,
    infrastructure,
    intrusion_set,
    ipv4_addr,
    ipv6_addr,
    language_content,
    location,
    mac_addr,
    malware,
    malware_analysis,
    marking_definition,
    mutex,
    network_traffic,
    note,
    observed_data,
    opinion,
    process,
    relationship,
    report,
    sighting,
    software,
    threat_actor,
    tool,
    url,
    user_account,
    vulnerability,
    windows_registry_key,
    x509_certificate,
)
from stixbridge.mapping.dialects import mitre, opencti
from stixbridge.mapping.tables import CUSTOM, Table

_MODULES = (
    artifact,
    attack_pattern,
    autonomous_system,
    campaign,
    course_of_action,
    directory,
    domain_name,
    email_addr,
    email_message,
    extension_definition,
    file,
    grouping,
    identity,
    incident,
    indicator,
    infrastructure,
    intrusion_set,
    ipv4_addr,
    ipv6_addr,
    language_content,
    location,
    mac_addr,
    malware,
    malware_analysis,
    marking_definition,
    mutex,
    network_traffic,
    note,
    observed_data,
    opinion,
    process,
    relationship,
    report,
    sighting,
    software,
    threat_actor,
    tool,
    url,
    user_account,
    vulnerability,
    windows_registry_key,
    x509_certificate,
)

TABLES: dict[str, Table] = {
    table.stix_type: table
    for table in (*(module.TABLE for module in _MODULES), *mitre.TABLES, *opencti.TABLES)
}
"""STIX type -> its table. Types that STIX does not define come from the dialects: OpenCTI's and ATT&CK's."""

DIALECT_TYPES = frozenset(table.stix_type for table in (*mitre.TABLES, *opencti.TABLES))
"""Types that STIX does not define: a producer may use such a name with properties of its own."""


def table_of(obj: Mapping[str, Any]) -> Table:
    """The table of an object: that of its type, but for what stands for a sector or an area; `CUSTOM` without one."""
    type_ = obj["type"]
    if type_ == "identity" and obj.get("identity_class") == "class":
        return identity.SECTOR
    if type_ == "location" and _is_area(obj):
        return location.AREA
    return TABLES.get(type_, CUSTOM)


def _is_area(obj: Mapping[str, Any]) -> bool:
    kind = obj.get("x_opencti_location_type")
    return kind in location.AREA_TYPES or (
        kind is None and not any(name in obj for name in location.PLACES)
    )
