"""The measurements: each function runs its own in child processes and returns rows of the page."""

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from . import inputs

Figures = dict[str, Any]

ROOT = Path(__file__).parent.parent
RUNS = 3
GROWTH = (1_000, 10_000, 100_000)
PER_COUNT = {"reports": 2.01, "equal": 2, "observed": 2.5, "attack": 1}
"""Objects that a generator makes for each of its count."""
SINGLE = 100_000
SINGLE_OF_PEER = 10_000
COLD_RUNS = 7
MOST_MEMORY = 4_096
"""Megabytes at which the streaming conversion is stopped: it has failed its target long before."""


@dataclass(frozen=True)
class Case:
    """One input of the main table.

    Attributes:
        name: for `--only`; several cases can share it.
        title: what the input is; `{count}` stands for its count, `{reports}` for that of its
            reports.
        count: for the generator; 0 for a file of the corpora.
        target: how many times less CPU than misp-stix.
        peer: `always`, or `full`: only with `--full`.
        memory_target: the most memory, as a share of that of misp-stix.
    """

    name: str
    title: str
    count: int
    target: float
    peer: str = "always"
    memory_target: float | None = None


# misp-stix is quadratic in the second input: where 5,000 take it two minutes, 10,000 take it eight
CASES = (
    Case(
        "reports",
        "{count:,} indicators, {count:,} relationships, {reports:,} reports",
        10_000,
        40,
        memory_target=0.5,
    ),
    Case("equal", "{count:,} indicators, {count:,} SCOs, half of equal value", 5_000, 400),
    Case("equal", "{count:,} indicators, {count:,} SCOs, half of equal value", 10_000, 400, "full"),
    Case("ics", "ATT&CK for ICS", 0, 15),
    Case("attack", "{count:,} objects like ATT&CK, long texts", 25_000, 15),
    Case("observed", "{count:,} observed-data with SCOs", 10_000, 20),
)
ICS = "mitre-attack+attack-stix-data/ics-attack__ics-attack-*.json"


@dataclass
class Row:
    """One line of the main table.

    Attributes:
        case: what was measured.
        title: of the input.
        objects: how many it has.
        size: in bytes; 0 where there is no such input.
        engines: engine -> its figures; `{"failed": …}` where it stopped.
    """

    case: Case
    title: str
    objects: int = 0
    size: int = 0
    engines: dict[str, Figures] = field(default_factory=dict)

    def get(self, engine: str, key: str) -> float | None:
        """One figure, or None where that was not measured."""
        return self.engines.get(engine, {}).get(key)

    def ratio(self, above: str, below: str, key: str = "cpu") -> float | None:
        """How many times one engine's figure is another's."""
        first, second = self.get(above, key), self.get(below, key)
        return first / second if first is not None and second else None


