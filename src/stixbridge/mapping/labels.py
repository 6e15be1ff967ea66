"""What producers say in labels: marking levels, ATT&CK numbers, a confidence.

Everything else is a word of theirs.

A label is hostile text: it never becomes a marking that loosens, and never a tag of a name space
that steers MISP.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from stixbridge import tlp

RESERVED = frozenset(
    {
        "tlp",
        "pap",
        "misp",
        "misp-workflow",
        "misp-galaxy",
        "workflow",
        "stixbridge",
        "retention",
        "acs-marking",
        "ais-marking",
        "iep",
        "iep2-policy",
        "iep2-reference",
        "dcso-sharing",
        "false-positive",
    }
)
"""Name spaces of tags that mark or steer MISP.

No label of a producer becomes one, and no source may have the name.
"""

TAXONOMIES = frozenset(
    {
        "admiralty-scale",
        "binary-class",
        "circl",
        "common-taxonomy",
        "cssa",
        "cyber-threat-framework",
        "dark-web",
        "ddos",
        "dga",
        "diamond-model",
        "ecsirt",
        "enisa",
        "estimative-language",
        "europol-event",
        "europol-incident",
        "honeypot-basic",
        "incident-disposition",
        "information-security-indicators",
        "kill-chain",
        "maec-malware-behavior",
        "maec-malware-capabilities",
        "malware_classification",
        "ms-caro-malware",
        "ms-caro-malware-full",
        "nis",
        "osint",
        "phishing",
        "ransomware",
        "rsit",
        "runtime-packer",
        "social-engineering-attack-vectors",
        "stealth_malware",
        "targeted-threat-index",
        "tor",
        "type",
        "unified-kill-chain",
        "veris",
        "vulnerability",
    }
)
"""Taxonomies whose tags a label may be, in their own spelling.

They describe, and neither mark nor steer.
"""

MAX_LABELS = 20
"""The most label tags of one object; further labels are in the ledger."""

_MAX_LENGTH = 64
_TECHNIQUE = re.compile(
    r"(?:(?:mitre|att&?ck|technique|ttp)[a-z&-]*[:/_ -] ?)?(t\d{4}(?:\.\d{3})?)"
)
_KINDS = {
    "malware": "malware",
    "malware-family": "malware",
    "family": "malware",
    "threat-actor": "threat-actor",
    "actor": "threat-actor",
    "intrusion-set": "intrusion-set",
    "group": "intrusion-set",
    "tool": "tool",
    "country": "location",
    "region": "location",
    "sector": "identity",
    "industry": "identity",
}
"""Words before a colon that say what a label names -> the STIX type of that."""
# A value, id, hash, date or URL in a tag is found by nobody, and makes MISP's tag list endless.
_NOISE = re.compile(
    r"https?:|hxxps?:|\b[0-9a-f]{32,}\b|\b\d{4}-\d{2}-\d{2}|\b\d{1,3}(?:\.\d{1,3}){3}\b"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b\d{5,}\b"
)
_PERCENT = re.compile(r"(?:[a-z]{1,20}-)?confidence[-_:/= ](\d{1,3})")
_WORDS = {"high": 75, "medium": 50, "low": 25, "unverified": 0, "none": 0}
_WORD = re.compile(r"[a-z]{0,20}[-_ ]?confidence[-_:/= ]([a-z]{3,10})")


@lru_cache(maxsize=65536)
def plain(label: str) -> str:
    """A label as it is judged.

    Compatibility forms folded (NFKC), invisible characters gone, in lower case.
    """
    text = unicodedata.normalize("NFKC", label)
    visible = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Cc"))
    return " ".join(visible.split()).casefold()


def space_of(label: str) -> str:
    """The name space of a label that looks like a tag, or an empty text."""
    head, colon, _ = plain(label).partition(":")
    return head.strip() if colon else ""


def level_of(label: str) -> str | None:
    """The TLP level that a label says."""
    text = plain(label)
    return tlp.level_of_name(text) if text.startswith("tlp") else None


def pap_of(label: str) -> str | None:
    """The PAP tag that a label says."""
    text = plain(label).replace(" ", "")
    level = text.removeprefix("pap:").upper().replace("WHITE", "CLEAR")
    known = level in ("CLEAR", "GREEN", "AMBER", "RED")
    return f"PAP:{level}" if text.startswith("pap:") and known else None


def technique_of(label: str) -> str | None:
    """The ATT&CK number that a label says (`T1055`, `mitre:T1055.001`)."""
    match = _TECHNIQUE.fullmatch(plain(label))
    return match[1].upper() if match else None


def named_in(label: str) -> tuple[str, str] | None:
    """(STIX type, name) of a label with its kind (`malware:emotet`, `country:ireland`)."""
    kind, colon, name = plain(label).partition(":")
    stix_type = _KINDS.get(kind.strip().replace("_", "-").replace(" ", "-")) if colon else None
    return (stix_type, name.strip()) if stix_type is not None and name.strip() else None


def confidence_of(label: str) -> int | None:
    """The confidence, 0 to 100, in a label such as `MaliciousConfidence/High`."""
    text = plain(label)
    match = _PERCENT.fullmatch(text)
    if match is not None:
        number = int(match[1])
        return number if number <= 100 else None
    match = _WORD.fullmatch(text)
    return _WORDS.get(match[1]) if match is not None else None


def fits_a_tag(label: str) -> bool:
    """Whether a label may be a tag at all.

    Short, and without a value, an id, a hash, a date or a URL in it.
    """
    text = plain(label)
    return bool(text) and len(text) <= _MAX_LENGTH and _NOISE.search(text) is None
