"""The references of settings and commands are those of the code, and describe every part."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from helpers.paths import ROOT

from stixbridge.cli import main, stixbridge
from stixbridge.cli.commands import register
from stixbridge.cli.reference import render as render_commands
from stixbridge.cli.template import CONFIGURATION
from stixbridge.config import reference
from stixbridge.config.reader import Config, parse
from stixbridge.config.schema import schema
from stixbridge.errors import ConfigError
from stixbridge.settings.base import Section, Settings
from stixbridge.settings.registry import SINKS, SOURCES

SCHEMA = ROOT / "src" / "stixbridge" / "config" / "stixbridge.schema.json"


def sections(cls: type[Settings]) -> Iterator[type[Settings]]:
    """A section and all that are in it."""
    yield cls
    for kind in map(vars, (setting.kind for setting in cls.KIND.settings)):
        for inner in kind.values():
            if isinstance(inner, Section):
                yield from sections(inner._cls)


def every_section() -> list[type[Settings]]:
    components = [*SOURCES.all().values(), *SINKS.all().values()]
    roots = [Config, *(component.settings for component in components)]
    return sorted({each for root in roots for each in sections(root)}, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", every_section(), ids=lambda cls: cls.__name__)
def test_every_setting_says_what_it_does(cls: type[Settings]) -> None:
    assert [setting.name for setting in cls.KIND.settings if not setting.meaning] == []


@pytest.mark.parametrize("cls", every_section(), ids=lambda cls: cls.__name__)
def test_every_setting_is_in_the_reference(cls: type[Settings]) -> None:
    if cls is Config:
        return
    page = reference.render()
    names = [setting.name for setting in cls.KIND.settings]
    assert [
        name for name in names if f"| `{name}` |" not in page and f"`{name}`:" not in page
    ] == []


def test_the_page_of_settings_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference.render(), "make reference"


def test_the_page_of_commands_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == render_commands(), "make reference"


def commands(group: click.Group, way: str = "stixbridge") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{way} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{way} {name}")


def test_every_command_and_option_says_what_it_does() -> None:
    register(stixbridge)
    page = (ROOT / "docs" / "cli.md").read_text()
    silent = []
    for path, command in commands(stixbridge):
        assert f"\n{path} " in page, path
        silent += [path] if not command.help else []
        for option in command.params:
            if isinstance(option, click.Option):
                silent += [f"{path} {option.opts[-1]}"] if not option.help else []
                assert all(name in page for name in option.opts), (path, option.opts)
    assert silent == []


def test_the_shipped_schema_is_that_of_the_code(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["schema"]) == 0
    printed = capfdbinary.readouterr().out
    assert json.loads(printed) == schema()
    assert printed == SCHEMA.read_bytes(), "make reference"
    jsonschema.Draft7Validator.check_schema(schema())


def is_valid(toml: str) -> bool:
    import tomllib

    return bool(jsonschema.Draft7Validator(schema()).is_valid(tomllib.loads(toml)))


REST = """
[sinks.out]
type = "files"
path = "out"
[pipelines.p]
source = "s"
sinks = ["out"]
"""


@pytest.mark.parametrize(
    ("source", "right"),
    [
        ('type = "files"\npaths = ["*.json"]', True),
        ('type = "files"\npaths = "*.json"', False),
        ('type = "files"\npath = ["*.json"]', False),
        ('type = "files"', False),
        ('type = "mails"\npaths = ["*.json"]', False),
        ('type = "taxii21"\nurl = "https://t.example/"', True),
        ('type = "taxii21"\nurl = "https://t.example/"\noverlap = "5m"\ntimeout = 10', True),
        ('type = "taxii21"\nurl = "https://t.example/"\noverlap = "soon"', False),
        ('type = "taxii21"\nurl = "https://t.example/"\nvanished = "gone"', False),
        ('type = "taxii21"\nurl = "https://t.example/"\npage_size = 0', False),
        ('type = "taxii21"', False),
        ('type = "taxii21"\npreset = "mitre-attack"', True),
        ('type = "taxii21"\npreset = "nobody"\nurl = "https://t.example/"', False),
        (
            'preset = "ibm-xforce"\nurl = "https://t.example/"\n'
            'auth = { type = "basic", user = "u", password = { env = "P" } }',
            True,
        ),
        (
            'type = "taxii21"\nurl = "https://t.example/"\n'
            'auth = { type = "basic", user = "u", password = "plain" }',
            False,
        ),
        (
            'type = "taxii20"\nurl = "https://t.example/"\n'
            'auth = { type = "bearer", token = { file = "T" } }\nmatch = { type = ["indicator"] }',
            True,
        ),
        ('type = "taxii20"\nurl = "https://t.example/"\nmatch = { kind = ["indicator"] }', False),
        ('type = "files"\npaths = ["x"]\nmin_confidence = 101', False),
        ('type = "files"\npaths = ["x"]\ndefault_tlp = "TLP:AMBER"', True),
    ],
)
def test_the_schema_takes_what_the_bridge_takes(source: str, right: bool) -> None:
    toml = f"[sources.s]\n{source}\n{REST}"
    assert is_valid(toml) == right
    if right:
        parse(toml)
    else:
        with pytest.raises(ConfigError):
            parse(toml)


def test_the_schema_takes_the_template_and_the_readme() -> None:
    import re

    assert is_valid(CONFIGURATION)
    readme = (ROOT / "README.md").read_text()
    (first, *_) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert is_valid(first)


def test_a_section_without_a_meaning_is_noticed(tmp_path: Path) -> None:
    """The check above can fail: it sees a setting that its docstring forgets."""
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class Forgetful(Settings):
        """A section.

        Attributes:
            one: the first.
        """

        one: str = ""
        two: str = ""

    silent: list[Any] = [setting.name for setting in Forgetful.KIND.settings if not setting.meaning]
    assert silent == ["two"]
