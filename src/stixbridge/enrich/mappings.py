"""Ready-made mappings from STIX vocabularies to tags that MISP users filter by. Each is opt-in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge import tlp
from stixbridge.enrich.marking_guard import distribute_event, may_stand, put_tag, share_event
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import Converted, level_of
from stixbridge.settings.mistakes import near

StixObject = Mapping[str, Any]

# STIX 2.1, appendix A: confidence to the Admiralty credibility, by the lower end of each range
_ADMIRALTY = ((80, "1"), (60, "2"), (40, "3"), (20, "4"), (0, "5"))

_RELIABILITY = "abcdefg"

# `indicator_types` of STIX 2.1 (section 10.14) and common labels of feeds -> tags of taxonomies.
INDICATOR_TYPES: Mapping[str, str] = {
    "compromised": 'rsit:intrusions="system-compromise"',
    "phishing": 'rsit:fraud="phishing"',
    "c2": 'rsit:malicious-code="c2-server"',
    "command-and-control": 'rsit:malicious-code="c2-server"',
    "malware": 'rsit:malicious-code="malware-distribution"',
    "malware-distribution": 'rsit:malicious-code="malware-distribution"',
    "botnet": 'rsit:malicious-code="infected-system"',
    "scanner": 'rsit:information-gathering="scanner"',
    "scanning": 'rsit:information-gathering="scanner"',
    "brute-force": 'rsit:intrusion-attempts="brute-force"',
    "exploit": 'rsit:intrusion-attempts="ids-alert"',
    "spam": 'rsit:abusive-content="spam"',
    "ddos": 'rsit:availability="ddos"',
}

# Industry sectors of STIX 2.1 (section 10.6) -> the names in the NIS directive.
SECTORS: Mapping[str, str] = {
    "energy": 'nis:impact-sectors-impacted="energy"',
    "utilities": 'nis:impact-sectors-impacted="energy"',
    "transportation": 'nis:impact-sectors-impacted="transport"',
    "aerospace": 'nis:impact-sectors-impacted="transport"',
    "financial-services": 'nis:impact-sectors-impacted="banking"',
    "insurance": 'nis:impact-sectors-impacted="financial"',
    "healthcare": 'nis:impact-sectors-impacted="health"',
    "pharmaceuticals": 'nis:impact-sectors-impacted="health"',
    "water": 'nis:impact-sectors-impacted="drinking-water"',
    "telecommunications": 'nis:impact-sectors-impacted="digital-infrastructure"',
    "technology": 'nis:impact-sectors-impacted="digital-services"',
    "communications": 'nis:impact-sectors-impacted="communications"',
    "government": 'nis:impact-sectors-impacted="government"',
}

# ATT&CK tactics -> the phase of the Lockheed Martin kill chain that they belong to.
KILL_CHAIN: Mapping[str, str] = {
    "reconnaissance": "kill-chain:Reconnaissance",
    "resource-development": "kill-chain:Weaponization",
    "initial-access": "kill-chain:Delivery",
    "execution": "kill-chain:Exploitation",
    "privilege-escalation": "kill-chain:Exploitation",
    "persistence": "kill-chain:Installation",
    "defense-evasion": "kill-chain:Installation",
    "command-and-control": "kill-chain:Command and Control",
    "credential-access": "kill-chain:Actions on Objectives",
    "discovery": "kill-chain:Actions on Objectives",
    "lateral-movement": "kill-chain:Actions on Objectives",
    "collection": "kill-chain:Actions on Objectives",
    "exfiltration": "kill-chain:Actions on Objectives",
    "impact": "kill-chain:Actions on Objectives",
}

_TECHNIQUE = re.compile(r"\bT[01]\d{3}(?:\.\d{3})?\b")

PRIORITIES = (
    "baseline-negligible",
    "baseline-minor",
    "low",
    "medium",
    "high",
    "severe",
    "emergency",
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """The input of a mapping."""

    row: Converted
    objects: Mapping[str, StixObject]
    ledger: Ledger
    knowledge: Knowledge
    setting: Any

    def markings_allow(self, obj: StixObject) -> bool:
        """Return whether an object may add text to the event: its marking is not stricter."""
        return may_stand(self.row.event, obj, self.objects)

    def behind(self, uuid: str) -> Iterable[StixObject]:
        """Return the STIX objects that an element was made from."""
        return [self.objects[id_] for id_ in self.row.elements.get(uuid, ()) if id_ in self.objects]

    def tag_elements(self, tags_of: Callable[[StixObject], Iterable[str | None]]) -> None:
        """Tag each attribute from its STIX objects; in a MISP object, tag all of its attributes."""
        event = self.row.event
        for element in (*event["Attribute"], *event["Object"]):
            tags = {tag for obj in self.behind(element["uuid"]) for tag in tags_of(obj) if tag}
            for attribute in element.get("Attribute") or [element]:
                for tag in sorted(tags):
                    put_tag(attribute, tag)


def _credibility(at: Mapped) -> None:
    """`admiralty = true`: confidence as `admiralty-scale:information-credibility`.

    The scale is that of STIX 2.1, appendix A.
    """
    at.tag_elements(lambda obj: [_credible(obj.get("confidence"))])


def _credible(confidence: object) -> str | None:
    if (
        not isinstance(confidence, int)
        or isinstance(confidence, bool)
        or not 0 <= confidence <= 100
    ):
        return None
    level = next(level for floor, level in _ADMIRALTY if confidence >= floor)
    return f'admiralty-scale:information-credibility="{level}"'


def _reliability(at: Mapped) -> None:
    """`reliability = "b"`: the reliability of the source.

    It becomes a tag `admiralty-scale:source-reliability` on each event.
    """
    put_tag(at.row.event, f'admiralty-scale:source-reliability="{at.setting}"')


def _priority(at: Mapped) -> None:
    """`priority = "high"`: the priority of the source, as `priority-level` on each event."""
    put_tag(at.row.event, f"priority-level:{at.setting}")


def _tlp_distribution(at: Mapped) -> None:
    """`tlp_distribution = { green = 3, amber = "sharing group" }`: distribution by TLP level.

    It is never wider than the level allows.
    """
    level = level_of(at.row.event)
    if level is None or level not in at.setting:
        return
    wanted = at.setting[level]
    if isinstance(wanted, str):
        _tell(at, "tlp_distribution", share_event(at.row.event, wanted, closed=at.row.closed))
    else:
        _tell(at, "tlp_distribution", distribute_event(at.row.event, wanted, closed=at.row.closed))


def _indicator_types(at: Mapped) -> None:
    """`indicator_types = true`: types and labels as tags of the taxonomy `rsit`.

    A table adds or overrides entries.
    """
    table = INDICATOR_TYPES if at.setting is True else {**INDICATOR_TYPES, **at.setting}
    at.tag_elements(
        lambda obj: [table.get(word.lower()) for word in _words(obj, "indicator_types", "labels")]
    )


def _sectors(at: Mapped) -> None:
    """`sectors = true`: sectors of identities in the event as tags of the taxonomy `nis`.

    A table adds or overrides entries.
    """
    table = SECTORS if at.setting is True else {**SECTORS, **at.setting}
    for id_ in at.row.stix_ids:
        obj = at.objects.get(id_, {})
        for word in _words(obj, "sectors") if at.markings_allow(obj) else ():
            tag = table.get(word.lower())
            if tag is not None:
                put_tag(at.row.event, tag)


def _kill_chain(at: Mapped) -> None:
    """`kill_chain = true`: tactics of ATT&CK as phases of the Lockheed Martin kill chain."""
    at.tag_elements(
        lambda obj: [
            KILL_CHAIN.get(str(phase.get("phase_name")).lower())
            for phase in obj.get("kill_chain_phases") or ()
            if isinstance(phase, Mapping) and str(phase.get("kill_chain_name")).startswith("mitre")
        ]
    )


def _licence(at: Mapped) -> None:
    """`licence = true`: events with content under an IEP licence stay at distribution 0.

    Such content has a marking with `iep2-policy`.
    """
    if any(_licensed(at.objects, id_) for id_ in at.row.stix_ids):
        at.row.event["distribution"] = "0"
        at.row.event.pop("sharing_group", None)


def _licensed(objects: Mapping[str, StixObject], id_: str) -> bool:
    obj = objects.get(id_) or {}
    definitions = [objects.get(ref) or {} for ref in obj.get("object_marking_refs") or ()]
    return any(_names_iep(item) for item in (obj, *definitions))


def _names_iep(obj: StixObject) -> bool:
    if "iep2-policy" in obj or "x_iep" in obj:
        return True
    names = [obj.get("definition_type", ""), obj.get("name", ""), *(obj.get("labels") or ())]
    return any(str(name).lower().startswith("iep") for name in names)


def _words(obj: StixObject, *names: str) -> Iterable[str]:
    return [word for name in names for word in obj.get(name) or () if isinstance(word, str)]


def _attack_ids(at: Mapped) -> None:
    """`attack_ids = true`: ids of ATT&CK techniques become clusters.

    The ids (`T1566.001`) are found in texts and references.
    """
    for id_ in at.row.stix_ids:
        obj = at.objects.get(id_, {})
        if at.markings_allow(obj):
            for technique in sorted(_techniques(obj)):
                tag = at.knowledge.cluster_tag("attack-pattern", "", [technique], [])
                if tag is not None:
                    put_tag(at.row.event, tag)


def _techniques(obj: StixObject) -> set[str]:
    texts = [obj.get("name"), obj.get("description"), obj.get("abstract"), obj.get("content")]
    for reference in obj.get("external_references") or ():
        if isinstance(reference, Mapping):
            texts += [reference.get("external_id"), reference.get("description")]
    return {found for text in texts if isinstance(text, str) for found in _TECHNIQUE.findall(text)}


def _tell(at: Mapped, setting: str, refused: str | None) -> None:
    if refused is not None:
        at.ledger.note(
            str(at.row.event["uuid"]),
            f"enrich.mappings.{setting}",
            Outcome.DROPPED,
            Reason.MARKING,
            refused,
        )


MAPPINGS: Mapping[str, Callable[[Mapped], None]] = {
    "admiralty": _credibility,
    "reliability": _reliability,
    "priority": _priority,
    "indicator_types": _indicator_types,
    "sectors": _sectors,
    "kill_chain": _kill_chain,
    "attack_ids": _attack_ids,
    "tlp_distribution": _tlp_distribution,
    "licence": _licence,
}
"""Name of the setting -> mapping, in the order of application."""


def mapping_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return every mistake in `enrich.mappings`."""
    problems: list[str] = []
    for name, value in settings.items():
        if name in MAPPINGS:
            problems.extend(_SETTING_PROBLEMS.get(name, _switch_problems)(name, value))
        else:
            problems.append(
                f"mappings: unknown mapping {name!r}{near(name, MAPPINGS)};"
                f" there are {', '.join(MAPPINGS)}"
            )
    return problems


