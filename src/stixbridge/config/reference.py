"""The reference of all settings: `make reference` writes docs/configuration.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from stixbridge.enrich.settings import Enrich, ModuleSettings, WarninglistSettings
from stixbridge.pipeline.guard import Guard
from stixbridge.pipeline.settings import PipelineSettings
from stixbridge.settings.base import Settings
from stixbridge.settings.registry import SINKS, SOURCES, Component
from stixbridge.settings.sections import AUTHS, Connection, Organisation, ProxyAuth
from stixbridge.sinks.settings import SinkSettings
from stixbridge.sources.settings import ServerSettings, SourceSettings
from stixbridge.sources.taxii.presets import NEEDS, PRESETS
from stixbridge.store.settings import StoreSettings

_HEAD = """\
# Configuration

The configuration is a TOML file. `stixbridge init` writes an example with comments. All mistakes in
it are reported at once, each with its line and place.

`make reference` writes this page from the settings in the code.

`stixbridge schema > stixbridge.schema.json` writes a [JSON Schema](https://json-schema.org) of the
configuration. An editor that knows TOML (taplo, Even Better TOML) completes and checks the
configuration with it, when this is the first line of the file:

```toml
#:schema ./stixbridge.schema.json
```

A SECRET is a reference, never the secret itself: `{ env = "NAME" }`, `{ file = "PATH" }` or
`{ keyring = "NAME" }` (service `stixbridge`, extra `keyring`).

A duration is a number and a unit: `30s`, `15m`, `12h`, `5d`, `2w`.
"""

_SOURCES = """\
## `[sources.NAME]`

The name of a source stands in the titles and tags of its events, and is part of derived UUIDs. Do
not change it later. A first run with `--dry-run` writes nothing anywhere.
"""

_EVERY_SOURCE = """\
The ledger lists objects that these settings exclude as `filtered`; the store does not keep them. A
newer version of a stored object always comes in. After a change that lets more in, run
`stixbridge run --full`.
"""

_AUTH = """\
### auth

The credentials of a source. They go to the host of `url` only.
"""

_PRESETS = """\
### presets

A preset has what a known server needs. Your own settings come before those of the preset.

| preset | settings | also needed |
|---|---|---|"""

_SINKS = "## `[sinks.NAME]`\n"
_PIPELINES = "## `[pipelines.NAME]`\n\nA pipeline joins a source and its sinks.\n"

_ENRICH = """\
### enrich

`enrich` is a table of a pipeline, `[pipelines.NAME.enrich]`. A TLP tag or a distribution fills
where there is none, or tightens. One that would loosen what the source set is refused, with a line
in the ledger: TLP:RED and AMBER+STRICT stay at distribution 0, AMBER goes to 1 at the most.
"""

_MODULES = """\
### modules

A list of tables in `enrich`, one for each module of a running misp-modules server.
"""

_WARNINGLISTS = """\
### warninglists

A list of tables in `enrich`. The first that fits a value counts.
"""

_TITLES: dict[type[Settings], str] = {
    SourceSettings: "every source",
    ServerSettings: "every server as a source",
    Connection: "connection",
    SinkSettings: "every sink",
}
"""The headings of sections that several components share."""


def render() -> str:
    """The page, in Markdown."""
    sources, sinks = SOURCES.all().values(), SINKS.all().values()
    lines = [
        _HEAD,
        "## `[store]`\n",
        *_table(StoreSettings),
        _SOURCES,
        *_components(sources),
        f"### {_TITLES[SourceSettings]}\n",
        *_table(SourceSettings),
        _EVERY_SOURCE,
        f"### {_TITLES[ServerSettings]}\n",
        *_table(ServerSettings),
        f"### {_TITLES[Connection]}\n\nHow a server is reached, as a source or as a sink.\n",
        *_table(Connection),
        "`proxy_auth` is a table:\n",
        *_table(ProxyAuth),
        _AUTH,
        *_auths(),
        _PRESETS,
        *_presets(),
        _SINKS,
        *_components(sinks),
        f"### {_TITLES[SinkSettings]}\n",
        *_table(SinkSettings),
        "### orgc\n",
        *_table(Organisation),
        _PIPELINES,
        *_table(PipelineSettings, *PipelineSettings.__mro__[1:]),
        "### guard\n",
        *_table(Guard),
        _ENRICH,
        *_table(Enrich),
        _WARNINGLISTS,
        *_table(WarninglistSettings),
        _MODULES,
        *_table(ModuleSettings),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _components(components: Iterable[Component]) -> Iterator[str]:
    """A table for each component, with links to the sections that it shares with others."""
    homes = {component.settings: component.name for component in components}
    for component in components:
        yield f'### `type = "{component.name}"`\n'
        yield f"{_first_sentence(component.settings)}{_shared(component.settings, homes)}\n"
        yield from _table(component.settings)


def _shared(cls: type[Settings], homes: dict[type[Any], str]) -> str:
    """Where the settings are that a component has besides its own."""
    links = []
    for base in cls.__mro__[1:]:
        if base in homes:
            links.append(f'`type = "{homes[base]}"`')
        elif base in _TITLES and _own(base):
            anchor = _TITLES[base].replace(" ", "-")
            links.append(f"[{_TITLES[base]}](#{anchor})")
    return f" Also has the settings of {_listed(links)}." if links else ""


def _listed(texts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _first_sentence(cls: type) -> str:
    return (cls.__doc__ or "").split("\n\n")[0]


def _own(cls: type) -> Iterable[str]:
    """The settings that a class adds to its bases, or changes."""
    return [name for name in inspect.get_annotations(cls) if name.islower()]


def _table(cls: type[Settings], *more: type) -> Iterator[str]:
    """The settings of a class itself; those of bases in `more` too."""
    names = {name for each in (cls, *more) for name in _own(each)}
    yield "| setting | value | default | meaning |"
    yield "|---|---|---|---|"
    for setting in sorted(cls.KIND.settings, key=lambda setting: not setting.needed):
        if setting.name in names:
            meaning = setting.meaning[:1].upper() + setting.meaning[1:]
            cells = (f"`{setting.name}`", setting.kind.name, shown(setting.default), meaning)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def shown(default: Any) -> str:
    """A default as it is written in TOML; "needed" where there is none."""
    if default is MISSING:
        return "needed"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
    if isinstance(default, str | Path) and str(default):
        return f'`"{default}"`' if '"' not in str(default) else f"`'{default}'`"
    if isinstance(default, tuple) and default:
        return f"`{list(default)}`".replace("'", '"')
    return "none"


def _auths() -> Iterator[str]:
    yield "| type | settings | meaning |"
    yield "|---|---|---|"
    for name, cls in AUTHS.items():
        settings = ", ".join(
            f"`{setting.name}`: {setting.meaning}" for setting in cls.KIND.settings
        )
        yield f'| `"{name}"` | {settings.replace(".,", ",").rstrip(".")} | {_first_sentence(cls)} |'
    yield ""


def _presets() -> Iterator[str]:
    for name, settings in PRESETS.items():
        texts = (f"`{key} = {shown(value).strip('`')}`" for key, value in settings.items())
        needs = ", ".join(f"`{key}`" for key in NEEDS.get(name, ()))
        yield f"| `{name}` | {', '.join(texts) or 'none'} | {needs or 'nothing'} |"
    yield ""


if __name__ == "__main__":
    import sys

    sys.stdout.write(render())
