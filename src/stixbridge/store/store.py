"""The store of one configuration: a table of contents.

Every method of a part is one transaction, or reads only.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, Self

from stixbridge.store.database import Database
from stixbridge.store.deliveries import Deliveries
from stixbridge.store.inbox import Inbox
from stixbridge.store.lease import Lease
from stixbridge.store.module_cache import Answers
from stixbridge.store.objects import Objects
from stixbridge.store.placements import Placements
from stixbridge.store.quarantine import Quarantine
from stixbridge.store.runs import Runs
from stixbridge.store.source_facts import SourceFacts
from stixbridge.store.suppression import Suppression


class ObjectStore(Protocol):
    """What selecting what to convert needs: a `Store`, or the `Spool` of one conversion."""

    @property
    def objects(self) -> Objects:
        """The objects of each source."""
        ...

    @property
    def placements(self) -> Placements:
        """Which object is in which event."""
        ...


class Store:
    """The store of one configuration.

    Args (of the constructor):
        path: of the file; made when absent.
        history: microseconds for which pages and runs are remembered; None for ever.

    Attributes:
        database: the file and its transactions.
        inbox: writes what sources bring.
        objects: the objects of each source, and who refers to whom.
        placements: which object is in which event, and the values in the events.
        deliveries: what pipelines want and what was delivered.
        runs: the runs of each pipeline, and how far it has come.
        suppression: values that detect nothing.
        quarantine: dead letters.
        answers: what modules answered.

    Raises:
        StoreError: when the file is locked, damaged, or made by a newer version.
    """

    def __init__(self, path: str | Path, *, history: int | None = None) -> None:
        self.database = Database(path)
        self.history = history
        self.inbox = Inbox(self.database)
        self.objects = Objects(self.database)
        self.placements = Placements(self.database)
        self.deliveries = Deliveries(self.database)
        self.runs = Runs(self.database)
        self.suppression = Suppression(self.database)
        self.quarantine = Quarantine(self.database)
        self.answers = Answers(self.database)

    def source_facts(self, source: str) -> SourceFacts:
        """What was learned of a source's server, by name."""
        return SourceFacts(self.database, source)

    @property
    def path(self) -> str:
        """Of the file."""
        return self.database.path

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def claimed(self) -> AbstractContextManager[None]:
        """Be the only process that works with the store; those that only look need not ask.

        Raises:
            StoreError: when another process does.
        """
        return self.database.claimed()

    def lease(self, name: str) -> AbstractContextManager[Lease]:
        """Be the only one who works on something: `source NAME`, `pipeline NAME` or `sink NAME`.

        Others wait, threads of this process and other processes alike.

        Raises:
            StoreError: when another process does not end its work in time.
            Stopped: when this process is asked to end while it waits.
        """
        return self.database.lease(name)

    def copy_to(self, path: Path) -> Self:
        """A copy of the whole store in another file, made while others may use it.

        Raises:
            StoreError: when the file can't be written.
        """
        self.database.copy_to(path)
        return type(self)(path)

    def backup(self, path: Path) -> None:
        """Write a copy of the whole store, whole or not at all, while others may use it.

        Raises:
            StoreError: when the file can't be written.
        """
        self.database.backup(path)

    @staticmethod
    def restore(path: Path, copy: Path) -> None:
        """Put a copy in the place of a store.

        Raises:
            StoreError: when a process works with the store, or the file can't be written.
        """
        Database.restore(path, copy)

    def forget_history(self, moment: int) -> None:
        """Forget pages, runs and answers of modules that are older than `history`.

        The last run of each pipeline stays.
        """
        if self.history is not None:
            self.runs.forget_before(moment - self.history)
