"""What fuzzing starts from: the documents of `tests/cases`, one object of each type, some shapes
and patterns.
"""

import gzip
import re
from pathlib import Path

import orjson
from helpers.rich import rich, rich20
from helpers.stix import (
    EARLY,
    Stix,
    address,
    bundle,
    indicator,
    relationship,
    report,
    sighting,
    stix_id,
)

PATTERNS = [
    "[ipv4-addr:value = '198.51.100.1']",
    "[ipv4-addr:value != '198.51.100.1' OR domain-name:value LIKE '%.example']",
    "[file:hashes.'SHA-256' = 'ee' AND file:name IN ('a.exe', 'b.exe')]",
    "[a:b[*].c_ref.d NOT = 1 AND (a:b >= -1.5 OR a:c <> true)]",
    "[a:b = h'0aFf' OR a:b == b'AQI=' OR a:b < t'2026-01-02T03:04:05.6Z']",
    "[EXISTS a:b AND NOT EXISTS a:'b c'.d]",
    "[a:EXISTS = 1]",
    "[x-a-b:c NOT MATCHES '^a\\\\.b$' AND a:b ISSUBSET '198.51.100.0/24' OR a:b ISSUPERSET '::/0']",
    "([a:b = 1] AND [a:c = 2]) WITHIN 5 SECONDS "
    "FOLLOWEDBY [a:d = 3] REPEATS 2 TIMES OR [a:e IN ()]",
    "[a:b = 1] START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'",
    "/* why */ [ a:b /**/ = 'it\\'s' ] // so\n",
    "[(((a:b = .5)))]",
]

_ADDRESS = indicator("198.51.100.1", tlp="amber")
_OBJECTS = [
    _ADDRESS,
    {**_ADDRESS, "modified": "2026-01-06T00:00:00.000Z", "revoked": True},
    address("198.51.100.2", tlp="red"),
    relationship(_ADDRESS, "based-on", address("198.51.100.2")),
    sighting(_ADDRESS, count=0),
    report(
        "seed", [_ADDRESS, address("198.51.100.2"), "malware--00000000-0000-4000-8000-000000000001"]
    ),
]
_BUNDLE = orjson.dumps(bundle(_OBJECTS))


def _small(kind: str, **more: object) -> Stix:
    made = {
        "type": kind,
        "spec_version": "2.1",
        "id": stix_id(kind, "small"),
        "created": EARLY,
        "modified": EARLY,
    }
    return {**made, **more}


# the other types, with what is peculiar to each, about or beside the address
_KEY = {
    "key": "HKLM\\Software\\Seed",
    "values": [{"name": "v", "data": "d", "data_type": "REG_SZ"}],
}
_BODY = {
    "is_multipart": True,
    "body_multipart": [{"body": "b", "content_type": "text/plain"}],
    "date": EARLY,
}
_ABOUT = {"object_refs": [_ADDRESS["id"]]}
_OTHERS = [
    _small("artifact", mime_type="text/plain", payload_bin="c2VlZA==", hashes={"MD5": "a" * 32}),
    _small("directory", path="C:\\seed", ctime=EARLY, contains_refs=[stix_id("file", "seed")]),
    _small("email-message", subject="seed", from_ref=stix_id("email-addr", "seed"),
           received_lines=["a", "b"], **_BODY,
           additional_header_fields={"Reply-To": ["a@a.example"]}),
    _small("extension-definition", name="seed", schema="https://a.example/", version="1.0",
           extension_types=["new-sdo"],
           extension_properties=["x_seed"]),
    _small("incident", name="seed", description="What happened."),
    _small("infrastructure", name="seed", infrastructure_types=["botnet"], aliases=["s"],
           first_seen=EARLY),
    _small("language-content", object_ref=_ADDRESS["id"],
           contents={"de": {"name": "Saat", "labels": ["x", "", "y"]}}),
    _small("location", name="seed", region="western-europe", country="DE", latitude=48.1,
           longitude=11.5, precision=10),
    _small("malware-analysis", product="seed", result="malicious",
           analysis_sco_refs=[_ADDRESS["id"]]),
    _small("note", abstract="seed", content="First.\nSecond.", authors=["a"], **_ABOUT),
    _small("opinion", opinion="strongly-disagree", explanation="Why.", authors=["a"], **_ABOUT),
    _small("process", pid=5, command_line="seed -x", cwd="/", environment_variables={"A": "b"},
           is_hidden=False,
           image_ref=stix_id("file", "seed"), child_refs=[stix_id("process", "small")],
           extensions={"windows-process-ext": {"aslr_enabled": True, "startup_info": {"a": 1}}}),
    _small("software", name="seed", cpe="cpe:2.3:a:s:s:1:*:*:*:*:*:*:*", version="1", vendor="s",
           languages=["en"]),
    _small("user-account", user_id="1001", account_login="seed", account_type="unix",
           is_privileged=True,
           extensions={"unix-account-ext": {"gid": 5, "groups": ["a", "b"], "shell": "/bin/sh"}}),
    _small("windows-registry-key", number_of_subkeys=2, modified_time=EARLY, **_KEY),
    _small("x509-certificate", serial_number="01", issuer="CN=a", subject="CN=b",
           validity_not_before=EARLY,
           hashes={"SHA-1": "b" * 40}, x509_v3_extensions={"basic_constraints": "critical"}),
    _small("file", name="seed.exe", extensions={
        "windows-pebinary-ext": {"pe_type": "exe",
                                 "sections": [{"name": ".text", "entropy": 1.5, "size": 5}]},
        "archive-ext": {"contains_refs": [stix_id("file", "seed")]}, "ntfs-ext": {"sid": "1"}}),
    _small("network-traffic", protocols=["ipv6", "tcp", "http"], extensions={
        "http-request-ext": {"request_method": "get", "request_value": "/",
                             "request_header": {"Host": ["a.example"]}},
        "tcp-ext": {"src_flags_hex": "00000002"},
        "socket-ext": {"address_family": "AF_INET", "options": {"SO_A": 1}}}),
    _small("x-custom", x_text="seed", x_list=[1, {"a": None}], x_map={"a": [True]}),
]  # fmt: skip


