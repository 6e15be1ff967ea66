"""A run from a real TAXII server into the MISP double, killed at ten points and started again each
time.

The end is that of an undisturbed run: the same events, each once; and a run after that writes
nothing.
"""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.misp import MispDouble
from helpers.command import run, start
from helpers.length import at_length
from servers import TaxiiServer, medallion

pytestmark = [pytest.mark.slow, pytest.mark.servers]

ADDED = "2026-01-05T08:00:00.000000Z"
PULL_POINTS = (1, 3, 4, 6)  # requests that the TAXII server has logged
DELIVER_POINTS = (1, 2, 3, 8, 14, 5)  # looks at the clock of MISP: inside and between its requests


def stix(type_: str, number: int, **properties: object) -> dict[str, object]:
    time_ = "2026-01-05T08:00:00.000Z"
    return {
        "type": type_,
        "spec_version": "2.1",
        "id": f"{type_}--00000000-0000-4000-8000-{number:012d}",
        "created": time_,
        "modified": time_,
        **properties,
    }


def feed() -> list[tuple[dict[str, object], str]]:
    objects: list[dict[str, object]] = []
    malware = stix("malware", 1, name="Emotet", is_family=True)
    objects.append(malware)
    for at in range(60):
        indicator = stix(
            "indicator",
            at,
            name=f"indicator {at}",
            pattern=f"[ipv4-addr:value = '198.51.100.{at}']",
            pattern_type="stix",
            valid_from="2026-01-05T08:00:00Z",
        )
        link = stix(
            "relationship",
            at,
            relationship_type="indicates",
            source_ref=indicator["id"],
            target_ref=malware["id"],
        )
        objects += [indicator, link]
    for at in range(5):
        members = [
            f"indicator--00000000-0000-4000-8000-{number:012d}"
            for number in range(at * 10, at * 10 + 10)
        ]
        objects.append(
            stix(
                "report",
                at,
                name=f"report {at}",
                published="2026-01-05T08:00:00Z",
                object_refs=members,
            )
        )
    return [(item, ADDED) for item in objects]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> TaxiiServer:
    with medallion(
        {"Feed": feed()}, page_size=20, dir=tmp_path_factory.mktemp("medallion")
    ) as running:
        yield running


def configure(folder: Path, server: TaxiiServer, misp: MispDouble) -> dict[str, str]:
    (folder / "stixbridge.toml").write_text(f"""
[sources.feed]
type = "taxii21"
url = "{server.url}"
page_size = 20
auth = {{ type = "basic", user = "{server.user}", password = {{ env = "TAXII_PASSWORD" }} }}
[sinks.misp]
type = "misp"
url = "{misp.url}"
key = {{ env = "THE_KEY" }}
[pipelines.feed]
source = "feed"
sinks = ["misp"]
""")
    return {"TAXII_PASSWORD": server.password, "THE_KEY": misp.key}


