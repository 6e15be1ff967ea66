"""Context objects: names that make tags, replacements of revoked ones, known clusters."""

from typing import Any

import pytest
from helpers.stix import Stix

from stixbridge import Result, convert

NOW = "2026-02-01T00:00:00Z"
T = "2026-01-05T08:00:00.000Z"
RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
STRICT = "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"
UNKNOWN = "marking-definition--11111111-2222-4333-8444-555555555555"
TYPES = ("malware", "threat-actor", "intrusion-set", "campaign", "tool", "attack-pattern")


def sdo(stix_type: str, number: int, **more: Any) -> Stix:
    id_ = f"{stix_type}--00000000-0000-4000-8000-{number:012d}"
    return {
        "type": stix_type,
        "spec_version": "2.1",
        "id": id_,
        "created": T,
        "modified": T,
        **more,
    }


def indicator(number: int, **more: Any) -> Stix:
    pattern = f"[ipv4-addr:value = '203.0.113.{number}']"
    return sdo("indicator", number, pattern=pattern, pattern_type="stix", valid_from=T, **more)


def link(number: int, verb: str, source: Stix, target: Stix, **more: Any) -> Stix:
    ends = {"source_ref": source["id"], "target_ref": target["id"]}
    return sdo("relationship", number, relationship_type=verb, **ends, **more)


def report(*objects: Stix, **more: Any) -> Stix:
    refs = [obj["id"] for obj in objects]
    return sdo("report", 1, name="A report", published=T, object_refs=refs, **more)


def run(*objects: Stix, **more: Any) -> Result:
    return convert({"objects": list(objects)}, NOW, source="case", **more)


def tags_of(result: Result) -> set[str]:
    found: set[str] = set()
    for event in result.events:
        inside = [row for obj in event["Object"] for row in obj["Attribute"]]
        for part in (event, *event["Attribute"], *inside):
            found.update(row["name"] for row in part.get("Tag", ()))
    return found


def outcome_of(result: Result, obj: Stix) -> tuple[str, str | None]:
    rows = [row for row in result.ledger.entries if row["id"] == obj["id"] and "path" not in row]
    return (rows[0]["outcome"], rows[0].get("reason")) if rows else ("mapped", None)


@pytest.mark.parametrize("stix_type", TYPES)
@pytest.mark.parametrize(
    ("own", "of_report", "default"),
    [
        ([RED], [], None),
        ([STRICT], [], None),
        ([UNKNOWN], [], None),
        ([], [RED], None),
        ([], [UNKNOWN], None),
        ([], [], "tlp:red"),
        ([], [], "tlp:amber+strict"),
    ],
)
@pytest.mark.parametrize("in_report", [True, False])
def test_the_name_of_a_restricted_object_makes_no_tag(
    stix_type: str, own: list[str], of_report: list[str], default: str | None, in_report: bool
) -> None:
    named = sdo(stix_type, 1, name="Hushhush", aliases=["Quiet"], object_marking_refs=own)
    one = indicator(1)
    objects = [one, named, link(1, "indicates", one, named)]
    if in_report:
        objects.append(report(*objects, object_marking_refs=of_report))
    elif of_report:
        return
    result = run(*objects, default_tlp=default)
    assert not [tag for tag in tags_of(result) if "Hushhush" in tag or "Quiet" in tag]
    (event,) = result.events
    told = [row for row in event["EventReport"] if "Hushhush" in row["content"]]
    assert {row["name"].partition(" (")[0] for row in told} == {"Context", "Relationships"}
    if own:
        assert {row["distribution"] for row in told} == {"0"}
    assert outcome_of(result, named)[0] == "mapped"


def test_the_name_of_an_open_object_makes_one() -> None:
    named, one = sdo("malware", 1, name="Openly", is_family=True), indicator(1)
    assert 'stix:malware="Openly"' in tags_of(run(one, named, link(1, "indicates", one, named)))


@pytest.mark.parametrize("marking", [RED, STRICT, UNKNOWN])
def test_a_known_cluster_tags_only_what_is_as_restricted(marking: str) -> None:
    named = sdo("malware", 1, name="Emotet", is_family=True, object_marking_refs=[marking])
    one = indicator(1)
    result = run(one, named, link(1, "indicates", one, named))
    (event,) = result.events
    (attribute,) = event["Attribute"]
    assert 'misp-galaxy:mitre-malware="Emotet - S0367"' in [row["name"] for row in attribute["Tag"]]
    assert attribute["distribution"] == "0"


def revoked(**more: Any) -> Stix:
    return sdo("attack-pattern", 1, name="Old trick", revoked=True, **more)


