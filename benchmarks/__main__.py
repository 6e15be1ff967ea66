"""Measure the bridge beside misp-stix in one run; write docs/benchmarks.md and its picture."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import cases, page
from .plot import bars

PARTS = ("patterns", "growth", "cold", "stages", "enrich", "pull", "deliver", "stream")
ENGINES = ("native", "misp-stix", "floor")


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    names = [*dict.fromkeys(case.name for case in cases.CASES), *PARTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", choices=names, help="measure this alone; with --to its section is replaced"
    )
    parser.add_argument(
        "--large", action="store_true", help="convert a bundle larger than memory too (long)"
    )
    parser.add_argument(
        "--objects", type=int, default=2_000_000, metavar="N", help="of that bundle (%(default)s)"
    )
    parser.add_argument(
        "--full", action="store_true", help="run misp-stix where it needs a quarter of an hour too"
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1,
        metavar="X",
        help="make the inputs smaller, to try this out",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="for page and plot; else docs, and with --scale nowhere",
    )
    asked = parser.parse_args()
    if asked.to is None and asked.scale == 1 and asked.only is None:
        asked.to = cases.ROOT / "docs"
    return asked


def chart(rows: Sequence[cases.Row]) -> str:
    """The plot of the main table."""
    groups = [
        (row.title, [row.get(engine, "cpu") for engine in ENGINES]) for row in rows if row.size
    ]
    return bars(
        "CPU seconds from STIX to MISP events",
        ["stixbridge", "misp-stix", "floor: JSON alone"],
        groups,
    )


def _sections(folder: Path, scale: float) -> dict[str, Callable[[], str]]:
    """What each part of the page measures and says, in its order."""
    return {
        "patterns": lambda: page.patterns(cases.patterns(folder, scale)),
        "growth": lambda: page.growth(cases.growth(folder, scale)),
        "cold": lambda: page.cold_start(cases.cold_start(folder)),
        "stages": lambda: page.stages(cases.stages(folder, scale)),
        "enrich": lambda: page.enriching(cases.enriching(folder, scale)),
        "pull": lambda: page.pulling(cases.pulling(folder, scale)),
        "deliver": lambda: page.delivering(cases.delivering()),
    }


def main() -> None:
    """Measure, print each table once it is there, and write the page."""
    asked = arguments()
    only = asked.only
    parts = []

    def add(text: str) -> None:
        parts.append(text)
        print(text, flush=True)

    rows = []
    with tempfile.TemporaryDirectory(prefix="stixbridge-bench-") as name:
        folder = Path(name)
        add(page.head())
        if only not in PARTS:
            for row in cases.conversions(folder, only, full=asked.full, scale=asked.scale):
                rows.append(row)
                print(
                    row.title,
                    {engine: found.get("cpu", "failed") for engine, found in row.engines.items()},
                    flush=True,
                )
            add(page.conversion(rows))
        for part, section in _sections(folder, asked.scale).items():
            if only in (None, part):
                add(section())
    if only in (None, "stream"):
        measured = asked.large or only == "stream"
        add(page.streaming(cases.streaming(asked.objects) if measured else None))
    if only is None and asked.to is not None:
        asked.to.mkdir(parents=True, exist_ok=True)
        (asked.to / "benchmarks.md").write_text("\n".join(parts))
        (asked.to / "benchmarks.svg").write_text(chart(rows))
    elif asked.to is not None and only in PARTS:
        file = asked.to / "benchmarks.md"
        file.write_text(page.replaced(file.read_text(), parts[-1]))


if __name__ == "__main__":
    main()
