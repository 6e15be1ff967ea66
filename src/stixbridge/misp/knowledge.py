"""MISP's own knowledge: attribute types, object templates, galaxy clusters, taxonomies.

It comes from the data files of the packages that ship it (`pymisp`, `pymispgalaxies`,
`pytaxonomies`), which are found without importing those packages: their import costs more than a
whole conversion. What is needed of the files is indexed once, into a JSON file in the user's cache
folder, whose name holds the versions of the packages.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import orjson

from stixbridge.errors import ConfigError
from stixbridge.misp.clusters import FILES, GALAXIES, Clusters, index_galaxy, new_index
from stixbridge.misp.model import NAMESPACE, derived_uuid

_FORMAT = 5
"""Counted up when the form of the index changes."""


@dataclass(frozen=True, slots=True)
class Template:
    """An object template.

    What an object must name, and its relations (relation -> type, settings).
    """

    name: str
    uuid: str
    version: str
    category: str
    relations: dict[str, tuple[str, bool | None, bool, str | None]]
    """relation -> (attribute type, to_ids or None, disable_correlation, category or None)."""


class Knowledge:
    """The index in memory. Look-ups only; loaded once a process by `load`."""

    def __init__(self, index: dict[str, Any], overrides: dict[str, str] | None = None) -> None:
        self.categories: dict[str, str] = index["categories"]
        self.to_ids: frozenset[str] = frozenset(index["to_ids"])
        self.allowed: dict[str, frozenset[str]] = {
            type_: frozenset(categories) for type_, categories in index["allowed"].items()
        }
        self._templates: dict[str, Any] = index["templates"]
        self._taxonomies: dict[str, str] = index["taxonomies"]
        self._spaces: dict[str, list[str]] | None = None
        self.clusters = Clusters(index["clusters"], overrides or {})
        self._loaded: dict[str, Template] = {}

    def template(self, name: str) -> Template:
        """The object template of that name.

        Raises:
            KeyError: where there is none.
        """
        known = self._loaded.get(name)
        if known is None:
            raw = self._templates[name]
            known = Template(
                name,
                raw["uuid"],
                raw["version"],
                raw["category"],
                {key: tuple(row) for key, row in raw["relations"].items()},
            )
            self._loaded[name] = known
        return known

    def taxonomy_tag(self, text: str) -> str | None:
        """The exact spelling of a taxonomy's tag, whatever the case.

        None where no taxonomy has it.
        """
        return self._taxonomies.get(text.lower())

    def taxonomy_entries(self, tag: str) -> list[str]:
        """The tags of the taxonomy whose name space a tag has; none where no taxonomy has it."""
        if self._spaces is None:
            self._spaces = {}
            for exact in self._taxonomies.values():
                self._spaces.setdefault(exact.partition(":")[0], []).append(exact)
        return self._spaces.get(tag.partition(":")[0], [])

    def relations(self, name: str) -> dict[str, tuple[str, bool | None, bool, str | None]]:
        """The relations of an object template; none where there is no such template."""
        return self.template(name).relations if name in self._templates else {}

    def templates(self) -> list[str]:
        """The names of all object templates."""
        return list(self._templates)

    def custom(self, stix_type: str) -> Template:
        """The template of objects of a type that MISP has none for.

        Its UUID is derived from the name.
        """
        return Template(stix_type, derived_uuid(NAMESPACE, "template", stix_type), "1", "misc", {})

    def cluster_tag(
        self, stix_type: str, uuid: str, external_ids: list[str], names: list[str]
    ) -> str | None:
        """The tag of the known galaxy cluster.

        By UUID, else by external id, else by name or synonym.

        Args:
            stix_type: a key of `GALAXIES`.
            uuid: of the STIX object.
            external_ids: its ids in MITRE's catalogues (`T1566`, `G0007`).
            names: its name, then its aliases.

        Returns:
            `misp-galaxy:<type>="<value>"`, or None where no cluster is known.
        """
        match = self.clusters.find(stix_type, uuid, external_ids, names)
        return match.tag if match is not None else None


@lru_cache(maxsize=4)
def load(overrides: Path | None = None) -> Knowledge:
    r"""The knowledge of the installed packages, from the cache where it is warm.

    Args:
        overrides: a JSON file `{"malware:Emotet": "misp-galaxy:malpedia=\"Emotet\""}` that goes
            before the galaxies.
    """
    user: dict[str, str] = {}
    if overrides is not None:
        try:
            raw = orjson.loads(overrides.read_bytes())
            user = {str(key).lower(): str(tag) for key, tag in raw.items()}
        except (OSError, orjson.JSONDecodeError, AttributeError) as error:
            raise ConfigError(
                f"galaxies file {overrides}: {error}; write one JSON object of tags"
            ) from None
    path = _cache_path()
    with contextlib.suppress(OSError, orjson.JSONDecodeError, KeyError):
        return Knowledge(orjson.loads(path.read_bytes()), user)
    index = build()
    with contextlib.suppress(OSError):  # a cache that can't be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(index))
        Path(temporary).replace(path)
    return Knowledge(index, user)


def build() -> dict[str, Any]:
    """Read the packages' data files into the index (a second or two)."""
    types = orjson.loads((package("pymisp") / "data" / "describeTypes.json").read_bytes())["result"]
    allowed: dict[str, list[str]] = {}
    for category, members in types["category_type_mappings"].items():
        for member in members:
            allowed.setdefault(member, []).append(category)
    index: dict[str, Any] = {
        "categories": {
            name: row["default_category"] for name, row in types["sane_defaults"].items()
        },
        "to_ids": [name for name, row in types["sane_defaults"].items() if row["to_ids"]],
        "allowed": allowed,
        "templates": {},
        "taxonomies": {},
        "clusters": new_index(),
    }
    for file in sorted(
        (package("pymisp") / "data" / "misp-objects" / "objects").glob("*/definition.json")
    ):
        raw = orjson.loads(file.read_bytes())
        index["templates"][raw["name"]] = {
            "uuid": raw["uuid"],
            "version": str(raw["version"]),
            "category": raw["meta-category"],
            "relations": {
                relation: (
                    row["misp-attribute"],
                    row.get("to_ids"),
                    bool(row.get("disable_correlation")),
                    (row.get("categories") or [None])[0],
                )
                for relation, row in raw["attributes"].items()
            },
        }
    for file in sorted(
        (package("pytaxonomies") / "data" / "misp-taxonomies").glob("*/machinetag.json")
    ):
        _index_taxonomy(index["taxonomies"], orjson.loads(file.read_bytes()))
    clusters = package("pymispgalaxies") / "data" / "misp-galaxy" / "clusters"
    for galaxy in sorted({galaxy for group in GALAXIES.values() for galaxy in group}):
        index_galaxy(
            index["clusters"],
            galaxy,
            orjson.loads((clusters / f"{FILES.get(galaxy, galaxy)}.json").read_bytes()),
        )
    return index


