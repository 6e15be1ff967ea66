"""STIX that MISP exported.

How its attributes and objects were written, so that they come back as they were.

An exported record carries `misp:type` and `misp:category` (an attribute) or `misp:name` (an object)
among its labels. Its pattern or its observables say the values, at the same paths; what STIX has no
property for is `x_misp_<relation>`.
"""

from __future__ import annotations

from collections.abc import Callable

from stixbridge.ledger import Reason
from stixbridge.mapping.context import context
from stixbridge.mapping.tables import Role, Table

TOOLS = frozenset({'misp:tool="MISP-STIX-Converter"', 'misp:tool="misp2stix2"'})
"""Labels of a report or grouping that MISP exported."""

WRITTEN_BY_THE_EXPORT = frozenset({*TOOLS, "Threat-Report"})

TLP_WITHOUT_LEVEL = frozenset({"tlp:ex:chr", "tlp:unclear"})
"""Tags of the taxonomy that are no level, and stand beside one."""

NEVER_A_RECORD = frozenset(
    {
        "report",
        "grouping",
        "relationship",
        "sighting",
        "marking-definition",
        "extension-definition",
        "language-content",
    }
)
"""Types that no attribute or object of MISP is exported as, whatever their labels."""

RECORD = Table(
    "MISP record",
    Role.RECORD,
    properties={
        "name": "value",
        "description": "comment",
        "pattern": "value",
        "pattern_type": "attribute type",
        "pattern_version": Reason.NO_PLACE,
        "indicator_types": Reason.REDUNDANT,
        "valid_from": "first_seen",
        "valid_until": "last_seen",
        "kill_chain_phases": Reason.REDUNDANT,  # the category
        "first_observed": "first_seen",
        "last_observed": "last_seen",
        "number_observed": Reason.REDUNDANT,
        "object_refs": "values",
        "objects": "values",
        "labels": "type, category, to_ids, tags",
        "external_references": "value",
        "created": Reason.REDUNDANT,
    },
)
"""Whatever type it has in STIX, it is one attribute or object of MISP."""

CLUSTER = context(
    "x-misp-galaxy-cluster",
    ("x_misp_description",),
    names=("x_misp_value",),
    x_misp_value="tag misp-galaxy",
    x_misp_type="tag misp-galaxy",
    x_misp_name="tag misp-galaxy",
    x_misp_description="event report, where no cluster is known",
    x_misp_meta=Reason.NO_PLACE,
)

BRANDED = context("vulnerability", ())
"""A vulnerability that stands for a cluster of the galaxy of branded ones."""

REPORT = Table(
    "x-misp-event-report",
    Role.EVENT_REPORT,
    properties={
        "x_misp_name": "event report",
        "x_misp_content": "event report",
        "abstract": "event report",
        "content": "event report",
        "object_refs": "event report",
        "object_ref": "event report",
        "labels": Reason.REDUNDANT,
    },
)

SIGHTED = Table(
    "opinion",
    Role.SIGHTED,
    properties={
        "opinion": "sighting type",
        "x_misp_opinion": "sighting type",
        "x_misp_author": "sighting source",
        "x_misp_author_ref": "sighting source",
        "x_misp_source": "sighting source",
        "explanation": Reason.NO_PLACE,
        "authors": "sighting source",
        "object_refs": "sighting",
        "object_ref": "sighting",
        "modified": "sighting",
    },
)
"""A sighting of an export: an opinion that names who made it."""

_ANALYST = {
    "x_misp_note": "analyst note",
    "x_misp_opinion": "analyst opinion",
    "x_misp_comment": "analyst opinion, comment",
    "x_misp_author": "analyst data, authors",
    "x_misp_language": "analyst note, language",
    "object_ref": "analyst data",
    "object_refs": "analyst data",
    "created": "analyst data",
    "modified": "analyst data",
    "created_by_ref": "analyst data, authors",
}
ANALYST_NOTE = Table("x-misp-analyst-note", Role.NOTE, properties=_ANALYST)
ANALYST_OPINION = Table("x-misp-analyst-opinion", Role.NOTE, properties=_ANALYST)

BY_TYPE = {
    "x-misp-attribute": RECORD,
    "x-misp-object": RECORD,
    "x-misp-galaxy-cluster": CLUSTER,
    "x-misp-event-report": REPORT,
    "x-misp-analyst-note": ANALYST_NOTE,
    "x-misp-analyst-opinion": ANALYST_OPINION,
    "x-misp-opinion": SIGHTED,
}
"""Types that only MISP writes."""

_FILE, _MAIL, _NET = "file:", "email-message:", "network-traffic:"
_HTTP = f"{_NET}extensions.http-request-ext."

