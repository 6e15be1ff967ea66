"""Python plug-ins: what they are given, what they may do, and what happens when they fail."""

import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.stix import indicator, report

from stixbridge import ConfigError, Enrich, Result, convert
from stixbridge.misp.model import tag_names

NOW = "2026-02-01T00:00:00Z"
CODE = """
from pymisp import MISPEvent

def title(event):
    event["info"] = "from a plug-in"

def new(event):
    return {**event, "threat_level_id": "1"}

def with_pymisp(event: MISPEvent):
    event.info = "from PyMISP"
    event.add_tag("a:b")
    event.add_attribute("domain", "new.example")

def fails(event):
    event["info"] = "half done"
    event["Attribute"].clear()
    raise ValueError("no luck")

def loosens(event):
    event["Tag"] = [{"name": "tlp:clear"}]
    event["distribution"] = "3"
    for row in event["Attribute"]:
        row["Tag"] = []
        row["distribution"] = "3"

def moves(event):
    for row in event["Attribute"]:
        row.update(uuid="5ac1bd7c-8b3a-4c5e-9a53-7f0e2c0a1b11", distribution="5", Tag=[])

def exits(event):
    raise SystemExit

def breaks(event):
    del event["Object"]

def shares(event):
    event.update(distribution="4", sharing_group="all")

def other_uuid(event):
    event["uuid"] = "0"

nothing = 1
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_plugins.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_plugins", raising=False)


def run(*names: str, **more: Any) -> Result:
    red = indicator("198.51.100.1", tlp="red")
    objects = [red, report("R", [red], tlp="amber")]
    return convert(
        objects, NOW, enrich=Enrich(plugins=[f"my_plugins:{name}" for name in names]), **more
    )


def test_a_plain_event_and_a_new_one() -> None:
    (event,) = run("title", "new").events
    assert (event["info"], event["threat_level_id"]) == ("from a plug-in", "1")


def test_a_misp_event() -> None:
    (event,) = run("with_pymisp").events
    assert event["info"] == "from PyMISP"
    assert {"a:b", "tlp:amber"} <= set(tag_names(event))
    assert {row["value"] for row in event["Attribute"]} == {"198.51.100.1", "new.example"}
    assert event["uuid"] == run().events[0]["uuid"]


def test_what_fails_is_undone_and_told() -> None:
    result = run("fails", "new")
    (event,) = result.events
    assert (event["info"], len(event["Attribute"]), event["threat_level_id"]) == ("R", 1, "1")
    (entry,) = [row for row in result.ledger.entries if row.get("reason") == "plugin"]
    assert "ValueError: no luck" in entry["target"]
    assert run("other_uuid").events[0]["uuid"] != "0"


def test_a_marking_is_not_loosened() -> None:
    (event,) = run("loosens").events
    (row,) = event["Attribute"]
    assert (
        "tlp:amber" in tag_names(event),
        "tlp:clear" in tag_names(event),
        event["distribution"],
    ) == (
        True,
        False,
        "1",
    )
    assert (tag_names(row), row["distribution"]) == (["tlp:red"], "0")


def test_an_event_that_another_marking_closes_stays_closed() -> None:
    one = indicator("198.51.100.1")
    unknown = {"object_marking_refs": ["marking-definition--5ac1bd7c-8b3a-4c5e-9a53-7f0e2c0a1b13"]}
    objects = [one, {**report("R", [one]), **unknown}]
    for name in ("loosens", "shares"):
        (event,) = convert(objects, NOW, enrich=Enrich(plugins=[f"my_plugins:{name}"])).events
        assert (event["distribution"], "tlp:clear" in tag_names(event)) == ("0", False)


@pytest.mark.parametrize("name", ["moves", "exits", "breaks"])
def test_what_it_may_not_do_is_undone(name: str) -> None:
    result = run(name)
    assert result.events == run().events
    assert [row for row in result.ledger.entries if row.get("reason") == "plugin"]


def test_what_is_new_has_the_same_uuid_every_time() -> None:
    first, second = run("with_pymisp").events[0], run("with_pymisp").events[0]
    assert [row["uuid"] for row in first["Attribute"]] == [
        row["uuid"] for row in second["Attribute"]
    ]
    red = indicator("198.51.100.1", tlp="red")
    (event,) = convert(
        [red, report("R", [red], tlp="red")], NOW, enrich=Enrich(plugins=["my_plugins:shares"])
    ).events
    assert event["distribution"] == "0"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my_plugins:absent", "AttributeError"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("my_plugins:nothing", "is not a function"),
        ("entry", "no entry point 'entry'"),
    ],
)
def test_what_is_not_there_is_said(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        convert([], NOW, enrich=Enrich(plugins=[name]))
