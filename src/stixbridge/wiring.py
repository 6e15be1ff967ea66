"""From a configuration to running parts: the registry of sources and sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .config import (
    AuthSettings,
    Config,
    EnrichSettings,
    FeedSettings,
    FilesSettings,
    FilesSinkSettings,
    MispSettings,
    Secret,
    SinkSettings,
    SourceSettings,
    TaxiiSettings,
    secret_in,
)
from .enrich import Enrich, Enrichment
from .errors import ConfigError
from .making import Maker
from .net import Auth, Http
from .pipeline import Pipeline, Progress
from .sinks.delivery import Sink
from .sources.page import Source
from .store import Store


def open_store(config: Config) -> Store:
    """Open the store that a configuration names."""
    return Store(Path(config.store.path).expanduser())


def check_secrets(config: Config, names: tuple[str, ...] = ()) -> None:
    """Look all secrets of some pipelines up (all pipelines when `names` is empty), before anything is opened.

    Raises:
        ConfigError: naming every secret that is not there.
    """
    problems: dict[str, None] = {}
    for name in names or tuple(config.pipelines):
        settings = config.pipelines.get(name)
        if settings is None:
            continue
        wanted: list[tuple[Secret | None, str]] = []
        source = config.sources[settings.source]
        if isinstance(source, TaxiiSettings) and source.auth is not None:
            place = f"$.sources.{settings.source}.auth"
            wanted += [(getattr(source.auth, part), f"{place}.{part}") for part in ("password", "token", "value")]
        for sink in settings.sinks:
            section = config.sinks[sink]
            if isinstance(section, MispSettings):
                wanted.append((section.key, f"$.sinks.{sink}.key"))
        for module in settings.enrich.modules:
            place = f"$.pipelines.{name}.enrich.modules.{module.name}"
            wanted += [(secret_in(value), f"{place}.config.{key}") for key, value in module.config.items()]
        for secret, place in wanted:
            try:
                if secret is not None:
                    secret.read(place)
            except ConfigError as error:
                problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(list(problems))


def make_pipelines(
    config: Config, store: Store, names: tuple[str, ...] = (), progress: Progress | None = None
) -> list[Pipeline]:
    """Make the pipelines of a configuration.

    Args:
        config: from `stixbridge.config`.
        store: from `open_store`.
        names: of the pipelines; all when empty.
        progress: takes lines of text.

    Raises:
        ConfigError: for an unknown name, or a secret that is not there.
    """
    unknown = [name for name in names if name not in config.pipelines]
    if unknown:
        known = ", ".join(sorted(config.pipelines))
        raise ConfigError([f"no pipeline {name!r}; there are: {known}" for name in unknown])
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
    return Pipeline(
        maker,
        make_source(settings.source, config.sources[settings.source]),
        [make_sink(sink, config.sinks[sink]) for sink in settings.sinks],
        progress=progress,
    )


def make_maker(config: Config, store: Store, name: str, *, offline: bool = False) -> Maker:
    """The making part of a pipeline.

    Args:
        config: from `stixbridge.config`.
        store: from `open_store`.
        name: of the pipeline.
        offline: ask no module of a server, and need no secret.
    """
    settings = config.pipelines[name]
    galaxies = Path(settings.galaxies) if settings.galaxies else None
    try:
        enrich = Enrichment(_enrich(settings.enrich, name, offline), galaxies=galaxies, answers=store.answers())
    except ConfigError as error:
        raise ConfigError(error.problems, f"$.pipelines.{name}.enrich") from None
    return Maker(
        name,
        settings.source,
        store,
        enrich=enrich,
        settings={
            "group": settings.group,
            "default_tlp": config.sources[settings.source].default_tlp,
            "labels": settings.labels,
            "uuid_namespace": settings.uuid_namespace,
            "custom": settings.custom,
            "preserve": settings.preserve,
            "galaxies": galaxies,
        },
        engine=settings.engine,
    )


def _enrich(settings: EnrichSettings, pipeline: str, offline: bool) -> Enrich:
    """The settings with the secrets of modules looked up; without modules when `offline`."""
    modules = []
    for module in () if offline else settings.modules:
        place = f"$.pipelines.{pipeline}.enrich.modules.{module.name}.config"
        values = {
            key: secret.read(f"{place}.{key}") if (secret := secret_in(value)) is not None else value
            for key, value in module.config.items()
        }
        modules.append(replace(module, config=values))
    return Enrich(**{**vars(settings), "modules": tuple(modules)})


def make_source(name: str, settings: SourceSettings) -> Source:
    """Make a source from its section."""
    return _SOURCES[type(settings)](name, settings)


def make_sink(name: str, settings: SinkSettings) -> Sink:
    """Make a sink from its section."""
    return _SINKS[type(settings)](name, settings)


def _taxii21(name: str, settings: TaxiiSettings) -> Source:
    from .sources.taxii21 import MEDIA_TYPE, Taxii21

    http = Http(
        settings.url,
        auth=_auth(settings.auth, f"$.sources.{name}.auth"),
        accept=MEDIA_TYPE,
        ca=Path(settings.ca).expanduser() if settings.ca else None,
        verify=settings.verify_tls,
        timeout=settings.timeout,
        max_bytes=settings.max_bytes,
    )
    return Taxii21(
        settings.url,
        collections=settings.collections,
        since=settings.since,
        page_size=settings.page_size,
        overlap=settings.overlap,
        name=name,
        http=http,
    )


def _auth(settings: AuthSettings | None, where: str) -> Auth | None:
    if settings is None:
        return None
    if settings.type == "basic" and settings.password is not None:
        return Auth(user=settings.user, password=settings.password.read(f"{where}.password"))
    if settings.type in ("bearer", "token") and settings.token is not None:
        return Auth(token=settings.token.read(f"{where}.token"), scheme=settings.type.capitalize())
    if settings.value is not None:
        return Auth(header=settings.name, value=settings.value.read(f"{where}.value"))
    return None


def _files(name: str, settings: FilesSettings) -> Source:
    from .sources.files import Files

    return Files(settings.paths, name=name)


def _misp(name: str, settings: MispSettings) -> Sink:
    from .sinks.misp import MispSink

    return MispSink(
        settings.url,
        settings.key.read(f"$.sinks.{name}.key"),
        name=name,
        ca=Path(settings.ca).expanduser() if settings.ca else None,
        verify=settings.verify_tls,
        mode=settings.mode,
        timeout=settings.timeout,
    )


def _feed(name: str, settings: FeedSettings) -> Sink:
    from .sinks.feed import FeedSink

    orgc = {"name": settings.orgc.name, "uuid": settings.orgc.uuid} if settings.orgc else None
    return FeedSink(Path(settings.path).expanduser(), name=name, orgc=orgc, max_tlp=settings.max_tlp)


def _files_sink(name: str, settings: FilesSinkSettings) -> Sink:
    from .sinks.files import FilesSink

    return FilesSink(Path(settings.path).expanduser(), name=name)


_SOURCES: dict[type, Callable[..., Source]] = {TaxiiSettings: _taxii21, FilesSettings: _files}
_SINKS: dict[type, Callable[..., Sink]] = {MispSettings: _misp, FeedSettings: _feed, FilesSinkSettings: _files_sink}
