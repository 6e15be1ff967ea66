"""One object of every type of STIX 2.1, with every property and extension the specification gives
it, all linked.

`accounted` holds a ledger against what went in (law 1).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from stixbridge import Result
from stixbridge.ledger import Reason, top_level

from .stix import EARLY, LATER, MARKINGS, Stix, stix_id

NOW = "2026-02-01T00:00:00Z"
LATE = "2027-01-01T00:00:00Z"
NEIGHBOUR_VALUE = "203.0.113.77"

_IDS = {
    kind: stix_id(kind, "rich")
    for kind in (
        "artifact", "attack-pattern", "autonomous-system", "campaign", "course-of-action",
        "directory", "domain-name", "email-addr", "email-message", "extension-definition", "file",
        "grouping", "identity", "incident", "indicator", "infrastructure", "intrusion-set",
        "ipv4-addr", "ipv6-addr", "language-content", "location", "mac-addr",
        "malware", "malware-analysis", "marking-definition", "mutex", "network-traffic", "note",
        "observed-data", "opinion", "process", "relationship", "report", "sighting", "software",
        "threat-actor", "tool", "url", "user-account", "vulnerability", "windows-registry-key",
        "x509-certificate",
    )
}  # fmt: skip
TYPES = tuple(_IDS)


def _domain_object(kind: str, **properties: Any) -> Stix:
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": _IDS[kind],
        "created_by_ref": _IDS["identity"],
        "created": EARLY,
        "modified": LATER,
        "revoked": False,
        "labels": [f"{kind} label"],
        "confidence": 80,
        "lang": "en",
        "external_references": [
            {
                "source_name": f"{kind} source",
                "url": f"https://reference.example/{kind}",
                "description": "a reference",
            },
            {"source_name": "cve", "external_id": "CVE-2026-12345"},
        ],
        "object_marking_refs": [MARKINGS["green"]],
        "granular_markings": [
            {"marking_ref": _IDS["marking-definition"], "selectors": ["created"]}
        ],
        **properties,
    }


def _observable(
    kind: str, *, extensions: Mapping[str, Any] | None = None, **properties: Any
) -> Stix:
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": _IDS[kind],
        "object_marking_refs": [MARKINGS["amber"]],
        "granular_markings": [{"marking_ref": MARKINGS["clear"], "selectors": ["id"]}],
        "defanged": False,
        "extensions": {
            _IDS["extension-definition"]: {"extension_type": "property-extension", "y": 1}
        }
        | dict(extensions or {}),
        **properties,
    }


def _context(kind: str, **properties: Any) -> Stix:
    return _domain_object(
        kind, name=f"Rich {kind} nobody knows", description=f"What the {kind} is.", **properties
    )


_PHASES = [{"kill_chain_name": "lockheed-martin-cyber-kill-chain", "phase_name": "delivery"}]
_SEEN = {"first_seen": EARLY, "last_seen": LATER}
_ALL_HASHES = {
    "MD5": "d" * 32, "SHA-1": "1" * 40, "SHA-256": "e" * 64, "SHA-512": "5" * 128,
    "SHA3-256": "3" * 64, "SHA3-512": "7" * 128,
    "SSDEEP": "96:s4Ud1Lj96tHHlZDrwciQmA+4uy1I0G4HYuL8N3TzS8QsO/wqWXLcMSx:sF1LjEtHHlZDrJ",
    "TLSH": "6FF02BEF718027B0160B4391212923ED7F1A463D563B1549B86CF62973B197AD2731F8",
}  # fmt: skip


def _actor(kind: str, **properties: Any) -> Stix:
    return _context(
        kind,
        aliases=[f"Alias of {kind}"],
        goals=["a goal"],
        resource_level="team",
        primary_motivation="ideology",
        secondary_motivations=["revenge"],
        **_SEEN,
        **properties,
    )


_OPTIONAL_HEADER = {
    "magic_hex": "010b", "major_linker_version": 2, "minor_linker_version": 25, "size_of_code": 512,
    "size_of_initialized_data": 283648, "size_of_uninitialized_data": 1024,
    "address_of_entry_point": 4096, "base_of_code": 4097, "base_of_data": 8192,
    "image_base": 14548992, "section_alignment": 4098, "file_alignment": 4099,
    "major_os_version": 1, "minor_os_version": 9, "major_image_version": 3,
    "minor_image_version": 8, "major_subsystem_version": 4, "minor_subsystem_version": 7,
    "win32_version_value_hex": "0a", "size_of_image": 299008, "size_of_headers": 4100,
    "checksum_hex": "0b", "subsystem_hex": "03", "dll_characteristics_hex": "0d",
    "size_of_stack_reserve": 100000, "size_of_stack_commit": 8193, "size_of_heap_reserve": 100001,
    "size_of_heap_commit": 4101, "loader_flags_hex": "abdbffde",
    "number_of_rva_and_sizes": 3758087646, "hashes": {"MD5": "8" * 32},
}  # fmt: skip
_FILE_EXTENSIONS = {
    "ntfs-ext": {"sid": "S-1-5-32-544",
                 "alternate_data_streams": [{"name": "rich.stream", "size": 536,
                                             "hashes": {"MD5": "b" * 32}}]},
    "archive-ext": {"contains_refs": [_IDS["directory"]], "comment": "Rich archive"},
    "pdf-ext": {"version": "1.7", "is_optimized": False,
                "document_info_dict": {"Title": "Rich PDF"},
                "pdfid0": "DFCE52BD827ECF765649852119D", "pdfid1": "57A1E0F9ED2AE523E313C"},
    "raster-image-ext": {"image_height": 480, "image_width": 640, "bits_per_pixel": 24,
                         "exif_tags": {"Make": "Rich Camera", "XResolution": 4928}},
    "windows-pebinary-ext": {
        "pe_type": "exe", "imphash": "a" * 32, "machine_hex": "014c", "number_of_sections": 2,
        "time_date_stamp": EARLY, "pointer_to_symbol_table_hex": "74726144", "number_of_symbols": 6,
        "size_of_optional_header": 224, "characteristics_hex": "818f",
        "file_header_hashes": {"MD5": "6" * 32}, "optional_header": _OPTIONAL_HEADER, "sections": [
            {"name": "CODE", "size": 513, "entropy": 0.061089, "hashes": {"MD5": "9" * 32}},
            {"name": "DATA", "size": 514, "entropy": 7.980693, "hashes": {"SHA-256": "4" * 64}}]},
}  # fmt: skip
_TRAFFIC_EXTENSIONS = {
    "http-request-ext": {
        "request_method": "get", "request_value": "/rich/download.html",
        "request_version": "http/1.1", "request_header": {"Accept": ["text/rich"],
                                                          "User-Agent": ["Rich Agent/1.7"],
                                                          "Host": ["www.rich.example"]},
        "message_body_length": 77, "message_body_data_ref": _IDS["artifact"]},
    "icmp-ext": {"icmp_type_hex": "08", "icmp_code_hex": "0c"},
    "socket-ext": {"address_family": "AF_INET", "is_blocking": True, "is_listening": True,
                   "socket_type": "SOCK_RAW",
                   "options": {"SO_LINGER": 17}, "socket_descriptor": 42, "socket_handle": 43},
    "tcp-ext": {"src_flags_hex": "00000002", "dst_flags_hex": "00000012"},
}  # fmt: skip
_PROCESS_EXTENSIONS = {
    "windows-process-ext": {
        "aslr_enabled": True, "dep_enabled": True, "priority": "HIGH_PRIORITY_CLASS",
        "owner_sid": "S-1-5-21-186985", "window_title": "Rich window",
        "startup_info": {"wShowWindow": 5}, "integrity_level": "high"},
    "windows-service-ext": {
        "service_name": "richservice", "descriptions": ["Serves the rich."],
        "display_name": "Rich Service", "group_name": "Rich Group",
        "start_type": "SERVICE_AUTO_START", "service_dll_refs": [_IDS["file"]],
        "service_type": "SERVICE_WIN32_OWN_PROCESS", "service_status": "SERVICE_RUNNING"},
}  # fmt: skip
_UNIX = {
    "unix-account-ext": {
        "gid": 1001,
        "groups": ["wheel", "rich"],
        "home_dir": "/home/rich",
        "shell": "/bin/zsh",
    }
}
_X509_EXTENSIONS = {
    "basic_constraints": "critical,CA:TRUE", "name_constraints": "permitted;IP:192.0.2.0/24",
    "policy_constraints": "requireExplicitPolicy:3", "key_usage": "digitalSignature",
    "extended_key_usage": "codeSigning", "subject_key_identifier": "hash",
    "authority_key_identifier": "keyid", "subject_alternative_name": "email:rich@rich.example",
    "issuer_alternative_name": "issuer:copy", "subject_directory_attributes": "rich attributes",
    "crl_distribution_points": "URI:http://rich.example/crl", "inhibit_any_policy": "2",
    "private_key_usage_period_not_before": EARLY, "private_key_usage_period_not_after": LATER,
    "certificate_policies": "1.2.4.5", "policy_mappings": "1.2.4.6",
}  # fmt: skip


def rich() -> list[Stix]:
    """The objects, STIX 2.1."""
    return [
        _context("attack-pattern", aliases=["Alias of technique"], kill_chain_phases=_PHASES),
        _context("campaign", aliases=["Alias of campaign"], objective="an objective", **_SEEN),
        _context("course-of-action"),
        _actor("intrusion-set"),
        _actor("threat-actor", threat_actor_types=["hacker"], roles=["agent"],
               sophistication="advanced",
               personal_motivations=["dominance"]),
        _context("tool", tool_types=["remote-access"], aliases=["Alias of tool"],
                 kill_chain_phases=_PHASES,
                 tool_version="7.1"),
        _context("malware", malware_types=["bot"], is_family=True, aliases=["Alias of malware"],
                 kill_chain_phases=_PHASES, architecture_execution_envs=["arm"],
                 implementation_languages=["go"],
                 capabilities=["anti-vm"], sample_refs=[_IDS["file"]],
                 operating_system_refs=[_IDS["software"]],
                 **_SEEN),
        _domain_object("identity", name="Rich identity", description="Who it is.",
                       roles=["analyst"],
                       identity_class="organization", sectors=["energy"],
                       contact_information="mail@identity.example"),
        _domain_object("vulnerability", name="CVE-2026-10001", description="What it breaks."),
        _domain_object("indicator", name="Rich indicator", description="First line.\nSecond line.",
                       indicator_types=["compromised"], pattern="[ipv4-addr:value = '203.0.113.1']",
                       pattern_type="stix", pattern_version="2.1", valid_from=EARLY,
                       valid_until=LATE,
                       kill_chain_phases=_PHASES),
        _domain_object("observed-data", first_observed=EARLY, last_observed=LATER,
                       number_observed=7,
                       object_refs=[_IDS["file"], _IDS["url"]]),
        _domain_object("report", name="Rich report", description="What the report tells.",
                       published=LATER,
                       report_types=["campaign"],
                       object_refs=[id_ for kind, id_ in _IDS.items()
                                    if kind not in ("report", "grouping")]),
        _domain_object("grouping", name="Rich grouping", description="What the grouping tells.",
                       context="suspicious-activity", object_refs=[_IDS["ipv4-addr"]]),
        _domain_object("relationship", relationship_type="indicates",
                       description="Why it indicates.",
                       source_ref=_IDS["indicator"], target_ref=_IDS["malware"], start_time=EARLY,
                       stop_time=LATER),
        _domain_object("sighting", sighting_of_ref=_IDS["indicator"],
                       description="How it was seen.", count=9,
                       where_sighted_refs=[_IDS["location"]],
                       observed_data_refs=[_IDS["observed-data"]],
                       summary=False, **_SEEN),
        {"type": "marking-definition", "spec_version": "2.1", "id": _IDS["marking-definition"],
         "created": EARLY,
         "created_by_ref": _IDS["identity"], "name": "Rich statement",
         "definition_type": "statement", "definition": {"statement": "Copyright of the rich."},
         "object_marking_refs": [MARKINGS["green"]],
         "granular_markings": [{"marking_ref": MARKINGS["clear"], "selectors": ["name"]}],
         "external_references": [{"source_name": "rich terms",
                                  "url": "https://reference.example/terms"}]},
        _observable("autonomous-system", number=64496, name="Rich AS", rir="RIPE"),
        _observable("domain-name", value="rich.example", resolves_to_refs=[_IDS["ipv4-addr"]]),
        _observable("email-addr", value="rich@rich.example", display_name="Rich Mail",
                    belongs_to_ref=_IDS["user-account"]),
        _observable("file", hashes=_ALL_HASHES, size=5, name="rich.exe", name_enc="utf-8",
                    magic_number_hex="4d5a", mime_type="application/x-rich", ctime=EARLY,
                    mtime=EARLY, atime=EARLY,
                    parent_directory_ref=_IDS["directory"], content_ref=_IDS["artifact"],
                    contains_refs=[_IDS["url"]], extensions=_FILE_EXTENSIONS),
        _observable("ipv4-addr", value="203.0.113.2", resolves_to_refs=[_IDS["mac-addr"]],
                    belongs_to_refs=[_IDS["autonomous-system"]]),
        _observable("ipv6-addr", value="2001:db8::2", resolves_to_refs=[_IDS["mac-addr"]],
                    belongs_to_refs=[_IDS["autonomous-system"]]),
        _observable("mac-addr", value="00:11:22:33:44:55"),
        _observable("mutex", name="Rich mutex"),
        _observable("network-traffic", start=EARLY, end=LATER, is_active=False,
                    src_ref=_IDS["ipv6-addr"],
                    dst_ref=_IDS["ipv4-addr"], src_port=1025, dst_port=443,
                    protocols=["ipv4", "tcp", "https"],
                    src_byte_count=10, dst_byte_count=20, src_packets=3, dst_packets=4,
                    ipfix={"a": 1},
                    src_payload_ref=_IDS["artifact"], dst_payload_ref=stix_id("artifact", "linked"),
                    encapsulates_refs=[stix_id("network-traffic", "other")],
                    encapsulated_by_ref=stix_id("network-traffic", "other"),
                    extensions=_TRAFFIC_EXTENSIONS),
        _observable("url", value="https://rich.example/a"),
        *_later(),
        {"type": "relationship", "spec_version": "2.1", "id": stix_id("relationship", "uses"),
         "created": EARLY,
         "modified": EARLY, "relationship_type": "uses", "source_ref": _IDS["malware"],
         "target_ref": _IDS["tool"]},
        *({"type": "relationship", "spec_version": "2.1", "id": stix_id("relationship", kind),
           "created": EARLY,
           "modified": EARLY, "relationship_type": "related-to", "source_ref": _IDS["url"],
           "target_ref": _IDS[kind]}
          for kind in ("attack-pattern", "campaign", "course-of-action", "intrusion-set",
                       "threat-actor", "tool")),
    ]  # fmt: skip


def _later() -> list[Stix]:
    about = [_IDS["indicator"], _IDS["malware"], _IDS["report"]]
    return [
        _domain_object("incident", name="Rich incident", description="What happened.",
                       kill_chain_phases=_PHASES),
        _context("infrastructure", infrastructure_types=["botnet"],
                 aliases=["Alias of infrastructure"],
                 kill_chain_phases=_PHASES, **_SEEN),
        _domain_object("location", name="Rich location", description="Where it is.",
                       latitude=48.8566,
                       longitude=2.3522, precision=1000.5, region="western-europe", country="FR",
                       administrative_area="FR-75", city="Paris", street_address="1 rue Riche",
                       postal_code="75001"),
        _domain_object("malware-analysis", product="richanalyser", version="3.1",
                       host_vm_ref=stix_id("software", "vm"),
                       operating_system_ref=_IDS["software"],
                       installed_software_refs=[_IDS["software"]],
                       configuration_version="0.7", modules=["rich module"],
                       analysis_engine_version="5.2",
                       analysis_definition_version="6.3", submitted=EARLY, analysis_started=EARLY,
                       analysis_ended=LATER, result_name="rich result", result="malicious",
                       analysis_sco_refs=[_IDS["url"]], sample_ref=_IDS["file"]),
        _domain_object("note", abstract="Rich abstract", content="What the note says.",
                       authors=["Rich Author"],
                       object_refs=about),
        _domain_object("opinion", explanation="Why it is so.", authors=["Rich Judge"],
                       opinion="agree",
                       object_refs=about),
        {name: value for name, value in _domain_object(
            "language-content", object_ref=_IDS["report"], object_modified=LATER,
            contents={"de": {"name": "Reicher Bericht"},
                      "fr": {"labels": ["riche", "", "cher"]}}).items()
         if name != "lang"},
        {name: value for name, value in _domain_object(
            "extension-definition", name="Rich extension", description="What it adds.",
            schema="https://rich.example/s",
            version="1.0.0", extension_types=["property-extension"],
            extension_properties=["y"]).items()
         if name not in ("lang", "confidence")},
        _observable("artifact", mime_type="image/rich", payload_bin="cmljaCBhcyBhIGtpbmc=",
                    hashes={"SHA-256": "0" * 63 + "1"}, encryption_algorithm="mime-type-indicated",
                    decryption_key="rich key"),
        {**_observable("artifact", url="https://rich.example/payload",
                       hashes={"MD5": "0" * 31 + "1"}),
         "id": stix_id("artifact", "linked")},  # the specification gives a payload or its URL
        _observable("directory", path="/usr/rich", path_enc="utf-8", ctime=EARLY, mtime=EARLY,
                    atime=LATER,
                    contains_refs=[_IDS["file"]]),
        _observable("email-message", is_multipart=True, date=EARLY, content_type="multipart/mixed",
                    from_ref=_IDS["email-addr"], sender_ref=_IDS["email-addr"],
                    to_refs=[_IDS["email-addr"]],
                    cc_refs=[_IDS["email-addr"]], bcc_refs=[_IDS["email-addr"]],
                    message_id="<rich@rich.example>",
                    subject="Rich subject", received_lines=["from rich.example by mx.example"],
                    additional_header_fields={"X-Mailer": ["Rich Mailer"],
                                              "Reply-To": ["reply@rich.example"],
                                              "X-Rich": ["quite"]},
                    body_multipart=[{"content_type": "text/plain", "content_disposition": "inline",
                                     "body": "Dear rich,"},
                                    {"content_type": "application/zip",
                                     "body_raw_ref": _IDS["artifact"]},
                                    {"content_type": "application/exe",
                                     "body_raw_ref": _IDS["file"]}],
                    raw_email_ref=_IDS["artifact"]),
        {**_observable("email-message", is_multipart=False, body="Dear plain,"),
         "id": stix_id("email-message", "x")},
        _observable("process", is_hidden=True, pid=1221, created_time=EARLY, cwd="/tmp/rich",
                    command_line="./rich --fully", environment_variables={"RICH": "yes"},
                    opened_connection_refs=[_IDS["network-traffic"]],
                    creator_user_ref=_IDS["user-account"],
                    image_ref=_IDS["file"], parent_ref=stix_id("process", "parent"),
                    child_refs=[stix_id("process", "child")], extensions=_PROCESS_EXTENSIONS),
        _observable("software", name="Rich software", cpe="cpe:2.3:a:rich:word:2000:*:*:*:*:*:*:*",
                    swid="<rich/>",
                    languages=["en", "fr"], vendor="Rich vendor", version="2002"),
        {**_observable("software", name="Rich host"), "id": stix_id("software", "vm")},
        _observable("user-account", user_id="1101", credential="rich password",
                    account_login="richlogin",
                    account_type="unix", display_name="Rich User", is_service_account=False,
                    is_privileged=True,
                    can_escalate_privs=True, is_disabled=False, account_created=EARLY,
                    account_expires=LATER,
                    credential_last_changed=EARLY, account_first_login=EARLY,
                    account_last_login=LATER,
                    extensions=_UNIX),
        _observable("windows-registry-key", key="HKEY_LOCAL_MACHINE\\System\\Rich",
                    modified_time=EARLY,
                    values=[{"name": "Foo", "data": "qwerty", "data_type": "REG_SZ"},
                            {"name": "Bar", "data": "42", "data_type": "REG_DWORD"}],
                    creator_user_ref=_IDS["user-account"], number_of_subkeys=9),
        _observable("x509-certificate", is_self_signed=False, hashes={"SHA-256": "2" * 64},
                    version="3",
                    serial_number="36:f7:d4:32", signature_algorithm="sha256WithRSA",
                    issuer="C=FR, O=Rich CA",
                    validity_not_before=EARLY, validity_not_after=LATE, subject="CN=rich.example",
                    subject_public_key_algorithm="rsaEncryption",
                    subject_public_key_modulus="00:b4:31:98",
                    subject_public_key_exponent=65537, x509_v3_extensions=_X509_EXTENSIONS),
    ]  # fmt: skip


def rich20() -> list[Stix]:
    """Objects as STIX 2.0 has them."""
    common = {"created": EARLY, "modified": EARLY, "created_by_ref": _IDS["identity"]}
    return [
        {"type": "identity", "id": _IDS["identity"], "created": EARLY, "modified": EARLY,
         "name": "Old identity",
         "identity_class": "organization"},
        {"type": "indicator", "id": _IDS["indicator"], **common, "name": "Old",
         "labels": ["compromised"],
         "pattern": "[ipv4-addr:value = '203.0.113.9']", "valid_from": EARLY},
        {"type": "malware", "id": _IDS["malware"], **common, "name": "Old malware nobody knows",
         "labels": ["bot"]},
        {"type": "observed-data", "id": _IDS["observed-data"], **common, "first_observed": EARLY,
         "last_observed": LATER, "number_observed": 2, "objects": {
             "0": {"type": "ipv4-addr", "value": "203.0.113.8"},
             "1": {"type": "network-traffic", "dst_ref": "0", "dst_port": 25, "protocols": ["tcp"]},
             "2": {"type": "file", "name": "old.exe", "hashes": {"MD5": "f" * 32}}}},
        {"type": "relationship", "id": _IDS["relationship"], **common,
         "relationship_type": "indicates",
         "source_ref": _IDS["indicator"], "target_ref": _IDS["malware"]},
        {"type": "report", "id": _IDS["report"], **common, "name": "Old report",
         "labels": ["campaign"],
         "published": EARLY, "object_refs": [_IDS["indicator"], _IDS["malware"],
                                             _IDS["observed-data"]]},
    ]  # fmt: skip


def neighbour() -> Stix:
    """An indicator that no trouble of another object may touch."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": stix_id("indicator", "neighbour"),
        "created": EARLY,
        "modified": EARLY,
        "pattern": f"[ipv4-addr:value = '{NEIGHBOUR_VALUE}']",
        "pattern_type": "stix",
        "valid_from": EARLY,
    }


