"""Fixtures of every test: a MISP, a TAXII server, a bridge between them, and real STIX files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers.bridge import Bridge
from helpers.paths import corpora_folder
from hypothesis import settings

pytest_plugins = ("helpers.cpu",)

# A suite that decides whether a commit is good draws the same examples every time; `make explore`
# draws new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("explore" if os.environ.get("EXPLORE") else "same")


@pytest.fixture
def corpora() -> Path:
    """The folder of real STIX files, where there is one."""
    folder = corpora_folder()
    if folder is None:
        pytest.skip("no real STIX files: set STIXBRIDGE_CORPORA, or put them in ../shared/corpora")
    return folder


@pytest.fixture
def misp(request: pytest.FixtureRequest) -> Iterator[MispDouble]:
    """The double of a MISP, with the options of the marker `misp_double` if there is one."""
    marker = request.node.get_closest_marker("misp_double")
    with MispDouble(**(marker.kwargs if marker else {})) as double:
        yield double


@pytest.fixture
def server() -> Iterator[TaxiiDouble]:
    """The double of a TAXII 2.1 server with an empty collection `All`, ten objects a page."""
    with TaxiiDouble(page_size=10) as double:
        double.add_collection("All")
        yield double


@pytest.fixture
def bridge(misp: MispDouble, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge from a folder of files to the MISP double."""
    made = Bridge(tmp_path, {"misp": {"type": "misp", "url": misp.url, "key": misp.key}})
    yield made
    made.close()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt waits before the next one."""
    monkeypatch.setattr("stixbridge.http.pace.wait_unless_stopped", lambda _: None)
