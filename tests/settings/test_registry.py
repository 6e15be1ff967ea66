"""The registry: built-in components are found by being there, others by their entry points."""

import json
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


CSV_SINK = """
import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stixbridge.envelopes import Delivered
from stixbridge.settings.checks import FilePath
from stixbridge.settings.registry import sink
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, State
from stixbridge.sinks.settings import SinkSettings


@dataclass(frozen=True, kw_only=True)
class CsvSettings(SinkSettings):
    \"\"\"A folder of CSV files.

    Attributes:
        path: the folder.
    \"\"\"

    path: FilePath


@sink("sheet", CsvSettings)
class CsvSink(Sink):
    def __init__(self, path: Path, *, name: str = "csv", max_tlp: str | None = None) -> None:
        super().__init__(name, max_tlp=max_tlp)
        self._path = path

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        for job in jobs:
            rows = [[row["type"], row["value"]] for row in job.wanted.event["Attribute"]]
            with (self._path / f"{job.uuid}.csv").open("w", newline="") as file:
                csv.writer(file).writerows(rows)
            yield Delivery(job.uuid, State.DELIVERED, Delivered.of(job.wanted), "created")
"""


def test_a_sink_of_another_package_delivers_with_settings_of_its_own(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change test: a new sink is one module with its class and its settings."""
    from stixbridge.config.build import make_pipelines, open_store
    from stixbridge.config.reader import parse
    from stixbridge.config.schema import schema

    monkeypatch.setattr(SINKS, "_components", dict(SINKS.all()))
    install(installed, "csv_sink_package", CSV_SINK, "stixbridge.sinks")
    monkeypatch.chdir(installed)
    indicator = {
        "type": "indicator",
        "spec_version": "2.1",
        "id": "indicator--00000000-0000-4000-8000-000000000001",
        "created": "2026-01-05T08:00:00.000Z",
        "modified": "2026-01-05T08:00:00.000Z",
        "pattern": "[ipv4-addr:value = '198.51.100.1']",
        "pattern_type": "stix",
        "valid_from": "2026-01-05T08:00:00Z",
    }
    Path("in.json").write_text(json.dumps([indicator]))
    text = """
        [sources.inbox]
        type = "files"
        paths = ["in.json"]
        [sinks.table]
        type = "sheet"
        path = "."
        max_tlp = "tlp:green"
        [pipelines.p]
        source = "inbox"
        sinks = ["table"]
        """
    with pytest.raises(ConfigError, match=r"line 7: unknown setting 'pth'; did you mean 'path'"):
        parse(text.replace("path =", "pth ="))
    config = parse(text)
    store = open_store(config)
    (pipeline,) = make_pipelines(config, store)
    assert pipeline.run().events == {"created": 1}
    pipeline.close()
    store.close()
    (made,) = installed.glob("*.csv")
    assert made.read_text().strip() == "ip-dst,198.51.100.1"
    assert '"const": "sheet"' in json.dumps(schema())
    del sys.modules["csv_sink_package"]


def test_a_package_that_can_t_be_loaded_is_named(installed: Path) -> None:
    install(installed, "broken_package", "import no_such_module", "stixbridge.types")
    with pytest.raises(ConfigError, match=r"broken_package \(ModuleNotFoundError.*uninstall"):
        load_entry_points("stixbridge.types")


def test_two_components_of_one_name_are_refused() -> None:
    registry = Registry("sink", "stixbridge.sinks")
    registry.register("same", object)(int)
    with pytest.raises(ConfigError, match=r"two sinks are called 'same': .*int and .*str"):
        registry.register("same", object)(str)
