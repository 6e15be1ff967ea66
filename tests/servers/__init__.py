"""Real TAXII servers for tests, each from its released package in an environment of its own.

A double shows what we believe about servers; these show whether we believe the right things.

>>> collections = {"Indicators": [(indicator, "2026-01-01T00:00:00.000000Z")]}
>>> with medallion(collections, dir=tmp_path) as server:
...     read(server.url, server.user, server.password)
"""

from .environment import environment
from .process import ServerProcess, StartError
from .taxii import TaxiiServer, medallion, medallion20, opentaxii

__all__ = [
    "ServerProcess",
    "StartError",
    "TaxiiServer",
    "environment",
    "medallion",
    "medallion20",
    "opentaxii",
]
