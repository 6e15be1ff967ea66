"""The configuration: each mistake with its place; secrets by reference and never shown."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT

from stixbridge.cli.template import CONFIGURATION
from stixbridge.config import model
from stixbridge.config.model import Config, Secret
from stixbridge.config.reader import load, parse
from stixbridge.enrich import Enrich
from stixbridge.errors import ConfigError

GOOD: dict[str, Any] = {
    "sources": {
        "acme": {
            "type": "taxii21",
            "url": "https://taxii.example.com/taxii2/",
            "auth": {"type": "basic", "user": "me", "password": {"env": "P"}},
        }
    },
    "sinks": {"misp": {"type": "misp", "url": "https://misp.example.com", "key": {"env": "K"}}},
    "pipelines": {"acme": {"source": "acme", "sinks": ["misp"]}},
}


def broken(path: str, value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    here = tree
    for step in way:
        here = here.setdefault(step, {})
    here[last] = value
    return tree


def test_the_smallest_configuration() -> None:
    made = parse(GOOD)
    assert isinstance(made, Config)
    assert made.store.path == "stixbridge.db"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "sources.acme.colections",
            ["x"],
            r"unknown setting 'colections'; did you mean 'collections'\? @ \$.sources.acme",
        ),
        ("sources.acme.url", 7, r"expected text, got a number @ \$.sources.acme.url"),
        ("sources.acme.url", "taxii.example.com", r"no URL; .* @ \$.sources.acme.url"),
        ("sources.acme.url", "https://me:pw@taxii.example.com/", r"holds no credentials"),
        ("sources.acme.since", "five days", r"no duration"),
        (
            "sources.acme.page_size",
            True,
            r"expected a whole number, got true or false @ \$.sources.acme.page_size",
        ),
        ("sources.acme.page_size", 0, r"0 is not above 0 @ \$.sources.acme.page_size"),
        (
            "sources.acme.collections",
            "indicators",
            r'write \["indicators"\] @ \$.sources.acme.collections',
        ),
        ("sources.acme.default_tlp", "tlp:pink", r"no TLP level"),
        (
            "sources.acme.type",
            "taxi",
            r"type 'taxi' is none of files, taxii20, taxii21; did you mean 'taxii21'",
        ),
        (
            "sources.acme.auth",
            {"type": "basic", "user": "me"},
            r"basic needs password @ \$.sources.acme.auth",
        ),
        ("sinks.misp.key", "0123456789secret", r"a secret is a reference: .* @ \$.sinks.misp.key"),
        ("sinks.misp.mode", "fast", r"'fast' is none of api, upload_stix"),
        ("pipelines.acme.sinks", ["mips"], r"there is no sink 'mips'; did you mean 'misp'\?"),
        ("pipelines.acme.sinks", [], r"at least one sink"),
        ("pipelines.acme.source", "acne", r"there is no source 'acne'; did you mean 'acme'\?"),
        (
            "pipelines.acme.group",
            "week",
            r"'week' is none of report, input, day, creator, type:NAME",
        ),
        ("pipelines.acme.enrich", {"threat_level": 9}, r"threat_level is 9; it goes from 1 to 4"),
        ("pipelines.acme.enrich", {"info": "{report.title}"}, r"nothing is called {report.title}"),
        ("pipelines.acme.enrich", {"info": "{report.name"}, r"is no template"),
        ("pipelines.acme.enrich", {"tags": ["tlp:pink"]}, r"'tlp:pink' is no TLP level"),
        ("pipelines", {}, r"no pipeline"),
    ],
)
def test_one_mistake(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(broken(path, value), "stixbridge.toml")
    assert len(caught.value.problems) == 1
    assert "0123456789secret" not in str(caught.value)


def test_all_mistakes_at_once() -> None:
    tree = broken("sources.acme.colections", [])
    tree["sinks"]["misp"]["key"] = "plain"
    tree["pipelines"]["acme"]["sinks"] = ["mips"]
    with pytest.raises(ConfigError, match="3 mistakes") as caught:
        parse(tree, "stixbridge.toml")
    assert len(caught.value.problems) == 3


def test_the_template_of_init_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "stixbridge.toml"
    path.write_text(CONFIGURATION)
    assert set(load(path).pipelines) == {"acme"}


def test_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "stixbridge.toml"
    path.write_text("[sources\n")
    with pytest.raises(ConfigError, match="not TOML"):
        load(path)
    with pytest.raises(ConfigError, match="stixbridge init"):
        load(tmp_path / "absent.toml")


def test_secrets_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    (tmp_path / "file").write_text("s3cret\n")
    assert Secret(env="A_SECRET").read("$.x") == "s3cret"
    assert Secret(file=str(tmp_path / "file")).read("$.x") == "s3cret"
    with pytest.raises(ConfigError, match=r"\$.x: the environment variable NO_SUCH is not set"):
        Secret(env="NO_SUCH").read("$.x")
    with pytest.raises(ConfigError, match="No such file"):
        Secret(file=str(tmp_path / "absent")).read("$.x")


def test_enrich_checks_itself_in_python_too() -> None:
    with pytest.raises(ConfigError, match="2 mistakes"):
        Enrich(threat_level=0, analysis=5)


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for name in dir(model):
        settings = getattr(model, name)
        if name.endswith("Settings") and hasattr(settings, "__dataclass_fields__"):
            for field in settings.__dataclass_fields__:
                assert re.search(rf"`[^`]*\b{field}\b", text), (
                    f"{name}.{field} is not in docs/configuration.md"
                )
