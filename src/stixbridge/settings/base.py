"""`Settings`: a section of the configuration, as a dataclass that checks itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, get_type_hints

from stixbridge.errors import ConfigError
from stixbridge.settings.kinds import WRONG, JsonSchema, Kind, called, kind_of
from stixbridge.settings.mistakes import Mistakes, near
from stixbridge.settings.mistakes import Path as Way


@dataclass(frozen=True)
class Setting:
    """One setting of a section.

    Attributes:
        name: its key.
        kind: what its values are.
        default: its value where it is left out; `MISSING` where it is needed.
        meaning: its effect, in Markdown.
    """

    name: str
    kind: Kind
    default: Any
    meaning: str

    @property
    def needed(self) -> bool:
        """Whether it may not be left out."""
        return self.default is MISSING


class Section(Kind):
    """The kind of a table that a dataclass of settings describes.

    Args (of the constructor):
        cls: the dataclass.
    """

    def __init__(self, cls: type[Settings]) -> None:
        self._cls = cls

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Its settings, in the order of the dataclass.

        Raises:
            TypeError: when an annotation is not one that a setting may have.
        """
        hints = get_type_hints(self._cls, include_extras=True)
        meanings = _meanings(self._cls)
        return tuple(
            Setting(
                field.name,
                kind_of(hints[field.name]),
                field.default if field.default_factory is MISSING else field.default_factory(),
                meanings.get(field.name, ""),
            )
            for field in fields(self._cls)
        )

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The dataclass made of a table; one that is made already stays as it is."""
        if isinstance(value, self._cls):
            return value
        if not isinstance(value, Mapping):
            mistakes.add(way, f"expected a table, got {called(value)}")
            return WRONG
        before = len(mistakes)
        known = [setting.name for setting in self.settings]
        for key in value:
            if key not in known:
                mistakes.add((*way, key), f"unknown setting {key!r}{near(key, known)}")
        values = self.read_values(value, way, mistakes)
        return WRONG if len(mistakes) > before else self._cls(**values)

    def read_values(self, table: Mapping[str, Any], way: Way, mistakes: Mistakes) -> dict[str, Any]:
        """The settings of a table, each read; those that are wrong, absent or unknown are left out.

        Args:
            table: by name.
            way: where the table stands.
            mistakes: takes what is wrong.
        """
        values: dict[str, Any] = {}
        for setting in self.settings:
            place = (*way, setting.name)
            if setting.name in table:
                value = setting.kind.read(table[setting.name], place, mistakes)
                if value is not WRONG:
                    values[setting.name] = value
            elif setting.needed:
                mistakes.add(place, "missing setting")
        changed = {
            setting.name: values[setting.name]
            for setting in self.settings
            if setting.name in values and values[setting.name] != setting.default
        }
        for name, text in self._cls.contradictions(changed):
            mistakes.add((*way, name), text)
        return values

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """A reference to its definition."""
        name = self._cls.__name__
        if name not in definitions:
            definitions[name] = {}  # a section may hold itself
            definitions[name] = self.definition(definitions)
        return {"$ref": f"#/definitions/{name}"}

    def definition(self, definitions: JsonSchema) -> JsonSchema:
        """The JSON Schema of the table.

        Args:
            definitions: takes the schemas of sections in it.
        """
        properties = {}
        for setting in self.settings:
            schema = setting.kind.schema(definitions)
            if "$ref" in schema:
                schema = {"allOf": [schema]}  # draft 7 ignores what stands beside a $ref
            properties[setting.name] = {**schema, "description": plain(setting.meaning)}
            if isinstance(setting.default, str | int | float):
                properties[setting.name]["default"] = setting.default
        return {
            "type": "object",
            "properties": properties,
            "required": [setting.name for setting in self.settings if setting.needed],
            "additionalProperties": False,
        }

    @property
    def name(self) -> str:
        """A table."""
        return "a table"


@dataclass(frozen=True)
class Settings:
    """The base of all sections.

    A subclass is a frozen dataclass; the reference takes the meanings from `Attributes:` of its
    docstring. The values are checked the same whether they come from TOML or from Python.

    Raises:
        ConfigError: naming every mistake, when one is made with values that are wrong.
    """

    KIND: ClassVar[Section]
    PLACE: ClassVar[str] = ""
    """Stands before the mistakes of settings that are made in Python."""

    def __init_subclass__(cls) -> None:
        cls.KIND = Section(cls)

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        values = self.KIND.read_values(vars(self), (), mistakes)
        if mistakes:
            raise ConfigError([str(mistake) for mistake in mistakes], self.PLACE)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def contradictions(cls, changed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Settings that don't go together: the name of one, and what is wrong with it.

        Args:
            changed: the settings that are not at their defaults and not wrong by themselves.
        """
        yield from ()


class ByType(Kind):
    """The kind of a table whose `type` names the dataclass of its settings.

    Args (of the constructor):
        find: the dataclass of a type; None for an unknown one.
        every: all types with their dataclasses.
    """

    def __init__(
        self,
        find: Callable[[str], type[Settings] | None],
        every: Callable[[], Mapping[str, type[Settings]]],
    ) -> None:
        self._find = find
        self.every = every

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The dataclass made of a table."""
        if isinstance(value, Settings):
            return value
        if not isinstance(value, Mapping):
            mistakes.add(way, f"expected a table, got {called(value)}")
            return WRONG
        kind = value.get("type")
        cls = self._find(kind) if isinstance(kind, str) else None
        if cls is None:
            known = list(self.every())
            text = f"type {kind!r} is not one of {', '.join(known)}{near(str(kind), known)}"
            mistakes.add(
                (*way, "type") if kind else way,
                text if kind else f"type is missing; write one of {', '.join(known)}",
            )
            return WRONG
        rest = {key: item for key, item in value.items() if key != "type"}
        return cls.KIND.read(rest, way, mistakes)

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """Any of its sections, each with its `type`."""
        sections = []
        for name, cls in self.every().items():
            schema = cls.KIND.definition(definitions)
            schema["properties"] = {"type": {"const": name}, **schema["properties"]}
            required = ["type", *schema.pop("required")]
            if "preset" in schema["properties"]:  # a preset can bring what is needed
                schema |= {"if": {"not": {"required": ["preset"]}}, "then": {"required": required}}
            else:
                schema["required"] = required
            sections.append(schema)
        return {"anyOf": sections}

    @property
    def name(self) -> str:
        """A table."""
        return "a table"


def plain(markdown: str) -> str:
    """Markdown without its links and marks, for places that show text only."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")


_ATTRIBUTE = re.compile(r"^    (\w+): ", re.MULTILINE)


def _meanings(cls: type) -> dict[str, str]:
    """The meaning of each setting, from the `Attributes:` of a class and its bases."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, text = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes:\n")
        parts = _ATTRIBUTE.split(re.split(r"\n(?=\S)", text)[0])
        for name, meaning in zip(parts[1::2], parts[2::2], strict=True):
            meanings[name] = " ".join(meaning.split())
    return meanings
