"""The configuration: TOML, one typed section per component, secrets by reference.

Every mistake is found at once, each with its place (`$.sources.acme.url`) and what to do. Nothing here opens a
connection; secrets are looked up only when a component is made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cattrs
from cattrs.errors import ForbiddenExtraKeysError

from stixbridge.config.checks import enrich_problems, near, value_problems
from stixbridge.config.model import (
    AuthSettings,
    Config,
    Secret,
    SinkSettings,
    SourceSettings,
)
from stixbridge.errors import ConfigError
from stixbridge.settings.registry import SINKS, SOURCES, Registry
from stixbridge.sources.taxii.presets import PRESETS, needs, with_preset


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: naming every mistake.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; write one with: stixbridge init"
        ) from None
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
        rules = [
            str(folder / Path(one).expanduser()) if isinstance(one, str) else one
            for one in pipeline.enrich.rules
        ]
        pipelines[name] = replace(pipeline, enrich=replace(pipeline.enrich, rules=tuple(rules)))
    return replace(config, pipelines=pipelines)


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
    names = {
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), type(value).__name__)


def _secret(value: Any, _: Any) -> Secret:
    if (
        not isinstance(value, dict)
        or len(value) != 1
        or next(iter(value)) not in ("env", "file", "keyring")
    ):
        raise _Wrong(
            'a secret is a reference: { env = "NAME" }, { file = "PATH" } or { keyring = "NAME" }'
        )
    name, target = next(iter(value.items()))
    if not isinstance(target, str) or not target:
        raise _Wrong(f"{name} takes a name")
    return Secret(**{name: target})


def _auth(value: Any, _: Any) -> AuthSettings:
    if not isinstance(value, dict):
        raise _Wrong(f"expected a table, got {_called(value)}")
    settings: AuthSettings = _structure_auth(value, AuthSettings)
    needed = {
        "basic": ("user", "password"),
        "bearer": ("token",),
        "token": ("token",),
        "header": ("name", "value"),
    }
    if settings.type not in needed:
        raise _Wrong(f"type {settings.type!r} is none of {', '.join(needed)}")
    missing = [name for name in needed[settings.type] if getattr(settings, name) is None]
    if missing:
        raise _Wrong(f"{settings.type} needs {' and '.join(missing)}")
    return settings


def _by_type(registry: Registry) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _Wrong(f"expected a table, got {_called(value)}")
        kind = value.get("type")
        component = registry.find(kind) if isinstance(kind, str) else None
        if component is None:
            known = list(registry.all())
            raise _Wrong(
                f"type {kind!r} is none of {', '.join(known)}{near(str(kind), dict.fromkeys(known))}"
                if kind
                else f"type is missing: {', '.join(known)}"
            )
        return _CONVERTER.structure(value, component.settings)

    return structure


def _source(value: Any, _: Any) -> Any:
    """A source, with what its preset adds."""
    preset = value.get("preset") if isinstance(value, dict) else None
    if preset is not None and preset not in PRESETS:
        raise _Wrong(
            f"preset {preset!r} is none of {', '.join(PRESETS)}{near(str(preset), PRESETS)}"
        )
    settings = _by_type(SOURCES)(with_preset(value) if preset is not None else value, None)
    missing = [name for name in needs(preset) if getattr(settings, name, None) is None]
    if missing:
        raise _Wrong(f"{preset} wants {' and '.join(missing)} of every client")
    return settings


def _match(value: Any, _: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise _Wrong(f"expected a table of lists, got {_called(value)}")
    return {key: _texts(values, None) for key, values in value.items()}


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
for _kind, _name in (
    (str, "text"),
    (int, "a whole number"),
    (bool, "true or false"),
    (float, "a number"),
):
    _CONVERTER.register_structure_hook(_kind, _strictly(_kind, _name))
_CONVERTER.register_structure_hook(Secret, _secret)
_CONVERTER.register_structure_hook_func(
    lambda kind: kind in (tuple[str, ...], Sequence[str]), _texts
)
_CONVERTER.register_structure_hook_func(
    lambda kind: kind == Sequence[str | Mapping[str, Any]], _tables_or_texts
)
_CONVERTER.register_structure_hook_func(
    lambda kind: kind == Sequence[Mapping[str, Any]], _several_tables
)
_CONVERTER.register_structure_hook_func(
    lambda kind: kind in (Mapping[str, Any], Mapping[str, str]), _one_table
)
_CONVERTER.register_structure_hook_func(lambda kind: kind == SourceSettings, _source)
_CONVERTER.register_structure_hook_func(lambda kind: kind == Mapping[str, tuple[str, ...]], _match)
_CONVERTER.register_structure_hook_func(lambda kind: kind == SinkSettings, _by_type(SINKS))
_structure_auth = cattrs.gen.make_dict_structure_fn(
    AuthSettings, _CONVERTER, _cattrs_forbid_extra_keys=True
)
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
        return [
            f"unknown setting {name!r}{near(name, known)} @ {path}.{name}"
            for name in sorted(error.extra_fields)
        ]
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
