"""The mapping of each STIX type to MISP: a file for each type, which is found by being there.

A file of a type has its `TABLE`. Other packages add types by the entry point `stixbridge.types`,
which leads to a table.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from stixbridge.errors import ConfigError
from stixbridge.mapping import identity, location
from stixbridge.mapping.dialects import mitre, opencti
from stixbridge.mapping.tables import CUSTOM, Table
from stixbridge.settings.entry_points import load_entry_points

_COMMANDS = {"reference"}
"""Modules that read the tables, and so can't be imported for them."""


def _own_tables() -> Iterator[Table]:
    for info in iter_modules(__path__):
        if info.name not in _COMMANDS:
            table = getattr(import_module(f"{__name__}.{info.name}"), "TABLE", None)
            if table is not None:
                yield table


def _tables() -> dict[str, Table]:
    tables = {table.stix_type: table for table in (*_own_tables(), *mitre.TABLES, *opencti.TABLES)}
    for name, table in load_entry_points("stixbridge.types").items():
        if not isinstance(table, Table):
            raise ConfigError(f"entry point {name!r} of stixbridge.types must lead to a Table")
        if table.stix_type in tables:
            raise ConfigError(
                f"entry point {name!r} of stixbridge.types: {table.stix_type} has a table already;"
                " uninstall one of the packages"
            )
        tables[table.stix_type] = table
    return tables


TABLES: dict[str, Table] = _tables()
"""STIX type -> its table. The dialects add the types of OpenCTI and ATT&CK."""

DIALECT_TYPES = frozenset(table.stix_type for table in (*mitre.TABLES, *opencti.TABLES))
"""Types outside STIX; another producer may use the same name with other properties."""


def table_of(obj: Mapping[str, Any]) -> Table:
    """Return the table of an object.

    It is the table of its type, except for identities of a sector and locations of an area. A type
    without a table gets `CUSTOM`.
    """
    type_ = obj["type"]
    if type_ == "identity" and obj.get("identity_class") == "class":
        return identity.SECTOR
    if type_ == "location" and _is_area(obj):
        return location.AREA
    return TABLES.get(type_, CUSTOM)


def _is_area(obj: Mapping[str, Any]) -> bool:
    kind = obj.get("x_opencti_location_type")
    return kind in location.AREA_TYPES or (
        kind is None and not any(name in obj for name in location.PLACES)
    )
