"""One object of every type that is converted, with every property the specification gives it, all of them linked.

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
        "attack-pattern", "autonomous-system", "campaign", "course-of-action", "domain-name", "email-addr", "file",
        "grouping", "identity", "indicator", "intrusion-set", "ipv4-addr", "ipv6-addr", "mac-addr", "malware",
        "marking-definition", "mutex", "network-traffic", "observed-data", "relationship", "report", "sighting",
        "threat-actor", "tool", "url", "vulnerability",
    )
}  # fmt: skip
TYPES = tuple(_IDS)


def _domain_object(kind: str, **own: Any) -> Stix:
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
            {"source_name": f"{kind} source", "url": f"https://reference.example/{kind}", "description": "a reference"},
            {"source_name": "cve", "external_id": "CVE-2026-12345"},
        ],
        "object_marking_refs": [MARKINGS["green"]],
        "granular_markings": [{"marking_ref": _IDS["marking-definition"], "selectors": ["created"]}],
        **own,
    }


def _observable(kind: str, **own: Any) -> Stix:
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": _IDS[kind],
        "object_marking_refs": [MARKINGS["amber"]],
        "granular_markings": [{"marking_ref": MARKINGS["clear"], "selectors": ["id"]}],
        "defanged": False,
        "extensions": {"extension-definition--00000000-0000-4000-8000-000000000001": {"extension_type": "x", "y": 1}},
        **own,
    }


def _context(kind: str, **own: Any) -> Stix:
    return _domain_object(kind, name=f"Rich {kind} nobody knows", description=f"What the {kind} is.", **own)


_PHASES = [{"kill_chain_name": "lockheed-martin-cyber-kill-chain", "phase_name": "delivery"}]
_SEEN = {"first_seen": EARLY, "last_seen": LATER}


def _actor(kind: str, **own: Any) -> Stix:
    return _context(
        kind,
        aliases=[f"Alias of {kind}"],
        goals=["a goal"],
        resource_level="team",
        primary_motivation="ideology",
        secondary_motivations=["revenge"],
        **_SEEN,
        **own,
    )


def rich() -> list[Stix]:
    """The objects, STIX 2.1."""
    return [
        _context("attack-pattern", aliases=["Alias of technique"], kill_chain_phases=_PHASES),
        _context("campaign", aliases=["Alias of campaign"], objective="an objective", **_SEEN),
        _context("course-of-action"),
        _actor("intrusion-set"),
        _actor("threat-actor", threat_actor_types=["hacker"], roles=["agent"], sophistication="advanced",
               personal_motivations=["dominance"]),
        _context("tool", tool_types=["remote-access"], aliases=["Alias of tool"], kill_chain_phases=_PHASES,
                 tool_version="7.1"),
        _context("malware", malware_types=["bot"], is_family=True, aliases=["Alias of malware"],
                 kill_chain_phases=_PHASES, architecture_execution_envs=["arm"], implementation_languages=["go"],
                 capabilities=["anti-vm"], sample_refs=[_IDS["file"]], operating_system_refs=[_IDS["mutex"]], **_SEEN),
        _domain_object("identity", name="Rich identity", description="Who it is.", roles=["analyst"],
                       identity_class="organization", sectors=["energy"], contact_information="mail@identity.example"),
        _domain_object("vulnerability", name="CVE-2026-10001", description="What it breaks."),
        _domain_object("indicator", name="Rich indicator", description="First line.\nSecond line.",
                       indicator_types=["compromised"], pattern="[ipv4-addr:value = '203.0.113.1']",
                       pattern_type="stix", pattern_version="2.1", valid_from=EARLY, valid_until=LATE,
                       kill_chain_phases=_PHASES),
        _domain_object("observed-data", first_observed=EARLY, last_observed=LATER, number_observed=7,
                       object_refs=[_IDS["file"], _IDS["url"]]),
        _domain_object("report", name="Rich report", description="What the report tells.", published=EARLY,
                       report_types=["campaign"],
                       object_refs=[id_ for kind, id_ in _IDS.items() if kind not in ("report", "grouping")]),
        _domain_object("grouping", name="Rich grouping", description="What the grouping tells.",
                       context="suspicious-activity", object_refs=[_IDS["ipv4-addr"]]),
        _domain_object("relationship", relationship_type="indicates", description="Why it indicates.",
                       source_ref=_IDS["indicator"], target_ref=_IDS["malware"], start_time=EARLY, stop_time=LATER),
        _domain_object("sighting", sighting_of_ref=_IDS["indicator"], description="How it was seen.", count=9,
                       where_sighted_refs=[_IDS["identity"]], observed_data_refs=[_IDS["observed-data"]],
                       summary=False, **_SEEN),
        {"type": "marking-definition", "spec_version": "2.1", "id": _IDS["marking-definition"], "created": EARLY,
         "created_by_ref": _IDS["identity"], "name": "Rich statement", "definition_type": "statement",
         "definition": {"statement": "Copyright of the rich."}},
        _observable("autonomous-system", number=64496, name="Rich AS", rir="RIPE"),
        _observable("domain-name", value="rich.example", resolves_to_refs=[_IDS["ipv4-addr"]]),
        _observable("email-addr", value="rich@rich.example", display_name="Rich Mail",
                    belongs_to_ref=stix_id("user-account", "rich")),
        _observable("file", hashes={"MD5": "d" * 32, "SHA-256": "e" * 64}, size=5, name="rich.exe", name_enc="utf-8",
                    magic_number_hex="4d5a", mime_type="application/x-rich", ctime=EARLY, mtime=EARLY, atime=EARLY,
                    parent_directory_ref=stix_id("directory", "rich"), content_ref=stix_id("artifact", "rich"),
                    contains_refs=[_IDS["url"]]),
        _observable("ipv4-addr", value="203.0.113.2", resolves_to_refs=[_IDS["mac-addr"]],
                    belongs_to_refs=[_IDS["autonomous-system"]]),
        _observable("ipv6-addr", value="2001:db8::2", resolves_to_refs=[_IDS["mac-addr"]],
                    belongs_to_refs=[_IDS["autonomous-system"]]),
        _observable("mac-addr", value="00:11:22:33:44:55"),
        _observable("mutex", name="Rich mutex"),
        _observable("network-traffic", start=EARLY, end=LATER, is_active=False, src_ref=_IDS["ipv6-addr"],
                    dst_ref=_IDS["ipv4-addr"], src_port=1025, dst_port=443, protocols=["ipv4", "tcp", "https"],
                    src_byte_count=10, dst_byte_count=20, src_packets=3, dst_packets=4, ipfix={"a": 1},
                    src_payload_ref=stix_id("artifact", "rich"), dst_payload_ref=stix_id("artifact", "rich"),
                    encapsulates_refs=[stix_id("network-traffic", "other")],
                    encapsulated_by_ref=stix_id("network-traffic", "other")),
        _observable("url", value="https://rich.example/a"),
        {"type": "relationship", "spec_version": "2.1", "id": stix_id("relationship", "uses"), "created": EARLY,
         "modified": EARLY, "relationship_type": "uses", "source_ref": _IDS["malware"], "target_ref": _IDS["tool"]},
        *({"type": "relationship", "spec_version": "2.1", "id": stix_id("relationship", kind), "created": EARLY,
           "modified": EARLY, "relationship_type": "related-to", "source_ref": _IDS["url"], "target_ref": _IDS[kind]}
          for kind in ("attack-pattern", "campaign", "course-of-action", "intrusion-set", "threat-actor", "tool")),
    ]  # fmt: skip


def rich20() -> list[Stix]:
    """Objects as STIX 2.0 has them."""
    common = {"created": EARLY, "modified": EARLY, "created_by_ref": _IDS["identity"]}
    return [
        {"type": "identity", "id": _IDS["identity"], "created": EARLY, "modified": EARLY, "name": "Old identity",
         "identity_class": "organization"},
        {"type": "indicator", "id": _IDS["indicator"], **common, "name": "Old", "labels": ["compromised"],
         "pattern": "[ipv4-addr:value = '203.0.113.9']", "valid_from": EARLY},
        {"type": "malware", "id": _IDS["malware"], **common, "name": "Old malware nobody knows", "labels": ["bot"]},
        {"type": "observed-data", "id": _IDS["observed-data"], **common, "first_observed": EARLY,
         "last_observed": LATER, "number_observed": 2, "objects": {
             "0": {"type": "ipv4-addr", "value": "203.0.113.8"},
             "1": {"type": "network-traffic", "dst_ref": "0", "dst_port": 25, "protocols": ["tcp"]},
             "2": {"type": "file", "name": "old.exe", "hashes": {"MD5": "f" * 32}}}},
        {"type": "relationship", "id": _IDS["relationship"], **common, "relationship_type": "indicates",
         "source_ref": _IDS["indicator"], "target_ref": _IDS["malware"]},
        {"type": "report", "id": _IDS["report"], **common, "name": "Old report", "labels": ["campaign"],
         "published": EARLY, "object_refs": [_IDS["indicator"], _IDS["malware"], _IDS["observed-data"]]},
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
    rows = [row for event in result.events for row in event["Attribute"] if row["value"] == NEIGHBOUR_VALUE]
    return len(rows) == 1 and rows[0]["type"] == "ip-dst" and rows[0]["to_ids"] is True


_REASONS = frozenset(reason.value for reason in Reason)


def accounted(result: Result, entries: Iterable[Any]) -> None:
    """Hold a ledger against the entries of the input: everything has one outcome, what is not mapped has a reason."""
    entries = list(entries)
    ledger = result.ledger.to_dict()
    orjson.dumps(ledger)
    assert ledger["objects"] == sum(ledger["outcomes"].values()) == len(entries)
    assert sum(ledger["properties"].values()) == sum(len(row) for row in entries if isinstance(row, dict))
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
