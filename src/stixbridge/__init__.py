"""stixbridge: from STIX 2 and TAXII to MISP.

Public names are loaded at their first use, so that importing the package is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stixbridge.api import Result, convert
    from stixbridge.conversion.to_misp.original_objects import preserved_objects
    from stixbridge.enrich import Enrich
    from stixbridge.errors import (
        ConfigError,
        InputError,
        ServerError,
        StixbridgeError,
        StoreError,
        Unreachable,
    )
    from stixbridge.http import Auth
    from stixbridge.ledger import Ledger
    from stixbridge.pipeline.pipeline import Pipeline
    from stixbridge.sinks.feed.sink import FeedSink
    from stixbridge.sinks.files import FilesSink
    from stixbridge.sinks.misp.sink import MispSink
    from stixbridge.sources.taxii.v21 import Taxii21

__version__ = "0.1.0"

_HOME = {
    "convert": "api",
    "Result": "api",
    "preserved_objects": "conversion.to_misp.original_objects",
    "Enrich": "enrich",
    "Ledger": "ledger",
    "Auth": "http",
    "Pipeline": "pipeline.pipeline",
    "Taxii21": "sources.taxii.v21",
    "MispSink": "sinks.misp.sink",
    "FeedSink": "sinks.feed.sink",
    "FilesSink": "sinks.files",
    "StixbridgeError": "errors",
    "ConfigError": "errors",
    "InputError": "errors",
    "ServerError": "errors",
    "StoreError": "errors",
    "Unreachable": "errors",
}

__all__ = [
    "Auth",
    "ConfigError",
    "Enrich",
    "FeedSink",
    "FilesSink",
    "InputError",
    "Ledger",
    "MispSink",
    "Pipeline",
    "Result",
    "ServerError",
    "StixbridgeError",
    "StoreError",
    "Taxii21",
    "Unreachable",
    "convert",
    "preserved_objects",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'stixbridge' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
