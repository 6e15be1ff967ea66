"""Who works on what: leases by name, and the claim to a whole store.

On SQLite they are lock files beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import quote

from stixbridge import stopping
from stixbridge.errors import StoreError

_LOOK_AGAIN = 0.1
"""Seconds between two tries while another process has a lease."""
WAIT = 60.0
"""Seconds to wait for a lease of another process."""


class Lease(Protocol):
    """The exclusive right to work on a task; see `Leases`."""

    def check(self) -> None:
        """Check the lease; to be called before each step that must not happen twice.

        Raises:
            StoreError: the lease is lost, and somebody else may work on the task now.
        """


@dataclass(frozen=True, slots=True)
class FileLease:
    """A lease that ends with its process and can't be lost before."""

    name: str

    def check(self) -> None:
        """Do nothing: this lease can't be lost."""


class Leases:
    """The leases of a store in a file.

    Args (of the constructor):
        path: the path of the store.
        wait: seconds to wait for a lease of another process.
    """

    def __init__(self, path: str, wait: float = WAIT) -> None:
        self._path = path
        self._wait = wait
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def take(self, name: str) -> Iterator[Lease]:
        """See `Store.lease`."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            until = time.monotonic() + self._wait
            path = f"{self._path}.{quote(name.replace(' ', '-'), safe='-')}.lock"
            while (file := _locked(path)) is None:
                if time.monotonic() >= until:
                    raise StoreError(
                        f"{name}: {_holder(path)} works on it with store {self._path}; wait until "
                        "it has ended, or stop it"
                    )
                stopping.wait(_LOOK_AGAIN)
            with _removed_after(path, file):
                yield FileLease(name)


@contextmanager
def claimed(path: str) -> Iterator[None]:
    """Claim a store, so that no other process works with it.

    Raises:
        StoreError: another process works with it.
    """
    file = _locked(f"{path}.lock")
    if file is None:
        raise StoreError(
            f"store {path}: another stixbridge ({_holder(f'{path}.lock')}) works with it; wait "
            "until it has ended, or stop it"
        )
    with file:
        yield


def _locked(path: str) -> IO[str] | None:
    """The lock file, locked and with the number of this process in it.

    None while another has it.
    """
    while True:
        file = Path(path).open("a+")  # noqa: SIM115 - the lock lasts as long as it is open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        with contextlib.suppress(FileNotFoundError):
            if Path(path).stat().st_ino == os.fstat(file.fileno()).st_ino:
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
                return file
        file.close()  # the former holder removed the file meanwhile


@contextmanager
def _removed_after(path: str, file: IO[str]) -> Iterator[None]:
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)  # while it is still locked
        file.close()


def _holder(path: str) -> str:
    try:
        number = Path(path).read_text()[:20].strip()
    except OSError:
        number = ""
    return f"process {number or 'unknown'}"
