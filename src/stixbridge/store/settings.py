"""The settings of the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stixbridge.settings.base import Settings
from stixbridge.settings.checks import Duration, FilePath


@dataclass(frozen=True, kw_only=True)
class StoreSettings(Settings):
    """The store.

    Attributes:
        path: the SQLite file; made where there is none, readable by its owner alone. A relative
            path is looked for where the command is run, not beside the configuration: write it in
            full for cron. One process at a time works with it; `stixbridge.db.lock` says which.
        history: how long runs, pages and answers of modules are remembered. Objects and deliveries
            always are.
    """

    path: FilePath = Path("stixbridge.db")
    history: Duration = "90d"
