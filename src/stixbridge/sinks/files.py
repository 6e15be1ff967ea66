"""Plain files: one `<event uuid>.json` an event, `{"Event": {…}}`, as MISP imports and exports it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from stixbridge.envelopes import Delivered, Wanted
from stixbridge.misp.model import MispEvent
from stixbridge.settings.checks import FilePath
from stixbridge.settings.registry import sink
from stixbridge.sinks.base import Delivery, Job, Note, State
from stixbridge.sinks.event_diff import told
from stixbridge.sinks.folder import event_in, make_folder, write_atomically
from stixbridge.sinks.settings import SinkSettings


@dataclass(frozen=True, kw_only=True)
class FilesSinkSettings(SinkSettings):
    """A folder of event files, `EVENT-UUID.json`.

    Attributes:
        path: the folder; made where there is none.
    """

    path: FilePath


@sink("files", FilesSinkSettings)
class FilesSink:
    """A folder of event files.

    Args (of the constructor):
        path: the folder; made when absent.
        name: of the sink.
    """

    def __init__(self, path: str | Path, *, name: str = "files") -> None:
        self.name = name
        self.restores = False
        self.settings = ""
        self._path = FilesSinkSettings(path=Path(path)).path.expanduser()
        self._rehearsing = False

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Write each event; a file that is as it should be is left alone."""
        if not self._rehearsing:
            make_folder(self._path)
        for job in jobs:
            path = self._path / f"{job.uuid}.json"
            data = event_bytes(job.event)
            existed = path.exists()
            action = "updated" if existed else "created"
            changes: list[str] = []
            if existed and path.read_bytes() == data:
                action = "unchanged"
            elif self._rehearsing:
                changes = told(event_in(path) or {}, job.event)
            else:
                write_atomically(path, data)
            yield Delivery(
                job.uuid, State.DELIVERED, Delivered.of(job.wanted), action, changes=changes
            )

    def rehearsal(self) -> FilesSink:
        """This sink, reading the folder only."""
        twin = copy(self)
        twin._rehearsing = True
        return twin

    def lacks(self, tags: set[str]) -> dict[str, int]:
        """Nothing: files hold what they need."""
        return {}

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted | None:
        """All of it."""
        return wanted

    def others_work(self, delivered: Delivered, uuids: set[str]) -> dict[str, dict[str, Any]]:
        """None: nobody else works there."""
        return {}

    def limits(self) -> list[str]:
        """None."""
        return []

    def false_positives(self, since: int) -> list[tuple[str, int]]:
        """None: nobody can say so there."""
        return []

    def close(self) -> None:
        """Nothing to close."""


def event_bytes(event: MispEvent) -> bytes:
    """The content of an event file."""
    return orjson.dumps({"Event": event})
