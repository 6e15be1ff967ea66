"""The fault suite: whatever goes wrong on the way in or out, the end is that of an undisturbed run,
each thing once.

Each fault is injected into runs of the command's own parts against the TAXII and MISP doubles;
after it has passed, runs go on until one has no error, and the end is compared: what is in the
store, what is in MISP, and a further run writes nothing. The counts that `docs/reliability.md`
shows come from `make soak`, with real servers beside the doubles.
"""

import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble, for_objects
from helpers import stix
from helpers.bridge import Bridge
from helpers.command import run, start

from stixbridge.errors import StixbridgeError
from stixbridge.store import database

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_waiting")]

Json = dict[str, Any]
RUNS = 12
TITLE = "All"


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fault of a double takes its time."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "*")


def content() -> list[list[Json]]:
    """What the server gets, one stamp each: indicators, reports of them, links, newer versions, a
    revocation.
    """
    found = [
        stix.indicator(f"198.51.100.{at}", tlp=("green", "amber", None)[at % 3]) for at in range(40)
    ]
    reports = [stix.report(f"report {at}", found[at * 6 : at * 6 + 8]) for at in range(5)]
    links = [stix.relationship(found[at], "related-to", found[at + 7]) for at in range(0, 32, 3)]
    newer = [
        stix.indicator(f"198.51.100.{at}", modified=stix.LATER, name="newer")
        for at in range(0, 40, 9)
    ]
    gone = [stix.indicator("198.51.100.3", modified=stix.LATER, revoked=True)]
    return [found[:20], [*links, *reports[:3]], found[20:], reports[3:], newer, gone]


def fill(server: TaxiiDouble, waves: list[list[Json]]) -> None:
    for objects in waves:
        server.add(TITLE, objects)


class Scene:
    """A TAXII double that is filled in two parts, a MISP double, and a bridge between."""

    def __init__(self, folder: Path, page_size: int = 7) -> None:
        folder.mkdir()
        self.server = TaxiiDouble(page_size=page_size)
        self.misp = MispDouble()
        self.server.__enter__()
        self.misp.__enter__()
        self.server.add_collection(TITLE)
        fill(self.server, content()[:3])
        self.folder = folder
        self.bridge = Bridge(
            folder,
            {"misp": {"type": "misp", "url": self.misp.url, "key": self.misp.key}},
            source={"type": "taxii21", "url": self.server.url, "page_size": page_size},
        )

    def attempt(self) -> bool:
        """One run; whether it had no error."""
        try:
            return self.bridge.run().status == 0
        except StixbridgeError:
            return False

    def finish(self) -> Json:
        """Runs until one is good; then what comes later, and the end."""
        assert any(self.attempt() for _ in range(RUNS)), "no run came through"
        fill(self.server, content()[3:])
        assert any(self.attempt() for _ in range(RUNS)), "no run came through"
        writes = len(self.misp.writes())
        assert self.attempt()
        assert len(self.misp.writes()) == writes, "a run with nothing new wrote"
        stored = self.bridge.store.database.rows(
            "SELECT id, hex(digest) AS digest FROM objects ORDER BY id"
        )
        for event in self.misp.events.values():
            values = [row["value"] for row in event["Attribute"] if not row["deleted"]]
            assert len(values) == len(set(values)), "something is there twice"
        return {"store": stored, "misp": self.misp.snapshot()}

    def close(self) -> None:
        self.bridge.close()
        self.misp.__exit__(None, None, None)
        self.server.__exit__(None, None, None)


@contextmanager
def scene(folder: Path, page_size: int = 7) -> Iterator[Scene]:
    made = Scene(folder, page_size)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """The end of an undisturbed run."""
    with scene(tmp_path_factory.mktemp("calm") / "scene") as made:
        assert made.attempt()
        end = made.finish()
        assert len(made.misp.events) > 5
        return end


def later(request: Any) -> bool:
    return for_objects(request) and "next" in request.query


# The TAXII server

Fault = Callable[[TaxiiDouble], Any]
SERVER_FAULTS: dict[str, Fault] = {
    "a page is cut in the middle": lambda server: server.cut_next(300, when=later),
    "every second page is cut": lambda server: [server.cut_next(250, when=later) for _ in range(3)],
    "the first page is cut": lambda server: server.cut_next(120),
    "the connection is dropped": lambda server: server.drop_next(when=later, times=2),
    "it is dropped so often that a run fails": lambda server: server.drop_next(
        when=for_objects, times=9
    ),
    "429 with a wait": lambda server: server.fail_next(
        429, headers={"Retry-After": "2"}, when=later, times=2
    ),
    "429 without one, for a whole run": lambda server: server.fail_next(
        429, when=for_objects, times=8
    ),
    "500 in between": lambda server: server.fail_next(500, when=later, times=2),
    "500 for a whole run": lambda server: server.fail_next(500, when=for_objects, times=9),
    "503 with a date": lambda server: server.fail_next(
        503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, when=for_objects, times=2
    ),
    "a web page in between": lambda server: server.fail_next(200, "<html>busy</html>", when=later),
    "a web page at discovery": lambda server: server.fail_next(200, "<html>busy</html>"),
    "broken JSON": lambda server: server.fail_next(200, '{"objects": [{"type": "indi', when=later),
    "nothing at all": lambda server: server.fail_next(200, "", when=later, times=2),
    "next has expired": lambda server: server.fail_next(400, {"title": "expired"}, when=later),
    "all nexts are forgotten": lambda server: server.forget_next(),
    "the clock goes back": lambda server: server.clock_step(-120),
    "the clock jumps": lambda server: server.clock_step(86_400),
    "another host": lambda server: server.redirect_next(
        "http://127.0.0.1:1/", when=for_objects, times=4
    ),
    "401 for a while": lambda server: server.fail_next(401, when=for_objects, times=3),
}
SWITCHES: dict[str, Json] = {
    "pages by header only": {"more_without_next": True},
    "next is used up by asking": {"next_consumed_once": True},
    "next dies after two pages": {"next_dies_after": 2},
    "empty pages in between": {"empty_page_with_more": 3},
    "an empty page at the end": {"more_on_last_page": True},
    "next at the end": {"next_with_more_false": True},
    "no times of the server": {"no_date_headers": True},
    "times that are none": {"undefined_headers": True},
    "bundles": {"bundle_instead_of_envelope": True},
    "everything at once": {"no_limit_max": True},
}


