"""What every test gets: the same generated examples, and the folder of real STIX files where there
is one.
"""

import os
from pathlib import Path

import pytest
from helpers.paths import corpora_folder
from hypothesis import settings

# A suite that decides whether a commit is good draws the same examples every time; `make explore`
# draws new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("explore" if os.environ.get("EXPLORE") else "same")


@pytest.fixture
def corpora() -> Path:
    folder = corpora_folder()
    if folder is None:
        pytest.skip("no real STIX files: set STIXBRIDGE_CORPORA, or put them in ../shared/corpora")
    return folder
