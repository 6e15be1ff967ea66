"""Folders of the project that tests read, and the optional folder of real STIX files."""

import os
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent


def corpora_folder() -> Path | None:
    """The optional folder of real STIX files."""
    folder = Path(os.environ.get("STIXBRIDGE_CORPORA") or ROOT.parent / "shared" / "corpora")
    return folder if folder.is_dir() else None
