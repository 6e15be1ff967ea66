"""Every recipe of docs/cookbook.md does what it says."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT

from stixbridge.config import reader
from stixbridge.enrich import Enrich
from stixbridge.pipeline.rule_tests import run_tests

TEXT = (ROOT / "docs" / "cookbook.md").read_text()
RECIPES = dict(re.findall(r"^## (\d+\. [^\n]*)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 12


@pytest.mark.parametrize("title", RECIPES)
def test_recipe(title: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", RECIPES[title], re.DOTALL | re.MULTILINE)
    settings: dict[str, Any] = {}
    rules = tmp_path / "rules.toml"
    for block in blocks:
        if "pipelines" in (table := tomllib.loads(block)):
            around = {
                "sources": {"acme": {"type": "files", "paths": ["x"]}},
                "sinks": {"misp": {"type": "files", "path": "x"}},
            }
            parsed = reader.parse({**around, **table})
            settings = vars(parsed.pipelines["acme"].enrich)
        else:
            rules.write_text(block)
    trials = list(run_tests(rules, Enrich(**settings)))
    assert trials
    assert [failure for trial in trials for failure in trial.failures] == []