# what MISP exports, in labels and types of its own
def _labelled(kind: str, *labels: str, **more: object) -> Stix:
    return _small(kind, labels=[f"misp:{label}" for label in labels], **more)


_LONE = ('type="domain|ip"', 'category="Network activity"', 'to_ids="True"')
_FILE = stix_id("file", "exported")
_EXPORTED: list[Stix] = [
    _labelled("indicator", *_LONE, pattern_type="stix", valid_from=EARLY,
              pattern=("[domain-name:value = 'a.example' AND domain-name:resolves_to_refs[*].value "
                       "= '198.51.100.1']")),
    {**_labelled("observed-data", 'name="file"', 'meta-category="file"', first_observed=EARLY,
                 last_observed=EARLY,
                 number_observed=1, object_refs=[_FILE]),
                 "id": stix_id("observed-data", "exported")},
    {**_small("file", name="seed.exe", size=5, hashes={"MD5": "a" * 32},
              content_ref=stix_id("artifact", "small"),
              extensions={"windows-pebinary-ext": {"pe_type": "exe",
                                                   "sections": [{"name": ".text", "size": 5}]}}),
     "id": _FILE},
    {**_labelled("indicator", 'name="file"', 'meta-category="file"', 'to_ids="True"',
                 pattern_type="stix",
                 valid_from=EARLY,
                 pattern="[file:name = 'seed.exe' AND file:x_misp_state = 'Malicious']"),
     "id": stix_id("observed-data", "exported").replace("observed-data", "indicator")},
    {**_labelled("indicator", 'name="yara"', 'meta-category="misc"', pattern_type="yara",
                 pattern="rule a {}",
                 valid_from=EARLY, x_misp_comment="c"), "id": stix_id("indicator", "rule")},
    _labelled("identity", 'name="organization"', 'meta-category="misc"', name="seed",
              identity_class="organization",
              contact_information="phone-number: 1 / address: 2", x_misp_role=["a"]),
    _labelled("attack-pattern", 'galaxy-type="mitre-attack-pattern"', 'galaxy-name="A"',
              name="seed",
              external_references=[{"source_name": "mitre", "external_id": "T1001"}]),
    _labelled("x-misp-attribute", *_LONE, x_misp_type="comment", x_misp_value="v",
              x_misp_category="Other",
              x_misp_comment="c", x_misp_to_ids=False),
    _labelled("x-misp-object", 'name="seed"', x_misp_name="person", x_misp_comment="c",
              x_misp_attributes=[
        {"type": "text", "object_relation": "first-name", "value": "A", "to_ids": False,
         "data": "c2VlZA=="}]),
    _small("x-misp-event-report", x_misp_name="seed", x_misp_content="Text.",
           object_ref=_ADDRESS["id"]),
    _small("x-misp-galaxy-cluster", x_misp_name="g", x_misp_type="t", x_misp_value="v",
           x_misp_description="d"),
    _small("x-misp-analyst-note", x_misp_note="n", object_ref=stix_id("indicator", "small")),
    _small("x-misp-analyst-opinion", x_misp_opinion=50, x_misp_comment="c",
           object_ref=stix_id("indicator", "small")),
    _small("x-misp-opinion", x_misp_opinion="disagree", x_misp_author="a",
           object_ref=stix_id("indicator", "small")),
]  # fmt: skip


