"""The JSON types of STIX properties (STIX 2.1, sections 3.2 and 4 to 7).

`shaped` removes and reports each property with a wrong type. Later stages can therefore rely on
the types, and a wrong property affects neither the rest of its object nor other objects.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import Any

from stixbridge.ledger import Drop, Outcome, Reason

_TEXT, _NUMBER, _BOOLEAN, _TEXTS, _TABLE, _TABLES = (
    "text",
    "number",
    "boolean",
    "texts",
    "table",
    "tables",
)

KINDS: dict[str, str] = {
    **dict.fromkeys(
        (
            "name", "description", "created", "modified", "lang", "spec_version",
            "created_by_ref", "pattern",
            "pattern_type", "pattern_version", "valid_from", "valid_until", "published",
            "context", "value",
            "relationship_type", "source_ref", "target_ref", "start_time", "stop_time",
            "sighting_of_ref", "first_seen",
            "last_seen", "summary", "first_observed", "last_observed", "definition_type",
            "identity_class",
            "contact_information", "objective", "resource_level", "primary_motivation",
            "sophistication",
            "tool_version", "display_name", "belongs_to_ref", "rir", "mime_type", "name_enc",
            "magic_number_hex",
            "ctime", "mtime", "atime", "parent_directory_ref", "content_ref", "src_ref",
            "dst_ref", "start", "end",
            "src_payload_ref", "dst_payload_ref", "encapsulated_by_ref", "x_opencti_definition",
            "x_opencti_definition_type", "x_opencti_description", "x_opencti_created_by_ref",
            "x_opencti_location_type",
            "payload_bin", "url", "encryption_algorithm", "decryption_key", "path", "path_enc",
            "from_ref",
            "sender_ref", "subject", "body", "date", "message_id", "content_type",
            "raw_email_ref", "command_line",
            "cwd",
            "created_time", "creator_user_ref", "image_ref", "binary_ref", "parent_ref", "cpe",
            "swid", "vendor",
            "version", "user_id", "credential", "account_login", "account_type",
            "account_created", "account_expires",
            "credential_last_changed", "account_first_login", "account_last_login", "key",
            "modified_time",
            "serial_number", "signature_algorithm", "issuer", "validity_not_before",
            "validity_not_after",
            "subject_public_key_algorithm", "subject_public_key_modulus", "abstract", "content",
            "explanation",
            "opinion", "object_ref", "object_modified", "region", "country",
            "administrative_area", "city",
            "street_address", "postal_code", "product", "configuration_version",
            "analysis_engine_version",
            "analysis_definition_version", "submitted", "analysis_started", "analysis_ended",
            "result_name", "result",
            "av_result", "host_vm_ref", "operating_system_ref", "sample_ref",
        ),
        _TEXT,
    ),
    **dict.fromkeys(
        (
            "confidence", "count", "number_observed", "number", "size", "src_port", "dst_port",
            "src_byte_count",
            "dst_byte_count", "src_packets", "dst_packets", "latitude", "longitude", "precision",
            "pid",
            "number_of_subkeys", "subject_public_key_exponent",
        ),
        _NUMBER,
    ),
    **dict.fromkeys((
            "revoked", "is_family", "is_active", "defanged", "x_opencti_negative",
            "x_opencti_detection",
            "is_multipart", "is_hidden", "is_service_account", "is_privileged",
            "can_escalate_privs", "is_disabled",
            "is_self_signed",
        ), _BOOLEAN),
    **dict.fromkeys(
        (
            "labels", "aliases", "indicator_types", "malware_types", "report_types",
            "threat_actor_types", "tool_types",
            "object_marking_refs", "object_refs", "where_sighted_refs", "observed_data_refs",
            "sample_refs",
            "operating_system_refs", "architecture_execution_envs", "implementation_languages",
            "capabilities", "goals",
            "secondary_motivations", "personal_motivations", "roles", "sectors", "protocols",
            "resolves_to_refs",
            "belongs_to_refs", "contains_refs", "encapsulates_refs", "x_mitre_aliases",
            "x_opencti_aliases",
            "x_opencti_labels", "to_refs", "cc_refs", "bcc_refs", "received_lines", "arguments",
            "opened_connection_refs", "child_refs", "languages", "authors",
            "infrastructure_types", "modules",
            "installed_software_refs", "analysis_sco_refs",
        ),
        _TEXTS,
    ),
    **dict.fromkeys((
            "extensions", "hashes", "ipfix", "objects", "additional_header_fields",
            "environment_variables",
            "x509_v3_extensions", "contents",
        ), _TABLE),
    **dict.fromkeys(
        ("external_references", "granular_markings", "kill_chain_phases", "body_multipart",
         "values"),
        _TABLES,
    ),
}  # fmt: skip
"""Property -> the JSON type of its value.

