"""`stixbridge run --watch`: schedules, reload, an end that does not keep anybody waiting; and
several pipelines.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble, for_objects
from helpers import stix
from helpers.command import ENVIRONMENT, run, start

A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"
PATIENCE = 20.0


def configure(
    folder: Path, server: TaxiiDouble, misp: MispDouble, more: str = "", every: str = "1s"
) -> None:
    (folder / "key").write_text(misp.key)
    (folder / "stixbridge.toml").write_text(f"""
[sources.acme]
type = "taxii21"
url = "{server.url}"
timeout = 60.0
[sinks.misp]
type = "misp"
url = "{misp.url}"
key = {{ file = "key" }}
[pipelines.acme]
source = "acme"
sinks = ["misp"]
every = "{every}"
jitter = "0s"
{more}
""")


OTHER = """
[sources.other]
type = "files"
paths = ["other.json"]
[pipelines.other]
source = "other"
sinks = ["misp"]
every = "1s"
jitter = "0s"
"""


def until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `run --watch` in the folder, its messages in the file `log`; ended after the test."""
    running: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        log = (tmp_path / "log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "stixbridge", "run", "--watch"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()


def log(folder: Path) -> str:
    return (folder / "log").read_text()


def test_it_polls_by_its_schedule_and_ends_when_asked(
    server: TaxiiDouble,
    misp: MispDouble,
    tmp_path: Path,
    daemon: Callable[[], subprocess.Popen[str]],
) -> None:
    configure(tmp_path, server, misp)
    server.add("All", [stix.indicator(A)])
    process = daemon()
    until(lambda: misp.find(A) != [], process)
    server.add("All", [stix.indicator(B)])
    until(lambda: misp.find(B) != [], process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert log(tmp_path).endswith("stopped\n")


def test_hup_reads_the_configuration_again_and_a_bad_one_changes_nothing(
    server: TaxiiDouble,
    misp: MispDouble,
    tmp_path: Path,
    daemon: Callable[[], subprocess.Popen[str]],
) -> None:
    configure(tmp_path, server, misp)
    server.add("All", [stix.indicator(A)])
    process = daemon()
    until(lambda: misp.find(A) != [], process)
    configure(tmp_path, server, misp, "nonsense = 1")
    process.send_signal(signal.SIGHUP)
    until(lambda: "the configuration stays as it was" in log(tmp_path), process)
    assert "unknown setting 'nonsense'" in log(tmp_path)
    server.add("All", [stix.indicator(B)])
    until(lambda: misp.find(B) != [], process)
    (tmp_path / "other.json").write_text(json.dumps(stix.bundle([stix.indicator(C)])))
    configure(tmp_path, server, misp, OTHER)
    process.send_signal(signal.SIGHUP)
    until(lambda: misp.find(C) != [], process)
    assert "configuration read again" in log(tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_a_server_that_says_nothing_does_not_hold_up_the_end(
    server: TaxiiDouble,
    misp: MispDouble,
    tmp_path: Path,
    daemon: Callable[[], subprocess.Popen[str]],
) -> None:
    configure(tmp_path, server, misp, OTHER)
    (tmp_path / "other.json").write_text(json.dumps(stix.bundle([stix.indicator(C)])))
    server.add("All", [stix.indicator(A)])
    server.hang_next(60, when=for_objects)
    process = daemon()
    until(lambda: any(for_objects(request) for request in server.requests), process)
    until(lambda: misp.find(C) != [], process)  # the other pipeline does not wait either
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "stopped in the middle of a run" in log(tmp_path)
    assert run("run", cwd=tmp_path).returncode == 0
    assert len(misp.find(A)) == 1


def test_an_end_while_it_waits_for_the_old_configuration(
    server: TaxiiDouble,
    misp: MispDouble,
    tmp_path: Path,
    daemon: Callable[[], subprocess.Popen[str]],
) -> None:
    configure(tmp_path, server, misp)
    server.add("All", [stix.indicator(A)])
    server.hang_next(60, when=for_objects)
    process = daemon()
    until(lambda: any(for_objects(request) for request in server.requests), process)
    process.send_signal(signal.SIGHUP)
    until(lambda: "configuration read again" in log(tmp_path), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_nobody_reads_what_it_says(server: TaxiiDouble, misp: MispDouble, tmp_path: Path) -> None:
    """Its output is a pipe whose other end is closed; it goes on all the same."""
    configure(tmp_path, server, misp)
    server.add("All", [stix.indicator(A)])
    process = start("run", "--watch", cwd=tmp_path)
    until(lambda: misp.find(A) != [], process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    try:
        for value in (B, C):
            server.add("All", [stix.indicator(value)])
            until(lambda value=value: misp.find(value) != [], process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (0, 130)
    finally:
        process.kill()
        process.wait()


def test_what_fails_is_tried_again_at_the_next_time(
    server: TaxiiDouble,
    misp: MispDouble,
    tmp_path: Path,
    daemon: Callable[[], subprocess.Popen[str]],
) -> None:
    """A collection that is not there, and a file that is none: neither ends the daemon nor the
    other pipeline.
    """
    configure(tmp_path, server, misp, OTHER)
    server.add("All", [stix.indicator(A)])
    process = daemon()
    until(lambda: misp.find(A) != [], process)
    until(lambda: log(tmp_path).count("other: ") > 1, process)
    assert "other.json: no such file" in log(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps(stix.bundle([stix.indicator(C)])))
    until(lambda: misp.find(C) != [], process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_single_run_ends_when_asked(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    configure(tmp_path, server, misp)
    server.hang_next(60, when=for_objects)
    process = start("run", cwd=tmp_path)
    until(lambda: any(for_objects(request) for request in server.requests), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130
    assert "nothing is lost, run the command again" in process.communicate()[1]


def test_pipelines_run_side_by_side_and_one_that_fails_stops_no_other(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    """Each of two servers answers only once the other has been asked."""
    with TaxiiDouble() as second:
        second.add_collection("All")
        second.add("All", [stix.indicator(B)])
        server.add("All", [stix.indicator(A)])
        more = (
            OTHER
            + f"""
[sources.second]
type = "taxii21"
url = "{second.url}"
[pipelines.second]
source = "second"
sinks = ["misp"]
"""
        )
        configure(tmp_path, server, misp, more)
        one, two = server.hang_next(30, when=for_objects), second.hang_next(30, when=for_objects)
        process = start("run", cwd=tmp_path)
        for double in (server, second):
            until(
                lambda double=double: any(for_objects(request) for request in double.requests),
                process,
            )
        one.set()
        two.set()
        out, err = process.communicate()
        assert process.returncode == 2, err
        assert "other.json: no such file" in out
        assert (len(misp.find(A)), len(misp.find(B))) == (1, 1)


def test_watch_goes_with_nothing_that_is_for_once(
    server: TaxiiDouble, misp: MispDouble, tmp_path: Path
) -> None:
    configure(tmp_path, server, misp)
    for option in (("--once",), ("--dry-run",), ("--full",), ("--now", "2026-01-01T00:00:00Z")):
        done = run("run", "--watch", *option, cwd=tmp_path)
        assert (done.returncode, "--watch can't be combined with --" in done.stderr) == (2, True)
