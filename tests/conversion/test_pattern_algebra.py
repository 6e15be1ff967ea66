"""The pattern algebra: a pattern, and the attributes and objects it becomes.

A row of expectation is `type=value` for a lone attribute and `template(relation=value …)` for an
object. A `!` in front of a value: it carries `to_ids`. `pattern->2` is the `stix2-pattern` object
with the original text and references to two elements, `!pattern` the same with `to_ids`.
"""

from typing import Any

import pytest
from helpers.stix import EARLY, indicator

from stixbridge import convert

A, B, C = "198.51.100.1", "198.51.100.2", "203.0.113.0/24"
MD5, SHA1, SHA256 = "d41d8cd98f00b204e9800998ecf8427e", "a" * 40, "b" * 64


def said(pattern: str, **more: Any) -> list[str]:
    """What an indicator with that pattern becomes, a row for each element, sorted."""
    result = convert([indicator("probe", pattern, **more)], EARLY)
    assert sum(result.ledger.outcomes.values()) == 1
    rows: list[str] = []
    for event in result.events:
        for row in event["Attribute"]:
            rows.append(f"{row['type']}={'!' * row['to_ids']}{row['value']}")
        for obj in event["Object"]:
            parts = [
                f"{row['object_relation']}={'!' * row['to_ids']}{row['value']}"
                for row in obj["Attribute"]
            ]
            if obj["name"] == "stix2-pattern":
                kept = next(
                    row for row in obj["Attribute"] if row["object_relation"] == "stix2-pattern"
                )
                assert kept["value"] == pattern
                targets = {row["referenced_uuid"] for row in obj.get("ObjectReference", [])}
                rows.append(f"{'!' * kept['to_ids']}pattern->{len(targets)}")
            else:
                rows.append(f"{obj['name']}({' '.join(sorted(parts))})")
    return sorted(rows)


# One comparison
SINGLE = {
    f"[ipv4-addr:value = '{A}']": [f"ip-dst=!{A}"],
    "[ipv6-addr:value = '2001:DB8::0:1']": ["ip-dst=!2001:db8::1"],
    f"[network-traffic:dst_ref.value = '{A}']": [f"ip-dst=!{A}"],
    f"[network-traffic:src_ref.value = '{A}']": [f"ip-src=!{A}"],
    "[network-traffic:dst_ref.value = 'evil.example']": ["domain=!evil.example"],
    "[domain-name:value = 'Evil.Example.']": ["domain=!evil.example"],
    "[url:value = 'https://evil.example/A?b=1']": ["url=!https://evil.example/A?b=1"],
    "[email-addr:value = 'a@evil.example']": ["email-src=!a@evil.example"],
    f"[file:hashes.MD5 = '{MD5.upper()}']": [f"md5=!{MD5}"],
    f"[file:hashes.'SHA-1' = '{SHA1}']": [f"sha1=!{SHA1}"],
    f"[file:hashes.'SHA-256' = '{SHA256}']": [f"sha256=!{SHA256}"],
    f"[file:hashes.SHA256 = '{SHA256}']": [f"sha256=!{SHA256}"],
    "[file:size = 5]": ["file(size-in-bytes=5)"],
    "[mutex:name = 'Global\\\\x']": ["mutex=!Global\\x"],
    r"[mutex:name = 'it\'s']": ["mutex=!it's"],
    "[mac-addr:value = '00-11-22-AA-bb-cc']": ["mac-address=00:11:22:aa:bb:cc"],
    "[autonomous-system:number = 64496]": ["AS=64496"],
    "[mutex:name = h'61c3a9']": ["mutex=!aé"],
    "[mutex:name = h'00ff']": ["mutex=!00ff"],
    "[mutex:name = b'YWJj']": ["mutex=!abc"],
}

# AND on one object: guards fold away, composites, else an object
AND = {
    f"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '{A}']": [
        f"ip-dst=!{A}"
    ],
    (
        "[network-traffic:dst_ref.type = 'domain-name' AND network-traffic:dst_ref.value = "
        "'evil.example']"
    ): ["domain=!evil.example"],
    f"[network-traffic:dst_ref.value = '{A}' AND network-traffic:dst_port = 443]": [
        f"ip-dst|port=!{A}|443"
    ],
    f"[network-traffic:src_ref.value = '{A}' AND network-traffic:src_port = 443]": [
        f"ip-src|port=!{A}|443"
    ],
    f"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '{A}' AND "
    "network-traffic:dst_port = 443]": [f"ip-dst|port=!{A}|443"],
    f"[network-traffic:dst_ref.value = '{A}' AND network-traffic:dst_port = 443 AND "
    "network-traffic:protocols[0] = 'tcp']": [
        f"network-connection(dst-port=443 ip-dst=!{A} layer4-protocol=tcp)"
    ],
    f"[file:name = 'svchost.exe' AND file:hashes.MD5 = '{MD5}']": [
        f"filename|md5=!svchost.exe|{MD5}"
    ],
    f"[file:name = 'svchost.exe' AND file:hashes.MD5 = '{MD5}' AND file:size = 5]": [
        f"file(filename=svchost.exe md5=!{MD5} size-in-bytes=5)"
    ],
    f"[file:hashes.MD5 = '{MD5}' AND file:hashes.'SHA-1' = '{SHA1}']": [
        f"file(md5=!{MD5} sha1=!{SHA1})"
    ],
    "[file:name = 'svchost.exe' AND file:size = 5]": ["file(filename=svchost.exe size-in-bytes=5)"],
    "[file:name = 'a.exe' AND file:parent_directory_ref.path = 'C:\\\\x']": [
        "file(filename=a.exe path=C:\\x)"
    ],
    f"[domain-name:value = 'evil.example' AND domain-name:resolves_to_refs[*].value = '{A}']": [
        f"domain|ip=!evil.example|{A}"
    ],
}

