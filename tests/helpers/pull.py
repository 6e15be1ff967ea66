"""A pipeline without sinks: what a TAXII server gives ends in a store."""

from pathlib import Path
from typing import Any

from stixbridge import times
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.pipeline.pull import PullPolicy
from stixbridge.pipeline.summary import Summary
from stixbridge.sources.taxii.client import Taxii
from stixbridge.sources.taxii.v21 import Taxii21
from stixbridge.store import Store

NOW = "2026-01-10T00:00:00.000000Z"
SOURCE = "acme"


class Pull:
    """Polls of one server into one store.

    Args:
        folder: for the store.
    """

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "stixbridge.db")

    def __call__(
        self,
        url: str,
        *,
        kind: type[Taxii] = Taxii21,
        pull_policy: PullPolicy | None = None,
        now: str = NOW,
        full: bool = False,
        **settings: Any,
    ) -> Summary:
        """Poll once, as a run of a pipeline does."""
        source = kind(url, name=SOURCE, **settings)
        pipeline = Pipeline(
            Maker("pipeline", SOURCE, self.store), source, [], pull_policy=pull_policy
        )
        try:
            return pipeline.run(times.microseconds(now), full=full)
        finally:
            pipeline.close()

    @property
    def ids(self) -> list[str]:
        """The ids in the store, sorted; a bad entry beside them is an error of the test."""
        assert self.store.database.rows("SELECT * FROM rejects") == []
        return sorted(row["id"] for row in self.store.database.rows("SELECT id FROM objects"))

    @property
    def watermarks(self) -> list[str | None]:
        """The watermark of each collection, by title."""
        return [
            row["watermark"]
            for row in self.store.database.rows("SELECT watermark FROM cursors ORDER BY title")
        ]

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()