def test_what_points_to_a_revoked_technique_points_to_the_last_successor() -> None:
    old = revoked()
    between = sdo("attack-pattern", 2, name="Between", revoked=True)
    new = sdo("attack-pattern", 3, name="Phishing")
    one = indicator(1)
    for first in (True, False):
        links = [link(1, "revoked-by", old, between), link(2, "revoked-by", between, new)]
        rest = [one, old, between, new, link(3, "indicates", one, old)]
        result = run(*(links + rest if first else rest + links))
        assert 'misp-galaxy:mitre-attack-pattern="Phishing - T1566"' in tags_of(result)
        assert outcome_of(result, old) == ("mapped", None)
        assert outcome_of(result, links[0]) == ("dropped", "redundant")
        assert "dangling" not in {row.get("reason") for row in result.ledger.entries}


def test_successors_in_a_circle_lead_nowhere() -> None:
    old, other = revoked(), sdo("attack-pattern", 2, name="Other trick", revoked=True)
    one = indicator(1)
    circle = [link(1, "revoked-by", old, other), link(2, "revoked-by", other, old)]
    arrow = link(3, "indicates", one, old)
    result = run(one, old, other, *circle, arrow)
    assert tags_of(result) == set()
    assert outcome_of(result, old) == ("dropped", "revoked")
    assert outcome_of(result, arrow) == ("dropped", "revoked")


def test_a_revoked_family_that_nothing_stands_for_is_shown_nowhere() -> None:
    gone, one = sdo("malware", 1, name="Withdrawn", is_family=True, revoked=True), indicator(1)
    result = run(one, gone, link(1, "indicates", one, gone))
    assert "Withdrawn" not in str(result.events)


@pytest.mark.parametrize("stix_type", ["malware", "intrusion-set", "attack-pattern"])
@pytest.mark.parametrize("in_report", [True, False])
def test_what_a_producer_says_of_a_known_cluster_is_kept(stix_type: str, in_report: bool) -> None:
    names = {"malware": "Geodo", "intrusion-set": "Sofacy", "attack-pattern": "A lure [T1566]"}
    more: dict[str, Any] = {"is_family": True} if stix_type == "malware" else {}
    url = "https://lab.example.net/what"
    named = sdo(
        stix_type,
        1,
        name=names[stix_type],
        description="It came by letter.",
        external_references=[{"source_name": "Sample Lab", "url": url}],
        **more,
    )
    one = indicator(1)
    objects = [one, named, link(1, "indicates", one, named)]
    if in_report:
        objects.append(report(*objects))
    result = run(*objects)
    (event,) = result.events
    (told,) = [row["content"] for row in event["EventReport"] if row["name"] == "Context"]
    assert names[stix_type] in told
    assert "It came by letter." in told
    assert url in told
    beside = f'stix:{stix_type}="{names[stix_type]}"'
    event_tags = [row["name"] for row in event.get("Tag", ())]
    assert (beside in event_tags) is in_report
    assert (names[stix_type] in event["Attribute"][0]["comment"]) is not in_report


@pytest.mark.parametrize(
    "copied",
    [
        {"created_by_ref": "identity--c78cb6e5-0c4b-4611-8297-d1b8b55e40b5"},
        {"x_mitre_version": "2.1"},
        {"description": "Somebody sends a letter.(Citation: A Paper 2019)"},
    ],
    ids=str,
)
def test_a_copy_of_the_catalogues_entry_is_not_retold(copied: dict[str, Any]) -> None:
    refs = [{"source_name": "A Paper 2019", "url": "https://paper.example.net/1"}]
    entry = sdo("attack-pattern", 1, name="Phishing", external_references=refs)
    result = run(entry, report(entry))
    assert "EventReport" in result.events[0]
    same = {**entry, "description": "Their own words.", **copied}
    assert "EventReport" not in run(same, report(same)).events[0]


def test_a_description_of_a_link_is_in_the_comment_of_what_it_tags() -> None:
    one, named = indicator(1), sdo("malware", 1, name="Emotet", is_family=True)
    (event,) = run(one, named, link(1, "indicates", one, named, description="since May")).events
    assert event["Attribute"][0]["comment"] == "since May"
    assert "EventReport" not in event


@pytest.mark.parametrize("name", ["d41d8cd98f00b204e9800998ecf8427e.exe", "https://x.example/a"])
def test_the_name_of_an_instance_that_is_a_value_makes_no_tag(name: str) -> None:
    one, instance = indicator(1), sdo("malware", 1, name=name, is_family=False)
    assert tags_of(run(one, instance, link(1, "indicates", one, instance))) == set()
