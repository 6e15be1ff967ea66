"""Several feeds, one value: what they have in common, and the values that analysts have found to be harmless."""

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
        A row for each: `value`, `types`, `pipelines`, `events`; what the most pipelines say comes first.
    """
    rows = store.query(_OVERLAPS, least=least)
    for row in rows:
        row["types"] = sorted(row["types"].split(","))
        row["pipelines"] = sorted(row["pipelines"].split(","))
    return rows


def shares(store: Store) -> list[dict[str, Any]]:
    """Of each two pipelines, how many values they have in common, and how many each has."""
    return store.query(_SHARES)


def suppressed(store: Store) -> list[dict[str, str]]:
    """The suppression list: `value`, `why`, `since`."""
    rows = store.query(
        "SELECT value, why, since FROM suppressed WHERE removed IS NULL ORDER BY value"
    )
    return [{**row, "since": times.to_text(row["since"])} for row in rows]


_OVERLAPS = """
SELECT value, group_concat(DISTINCT type) AS types, group_concat(DISTINCT pipeline) AS pipelines,
  count(DISTINCT event) AS events
FROM elements GROUP BY value HAVING count(DISTINCT pipeline) >= :least
ORDER BY count(DISTINCT pipeline) DESC, value
"""
_SHARES = """
WITH told AS (SELECT DISTINCT pipeline, value FROM elements),
  sizes AS (SELECT pipeline, count(*) AS size FROM told GROUP BY pipeline)
SELECT a.pipeline AS one, b.pipeline AS other, count(*) AS common, s.size AS of_one, t.size AS of_other
FROM told a JOIN told b ON a.value = b.value AND a.pipeline < b.pipeline
JOIN sizes s ON s.pipeline = a.pipeline JOIN sizes t ON t.pipeline = b.pipeline
GROUP BY a.pipeline, b.pipeline ORDER BY common DESC
"""
