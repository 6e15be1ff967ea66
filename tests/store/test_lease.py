"""Leases: one at a time works on a source, a pipeline or a sink, in this process and in others."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stixbridge.errors import StoreError
from stixbridge.store.lease import Leases


def test_threads_take_turns(tmp_path: Path) -> None:
    leases, inside, most = Leases(str(tmp_path / "s.db")), [0], [0]

    def work() -> None:
        for _ in range(50):
            with leases.take("sink misp"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys
from stixbridge.store.lease import Leases
with Leases(sys.argv[1]).take("source a/b"):
    print("taken", flush=True)
    sys.stdin.read()
"""


def test_another_process_has_it_until_it_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "taken\n"
    with (
        pytest.raises(StoreError, match=f"^source a/b: process {holder.pid} works on it"),
        Leases(path, wait=0.2).take("source a/b"),
    ):
        pass
    with Leases(path, wait=0.2).take("source b"):
        pass
    holder.kill()
    holder.wait()
    with Leases(path, wait=0.2).take("source a/b") as lease:
        lease.check()
    assert list(tmp_path.iterdir()) == []