# OR and IN: one element for each alternative
OR = {
    f"[ipv4-addr:value = '{A}' OR ipv4-addr:value = '{B}']": [f"ip-dst=!{A}", f"ip-dst=!{B}"],
    f"[ipv4-addr:value IN ('{A}', '{B}', '{A}')]": [f"ip-dst=!{A}", f"ip-dst=!{B}"],
    f"[ipv4-addr:value = '{A}'] OR [domain-name:value = 'evil.example']": [
        "domain=!evil.example",
        f"ip-dst=!{A}",
    ],
    f"[file:hashes.MD5 = '{MD5}' OR file:hashes.'SHA-1' = '{SHA1}']": [
        f"file(md5=!{MD5} sha1=!{SHA1})",
    ],
    f"[(file:name = 'a' OR file:name = 'b') AND file:hashes.MD5 = '{MD5}']": [
        f"filename|md5=!a|{MD5}",
        f"filename|md5=!b|{MD5}",
    ],
    f"[(ipv4-addr:value = '{A}')]": [f"ip-dst=!{A}"],
    "[file:name = 'a' AND file:size IN (1, 2)]": [
        "file(filename=a size-in-bytes=1)",
        "file(filename=a size-in-bytes=2)",
    ],
    f"[autonomous-system:number IN (64496, 64497) OR ipv4-addr:value = '{A}']": [
        "AS=64496",
        "AS=64497",
        f"ip-dst=!{A}",
    ],
}

# AND across objects and observations: joined by references
ACROSS = {
    f"[domain-name:value = 'evil.example' AND ipv4-addr:value = '{A}']": [
        "!pattern->2",
        "domain=!evil.example",
        f"ip-dst=!{A}",
    ],
    f"[domain-name:value = 'evil.example'] AND [ipv4-addr:value = '{A}']": [
        "!pattern->2",
        "domain=!evil.example",
        f"ip-dst=!{A}",
    ],
    (
        "[file:name = 'a' AND file:size = 1] AND "
        f"[file:name = 'b' AND file:hashes.MD5 = '{MD5}' AND file:size = 2]"
    ): [
        "!pattern->2",
        "file(filename=a size-in-bytes=1)",
        f"file(filename=b md5=!{MD5} size-in-bytes=2)",
    ],
}

# Sets, wildcards, regular expressions
MATCHING = {
    f"[ipv4-addr:value ISSUBSET '{C}']": [f"ip-dst=!{C}"],
    f"[network-traffic:src_ref.value ISSUBSET '{C}']": [f"ip-src=!{C}"],
    f"[ipv4-addr:value = '{C}']": [f"ip-dst=!{C}"],
    "[domain-name:value LIKE 'evil.example']": ["domain=!evil.example"],
    "[domain-name:value LIKE '%.evil.example']": ["!pattern->0"],
    "[domain-name:value LIKE 'evil_.example']": ["!pattern->0"],
    r"[domain-name:value MATCHES '^evil\\.example$']": ["domain=!evil.example"],
    "[domain-name:value MATCHES '^evil.example$']": ["!pattern->0"],
    "[domain-name:value MATCHES 'evil']": ["!pattern->0"],
    f"[ipv4-addr:value = '{A}' OR ipv4-addr:value LIKE '198.%']": ["!pattern->1", f"ip-dst=!{A}"],
    f"[ipv4-addr:value ISSUPERSET '{A}']": ["pattern->0"],
}

# Negation and order are context, never to_ids
NEGATED = {
    f"[ipv4-addr:value != '{A}']": [f"ip-dst={A}", "pattern->0"],
    f"[ipv4-addr:value NOT = '{A}']": [f"ip-dst={A}", "pattern->0"],
    f"[ipv4-addr:value NOT != '{A}']": [f"ip-dst=!{A}"],
    f"[ipv4-addr:value NOT IN ('{A}', '{B}')]": [f"ip-dst={A}", f"ip-dst={B}", "pattern->0"],
    f"[ipv4-addr:value NOT ISSUBSET '{C}']": ["pattern->0"],
    "[domain-name:value NOT LIKE 'evil.example']": ["pattern->0"],
    "[file:size > 5]": ["pattern->0"],
    "[EXISTS file:name]": ["pattern->0"],
    f"[file:hashes.MD5 = '{MD5}' AND file:size > 5]": [f"md5=!{MD5}", "pattern->1"],
    f"[file:hashes.MD5 = '{MD5}' AND file:name != 'a']": [
        "filename=a",
        f"md5=!{MD5}",
        "pattern->1",
    ],
}