def _switch_problems(name: str, value: Any) -> Iterable[str]:
    if value is not True:
        yield f"mappings.{name}: write true, or leave it out"


def _table_problems(name: str, value: Any) -> Iterable[str]:
    table = isinstance(value, dict) and all(isinstance(tag, str) for tag in value.values())
    if value is not True and not table:
        yield f"mappings.{name}: write true, or a table of tags"


def _choice_problems(name: str, value: Any) -> Iterable[str]:
    choices = tuple(_RELIABILITY) if name == "reliability" else tuple(PRIORITIES)
    if value not in choices:
        yield f"mappings.{name}: {value!r} is not one of {', '.join(choices)}"


def _distribution_problems(name: str, value: Any) -> Iterable[str]:
    place = f"mappings.{name}"
    if not isinstance(value, dict):
        yield f"{place}: write a table, as {{ green = 3, amber = 1 }}"
        return
    for level, wanted in value.items():
        if level not in tlp.LEVELS:
            yield f"{place}: {level!r} is not a level; levels are {', '.join(tlp.LEVELS)}"
        if not isinstance(wanted, str) and (isinstance(wanted, bool) or wanted not in (0, 1, 2, 3)):
            yield f"{place}.{level}: {wanted!r} is neither 0 to 3 nor a sharing group"


_SETTING_PROBLEMS: Mapping[str, Callable[[str, Any], Iterable[str]]] = {
    "reliability": _choice_problems,
    "priority": _choice_problems,
    "tlp_distribution": _distribution_problems,
    "indicator_types": _table_problems,
    "sectors": _table_problems,
}
"""What is wrong with the value of a mapping; a mapping that is not here is a switch."""


def apply_mappings(
    settings: Mapping[str, Any],
    row: Converted,
    objects: Mapping[str, StixObject],
    ledger: Ledger,
    knowledge: Knowledge,
) -> None:
    """Apply the configured mappings to one event."""
    for name, mapping in MAPPINGS.items():
        if name in settings:
            mapping(Mapped(row, objects, ledger, knowledge, settings[name]))


def tags_of_mappings() -> Iterable[str]:
    """Return every tag that a mapping can add, for a check against the taxonomies."""
    yield from INDICATOR_TYPES.values()
    yield from SECTORS.values()
    yield from KILL_CHAIN.values()
    yield from (f'admiralty-scale:information-credibility="{level}"' for _, level in _ADMIRALTY)
    yield from (f'admiralty-scale:source-reliability="{level}"' for level in _RELIABILITY)
    yield from (f"priority-level:{name}" for name in PRIORITIES)
