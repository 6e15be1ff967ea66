"""What every test gets: an empty cache of its own is not needed, but no proxy and no MISP of the machine's is seen."""

import os
from pathlib import Path

import pytest

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
