"""The components that a configuration can name: sources and sinks, each with its settings.

A component registers itself with one decorator on its class:

    @dataclass(frozen=True, kw_only=True)
    class CsvSettings(SinkSettings):
        ...

    @sink("csv", CsvSettings)
    class CsvSink(Sink):
        ...

Built-in components are found by being there: a module in `stixbridge.sinks` or
`stixbridge.sources`, or the module `sink` or `source` of a package in it. Components of other
packages are found by their entry points in the groups `stixbridge.sinks` and `stixbridge.sources`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from stixbridge.errors import ConfigError
from stixbridge.settings.entry_points import load_entry_point, load_entry_points

T = TypeVar("T", bound=type[Any])


@dataclass(frozen=True, slots=True)
class Component:
    """A source or sink that a configuration can name.

    Attributes:
        name: the `type` in the configuration.
        settings: the dataclass of its section.
        make: its class.
    """

    name: str
    settings: type[Any]
    make: type[Any]

    def build(self, settings: Any, name: str) -> Any:
        """Make the component.

        Args:
            settings: of its section; become keyword arguments of its class.
            name: of the section.
        """
        return self.make(name=name, **settings.arguments())


class Registry:
    """The components of one kind.

    Args (of the constructor):
        kind: `source` or `sink`.
        package: where the built-in ones are; also the group of entry points.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._components: dict[str, Component] = {}
        self._presets: dict[str, Mapping[str, Any]] = {}

    def register(self, name: str, settings: type[Any]) -> Callable[[T], T]:
        """Register a component: a decorator of its class.

        Args:
            name: the `type` in the configuration.
            settings: the dataclass of its section.

        Raises:
            ConfigError: when another class has that name.
        """

        def registered(cls: T) -> T:
            component = Component(name, settings, cls)
            known = self._components.setdefault(name, component)
            if _place(known.make) != _place(cls):
                raise ConfigError(
                    f"two {self.kind}s are called {name!r}: {_place(known.make)} and {_place(cls)};"
                    " rename one, or uninstall its package"
                )
            self._components[name] = component
            return cls

        return registered

    def add_presets(self, presets: Mapping[str, Mapping[str, Any]]) -> None:
        """Add defaults that a section takes over with `preset = "NAME"`.

        Args:
            presets: tables of settings by the name of the preset; one may hold a `type`.
        """
        self._presets.update(presets)

    def preset(self, name: str) -> Mapping[str, Any]:
        """The settings of a preset; none for an unknown name."""
        if name not in self._presets:
            self._import_all_built_in()
        return self._presets.get(name, {})

    def find(self, name: str) -> Component | None:
        """The component of a `type`; None where there is none. Imports no more than it has to.

        Raises:
            ConfigError: when a package that has it can't be loaded.
        """
        if name not in self._components and name.isidentifier():
            self._import_built_in(name)
        if name not in self._components:
            self._import_all_built_in()
        if name not in self._components:
            load_entry_point(self._package, name)
        if name not in self._components:
            load_entry_points(self._package)  # an entry point may have another name
        return self._components.get(name)

    def all(self) -> Mapping[str, Component]:
        """Every component, by name: the built-in ones and those of installed packages.

        Raises:
            ConfigError: when a package that has one can't be loaded.
        """
        self._import_all_built_in()
        load_entry_points(self._package)
        return dict(sorted(self._components.items()))

    def of(self, settings: object) -> Component:
        """The component that some settings belong to.

        Raises:
            LookupError: when no registered component has settings of that class.
        """
        for component in self._components.values():
            if component.settings is type(settings):
                return component
        raise LookupError(f"no {self.kind} has settings of the class {type(settings).__name__}")

    def _import_built_in(self, name: str) -> None:
        """Import the module that is called as the component, where there is one."""
        for module in (f"{self._package}.{name}.{self.kind}", f"{self._package}.{name}"):
            try:
                found = find_spec(module) is not None
            except ModuleNotFoundError:
                continue
            if found:
                import_module(module)
                return

    def _import_all_built_in(self) -> None:
        package = import_module(self._package)
        for module in pkgutil.walk_packages(package.__path__, f"{self._package}."):
            import_module(module.name)


def _place(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


SOURCES = Registry("source", "stixbridge.sources")
SINKS = Registry("sink", "stixbridge.sinks")

source = SOURCES.register
"""Registers a source: `@source("taxii21", Taxii21Settings)`."""

sink = SINKS.register
"""Registers a sink: `@sink("feed", FeedSettings)`."""
