"""Plain files: `<event uuid>.json` with `{"Event": {…}}`, as MISP imports and exports events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from stixbridge.misp.model import MispEvent
from stixbridge.settings.checks import FilePath
from stixbridge.settings.registry import sink
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Job
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
class FilesSink(Sink):
    """A folder of event files.

    Args (of the constructor):
        path: the folder; made when absent.
        name: of the sink.
        settings: any other setting of `FilesSinkSettings`, as in the configuration.

    Raises:
        ConfigError: naming every setting that is wrong.
    """

    def __init__(self, path: str | Path, *, name: str = "files", **settings: Any) -> None:
        checked = FilesSinkSettings(path=Path(path), **settings)
        super().__init__(
            name, max_tlp=checked.max_tlp, settings=checked.max_tlp or "", place="the folder"
        )
        self._path = checked.path.expanduser()

    def stored(self, job: Job) -> MispEvent | None:
        """The event in its file."""
        return event_in(self._file(job.uuid))

    def write(self, event: MispEvent) -> None:
        """Write the file of an event."""
        make_folder(self._path)
        write_atomically(self._file(str(event["uuid"])), orjson.dumps({"Event": event}))

    def _file(self, uuid: str) -> Path:
        return self._path / f"{uuid}.json"
