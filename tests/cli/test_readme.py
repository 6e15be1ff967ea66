"""The README: its Python is run as it stands there, its configuration loads, its messages are those
that come.
"""

import re
import tomllib
from pathlib import Path

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers.paths import ROOT

from stixbridge import times
from stixbridge.config.reader import parse
from stixbridge.enrich.rules.loader import read_rules
from stixbridge.errors import ConfigError
from stixbridge.misp.knowledge import load as load_knowledge

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def indicator(number: int, **more: object) -> dict[str, object]:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": "2026-01-05T08:00:00.000Z",
        "modified": "2026-01-05T08:00:00.000Z",
        "pattern": f"[ipv4-addr:value = '198.51.100.{number}']",
        "pattern_type": "stix",
        "valid_from": "2026-01-05T08:00:00Z",
        **more,
    }


RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"


def test_the_usual_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 11
    report = {
        "type": "report",
        "spec_version": "2.1",
        "id": "report--00000000-0000-4000-8000-000000000001",
        "created": "2026-01-05T08:00:00.000Z",
        "modified": "2026-01-05T08:00:00.000Z",
        "name": "A report",
        "published": "2026-01-05T08:00:00Z",
        "object_refs": [indicator(1)["id"], indicator(2)["id"]],
    }
    with TaxiiDouble(auth=("me", "s3cret")) as taxii, MispDouble() as misp:
        taxii.add_collection("indicators")
        taxii.add(
            "indicators",
            [report, indicator(1), indicator(2, object_marking_refs=[RED])],
            times.to_text(times.now()),
        )
        monkeypatch.setenv("ACME_PASSWORD", "s3cret")
        monkeypatch.setenv("MISP_KEY", misp.key)
        code = code.replace("https://taxii.example.com/taxii2/", taxii.url).replace(
            "https://misp.example.com", misp.url
        )
        exec(compile(code, "README.md", "exec"), {})
        event = misp.events[report["id"].removeprefix("report--")]
        assert event["info"] == "A report"
        assert event["threat_level_id"] == "1"
        assert [tag["name"] for tag in event["Tag"]] == ["tlp:green"]
        marked = {
            row["value"]: [tag["name"] for tag in row.get("Tag", [])] for row in event["Attribute"]
        }
        assert marked == {"198.51.100.1": [], "198.51.100.2": ["tlp:red"]}
    assert "created" in capsys.readouterr().out


def test_the_configuration_loads() -> None:
    text, _ = blocks("toml")
    assert "acme" in parse(tomllib.loads(text)).pipelines


def test_the_error_is_the_one_that_comes() -> None:
    text, _ = blocks("toml")
    text = text.replace("collections =", "colections =").replace(
        'key = { env = "MISP_KEY" }', 'key = "plain"'
    )
    text = text.replace('sinks = ["misp"]', 'sinks = ["mips"]')
    with pytest.raises(ConfigError) as caught:
        parse(text, "stixbridge.toml")
    assert f"stixbridge: {caught.value}" in README


def test_the_rule_loads(tmp_path: Path) -> None:
    _, text = blocks("toml")
    (tmp_path / "rules.toml").write_text(text)
    (rule,) = read_rules(tmp_path / "rules.toml", load_knowledge).rules
    assert rule.types == {"ip-dst"}
