"""From a configuration to running parts: the registry of sources and sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stixbridge import times
from stixbridge.config.model import (
    AuthSettings,
    Config,
    Connection,
    EnrichSettings,
    FeedSettings,
    FilesSettings,
    FilesSinkSettings,
    MispSettings,
    Secret,
    SinkSettings,
    SourceSettings,
    Taxii20Settings,
    TaxiiSettings,
    secret_in,
)
from stixbridge.enrich import Enrich, Enrichment
from stixbridge.errors import ConfigError
from stixbridge.http import Auth, Certificate, Http
from stixbridge.pipeline.guard import Guard
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.pipeline.pull import Progress, Reach
from stixbridge.sinks.base import Sink
from stixbridge.sources.base import Source
from stixbridge.sources.window import Window
from stixbridge.store import Store


def open_store(config: Config) -> Store:
    """Open the store that a configuration names."""
    return Store(Path(config.store.path).expanduser(), history=times.duration(config.store.history))


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
        if isinstance(source, TaxiiSettings):
            place = f"$.sources.{settings.source}"
            wanted += _secrets_of_connection(source, place)
            if source.auth is not None:
                parts = ("password", "token", "value")
                wanted += [(getattr(source.auth, part), f"{place}.auth.{part}") for part in parts]
        for sink in settings.sinks:
            section = config.sinks[sink]
            if isinstance(section, MispSettings):
                wanted.append((section.key, f"$.sinks.{sink}.key"))
                wanted += _secrets_of_connection(section, f"$.sinks.{sink}")
        for module in settings.enrich.modules:
            place = f"$.pipelines.{name}.enrich.modules.{module.name}"
            wanted += [
                (secret_in(value), f"{place}.config.{key}") for key, value in module.config.items()
            ]
        for secret, place in wanted:
            try:
                if secret is not None:
                    secret.read(place)
            except ConfigError as error:
                problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(list(problems))


def _secrets_of_connection(settings: Connection, place: str) -> list[tuple[Secret | None, str]]:
    proxy = settings.proxy_auth.password if settings.proxy_auth is not None else None
    return [
        (settings.cert_password, f"{place}.cert_password"),
        (proxy, f"{place}.proxy_auth.password"),
    ]


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
    source = config.sources[settings.source]
    return Pipeline(
        maker,
        make_source(settings.source, source),
        [make_sink(sink, config.sinks[sink]) for sink in settings.sinks],
        reach=_reach(source),
        guard=Guard(settings.guard.add, settings.guard.withdraw)
        if settings.guard is not None
        else None,
        progress=progress,
    )


def _reach(settings: SourceSettings) -> Reach:
    """What a source is asked for besides what is new."""
    age = times.duration(settings.max_age) if settings.max_age is not None else None
    window = Window(frozenset(settings.types), age, settings.min_confidence)
    if not isinstance(settings, TaxiiSettings):
        return Reach(window)
    every = settings.compare_every
    if every is None and settings.vanished != "keep":
        every = "7d"
    return Reach(window, settings.ask, times.duration(every) if every is not None else None)


def make_maker(config: Config, store: Store, name: str, *, offline: bool = False) -> Maker:
    """The making part of a pipeline.

    Args:
        config: from `stixbridge.config.reader`.
        store: from `open_store`.
        name: of the pipeline.
        offline: ask no module of a server, and need no secret.
    """
    settings = config.pipelines[name]
    galaxies = Path(settings.galaxies) if settings.galaxies else None
    try:
        enrich = Enrichment(
            _enrich(settings.enrich, name, offline), galaxies=galaxies, answers=store.answers
        )
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
        vanished=getattr(config.sources[settings.source], "vanished", "keep"),
        expired_after=times.duration(settings.expired_after)
        if settings.expired_after is not None
        else None,
        describe=any(
            getattr(config.sinks[sink], "clusters", "tags") != "tags" for sink in settings.sinks
        ),
    )


def _enrich(settings: EnrichSettings, pipeline: str, offline: bool) -> Enrich:
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
    return Enrich(**{**vars(settings), "modules": tuple(modules)})


def make_source(name: str, settings: SourceSettings) -> Source:
    """Make a source from its section."""
    return _SOURCES[type(settings)](name, settings)


def make_sink(name: str, settings: SinkSettings) -> Sink:
    """Make a sink from its section."""
    return _SINKS[type(settings)](name, settings)


def _taxii(name: str, settings: TaxiiSettings) -> Source:
    from stixbridge.sources.taxii.v20 import Taxii20
    from stixbridge.sources.taxii.v21 import Taxii21

    kind = Taxii20 if settings.type == "taxii20" else Taxii21
    http = Http(
        settings.url,
        auth=_auth(settings.auth, f"$.sources.{name}.auth"),
        accept=kind.MEDIA_TYPE,
        timeout=settings.timeout,
        max_bytes=settings.max_bytes,
        rate_limit=settings.rate_limit,
        **_connection(settings, f"$.sources.{name}"),
    )
    return kind(
        settings.url,
        collections=settings.collections,
        since=settings.since,
        page_size=settings.page_size,
        overlap=settings.overlap,
        match=settings.match,
        full=settings.full,
        name=name,
        http=http,
    )


def _connection(settings: Connection, place: str) -> dict[str, Any]:
    """How a server is reached, as arguments of `Http`."""
    certificate = None
    if settings.cert is not None:
        key = _path(settings.cert_key, f"{place}.cert_key") if settings.cert_key else None
        secret = (
            settings.cert_password.read(f"{place}.cert_password")
            if settings.cert_password
            else None
        )
        certificate = Certificate(_path(settings.cert, f"{place}.cert"), key, secret)
    proxy = settings.proxy_auth
    return {
        "ca": _path(settings.ca, f"{place}.ca") if settings.ca else None,
        "verify": settings.verify_tls,
        "certificate": certificate,
        "proxy": settings.proxy,
        "proxy_auth": (proxy.user, proxy.password.read(f"{place}.proxy_auth.password"))
        if proxy
        else None,
    }


def _path(text: str, place: str) -> Path:
    try:
        path = Path(text).expanduser()
        path.exists()
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"{place}: {text[:100]!r} is no path ({error})") from None
    return path


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
    from stixbridge.sources.files import Files

    return Files(settings.paths, name=name)


def _misp(name: str, settings: MispSettings) -> Sink:
    from stixbridge.sinks.misp.diff import Policy
    from stixbridge.sinks.misp.sink import MispSink

    ours = frozenset(name for name, whose in settings.conflicts.items() if whose == "ours")
    key = Auth(header="Authorization", value=settings.key.read(f"$.sinks.{name}.key"))
    http = Http(
        settings.url, auth=key, timeout=settings.timeout, **_connection(settings, f"$.sinks.{name}")
    )
    return MispSink(
        http,
        name=name,
        mode=settings.mode,
        foreign=settings.foreign,
        chunk=settings.chunk,
        max_request=settings.max_request,
        concurrency=settings.concurrency,
        policy=Policy(ours, settings.deleted == "restore"),
        keep_published=settings.keep_published,
        only_complete=settings.only_complete,
        false_positives=settings.false_positives,
        clusters=settings.clusters,
        split=settings.split,
        recognise=settings.recognise,
        max_tlp=settings.max_tlp,
        empty=settings.empty,
        orgc={"name": settings.orgc.name, "uuid": settings.orgc.uuid} if settings.orgc else None,
    )


def _feed(name: str, settings: FeedSettings) -> Sink:
    from stixbridge.sinks.feed.sink import FeedSink

    orgc = {"name": settings.orgc.name, "uuid": settings.orgc.uuid} if settings.orgc else None
    signer = None
    if settings.sign is not None:
        from stixbridge.sinks.feed.signing import Signer

        home = (
            _path(settings.gnupg_home, f"$.sinks.{name}.gnupg_home")
            if settings.gnupg_home is not None
            else None
        )
        try:
            signer = Signer(settings.sign, home)
        except ConfigError as error:
            raise ConfigError(error.problems, f"$.sinks.{name}") from None
    return FeedSink(
        Path(settings.path).expanduser(),
        name=name,
        orgc=orgc,
        max_tlp=settings.max_tlp,
        signer=signer,
    )


def _files_sink(name: str, settings: FilesSinkSettings) -> Sink:
    from stixbridge.sinks.files import FilesSink

    return FilesSink(Path(settings.path).expanduser(), name=name)


_SOURCES: dict[type, Callable[..., Source]] = {
    TaxiiSettings: _taxii,
    Taxii20Settings: _taxii,
    FilesSettings: _files,
}
_SINKS: dict[type, Callable[..., Sink]] = {
    MispSettings: _misp,
    FeedSettings: _feed,
    FilesSinkSettings: _files_sink,
}
