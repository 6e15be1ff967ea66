"""Known clusters by every name that field data has.

Numbers in any place and case, domains, vocabularies.
"""

import itertools
from typing import Any

import pytest
from stix2.v21 import vocab

from stixbridge.conversion.to_misp.known_clusters import known_cluster
from stixbridge.mapping import table_of
from stixbridge.mapping.vocabularies import REGIONS, SECTORS, word_of
from stixbridge.misp.clusters import Match
from stixbridge.misp.knowledge import load

PHISHING = 'misp-galaxy:mitre-attack-pattern="Phishing - T1566"'
LINK = 'misp-galaxy:mitre-attack-pattern="Spearphishing Link - T1566.002"'


def find(stix_type: str, **properties: Any) -> Match | None:
    obj = {"type": stix_type, "id": f"{stix_type}--00000000-0000-4000-8000-000000000001"}
    obj.update(properties)
    return known_cluster(obj, table_of(obj), load().clusters)


def tag(stix_type: str, **properties: Any) -> str | None:
    found = find(stix_type, **properties)
    return found.tag if found is not None else None


PLACES = [
    {"name": "{}"},
    {"name": "{} - Sending of lures"},
    {"name": "Sending of lures [{}]"},
    {"name": "Sending of lures ({})"},
    {"name": "TA0001:{}"},
    {"name": "attack.{}"},
    {"name": "Sending of lures", "aliases": ["lures", "{}"]},
    {"name": "Sending of lures", "x_mitre_id": "{}"},
    {"name": "Sending of lures", "technique_id": "{}"},
    {"name": "x", "external_references": [{"source_name": "mitre-attack", "external_id": "{}"}]},
    {"name": "x", "external_references": [{"source_name": "Some vendor", "external_id": "{}"}]},
    {
        "name": "x",
        "external_references": [
            {"source_name": "mitre-attack", "url": "https://attack.example/techniques/{}/"}
        ],
    },
]


def filled(value: Any, number: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(inner, number) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, number) for inner in value]
    return value.replace("{}", number)


@pytest.mark.parametrize(
    ("number", "expected"),
    [("T1566", PHISHING), ("t1566", PHISHING), ("T1566.002", LINK), ("t1566/002", LINK)],
)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_technique_is_known_by_its_number_wherever_it_stands(
    place: dict[str, Any], number: str, expected: str
) -> None:
    assert tag("attack-pattern", **filled(place, number)) == expected


@pytest.mark.parametrize(
    ("stix_type", "number", "expected"),
    [
        ("intrusion-set", "G0007", 'misp-galaxy:mitre-intrusion-set="APT28 - G0007"'),
        ("threat-actor", "g0007", 'misp-galaxy:mitre-intrusion-set="APT28 - G0007"'),
        ("malware", "S0367", 'misp-galaxy:mitre-malware="Emotet - S0367"'),
        ("malware", "S0029", 'misp-galaxy:mitre-tool="PsExec - S0029"'),
        ("tool", "S0029", 'misp-galaxy:mitre-tool="PsExec - S0029"'),
        ("malware", "win.qakbot", 'misp-galaxy:malpedia="QakBot"'),
        ("course-of-action", "M1036", None),
        ("campaign", "C0028", 'misp-galaxy:campaigns="2015 Ukraine Electric Power Attack"'),
        ("attack-pattern", "T0836", 'misp-galaxy:mitre-ics-techniques="Modify Parameter"'),
        ("attack-pattern", "T836", 'misp-galaxy:mitre-ics-techniques="Modify Parameter"'),
        ("attack-pattern", "T1660", 'misp-galaxy:mitre-attack-pattern="Phishing - T1660"'),
    ],
)
def test_every_catalogue_has_its_numbers(stix_type: str, number: str, expected: str | None) -> None:
    refs = [{"source_name": "mitre-attack", "external_id": number}]
    found = tag(stix_type, name="x", external_references=refs)
    if expected is None:
        assert found is not None and found.endswith(f'- {number}"')
    else:
        assert found == expected


@pytest.mark.parametrize(
    "name", ["T1566 and T1059", "AT1566", "T15660", "AML.T1566", "T156", "win.no_such_family"]
)
def test_what_only_looks_like_a_number_finds_nothing(name: str) -> None:
    assert tag("attack-pattern", name=name) is None
    assert tag("malware", name=name) is None


def names_of_several_domains() -> list[tuple[str, list[str]]]:
    clusters = load().clusters
    rows: dict[str, list[str]] = {}
    for found in clusters._tags:
        for galaxy in ("mitre-attack-pattern", "mitre-ics-techniques"):
            head, _, value = found.partition('="')
            if head == f"misp-galaxy:{galaxy}":
                name = value[:-1].rpartition(" - ")[0] or value[:-1]
                rows.setdefault(name.lower(), []).append(found)
    return [(name, tags) for name, tags in rows.items() if len(tags) > 1]


def test_a_name_of_several_domains_is_the_enterprise_technique() -> None:
    several = names_of_several_domains()
    assert len(several) > 100
    order = load().clusters._tags
    for name, tags in several:
        assert tag("attack-pattern", name=name) == min(tags, key=order.index)
    assert tag("attack-pattern", name="Phishing") == PHISHING


