"""The MISP of this folder: the double, and a real one where the environment names it."""

import os
from collections.abc import Iterator

import pytest
from doubles.misp import MispDouble
from helpers.delivering import Delivering, sink_of
from helpers.misp import SHARING_GROUP, Misp, Proxy


@pytest.fixture(params=["double", "real"])
def misp(request: pytest.FixtureRequest) -> Iterator[Misp]:
    """A MISP whose key may do everything; a real one where MISP_URL and MISP_KEY name it."""
    yield from _misp(request.param, "admin", "MISP_KEY")


@pytest.fixture(params=["double", "real"])
def plain_misp(request: pytest.FixtureRequest) -> Iterator[Misp]:
    """A MISP whose key may neither create tags nor publish; a real one by MISP_USER_KEY."""
    yield from _misp(request.param, "user", "MISP_USER_KEY")


@pytest.fixture
def double(request: pytest.FixtureRequest) -> Iterator[MispDouble]:
    """The double alone, for tests that look into it; options by the marker `misp_double`."""
    marker = request.node.get_closest_marker("misp_double")
    with MispDouble(**(marker.kwargs if marker else {})) as made:
        yield made


@pytest.fixture
def deliver(misp: Misp) -> Iterator[Delivering]:
    """Delivers events to the MISP by one sink."""
    sink = sink_of(misp)
    yield Delivering(sink)
    sink.close()


def _misp(kind: str, role: str, variable: str) -> Iterator[Misp]:
    if kind == "double":
        galaxies = {f'misp-galaxy:{kind}="known"': {} for kind in ("threat-actor", "tool")}
        with MispDouble(role=role, sharing_groups=[SHARING_GROUP], clusters=galaxies) as double:
            made = Misp(double.url, double.key, (double.url, double.key), double)
            yield made
            made.close()
        return
    url, key, event_uuid = (os.environ.get(name) for name in ("MISP_URL", "MISP_KEY", variable))
    if not url or not key or not event_uuid:
        pytest.skip(f"needs MISP_URL, MISP_KEY and {variable}")
    proxy = Proxy(url)
    made = Misp(proxy.url, event_uuid, (url, key), proxy)
    try:
        yield made
    finally:
        made.close()
        proxy.close()
