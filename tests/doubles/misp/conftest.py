"""A MISP double with a clock to set, and a bare client of it."""

from collections.abc import Iterator

import pytest

from . import MispDouble
from .client import Api, Clock


@pytest.fixture
def clock() -> Clock:
    """The clock of the double, which stands until a test moves it."""
    return Clock()


@pytest.fixture
def misp(clock: Clock) -> Iterator[MispDouble]:
    """A double that goes by the clock."""
    with MispDouble(clock=clock) as double:
        yield double


@pytest.fixture
def api(misp: MispDouble) -> Iterator[Api]:
    """A client that sends bare requests."""
    made = Api(misp)
    yield made
    made.http.close()
