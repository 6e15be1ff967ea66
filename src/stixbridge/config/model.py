"""The settings of every component, as typed sections of the configuration. `config` reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stixbridge.errors import ConfigError


@dataclass(frozen=True)
class Secret:
    """A reference to a secret: an environment variable, a file, or an entry of the system's keyring."""

    env: str | None = None
    file: str | None = None
    keyring: str | None = None

    def read(self, where: str) -> str:
        """Look the secret up.

        Args:
            where: the place in the configuration, for the message.

        Raises:
            ConfigError: when it is not there; never shows a value.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if not value:
                raise ConfigError(
                    f"{where}: the environment variable {self.env} is not set; export it"
                )
            return value
        if self.file is not None:
            try:
                value = Path(self.file).expanduser().read_text().strip()
            except OSError as error:
                raise ConfigError(f"{where}: {self.file}: {error.strerror or error}") from None
            if not value:
                raise ConfigError(f"{where}: {self.file} is empty")
            return value
        try:
            import keyring
        except ImportError:
            raise ConfigError(
                f"{where}: keyring is not installed; pip install 'stixbridge[keyring]'"
            ) from None
        found = keyring.get_password("stixbridge", self.keyring or "")
        if not found:
            raise ConfigError(
                f"{where}: no entry {self.keyring!r} of service 'stixbridge' in the keyring"
            )
        return str(found)


@dataclass(frozen=True)
class AuthSettings:
    """`auth` of a source: `type` is basic, bearer, token or header."""

    type: str
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    name: str | None = None
    value: Secret | None = None


@dataclass(frozen=True)
class ProxyAuth:
    """`proxy_auth` of a source or sink."""

    user: str
    password: Secret


@dataclass(frozen=True)
class StoreSettings:
    """`[store]`."""

    path: str = "stixbridge.db"
    history: str = "90d"


@dataclass(frozen=True, kw_only=True)
class _Window:
    """What every source has: the level of what is unmarked, and what is let in."""

    default_tlp: str | None = None
    types: tuple[str, ...] = ()
    max_age: str | None = None
    min_confidence: int = 0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How a server is reached."""

    ca: str | None = None
    verify_tls: bool = True
    cert: str | None = None
    cert_key: str | None = None
    cert_password: Secret | None = None
    proxy: str | None = None
    proxy_auth: ProxyAuth | None = None


@dataclass(frozen=True, kw_only=True)
class TaxiiSettings(_Window, Connection):
    """`[sources.NAME]` with `type = "taxii21"` or `"taxii20"`."""

    url: str
    type: str = "taxii21"
    preset: str | None = None
    collections: tuple[str, ...] = ()
    since: str | None = None
    overlap: str = "10m"
    page_size: int = 1000
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    full: bool = False
    ask: bool = True
    vanished: str = "keep"
    compare_every: str | None = None
    rate_limit: str | None = None
    auth: AuthSettings | None = None
    timeout: float = 60.0
    max_bytes: int = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Taxii20Settings(TaxiiSettings):
    """`[sources.NAME]` with `type = "taxii20"`.

    Manifests are compared every day by default: servers of 2.0 keep the time at which they got the first version.
    """

    type: str = "taxii20"
    compare_every: str | None = "1d"


@dataclass(frozen=True, kw_only=True)
class FilesSettings(_Window):
    """`[sources.NAME]` with `type = "files"`."""

    paths: tuple[str, ...]
    type: str = "files"


@dataclass(frozen=True)
class Organisation:
    """`orgc` of a feed: the organisation that its events carry."""

    name: str
    uuid: str


@dataclass(frozen=True, kw_only=True)
class MispSettings(Connection):
    """`[sinks.NAME]` with `type = "misp"`."""

    url: str
    key: Secret
    type: str = "misp"
    mode: str = "api"
    timeout: float = 300.0
    foreign: str = "skip"
    chunk: int = 1_000
    max_request: int = 10_000_000
    concurrency: int = 4
    conflicts: Mapping[str, str] = field(default_factory=dict)
    deleted: str = "respect"
    keep_published: bool = False
    only_complete: bool = False
    orgc: Organisation | None = None
    false_positives: str = "own"
    clusters: str = "tags"
    split: int | None = None
    recognise: str = "uuid"
    max_tlp: str | None = None
    empty: str = "keep"