VALUES: dict[str, tuple[tuple[str, ...], ...]] = {
    "AS": (("autonomous-system:number",),),
    "domain|ip": (("domain-name:value",), ("domain-name:resolves_to_refs[*].value",)),
    "hostname|port": (("domain-name:value", f"{_NET}dst_ref.value"), (f"{_NET}dst_port",)),
    "ip-src": ((f"{_NET}src_ref.value", "ipv4-addr:value", "ipv6-addr:value"),),
    "ip-dst": ((f"{_NET}dst_ref.value", "ipv4-addr:value", "ipv6-addr:value"),),
    "ip-src|port": ((f"{_NET}src_ref.value",), (f"{_NET}src_port", f"{_NET}dst_port")),
    "ip-dst|port": ((f"{_NET}dst_ref.value",), (f"{_NET}dst_port", f"{_NET}src_port")),
    "port": ((f"{_NET}dst_port",),),
    "email-src": ((f"{_MAIL}from_ref.value",),),
    "email-dst": ((f"{_MAIL}to_refs[*].value",),),
    "email-body": ((f"{_MAIL}body",),),
    "email-header": ((f"{_MAIL}received_lines[*]",),),
    "email-message-id": ((f"{_MAIL}message_id",),),
    "email-subject": ((f"{_MAIL}subject",),),
    "email-reply-to": (
        (f"{_MAIL}additional_header_fields.reply_to", f"{_MAIL}additional_header_fields.Reply-To"),
    ),
    "email-x-mailer": (
        (f"{_MAIL}additional_header_fields.x_mailer", f"{_MAIL}additional_header_fields.X-Mailer"),
    ),
    "email-attachment": ((f"{_MAIL}body_multipart[*].body_raw_ref.name",),),
    "github-username": (("user-account:account_login",),),
    "http-method": ((f"{_HTTP}request_method",),),
    "user-agent": ((f"{_HTTP}request_header.User-Agent",),),
    "attachment": ((f"{_FILE}name",),),
    "filename": ((f"{_FILE}name",),),
    "size-in-bytes": ((f"{_FILE}size",),),
    "malware-sample": (
        (f"{_FILE}name", f"{_FILE}content_ref.x_misp_filename"),
        (f"{_FILE}hashes.MD5", f"{_FILE}content_ref.hashes.MD5"),
    ),
    "regkey|value": (("windows-registry-key:key",), ("windows-registry-key:values[*].data",)),
}
"""Attribute type -> for each half of the value, the paths where it may stand.

Others: their only value.
"""

CONTENT = (f"{_FILE}content_ref.payload_bin",)
"""Where the content of an attachment or sample stands."""

RELATIONS: dict[str, str] = {
    "autonomous-system:number": "asn",
    "domain-name:resolves_to_refs[*].value": "ip",
    f"{_MAIL}additional_header_fields.reply_to": "reply-to",
    f"{_MAIL}additional_header_fields.x_mailer": "x-mailer",
    f"{_MAIL}additional_header_fields.x_originating_ip": "received-header-ip",
    f"{_MAIL}additional_header_fields.X-Originating-IP": "received-header-ip",
    f"{_NET}src_ref.belongs_to_refs[*].number": "src-as",
    f"{_NET}dst_ref.belongs_to_refs[*].number": "dst-as",
    f"{_HTTP}request_method": "method",
    f"{_HTTP}request_value": "uri",
    **{
        f"{_HTTP}request_header.{header}": relation
        for header, relation in (
            ("Content-Type", "content-type"),
            ("Cookie", "cookie"),
            ("Referer", "referer"),
            ("User-Agent", "user-agent"),
        )
    },
    f"{_NET}extensions.tcp-ext.src_flags_hex": "tcp-flags",
    f"{_NET}extensions.icmp-ext.icmp_type_hex": "icmp-type",
    f"{_NET}extensions.socket-ext.address_family": "address-family",
    f"{_NET}extensions.socket-ext.protocol_family": "domain-family",
    f"{_NET}extensions.socket-ext.socket_type": "socket-type",
    **{f"{kind}:created": "creation-time" for kind in ("file", "directory", "process")},
    **{f"{kind}:modified": "modification-time" for kind in ("file", "directory")},
    **{f"{kind}:accessed": "access-time" for kind in ("file", "directory")},
    "url:value": "url",
    "pe:number_of_sections": "number-sections",
    "pe:pe_type": "type",
    "pe:time_date_stamp": "compilation-timestamp",
    "pe:optional_header.address_of_entry_point": "entrypoint-address",
    "pe:address_of_entry_point": "entrypoint-address",
    "pe-section:size": "size-in-bytes",
    "process:parent_ref.binary_ref.name": "parent-image",
    "process:parent_ref.x_misp_guid": "parent-guid",
    "process:parent_ref.x_misp_process_name": "parent-process-name",
    "process:parent_ref.x_misp_process_path": "parent-process-path",
    "windows-registry-key:modified": "last-modified",
    "software:name": "product",
    "user-account:password_last_changed": "password_last_changed",
    "x509-certificate:is_self_signed": "self_signed",
    "attack-pattern:description": "summary",
    "vulnerability:description": "description",
    "location:description": "text",
    "malware:aliases[*]": "alias",
    "malware:architecture_execution_envs[*]": "architecture_execution_env",
    "malware:capabilities[*]": "capability",
    "malware:implementation_languages[*]": "implementation_language",
    "malware:malware_types[*]": "malware_type",
    "note:content": "text",
    "intrusion-set:primary_motivation": "primary-motivation",
    "intrusion-set:secondary_motivations[*]": "secondary-motivation",
}
"""Path -> relation, where the tables of the types have none or another.

Else `relation` of the table, else its name.
"""