A name has the same meaning in all types that STIX defines.
"""

# The texts that a row in a list of tables must have to be useful.
_NEEDED: dict[str, tuple[str, ...]] = {
    "kill_chain_phases": ("kill_chain_name", "phase_name"),
}
UNREADABLE = "?"
"""Replaces a marking reference that can't be read; no definition has this id."""

# The types that have numbers and flags of STIX's own names; in any other type a text may stand
# there.
_STANDARD = frozenset(
    (
        "attack-pattern", "campaign", "course-of-action", "grouping", "identity", "incident",
        "indicator",
        "infrastructure", "intrusion-set", "location", "malware", "malware-analysis", "note",
        "observed-data",
        "opinion", "report", "threat-actor", "tool", "vulnerability", "relationship", "sighting",
        "artifact",
        "autonomous-system", "directory", "domain-name", "email-addr", "email-message", "file",
        "ipv4-addr",
        "ipv6-addr", "mac-addr", "mutex", "network-traffic", "process", "software", "url",
        "user-account",
        "windows-registry-key", "x509-certificate", "marking-definition", "language-content",
        "extension-definition",
    )
)  # fmt: skip
_COMMON = frozenset(
    {"confidence", "revoked", "defanged", "x_opencti_negative", "x_opencti_detection"}
)

_MAX_NUMBER = 1e18
# The Python type of which each value is right, whatever it is.
_PLAIN_TYPE = {_BOOLEAN: bool, _TABLE: dict}


def shaped(obj: dict[str, Any]) -> tuple[dict[str, Any], list[Drop]]:
    """Remove the properties with a wrong type.

    Args:
        obj: an object with `type` and `id`.

    Returns:
        The object, or a copy without the wrong properties, and a drop for each of them.
    """
    drops: list[Drop] = []
    changed: dict[str, Any] | None = None
    texts, others = _kinds(tuple(obj))
    wrong = [(name, _TEXT) for name in texts if type(obj[name]) is not str]
    for name, kind in (*wrong, *others) if wrong else others:
        value = obj[name]
        if type(value) is _PLAIN_TYPE.get(kind):
            continue
        if kind == _TEXTS and type(value) is list and _all_texts(value):
            continue
        if kind in (_NUMBER, _BOOLEAN) and type(value) is str and _own_property(obj, name):
            continue
        fitted = _fitted(name, kind, value, drops)
        if fitted is not value or value is None:
            changed = dict(obj) if changed is None else changed
            if fitted is None:
                del changed[name]
            else:
                changed[name] = fitted
    return (obj if changed is None else changed), drops


def _own_property(obj: dict[str, Any], name: Any) -> bool:
    """Return whether an unknown type has its own property of a name that STIX uses, too."""
    return obj.get("type") not in _STANDARD and name not in _COMMON


def _all_texts(values: list[Any]) -> bool:
    for item in values:  # noqa: SIM110 - most lists have one item, and all() makes a generator
        if type(item) is not str:
            return False
    return True


