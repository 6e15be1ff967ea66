"""The configuration: TOML, one typed section per component, secrets by reference.

Every mistake is found at once, each with its place (`$.sources.acme.url`) and what to do. Nothing here opens a
connection; secrets are looked up only when a component is made.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import cattrs
from cattrs.errors import ForbiddenExtraKeysError

from .checks import enrich_problems, near, value_problems
from .errors import ConfigError


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
                raise ConfigError(f"{where}: the environment variable {self.env} is not set; export it")
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
            raise ConfigError(f"{where}: keyring is not installed; pip install 'stixbridge[keyring]'") from None
        found = keyring.get_password("stixbridge", self.keyring or "")
        if not found:
            raise ConfigError(f"{where}: no entry {self.keyring!r} of service 'stixbridge' in the keyring")
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
class StoreSettings:
    """`[store]`."""

    path: str = "stixbridge.db"


@dataclass(frozen=True)
class TaxiiSettings:
    """`[sources.NAME]` with `type = "taxii21"`."""

    url: str
    type: str = "taxii21"
    collections: tuple[str, ...] = ()
    since: str | None = None
    overlap: str = "10m"
    page_size: int = 1000
    auth: AuthSettings | None = None
    ca: str | None = None
    verify_tls: bool = True
    timeout: float = 60.0
    max_bytes: int = 200_000_000
    default_tlp: str | None = None


@dataclass(frozen=True)
class FilesSettings:
    """`[sources.NAME]` with `type = "files"`."""

    paths: tuple[str, ...]
    type: str = "files"
    default_tlp: str | None = None


@dataclass(frozen=True)
class Organisation:
    """`orgc` of a feed: the organisation that its events carry."""

    name: str
    uuid: str


@dataclass(frozen=True)
class MispSettings:
    """`[sinks.NAME]` with `type = "misp"`."""

    url: str
    key: Secret
    type: str = "misp"
    ca: str | None = None
    verify_tls: bool = True
    mode: str = "api"
    timeout: float = 300.0


@dataclass(frozen=True)
class FeedSettings:
    """`[sinks.NAME]` with `type = "feed"`."""

    path: str
    type: str = "feed"
    orgc: Organisation | None = None
    max_tlp: str = "tlp:amber+strict"


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
class PipelineSettings:
    """`[pipelines.NAME]`."""

    source: str
    sinks: tuple[str, ...]
    enrich: EnrichSettings = field(default_factory=EnrichSettings)
    group: str = "report"
    engine: str = "native"
    labels: tuple[str, ...] = ()
    galaxies: str | None = None
    custom: str = "objects"
    preserve: str = "none"
    uuid_namespace: str | None = None


SourceSettings = TaxiiSettings | FilesSettings
SinkSettings = MispSettings | FeedSettings | FilesSinkSettings

SOURCES: dict[str, type[SourceSettings]] = {"taxii21": TaxiiSettings, "files": FilesSettings}
SINKS: dict[str, type[SinkSettings]] = {"misp": MispSettings, "feed": FeedSettings, "files": FilesSinkSettings}


@dataclass(frozen=True)
class Config:
    """A whole configuration."""

    sources: dict[str, SourceSettings] = field(default_factory=dict)
    sinks: dict[str, SinkSettings] = field(default_factory=dict)
    pipelines: dict[str, PipelineSettings] = field(default_factory=dict)
    store: StoreSettings = field(default_factory=StoreSettings)


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: naming every mistake.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; write one with: stixbridge init") from None
    try:
        value = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", str(path)) from None
    return _beside(parse(value, str(path)), path.parent)


def parse(value: Mapping[str, Any], where: str = "configuration") -> Config:
    """Check parsed TOML.

    Args:
        value: the tables.
        where: named in errors.

    Raises:
        ConfigError: naming every mistake.
    """
    problems: list[str] = []
    config: Config | None = None
    try:
        config = _CONVERTER.structure(value, Config)
    except Exception as error:
        problems = _listed(error, "$")
    problems.extend(_cross_checked(value))
    if config is None or problems:
        raise ConfigError(problems, where)
    return config


def _beside(config: Config, folder: Path) -> Config:
    """The configuration with rule files found beside it, wherever the command is run."""
    pipelines = {}
    for name, pipeline in config.pipelines.items():
        rules = [str(folder / Path(one).expanduser()) if isinstance(one, str) else one for one in pipeline.enrich.rules]
        pipelines[name] = replace(pipeline, enrich=replace(pipeline.enrich, rules=tuple(rules)))
    return replace(config, pipelines=pipelines)


def secret_in(value: Any) -> Secret | None:
    """The reference to a secret that a value is, `{ env = … }` and the like; None for any other."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("env", "file", "keyring"):
        name, target = next(iter(value.items()))
        return Secret(**{name: str(target)})
    return None


