"""Files, folders, globs and standard input, plain or under gzip."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from hashlib import sha256
from pathlib import Path

from ..errors import InputError
from ..stix.read import MAX_BYTES, Document, read_bytes
from .page import Collection, Page

SUFFIXES = (".json", ".stix", ".stix2", ".jsonl", ".ndjson")


def expand(names: Sequence[str | Path]) -> list[Path | None]:
    """The files that a list of names means, each once, in order; None stands for standard input (`-`).

    Args:
        names: files, folders (their STIX files, at any depth), globs (`**` too), or `-`.

    Raises:
        InputError: for a name that means nothing; all of them at once.
    """
    found: dict[Path | None, None] = {}
    wrong: list[str] = []
    for name in names:
        text = str(name)
        path = Path(text)
        try:
            path.is_dir(), path.exists()
        except OSError as error:
            wrong.append(f"{text[:100]}: {error.strerror or error}")
            continue
        if text == "-":
            found[None] = None
        elif path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_stix_name(file))
            if not inside:
                wrong.append(f"{text}: the folder holds no STIX file ({', '.join(SUFFIXES)}, also under .gz)")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        elif has_magic(text):
            # Path.glob refuses absolute patterns
            names_found = glob(text, recursive=True)  # noqa: PTH207
            matches = sorted(Path(match) for match in names_found if Path(match).is_file())
            if not matches:
                wrong.append(f"{text}: matches no file")
            found.update(dict.fromkeys(matches))
        else:
            wrong.append(f"{text}: no such file")
    if wrong:
        raise InputError("; ".join(wrong))
    return list(found)


def _is_stix_name(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(SUFFIXES)


def read(path: Path | None) -> Document:
    """Read one file, or standard input for None.

    Raises:
        InputError: when it can't be opened or is over the size limit.
    """
    if path is None:
        return read_bytes(_content(None), "standard input")
    return read_bytes(_content(path), str(path))


def _content(path: Path | None) -> bytes:
    """The bytes of a file, read once: a pipe has them once only."""
    try:
        if path is None:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path or 'standard input'}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path or 'standard input'}: over {MAX_BYTES:,} bytes; split it")
    return data


def read_all(names: Sequence[str | Path]) -> Iterator[tuple[str, Document]]:
    """Read all that a list of names means: (name, document)."""
    for path in expand(names):
        name = "-" if path is None else str(path)
        yield name, _named(read(path), name)


def _named(document: Document, name: str) -> Document:
    """The document with its name in the entries that are wrong, so that they can be found."""
    entries = [entry if entry.obj is not None else entry._replace(where=name) for entry in document.entries]
    return Document(entries, document.bundle_id)


class Files:
    """Files as a source of a pipeline: each file is a collection, read again when its content changes.

    Args (of the constructor):
        paths: files, folders, globs.
        name: of the source.
    """

    def __init__(self, paths: Sequence[str | Path], *, name: str = "files") -> None:
        self.name = name
        self._paths = paths

    def collections(self) -> list[Collection]:
        """The files there are."""
        return [Collection("-" if path is None else str(path), str(path)) for path in expand(self._paths)]

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        """The file's content as one page; none where it is as it was."""
        path = None if collection.id == "-" else Path(collection.id)
        data = _content(path)
        mark = sha256(data).hexdigest() if path is not None else None
        if mark is not None and mark == watermark:
            return
        document = read_bytes(data, str(path or "standard input"))
        yield Page(_named(document, collection.id).entries, mark)

    def close(self) -> None:
        """Nothing to close."""