@lru_cache(maxsize=4096)
def _kinds(names: tuple[Any, ...]) -> tuple[tuple[str, ...], tuple[tuple[Any, str], ...]]:
    """Return which properties are texts, and the kinds of the others.

    The result is cached, because objects of one producer have the same properties.
    """
    kinds = [(name, KINDS.get(name) if type(name) is str else "") for name in names]
    texts = tuple(name for name, kind in kinds if kind == _TEXT)
    return texts, tuple((name, kind) for name, kind in kinds if kind is not None and kind != _TEXT)


def _fitted(name: Any, kind: str, value: Any, drops: list[Drop]) -> Any:
    """Return the value, or the part of it that has the right type, or None."""
    if name in _SPECIAL:
        found: list[Drop] = []
        fitted = _SPECIAL[name](value, found)
        drops.extend(found)
        return fitted if found else value
    if kind == _TEXTS and isinstance(value, list):
        if all(type(item) is str for item in value):
            return value
        drops.extend(
            _bad(f"{name}[{at}]") for at, item in enumerate(value) if not isinstance(item, str)
        )
        return [item for item in value if isinstance(item, str)]
    if kind == _TABLES and isinstance(value, list):
        needed = _NEEDED.get(name, ())
        good = [
            isinstance(row, dict) and all(isinstance(row.get(key), str) for key in needed)
            for row in value
        ]
        if all(good):
            return value
        drops.extend(_bad(f"{name}[{at}]") for at, fits in enumerate(good) if not fits)
        return [row for row, fits in zip(value, good, strict=True) if fits]
    fits = (
        (kind == _TEXT and isinstance(value, str))
        or (kind == _NUMBER and _is_number(value))
        or (kind == _BOOLEAN and isinstance(value, bool))
        or (kind == _TABLE and isinstance(value, dict))
    )
    if fits:
        return value
    drops.append(_bad(printable(name)))
    return None


def _marking_refs(value: Any, drops: list[Drop]) -> list[str]:
    """Return the marking references; an unreadable one counts as an unknown marking."""
    rows = value if isinstance(value, list) else [value]
    bad = [at for at, item in enumerate(rows) if not isinstance(item, str)]
    if not isinstance(value, list):
        drops.append(_bad("object_marking_refs"))
    else:
        drops.extend(_bad(f"object_marking_refs[{at}]") for at in bad)
    return [item if isinstance(item, str) else UNREADABLE for item in rows]


def _granular_markings(value: Any, drops: list[Drop]) -> list[dict[str, Any]]:
    """Return the granular markings that have a reference (section 7.2.3).

    A language is not a marking. An unreadable reference counts as an unknown marking.
    """
    if not isinstance(value, list):
        drops.append(_bad("granular_markings"))
        return [{"marking_ref": UNREADABLE}]
    rows: list[dict[str, Any]] = []
    for at, row in enumerate(value):
        ref = row.get("marking_ref") if isinstance(row, dict) else None
        if isinstance(ref, str):
            rows.append(row)
        elif isinstance(row, dict) and isinstance(row.get("lang"), str) and ref is None:
            drops.append((f"granular_markings[{at}]", Outcome.DROPPED, Reason.NO_PLACE))
        else:
            drops.append(_bad(f"granular_markings[{at}]"))
            rows.append({"marking_ref": UNREADABLE})
    return rows


_SPECIAL = {"object_marking_refs": _marking_refs, "granular_markings": _granular_markings}


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return (
        abs(value) < _MAX_NUMBER
        if isinstance(value, int)
        else isfinite(value) and abs(value) < _MAX_NUMBER
    )


def _bad(path: str) -> Drop:
    return path, Outcome.DROPPED, Reason.INVALID_VALUE


def printable(name: Any) -> str:
    """Return the name of a property in a form that is safe to print in a path."""
    text = name if isinstance(name, str) else repr(name)[:80]
    return text.encode("utf-8", "replace").decode()