def _index_taxonomy(tags: dict[str, str], raw: dict[str, Any]) -> None:
    """Every tag of a taxonomy.

    `namespace:predicate="value"`, or `namespace:predicate` where that has no values.
    """
    namespace = raw["namespace"]
    with_values = {row["predicate"] for row in raw.get("values") or ()}
    for predicate in raw["predicates"]:
        if predicate["value"] not in with_values:
            tag = f"{namespace}:{predicate['value']}"
            tags.setdefault(tag.lower(), tag)
    for row in raw.get("values") or ():
        for entry in row["entry"]:
            tag = f'{namespace}:{row["predicate"]}="{entry["value"]}"'
            tags.setdefault(tag.lower(), tag)


def package(name: str) -> Path:
    """The folder of an installed package, which is not imported for it.

    Raises:
        ConfigError: when it is not installed.
    """
    # Not importlib.util.find_spec: for a dotted name it imports the parents.
    spec = PathFinder.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the package {name} is not installed; stixbridge needs its data: pip install {name}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _cache_path() -> Path:
    places = "|".join(
        f"{name} {metadata.version(name)}" for name in ("pymisp", "pymispgalaxies", "pytaxonomies")
    )
    digest = sha256(f"{_FORMAT}|{places}".encode()).hexdigest()[:16]
    return cache_folder() / f"knowledge-{digest}.json"


def cache_folder() -> Path:
    """Where indexes are kept; may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) / "stixbridge"
