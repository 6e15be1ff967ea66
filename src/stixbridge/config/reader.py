"""The configuration: TOML, one typed section for each component, secrets by reference.

Every mistake is reported at once, each with its line, its place (`$.sources.acme.url`) and what to
do. Nothing here opens a connection; secrets are looked up only when a component is made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from stixbridge.config.lines import lines_of
from stixbridge.conversion.settings import source_name_problem
from stixbridge.errors import ConfigError
from stixbridge.pipeline.settings import PipelineSettings
from stixbridge.settings.base import ByType, Settings
from stixbridge.settings.kinds import WRONG
from stixbridge.settings.mistakes import Mistake, Mistakes, dotted, near
from stixbridge.settings.mistakes import Path as Way
from stixbridge.settings.registry import SINKS, SOURCES, Registry
from stixbridge.sinks.settings import SinkSettings
from stixbridge.sources.settings import SourceSettings
from stixbridge.store.settings import StoreSettings


class ComponentKind(ByType):
    """The kind of `[sources.NAME]` and `[sinks.NAME]`: the `type` names a registered component.

    Args (of the constructor):
        registry: of the sources or sinks.
    """

    def __init__(self, registry: Registry) -> None:
        super().__init__(self._settings, self._all)
        self._registry = registry

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The settings; where the table names a preset, the settings of that are its defaults."""
        if isinstance(value, Mapping) and isinstance(preset := value.get("preset"), str):
            value = {**self._registry.preset(preset), **value}
        return super().read(value, way, mistakes)

    def _settings(self, name: str) -> type[Settings] | None:
        component = self._registry.find(name)
        return component.settings if component is not None else None

    def _all(self) -> Mapping[str, type[Settings]]:
        return {name: component.settings for name, component in self._registry.all().items()}


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """A whole configuration.

    Attributes:
        store: where the bridge keeps what came in and what was delivered.
        sources: the sources, by name.
        sinks: the sinks, by name.
        pipelines: the pipelines, by name.
    """

    store: StoreSettings = field(default_factory=StoreSettings)
    sources: Mapping[str, Annotated[SourceSettings, ComponentKind(SOURCES)]] = field(
        default_factory=dict
    )
    sinks: Mapping[str, Annotated[SinkSettings, ComponentKind(SINKS)]] = field(default_factory=dict)
    pipelines: Mapping[str, PipelineSettings] = field(default_factory=dict)

    def with_store(self, path: Path) -> Config:
        """The same with another file as its store."""
        return replace(self, store=replace(self.store, path=path))


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: naming every mistake.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; write one with: stixbridge init"
        ) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"not TOML: {error}", str(path)) from None
    return _beside(parse(text, str(path)), path.parent)


def parse(toml: str | Mapping[str, Any], where: str = "configuration") -> Config:
    """Check a configuration.

    Args:
        toml: its text, or the tables read from it; only the text has lines to name.
        where: named in errors.

    Raises:
        ConfigError: naming every mistake.
    """
    try:
        value = tomllib.loads(toml) if isinstance(toml, str) else toml
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}", where) from None
    mistakes = Mistakes()
    config = Config.KIND.read(value, (), mistakes)
    _check_names(value, mistakes)
    if mistakes or config is WRONG:
        raise ConfigError(_in_words(mistakes, toml), where)
    assert isinstance(config, Config)
    return config


def _in_words(mistakes: Mistakes, toml: str | Mapping[str, Any]) -> list[str]:
    """The mistakes in the order of the file, each with its line."""
    if not isinstance(toml, str):
        return [_in_words_at(mistake, None) for mistake in mistakes]
    lines = lines_of(toml)
    rows = [(lines.line(mistake.path), mistake) for mistake in mistakes]
    rows.sort(key=lambda row: row[0] or len(toml))  # what is in no line comes last
    return [_in_words_at(mistake, line) for line, mistake in rows]


def _in_words_at(mistake: Mistake, line: int | None) -> str:
    place = f"{mistake.text} @ ${dotted(mistake.path)}"
    return f"line {line}: {place}" if line is not None else place


def _beside(config: Config, folder: Path) -> Config:
    """The configuration with rule files found beside it, wherever the command is run."""
    pipelines = {}
    for name, pipeline in config.pipelines.items():
        rules = [
            str(folder / Path(rule).expanduser()) if isinstance(rule, str) else rule
            for rule in pipeline.enrich.rules
        ]
        pipelines[name] = replace(pipeline, enrich=replace(pipeline.enrich, rules=tuple(rules)))
    return replace(config, pipelines=pipelines)


def _check_names(value: Mapping[str, Any], mistakes: Mistakes) -> None:
    """Check the names of sources, sinks and pipelines; those of mistaken sections too."""
    sources, sinks, pipelines = (_tables(value, name) for name in ("sources", "sinks", "pipelines"))
    for name in sources:
        if problem := source_name_problem(name):
            mistakes.add(("sources", name), problem)
    for name, table in pipelines.items():
        way: Way = ("pipelines", name)
        _check_name("source", table.get("source"), sources, (*way, "source"), mistakes)
        wanted = table.get("sinks")
        for number, sink in enumerate(wanted if isinstance(wanted, list | tuple) else ()):
            _check_name("sink", sink, sinks, (*way, "sinks", number), mistakes)
    if not pipelines:
        mistakes.add(
            ("pipelines",),
            "no pipeline; write one that joins a source and sinks: [pipelines.NAME]",
        )


def _check_name(
    kind: str, name: object, known: Mapping[str, Any], way: Way, mistakes: Mistakes
) -> None:
    if isinstance(name, str) and name not in known:
        mistakes.add(way, f"there is no {kind} {name!r}{near(name, known)}")


def _tables(value: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    section = value.get(name)
    if not isinstance(section, dict):
        return {}
    return {key: table for key, table in section.items() if isinstance(table, dict)}
