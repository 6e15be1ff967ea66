"""Soak for a while: `python -m soak.run --seconds 3600`, with `tests` on the path; writes
docs/reliability.md.

The exit status is 1 when something was lost, doubled or otherwise not as it should be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from .rounds import KINDS, Counts, one_round

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
MARK = "<!-- written by make soak -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3600, help="how long (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the faults and the objects (%(default)s)"
    )
    parser.add_argument(
        "--kind", choices=KINDS, help="this kind of server only; no page is written"
    )
    args = parser.parse_args()
    chance = Random(args.seed)
    kinds = [args.kind] if args.kind else list(KINDS)
    counts = {kind: Counts() for kind in kinds}
    began, number = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="stixbridge-soak-") as name:
        while time.monotonic() - began < args.seconds:
            kind = kinds[number % len(kinds)]
            one_round(kind, number, chance, Path(name) / str(number), counts[kind])
            number += 1
            wrong = sum(len(count.wrong) for count in counts.values())
            print(
                f"{time.monotonic() - began:6.0f} s  round {number}, {kind}: {wrong} wrong so far",
                flush=True,
            )
    text = table(counts, time.monotonic() - began, args.seed)
    print(text)
    wrong = [line for count in counts.values() for line in count.wrong]
    print("\n".join(wrong[:50]))
    if not args.kind:
        head = PAGE.read_text().partition(MARK)[0]
        PAGE.write_text(head + MARK + text)
    return 1 if wrong else 0


def table(counts: dict[str, Counts], seconds: float, seed: int) -> str:
    """The result as the page has it."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    lines = [
        f"\n{seconds / 60:.0f} minutes on {day}, Python {sys.version.split()[0]}, seed {seed}:\n",
        "| server | rounds | runs | killed | failed runs | faults | objects sent | values "
        "delivered | lost | doubled | otherwise wrong |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name, count in [*counts.items(), ("all", _sum(counts))]:
        other = len(count.wrong) - count.lost - count.doubled
        lines.append(
            f"| {name} | {count.rounds} | {count.runs:,} | {count.kills:,} | "
            f"{count.failed_runs:,} | {sum(count.faults.values()):,} | {count.objects:,} | "
            f"{count.delivered:,} | {count.lost} | {count.doubled} | {other} |"
        )
    faults = _sum(counts).faults
    lines += ["\nFaults by kind:\n", "| fault | times |", "| --- | --: |"]
    lines += [f"| {name} | {times:,} |" for name, times in faults.most_common()]
    return "\n".join(lines) + "\n"


def _sum(counts: dict[str, Counts]) -> Counts:
    total = Counts()
    for count in counts.values():
        for name in (
            "rounds",
            "runs",
            "failed_runs",
            "kills",
            "objects",
            "delivered",
            "lost",
            "doubled",
        ):
            setattr(total, name, getattr(total, name) + getattr(count, name))
        total.wrong += count.wrong
        total.faults = Counter(total.faults) + Counter(count.faults)
    return total


if __name__ == "__main__":
    sys.exit(main())
