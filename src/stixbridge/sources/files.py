"""Files, folders, globs and standard input, plain or under gzip."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO

from stixbridge.errors import InputError
from stixbridge.ledger import Reason
from stixbridge.settings.registry import source
from stixbridge.sources.base import Collection, Page, Source
from stixbridge.sources.settings import SourceSettings
from stixbridge.stix.reader import GZIP, MAX_BYTES, Document, Entry, read_bytes
from stixbridge.stix.stream import Scan

SMALL = 10_000_000
"""Bytes up to which a file is read as a whole."""
_PAGE = 2_000
_PIECE = 1_000_000
_PACKS_TO = 10
SUFFIXES = (".json", ".stix", ".stix2", ".jsonl", ".ndjson")


def expand(names: Sequence[str | Path]) -> list[Path | None]:
    """The files that a list of names means, each once, in order.

    None stands for standard input (`-`).

    Args:
        names: files, folders (their STIX files, at any depth), globs (`**` too), or `-`.

    Raises:
        InputError: for a name that means nothing; all of them at once.
    """
    files: dict[Path | None, None] = {}
    problems: list[str] = []
    for name in names:
        try:
            files.update(dict.fromkeys(_meant_by(str(name))))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))
    return list(files)


def _meant_by(name: str) -> list[Path | None]:
    """The files that one name means.

    Raises:
        InputError: when it means nothing.
    """
    if name == "-":
        return [None]
    path = Path(name)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(f"{name[:100]}: {error.strerror or error}") from None
    if is_folder:
        files = (file for file in path.rglob("*") if file.is_file() and _is_stix_name(file))
        nothing = f"the folder holds no STIX file ({', '.join(SUFFIXES)}, also under .gz)"
    elif is_there:
        return [path]
    elif has_magic(name):
        # Path.glob refuses absolute patterns
        matches = map(Path, glob(name, recursive=True))  # noqa: PTH207
        files = (match for match in matches if match.is_file())
        nothing = "matches no file"
    else:
        raise InputError(f"{name}: no such file")
    found: list[Path | None] = [*sorted(files)]
    if not found:
        raise InputError(f"{name}: {nothing}")
    return found


def _is_stix_name(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(SUFFIXES)


class Input:
    """One file, or standard input.

    How large it is unpacked, and its content, as a whole or as a stream.

    A pipe has its content once only: it is read at once, and what is over `in_memory` bytes goes to
    a temporary file.

    Args (of the constructor):
        path: the file; None for standard input.
        in_memory: how much of a pipe is kept in memory.

    Raises:
        InputError: when it can't be read.
    """

    def __init__(self, path: Path | None, in_memory: int = MAX_BYTES) -> None:
        self.name = "-" if path is None else str(path)
        self.title = "standard input" if path is None else self.name
        self._path = path
        self._spooled: IO[bytes] | None = None
        with self._told():
            if path is None:
                if sys.stdin is None:
                    raise InputError("standard input: it is closed; give a file")
                self._spooled = _spool(sys.stdin.buffer, in_memory)
            elif not path.is_file():
                with path.open("rb") as pipe:
                    self._spooled = _spool(pipe, in_memory)
            with self._opened() as file:
                self.size = _unpacked_size(file)

    def data(self) -> bytes:
        """All of it, as it is.

        Raises:
            InputError: when it can't be read or is over the size limit.
        """
        with self._told(), self._opened() as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"{self.title}: over {MAX_BYTES:,} bytes; split it")
        return data

    def document(self) -> Document:
        """All of it, read; entries that are wrong carry its name.

        Raises:
            InputError: when it can't be read or is over the size limit.
        """
        return _named(read_bytes(self.data(), self.title), self.name)

    def digest(self) -> str:
        """The SHA-256 of the file as it is.

        Raises:
            InputError: when it can't be read.
        """
        with self._told(), self._opened() as file:
            found = sha256()
            while piece := file.read(_PIECE):
                found.update(piece)
            return found.hexdigest()

    def is_readable(self, *, lines: bool) -> bool:
        """Whether a stream of it comes to its end without an error.

        Args:
            lines: read it as JSON lines.

        Raises:
            InputError: when it can't be read, or holds a value over the limit.
        """
        with self.stream() as file:
            scan = Scan(file, self.title, lines=lines)
            try:
                for _ in scan.entries():
                    pass
            except (gzip.BadGzipFile, EOFError, zlib.error):
                return False
            return not scan.broken

    @contextmanager
    def stream(self) -> Iterator[IO[bytes]]:
        """Its content, unpacked.

        Raises:
            InputError: when it can't be read.
        """
        with self._told(), self._opened() as file:
            packed = file.read(2) == GZIP
            file.seek(0)
            if not packed:
                yield file
            else:
                with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                    yield unpacked  # type: ignore[misc]

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self._spooled is not None:
            self._spooled.seek(0)
            yield self._spooled
        elif self._path is not None:
            with self._path.open("rb") as file:
                yield file

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the system in words."""
        try:
            yield
        except gzip.BadGzipFile:
            raise
        except OSError as error:
            raise InputError(f"{self.title}: {error.strerror or error}") from None


