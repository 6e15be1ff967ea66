"""What must hold for any bytes; a check raises when it does not."""

import zlib
from collections.abc import Callable

import orjson

from stixbridge import Result, convert
from stixbridge.api import convert_documents, options
from stixbridge.conversion.to_misp.options import Options
from stixbridge.errors import InputError
from stixbridge.stix.pattern import MAX_DEPTH, MAX_LENGTH, PatternError, parse
from stixbridge.stix.pattern_algebra import MAX_ALTERNATIVES, meaning
from stixbridge.stix.reader import Document, Entry, read_bytes

from .reference import reference

NOW = "2026-02-01T00:00:00Z"
SOURCE = "fuzz"
_COMPARED = 200  # characters: the reference takes its time


def reader(data: bytes) -> None:
    """Reader and conversion: no exception but `InputError`, everything accounted, always the same
    result.
    """
    try:
        document = read_bytes(data)
    except InputError:
        return
    result = convert(data, NOW, source=SOURCE)
    assert _said(convert(data, NOW, source=SOURCE)) == _said(result), (
        "a second call gives another result"
    )
    _in_any_order(document, result, options(now=NOW, source=SOURCE))
    # other ways to group, one at a time for the sake of speed
    group = ("day", "creator")[len(document.entries) % 2]
    other = options(now=NOW, source=SOURCE, group=group, labels=["*"], custom="all")
    _in_any_order(document, convert_documents([document], other), other)


def _in_any_order(document: Document, result: Result, settings: Options) -> None:
    turned = convert_documents([Document(document.entries[::-1], document.bundle_id)], settings)
    for made in (result, turned):
        _accounted(made, document.entries)
    assert _shown(turned) == _shown(result), "the order of the input changes the events"


def _accounted(result: Result, entries: list[Entry]) -> None:
    ledger = result.ledger.to_dict()
    assert ledger["objects"] == len(entries), "objects of the ledger and of the input"
    assert sum(ledger["outcomes"].values()) == len(entries), "outcomes don't add up"
    properties = sum(entry.properties if entry.obj is None else len(entry.obj) for entry in entries)
    assert sum(ledger["properties"].values()) == properties, "properties don't add up"
    assert min(ledger["properties"].values()) >= 0, "fewer properties than none"


def _said(result: Result) -> bytes:
    return orjson.dumps([result.events, result.ledger.to_dict()])


def _shown(result: Result) -> bytes:
    return orjson.dumps(result.events)


def pattern(data: bytes, *, sample: bool = False) -> None:
    """Pattern parser: a tree or an error inside the text, a meaning for every tree, the reference's
    verdict.

    Args:
        data: the text; bytes that are no UTF-8 become lone surrogates, which a caller's own objects
            can hold.
        sample: whether to ask the reference about a part of the texts only.
    """
    text = data.decode("utf-8", "surrogateescape")
    try:
        tree = parse(text)
    except PatternError as error:
        assert 0 <= error.position <= len(text), "the error is outside the text"
        accepted = False
    else:
        accepted = True
        assert len(meaning(tree).alternatives) <= MAX_ALTERNATIVES, "more alternatives than allowed"
    if len(text) > MAX_LENGTH or text.count("(") > MAX_DEPTH:
        return  # documented: refused, whatever the grammar says
    if sample and (len(text) > _COMPARED or zlib.crc32(data) % 4):
        return
    try:
        expected = reference(text)
    except RecursionError:
        return
    assert accepted or not expected, "refused, though the reference accepts it"
    assert expected or not accepted, "accepted, though the reference refuses it"


CHECKS: dict[str, Callable[[bytes], None]] = {"reader": reader, "pattern": pattern}
