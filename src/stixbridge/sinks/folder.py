"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson

from stixbridge.errors import ConfigError
from stixbridge.misp.model import MispEvent


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new, never a part.

    Raises:
        ConfigError: when the folder can't be written to.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of the one that is there when all is written.

    Raises:
        ConfigError: when the folder can't be written to.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; check the folder's rights and free space"
        ) from None


def make_folder(path: Path) -> Path:
    """Make a folder where there is none.

    Raises:
        ConfigError: when it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; choose another folder") from None
    return path


def event_in(path: Path) -> MispEvent | None:
    """The event in a file; None where there is no file, or something else is in it."""
    if not path.exists():
        return None
    try:
        event = orjson.loads(path.read_bytes())["Event"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return event if isinstance(event, dict) else None
