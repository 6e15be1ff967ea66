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
from stixbridge.store.sources import Sources
from stixbridge.store.suppression import Suppression


class ObjectStore(Protocol):
    """The part of a store that selection needs: a `Store`, or the `Spool` of one conversion."""

    @property
    def objects(self) -> Objects:
        """The objects of each source."""
        ...

    @property
    def placements(self) -> Placements:
        """The objects in each event."""
        ...


class Store:
    """The store of one configuration.

    Args (of the constructor):
        path: the path of the file; it is created if it does not exist.
        history: how long pages and runs are kept, in microseconds; None for ever.

    Attributes:
        database: the file and its transactions.
        inbox: stores the pages of sources.
        sources: the collections of each source, and comparisons with its manifests.
        objects: the objects of each source, and the references between them.
        placements: the objects and values in each event.
        deliveries: wanted events and their deliveries.
        runs: the runs of each pipeline, and its progress.
        suppression: harmless values.
        quarantine: dead letters.
        answers: answers of modules.

    Raises:
        StoreError: the file is locked, damaged, or made by a newer version.
    """

    def __init__(self, path: str | Path, *, history: int | None = None) -> None:
        self.database = Database(path)
        self.history = history
        self.inbox = Inbox(self.database)
        self.sources = Sources(self.database)
        self.objects = Objects(self.database)
        self.placements = Placements(self.database)
        self.deliveries = Deliveries(self.database)
        self.runs = Runs(self.database)
        self.suppression = Suppression(self.database)
        self.quarantine = Quarantine(self.database)
        self.answers = Answers(self.database)

    def source_facts(self, source: str) -> SourceFacts:
        """The facts about the server of a source, by name."""
        return SourceFacts(self.database, source)

    @property
    def path(self) -> str:
        """The path of the file."""
        return self.database.path

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def claimed(self) -> AbstractContextManager[None]:
        """Claim the store, so that no other process works with it. Reading needs no claim.

        Raises:
            StoreError: another process works with it.
        """
        return self.database.claimed()

    def lease(self, name: str) -> AbstractContextManager[Lease]:
        """Take the lease on a task: `source NAME`, `pipeline NAME` or `sink NAME`.

        Other threads and processes wait for it.

        Raises:
            StoreError: another process does not end its work in time.
            Stopped: this process is asked to end while it waits.
        """
        return self.database.lease(name)

    def copy_to(self, path: Path) -> Self:
        """Copy the store to another file; others may use the store meanwhile.

        Raises:
            StoreError: the file can't be written.
        """
        self.database.copy_to(path)
        return type(self)(path)

    def backup(self, path: Path) -> None:
        """Write a complete copy of the store, or nothing; others may use the store meanwhile.

        Raises:
            StoreError: the file can't be written.
        """
        self.database.backup(path)

    @staticmethod
    def restore(path: Path, copy: Path) -> None:
        """Replace a store by a copy.

        Raises:
            StoreError: a process works with the store, or the file can't be written.
        """
        Database.restore(path, copy)

    def forget_history(self, moment: int) -> None:
        """Forget pages, runs and answers of modules that are older than `history`.

        The last run of each pipeline stays.
        """
        if self.history is not None:
            self.runs.forget_before(moment - self.history)
