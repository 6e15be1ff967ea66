"""What fuzzing starts from, and what it has found: replayed without a fuzzer."""

from pathlib import Path

import pytest
from fuzz.checks import CHECKS
from fuzz.seeds import SEEDS
from helpers.paths import TESTS

FOUND = sorted(
    path for path in (TESTS / "fuzz" / "found").iterdir() if path.name.startswith((*CHECKS,))
)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_found(path: Path) -> None:
    CHECKS[path.name.partition("-")[0]](path.read_bytes())


@pytest.mark.parametrize("target", CHECKS)
def test_seeds(target: str) -> None:
    for data in SEEDS[target]:
        CHECKS[target](data)
