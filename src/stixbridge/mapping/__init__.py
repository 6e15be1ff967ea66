"""The mapping of each STIX type to MISP: one file for each type, and this list of them."""

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
"""STIX type -> its table. The dialects add the types of OpenCTI and ATT&CK."""

DIALECT_TYPES = frozenset(table.stix_type for table in (*mitre.TABLES, *opencti.TABLES))
"""Types outside STIX; another producer may use the same name with other properties."""


def table_of(obj: Mapping[str, Any]) -> Table:
    """Return the table of an object.

    It is the table of its type, except for identities of a sector and locations of an area. A type
    without a table gets `CUSTOM`.
    """
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
