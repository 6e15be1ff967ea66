"""Virtual environments for the servers, made once and kept.

The servers cannot live in the project's own environment: OpenTAXII wants SQLAlchemy 1, and the two
medallions are the same package in different versions. What is installed is pinned to the last
package in `<name>.txt` beside this file.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
# The releases that the servers and their pinned requirements were tried with.
PYTHONS = ((3, 12), (3, 11))


def environment(name: str, *, requirements: str | None = None) -> Path:
    """Return the Python interpreter of a server's environment, making the environment when it is
    not there yet.

    Parallel test runs wait for the one that builds; a build that fails or is killed leaves nothing
    that could be mistaken for an environment.

    Args:
        name: The server's name; `<name>.txt` beside this file lists its requirements.
        requirements: Other requirements, one `name==version` a line.

    Raises:
        RuntimeError: No suitable Python was found, or the installation failed; the message holds
            pip's output.
    """
    pinned = (HERE / f"{name}.txt").read_text() if requirements is None else requirements
    base, version = base_python()
    # An environment is bound to its interpreter and machine: a cache shared between two of them
    # must not mix.
    kind = "\n".join((pinned, ".".join(map(str, version)), sys.platform, platform.machine()))
    target = cache_dir() / f"{name}-{hashlib.sha256(kind.encode()).hexdigest()[:16]}"
    python = target / "bin" / "python"
    if python.exists():
        return python
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(target.name + ".lock")):
        if not python.exists():  # nobody else built it while we waited for the lock
            # What is there now has lost its base interpreter, and with it the link `bin/python`.
            shutil.rmtree(target, ignore_errors=True)
            building = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
            try:
                _build(base, building, pinned)
                building.rename(target)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
    return python


def cache_dir() -> Path:
    """Return the directory that keeps the environments: `$STIXBRIDGE_CACHE`, else
    `~/.cache/stixbridge-tests`.
    """
    configured = os.environ.get("STIXBRIDGE_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "stixbridge-tests"


def base_python() -> tuple[Path, tuple[int, int]]:
    """Return an interpreter that can run the servers, and its version.

    Raises:
        RuntimeError: There is none on this machine.
    """
    if sys.version_info[:2] in PYTHONS:
        return Path(sys.executable), sys.version_info[:2]
    for version in PYTHONS:
        for candidate in _candidates(f"{version[0]}.{version[1]}"):
            if _works(candidate, version):
                return candidate, version
    wanted = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    raise RuntimeError(
        f"the TAXII test servers need Python {wanted}: install it, or run the tests with it"
    )


def clean_environ() -> dict[str, str]:
    """Return the environment variables for a server or for pip, without those that would steer them
    to ours.
    """
    foreign = ("PYTHON", "VIRTUAL_ENV", "OPENTAXII_", "FLASK_", "WERKZEUG_")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def _candidates(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    yield from sorted(uv.glob(f"cpython-{version}.*/bin/python{version}"), reverse=True)


def _works(python: Path, version: tuple[int, int]) -> bool:
    # The name proves nothing: a pyenv shim exists for releases that it then refuses to run, and
    # some distributions ship a Python that cannot make virtual environments.
    probe = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != {version})"
    try:
        done = subprocess.run(
            [python, "-I", "-c", probe], capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _build(base: Path, building: Path, pinned: str) -> None:
    listed = building / "requirements.txt"
    listed.write_text(pinned)
    python = building / "bin" / "python"
    pip: list[str | Path] = [python, "-I", "-m", "pip", "--disable-pip-version-check"]
    _run(base, "-I", "-m", "venv", building)
    # Without --no-deps a forgotten pin would be filled in with today's release; `check` reports it
    # instead.
    _run(*pip, "install", "--quiet", "--no-deps", "--requirement", listed)
    _run(*pip, "check")


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environ(),
        check=False,
    )
    if done.returncode:
        shown = " ".join(map(str, command))
        raise RuntimeError(f"making a test server's environment failed: {shown}\n{done.stdout}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The kernel drops the lock when its holder dies, so a killed run never blocks the next one.
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
