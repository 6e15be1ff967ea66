"""Real TAXII servers to pull from, and a pull without waiting."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.pull import Pull
from servers import TaxiiServer, medallion, opentaxii
from servers.reading import EARLY, EVERYTHING, TLP_RED

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands between a test and its server."""
    for name in _PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def pull(tmp_path: Path) -> Iterator[Pull]:
    """Pulls into a store in the folder of the test."""
    made = Pull(tmp_path)
    yield made
    made.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that the bridge asked for, none of which takes time."""
    asked: list[float] = []
    monkeypatch.setattr("time.sleep", asked.append)  # between two attempts
    monkeypatch.setattr("stixbridge.http.pace.wait_unless_stopped", asked.append)
    return asked


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of real servers."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def med(home: Path) -> Iterator[TaxiiServer]:
    """A medallion with everything in `All`, and `Secret`, which the user may not read."""
    content = {"All": [(item, EARLY) for item in EVERYTHING], "Secret": [(TLP_RED, EARLY)]}
    with medallion(content, page_size=10, readable=["All"], dir=home) as server:
        yield server


@pytest.fixture(scope="module")
def otx(home: Path) -> Iterator[TaxiiServer]:
    """An OpenTAXII with the same."""
    with opentaxii({"All": EVERYTHING, "Secret": [TLP_RED]}, readable=["All"], dir=home) as server:
        yield server


@pytest.fixture(params=["med", "otx"])
def real_server(request: pytest.FixtureRequest) -> TaxiiServer:
    """Each of the real TAXII 2.1 servers."""
    found: TaxiiServer = request.getfixturevalue(request.param)
    return found
