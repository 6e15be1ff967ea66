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
        store: the store of the configuration.
        least: the smallest number of pipelines with the value.

    Returns:
        A row for each value: `value`, `types`, `pipelines`, `events`; values of most pipelines
            first.
    """
    return store.placements.shared_values(least)


def shares(store: Store) -> list[dict[str, Any]]:
    """Return the number of common values, and of all values, for each two pipelines."""
    return store.placements.common_counts()


def suppressed(store: Store) -> list[dict[str, str]]:
    """Return the suppression list: `value`, `why`, `since`."""
    return [{**row, "since": times.to_text(row["since"])} for row in store.suppression.rows()]
