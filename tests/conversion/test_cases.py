"""Golden cases: one folder a behaviour, named for it.

`make cases` writes the outputs; a person reads the diff.
"""

import json

import pytest
from cases.write import CASES, names, output


@pytest.mark.parametrize("name", names())
def test_case(name: str) -> None:
    expected = json.loads((CASES / name / "out.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(output(name))) == expected