def _spool(pipe: IO[bytes], in_memory: int) -> IO[bytes]:
    spooled = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115 - it lives as long as the input
    shutil.copyfileobj(pipe, spooled, 1_000_000)
    return spooled


def _unpacked_size(file: IO[bytes]) -> int:
    """The bytes that a file unpacks to, as far as gzip says (RFC 1952, section 2.3.1)."""
    packed = file.read(2) == GZIP
    size = file.seek(0, os.SEEK_END)
    if packed and size > 4:
        file.seek(-4, os.SEEK_END)
        # what gzip says is of its last member, and modulo 4 GB: never less than what text packs to
        size = max(size * _PACKS_TO, int.from_bytes(file.read(4), "little"))
    return size


def read(path: Path | None) -> Document:
    """Read one file, or standard input for None.

    Raises:
        InputError: when it can't be opened or is over the size limit.
    """
    given = Input(path)
    return read_bytes(given.data(), given.title)


def _named(document: Document, name: str) -> Document:
    """The document with its name in the entries that are wrong, so that they can be found."""
    entries = [
        entry if entry.obj is not None else entry._replace(where=name) for entry in document.entries
    ]
    return Document(entries, document.bundle_id)


@dataclass(frozen=True, kw_only=True)
class FilesSettings(SourceSettings):
    """Files.

    Attributes:
        paths: files, folders, globs; plain or under gzip. A file is read again when its content
            changes.
    """

    paths: tuple[str, ...]


def _large_pages(given: Input, name: str, watermark: str | None) -> Iterator[Page]:
    """The content of a file that is read as a stream; nothing of one that is broken anywhere."""
    mark = given.digest()
    if mark == watermark:
        return
    lines = next((lines for lines in (False, True) if given.is_readable(lines=lines)), None)
    if lines is None:
        broken = Entry("$", None, Reason.INVALID_JSON, where=name)
        yield Page([broken], mark)
        return
    with given.stream() as file:
        entries = Scan(file, given.title, lines=lines).entries()
        page = list(islice(entries, _PAGE))
        while page:
            following = list(islice(entries, _PAGE))
            named = [
                entry if entry.obj is not None else entry._replace(where=name) for entry in page
            ]
            # the mark stands after the last page: a poll that is cut reads the file again
            yield Page(named, mark if not following else None)
            page = following


@source("files", FilesSettings)
class Files(Source):
    """Files as a source of a pipeline.

    Each file is a collection, read again when its content changes.

    Args (of the constructor):
        paths: files, folders, globs.
        name: of the source.
    """

    def __init__(self, paths: Sequence[str | Path], *, name: str = "files") -> None:
        self.name = name
        self._paths = paths

    def collections(self) -> list[Collection]:
        """The files there are."""
        return [
            Collection("-" if path is None else str(path), str(path))
            for path in expand(self._paths)
        ]

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        """The content of the file: one page, or many of a large file; none if it is unchanged."""
        path = None if collection.id == "-" else Path(collection.id)
        given = Input(path)
        if path is not None and given.size > SMALL:
            yield from _large_pages(given, collection.id, watermark)
            return
        data = given.data()
        mark = sha256(data).hexdigest() if path is not None else None
        if mark is not None and mark == watermark:
            return
        document = read_bytes(data, given.title)
        yield Page(_named(document, collection.id).entries, mark)
