"""Several feeds, one value.

What they have in common, and the values that analysts have found to be harmless.
"""

from __future__ import annotations

from typing import Any

from stixbridge import times
from stixbridge.store import Store


def overlaps(store: Store, *, least: int = 2) -> list[dict[str, Any]]:
    """Values that several pipelines deliver.

    Args:
        store: from `wiring.open_store`.
        least: in how many pipelines a value has to be.

    Returns:
        A row for each: `value`, `types`, `pipelines`, `events`; what the most pipelines say comes
        first.
    """
    return store.placements.shared_values(least)


def shares(store: Store) -> list[dict[str, Any]]:
    """Of each two pipelines, how many values they have in common, and how many each has."""
    return store.placements.common_counts()


def suppressed(store: Store) -> list[dict[str, str]]:
    """The suppression list: `value`, `why`, `since`."""
    return [{**row, "since": times.to_text(row["since"])} for row in store.suppression.rows()]
