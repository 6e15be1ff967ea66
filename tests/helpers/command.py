"""Running the command as a user does: in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if not key.upper().endswith("_PROXY") and not key.startswith("MISP_")
}


def start(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] = {}, stdin: int | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stixbridge", *map(str, arguments)],
        cwd=cwd,
        env={**ENVIRONMENT, **env},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] = {}, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stixbridge", *map(str, arguments)],
        cwd=cwd,
        env={**ENVIRONMENT, **env},
        input=input,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
