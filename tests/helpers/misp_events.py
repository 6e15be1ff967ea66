"""Events of MISP that hold every attribute type and every relation of an object template."""

import base64
from collections.abc import Iterator
from typing import Any

from stixbridge.misp.knowledge import Knowledge

Event = dict[str, Any]

_HASHES = {
    "md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128,
    "sha512/224": 56, "sha512/256": 64, "sha3-224": 56, "sha3-256": 64, "sha3-384": 96,
    "sha3-512": 128, "imphash": 32, "pehash": 40, "authentihash": 64, "vhash": 32, "cdhash": 40,
    "telfhash": 70, "ja3-fingerprint-md5": 32, "hassh-md5": 32, "hasshserver-md5": 32,
    "x509-fingerprint-md5": 32, "x509-fingerprint-sha1": 40, "x509-fingerprint-sha256": 64,
    "jarm-fingerprint": 62, "git-commit-id": 40,
}  # fmt: skip
_FUZZY = "96:s4Ud1Lj96tHHlZDrwciQmA+4uy1I0G4HYuL8N3TzS8QsO:sF1LjEtHHlZDrJzrhuyZvHYm8tKp"
_VALUES = {
    "ip-src": "198.51.100.{0}", "ip-dst": "203.0.113.{0}", "domain": "d{1}.example.org",
    "hostname": "h{1}.example.net", "url": "https://u{1}.example.com/p", "uri": "/uri/{1}",
    "link": "https://l{1}.example.com/", "mac-address": "00:00:5e:00:53:{2:02x}",
    "datetime": "2024-01-{3:02d}T10:00:00Z", "AS": "{4}", "port": "{4}", "counter": "{1}",
    "size-in-bytes": "{4}", "integer": "{1}", "float": "{0}.5", "boolean": "1",
    "vulnerability": "CVE-2024-{4}", "weakness": "CWE-{1}",
    "cpe": "cpe:2.3:a:acme:w{1}:1:*:*:*:*:*:*:*", "hex": "{4:04x}", "ssdeep": _FUZZY + "{1}",
    "impfuzzy": "24:EuDoyc0tdlKfSZ3:Euc0tdlx{1}", "regkey": "HKLM\\Software\\K{1}",
    "filename": "f{1}.exe", "attachment": "a{1}.bin", "http-method": "POST",
    "yara": "rule r{1} {{ condition: true }}", "snort": "alert tcp any any -> any any (sid:{1};)",
    "sigma": "title: s{1}", "stix2-pattern": "[domain-name:value = 'p{1}.example.org']",
    "uuid": "{4:08d}-0000-4000-8000-000000000001", "cc-number": "4111111111111111",
    "btc": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "iban": "DE89370400440532013000",
    "bic": "DEUTDEFF", "gender": "Female", "onion-address": "expyuzz4wqqyqhjn.onion",
    "favicon-mmh3": "{1}", "tlsh": "T1{5}",
}  # fmt: skip
_MAILS = frozenset(
    {"email", "email-src", "email-dst", "email-reply-to", "target-email", "jabber-id", "eppn",
     "dns-soa-email", "whois-registrant-email"}
)  # fmt: skip
_NUMBERS = frozenset({"phone-number", "whois-registrant-phone", "prtn"})
_OF_RELATIONS = {
    "state": "listening", "layer3-protocol": "ip", "layer4-protocol": "tcp",
    "layer7-protocol": "http",
}  # fmt: skip
# What PyMISP takes for the content of a sample is a ZIP archive; of other content it drops the MD5.
WITHOUT_SAMPLES = frozenset({"malware-sample"})


