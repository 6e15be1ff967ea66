"""Policies for hits in warninglists: `enrich.warninglists` of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stixbridge.enrich.settings import ALL, WarninglistSettings
from stixbridge.enrich.warninglists import WarningList, load
from stixbridge.errors import ConfigError
from stixbridge.settings.mistakes import near


@dataclass(frozen=True, slots=True)
class Policy:
    """The action for hits in some lists.

    Attributes:
        action: `drop`, `to_ids_off`, `tag` or `report`.
        slugs: the lists it applies to.
        tag: for the action `tag`.
    """

    action: str
    slugs: frozenset[str]
    tag: str


def policies(settings: Sequence[WarninglistSettings]) -> list[Policy]:
    """Look up the lists of `enrich.warninglists`.

    Args:
        settings: of the pipeline; the first that fits counts.

    Raises:
        ConfigError: naming every list and category that is not there.
    """
    lists = load().lists
    problems = [
        f"warninglists[{number}]: {text}"
        for number, row in enumerate(settings)
        for text in _unknown(row, lists)
    ]
    if problems:
        raise ConfigError(problems)
    return [Policy(row.action, frozenset(_slugs(row, lists)), row.tag) for row in settings]


def _unknown(row: WarninglistSettings, lists: Sequence[WarningList]) -> Iterator[str]:
    """Lists and categories that are named and not there."""
    names = {name: None for item in lists for name in (item.slug, item.name)}
    for name in row.lists if row.lists != ALL else ():
        if name not in names:
            yield f"there is no list {name!r}{near(name, names)}"
    categories = sorted({item.category for item in lists})
    if row.category is not None and row.category not in categories:
        yield f"there is no category {row.category!r}; there are {', '.join(categories)}"


def _slugs(row: WarninglistSettings, lists: Sequence[WarningList]) -> Iterator[str]:
    """The lists that a policy is for."""
    for item in lists:
        chosen = row.lists == ALL or item.slug in row.lists or item.name in row.lists
        if chosen and row.category in (None, item.category):
            yield item.slug