def survives(result: Result) -> bool:
    """Whether `neighbour` came out as it should."""
    rows = [
        row
        for event in result.events
        for row in event["Attribute"]
        if row["value"] == NEIGHBOUR_VALUE
    ]
    return len(rows) == 1 and rows[0]["type"] == "ip-dst" and rows[0]["to_ids"] is True


_REASONS = frozenset(reason.value for reason in Reason)


def accounted(result: Result, entries: Iterable[Any]) -> None:
    """Hold a ledger against the entries of the input: everything has one outcome, what is not
    mapped has a reason.
    """
    entries = list(entries)
    ledger = result.ledger.to_dict()
    orjson.dumps(ledger)
    assert ledger["objects"] == sum(ledger["outcomes"].values()) == len(entries)
    assert sum(ledger["properties"].values()) == sum(
        len(row) for row in entries if isinstance(row, dict)
    )
    assert min(ledger["properties"].values()) >= 0
    whole: dict[str, int] = {}
    for row in ledger["entries"]:
        if row["outcome"] != "mapped":
            assert row["reason"] in _REASONS
        if "path" not in row or row["outcome"] == "invalid":
            whole[row["outcome"]] = whole.get(row["outcome"], 0) + 1
    for outcome, count in ledger["outcomes"].items():
        if outcome != "mapped":
            assert whole.get(outcome, 0) == count, f"{outcome} objects without a line"


def told(result: Result, id_: str, name: str) -> bool:
    """Whether the ledger says that a property, or the object as a whole, did not come through."""
    for row in result.ledger.entries:
        whole = "path" not in row or row["outcome"] == "invalid"
        if row["id"] == id_ and (whole or top_level(row["path"].removeprefix("$.")) == name):
            return True
    return False


def everything(result: Result) -> str:
    """All events as one text, to look for a word in."""
    return orjson.dumps(result.events).decode()


def with_property(objects: list[Stix], kind: str, name: str, value: Any) -> list[Stix]:
    """A copy in which one property of the first object of that type is another."""
    at = next(at for at, obj in enumerate(objects) if obj["type"] == kind)
    return [*objects[:at], {**objects[at], name: value}, *objects[at + 1 :]]


def properties(objects: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(type, property) of the first object of each type."""
    first: dict[str, Mapping[str, Any]] = {}
    for obj in objects:
        first.setdefault(obj["type"], obj)
    return [(kind, name) for kind, obj in first.items() for name in obj]
