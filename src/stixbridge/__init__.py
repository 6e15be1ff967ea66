"""stixbridge: from STIX 2 and TAXII to MISP and back.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Result, convert
    from .conversion.preserving import preserved_objects
    from .enrich import Enrich
    from .errors import ConfigError, InputError, ServerError, StixbridgeError, StoreError, Unreachable
    from .ledger import Ledger
    from .net import Auth
    from .pipeline import Pipeline
    from .sinks.feed import FeedSink
    from .sinks.files import FilesSink
    from .sinks.misp import MispSink
    from .sources.taxii21 import Taxii21

__version__ = "0.1.0"

_HOME = {
    "convert": "api",
    "Result": "api",
    "preserved_objects": "conversion.preserving",
    "Enrich": "enrich",
    "Ledger": "ledger",
    "Auth": "net",
    "Pipeline": "pipeline",
    "Taxii21": "sources.taxii21",
    "MispSink": "sinks.misp",
    "FeedSink": "sinks.feed",
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
