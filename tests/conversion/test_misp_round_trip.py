"""From MISP through the official exporter and back: nothing that the export says is lost."""

import contextlib
import io
import json
from typing import Any

import pytest
from helpers.misp_events import WITHOUT_SAMPLES, Maker, differences

from stixbridge import convert
from stixbridge.misp.knowledge import load

converter = pytest.importorskip("misp_stix_converter")

NOW = "2024-06-01T00:00:00Z"
KNOWLEDGE = load()
TYPES = sorted(set(KNOWLEDGE.categories) - WITHOUT_SAMPLES - {"filename|impfuzzy", "mac-eui-64"})
TEMPLATES = sorted(KNOWLEDGE.templates())
# Templates that the exporter writes in types of STIX; all others are lists of attributes.
MAPPED = [
    "android-app", "annotation", "asn", "attack-pattern", "course-of-action", "cpe-asset",
    "credential", "directory", "domain-ip", "email", "employee", "facebook-account", "file",
    "geolocation", "github-user", "gitlab-user", "hashlookup", "http-request", "identity", "image",
    "intrusion-set", "ip-port", "legal-entity", "malware", "malware-analysis", "mutex", "netflow",
    "network-connection", "network-socket", "news-agency", "organization", "owasp-crs-rule",
    "parler-account", "person", "process", "reddit-account", "registry-key", "script", "sigma",
    "stix2-pattern", "suricata", "telegram-account", "twitter-account", "url", "user-account",
    "vulnerability", "x509", "yara",
]  # fmt: skip

# What the exporter itself changes: it writes other names of hashes, and a rule as an indicator
# whether it detects or not.
CHANGED_BY_THE_EXPORT = {
    "lnk.sha512/224", "lnk.sha512/256", "lnk has a second fullpath", "lnk has a second sha224",
    "lnk has a second sha256",
}  # fmt: skip
RULES = ("nova-rule", "owasp-crs-rule", "sigma", "snort", "stix2-pattern", "suricata", "yara")


def lost(event: dict[str, Any], version: str) -> set[str]:
    """What an event loses on its way through the exporter and back."""
    parser = converter.MISPtoSTIX21Parser() if version == "2.1" else converter.MISPtoSTIX20Parser()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        parser.parse_misp_event({"Event": json.loads(json.dumps(event))})
        text = parser.bundle.serialize()
    result = convert(text.encode(), now=NOW)
    back = {row["uuid"]: row for row in result.events}
    found = set(differences(event, back.get(event["uuid"]), text))
    rules = {line for line in found if line.endswith("detects") and line.startswith(RULES)}
    return found - rules - CHANGED_BY_THE_EXPORT


@pytest.mark.parametrize("to_ids", [True, False])
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_every_attribute_type_comes_back(version: str, to_ids: bool) -> None:
    maker = Maker(KNOWLEDGE)
    event = maker.event("attributes")
    event["Attribute"] = [maker.attribute(type_, to_ids=to_ids) for type_ in TYPES]
    assert lost(event, version) == set()


@pytest.mark.parametrize("to_ids", [True, False])
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_objects_in_types_of_stix_come_back(version: str, to_ids: bool) -> None:
    maker = Maker(KNOWLEDGE)
    event = maker.event("objects")
    event["Object"] = [maker.object(name, to_ids=to_ids) for name in MAPPED]
    assert lost(event, version) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_comes_back(name: str) -> None:
    for version in ("2.0", "2.1"):
        for to_ids in (True, False):
            maker = Maker(KNOWLEDGE)
            event = maker.event(name)
            event["Object"] = [maker.object(name, to_ids=to_ids)]
            assert lost(event, version) == set(), version
