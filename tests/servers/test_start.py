"""Servers start or say why not, leave nothing behind, and their environments are made once."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import httpx
import pytest

from .environment import environment
from .process import ServerProcess, StartError


@pytest.mark.servers
def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    arguments = ["opentaxii", str(tmp_path / "no-such-file.json")]
    process = ServerProcess(
        environment("opentaxii"), lambda port: arguments, log=tmp_path / "broken.log"
    )
    with pytest.raises(StartError, match=r"ended with status 1[\s\S]*no-such-file"):
        process.wait_ready(lambda: False)
    assert not process.running


@pytest.mark.servers
def test_a_killed_test_run_leaves_no_server(tmp_path: Path) -> None:
    script = """
        import sys, pathlib, time
        sys.path.insert(0, sys.argv[1])
        from servers import medallion
        server = medallion({"All": []}, dir=pathlib.Path(sys.argv[2]))
        print(server.url, flush=True)
        time.sleep(60)
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(script),
        str(Path(__file__).parent.parent),
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        url = run.stdout.readline().strip()
        assert httpx.get(url, trust_env=False).status_code == 401
        os.kill(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    with pytest.raises(httpx.TransportError):
        while time.monotonic() < deadline:
            httpx.get(url, trust_env=False)
            time.sleep(0.05)


@pytest.mark.servers
def test_environments_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIXBRIDGE_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no-such-package\.whl"):
        environment("broken", requirements=f"{tmp_path}/no-such-package.whl\n")
    assert [entry.suffix for entry in tmp_path.iterdir()] == [".lock"]

    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.append(environment("bare", requirements="")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    assert len(set(made)) == 1
    assert len([entry for entry in tmp_path.iterdir() if entry.is_dir()]) == 1