class Maker:
    """Makes events in which each value and UUID stands once."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._number = 0

    def event(self, info: str) -> Event:
        """An event without attributes and objects."""
        return {
            "uuid": self._uuid(), "info": info, "date": "2024-01-01", "timestamp": "1700000000",
            "published": True, "publish_timestamp": "1700000000", "analysis": "0",
            "threat_level_id": "1", "distribution": "3", "Attribute": [], "Object": [],
            "Orgc": {"name": "Harbour CERT", "uuid": self._uuid()},
        }  # fmt: skip

    def attribute(self, type_: str, *, to_ids: bool, relation: str = "") -> dict[str, Any]:
        """An attribute of a type, of an object where it has a relation."""
        made = {
            "uuid": self._uuid(), "type": type_, "category": self._knowledge.categories[type_],
            "value": self._value(type_, relation), "to_ids": to_ids, "timestamp": "1700000000",
            "comment": "" if relation else f"comment on {type_}.", "distribution": "5",
        }  # fmt: skip
        if relation:
            made["object_relation"] = relation
        if type_ == "attachment":
            made["data"] = base64.b64encode(b"content of " + made["value"].encode()).decode()
        return made

    def object(self, name: str, *, to_ids: bool) -> dict[str, Any]:
        """An object with every relation of its template."""
        template = self._knowledge.template(name)
        return {
            "uuid": self._uuid(), "name": name, "meta-category": template.category,
            "template_uuid": template.uuid, "template_version": template.version,
            "timestamp": "1700000000", "comment": f"comment on {name}.", "distribution": "5",
            "Attribute": [
                self.attribute(
                    row[0], to_ids=to_ids and row[0] in self._knowledge.to_ids, relation=relation
                )
                for relation, row in sorted(template.relations.items())
                if row[0] not in WITHOUT_SAMPLES
            ],
        }  # fmt: skip

    def _uuid(self) -> str:
        self._number += 1
        return f"{self._number:08x}-0000-4000-8000-{self._number:012x}"

    def _value(self, type_: str, relation: str = "") -> str:
        self._number += 1
        number = self._number
        if "|" in type_:
            return "|".join(self._value(part) for part in type_.split("|"))
        if relation in _OF_RELATIONS:
            return _OF_RELATIONS[relation]
        if type_ in _HASHES:
            return (f"{number:04x}" * 40)[: _HASHES[type_]]
        if type_ in _MAILS:
            return f"m{number}@example.org"
        if type_ in _NUMBERS:
            return f"+4930{100_000 + number}"
        form = _VALUES.get(type_, "{6} value {1}")
        digits = f"{number:04x}" * 18
        return form.format(
            number % 80, number, number % 250, number % 28 + 1, 1000 + number, digits[:70],
            relation or type_,
        )  # fmt: skip


def differences(wanted: Event, got: Event | None, text: str) -> Iterator[str]:
    """What an event lost of another one, as far as an export of that says it.

    Args:
        wanted: the event as it was.
        got: the event as it came back.
        text: the export, in which comments and values that it has are found.
    """
    text = text.lower()
    if got is None:
        yield "the event"
        return
    attributes = {row["uuid"]: row for row in got["Attribute"]}
    for row in wanted["Attribute"]:
        if _first(row) in text:
            yield from _of_attribute(row, attributes.get(row["uuid"]), text)
    objects = {row["uuid"]: row for row in got["Object"]}
    for row in wanted["Object"]:
        yield from _of_object(row, objects.get(row["uuid"]), text)


def _first(row: dict[str, Any]) -> str:
    """The first half of a value, as JSON has it."""
    return str(row["value"]).split("|")[0].replace("\\", "\\\\").lower()


def _of_attribute(row: dict[str, Any], back: dict[str, Any] | None, text: str) -> Iterator[str]:
    name = row["type"]
    if back is None:
        yield name
        return
    for key in ("type", "value", "category", "data"):
        if key in row and _plain(row[key]) != _plain(back.get(key)):
            yield f"{name} {key}"
    if row["comment"].lower() in text and back["comment"] != row["comment"]:
        yield f"{name} comment"
    if back["to_ids"] and not row["to_ids"]:
        yield f"{name} detects"


def _of_object(row: dict[str, Any], back: dict[str, Any] | None, text: str) -> Iterator[str]:
    name = row["name"]
    if back is None:
        yield name
        return
    if row["comment"].lower() in text and back["comment"] != row["comment"]:
        yield f"{name} comment"
    rest = [(one["object_relation"], _plain(one["value"]), one) for one in back["Attribute"]]
    for one in row["Attribute"]:
        key = (one["object_relation"], _plain(one["value"]))
        found = next((other for other in rest if other[:2] == key), None)
        if found is None:
            if _first(one) in text:
                yield f"{name}.{one['object_relation']}"
            continue
        rest.remove(found)
        if found[2]["to_ids"] and not one["to_ids"]:
            yield f"{name}.{one['object_relation']} detects"
        if one.get("data", "")[:40].lower() in text and one.get("data") != found[2].get("data"):
            yield f"{name}.{one['object_relation']} data"
    yield from (f"{name} has a second {relation}" for relation, _, _ in rest)


def _plain(value: object) -> str:
    """A value in one spelling: exports spell times in two ways."""
    text = str(value).lower().replace("+00:00", "z").replace(".000z", "z").replace(".000000", "")
    return text.replace(" ", "t") if text.endswith("z") and text[:2] == "20" else text
