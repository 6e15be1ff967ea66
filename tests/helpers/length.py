"""How long the slow suites are: as long as they say, or a part of that where a suite has to be
short.
"""

import os

SHORTER = int(os.environ.get("SHORTER", "1"))
"""`make slow SHORTER=5` takes a fifth of the examples and kills."""


def at_length(number: int) -> int:
    """A number of examples, or of kills."""
    return max(1, number // SHORTER)
