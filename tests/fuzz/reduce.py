"""A finding made small: whatever can go without another error goes."""

import contextlib
import gzip
import time
import zlib
from collections.abc import Callable, Iterator

import orjson

from .mutate import dumped, places


def reduced(data: bytes, fails: Callable[[bytes], bool], seconds: float = 60) -> bytes:
    """The smallest input found in some seconds for which `fails` still holds."""
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError, EOFError, zlib.error):
        unpacked = gzip.decompress(data)
        data = unpacked if fails(unpacked) else data
    before = None
    while data != before:
        before = data
        for step in (_less_json, _less_text):
            at, more = 0, True
            while more and time.monotonic() < end:
                more = False
                for smaller in step(data, at):
                    more = True
                    if len(smaller) < len(data) and fails(smaller):
                        data = smaller
                        break
                else:
                    at += 1
    return data


def _less_json(data: bytes, at: int) -> Iterator[bytes]:
    """JSON without its value number `at`, with what is inside of that value in its stead, or with a
    simpler one.
    """
    try:
        value = orjson.loads(data)
    except ValueError:
        return
    found = places([value])
    if at >= len(found):
        return
    held, key = found[at]
    inner = held[key]
    stead = (
        inner
        if isinstance(inner, list)
        else list(inner.values())
        if isinstance(inner, dict)
        else []
    )
    ways = [lambda held, key: held.__delitem__(key)]
    ways += [lambda held, key, new=new: held.__setitem__(key, new) for new in (*stead, 0, "")]
    for way in ways:
        root = [orjson.loads(data)]
        way(*places(root)[at])
        if root:
            yield dumped(root[0])
    yield data  # there may be more values


def _less_text(data: bytes, at: int) -> Iterator[bytes]:
    """Bytes without one run of them, the longest runs first."""
    size = len(data) // 2
    while size:
        count = -(-len(data) // size)
        if at < count:
            yield data[: at * size] + data[(at + 1) * size :]
            return
        at -= count
        size //= 2
