"""Rules: what a file may say, what each action does, and what none may do."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT
from helpers.stix import EARLY, MARKINGS, Stix, indicator, relationship, report, sighting

from stixbridge import ConfigError, Enrich, Result, convert
from stixbridge.enrich.mappings import MAPPINGS, mapping_problems, tags_of_mappings
from stixbridge.enrich.rules.actions import ACTIONS, MODULES
from stixbridge.enrich.rules.actions.base import Action, tag_problem
from stixbridge.enrich.rules.conditions import FUNCTION_HELP, FUNCTIONS, BadExpression, Template
from stixbridge.enrich.rules.engine import types_in
from stixbridge.enrich.rules.loader import read_rules
from stixbridge.enrich.rules.reference import reference
from stixbridge.misp.knowledge import load
from stixbridge.misp.model import all_attributes, tag_names

NOW = "2026-02-01T00:00:00Z"
RISK = 'false-positive:risk="high"'


def done(then: Any, *objects: Stix, when: str | None = None, now: str = NOW, **more: Any) -> Result:
    """Convert with one rule."""
    rule = {"name": "it", "then": then if isinstance(then, list) else [then], **more}
    if when is not None:
        rule["when"] = when
    return convert(
        list(objects) or [indicator("198.51.100.1")],
        now,
        source="acme",
        enrich=Enrich(rules=(rule,)),
    )


def event_of(result: Result) -> dict[str, Any]:
    (event,) = result.events
    return event


def value_of(event: dict[str, Any], value: str) -> dict[str, Any]:
    return next(row for row in all_attributes(event) if row["value"] == value)


def notes(result: Result, reason: str) -> list[str]:
    return [row.get("target", "") for row in result.ledger.entries if row.get("reason") == reason]


A_REPORT = report("Campaign", [indicator("198.51.100.1")], tlp="green")
IN_REPORT = (A_REPORT, indicator("198.51.100.1"))
FILE = {
    "type": "indicator",
    "spec_version": "2.1",
    "id": "indicator--5ac1bd7c-8b3a-4c5e-9a53-7f0e2c0a1b11",
    "created": EARLY,
    "modified": EARLY,
    "pattern_type": "stix",
    "pattern": (
        "[file:name = 'a.exe' AND file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e' "
        "AND file:size = 7]"
    ),
    "valid_from": EARLY,
}


# each action


EXAMPLES: dict[str, tuple[Any, Any]] = {
    "set_info": ({"set_info": "{event.info}!"}, lambda e: e["info"].endswith("!")),
    "set_date": ({"set_date": "2025-12-31"}, lambda e: e["date"] == "2025-12-31"),
    "set_threat_level": ({"set_threat_level": "high"}, lambda e: e["threat_level_id"] == "1"),
    "set_analysis": ({"set_analysis": "ongoing"}, lambda e: e["analysis"] == "1"),
    "set_distribution": ({"set_distribution": 1}, lambda e: e["distribution"] == "1"),
    "set_sharing_group": (
        {"set_sharing_group": "g"},
        lambda e: (e["distribution"], e["sharing_group"]) == ("4", "g"),
    ),
    "add_tags": (
        {"add_tags": ["a:b", "by:{source.name}"]},
        lambda e: {"a:b", "by:acme"} <= set(tag_names(e)),
    ),
    "add_galaxy": (
        {"add_galaxy": "Emotet"},
        lambda e: any(tag.startswith("misp-galaxy:") for tag in tag_names(e)),
    ),
    "add_report": (
        {"add_report": {"title": "T", "text": "X"}},
        lambda e: e["EventReport"][-1]["content"] == "X",
    ),
    "add_attribute": (
        {"add_attribute": {"type": "domain", "value": "new.example", "tags": ["a:b"]}},
        lambda e: tag_names(value_of(e, "new.example")) == ["a:b"],
    ),
    "add_object": (
        {"add_object": {"template": "geolocation", "values": {"country": "DE"}}},
        lambda e: (
            e["Object"][0]["name"] == "geolocation"
            and e["Object"][0]["Attribute"][0]["value"] == "DE"
        ),
    ),
}
ON_ATTRIBUTES: dict[str, tuple[Any, Any]] = {
    "set_to_ids": ({"set_to_ids": False}, lambda a: a["to_ids"] is False),
    "set_category": (
        {"set_category": "Payload delivery"},
        lambda a: a["category"] == "Payload delivery",
    ),
    "set_comment": (
        {"set_comment": "seen: {attribute.value}"},
        lambda a: a["comment"] == "seen: 198.51.100.1",
    ),
    "set_first_seen": (
        {"set_first_seen": "{stix[0].created}"},
        lambda a: a["first_seen"].startswith("2026-01-05"),
    ),
    "set_last_seen": (
        {"set_last_seen": "2026-01-09T00:00:00Z"},
        lambda a: a["last_seen"].startswith("2026-01-09"),
    ),
    "set_correlation": ({"set_correlation": False}, lambda a: a["disable_correlation"] is True),
    "set_distribution": ({"set_distribution": 0}, lambda a: a["distribution"] == "0"),
    "add_tags": ({"add_tags": [RISK]}, lambda a: tag_names(a) == [RISK]),
    "add_sighting": ({"add_sighting": "false-positive"}, lambda a: a["Sighting"][0]["type"] == "1"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_action_on_an_event(name: str) -> None:
    then, holds = EXAMPLES[name]
    result = done(then)
    assert holds(event_of(result)), event_of(result)
    assert (("it", event_of(result)["uuid"], name)) in result.converted[0].touched


@pytest.mark.parametrize("name", ON_ATTRIBUTES)
def test_action_on_an_attribute(name: str) -> None:
    then, holds = ON_ATTRIBUTES[name]
    row = value_of(event_of(done(then, **{"for": "attribute"})), "198.51.100.1")
    assert holds(row), row


def test_action_on_tags() -> None:
    red = {**indicator("198.51.100.1", tlp="amber"), "labels": ["x"], "confidence": 80}
    kept = done({"remove_tags": ["misp:*", "tlp:*"]}, red, **{"for": "attribute"})
    row = value_of(event_of(kept), "198.51.100.1")
    # a marking is never taken away, and the ledger says so; labels are tags by default
    assert tag_names(row) == ['acme:label="x"', "tlp:amber"]
    assert notes(kept, "rule:refused") == ["tlp:amber: a marking can't be removed"]
    mapped = done(
        {"map_tags": {'misp:confidence-level="usually-confident"': RISK}},
        red,
        **{"for": "attribute"},
    )
    assert RISK in tag_names(value_of(event_of(mapped), "198.51.100.1"))


def test_action_on_objects() -> None:
    result = done(
        [
            {"add_reference": {"to": "198.51.100.1", "relationship": "drops"}},
            {"add_tags": ["a:b"]},
            {"set_comment": "c"},
        ],
        FILE,
        indicator("198.51.100.1"),
        **{"for": "object", "types": ["file"]},
    )
    (obj,) = event_of(result)["Object"]
    target = value_of(event_of(result), "198.51.100.1")["uuid"]
    assert [
        (row["referenced_uuid"], row["relationship_type"]) for row in obj["ObjectReference"]
    ] == [(target, "drops")]
    assert all(tag_names(row) == ["a:b"] for row in obj["Attribute"])
    assert obj["comment"] == "c"


def test_publish_hold_and_route_are_for_the_delivery() -> None:
    (row,) = done(
        [{"publish": False}, {"hold": "because {event.attributes}"}, {"route": ["a", "b"]}]
    ).converted
    assert (row.publish, row.held, row.sinks) == (False, "because 1", frozenset({"a", "b"}))


def test_dropping() -> None:
    two = (indicator("198.51.100.1"), indicator("198.51.100.2"))
    result = done({"drop": True}, *two, when='attribute.value == "198.51.100.1"')
    assert [row["value"] for row in event_of(result)["Attribute"]] == ["198.51.100.2"]
    assert result.ledger.outcomes["dropped"] == 1
    assert ("rule", "198.51.100.1") in [
        (row.get("reason"), row.get("target")) for row in result.ledger.entries
    ]
    assert done({"drop": True}, *two, **{"for": "event"}).events == []
    assert done({"drop_event": True}, *two, when='attribute.value == "198.51.100.2"').events == []
    whole = done({"drop": True}, FILE, two[0], when='object.name == "file"')
    assert event_of(whole)["Object"] == []
    linked = done(
        {"drop": True},
        FILE,
        two[0],
        relationship(FILE, "drops", two[0]),
        when='attribute.type == "ip-dst"',
    )
    assert "ObjectReference" not in event_of(linked)["Object"][0]


def test_every_action_is_registered_tested_and_described() -> None:
    classes = {
        thing
        for module in MODULES
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Action) and hasattr(thing, "name")
    } - {Action}
    assert set(ACTIONS.values()) == classes
    source = Path(__file__).read_text()
    for name, action in ACTIONS.items():
        assert f'"{name}"' in source, f"{name} has no test"
        assert (action.__doc__ or "").strip()
    assert FUNCTIONS.keys() == {text.partition("(")[0] for text in FUNCTION_HELP}
    page = (ROOT / "docs" / "rules.md").read_text()
    assert page == "\n".join(reference()) + "\n", "make reference"


# the order


def test_rules_see_what_earlier_ones_did_and_stop_ends_them() -> None:
    rules = [
        {"name": "1", "when": "attribute.to_ids", "then": {"add_tags": ["a:1"]}},
        {
            "name": "2",
            "when": '"a:1" in attribute.tags',
            "then": {"add_tags": ["a:2"]},
            "stop": True,
        },
        {"name": "3", "for": "attribute", "then": {"add_tags": ["a:3"]}},
        {"name": "4", "for": "end", "when": "event.attributes == 1", "then": {"set_info": "end"}},
    ]
    result = convert([indicator("198.51.100.1")], NOW, enrich=Enrich(rules=tuple(rules)))
    assert tag_names(event_of(result)["Attribute"][0]) == ["a:1", "a:2"]
    assert event_of(result)["info"] == "end"


def test_types_are_read_from_the_condition() -> None:
    assert types_in('attribute.type == "ip-dst" && attribute.to_ids') == ("attribute", {"ip-dst"})
    assert types_in("attribute.type in ['a', \"b\"]") == ("attribute", {"a", "b"})
    assert types_in('attribute.type == "a" || attribute.type == "b"') == ("", frozenset())
    assert types_in('!(attribute.type == "a")') == ("", frozenset())


def test_a_failing_rule_is_told_once_and_takes_nothing_with_it() -> None:
    rules = (
        {
            "name": "fails",
            "when": "attribute.to_ids && stix[0].no_such_thing == 1",
            "then": {"set_to_ids": False},
        },
        {"name": "works", "when": "attribute.to_ids", "then": {"add_tags": ["a:b"]}},
    )
    objects = [indicator(f"198.51.100.{at}") for at in range(1, 8)]
    result = convert(objects, NOW, enrich=Enrich(rules=rules))
    assert all(row["to_ids"] and tag_names(row) == ["a:b"] for row in event_of(result)["Attribute"])
    (text,) = notes(result, "rule:failed")
    assert text.startswith("7 times: no member")


# what no rule may do


def test_no_rule_loosens_a_marking() -> None:
    red = indicator("198.51.100.1", tlp="red")
    held = report("Red", [red], tlp="red")
    for then in (
        {"set_distribution": 3},
        {"set_sharing_group": "all"},
        {"add_tags": ["tlp:clear"]},
    ):
        result = done(then, red, held)
        assert event_of(result)["distribution"] == "0"
        assert "tlp:red" in tag_names(event_of(result))
        assert "tlp:clear" not in tag_names(event_of(result))
        assert notes(result, "rule:refused")
    mixed = done(
        [{"set_distribution": 3}, {"add_tags": ["tlp:green"]}],
        red,
        report("R", [red], tlp="green"),
        **{"for": "attribute"},
    )
    row = value_of(event_of(mixed), "198.51.100.1")
    assert (row["distribution"], tag_names(row)) == ("0", ["tlp:red"])


def test_what_is_made_from_something_red_is_red() -> None:
    red = indicator("198.51.100.1", tlp="red")
    made = [
        {"add_attribute": {"type": "text", "value": "of {attribute.value}"}},
        {
            "add_object": {
                "template": "geolocation",
                "values": {"text": "of {attribute.value}"},
                "refers_as": "related-to",
            }
        },
        {"add_report": {"title": "T", "text": "of {attribute.value}"}},
    ]
    result = done(made, red, report("R", [red], tlp="green"), **{"for": "attribute"})
    event = event_of(result)
    assert value_of({**event, "Object": []}, "of 198.51.100.1")["distribution"] == "0"
    assert event["Object"][0]["distribution"] == "0"
    assert event["Object"][0]["Attribute"][0]["Tag"] == [{"name": "tlp:red"}]
    assert event["EventReport"][-1]["distribution"] == "0"


def test_to_ids_stays_off_on_what_is_over() -> None:
    over = indicator("198.51.100.1", valid_until="2026-01-10T00:00:00Z")
    seen = report("R", [over])
    first = convert([over, seen], "2026-01-06T00:00:00Z")
    assert event_of(first)["Attribute"][0]["to_ids"]
    from dataclasses import replace

    from stixbridge.api import convert_documents, options
    from stixbridge.stix.reader import read_value

    settings = replace(options(now=NOW), delivered={over["id"], seen["id"]})
    rule = {"name": "on", "for": "attribute", "then": {"set_to_ids": True}}
    later = convert_documents([read_value([over, seen])], settings, enrich=Enrich(rules=(rule,)))
    assert not event_of(later)["Attribute"][0]["to_ids"]
    assert notes(later, "rule:refused")


# files


WRONG = {
    "[[rules]]\nname = 'a'\nwhen = 'attribut.type == 1'\nthen = {drop = true}": (
        "unknown name 'attribut'; did you mean 'attribute'"
    ),
    "[[rules]]\nname = 'a'\nwhen = 'attribute.typ == 1'\nthen = {drop = true}": (
        "attribute has no 'typ'; did you mean 'type'"
    ),
    "[[rules]]\nname = 'a'\nwhen = 'attribute.type =='\nthen = {drop = true}": "not an expression",
    "[[rules]]\nname = 'a'\nwhen = 'lowercase(event.info) == \"\"'\nthen = {drop = true}": (
        "unknown function 'lowercase'; did you mean 'lower'"
    ),
    "[[rules]]\nname = 'a'\nthen = {add_tag = ['x']}": (
        "unknown action 'add_tag'; did you mean 'add_tags'"
    ),
    "[[rules]]\nname = 'a'\nthen = {set_threat_level = 'huge'}": "'huge' is not one of high",
    "[[rules]]\nname = 'a'\nthen = {set_to_ids = 'no'}": "to is true or false",
    "[[rules]]\nname = 'a'\nfor = 'event'\nthen = {set_to_ids = false}": (
        "set_to_ids is for attribute and object"
    ),
    "[[rules]]\nname = 'a'\nthen = {set_info = '{attribute.value}'}": (
        "a rule for the event does not have 'attribute'"
    ),
    "[[rules]]\nname = 'a'\nthen = {set_info = '{event.info'}": "a brace is not closed",
    "[[rules]]\nname = 'a'\nthen = {set_info = 'a}'}": "unexpected closing brace",
    "[[rules]]\nname = 'a'\nthen = {add_tags = ['rsit:fraud=\"phising\"']}": (
        "not in its taxonomy; did you mean 'rsit:fraud=\"phishing\"'"
    ),
    "[[rules]]\nname = 'a'\nthen = {add_tags = ['RSIT:fraud=\"phishing\"']}": "is spelled",
    "[[rules]]\nname = 'a'\nthen = {add_tags = ['tlp:pink']}": "is not a TLP level",
    "[[rules]]\nname = 'a'\ntypes = ['ip-dest']\nfor = 'attribute'\nthen = {drop = true}": (
        "MISP has no type 'ip-dest'; did you mean 'ip-dst'"
    ),
    "[[rules]]\nname = 'a'\nthen = {add_attribute = {type = 'ip-dst'}}": "value is missing",
    ("[[rules]]\nname = 'a'\n"
     "then = {add_attribute = {type = 'ip-dst', value = 'x', category = 'Foo'}}"): (
        "can't be in 'Foo'"
    ),
    "[[rules]]\nname = 'a'\nthen = {add_object = {template = 'fille', values = {a = 'b'}}}": (
        "no object template 'fille'"
    ),
    "[[rules]]\nname = 'a'\nthen = {drop = true}\nwhenn = 'x'": (
        "unknown setting 'whenn'; did you mean 'when'"
    ),
    "[[rules]]\nthen = {drop = true}": "a rule needs a name",
    "[[rules]]\nname = 'a'": "at least one action is needed",
    "[[rules]]\nname = 'a'\nthen = {drop = true}\n[[rules]]\nname = 'a'\nthen = {drop = true}": (
        "another rule has the name 'a'"
    ),
    "[rules]\nname = 'a'": "with two brackets",
    "[[rule]]\nname = 'a'": "unknown table 'rule'; did you mean 'rules'",
    "[[rules]": "not TOML",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_found_at_load_with_its_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("# a comment\n\n" + text)
    with pytest.raises(ConfigError) as raised:
        read_rules(path, load)
    assert WRONG[text] in str(raised.value)
    assert str(path) in str(raised.value)
    if "[[rules]]" in text:
        assert f"{path}:3" in str(raised.value) or "already" in str(raised.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        "[[rules]]\nname='a'\nwhen='x'\nthen={a=1}\n[[rules]]\nname='b'\nwhen='attribute.x'\nthen={drop=1}"
    )
    with pytest.raises(ConfigError, match="4 mistakes"):
        read_rules(path, load)
    with pytest.raises(ConfigError, match="No such file"):
        read_rules(tmp_path / "none.toml", load)


@pytest.mark.parametrize("value", ["{{x}}", "a {event.info} b", "{'}'}", "{event.tags}", "{1 + 1}"])
def test_templates(value: str) -> None:
    from cel import Context

    context = Context({"event": {"info": "I", "tags": ["a", "b"]}})
    wanted = {
        "{{x}}": "{x}",
        "a {event.info} b": "a I b",
        "{'}'}": "}",
        "{event.tags}": "a, b",
        "{1 + 1}": "2",
    }
    assert Template(value).render(context) == wanted[value]
    with pytest.raises(BadExpression, match="is empty"):
        Template("{event.info}").render(Context({"event": {"info": ""}}))


def test_hostile_values_stay_values() -> None:
    evil = {**indicator("198.51.100.1"), "name": "{event.uuid}\" tlp:clear \n'); drop"}
    result = done([{"set_info": "{stix[0].name}"}, {"add_tags": ["x:{stix[0].name}"]}], evil)
    assert "{event.uuid}" in event_of(result)["info"]
    assert "\n" not in event_of(result)["info"]
    assert tag_names(event_of(result))[0].startswith("x:{event.uuid}")
    # a regular expression that takes others for ever
    slow = {**indicator("198.51.100.1"), "name": "a" * 40 + "!"}
    result = done({"set_threat_level": 1}, slow, when="!stix[0].name.matches('^(a+)+$')")
    assert event_of(result)["threat_level_id"] == "1"


# mappings


def test_every_tag_of_a_mapping_is_in_its_taxonomy() -> None:
    knowledge = load()
    for tag in tags_of_mappings():
        assert knowledge.taxonomy_tag(tag) == tag
        assert tag_problem(tag, knowledge) is None


VICTIM = {
    "type": "identity",
    "id": "identity--5ac1bd7c-8b3a-4c5e-9a53-7f0e2c0a1b12",
    "name": "Grid",
    "identity_class": "organization",
    "sectors": ["energy"],
}
KILL_CHAIN = [{"kill_chain_name": "mitre-attack", "phase_name": "impact"}]
MAPPED: dict[str, tuple[Any, list[Stix], str]] = {
    "admiralty": (
        True,
        [{**indicator("198.51.100.1"), "confidence": 85}],
        'admiralty-scale:information-credibility="1"',
    ),
    "reliability": ("c", [indicator("198.51.100.1")], 'admiralty-scale:source-reliability="c"'),
    "priority": ("high", [indicator("198.51.100.1")], "priority-level:high"),
    "indicator_types": (
        True,
        [{**indicator("198.51.100.1"), "indicator_types": ["compromised"]}],
        'rsit:intrusions="system-compromise"',
    ),
    "kill_chain": (
        True,
        [{**indicator("198.51.100.1"), "kill_chain_phases": KILL_CHAIN}],
        "kill-chain:Actions on Objectives",
    ),
    "sectors": (
        True,
        [
            indicator("198.51.100.1"),
            VICTIM,
            relationship(indicator("198.51.100.1"), "targets", VICTIM),
        ],
        'nis:impact-sectors-impacted="energy"',
    ),
    "tlp_distribution": ({"green": 2}, [indicator("198.51.100.1"), A_REPORT], "tlp:green"),
    "attack_ids": (
        True,
        [
            {**A_REPORT, "description": "It came by T1566.001 and XT1566."},
            indicator("198.51.100.1"),
        ],
        'misp-galaxy:mitre-attack-pattern="Spearphishing Attachment - T1566.001"',
    ),
    "licence": (True, [{**indicator("198.51.100.1"), "x_iep": True}], ""),
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_mapping(name: str) -> None:
    setting, objects, tag = MAPPED[name]
    without = convert(objects, NOW)
    result = convert(
        objects,
        NOW,
        enrich=Enrich(mappings={name: setting}, distribution=3 if name == "licence" else None),
    )
    tags = {
        tag
        for event in result.events
        for part in (event, *all_attributes(event))
        for tag in tag_names(part)
    }
    assert not tag or tag in tags
    if name not in ("tlp_distribution", "licence"):
        assert tag not in json.dumps(without.events)
    if name == "tlp_distribution":
        assert event_of(result)["distribution"] == "2"
        assert (
            event_of(convert(objects, NOW, enrich=Enrich(mappings={name: {"green": 3}})))[
                "distribution"
            ]
            == "3"
        )
    if name == "licence":
        assert event_of(result)["distribution"] == "0"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"admirality": True}, "unknown mapping 'admirality'; did you mean 'admiralty'"),
        ({"reliability": "z"}, "'z' is not one of a, b"),
        ({"priority": "top"}, "'top' is not one of"),
        ({"tlp_distribution": {"pink": 1, "green": 9}}, "2 mistakes"),
        ({"sectors": "yes"}, "write true, or a table"),
        ({"admiralty": 1.5}, "write true"),
    ],
)
def test_a_wrong_mapping_is_said(settings: dict[str, Any], text: str) -> None:
    assert mapping_problems(settings)
    with pytest.raises(ConfigError, match=text):
        convert([], NOW, enrich=Enrich(mappings=settings))


def test_no_mapping_says_on_the_event_what_only_red_says() -> None:
    red = {**indicator("198.51.100.1", tlp="red"), "description": "by T1566.001"}
    event = event_of(
        convert(
            [red, report("R", [red], tlp="green")],
            NOW,
            enrich=Enrich(mappings={"attack_ids": True}),
        )
    )
    assert not any("T1566" in tag for tag in tag_names(event))


def test_rules_do_not_depend_on_the_order_of_the_input() -> None:
    objects = [*IN_REPORT, FILE, sighting(indicator("198.51.100.1"))]
    then = [{"add_attribute": {"type": "domain", "value": "new.example"}}, {"add_tags": ["a:b"]}]
    first = done(then, *objects)
    second = done(then, *reversed(objects))
    assert json.dumps(first.events) == json.dumps(second.events)


# what a reader of the rules found


GREEN = report(
    "Green", [indicator("198.51.100.1"), indicator("198.51.100.2", tlp="red")], tlp="green"
)
BOTH = (GREEN, indicator("198.51.100.1"), indicator("198.51.100.2", tlp="red"))


def test_a_sharing_group_is_not_widened_by_a_tag_that_tightens() -> None:
    for tag, wanted in (("tlp:green", "4"), ("tlp:amber", "4"), ("tlp:red", "0")):
        rule = {"name": "it", "then": {"add_tags": [tag]}}
        event = event_of(
            convert(
                [report("R", [indicator("198.51.100.1")]), indicator("198.51.100.1")],
                NOW,
                enrich=Enrich(sharing_group="three", rules=(rule,)),
            )
        )
        assert (event["distribution"], "sharing_group" in event) == (wanted, wanted == "4")


def test_what_is_red_is_told_on_no_event() -> None:
    secret = "198.51.100.2"
    thens: list[Any] = [
        {"set_info": "x {stix.map(s, s.id)} {stix.map(s, has(s.pattern) ? s.pattern : '')}"},
        {"add_tags": ["acme:{stix.map(s, has(s.pattern) ? s.pattern : '')}"]},
        {"add_report": {"title": "T", "text": "{stix.map(s, has(s.pattern) ? s.pattern : '')}"}},
    ]
    for objects in (BOTH, BOTH[1:]):
        for then in thens:
            event = event_of(done(then, *objects))
            said = [
                event["info"],
                *tag_names(event),
                *(
                    row["content"]
                    for row in event.get("EventReport", [])
                    if row["distribution"] != "0"
                ),
            ]
            assert not any(secret in text for text in said), then
    titled = done({"set_info": "about {attribute.value}"}, *BOTH, when='attribute.tlp == "red"')
    assert event_of(titled)["info"] == "Green"
    assert "stricter marking" in notes(titled, "rule:refused")[0]


def test_a_tlp_tag_goes_one_way_only() -> None:
    knowing = {"map_tags": {'misp:confidence-level="usually-confident"': "tlp:clear"}}
    red = {**indicator("198.51.100.1", tlp="red"), "confidence": 80}
    for then in (knowing, {"add_tags": ["\u200btlp:clear"]}, {"add_tags": ["{'TLP:'}CLEAR"]}):
        row = value_of(
            event_of(done(then, red, report("R", [red], tlp="green"), **{"for": "attribute"})),
            "198.51.100.1",
        )
        assert [tag for tag in tag_names(row) if tag.lower().startswith("tlp")] == ["tlp:red"], then
    with pytest.raises(ConfigError, match="can't be put on a hit"):
        Enrich(warninglists=[{"action": "tag", "tag": "tlp:clear"}])


def test_a_value_that_is_there_gets_no_tags_made_of_something_red() -> None:
    url = {**indicator("x", tlp="red"), "pattern": "[url:value = 'http://green.example/SECRET']"}
    domain = {**indicator("y", tlp="green"), "pattern": "[domain-name:value = 'green.example']"}
    then = {
        "add_attribute": {
            "type": "domain",
            "value": "{hostname(attribute.value)}",
            "tags": ["from:{attribute.value}"],
        }
    }
    result = done(
        then, url, domain, report("R", [url, domain], tlp="green"), when='attribute.type == "url"'
    )
    assert not any(
        "SECRET" in tag for tag in tag_names(value_of(event_of(result), "green.example"))
    )


def test_the_sectors_of_a_red_identity_are_not_told() -> None:
    victim = {
        "type": "identity",
        "id": "identity--5ac1bd7c-8b3a-4c5e-9a53-7f0e2c0a1b12",
        "name": "Grid",
        "sectors": ["energy"],
        "object_marking_refs": [MARKINGS["red"]],
    }
    event = event_of(
        convert(
            [
                victim,
                indicator("198.51.100.1"),
                report("R", [victim, indicator("198.51.100.1")], tlp="green"),
            ],
            NOW,
            enrich=Enrich(mappings={"sectors": True}),
        )
    )
    assert not any(tag.startswith("nis:") for tag in tag_names(event))


def test_an_index_out_of_range_is_a_failing_rule() -> None:
    result = done({"set_threat_level": 1}, when="event.tags[7] == 'a'")
    assert notes(result, "rule:failed")
    assert notes(done({"set_info": "{event.tags[7]}"}), "rule:failed")


def test_an_event_without_anything_left_is_none() -> None:
    result = done({"drop": True}, indicator("198.51.100.1"), **{"for": "attribute"})
    assert result.events == []
    assert result.ledger.outcomes == {"mapped": 0, "preserved": 0, "dropped": 1, "invalid": 0}


def test_an_event_inherits_no_distribution_and_amber_strict_is_not_shared() -> None:
    assert event_of(done({"set_distribution": 5}, **{"for": "event"}))["distribution"] == "0"
    strict = {
        **report("R", [indicator("198.51.100.1")]),
        "object_marking_refs": ["marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"],
    }
    event = event_of(
        convert([strict, indicator("198.51.100.1")], NOW, enrich=Enrich(sharing_group="all"))
    )
    assert ("tlp:amber+strict" in tag_names(event), event["distribution"]) == (True, "0")


def test_an_object_that_a_marking_holds_holds_its_attributes() -> None:
    held = {
        **FILE,
        "object_marking_refs": ["marking-definition--5ac1bd7c-8b3a-4c5e-9a53-7f0e2c0a1b13"],
    }
    for then, target in (
        ({"add_tags": ["tlp:clear"]}, "object"),
        ({"set_distribution": 3}, "attribute"),
    ):
        event = event_of(done(then, held, report("R", [held], tlp="green"), **{"for": target}))
        (obj,) = event["Object"]
        assert obj["distribution"] == "0"
        for row in obj["Attribute"]:
            assert ("tlp:clear" in tag_names(row), row["distribution"]) == (False, "5"), then


@pytest.mark.parametrize(
    ("type_", "name", "tag"),
    [
        ("identity", "finance", 'misp-galaxy:sector="'),
        ("location", "DE", 'misp-galaxy:country="germany"'),
        ("threat-actor", "Fancy Bear", 'misp-galaxy:threat-actor="'),
        ("attack-pattern", "T1566", 'misp-galaxy:mitre-attack-pattern="Phishing - T1566"'),
    ],
)
def test_clusters_by_name_alias_and_id(type_: str, name: str, tag: str) -> None:
    event = event_of(done({"add_galaxy": {"type": type_, "value": name}}))
    assert any(held.startswith(tag) for held in tag_names(event)), notes(
        done({"add_galaxy": {"type": type_, "value": name}}), "rule:refused"
    )


def test_the_credibility_is_that_of_the_specification() -> None:
    from stix2.confidence.scales import value_to_admiralty_credibility

    objects = [{**indicator(f"198.51.100.{at}"), "confidence": at} for at in range(101)]
    event = event_of(convert(objects, NOW, enrich=Enrich(mappings={"admiralty": True})))
    for at in range(101):
        expected = value_to_admiralty_credibility(at)[0]
        assert f'admiralty-scale:information-credibility="{expected}"' in tag_names(
            value_of(event, f"198.51.100.{at}")
        )


def test_mistakes_in_every_part_are_told_at_once() -> None:
    wrong = Enrich(
        rules=({"name": "a", "when": "x", "then": {"drop": True}}, "/no/such.toml"),
        mappings={"admirality": True},
        warninglists=[{"lists": ["no-such-list"]}],
        plugins=["no_such_module:f"],
    )
    with pytest.raises(ConfigError, match="enrich: 5 mistakes") as raised:
        convert([], NOW, enrich=wrong)
    for text in (
        "unknown name 'x'",
        "/no/such.toml",
        "admiralty",
        "no-such-list",
        "no_such_module",
    ):
        assert text in str(raised.value)