@dataclass(frozen=True)
class FeedSettings:
    """`[sinks.NAME]` with `type = "feed"`."""

    path: str
    type: str = "feed"
    orgc: Organisation | None = None
    max_tlp: str = "tlp:amber+strict"
    sign: str | None = None
    gnupg_home: str | None = None


@dataclass(frozen=True)
class FilesSinkSettings:
    """`[sinks.NAME]` with `type = "files"`."""

    path: str
    type: str = "files"


@dataclass(frozen=True)
class ModuleSettings:
    """`enrich.modules` of a pipeline: a table for each module of a misp-modules server.

    Attributes:
        name: of the module.
        types: attribute types it is asked for; those it takes when empty.
        url: of the server.
        timeout: seconds that one question may take.
        concurrency: questions at a time.
        budget: questions a run.
        keep: seconds that an answer is kept.
        config: settings of the module itself; a value may be a reference to a secret.
        only_to_ids: ask for what detects only.
        tag: put on what it adds.
        max_tlp: what is marked more strictly is not asked about: a module may ask somebody else.
    """

    name: str
    types: tuple[str, ...] = ()
    url: str = "http://127.0.0.1:6666"
    timeout: float = 10.0
    concurrency: int = 4
    budget: int = 1_000
    keep: int = 86_400
    config: Mapping[str, Any] = field(default_factory=dict)
    only_to_ids: bool = False
    tag: str = ""
    max_tlp: str = "tlp:green"


@dataclass(frozen=True)
class EnrichSettings:
    """`enrich` of a pipeline; applied by `stixbridge.enrich.Enrich`, which describes the settings."""

    info: str | None = None
    threat_level: int | None = None
    analysis: int | None = None
    distribution: int | None = None
    sharing_group: str | None = None
    tags: Sequence[str] = ()
    publish: bool = False
    rules: Sequence[str | Mapping[str, Any]] = ()
    mappings: Mapping[str, Any] = field(default_factory=dict)
    warninglists: Sequence[Mapping[str, Any]] = ()
    plugins: Sequence[str] = ()
    modules: Sequence[ModuleSettings] = ()


@dataclass(frozen=True)
class GuardSettings:
    """`guard` of a pipeline: what a run may do without being confirmed, as `10000` or `10%`."""

    add: str | None = None
    withdraw: str | None = None


@dataclass(frozen=True)
class PipelineSettings:
    """`[pipelines.NAME]`."""

    source: str
    sinks: tuple[str, ...]
    enrich: EnrichSettings = field(default_factory=EnrichSettings)
    guard: GuardSettings | None = None
    expired_after: str | None = None
    every: str = "15m"
    jitter: str = "1m"
    group: str = "report"
    engine: str = "native"
    labels: tuple[str, ...] = ()
    galaxies: str | None = None
    custom: str = "objects"
    preserve: str = "none"
    uuid_namespace: str | None = None


SourceSettings = TaxiiSettings | FilesSettings
SinkSettings = MispSettings | FeedSettings | FilesSinkSettings


@dataclass(frozen=True)
class Config:
    """A whole configuration."""

    sources: dict[str, SourceSettings] = field(default_factory=dict)
    sinks: dict[str, SinkSettings] = field(default_factory=dict)
    pipelines: dict[str, PipelineSettings] = field(default_factory=dict)
    store: StoreSettings = field(default_factory=StoreSettings)

    def with_store(self, path: Path) -> Config:
        """The same with another file as its store."""
        return replace(self, store=replace(self.store, path=str(path)))


def secret_in(value: Any) -> Secret | None:
    """The reference to a secret that a value is, `{ env = … }` and the like; None for any other."""
    if (
        isinstance(value, dict)
        and len(value) == 1
        and next(iter(value)) in ("env", "file", "keyring")
    ):
        name, target = next(iter(value.items()))
        return Secret(**{name: str(target)})
    return None
