"""From a configuration to running parts: each is looked up by its settings and made of them."""

from __future__ import annotations

from dataclasses import fields, replace

from stixbridge import times
from stixbridge.config.reader import Config
from stixbridge.conversion.settings import ConversionSettings, ConvertSettings
from stixbridge.enrich import Enrich, Enrichment
from stixbridge.errors import ConfigError
from stixbridge.pipeline.lifecycle import Policy
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.pipeline.pull import Progress, PullPolicy
from stixbridge.settings.registry import SINKS, SOURCES
from stixbridge.settings.secret import secret_in, secrets_in
from stixbridge.sinks.base import Sink
from stixbridge.sinks.settings import SinkSettings
from stixbridge.sources.base import Source
from stixbridge.sources.settings import ServerSettings, SourceSettings
from stixbridge.store import Store


def open_store(config: Config) -> Store:
    """Open the store that a configuration names."""
    return Store(config.store.path.expanduser(), history=times.duration(config.store.history))


def check_secrets(config: Config, names: tuple[str, ...] = ()) -> None:
    """Look up all secrets of some pipelines before anything is opened.

    Args:
        config: from `stixbridge.config.reader`.
        names: of the pipelines; all when empty.

    Raises:
        ConfigError: naming every secret that is not there.
    """
    problems: dict[str, None] = {}
    for name in names or tuple(config.pipelines):
        pipeline = config.pipelines.get(name)
        if pipeline is None:
            continue
        sections = [
            (config.sources[pipeline.source], f"$.sources.{pipeline.source}"),
            *((config.sinks[sink], f"$.sinks.{sink}") for sink in pipeline.sinks),
            (pipeline.enrich, f"$.pipelines.{name}.enrich"),
        ]
        for section, place in sections:
            for secret, where in secrets_in(section, place):
                try:
                    secret.read(where)
                except ConfigError as error:
                    problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(list(problems))


def make_pipelines(
    config: Config, store: Store, names: tuple[str, ...] = (), progress: Progress | None = None
) -> list[Pipeline]:
    """Make the pipelines of a configuration.

    Args:
        config: from `stixbridge.config.reader`.
        store: from `open_store`.
        names: of the pipelines; all when empty.
        progress: takes lines of text.

    Raises:
        ConfigError: for an unknown name, or a secret that is not there.
    """
    unknown = [name for name in names if name not in config.pipelines]
    if unknown:
        known = ", ".join(sorted(config.pipelines))
        raise ConfigError(
            [f"there is no pipeline {name!r}; there are: {known}" for name in unknown]
        )
    return [_pipeline(config, store, name, progress) for name in names or tuple(config.pipelines)]


def _pipeline(config: Config, store: Store, name: str, progress: Progress | None) -> Pipeline:
    settings = config.pipelines[name]
    maker = make_maker(config, store, name)
    unknown = sorted(maker.enrich.routes() - set(settings.sinks))
    if unknown:
        raise ConfigError(
            f"$.pipelines.{name}: a rule routes to {', '.join(map(repr, unknown))};"
            f" the sinks of the pipeline are {', '.join(settings.sinks)}"
        )
    source = config.sources[settings.source]
    return Pipeline(
        maker,
        make_source(settings.source, source),
        [make_sink(sink, config.sinks[sink]) for sink in settings.sinks],
        pull_policy=_pull_policy(source),
        guard=settings.guard,
        progress=progress,
    )


def _pull_policy(settings: SourceSettings) -> PullPolicy:
    """The requests to a source besides the one for new objects."""
    if not isinstance(settings, ServerSettings):
        return PullPolicy(settings.window())
    return PullPolicy(settings.window(), settings.ask, settings.compare_interval())


def make_maker(config: Config, store: Store, name: str, *, offline: bool = False) -> Maker:
    """Make the part of a pipeline that makes its events.

    Args:
        config: from `stixbridge.config.reader`.
        store: from `open_store`.
        name: of the pipeline.
        offline: ask no module of a server, and need no secret.
    """
    settings = config.pipelines[name]
    source = config.sources[settings.source]
    try:
        enrich = Enrichment(
            _enrich(settings.enrich, name, offline),
            galaxies=settings.galaxies,
            answers=store.answers,
        )
    except ConfigError as error:
        raise ConfigError(error.problems, f"$.pipelines.{name}.enrich") from None
    return Maker(
        name,
        settings.source,
        store,
        enrich=enrich,
        settings=ConvertSettings(
            **{field.name: getattr(settings, field.name) for field in fields(ConversionSettings)},
            default_tlp=source.default_tlp,
            describe=any(config.sinks[sink].describes_unknown for sink in settings.sinks),
        ),
        policy=Policy(
            source.vanished if isinstance(source, ServerSettings) else "keep",
            times.duration(settings.expired_after) if settings.expired_after is not None else None,
        ),
    )


def _enrich(settings: Enrich, pipeline: str, offline: bool) -> Enrich:
    """The settings with the secrets of modules looked up; without modules when `offline`."""
    modules = []
    for module in () if offline else settings.modules:
        place = f"$.pipelines.{pipeline}.enrich.modules.{module.name}.config"
        values = {
            key: secret.read(f"{place}.{key}")
            if (secret := secret_in(value)) is not None
            else value
            for key, value in module.config.items()
        }
        modules.append(replace(module, config=values))
    return replace(settings, modules=tuple(modules))


def make_source(name: str, settings: SourceSettings) -> Source:
    """Make a source from its section.

    Raises:
        ConfigError: when it can't be made; names its section.
    """
    try:
        source: Source = SOURCES.of(settings).build(settings, name)
    except ConfigError as error:
        raise ConfigError(error.problems, f"$.sources.{name}") from None
    return source


def make_sink(name: str, settings: SinkSettings) -> Sink:
    """Make a sink from its section.

    Raises:
        ConfigError: when it can't be made; names its section.
    """
    try:
        sink: Sink = SINKS.of(settings).build(settings, name)
    except ConfigError as error:
        raise ConfigError(error.problems, f"$.sinks.{name}") from None
    return sink