_ACCOUNT_ID = {"user-account:user_id": "account-id", "user-account:account_login": "account-name"}

BY_TEMPLATE: dict[str, dict[str, str]] = {
    "hashlookup": {
        f"{_FILE}name": "FileName",
        f"{_FILE}size": "FileSize",
        f"{_FILE}hashes.MD5": "MD5",
        f"{_FILE}hashes.SHA-1": "SHA-1",
        f"{_FILE}hashes.SHA-256": "SHA-256",
        f"{_FILE}hashes.SSDEEP": "SSDEEP",
        f"{_FILE}hashes.TLSH": "TLSH",
    },
    "lnk": {
        f"{_FILE}{name}": f"lnk-{relation}"
        for names, relation in (
            (("ctime", "created"), "creation-time"),
            (("mtime", "modified"), "modification-time"),
            (("atime", "accessed"), "access-time"),
        )
        for name in names
    },
    "image": {f"{_FILE}content_ref.url": "url", f"{_FILE}content_ref.x_misp_url": "url"},
    "script": {
        f"{kind}:{name}": relation
        for kind in ("tool", "malware")
        for name, relation in (
            ("name", "filename"),
            ("description", "comment"),
            ("implementation_languages[*]", "language"),
        )
    },
    "android-app": {"software:name": "name"},
    "credential": {"user-account:user_id": "username", "user-account:credential": "password"},
    "facebook-account": _ACCOUNT_ID,
    "parler-account": _ACCOUNT_ID,
    "reddit-account": _ACCOUNT_ID,
    "github-user": {"user-account:user_id": "id", "user-account:display_name": "user-fullname"},
    "gitlab-user": {"user-account:user_id": "id", "user-account:display_name": "name"},
    "telegram-account": {"user-account:user_id": "id"},
    "twitter-account": {
        "user-account:user_id": "id",
        "user-account:account_login": "name",
        "user-account:display_name": "displayed-name",
    },
    "ip-port": {
        f"{_NET}start": "first-seen",
        f"{_NET}end": "last-seen",
        f"{_NET}protocols[*]": "protocol",
    },
    "netflow": {
        f"{_NET}src_byte_count": "byte-count",
        f"{_NET}src_packets": "packet-count",
        f"{_NET}protocols[*]": "protocol",
    },
    "network-socket": {f"{_NET}protocols[*]": "protocol"},
    "employee": {
        "identity:name": "full-name",
        "identity:description": "text",
        "identity:roles[*]": "employee-type",
    },
    "legal-entity": {"identity:description": "text", "identity:sectors[*]": "business"},
    "organization": {"identity:roles[*]": "role", "identity:sectors[*]": "sector"},
    "person": {
        "identity:name": "full-name",
        "identity:description": "text",
        "identity:roles[*]": "role",
    },
}
"""Template -> path -> relation, where the template has its own."""

HOSTS = {"http-request": "host", "ip-port": "domain"}
"""Relation of a name at the end of a connection, where it is not `hostname-src` or `-dst`."""

RULES: dict[str, tuple[str, dict[str, str]]] = {
    "stix2-pattern": ("stix2-pattern", {"description": "comment", "pattern_version": "version"}),
    "yara": (
        "yara",
        {"name": "yara-rule-name", "description": "comment", "pattern_version": "version"},
    ),
    "sigma": ("sigma", {"name": "sigma-rule-name", "description": "comment"}),
    "suricata": ("suricata", {"description": "comment", "pattern_version": "version"}),
    "owasp-crs-rule": ("raw-rule", {"name": "rule-id", "description": "message"}),
    "nova-rule": ("raw-rule", {"name": "rule-name", "description": "description"}),
    "wazuh-rule": (
        "wazuh-rule",
        {"name": "rule-id", "description": "comment", "pattern_version": "version"},
    ),
}
"""Template of a rule -> relation of the pattern, and property -> relation."""

DESCRIBED = frozenset({"indicator", "observed-data"})
"""Types whose description is the comment of an attribute or object, and not one of its values."""

ALTERNATIVE_NAMES = {
    "DNS name": "dns_names", "email": "email", "IP": "ip", "RID": "rid", "URI": "uri",
    "directory name": "text",
}  # fmt: skip
"""The kinds of names in the alternative names of a certificate -> relation."""


def _kilometres(metres: str) -> str:
    """A distance in kilometres, as MISP has it; STIX has metres."""
    try:
        return f"{float(metres) / 1000:.12g}"
    except ValueError:
        return metres


UNITS: dict[str, Callable[[str], str]] = {"location:precision": _kilometres}
"""Path -> gives the value in the unit of the template."""

HALVES = ("x-misp-object", "x-misp-attribute", "observed-data", "indicator")
"""Types that an export writes one attribute or object as, several at a time; the first counts."""
