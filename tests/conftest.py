"""What every test gets: the same generated examples, and the folder of real STIX files where there is one."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A suite that decides whether a commit is good draws the same examples every time; `make explore` draws new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("explore" if os.environ.get("EXPLORE") else "same")

ROOT = Path(__file__).parent.parent


def corpora_folder() -> Path | None:
    """The optional folder of real STIX files."""
    folder = Path(os.environ.get("STIXBRIDGE_CORPORA") or ROOT.parent / "shared" / "corpora")
    return folder if folder.is_dir() else None


@pytest.fixture
def corpora() -> Path:
    folder = corpora_folder()
    if folder is None:
        pytest.skip("no real STIX files: set STIXBRIDGE_CORPORA, or put them in ../shared/corpora")
    return folder
