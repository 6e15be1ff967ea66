"""A strict double of a MISP 2.5 server.

It answers as the real server was seen to answer, drops silently what that drops silently, and makes
the test fail on any route, method, parameter or field it does not know.

    with MispDouble(role="sync") as misp:
        push_to(misp.url, misp.key)
        assert misp.find("198.51.100.7")

Inferred from MISP's source and not measured: `deleted: 1` in a search shows only what is deleted
(in `/events/view` it shows both); a comment with a four-byte character is a 500 like one in `info`;
a report name or sighting source over 255 characters is a 500; an attribute of an edit with an
unknown sharing group is dropped.
"""

from .model import Request
from .server import MispDouble

__all__ = ["MispDouble", "Request"]