class Killer:
    """Kills a process when something has happened."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.calls = 0
        self.at: int | None = None

    def clock(self) -> int:
        self.calls += 1
        if self.at is not None and self.calls >= self.at:
            self.kill()
        return int(time.time())

    def kill(self) -> None:
        self.at = None
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    def when(self, condition: Callable[[], bool]) -> None:
        assert self.process is not None
        while self.process.poll() is None and not condition():
            time.sleep(0.001)
        self.kill()


def requests_logged(server: TaxiiServer) -> int:
    return server.log.read_text(errors="replace").count("/objects/")


def test_ten_kills_end_like_none(server: TaxiiServer, tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    (tmp_path / "rough").mkdir()
    with MispDouble() as calm, MispDouble() as rough:
        done = run(
            "run",
            "--now",
            "2026-02-01T00:00:00Z",
            cwd=tmp_path / "calm",
            env=configure(tmp_path / "calm", server, calm),
        )
        assert done.returncode == 0, done.stderr
        expected = calm.snapshot()
        assert len(calm.events) == 6
        assert len(calm.find("198.51.100.7")) == 1

        env = configure(tmp_path / "rough", server, rough)
        arguments = ("run", "--now", "2026-02-01T00:00:00Z")
        killer = Killer()
        killed = 0
        for point in PULL_POINTS:
            before = requests_logged(server)
            killer.process = start(*arguments, cwd=tmp_path / "rough", env=env)
            killer.when(
                lambda before=before, point=point: requests_logged(server) - before >= point
            )
            killed += killer.process.wait() == -signal.SIGKILL
            killer.process.communicate()
        for point in DELIVER_POINTS:
            killer.calls, killer.at, rough.clock = 0, point, killer.clock
            killer.process = start(*arguments, cwd=tmp_path / "rough", env=env)
            killed += killer.process.wait() == -signal.SIGKILL
            killer.process.communicate()
            killer.at = None
        assert killed == len(PULL_POINTS) + len(DELIVER_POINTS)

        done = run(*arguments, cwd=tmp_path / "rough", env=env)
        assert done.returncode == 0, done.stderr + done.stdout
        assert rough.snapshot() == expected
        assert all(len(rough.find(f"198.51.100.{at}")) == 1 for at in range(60))

        writes = len(rough.writes())
        again = run(*arguments, cwd=tmp_path / "rough", env=env)
        assert again.returncode == 0, again.stderr
        assert len(rough.writes()) == writes


POINTS = at_length(100)


@pytest.mark.parametrize("more", ["", "split = 50"], ids=["one event", "several events"])
def test_a_hundred_kills_of_a_delivery_in_pieces_end_like_none(tmp_path: Path, more: str) -> None:
    """One large event and some small ones, four in flight, twenty attributes a request; MISP is
    restarted in between.

    The points are drawn from the looks at MISP's clock that an undisturbed run takes: inside and
    between its requests.
    """
    (tmp_path / "calm").mkdir()
    (tmp_path / "rough").mkdir()
    objects = [item for item, _ in feed()]
    many = [
        stix(
            "indicator",
            1_000 + at,
            pattern=f"[domain-name:value = 'h{at}.example']",
            pattern_type="stix",
            valid_from="2026-01-05T08:00:00Z",
        )
        for at in range(160)
    ]
    objects += [
        *many,
        stix(
            "report",
            99,
            name="large",
            published="2026-01-05T08:00:00Z",
            object_refs=[one["id"] for one in many],
        ),
    ]
    arguments = ("run", "--now", "2026-02-01T00:00:00Z")

    def prepare(name: str, misp: MispDouble) -> dict[str, str]:
        (tmp_path / name / "in.json").write_text(
            json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects})
        )
        (tmp_path / name / "stixbridge.toml").write_text(f"""
[sources.feed]
type = "files"
paths = ["in.json"]
[sinks.misp]
type = "misp"
url = "{misp.url}"
key = {{ env = "THE_KEY" }}
chunk = 20
{more}
[pipelines.feed]
source = "feed"
sinks = ["misp"]
""")
        return {"THE_KEY": misp.key}

    chance = random.Random(5)
    with MispDouble() as calm, MispDouble() as rough:
        watch = Killer()
        calm.clock = watch.clock
        done = run(*arguments, cwd=tmp_path / "calm", env=prepare("calm", calm))
        assert done.returncode == 0, done.stderr
        looks, expected = watch.calls, calm.snapshot()
        killer = Killer()
        killed = 0
        env = prepare("rough", rough)
        for _ in range(POINTS):
            # what is left to do gets less, so that most points lie in what a run still does
            killer.calls, killer.at, rough.clock = (
                0,
                chance.randrange(1, max(2, looks // 12)),
                killer.clock,
            )
            killer.process = start(*arguments, cwd=tmp_path / "rough", env=env)
            killed += killer.process.wait() == -signal.SIGKILL
            killer.process.communicate()
            killer.at = None
            rough._server.cut_all()  # as a restart does to connections
        assert killed > POINTS // 2
        done = run(*arguments, cwd=tmp_path / "rough", env=env)
        assert done.returncode == 0, done.stderr + done.stdout
        assert rough.snapshot() == expected
        assert all(len(rough.find(f"h{at}.example")) == 1 for at in range(160))
        writes = len(rough.writes())
        assert run(*arguments, cwd=tmp_path / "rough", env=env).returncode == 0
        assert len(rough.writes()) == writes
