"""Golden cases: one folder a behaviour, named for it.

`make cases` writes the outputs; a person reads the diff.
"""

import json

import pytest
from cases.write import CASES, names, output

from stixbridge.mapping import TABLES


@pytest.mark.parametrize("name", names())
def test_case(name: str) -> None:
    expected = json.loads((CASES / name / "out.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(output(name))) == expected


def _types(value: object) -> set[str]:
    """The types of all objects in a document, however deep they stand in it."""
    if isinstance(value, list):
        return {kind for item in value for kind in _types(item)}
    if not isinstance(value, dict):
        return set()
    kind = value.get("type")
    own = {kind} if isinstance(kind, str) else set()
    return own | {inner for item in value.values() for inner in _types(item)}


def test_every_type_has_a_case() -> None:
    documents = [(CASES / name / "in.json").read_bytes() for name in names()]
    found = {kind for document in documents for kind in _types(_read(document))}
    assert TABLES.keys() - found == set()


def _read(document: bytes) -> object:
    try:
        return json.loads(document)
    except ValueError:
        return None