def _export(objects: list[Stix]) -> bytes:
    """A document that says it is MISP's: few records each, small enough to be mutated to some
    purpose.
    """
    event = report(
        "export",
        list(objects),
        labels=["Threat-Report", 'misp:tool="MISP-STIX-Converter"', "tlp:green"],
    )
    return orjson.dumps(bundle([event, *objects]))


DOCUMENTS = [
    *(
        path.read_bytes()
        for path in sorted((Path(__file__).parents[1] / "cases").glob("*/in.json"))
    ),
    *(orjson.dumps(bundle([obj])) for obj in (*rich(), *rich20())),
    orjson.dumps(bundle(rich20())),
    *(orjson.dumps(bundle([_ADDRESS, obj])) for obj in _OTHERS),
    orjson.dumps(bundle([_ADDRESS, report("others", _OTHERS), *_OTHERS[8:11]])),
    *(orjson.dumps(bundle([obj, relationship(obj, "related-to", _ADDRESS)])) for obj in _OTHERS),
    *(
        orjson.dumps(
            bundle(
                [
                    _small(
                        "observed-data",
                        first_observed=EARLY,
                        last_observed=EARLY,
                        number_observed=1,
                        objects={"0": obj},
                    )
                ]
            )
        )
        for obj in _OTHERS
    ),
    *(orjson.dumps(bundle([indicator(f"seed {at}", text)])) for at, text in enumerate(PATTERNS)),
    *(_export([obj]) for obj in _EXPORTED),
    _export(_EXPORTED[1:4]),
    _export(_EXPORTED[:1] + _EXPORTED[-5:]),
    _BUNDLE,
    b"\xef\xbb\xbf" + _BUNDLE,
    _BUNDLE.decode().encode("utf-16"),
    gzip.compress(_BUNDLE, mtime=0),
    orjson.dumps(_OBJECTS),
    b"\n".join(map(orjson.dumps, _OBJECTS)),
    orjson.dumps({"more": True, "next": "1", "objects": _OBJECTS}),
    b'{"more": false}',
    b'[{"type": "bundle", "objects": {"a": null}}, [], 1, null, "x"]',
    b'{"type": "indicator", "id": "indicator--1"}\n{broken\n{}\n',
    b"",
]

SEEDS = {"reader": DOCUMENTS, "pattern": [text.encode() for text in PATTERNS]}

NAMES = sorted(
    {
        name
        for document in DOCUMENTS
        for name in re.findall(r'"(\w+)":', document.decode("utf-8", "replace"))
    }
)
PIECES = [
    "[", "]", "(", ")", "'", "\\'", "\\\\", ":", ".", ",", "*", "=", "!=", "<>", "<", ">=", "+",
    "-", "/", "//", "/*", "*/", "[*]", "[0]", "^", "$", "%", "{", "é", "\0", "\n", "\x85", "\u2028",
    "\ufeff", "0", "-1", "1.5", ".5", "NOT", "AND", "OR", "FOLLOWEDBY", "IN", "EXISTS", "LAST",
    "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET", "true", "START",
    "STOP", "WITHIN", "SECONDS", "REPEATS", "TIMES", "x", "a-b", "''", "h'0a'", "b'AQ=='",
    "t'2026-01-02T03:04:05Z'", " ", "a:b", "[a:b = 1]",
]  # fmt: skip
STRINGS = [
    "", " ", "\0", "x", "²", "\u202e", "\U0001f600", "a\nb", "--", "indicator--1",
    "2026-01-05T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60.999999999Z",
    "2026-02-30T00:00:00Z", "198.51.100.1", "198.51.100.0/24", "2001:db8::1", "::ffff:1.2.3.4",
    "a.example", "http://[", "https://a.example:99999/%zz", "a@a.example", "00:11:22:33:44:55",
    "CVE-2026-10001", "T1566.001", "d" * 32, "TLP:RED", "$.objects[0]", "AS64496",
    "9" * 400, "x" * 300, "hxxp://a[.]example",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**53, 2**63, 10**19, [], {}, [[]], [None], [{}],
    {"": ""}, [""],
    {"x": [1]},
]  # fmt: skip
