"""`preserve = "source"`: events carry the objects behind them, as they came, each under its own
marking.
"""

import base64
import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest
from doubles.misp import MispDouble
from helpers.bridge import Bridge
from helpers.generated import bundles
from helpers.rich import NOW, rich
from helpers.stix import LATER, MARKINGS, Stix, indicator, relationship, report, stix_id
from hypothesis import HealthCheck, given, settings

from stixbridge import InputError, Result, convert, preserved_objects
from stixbridge import tlp as levels

FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def preserved(objects: list[Stix]) -> Result:
    return convert(
        {"type": "bundle", "id": stix_id("bundle", "kept"), "objects": objects},
        NOW,
        preserve="source",
    )


def canonical(obj: Any) -> bytes:
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


def carried(result: Result) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for event in result.events:
        for obj in preserved_objects(event):
            found.setdefault(obj["id"], []).append(canonical(obj))
    return found


@FEW
@given(bundles())
def test_what_is_in_an_event_comes_back_byte_for_byte(objects: list[Stix]) -> None:
    result = preserved(objects)
    given_ = {canonical(obj) for obj in objects}
    back = carried(result)
    assert all(text in given_ for texts in back.values() for text in texts)
    asked = {obj["id"] for obj in objects}
    shown = {id_ for row in result.converted for id_ in row.stix_ids}
    assert shown & asked <= back.keys()
    for entry in result.ledger.entries:
        if entry["id"] in back and entry.get("reason") not in ("superseded", "duplicate"):
            assert entry["outcome"] != "dropped", entry
    # nothing else is different
    plain = convert({"type": "bundle", "id": stix_id("bundle", "kept"), "objects": objects}, NOW)
    for with_, without in zip(result.events, plain.events, strict=True):
        kept = [row for row in with_["Attribute"] if not row["value"].startswith("stix-objects")]
        assert kept == without["Attribute"]


def test_every_type_comes_back() -> None:
    objects = rich()
    members = [
        obj["id"]
        for obj in objects
        if obj["type"] not in ("report", "grouping", "marking-definition")
    ]
    holder = report("All of it", list(members))
    back = carried(preserved([*objects, holder]))
    missing = {obj["type"] for obj in objects if obj["id"] not in back}
    assert missing <= {
        "extension-definition",
        "marking-definition",
    }  # what nothing refers to is behind no event


def test_the_ledger_says_preserved_where_it_said_dropped() -> None:
    one = {**indicator("198.51.100.7"), "x_custom": {"a": 1}}
    dangling = relationship(one, "related-to", indicator("198.51.100.8"))
    gone = convert([one, dangling], NOW, custom="drop").ledger
    kept = convert([one, dangling], NOW, custom="drop", preserve="source").ledger
    assert gone.outcomes["dropped"] == 1
    assert gone.properties["dropped"] > 0
    assert kept.outcomes == {"mapped": 1, "preserved": 1, "dropped": 0, "invalid": 0}
    assert kept.properties["dropped"] == 0
    assert {row["outcome"] for row in kept.entries} == {"preserved"}


def test_red_is_in_an_attachment_of_its_own() -> None:
    red = {**indicator("198.51.100.9"), "object_marking_refs": [MARKINGS["red"]]}
    green = {**indicator("198.51.100.10"), "object_marking_refs": [MARKINGS["green"]]}
    holder = {
        **report("Mixed", [red["id"], green["id"]]),
        "object_marking_refs": [MARKINGS["green"]],
    }
    (event,) = preserved([red, green, holder]).events
    files = {row["value"]: row for row in event["Attribute"] if row["type"] == "attachment"}
    assert set(files) == {
        "stix-objects-green.jsonl.gz",
        "stix-objects-red.jsonl.gz",
    }
    assert files["stix-objects-red.jsonl.gz"]["distribution"] == "0"
    assert {"name": levels.tag("red")} in files["stix-objects-red.jsonl.gz"]["Tag"]
    for name, row in files.items():
        text = gzip.decompress(base64.b64decode(row["data"])).decode()
        assert ("198.51.100.9" in text) == (name == "stix-objects-red.jsonl.gz")


@pytest.mark.parametrize("data", ["", "!", base64.b64encode(b"no gzip").decode(), None, "H4sIAAAA"])
def test_an_attachment_that_is_none_is_said(data: str | None) -> None:
    row = {"type": "attachment", "value": "stix-objects.jsonl.gz", "data": data, "uuid": "u"}
    with pytest.raises(InputError, match="with its attachments"):
        preserved_objects({"Event": {"Attribute": [row]}})


def test_a_new_version_replaces_the_copy_in_misp(tmp_path: Path) -> None:
    with MispDouble() as misp:
        bridge = Bridge(
            tmp_path,
            {"misp": {"type": "misp", "url": misp.url, "key": misp.key}},
            preserve="source",
            group="day",
        )
        first = indicator("198.51.100.1", description="one")
        bridge.poll(first)
        (event,) = misp.events.values()
        assert [obj["description"] for obj in preserved_objects(event)] == ["one"]
        bridge.poll({**first, "description": "two", "modified": LATER})
        (event,) = misp.events.values()
        assert [obj["description"] for obj in preserved_objects(event)] == ["two"]
        writes = len(misp.writes())
        bridge.poll()
        bridge.close()
        assert len(misp.writes()) == writes > 0
