"""Real files: every one converts, and the ledger adds up to the input."""

import json
from pathlib import Path

import pytest
from helpers.paths import corpora_folder

from stixbridge import convert

NOW = "2026-02-01T00:00:00Z"


def files() -> list[Path]:
    folder = corpora_folder()
    if folder is None:
        return []
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix in (".json", ".stix2") and not path.name.endswith(".misp.json")
    ]
    return sorted(path for path in found if "misp-events" not in path.parts)


def entries(path: Path) -> list[object]:
    value = json.loads(path.read_bytes())
    if isinstance(value, dict) and value.get("type") == "bundle":
        return list(value.get("objects") or [])
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    "source",
    sorted({path.parts[len(folder.parts)] for path in files()})
    if (folder := corpora_folder())
    else [],
)
def test_every_file_of_a_producer(source: str, corpora: Path) -> None:
    for path in files():
        if path.parts[len(corpora.parts)] != source:
            continue
        result = convert(path, now=NOW, source="corpus")
        ledger = result.ledger.to_dict()
        given = entries(path)
        assert ledger["objects"] == len(given), path
        assert sum(ledger["outcomes"].values()) == len(given), path
        properties = sum(len(item) for item in given if isinstance(item, dict))
        assert sum(ledger["properties"].values()) == properties, path
        reasons = {entry.get("reason") for entry in ledger["entries"] if "path" not in entry}
        assert None not in reasons, path
        again = convert(list(reversed(given)), now=NOW, source="corpus")
        assert again.events == result.events, path


def test_there_are_real_files(corpora: Path) -> None:
    assert len(files()) > 500
