"""The registry: built-in components are found by being there, others by their entry points."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from stixbridge.errors import ConfigError
from stixbridge.settings.entry_points import load_entry_points
from stixbridge.settings.registry import SINKS, SOURCES, Registry

THIRD_PARTY = """
from stixbridge.settings.registry import sink

class ColumnsSettings: ...

@sink("columns", ColumnsSettings)
class ColumnsSink: ...
"""


def test_built_in_components_are_found_by_being_there() -> None:
    assert {"misp", "feed", "files"} <= set(SINKS.all())
    assert {"taxii20", "taxii21", "files"} <= set(SOURCES.all())


@pytest.mark.parametrize(
    ("registry", "name", "cls"),
    [
        (SINKS, "misp", "MispSink"),
        (SINKS, "feed", "FeedSink"),
        (SINKS, "files", "FilesSink"),
        (SOURCES, "taxii20", "Taxii20"),
        (SOURCES, "taxii21", "Taxii21"),
        (SOURCES, "files", "Files"),
    ],
)
def test_a_component_is_found_by_its_type(registry: Registry, name: str, cls: str) -> None:
    component = registry.find(name)
    assert component is not None
    assert component.make.__name__ == cls


@pytest.mark.parametrize("name", ["nonsense", "", "misp.sink", "../misp", "base"])
def test_an_unknown_type_is_not_found(name: str) -> None:
    assert SINKS.find(name) is None


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that installed packages are in."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(folder: Path, name: str, code: str, group: str) -> None:
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\ncolumns = {name}\n")


def test_a_sink_of_another_package_is_found_by_its_entry_point(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SINKS, "_components", dict(SINKS.all()))
    assert SINKS.find("columns") is None
    install(installed, "columns_for_stixbridge", THIRD_PARTY, "stixbridge.sinks")
    assert metadata.entry_points(group="stixbridge.sinks")
    component = SINKS.find("columns")
    assert component is not None
    assert component.make.__name__ == "ColumnsSink"
    assert "columns" in SINKS.all()
    del sys.modules["columns_for_stixbridge"]


def test_a_package_that_can_t_be_loaded_is_named(installed: Path) -> None:
    install(installed, "broken_package", "import no_such_module", "stixbridge.types")
    with pytest.raises(ConfigError, match=r"broken_package \(ModuleNotFoundError.*uninstall"):
        load_entry_points("stixbridge.types")


def test_two_components_of_one_name_are_refused() -> None:
    registry = Registry("sink", "stixbridge.sinks")
    registry.register("same", object)(int)
    with pytest.raises(ConfigError, match=r"two sinks are called 'same': .*int and .*str"):
        registry.register("same", object)(str)
