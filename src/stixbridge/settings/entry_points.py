"""Entry points: other packages add sources, sinks and more to stixbridge.

| group | adds |
|---|---|
| `stixbridge.sources` | a source: the module or class that registers itself with `@source` |
| `stixbridge.sinks` | a sink: the module or class that registers itself with `@sink` |
| `stixbridge.types` | a STIX type: a mapping table |
| `stixbridge.actions` | an action of rules |
| `stixbridge.plugins` | a function that gets each event |
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from stixbridge.errors import ConfigError


def load_entry_points(group: str) -> dict[str, Any]:
    """Load everything that installed packages register in a group.

    Args:
        group: such as `stixbridge.types`.

    Returns:
        The loaded modules, classes or functions, by the names of their entry points, sorted by
        name.

    Raises:
        ConfigError: when a package can't be loaded; names the package and the reason.
    """
    entries = sorted(metadata.entry_points(group=group), key=lambda entry: entry.name)
    return {entry.name: _loaded(entry) for entry in entries}


def load_entry_point(group: str, name: str) -> Any:
    """Load one entry point of a group; None where no installed package has it.

    Args:
        group: such as `stixbridge.sinks`.
        name: of the entry point.

    Raises:
        ConfigError: when the package can't be loaded; names the package and the reason.
    """
    for entry in metadata.entry_points(group=group, name=name):
        return _loaded(entry)
    return None


def _loaded(entry: metadata.EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        package = entry.dist.name if entry.dist is not None else entry.value
        raise ConfigError(
            f"entry point {entry.name!r} of the group {entry.group} can't be loaded from {package}"
            f" ({type(error).__name__}: {error}); update or uninstall {package}"
        ) from error
