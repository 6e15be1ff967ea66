"""Reads STIX that does not fit in memory: the same entries as `reader`, one by one, in one pass.

The reader finds the end of an object by parsing up to each closing brace. A JSON value is never the
beginning of another JSON value, so the first brace up to which the text parses is the end.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import IO, Any

import orjson

from stixbridge.errors import InputError
from stixbridge.ledger import Reason
from stixbridge.stix import lenient
from stixbridge.stix.reader import Document, Entry, parse, read_value, unreadable

MAX_STREAMED = 200_000_000_000
"""The largest size of a stream in bytes, unpacked."""

_CHUNK = 4_000_000
_MAX_VALUE = 200_000_000
_TRIES = 8

_SPACE = re.compile(rb"[ \t\r\n]*")
_CLOSING = re.compile(rb"\}(?=[ \t\r\n]*[,\]])")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR = re.compile(rb"[^ \t\r\n,\]}]+(?=[ \t\r\n,\]}])")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]"]', re.DOTALL)


class _Broken(Exception):
    """The text is not JSON, or a document that can't be streamed."""


class _Unreadable(_Broken):
    """A value whose end is known and that can't be parsed."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text = text


class Scan:
    """The entries of one input, read as a stream.

    Args (of the constructor):
        file: unpacked bytes.
        where: the name of the input for errors.
        lines: read JSON lines; tried after the input was found not to be a document.

    Attributes (valid after the last entry):
        bundle_id: the id of the bundle, if the input has one.
        broken: whether the input is not JSON or can't be streamed; the entries are then invalid.
    """

    def __init__(self, file: IO[bytes], where: str = "input", *, lines: bool = False) -> None:
        self._file = file
        self._where = where
        self._as_lines = lines
        self._decoder: codecs.IncrementalDecoder | None = None
        self._data = b""
        self._at = 0
        self._ended = False
        self._taken = 0
        self.bundle_id: str | None = None
        self.broken = False

    def entries(self) -> Iterator[Entry]:
        """Yield the same entries as `stixbridge.stix.reader`.

        Raises:
            InputError: one value, or the whole input, is over the limit.
        """
        try:
            yield from self._document()
        except _Broken:
            self.broken = True

    # the document

    def _document(self) -> Iterator[Entry]:
        self._grow()
        if self._data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
            self._data = self._decoder.decode(self._data).encode("utf-8", "replace")
        if self._data.startswith(b"\xef\xbb\xbf"):
            self._at = 3
        if self._as_lines:
            yield from self._lines()
            return
        first = self._peek()
        line, _, rest = self._data[self._at :].partition(b"\n")
        if rest.strip() and _is_value(line):
            yield from self._lines()
        elif first == b"[":
            self._at += 1
            yield from self._list("$")
            self._end()
        elif first == b"{":
            yield from self._object()
            self._end()
        else:
            raise _Broken

    def _object(self) -> Iterator[Entry]:
        """Read a bundle or envelope: members in any order; the list `objects` is streamed."""
        head: dict[str, Any] = {}
        streamed = False
        self._at += 1
        while True:
            byte = self._peek()
            if byte == b"}":
                self._at += 1
                break
            key = self._value()
            if not isinstance(key, str) or self._peek() != b":":
                raise _Broken
            self._at += 1
            if key == "objects" and self._peek() == b"[":
                if streamed:
                    raise InputError(f"{self._where}: has two lists `objects`; make them one")
                streamed = True
                self._at += 1
                yield from self._list("$.objects")
            else:
                head[key] = self._value()
            byte = self._peek()
            if byte == b",":
                self._at += 1
            elif byte != b"}":
                raise _Broken
        if not streamed:
            yield from read_value(head, checked=True).entries
        elif head.get("type", "bundle") != "bundle":
            raise InputError(
                f"{self._where}: one object of type {head['type']!r} with a list `objects`, too"
                " large to be read as a whole; is it meant to be a bundle?"
            )
        found = head.get("id")
        if head.get("type") == "bundle" and isinstance(found, str) and len(found) <= 300:
            self.bundle_id = found

    def _list(self, path: str) -> Iterator[Entry]:
        number = 0
        bundles: set[str] = set()
        if self._peek() == b"]":
            self._at += 1
            return
        while True:
            try:
                document = read_value([self._value()], checked=True)
            except _Unreadable as error:
                document = Document([unreadable("$[0]", lenient.id_in(error.text))])
            for entry in document.entries:
                _, _, inside = entry.path.partition("[0]")
                yield entry._replace(path=f"{path}[{number}]{inside}")
            if document.bundle_id:
                bundles.add(document.bundle_id)
            number += 1
            byte = self._peek()
            self._at += 1
            if byte == b"]":
                self.bundle_id = bundles.pop() if len(bundles) == 1 else None
                return
            if byte != b",":
                raise _Broken

    def _end(self) -> None:
        """Check that nothing follows."""
        self._skip()
        if self._at < len(self._data):
            raise _Broken

    # JSON lines

    def _lines(self) -> Iterator[Entry]:
        good = number = 0
        bundles: set[str] = set()
        while (line := self._next_line()) is not None:
            if not line.strip():
                continue
            path = f"$[{number}]"
            number += 1
            try:
                value = parse(line)
            except orjson.JSONDecodeError:
                yield Entry(path, None, Reason.INVALID_JSON)
                continue
            good += isinstance(value, dict | list)
            document = read_value(value, path, checked=True)
            yield from document.entries
            if document.bundle_id:
                bundles.add(document.bundle_id)
        if not good or good * 2 < number:
            raise _Broken
        self.bundle_id = bundles.pop() if len(bundles) == 1 else None

    def _next_line(self) -> bytes | None:
        looked = 0
        while (end := self._data.find(b"\n", self._at + looked)) < 0:
            looked = len(self._data) - self._at
            if not self._grow():
                line = self._data[self._at :]
                self._at = len(self._data)
                return line or None
        line = self._data[self._at : end]
        self._at = end + 1
        return line

    # one value

    def _value(self) -> Any:
        """Parse the next JSON value."""
        first = self._peek()
        if first == b"{":
            tried = self._tried()
            if tried is not None:
                value, self._at = tried
                return value
        if first in (b"{", b"["):
            end_at = self._closed()
        else:
            end_at = self._matched(_STRING if first == b'"' else _SCALAR)
        start, self._at = self._at, end_at
        try:
            return orjson.loads(memoryview(self._data)[start:end_at])
        except orjson.JSONDecodeError:
            raise _Unreadable(self._data[start:end_at]) from None

    def _tried(self) -> tuple[Any, int] | None:
        """Return the object at this place and its end, or None if it has too many inner braces."""
        tries = 0
        look_from = self._at
        while tries < _TRIES:
            found = _CLOSING.search(self._data, look_from)
            if found is None:
                # the last brace may be the one: what follows it is not read yet
                further = max(look_from, self._data.rfind(b"}", look_from)) - self._at
                if not self._grow():
                    return None
                look_from = further
                continue
            tries += 1
            try:
                return orjson.loads(memoryview(self._data)[self._at : found.end()]), found.end()
            except orjson.JSONDecodeError:
                look_from = found.end()
        return None

    def _closed(self) -> int:
        """Find the end of the object or list at this place by counting brackets."""
        while True:
            depth = 0
            for token in _TOKEN.finditer(self._data, self._at):
                byte = token.group()
                if byte == b'"':
                    break  # a text that is not all there yet
                if byte in (b"{", b"["):
                    depth += 1
                elif byte in (b"}", b"]"):
                    depth -= 1
                    if not depth:
                        return token.end()
            if not self._grow():
                raise _Broken

    def _matched(self, pattern: re.Pattern[bytes]) -> int:
        while (found := pattern.match(self._data, self._at)) is None:
            if not self._grow():
                raise _Broken
        return found.end()

    # bytes

    def _peek(self) -> bytes:
        """Return the next byte that is not a blank.

        Raises:
            _Broken: the input has ended.
        """
        self._skip()
        if self._at >= len(self._data):
            raise _Broken
        return self._data[self._at : self._at + 1]

    def _skip(self) -> None:
        while True:
            found = _SPACE.match(self._data, self._at)
            self._at = found.end() if found is not None else self._at
            if self._at < len(self._data) or not self._grow():
                return

    def _grow(self) -> bool:
        """Discard the text before this place and read more; return False at the end."""
        if self._ended:
            return False
        kept = self._data[self._at :]
        if len(kept) > _MAX_VALUE:
            raise InputError(
                f"{self._where}: one object is over {_MAX_VALUE:,} bytes; leave it out"
            )
        # doubling the text limits how often a value is scanned again from its beginning
        chunk = self._file.read(max(_CHUNK, len(kept)))
        self._taken += len(chunk)
        if self._taken > MAX_STREAMED:
            raise InputError(f"{self._where}: over {MAX_STREAMED:,} bytes")
        self._ended = not chunk
        if self._decoder is not None:
            chunk = self._decoder.decode(chunk, final=self._ended).encode("utf-8", "replace")
        self._data = kept + chunk
        self._at = 0
        return bool(chunk) or not self._ended


def _is_value(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict | list)
    except orjson.JSONDecodeError:
        return False
