"""What a MISP knows about attribute types, read from the data file that PyMISP ships.

PyMISP itself is not imported: its import costs seconds, and the double has to stay independent of
the code under test.
"""

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple


class TypeInfo(NamedTuple):
    """Defaults that MISP fills in for an attribute type."""

    category: str
    to_ids: bool


class Knowledge(NamedTuple):
    """The tables of `describeTypes`."""

    types: dict[str, TypeInfo]
    categories: dict[str, frozenset[str]]
    raw: dict[str, Any]

    def composite(self, kind: str) -> bool:
        """Whether values of this type are `a|b`."""
        return "|" in kind or kind == "malware-sample"


@functools.cache
def knowledge() -> Knowledge:
    """Load and index the tables once.

    Raises:
        RuntimeError: PyMISP is not installed.
    """
    spec = importlib.util.find_spec("pymisp")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "the MISP double reads attribute types from PyMISP's data: pip install pymisp"
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / "describeTypes.json"
    raw = json.loads(path.read_text(encoding="utf-8"))["result"]
    return Knowledge(
        types={
            name: TypeInfo(
                raw["sane_defaults"][name]["default_category"],
                bool(raw["sane_defaults"][name]["to_ids"]),
            )
            for name in raw["types"]
        },
        categories={
            name: frozenset(kinds) for name, kinds in raw["category_type_mappings"].items()
        },
        raw=raw,
    )