@pytest.mark.parametrize(
    "said",
    [
        {"x_mitre_domains": ["mobile-attack"]},
        {"kill_chain_phases": [{"kill_chain_name": "mitre-mobile-attack", "phase_name": "x"}]},
        {"external_references": [{"source_name": "mitre-mobile-attack"}]},
    ],
    ids=str,
)
def test_an_object_can_say_its_domain(said: dict[str, Any]) -> None:
    mobile = 'misp-galaxy:mitre-attack-pattern="Phishing - T1660"'
    assert tag("attack-pattern", name="Phishing", **said) == mobile
    both = {**said, "x_mitre_domains": ["mobile-attack", "enterprise-attack"]}
    assert tag("attack-pattern", name="Phishing", **both) == PHISHING
    ics = tag("attack-pattern", name="Screen Capture", x_mitre_domains=["ics-attack"])
    assert ics == 'misp-galaxy:mitre-ics-techniques="Screen Capture"'


def test_a_number_that_the_catalogue_gives_twice_is_decided_by_the_name() -> None:
    refs = [{"source_name": "mitre-ics-attack", "external_id": "T0854"}]
    for name in ("Scripting", "Serial Connection Enumeration"):
        found = tag("attack-pattern", name=name, external_references=refs)
        assert found == f'misp-galaxy:mitre-ics-techniques="{name}"'


def test_a_revoked_technique_is_its_successor() -> None:
    old = {"name": "Spearphishing Attachment", "x_mitre_id": "T1193"}
    assert tag("attack-pattern", **old) == (
        'misp-galaxy:mitre-attack-pattern="Spearphishing Attachment - T1193"'
    )
    assert tag("attack-pattern", **old, revoked=True) == (
        'misp-galaxy:mitre-attack-pattern="Spearphishing Attachment - T1566.001"'
    )


@pytest.mark.parametrize("word", vocab.INDUSTRY_SECTOR)
def test_every_sector_of_the_vocabulary_has_its_cluster(word: str) -> None:
    value = SECTORS[word]
    expected = f'misp-galaxy:sector="{value}"' if value is not None else None
    spoken = word.replace("-", " ").title()
    assert tag("identity", identity_class="class", name=word) == expected
    assert tag("identity", identity_class="class", name=spoken) == expected
    assert tag("identity", identity_class="class", name="Some name", sectors=[word]) == expected
    if expected is not None:
        assert load().clusters.uuid_of(expected) is not None


@pytest.mark.parametrize("word", vocab.REGION)
def test_every_region_of_the_vocabulary_has_its_cluster(word: str) -> None:
    expected = f'misp-galaxy:region="{REGIONS[word]}"'
    assert load().clusters.uuid_of(expected) is not None
    assert tag("location", region=word) == expected
    assert tag("location", region=word, name="Some name") == expected
    assert tag("location", x_opencti_location_type="Region", name=word.title()) == expected


def test_the_tables_have_the_words_of_the_vocabularies_and_no_others() -> None:
    assert set(SECTORS) == set(vocab.INDUSTRY_SECTOR)
    assert set(REGIONS) == set(vocab.REGION)
    assert all(word_of(word) == word for word in itertools.chain(SECTORS, REGIONS))


def test_other_names_of_a_class_find_nothing() -> None:
    named = {"name": "No such class", "aliases": ["Technology"], "x_opencti_aliases": ["Energy"]}
    assert tag("identity", identity_class="class", **named) is None
    assert tag("location", name="No such place", x_opencti_aliases=["Germany"]) is None
    high_tech = tag("identity", identity_class="class", name="High-tech")
    assert high_tech == 'misp-galaxy:sector="High tech"'


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"name": "Deutschland", "country": "DE"}, 'misp-galaxy:country="germany"'),
        ({"name": "Germany", "region": "western-europe", "country": "de"},
         'misp-galaxy:country="germany"'),
        ({"name": "Germany"}, 'misp-galaxy:country="germany"'),
        ({"name": "Europe"}, 'misp-galaxy:region="150 - Europe"'),
        ({"name": "Micronesia", "region": "micronesia"}, 'misp-galaxy:region="057 - Micronesia"'),
        ({"name": "Georgia", "administrative_area": "US-GA"}, None),
        ({"name": "Georgia", "region": "northern-america"},
         'misp-galaxy:region="021 - Northern America"'),
    ],
)  # fmt: skip
def test_an_area_is_looked_up_in_the_galaxy_of_its_kind(
    place: dict[str, Any], expected: str | None
) -> None:
    assert tag("location", **place) == expected


@pytest.mark.parametrize(
    ("stix_type", "name", "named"),
    [
        ("malware", "Emotet", True),
        ("malware", "EMOTET", True),
        ("malware", "win.emotet", True),
        ("malware", "Emotet (S0367)", True),
        ("malware", "Geodo", False),
        ("attack-pattern", "T1566", True),
        ("attack-pattern", "T1566 - Phishing", True),
        ("attack-pattern", "Some lures [T1566]", False),
        ("intrusion-set", "Fancy Bear", False),
    ],
)
def test_a_match_says_whether_the_name_is_the_clusters(
    stix_type: str, name: str, named: bool
) -> None:
    found = find(stix_type, name=name)
    assert found is not None
    assert found.named is named
