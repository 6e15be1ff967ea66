"""A misp-modules server, started from its released package."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .environment import environment
from .process import ServerProcess


@contextmanager
def misp_modules(folder: Path) -> Iterator[str]:
    """Start a server; gives its URL."""
    python = environment("misp_modules")

    def arguments(port: int) -> list[str]:
        return ["misp_modules", "-l", "127.0.0.1", "-p", str(port)]

    with ServerProcess(python, arguments, log=folder / "misp-modules.log") as process:
        url = f"http://127.0.0.1:{process.port}"

        def probe() -> bool:
            with urllib.request.urlopen(f"{url}/modules", timeout=5) as answer:
                return bool(json.load(answer))

        process.wait_ready(probe)
        yield url
