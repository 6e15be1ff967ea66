"""Documents that are empty, broken or packed: an accounted ledger, and whoever can be read is."""

import gzip
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from helpers.rich import NOW, accounted, neighbour, rich, survives
from helpers.stix import address, stix_id

from stixbridge import convert

EMPTY: list[Any] = [
    {"type": "bundle", "id": stix_id("bundle", "b"), "objects": []},
    {"type": "bundle", "id": stix_id("bundle", "b")},
    {"type": "bundle"},
    {"objects": []},
    {},
    [],
    b'{"type": "bundle"}',
    "[]",
]


@pytest.mark.parametrize("document", EMPTY, ids=ascii)
def test_documents_without_objects(document: Any) -> None:
    result = convert(document, NOW)
    assert result.events == []
    accounted(result, [])


BROKEN: list[Any] = [
    None, 5, True, 1.5, b"", b"   ", b"null", b"5", b'"x"', b"{", b"[", b"nonsense",
    b'{"type": "bundle", "objects": [',
    b"\xff\xfe", b"\x00" * 100, b"\x1f\x8b", b"\x1f\x8b" + b"\x00" * 50, b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"type": "bundle", "objects": 5}', b'{"type": "bundle", "objects": "x"}',
    '{"type": "\ud800"}', "[\ud800]",
    b'["\\ud800"]', pytest.param(object(), id="object"),
    [[[]]], [None, 5, "x", [], {}], {"type": 5}, {"type": "indicator"}, {"id": "x--y"},
    {"type": "bundle", "objects": [None, [], 5, {}, {"type": None, "id": None}]}, {5: 6},
    {"objects": {"a": 5}},
    gzip.compress(b"nonsense", mtime=0), gzip.compress(b'{"type": "indicator"}', mtime=0)[:-5],
]  # fmt: skip


@pytest.mark.parametrize("document", BROKEN, ids=lambda value: ascii(value)[:40])
def test_documents_that_are_none(document: Any) -> None:
    result = convert(document, NOW)
    assert result.events == []
    outcomes = result.ledger.outcomes
    assert outcomes["invalid"] == result.ledger.objects >= 1
    assert len(result.ledger.entries) == result.ledger.objects


def _lines(objects: Iterable[Any]) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in objects)


@pytest.mark.parametrize(
    "broken", [b'{"type": "indicator", ', b"nonsense", b"\xff\xfe", b"[" * 2_000], ids=ascii
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_broken_line_spares_the_others(broken: bytes, at: int) -> None:
    rows: list[Any] = [neighbour(), address("198.51.100.8")]
    rows.insert(at, broken)
    result = convert(_lines(rows), NOW)
    assert result.ledger.outcomes == {"mapped": 2, "preserved": 0, "dropped": 0, "invalid": 1}
    assert survives(result)


def test_a_text_that_unpacks_to_much() -> None:
    """A thousandfold: read, or refused in words, and the neighbour beside it comes out."""
    long = {**rich()[0], "description": "a" * 20_000_000}
    packed = gzip.compress(orjson.dumps([long, neighbour()]))
    assert len(packed) < 100_000
    result = convert(packed, NOW)
    accounted(result, [long, neighbour()])
    assert survives(result)


@pytest.mark.parametrize("suffix", [b"", b"\x00" * 10, b"trailing", gzip.compress(b"\n", mtime=0)])
def test_what_follows_a_gzip_member(suffix: bytes) -> None:
    result = convert(gzip.compress(orjson.dumps(neighbour())) + suffix, NOW)
    assert result.ledger.objects == 1
    assert survives(result) or result.ledger.outcomes["invalid"] == 1
