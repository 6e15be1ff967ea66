"""Measure the conversion against misp-stix, in one run, and write docs/benchmarks.md."""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import orjson

from .inputs import indicators_with_reports

RUNS = 3
ENGINES = ("native", "misp-stix", "floor")
ROOT = Path(__file__).parent.parent


def measured(engine: str, path: Path) -> dict[str, float]:
    """The median of some runs, each in a process of its own."""
    rows = []
    for _ in range(RUNS if engine != "misp-stix" else 1):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.measure", engine, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


HEAD = """# Benchmarks

Written by `make bench`. CPU seconds of the whole conversion, from bytes to event bytes, and peak memory; both engines
on the same generated input in one run. The floor is `orjson` loads and dumps of the same data. Compare ratios, not
seconds.
"""


def main() -> None:
    """Measure and write the page."""
    machine = f"Python {platform.python_version()}, {platform.machine()}"
    lines = [
        HEAD,
        f"{machine}; misp-stix {version('misp-stix')}, orjson {version('orjson')}.",
        "",
        "| input | stixbridge | misp-stix | ratio | floor | against the floor | memory | memory of misp-stix |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for count in (1_000, 10_000):
            bundle = indicators_with_reports(count)
            path = Path(folder) / f"{count}.json"
            path.write_bytes(orjson.dumps(bundle))
            rows = {engine: measured(engine, path) for engine in ENGINES}
            ours, theirs, floor = (rows[engine] for engine in ENGINES)
            name = f"{count:,} indicators, {count:,} relationships, {count // 100} reports"
            lines.append(
                f"| {name} | {ours['cpu']:.2f} s | {theirs['cpu']:.1f} s | {theirs['cpu'] / ours['cpu']:.0f} times |"
                f" {floor['cpu']:.3f} s | {ours['cpu'] / floor['cpu']:.1f} times | {ours['megabytes']:.0f} MB |"
                f" {theirs['megabytes']:.0f} MB |"
            )
            print(lines[-1])
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
