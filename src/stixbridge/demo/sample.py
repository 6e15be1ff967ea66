"""The collection of the demo: every supported type, and the hard cases of real feeds.

All names are invented, but for ATT&CK's ids and the malware family Emotet, which show known galaxy
clusters; all addresses are from the ranges for documentation (RFC 5737, RFC 3849, RFC 2606).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

StixObject = dict[str, Any]

_NAMESPACE = UUID("5a3c1c52-6f0e-4b3b-9d55-0e6a5f0b7c11")

_GREEN = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"
_AMBER = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
_RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"


def id_of(type_: str, name: str) -> str:
    """The id of a sample object: the same at every run."""
    return f"{type_}--{uuid5(_NAMESPACE, f'{type_}:{name}')}"


_PRODUCER = id_of("identity", "producer")
_VICTIM = id_of("identity", "victim")


def _sdo(
    type_: str, key: str, /, *, created: str = "2026-01-05T08:00:00.000Z", **properties: Any
) -> StixObject:
    modified = properties.pop("modified", created)
    return {
        "type": type_,
        "spec_version": "2.1",
        "id": id_of(type_, key),
        "created_by_ref": _PRODUCER,
        "created": created,
        "modified": modified,
        **properties,
    }


def _sco(type_: str, key: str, /, **properties: Any) -> StixObject:
    return {"type": type_, "spec_version": "2.1", "id": id_of(type_, key), **properties}


def _indicator(key: str, pattern: str, /, **properties: Any) -> StixObject:
    return _sdo(
        "indicator",
        key,
        **{
            "name": properties.pop("title", key),
            "pattern": pattern,
            "pattern_type": "stix",
            "indicator_types": ["malicious-activity"],
            "valid_from": "2026-01-05T08:00:00Z",
            **properties,
        },
    )


def _link(source: StixObject, verb: str, target: StixObject, **properties: Any) -> StixObject:
    key = f"{source['id']} {verb} {target['id']}"
    return _sdo(
        "relationship",
        key,
        relationship_type=verb,
        source_ref=source["id"],
        target_ref=target["id"],
        **properties,
    )


def pages() -> list[list[StixObject]]:
    """The collection in the order in which its server got it, page by page.

    The report comes on the first page and its members on later ones; one indicator comes twice, in
    two versions; one is revoked; a RED indicator and an unmarked address say the same value.
    """
    producer = _sdo(
        "identity", "producer", name="Heliotrope Research", identity_class="organization"
    )
    del producer["created_by_ref"]
    statement = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": id_of("marking-definition", "statement"),
        "created": "2026-01-01T00:00:00.000Z",
        "definition_type": "statement",
        "definition": {"statement": "Copyright 2026, Heliotrope Research; an invented producer"},
    }

    emotet = _sdo("malware", "emotet", name="Emotet", is_family=True, malware_types=["trojan"])
    loader = _sdo(
        "malware",
        "loader",
        name="Paperclip Loader",
        is_family=False,
        malware_types=["downloader"],
        description="A small downloader, known to nobody else.",
    )
    phishing = _sdo(
        "attack-pattern",
        "phishing",
        name="Phishing",
        external_references=[{"source_name": "mitre-attack", "external_id": "T1566"}],
    )
    psexec = _sdo("tool", "psexec", name="PsExec", tool_types=["remote-access"])
    actor = _sdo(
        "threat-actor",
        "heron",
        name="Amber Heron",
        aliases=["HERON-7"],
        threat_actor_types=["crime-syndicate"],
    )
    intrusion = _sdo("intrusion-set", "heron", name="Heron Cluster", goals=["money"])
    campaign = _sdo("campaign", "wade", name="Operation Wading Bird", objective="invoice fraud")
    flaw = _sdo(
        "vulnerability",
        "flaw",
        name="CVE-2025-12345",
        description="A flaw in an invented mail gateway.",
        external_references=[{"source_name": "cve", "external_id": "CVE-2025-12345"}],
    )
    victim = _sdo(
        "identity",
        "victim",
        name="Example Logistics",
        identity_class="organization",
        sectors=["transportation"],
    )

    c2 = _indicator(
        "c2",
        "[network-traffic:dst_ref.type = 'ipv4-addr'"
        " AND network-traffic:dst_ref.value = '192.0.2.10']",
        title="Command and control",
        confidence=85,
        object_marking_refs=[_GREEN],
        kill_chain_phases=[
            {
                "kill_chain_name": "lockheed-martin-cyber-kill-chain",
                "phase_name": "command-and-control",
            }
        ],
    )
    dropper = _indicator(
        "dropper",
        "[file:name = 'svchost.exe' AND file:size = 73216 AND file:hashes.'SHA-256' = "
        "'4ce41a35b0e81a62ba4d7d3c14d1a1d85e1b7ba2e5a7ae3d6cfd3dc7e93b0001']",
        title="Dropper",
        description="Poses as a system file.\nThe name alone means nothing: only the hash does.",
        object_marking_refs=[_AMBER],
    )
    domains = _indicator(
        "domains",
        "[domain-name:value IN ('login.example.net', 'mail.example.net')]",
        title="Login pages",
    )
    gate = _indicator("gate", "[url:value LIKE 'http://%.example.org/gate.php']", title="Panel")
    sequence = _indicator(
        "sequence",
        "[domain-name:value = 'first.example.net']"
        " FOLLOWEDBY [ipv4-addr:value = '192.0.2.77'] WITHIN 300 SECONDS",
        title="Two steps",
    )
    rule = _sdo(
        "indicator",
        "rule",
        name="Paperclip strings",
        pattern='rule paperclip { strings: $a = "clip" condition: $a }',
        pattern_type="yara",
        valid_from="2026-01-05T08:00:00Z",
    )
    old = _indicator("moved", "[ipv4-addr:value = '192.0.2.20']", title="Moved once")
    new = {
        **old,
        "modified": "2026-01-06T09:00:00.000Z",
        "pattern": "[ipv4-addr:value = '192.0.2.21']",
    }
    revoked = _indicator(
        "revoked", "[ipv4-addr:value = '192.0.2.30']", title="A mistake", revoked=True
    )
    expired = _indicator(
        "expired",
        "[ipv4-addr:value = '192.0.2.31']",
        title="Long ago",
        valid_until="2026-01-06T00:00:00Z",
    )
    secret = _indicator(
        "secret",
        "[ipv4-addr:value = '192.0.2.40']",
        title="For your eyes",
        object_marking_refs=[_RED],
    )

    same = _sco("ipv4-addr", "same", value="192.0.2.40")
    host = _sco("ipv4-addr", "host", value="192.0.2.50")
    six = _sco("ipv6-addr", "six", value="2001:db8::50")
    name = _sco("domain-name", "name", value="drop.example.org", resolves_to_refs=[host["id"]])
    link = _sco("url", "link", value="http://drop.example.org/a")
    mail = _sco("email-addr", "mail", value="billing@example.org", display_name="Billing")
    sample = _sco(
        "file",
        "sample",
        name="invoice.pdf.exe",
        hashes={"MD5": "0123456789abcdef0123456789abcdef"},
        size=73216,
    )
    card = _sco("mac-addr", "card", value="02:00:5e:10:00:01")
    system = _sco("autonomous-system", "system", number=64500, name="Invented Networks")
    lock = _sco("mutex", "lock", name="Global\\paperclip")
    flow = _sco(
        "network-traffic",
        "flow",
        dst_ref=host["id"],
        dst_port=8443,
        protocols=["ipv4", "tcp", "https"],
    )
    seen = _sdo(
        "observed-data",
        "seen",
        first_observed="2026-01-04T10:00:00Z",
        last_observed="2026-01-05T07:00:00Z",
        number_observed=12,
        object_refs=[host["id"], sample["id"]],
    )
    sighted = _sdo(
        "sighting",
        "sighted",
        sighting_of_ref=c2["id"],
        first_seen="2026-01-05T10:00:00Z",
        last_seen="2026-01-05T18:00:00Z",
        count=40,
        where_sighted_refs=[victim["id"]],
    )
    unknown = _sdo("x-heliotrope-note", "note", text="a type that no table knows")

    links = [
        _link(c2, "indicates", emotet),
        _link(dropper, "indicates", loader),
        _link(loader, "uses", phishing, description="in the invoices of January"),
        _link(actor, "uses", psexec),
        _link(intrusion, "attributed-to", actor),
        _link(campaign, "attributed-to", intrusion),
        _link(dropper, "communicates-with", host),
        _link(loader, "exploits", flaw),
        _link(actor, "targets", victim),
    ]
    members = [
        c2, dropper, domains, gate, sequence, rule, emotet, loader, phishing, psexec, actor,
        intrusion, campaign, flaw, victim, host, name, link, mail, sample, lock, flow, seen,
        sighted, *links,
    ]  # fmt: skip
    report = _sdo(
        "report",
        "report",
        name="Amber Heron sends invoices",
        description="An invented report: a loader, its panel, and who is behind it.",
        published="2026-01-05T09:00:00Z",
        report_types=["campaign"],
        object_marking_refs=[_GREEN, statement["id"]],
        external_references=[
            {"source_name": "blog", "url": "https://blog.example.com/amber-heron"}
        ],
        object_refs=[member["id"] for member in members],
    )
    grouping = _sdo(
        "grouping",
        "grouping",
        name="Infrastructure seen beside it",
        context="suspicious-activity",
        object_refs=[six["id"], system["id"], card["id"]],
    )
    return [
        [producer, statement, report, old, same],
        [c2, dropper, domains, gate, sequence, rule, emotet, loader, phishing, psexec],
        [actor, intrusion, campaign, flaw, victim, host, name, link, mail, sample, lock, flow],
        [*links, seen, sighted, grouping, six, system, card],
        [new, revoked, expired, secret, unknown],
    ]
