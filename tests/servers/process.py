"""One server process: started on a free port, its output kept, gone when the tests are."""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from .environment import clean_environ

START_SECONDS = 90.0
LAUNCHER = Path(__file__).with_name("launch.py")


class StartError(RuntimeError):
    """A server did not come up; the message ends with its log."""


class ServerProcess:
    """A server that runs in a child process until `stop`, or until this process ends in whatever
    way.
    """

    def __init__(self, python: Path, arguments: Callable[[int], list[str]], *, log: Path) -> None:
        """Start the process; `wait_ready` says whether it came up.

        Args:
            python: The interpreter of the server's environment.
            arguments: Makes the launcher's arguments, given the port to listen on.
            log: The file that receives what the server prints.
        """
        self.port = free_port()
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [python, "-I", "-u", LAUNCHER, *arguments(self.port)],
                stdin=subprocess.PIPE,  # its end tells the child that we are gone
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environ(),
            )

    def wait_ready(self, probe: Callable[[], bool]) -> None:
        """Return as soon as `probe` says yes.

        Args:
            probe: Asks the server something that only this very server can answer. An OSError from
                it means "not yet", as while nothing listens on the port.

        Raises:
            StartError: The server ended, or was not ready in time. It is stopped.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._child.poll() is not None:
                raise self._failed(
                    f"ended with status {self._child.returncode} before it was ready"
                )
            try:
                if probe():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready after {START_SECONDS:.0f} s")
            time.sleep(0.02)

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._child.poll() is None

    def stop(self) -> None:
        """End the process and wait for its end; a second call does nothing."""
        if self.running:
            self._child.terminate()
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child.wait()
        if self._child.stdin:
            self._child.stdin.close()

    def _failed(self, what: str) -> StartError:
        self.stop()
        return StartError(
            f"the server {what}; {self.log} says:\n{self.log.read_text(errors='replace')}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens now.

    Another process can still take it before the server does; the server then ends, and its start is
    tried again.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
