"""References in custom types are links wherever they stand, and never texts."""

import re
from typing import Any

import pytest
from helpers.stix import Stix

from stixbridge import Result, convert

NOW = "2026-02-01T00:00:00Z"
T = "2026-01-05T08:00:00.000Z"
ID = re.compile(r"[a-z0-9-]+--[0-9a-f]{8}-")


def obj(stix_type: str, number: int, **more: Any) -> Stix:
    return {
        "type": stix_type,
        "spec_version": "2.1",
        "id": f"{stix_type}--00000000-0000-4000-8000-{number:012d}",
        "created": T,
        "modified": T,
        **more,
    }


def run(*objects: Stix, **more: Any) -> Result:
    return convert({"objects": list(objects)}, NOW, source="case", **more)


def values(result: Result) -> list[str]:
    return [
        row["value"]
        for event in result.events
        for row in (*event["Attribute"], *(row for o in event["Object"] for row in o["Attribute"]))
    ]


OTHER = obj("x-other", 2, note="there")
TECHNIQUE = obj("attack-pattern", 3, name="Phishing")
FAMILY = obj("malware", 4, name="Nobody knows", is_family=True)
WITHIN = [
    lambda ref: {"next_ref": ref},
    lambda ref: {"next_refs": [ref]},
    lambda ref: {"rows": [{"next_ref": ref, "text": "kept"}]},
    lambda ref: {"table": {"deeper": {"next_refs": [ref, ref]}}},
]


@pytest.mark.parametrize("at", range(len(WITHIN)))
def test_a_reference_to_another_object_is_an_object_reference(at: int) -> None:
    result = run(obj("x-one", 1, **WITHIN[at](OTHER["id"])), OTHER)
    rows = [row for o in result.events[0]["Object"] for row in o.get("ObjectReference", ())]
    assert {row["relationship_type"] for row in rows} == {"next"}
    assert not [value for value in values(result) if ID.search(value)]


@pytest.mark.parametrize("at", range(len(WITHIN)))
@pytest.mark.parametrize(
    ("target", "tag"),
    [
        (TECHNIQUE, 'misp-galaxy:mitre-attack-pattern="Phishing - T1566"'),
        (FAMILY, 'stix:malware="Nobody knows"'),
    ],
    ids=["known", "unknown"],
)
def test_a_reference_to_context_is_its_tag(at: int, target: Stix, tag: str) -> None:
    result = run(obj("x-one", 1, name="One", **WITHIN[at](target["id"])), target)
    (made,) = result.events[0]["Object"]
    assert all(tag in [row["name"] for row in inner["Tag"]] for inner in made["Attribute"])
    assert not [value for value in values(result) if ID.search(value)]
    assert result.ledger.outcomes["dropped"] == 0


@pytest.mark.parametrize("at", range(len(WITHIN)))
def test_a_reference_that_leads_nowhere_is_in_the_ledger(at: int) -> None:
    result = run(obj("x-one", 1, name="One", **WITHIN[at](OTHER["id"])))
    assert "dangling" in {row.get("reason") for row in result.ledger.entries}
    assert not [value for value in values(result) if ID.search(value)]


def test_objects_of_two_events_are_joined_by_a_row() -> None:
    one = obj("x-one", 1, name="One", next_ref=OTHER["id"])
    later = {**OTHER, "created": "2026-01-07T08:00:00.000Z"}
    result = run(one, later, group="day")
    assert len(result.events) == 2
    (row,) = [row for event in result.events for row in event.get("EventReport", ())]
    assert row["name"] == "Relationships"
    assert "| next |" in row["content"]


def test_a_text_that_is_no_id_stays_a_text() -> None:
    result = run(obj("x-one", 1, invoice_ref="2026/17", web_refs=["https://x.example.net/"]))
    assert sorted(values(result)) == ["2026/17", "https://x.example.net/"]


@pytest.mark.parametrize("number", ["T1566", "t1566", "S0367", "G0007"])
@pytest.mark.parametrize("name", ["technique_id", "x_mitre_id", "mitre_id"])
def test_a_number_of_the_catalogue_is_its_cluster(number: str, name: str) -> None:
    (made,) = run(obj("x-one", 1, **{name: number})).events[0]["Object"]
    (tag,) = [row["name"] for row in made["Attribute"][0]["Tag"]]
    assert tag.startswith("misp-galaxy:mitre-")
    assert f'- {number.upper()}"' in tag


def test_the_holder_of_an_account_is_a_link() -> None:
    account = obj("bank-account", 1, iban="GB82WEST12345698765432", holder_ref=OTHER["id"])
    (event,) = run(account, OTHER).events
    (row,) = event["Attribute"][0]["Relationship"]
    assert row["relationship_type"] == "holder"


def test_the_name_of_a_template_is_not_used_for_another_object() -> None:
    (made,) = run(obj("phone", 1, ring="loud")).events[0]["Object"]
    assert made["name"] == "stix-phone"
