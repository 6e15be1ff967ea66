"""Every type of the specification with every property: the properties are all there, and none is
lost in silence.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import stix2
from helpers.rich import NOW, accounted, everything, rich, rich20
from helpers.stix import Stix
from helpers.stix_classes import CLASSES

from stixbridge import Result, convert
from stixbridge.mapping import DIALECT_TYPES
from stixbridge.mapping.dialects import mitre

# `tlp` markings and the parts of objects are classes of the library, and no types of objects
TYPES = sorted(
    set(CLASSES)
    - {"statement", "tlp"}
    - {name for name in CLASSES if name.endswith(("-ext", "-type"))}
)
EXTENSIONS = sorted(name for name in CLASSES if name.endswith("-ext"))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of the values that are no dictionaries or lists."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from leaves(inner, (*path, key))
    else:
        yield path


def names_of(kind: str) -> set[str]:
    return {name for obj in (*rich(), *rich20()) if obj["type"] == kind for name in obj}


@pytest.mark.parametrize("kind", TYPES)
def test_the_rich_objects_have_every_property(kind: str) -> None:
    library = set(CLASSES[kind]._properties)
    # the library gives marking-definitions no extensions of its own; the other objects have them
    # where they mean one
    assert not library - names_of(kind) - {"extensions", "defanged"}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_rich_objects_have_every_extension(extension: str) -> None:
    found = [
        obj["extensions"][extension] for obj in rich() if extension in obj.get("extensions", ())
    ]
    assert not set(CLASSES[extension]._properties) - {name for one in found for name in one}


@pytest.mark.parametrize("obj", rich(), ids=lambda obj: obj["type"])
def test_the_rich_objects_are_valid(obj: Stix) -> None:
    stix2.parse(
        {**obj, "extensions": _known(obj)} if "extensions" in obj else obj,
        allow_custom=True,
        version="2.1",
    )


def _known(obj: Stix) -> Stix:
    return {name: value for name, value in obj["extensions"].items() if name.endswith("-ext")}


def run(objects: list[Stix], **more: Any) -> Result:
    return convert(
        {"type": "bundle", "id": "bundle--0", "objects": objects}, NOW, labels=["*"], **more
    )


@pytest.mark.parametrize("custom", ["drop", "objects", "all"])
def test_the_rich_objects_are_accounted(custom: str) -> None:
    accounted(run(rich(), custom=custom), rich())
    accounted(run(rich20(), custom=custom), rich20())


# what shows only together with something else, or where it is otherwise than here: an end that is
# to come, versions
UNSEEN = {
    "type", "id", "spec_version", "object_marking_refs", "granular_markings", "revoked",
    "valid_until", "modified", "created", "created_by_ref", "object_refs", "definition_type",
    "external_references",
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_no_value_is_lost_in_silence(kind: str) -> None:
    """Without a value, or with another, the events are others; or the ledger says that it did not
    come through.
    """
    objects = rich()
    assert (
        silent(objects, [at for at, obj in enumerate(objects) if obj["type"] == kind], UNSEEN) == []
    )


REFERRING = ["indicator", "vulnerability", "infrastructure", "report", "domain-name", "file"]
REFERRING += ["observed-data", "relationship", "sighting", "note", "opinion"]


@pytest.mark.parametrize("kind", REFERRING)
def test_no_part_of_a_reference_is_lost_in_silence(kind: str) -> None:
    objects = rich()
    at = next(at for at, obj in enumerate(objects) if obj["type"] == kind)
    alone = [
        {name: value for name, value in obj.items() if name != "external_references"}
        for obj in objects
    ]
    alone[at] = objects[at]
    assert silent(alone, [at], set(objects[at]) - {"external_references"}) == []


@pytest.mark.parametrize("kind", ["note", "opinion"])
def test_the_creator_of_a_note_is_not_lost_in_silence(kind: str) -> None:
    objects = rich()
    at = next(at for at, obj in enumerate(objects) if obj["type"] == kind)
    assert silent(objects, [at], set(objects[at]) - {"created_by_ref"}) == []


def silent(objects: list[Stix], places: list[int], unseen: set[str]) -> list[tuple[str | int, ...]]:
    """The values of some of the objects that make no difference to the events, and of which the
    ledger says nothing.
    """
    whole = run(objects)
    shown = everything(whole)
    found = []
    for at in places:
        for path in leaves(objects[at]):
            if path[0] in unseen or told(whole, objects[at]["id"], path):
                continue
            changed = [
                [*objects[:at], other, *objects[at + 1 :]] for other in without(objects[at], path)
            ]
            if all(everything(run(others)) == shown for others in changed):
                found.append(path)
    return found


def without(obj: Stix, path: tuple[str | int, ...]) -> Iterator[Stix]:
    """The object without a value, and with another one."""
    for change in (None, lambda value: not value if isinstance(value, bool) else f"{value}0"):
        made = copy.deepcopy(obj)
        inner: Any = made
        for key in path[:-1]:
            inner = inner[key]
        if change is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = change(inner[path[-1]])
        yield made


def told(result: Result, id_: str, path: tuple[str | int, ...]) -> bool:
    """Whether the ledger has a line for a value, or for what holds it."""
    text = "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    lines = [row.get("path") for row in result.ledger.entries if row["id"] == id_]
    return any(
        line is None or text == line or text.startswith((f"{line}.", f"{line}[")) for line in lines
    )


@pytest.mark.parametrize(
    "kind", sorted(DIALECT_TYPES - {table.stix_type for table in mitre.TABLES})
)
@pytest.mark.parametrize("value", ["a text", 17])
def test_an_observable_of_a_dialect_never_vanishes(kind: str, value: object) -> None:
    """With properties that its table does not know, it comes out as an unknown type does."""
    obj = {
        "type": kind,
        "id": f"{kind}--00000000-0000-4000-8000-000000000001",
        "never_seen": value,
    }
    result = run([obj])
    assert str(value) in everything(result)
    assert result.ledger.outcomes["mapped"] == 1
