"""The configuration: each mistake with its place; secrets by reference and never shown."""

import copy
from pathlib import Path
from typing import Any

import pytest

from stixbridge import Enrich, FeedSink, MispSink, Taxii21, convert
from stixbridge.cli.template import CONFIGURATION
from stixbridge.config.reader import Config, load, parse
from stixbridge.errors import ConfigError
from stixbridge.settings.secret import Secret

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
    assert made.store.path == Path("stixbridge.db")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "sources.acme.colections",
            ["x"],
            r"unknown setting 'colections'; did you mean 'collections'\? @ \$.sources.acme",
        ),
        ("sources.acme.url", 7, r"expected text, got a number @ \$.sources.acme.url"),
        ("sources.acme.url", "taxii.example.com", r"not a URL; .* @ \$.sources.acme.url"),
        ("sources.acme.url", "https://me:pw@taxii.example.com/", r"holds no credentials"),
        ("sources.acme.since", "five days", r"not a duration"),
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
        ("sources.acme.default_tlp", "tlp:pink", r"not a TLP level"),
        (
            "sources.acme.type",
            "taxi",
            r"type 'taxi' is not one of files, https, taxii20, taxii21; did you mean 'taxii21'",
        ),
        (
            "sources.acme.auth",
            {"type": "basic", "user": "me"},
            r"missing setting @ \$.sources.acme.auth.password",
        ),
        ("sinks.misp.key", "0123456789secret", r"a secret is a reference: .* @ \$.sinks.misp.key"),
        ("sinks.misp.mode", "fast", r"'fast' is not one of api, upload_stix"),
        ("pipelines.acme.sinks", ["mips"], r"there is no sink 'mips'; did you mean 'misp'\?"),
        ("pipelines.acme.sinks", [], r"at least one sink"),
        ("pipelines.acme.source", "acne", r"there is no source 'acne'; did you mean 'acme'\?"),
        (
            "pipelines.acme.group",
            "week",
            r"'week' is not one of report, input, day, creator, type:NAME",
        ),
        (
            "pipelines.acme.enrich",
            {"threat_level": 9},
            r"9 is not between 1 and 4 @ \$.pipelines.acme.enrich.threat_level",
        ),
        ("pipelines.acme.enrich", {"info": "{report.title}"}, r"nothing is called {report.title}"),
        ("pipelines.acme.enrich", {"info": "{report.name"}, r"is not a template"),
        (
            "pipelines.acme.enrich",
            {"tags": ["tlp:pink"]},
            r"'tlp:pink' is not a TLP level;.* @ \$.pipelines.acme.enrich.tags\[0\]",
        ),
        ("pipelines", {}, r"no pipeline"),
        (
            "sources.tlp",
            {"type": "files", "paths": ["x"]},
            r"'tlp' is a name space of tags that MISP acts on; .* @ \$.sources.tlp",
        ),
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


def test_python_has_the_same_checks_with_the_same_words() -> None:
    with pytest.raises(ConfigError, match="enrich: 2 mistakes") as caught:
        Enrich(threat_level=0, analysis=5)
    assert caught.value.problems == [
        "threat_level: 0 is not between 1 and 4",
        "analysis: 5 is not between 0 and 2",
    ]
    for make, message in (
        (
            lambda: Enrich(modules=[{"name": "m", "max_tlp": "pink"}]),
            r"modules\[0\].max_tlp: 'pink'",
        ),
        (lambda: FeedSink("feed", max_tlp="pink"), "max_tlp: 'pink' is not a TLP level; write one"),
        (
            lambda: Taxii21("https://t.example/", overlap="soon"),
            "overlap: 'soon' is not a duration",
        ),
        (lambda: Taxii21("t.example"), "url: not a URL; write it as https://host/path/"),
        (
            lambda: MispSink("https://m.example", "k", foreign="take"),
            "foreign: 'take' is not one of",
        ),
        (lambda: convert([], default_tlp="pink"), "default_tlp: 'pink' is not a TLP level"),
        (lambda: convert([], engine="steam"), "engine: 'steam' is not one of native, misp-stix"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