def _cross_checked(value: Mapping[str, Any]) -> list[str]:
    """Mistakes that types don't show; works on what was read, so that they are told beside the others."""
    found: list[str] = []
    sources, sinks, pipelines = (_tables(value, name) for name in ("sources", "sinks", "pipelines"))
    for kind, tables in (("sources", sources), ("sinks", sinks)):
        for name, table in tables.items():
            found.extend(f"{text} @ $.{kind}.{name}.{key}" for key, text in value_problems(table))
    for name, table in pipelines.items():
        place = f"$.pipelines.{name}"
        found.extend(f"{text} @ {place}.{key}" for key, text in value_problems(table))
        source, wanted = table.get("source"), table.get("sinks")
        if isinstance(source, str) and source not in sources:
            found.append(f"there is no source {source!r}{near(source, sources)} @ {place}.source")
        for sink in wanted if isinstance(wanted, list) else []:
            if isinstance(sink, str) and sink not in sinks:
                found.append(f"there is no sink {sink!r}{near(sink, sinks)} @ {place}.sinks")
        if wanted == []:
            found.append(f"at least one sink is needed @ {place}.sinks")
        enrich = table.get("enrich")
        if isinstance(enrich, dict):
            found.extend(f"{text} @ {place}.enrich" for text in enrich_problems(enrich))
    if not pipelines:
        found.append("no pipeline; one joins a source and sinks: [pipelines.NAME] @ $.pipelines")
    return found


def _tables(value: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    section = value.get(name)
    if not isinstance(section, dict):
        return {}
    return {key: table for key, table in section.items() if isinstance(table, dict)}


# structuring


class _Wrong(ValueError):
    """A value that is not what its place takes; the message is ours and shows no secret."""


def _strictly(kind: type, name: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _Wrong(f"expected {name}, got {_called(value)}")
        return value

    return structure


def _called(value: Any) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)


def _secret(value: Any, _: Any) -> Secret:
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in ("env", "file", "keyring"):
        raise _Wrong('a secret is a reference: { env = "NAME" }, { file = "PATH" } or { keyring = "NAME" }')
    name, target = next(iter(value.items()))
    if not isinstance(target, str) or not target:
        raise _Wrong(f"{name} takes a name")
    return Secret(**{name: target})


def _auth(value: Any, _: Any) -> AuthSettings:
    if not isinstance(value, dict):
        raise _Wrong(f"expected a table, got {_called(value)}")
    settings: AuthSettings = _structure_auth(value, AuthSettings)
    needed = {"basic": ("user", "password"), "bearer": ("token",), "token": ("token",), "header": ("name", "value")}
    if settings.type not in needed:
        raise _Wrong(f"type {settings.type!r} is none of {', '.join(needed)}")
    missing = [name for name in needed[settings.type] if getattr(settings, name) is None]
    if missing:
        raise _Wrong(f"{settings.type} needs {' and '.join(missing)}")
    return settings


def _by_type(known: Mapping[str, type[Any]]) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _Wrong(f"expected a table, got {_called(value)}")
        kind = value.get("type")
        if not isinstance(kind, str) or kind not in known:
            raise _Wrong(
                f"type {kind!r} is none of {', '.join(known)}" if kind else f"type is missing: {', '.join(known)}"
            )
        return _CONVERTER.structure(value, known[kind])

    return structure


def _texts(value: Any, _: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise _Wrong(f'expected a list, got text; write ["{value}"]')
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _Wrong(f"expected a list of texts, got {_called(value)}")
    return tuple(value)


def _tables_or_texts(value: Any, _: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str | dict) for item in value):
        raise _Wrong(f"expected a list of files and tables, got {_called(value)}")
    return tuple(value)


def _several_tables(value: Any, _: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _Wrong(f"expected a list of tables, got {_called(value)}")
    return tuple(value)


def _one_table(value: Any, _: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"expected a table, got {_called(value)}")
    return dict(value)


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)
for _kind, _name in ((str, "text"), (int, "a whole number"), (bool, "true or false"), (float, "a number")):
    _CONVERTER.register_structure_hook(_kind, _strictly(_kind, _name))
_CONVERTER.register_structure_hook(Secret, _secret)
_CONVERTER.register_structure_hook_func(lambda kind: kind in (tuple[str, ...], Sequence[str]), _texts)
_CONVERTER.register_structure_hook_func(lambda kind: kind == Sequence[str | Mapping[str, Any]], _tables_or_texts)
_CONVERTER.register_structure_hook_func(lambda kind: kind == Sequence[Mapping[str, Any]], _several_tables)
_CONVERTER.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], _one_table)
_CONVERTER.register_structure_hook_func(lambda kind: kind == SourceSettings, _by_type(SOURCES))
_CONVERTER.register_structure_hook_func(lambda kind: kind == SinkSettings, _by_type(SINKS))
_structure_auth = cattrs.gen.make_dict_structure_fn(AuthSettings, _CONVERTER, _cattrs_forbid_extra_keys=True)
_CONVERTER.register_structure_hook(AuthSettings, _auth)


def _listed(error: BaseException, path: str) -> list[str]:
    """Every mistake in a tree of exceptions, each with its place."""
    inner = getattr(error, "exceptions", None)
    if inner is not None:
        found: list[str] = []
        for one in inner:
            found.extend(_listed(one, path + _step(one)))
        return found
    if isinstance(error, ForbiddenExtraKeysError):
        known = {item.name: None for item in fields(error.cl)}
        return [f"unknown setting {name!r}{near(name, known)} @ {path}.{name}" for name in sorted(error.extra_fields)]
    if isinstance(error, KeyError):
        return [f"missing setting @ {path}"]
    if isinstance(error, _Wrong):
        return [f"{error} @ {path}"]
    return [f"not what this place takes @ {path}"]


def _step(error: BaseException) -> str:
    """Where in its parent an exception happened, as cattrs notes it."""
    for note in getattr(error, "__notes__", []):
        name = getattr(note, "name", None)
        if name is not None:
            return f".{name}"
        index = getattr(note, "index", None)
        if index is not None:
            return f".{index}" if isinstance(index, str) else f"[{index}]"
    return ""