# Qualifiers and sequence: the parts, and the text
INEXACT = {
    f"[ipv4-addr:value = '{A}'] FOLLOWEDBY [ipv4-addr:value = '{B}']": [
        f"ip-dst={A}",
        f"ip-dst={B}",
        "pattern->2",
    ],
    f"[ipv4-addr:value = '{A}'] WITHIN 5 SECONDS": ["!pattern->1", f"ip-dst=!{A}"],
    f"[ipv4-addr:value = '{A}'] REPEATS 5 TIMES": ["!pattern->1", f"ip-dst=!{A}"],
    f"[ipv4-addr:value = '{A}'] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z'": [
        "!pattern->1",
        f"ip-dst=!{A}",
    ],
}

# What no attribute or object can say in full
BESIDE = {
    "[x-thing:name = 'a']": ["!pattern->0"],
    f"[ipv4-addr:value = '{A}' AND x-thing:name = 'a']": ["!pattern->1", f"ip-dst=!{A}"],
    f"[file:hashes.MD5 = '{MD5}' AND file:x_own = 'a']": ["!pattern->1", f"md5=!{MD5}"],
    "[network-traffic:dst_ref.type = 'ipv4-addr']": ["!pattern->0"],
    f"[network-traffic:dst_ref.type = 'mac-addr' OR ipv4-addr:value = '{A}']": [
        "!pattern->1",
        f"ip-dst=!{A}",
    ],
    "[email-addr:display_name = 'Eve']": ["!pattern->0"],
    "[email-addr:value = 'a@evil.example' AND email-addr:display_name = 'Eve']": [
        "!pattern->1",
        "email-src=!a@evil.example",
    ],
    f"[ipv4-addr:value = '{A}' AND ipv4-addr:value = '{B}']": [
        "!pattern->2",
        f"ip-dst=!{A}",
        f"ip-dst=!{B}",
    ],
    f"[ipv4-addr:value = 'no address' OR ipv4-addr:value = '{A}']": ["!pattern->1", f"ip-dst=!{A}"],
}

TABLES = {
    "single": SINGLE,
    "and": AND,
    "or": OR,
    "across": ACROSS,
    "matching": MATCHING,
    "negated": NEGATED,
    "inexact": INEXACT,
    "beside": BESIDE,
}
CASES = [
    pytest.param(pattern, rows, id=f"{name}-{pattern}")
    for name, table in TABLES.items()
    for pattern, rows in table.items()
]


@pytest.mark.parametrize(("pattern", "rows"), CASES)
def test_becomes(pattern: str, rows: list[str]) -> None:
    assert said(pattern) == sorted(rows)


@pytest.mark.parametrize(
    "more",
    [
        {"indicator_types": ["benign"]},
        {"indicator_types": ["anonymization"]},
        {"indicator_types": ["anomalous-activity"]},
        {"indicator_types": ["attribution"]},
        {"indicator_types": ["malicious-activity", "benign"]},
        {"indicator_types": ["malicious-activity", "anonymization"]},
    ],
    ids=lambda more: "+".join(more["indicator_types"]),
)
@pytest.mark.parametrize(
    "pattern", [pattern for table in (SINGLE, AND, OR, ACROSS, MATCHING) for pattern in table][::7]
)
def test_types_that_never_detect(pattern: str, more: dict[str, Any]) -> None:
    rows = said(pattern, **more)
    assert rows
    assert not [row for row in rows if "!" in row]


@pytest.mark.parametrize(
    ("language", "type_"),
    [
        ("yara", "yara"),
        ("sigma", "sigma"),
        ("snort", "snort"),
        ("suricata", "snort"),
        ("zeek", "zeek"),
        ("own", "other"),
    ],
)
def test_other_languages(language: str, type_: str) -> None:
    (row,) = said("rule x { condition: true }", pattern_type=language)
    assert row.replace("!", "") == f"{type_}=rule x {{ condition: true }}"


def test_an_and_of_ors_within_reason_multiplies() -> None:
    names, sizes = (" OR ".join(f"file:{field} = {value}" for value in values) for field,
                    values in (
        ("name", [f"'f{at}'" for at in range(10)]), ("size", list(range(1, 11)))
    ))  # fmt: skip
    rows = said(f"[({names}) AND ({sizes})]")
    assert len(rows) == len(set(rows)) == 100


def test_an_and_of_ors_that_explodes_is_listed_without_to_ids() -> None:
    groups = [
        " OR ".join(f"ipv4-addr:value = '198.51.{group}.{at}'" for at in range(40))
        for group in range(8)
    ]
    rows = said("[" + " AND ".join(f"({group})" for group in groups) + "]")
    assert len([row for row in rows if row.startswith("ip-dst=")]) == 320
    assert not [row for row in rows if "!" in row]
    assert "pattern->320" in rows
