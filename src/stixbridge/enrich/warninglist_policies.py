"""Policies for hits in warninglists: `enrich.warninglists` of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stixbridge import tlp
from stixbridge.enrich.warninglists import WarningList, load
from stixbridge.errors import ConfigError
from stixbridge.settings.mistakes import near

ACTIONS = ("drop", "to_ids_off", "tag", "report")
"""The actions for a hit."""

_KEYS = ("lists", "category", "action", "tag")
DEFAULT_TAG = 'false-positive:risk="medium"'


@dataclass(frozen=True, slots=True)
class Policy:
    """The action for hits in some lists.

    Attributes:
        action: one of `ACTIONS`.
        slugs: the lists it applies to.
        tag: for the action `tag`.
    """

    action: str
    slugs: frozenset[str]
    tag: str = DEFAULT_TAG


def policies(settings: Sequence[Mapping[str, Any]]) -> list[Policy]:
    """Read `enrich.warninglists`: `{ lists = [...], category = "...", action = "..." }`.

    The first policy that applies to a hit counts.

    Raises:
        ConfigError: the message lists every mistake.
    """
    lists = load().lists
    problems: list[str] = []
    read: list[Policy] = []
    for number, row in enumerate(settings):
        mistakes = [*_mistakes(row), *_unknown(row, lists)]
        problems += [f"warninglists[{number}]: {text}" for text in mistakes]
        if not mistakes:
            action, tag = row.get("action", "to_ids_off"), row.get("tag", DEFAULT_TAG)
            read.append(Policy(str(action), frozenset(_slugs(row, lists)), str(tag)))
    if problems:
        raise ConfigError(problems)
    return read


def _mistakes(row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a policy, whatever lists there are."""
    for key in row:
        if key not in _KEYS:
            yield f"unknown setting {key!r}{near(key, dict.fromkeys(_KEYS))}"
    action = row.get("action", "to_ids_off")
    if action not in ACTIONS:
        yield f"action {action!r} is not one of {', '.join(ACTIONS)}"
    if not _is_list_of_names(row.get("lists", [])):
        yield 'lists is a list of names, as ["*"]'
    if not isinstance(row.get("category", ""), str) or not isinstance(row.get("tag", ""), str):
        yield "category and tag are texts"
    elif tlp.is_tlp_tag(row.get("tag", "")):
        yield "a TLP tag can't be put on a hit; choose another tag"


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _unknown(row: Mapping[str, Any], lists: Sequence[WarningList]) -> Iterator[str]:
    """Lists and categories that are named and not there."""
    names = {name: None for item in lists for name in (item.slug, item.name)}
    chosen = row.get("lists", [])
    if _is_list_of_names(chosen) and chosen != ["*"]:
        for name in chosen:
            if name not in names:
                yield f"no list {name!r}{near(name, names)}"
    categories = sorted({item.category for item in lists})
    category = row.get("category")
    if isinstance(category, str) and category not in categories:
        yield f"no category {category!r}; there are {', '.join(categories)}"


def _slugs(row: Mapping[str, Any], lists: Sequence[WarningList]) -> Iterator[str]:
    """The lists that a policy is for."""
    chosen, category = row.get("lists", ["*"]), row.get("category")
    for item in lists:
        named = chosen == ["*"] or item.slug in chosen or item.name in chosen
        if named and category in (None, item.category):
            yield item.slug
