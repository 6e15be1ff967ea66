"""MISP Extensions say the same as the `x-misp-*` and `x_misp_*` names that they replaced."""

import json
from pathlib import Path
from typing import Any

import pytest
from cases.write import CASES
from helpers.paths import corpora_folder

from stixbridge import convert

NOW = "2026-02-01T00:00:00Z"
EXTENSION = "extension-definition--c0ffee00-7d1a-4a6b-8f00-0000000001ff"
Object = dict[str, Any]
OWN = ("x-misp-attribute", "x-misp-object", "x-misp-galaxy-cluster")


def inputs() -> list[Path]:
    found = sorted(CASES.glob("misp-*/in.json"))
    folder = corpora_folder()
    if folder is not None:
        found += sorted((folder / "misp-stix-cases").glob("internal_stix21/*.bundle.json"))
    return [path for path in found if "x_misp_" in path.read_text(encoding="utf-8")]


def definition(name: str) -> Object:
    return {
        "type": "extension-definition",
        "spec_version": "2.1",
        "id": EXTENSION,
        "created": "2026-01-01T00:00:00Z",
        "modified": "2026-01-01T00:00:00Z",
        "name": name,
        "schema": "https://example.org/schema.json",
        "version": "1",
        "extension_types": ["property-extension"],
    }


def extended(obj: Object, prefix: str) -> Object:
    """An object in the new form: its own properties in an extension, under another prefix."""
    own = {name: obj[name] for name in obj if name.startswith("x_misp_")}
    made = {name: value for name, value in obj.items() if name not in own}
    inner = {f"{prefix}{name.removeprefix('x_misp_')}": value for name, value in own.items()}
    if made["type"] in OWN:
        made["type"] = made["type"].removeprefix("x-")
    if inner:
        made["extensions"] = {
            **made.get("extensions", {}),
            EXTENSION: {"extension_type": "property-extension", **inner},
        }
    return made


def in_the_new_form(path: Path, prefix: str, name: str) -> bytes:
    bundle = json.loads(path.read_bytes())
    objects = [extended(obj, prefix) for obj in bundle["objects"]]
    bundle["objects"] = [definition(name), *objects]
    return json.dumps(bundle).encode()


@pytest.mark.parametrize("path", inputs(), ids=lambda path: path.parent.name + "/" + path.name)
@pytest.mark.parametrize(
    ("prefix", "name"), [("x_misp_", "Anything"), ("misp_", "Anything"), ("", "MISP Extensions")]
)
def test_the_new_form_is_restored_as_the_old_one_is(path: Path, prefix: str, name: str) -> None:
    before = convert(path, now=NOW, source="case")
    after = convert(in_the_new_form(path, prefix, name), now=NOW, source="case")
    assert after.events == before.events
    added = after.ledger.to_dict()["objects"] - before.ledger.to_dict()["objects"]
    assert added == 1  # the definition


def test_an_extension_of_someone_else_is_left_alone() -> None:
    """Neither its name nor its properties say that it is of MISP."""
    path = CASES / "misp-flag-is-what-its-label-says" / "in.json"
    bundle = json.loads(in_the_new_form(path, "", "Scores of a vendor"))
    for obj in bundle["objects"]:
        if obj["type"].startswith("misp-"):
            obj["type"] = "indicator"
    result = convert(json.dumps(bundle).encode(), now=NOW)
    assert not [row for event in result.events for row in event["Attribute"]]
