"""A second opinion: what misp-stix says of the same bundles.

Each difference is equal in meaning or reviewed.

The reviewed file is tests/differential/differences.json; after a change of the mapping, see what it
does to the differences with `PYTHONPATH=tests python -m differential.write` and give new keys a
reason.
"""

from pathlib import Path

import pytest
from differential.compare import bundles, cases, differences
from differential.reviewed import complaints

pytest.importorskip("misp_stix_converter")


def test_third_party_cases_of_misp_stix(corpora: Path) -> None:
    found = differences(cases(corpora), corpora, stored=True)
    assert found.facts > 1_000
    assert not complaints(found, "cases")


@pytest.mark.slow
def test_every_bundle_of_the_corpora(corpora: Path) -> None:
    found = differences(bundles(corpora), corpora, stored=False)
    assert found.facts > 10_000
    assert not complaints(found, "count")