# What pages by time only, or forgets where it was, needs pages with room for all objects of one
# time.
ROOM = {"pages by header only": 25, "bundles": 25, "next dies after two pages": 12}


@pytest.mark.parametrize("fault", SERVER_FAULTS)
def test_a_fault_of_the_server(tmp_path: Path, calm: Json, fault: str) -> None:
    with scene(tmp_path / "scene") as made:
        SERVER_FAULTS[fault](made.server)
        made.attempt()
        SERVER_FAULTS[fault](made.server)
        assert made.finish() == calm


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_server_that_is_odd_all_the_time(tmp_path: Path, calm: Json, switch: str) -> None:
    with scene(tmp_path / "scene", ROOM.get(switch, 7)) as made:
        for name, value in SWITCHES[switch].items():
            setattr(made.server, name, value)
        assert made.finish() == calm


@pytest.mark.parametrize("switch", ["next is used up by asking", "next dies after two pages"])
@pytest.mark.parametrize(
    "fault", ["a page is cut in the middle", "the connection is dropped", "500 in between"]
)
def test_both(tmp_path: Path, calm: Json, switch: str, fault: str) -> None:
    with scene(tmp_path / "scene", ROOM.get(switch, 7)) as made:
        for name, value in SWITCHES[switch].items():
            setattr(made.server, name, value)
        SERVER_FAULTS[fault](made.server)
        assert made.finish() == calm


# MISP

MISP_FAULTS: dict[str, Json] = {
    "500 on add": {"status": 500, "path": "/events/add", "times": 3},
    "500 on edit": {"status": 500, "path": "/events/edit", "times": 3},
    "503 on everything": {"status": 503, "times": 4},
    "429 on search": {"status": 429, "path": "/events/restSearch", "times": 2},
}


@pytest.mark.parametrize("fault", MISP_FAULTS)
def test_a_fault_of_misp(tmp_path: Path, calm: Json, fault: str) -> None:
    with scene(tmp_path / "scene") as made:
        settings = dict(MISP_FAULTS[fault])
        made.misp.fail_next(settings.pop("status"), **settings)
        made.attempt()
        settings = dict(MISP_FAULTS[fault])
        made.misp.fail_next(settings.pop("status"), **settings)
        assert made.finish() == calm


# The store


def test_a_database_that_someone_else_holds(
    tmp_path: Path, calm: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.05)
    with scene(tmp_path / "scene") as made:
        made.bridge.close()
        made.bridge = Bridge(
            made.folder,
            {"misp": {"type": "misp", "url": made.misp.url, "key": made.misp.key}},
            source={"type": "taxii21", "url": made.server.url, "page_size": 7},
        )
        held = threading.Event()
        with closing(sqlite3.connect(made.folder / "stixbridge.db", isolation_level=None)) as other:
            for point in (2, 5, 9, 14, 23, 40):
                counted = 0
                original = database.Database.transaction

                def count(
                    self: database.Database,
                    point: int = point,
                    original: Callable[..., Any] = original,
                ) -> Any:
                    nonlocal counted
                    counted += 1
                    if counted == point:
                        other.execute("BEGIN IMMEDIATE")
                        held.set()
                    return original(self)

                with monkeypatch.context() as patch:
                    patch.setattr(database.Database, "transaction", count)
                    assert not made.attempt()
                assert held.is_set()
                held.clear()
                other.execute("ROLLBACK")
        assert made.finish() == calm


CONFIGURATION = """
[sources.acme]
type = "taxii21"
url = "{server}"
page_size = 7
[sinks.misp]
type = "misp"
url = "{misp}"
key = {{ file = "misp.key" }}
[pipelines.acme]
source = "acme"
sinks = ["misp"]
"""


@pytest.mark.parametrize("room", [40_000, 150_000, 300_000, 500_000])
def test_a_full_disk(tmp_path: Path, calm: Json, room: int) -> None:
    """No file may grow beyond some size, so writes fail as on a full disk; then there is room
    again.
    """
    with scene(tmp_path / "scene") as made:
        text = CONFIGURATION.format(server=made.server.url, misp=made.misp.url)
        (made.folder / "stixbridge.toml").write_text(text)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        made.bridge.store.close()
        failed = 0
        for _ in range(2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
            try:
                process = start("run", "--now", "2026-01-10T00:00:00Z", cwd=made.folder)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            out, err = process.communicate(timeout=60)
            assert process.returncode in (0, 2), err
            assert "Traceback" not in err + out
            if process.returncode == 2:
                failed += 1
                assert "check disk and rights" in err
        assert failed, "there was room for everything"
        done = run("run", "--now", "2026-01-10T00:00:00Z", cwd=made.folder)
        assert done.returncode == 0, done.stderr
        assert made.finish() == calm
