"""One object that can't be read costs one object: in files, on pages, and in streams."""

import io
import json
from typing import Any

import pytest
from servers.reading import indicator

from stixbridge.ledger import Reason
from stixbridge.stix.reader import Entry, read_bytes
from stixbridge.stix.stream import Scan

GOOD = [indicator(number) for number in range(5)]
BAD_ID = indicator(9)["id"]
ODD = {
    "NaN": b"NaN",
    "a number out of range": b"1e400",
    "latin-1": b'"caf\xe9"',
    "a lone surrogate": b'"\\ud800"',
    "too deep": b"[" * 2_000 + b"]" * 2_000,
    "nothing": b"",
    "single quotes": b"'x'",
}


def document(shape: str, odd: bytes) -> bytes:
    """Five objects and one odd one at the third place."""
    bad = b'{"type": "indicator", "id": "%s", "x_value": %s}' % (BAD_ID.encode(), odd)
    texts = [json.dumps(item).encode() for item in GOOD]
    members = b", ".join([*texts[:2], bad, *texts[2:]])
    return {
        "bundle": b'{"type": "bundle", "id": "bundle--1", "objects": [%s]}',
        "envelope": b'\xef\xbb\xbf{"more": false, "objects": [%s]}\n',
        "list": b"[%s]",
    }[shape] % members


def streamed(data: bytes) -> list[Entry]:
    scan = Scan(io.BytesIO(data))
    entries = list(scan.entries())
    assert not scan.broken
    return entries


@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
@pytest.mark.parametrize("shape", ["bundle", "envelope", "list"])
@pytest.mark.parametrize("read", [lambda data: read_bytes(data).entries, streamed])
def test_the_others_are_read_and_the_odd_one_is_told_with_its_place(
    shape: str, odd: bytes, read: Any
) -> None:
    entries = read(document(shape, odd))
    assert [entry.obj for entry in entries if entry.obj is not None] == GOOD
    (bad,) = [entry for entry in entries if entry.obj is None]
    place = "$[2]" if shape == "list" else "$.objects[2]"
    assert (bad.path, bad.reason, bad.id) == (place, Reason.INVALID_JSON, BAD_ID)


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_document_that_is_cut_is_not_read_in_parts(cut: int) -> None:
    (entry,) = read_bytes(document("bundle", b"1")[:-cut]).entries
    assert (entry.path, entry.reason) == ("$", Reason.INVALID_JSON)


@pytest.mark.parametrize("read", [lambda data: read_bytes(data).entries, streamed])
def test_bundles_inside_objects_are_opened(read: Any) -> None:
    bundles = [{"type": "bundle", "id": f"bundle--{at}", "objects": [GOOD[at]]} for at in (0, 1)]
    for value in ({"objects": bundles}, {"type": "bundle", "objects": bundles}, bundles):
        entries = read(json.dumps(value).encode())
        assert [entry.obj for entry in entries] == GOOD[:2]