def child(module: str, *words: object) -> Figures:
    """Run a module of this package in a process of its own.

    Returns:
        The JSON of its last line, or `{"failed": the last line of what it said}`.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        return {"failed": said[:200]}
    found = json.loads(done.stdout.splitlines()[-1])
    return found if isinstance(found, dict) else {"count": found}


def median(runs: int, module: str, *words: object) -> Figures:
    """The median of some runs, each in a process of its own; a failure ends them."""
    rows: list[Figures] = []
    for _ in range(runs):
        rows.append(child(module, *words))
        if "failed" in rows[-1]:
            return rows[-1]
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def scaled(count: int, scale: float) -> int:
    """A count made smaller, to try the measurements themselves."""
    return max(1, round(count * scale))


def conversions(folder: Path, only: str | None, *, full: bool, scale: float) -> Iterator[Row]:
    """The inputs of the main table, one after the other.

    Args:
        folder: for the inputs.
        only: the name of the cases to measure; all when None.
        full: whether misp-stix has to do the input it needs very long for.
        scale: makes the generated inputs smaller.
    """
    for case in CASES:
        if only not in (None, case.name):
            continue
        count = scaled(case.count, scale)
        row = Row(case, case.title.format(count=count, reports=ceil(count / inputs.IN_A_REPORT)))
        path = _input(case.name, count, folder)
        if path is None:
            yield row
            continue
        row.size = path.stat().st_size
        row.objects = (
            len(json.loads(path.read_bytes())["objects"]) if case.name == "ics" else _objects(path)
        )
        row.engines["native"] = median(RUNS, "measure", "convert", "native", path)
        row.engines["floor"] = median(RUNS, "measure", "convert", "floor", path)
        if full or case.peer == "always":
            row.engines["misp-stix"] = child("measure", "convert", "misp-stix", path)
        yield row


def _input(name: str, count: int, folder: Path) -> Path | None:
    """The file of an input, or None where the corpora are absent; generated once a run."""
    if name == "ics":
        corpora = inputs.corpora_folder()
        return max(corpora.glob(ICS), default=None) if corpora else None
    path = folder / f"{name}-{count}.json"
    if not path.exists():
        found = child("inputs", name, count, path)
        if "failed" in found:
            raise RuntimeError(f"input {name}: {found['failed']}")
    return path


def _objects(path: Path) -> int:
    """How many objects a generated bundle has: each has a line, between a first and a last."""
    with path.open("rb") as file:
        return sum(1 for _ in file) - 2


def patterns(folder: Path, scale: float) -> list[Figures]:
    """Patterns a second: (what, engine) with figures, or `absent`."""
    rows = []
    for what, kind, target in (
        ("one comparison", "single", 100_000),
        ("all real ones of the corpora", "real", 40_000),
    ):
        if kind == "real" and inputs.corpora_folder() is None:
            rows.append({"what": what, "absent": True, "target": target})
            continue
        path, short = folder / f"{kind}.json", folder / f"{kind}-short.json"
        child("inputs", kind, scaled(SINGLE, scale), path)
        if kind == "single":  # the peer needs a minute for all
            child("inputs", kind, scaled(SINGLE_OF_PEER, scale), short)
        row: Figures = {"what": what, "target": target}
        for engine in ("parse", "meaning"):
            row[engine] = median(RUNS, "measure", "patterns", engine, path)
        row["stix2-patterns"] = child(
            "measure", "patterns", "stix2-patterns", short if kind == "single" else path
        )
        rows.append(row)
    return rows


def growth(folder: Path, scale: float) -> list[Figures]:
    """Time per object of our engine at three sizes, for each generated input."""
    rows = []
    for name, per_count in PER_COUNT.items():
        row: Figures = {"name": name, "sizes": []}
        for size in GROWTH:
            path = _input(name, scaled(size / per_count, scale), folder)
            assert path is not None
            objects = _objects(path)
            # small ones take milliseconds, which one run can't tell
            found = median(
                RUNS if size == GROWTH[-1] else 2 * RUNS + 1, "measure", "convert", "native", path
            )
            row["sizes"].append({"wanted": scaled(size, scale), "objects": objects, **found})
        rows.append(row)
    return rows


def _program() -> list[str]:
    script = Path(sysconfig.get_path("scripts")) / "stixbridge"
    return [str(script)] if script.exists() else [sys.executable, "-m", "stixbridge"]


def cold_start(folder: Path) -> Figures:
    """`stixbridge convert` of a small file, from start to end, with a warm index."""
    path = _input("reports", 5, folder)
    words = ("command", 0, *_program(), "convert", path, "-o", folder / "cold")
    warming = child("measure", *words)
    if warming.get("failed") or warming["status"]:
        return {"failed": warming.get("failed") or warming["said"]}
    rows = [child("measure", *words) for _ in range(COLD_RUNS)]
    found = {key: statistics.median(row[key] for row in rows) for key in ("wall", "cpu", "memory")}
    return {**found, "slowest": max(row["wall"] for row in rows)}


def stages(folder: Path, scale: float) -> Figures:
    """Where the time of the first input goes."""
    return child("stages", _input("reports", scaled(10_000, scale), folder))


def enriching(folder: Path, scale: float) -> Figures:
    """Rules and warninglists on 10,000 indicators."""
    path = _input("reports", scaled(10_000, scale), folder)
    return {"rules": child("enriching", "rules", path), "lists": child("enriching", "lists", path)}


def pulling(folder: Path, scale: float) -> Figures:
    """100,000 objects from a loopback server into a store, and polls of stores of several sizes."""
    count, many = scaled(100_000, scale), scaled(1_000_000, scale)
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pulling", "serve"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        found: Figures = {"count": count, "many": many}
        for way in ("ours", "loop", "taxii2-client"):
            runs = [
                child("pulling", way, f"{url}/{count}", folder / f"{way}{at}.db")
                for at in range(1 if way == "taxii2-client" else RUNS)
            ]
            found[way] = sorted(runs, key=lambda run: run.get("cpu", 0))[len(runs) // 2]
        found["all of many"] = child("pulling", "ours", f"{url}/{many}", folder / "many.db")
        found["quiet"] = child("pulling", "quiet", f"{url}/{count}", folder / "ours0.db")
    finally:
        server.kill()
        server.wait()
    child("pulling", "poll", "0", folder / "few.db")  # so that there is something in it
    found["poll of few"] = child("pulling", "poll", "100000", folder / "few.db")
    found["poll of many"] = child("pulling", "poll", "100000000", folder / "many.db")
    return found


SLOW = 3
"""Milliseconds that the double takes for an attribute, as a real MISP does."""


def delivering() -> Figures:
    """Deliver 100 events of 100 attributes by our sink and by PyMISP.

    They go to the double, and to a real MISP where one is named.
    """
    with _double(SLOW) as server:
        found = {way: child("delivering", way, *server) for way in ("ours", "pymisp")}
    with _double(0) as server:
        found["large"] = child("delivering", "large", *server)
    url, key = os.environ.get("MISP_URL"), os.environ.get("MISP_KEY")
    if url and key:
        try:
            found |= {
                f"{way} on a real one": child("delivering", way, url, key)
                for way in ("ours", "pymisp")
            }
        finally:
            child("delivering", "clean", url, key)
    return {**found, "traffic": child("delivering", "traffic")}


@contextmanager
def _double(milliseconds: float) -> Iterator[tuple[str, str, str]]:
    """Start the MISP double in a process of its own.

    Yields its URL, its key, and the file that says how long it was at work.
    """
    with tempfile.TemporaryDirectory() as name:
        file = str(Path(name) / "busy.json")
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.delivering", "serve", str(milliseconds), file],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            url, key = server.stdout.readline().split()
            yield url, key, file
        finally:
            server.kill()
            server.wait()


def streaming(objects: int) -> Figures:
    """Convert a bundle file of about that many objects, in reports, with the command line."""
    count = max(1, round(objects / PER_COUNT["reports"]))
    with tempfile.TemporaryDirectory(prefix="stixbridge-large-") as name:
        folder = Path(name)
        path = _input("reports", count, folder)
        assert path is not None
        out = folder / "out"
        found = child("measure", "command", MOST_MEMORY, *_program(), "convert", path, "-o", out)
        if "said" in found:
            found["said"] = found["said"].replace(str(path), "FILE")
        made = list(out.glob("*.json")) if out.is_dir() else []
        return {
            **found,
            "objects": _objects(path),
            "size": path.stat().st_size,
            "reports": ceil(count / inputs.IN_A_REPORT),
            "events": len(made),
            "written": sum(file.stat().st_size for file in made),
        }
