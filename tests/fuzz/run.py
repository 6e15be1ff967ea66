"""Fuzz for a while: `python -m fuzz.run --seconds 60 [reader|pattern …]`, with `tests` on the path.

Each target runs in a process of its own, since the fuzzer never returns. The exit status is 1 when
something was found.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import traceback
from hashlib import sha256
from pathlib import Path
from random import Random

from .reduce import reduced

FOUND = Path(__file__).parent / "found"
TARGETS = ("reader", "pattern")
_LENGTH = {
    "reader": 8_192,
    "pattern": 512,
}  # longest input: small ones reach as much, and are read faster
_SLOWEST = 20  # seconds; an input that takes longer is a finding


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help=f"{' or '.join(TARGETS)}; both when none is given",
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long each target runs")
    parser.add_argument(
        "--corpus", type=Path, help="a folder that keeps what reached new code, for the next run"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the random numbers; 0: another one each time"
    )
    parser.add_argument("--only", choices=TARGETS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        _fuzz(args.only, args.corpus, args.seconds, args.seed)
    wrong = set(args.targets) - set(TARGETS)
    if wrong:
        parser.error(f"no such target: {', '.join(sorted(wrong))}")
    with tempfile.TemporaryDirectory() as folder:
        return _run(args.targets or TARGETS, args.corpus or Path(folder), args)


def _run(targets: list[str] | tuple[str, ...], corpus: Path, args: argparse.Namespace) -> int:
    before = _found()
    running = []
    for target in targets:
        command = [sys.executable, "-m", "fuzz.run", "--only", target, "--corpus", corpus]
        command += ["--seconds", str(args.seconds), "--seed", str(args.seed)]
        # sets are in one order, so that a finding is one again
        running.append(subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": "0"}))
    failed = [process for process in running if process.wait() != 0]
    found = sorted(_found() - before)
    for path in found:
        _make_small(path)
    return 1 if failed or found else 0


def _found() -> set[Path]:
    return {path for path in FOUND.iterdir() if path.name.startswith(TARGETS)}


def _make_small(path: Path) -> None:
    target, data = path.name.partition("-")[0], path.read_bytes()
    error = _failure(target, data)
    if error is not None:
        data = reduced(data, lambda smaller: _failure(target, smaller) == error)
        path.write_bytes(data)
    print(
        f"{path}: {error or 'too slow, or only beside others'}; {len(data)} bytes: {data[:500]!r}",
        flush=True,
    )


def _fuzz(target: str, corpus: Path, seconds: int, seed: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["stixbridge"]):
        from . import checks, mutate, seeds

        # imports what is imported where it is used
        for data in seeds.SEEDS[target]:
            checks.CHECKS[target](data)

    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    for data in seeds.SEEDS[target]:
        (folder / sha256(data).hexdigest()).write_bytes(data)
    words = corpus / f"{target}.dict"
    tokens = seeds.PIECES if target == "pattern" else [*seeds.NAMES, *seeds.STRINGS, *seeds.PIECES]
    words.write_text(
        "".join(f'"{_escaped(token)}"\n' for token in tokens if 0 < len(token.encode()) < 60)
    )
    known: set[str] = set()

    def once(data: bytes) -> None:
        error = _failure(target, data, sample=True)
        if error is not None and error not in known:
            known.add(error)
            print(f"{target}: {error}", flush=True)
            path = FOUND / f"{target}-{sha256(error.encode()).hexdigest()[:10]}"
            if not path.exists():
                path.write_bytes(data)

    def mutated(data: bytes, longest: int, number: int) -> bytes:
        random = Random(number)
        if random.random() < 0.8:
            made = mutate.MUTATIONS[target](data, random)
            if made is not None and len(made) <= longest:
                return made
        return bytes(atheris.Mutate(data, longest))

    arguments = [
        f"-max_total_time={seconds}",
        f"-max_len={_LENGTH[target]}",
        f"-timeout={_SLOWEST}",
        f"-dict={words}",
    ]
    arguments += [
        "-rss_limit_mb=4096",
        "-len_control=0",
        f"-artifact_prefix={FOUND}/{target}-",
        "-reload=0",
    ]
    arguments += ["-print_final_stats=1", "-verbosity=0"] + ([f"-seed={seed}"] if seed else [])
    atheris.Setup([target, *arguments, str(folder)], once, custom_mutator=mutated)
    atheris.Fuzz()


def _failure(target: str, data: bytes, *, sample: bool = False) -> str | None:
    """Where and how a check fails on an input, or None; one bug has one such text, whatever the
    input.
    """
    from . import checks

    try:
        if target == "pattern":
            checks.pattern(data, sample=sample)
        else:
            checks.reader(data)
    except Exception as error:
        if isinstance(error, AssertionError) and str(error):
            return str(error).partition("\n")[0]
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "stixbridge" in Path(frame.filename).parts] or frames
        return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return None


def _escaped(token: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token.encode())


if __name__ == "__main__":
    sys.exit(main())
