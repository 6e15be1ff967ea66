"""A TAXII 2.1 server in the test's own process: strict, and misbehaving on command.

>>> with TaxiiDouble(page_size=2) as server:
...     server.add_collection("Indicators")
...     server.add("Indicators", objects)
...     server.fail_next(429, headers={"Retry-After": "1"})
...     read(server.url)
"""

from .double import MEDIA_TYPE, Misbehaviour, TaxiiDouble
from .double20 import Taxii20Double
from .http import Request, always, for_objects

__all__ = [
    "MEDIA_TYPE",
    "Misbehaviour",
    "Request",
    "Taxii20Double",
    "TaxiiDouble",
    "always",
    "for_objects",
]
