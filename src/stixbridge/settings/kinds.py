"""Kinds: the meaning of annotations for reading, for the reference and for JSON Schema.

`kind_of` makes a `Kind` of each annotation that settings may have: `str`, `int`, `float`, `bool`,
`Path`, `Any`, a `Literal`, one of those with a `Check` (`checks`), a list or table of them, a
dataclass of settings, and their unions.
"""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from stixbridge.settings.checks import Check
from stixbridge.settings.mistakes import Mistakes, near
from stixbridge.settings.mistakes import Path as Way

JsonSchema = dict[str, Any]

WRONG = object()
"""What `Kind.read` gives for a value that is wrong; the mistake is added."""


class Kind(ABC):
    """The kind of the values of a setting."""

    @abstractmethod
    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """Check a value and bring it into the form that components use.

        Args:
            value: from TOML or from Python.
            way: where it stands.
            mistakes: takes what is wrong.

        Returns:
            The value, or `WRONG`.
        """

    def from_text(self, text: str) -> Any:
        """A value that a command line has, as text, in the form that `read` takes.

        Args:
            text: lists are written with commas.
        """
        return text

    @abstractmethod
    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """The JSON Schema of the value.

        Args:
            definitions: takes the schemas of sections that it refers to.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of a value in the reference: "text", "a list of texts"."""


class Plain(Kind):
    """Text, a number, true or false."""

    def __init__(self, type_: type, name: str, json_type: str) -> None:
        self._type = type_
        self._name = name
        self._json_type = json_type

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The value as it is; a whole number is also taken where a number is needed."""
        if self._type is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, self._type) or (self._type is int and isinstance(value, bool)):
            mistakes.add(way, f"expected {self._name}, got {called(value)}")
            return WRONG
        return value

    def from_text(self, text: str) -> Any:
        """The number, or the truth value; other text as it is."""
        if self._type is int and text.isascii() and text.isdigit():
            return int(text)
        truths = {"true": True, "false": False} if self._type is bool else {}
        return truths.get(text.lower(), text)

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """Its JSON type."""
        return {"type": self._json_type}

    @property
    def name(self) -> str:
        """Text, a whole number, true or false."""
        return self._name


class PathKind(Plain):
    """The path of a file or folder."""

    def __init__(self) -> None:
        super().__init__(str, "text", "string")

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The path."""
        if isinstance(value, Path):
            return value
        text = super().read(value, way, mistakes)
        return text if text is WRONG else Path(text)


class AnyKind(Kind):
    """A value that its component checks."""

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The value as it is."""
        return value

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """No limits."""
        return {}

    @property
    def name(self) -> str:
        """No name."""
        return "any value"


class Choice(Kind):
    """One of a few words."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The word."""
        if not isinstance(value, str):
            mistakes.add(way, f"expected text, got {called(value)}")
            return WRONG
        if value not in self._words:
            known = ", ".join(self._words)
            mistakes.add(way, f"{value!r} is not one of {known}{near(value, self._words)}")
            return WRONG
        return value

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """The words."""
        return {"enum": list(self._words)}

    @property
    def name(self) -> str:
        """The words."""
        return ", ".join(f"`{word}`" for word in self._words)


class Checked(Kind):
    """A value with a check."""

    def __init__(self, inner: Kind, check: Check) -> None:
        self._inner = inner
        self._check = check

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The value, where it passes the check."""
        value = self._inner.read(value, way, mistakes)
        if value is WRONG:
            return WRONG
        problem = self._check.problem(value)
        if problem is not None:
            mistakes.add(way, problem)
            return WRONG
        return value

    def from_text(self, text: str) -> Any:
        """As for the value."""
        return self._inner.from_text(text)

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """Its JSON type with the check's limits."""
        return {**self._inner.schema(definitions), **self._check.schema}

    @property
    def name(self) -> str:
        """The check's name."""
        return self._check.name


class ListOf(Kind):
    """A list; read as a tuple."""

    def __init__(self, inner: Kind) -> None:
        self._inner = inner

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The values, each of its kind."""
        if isinstance(value, str):
            mistakes.add(way, f'expected a list, got text; write ["{value}"]')
            return WRONG
        if not isinstance(value, list | tuple):
            mistakes.add(way, f"expected {self.name}, got {called(value)}")
            return WRONG
        rows = [
            self._inner.read(item, (*way, number), mistakes) for number, item in enumerate(value)
        ]
        return WRONG if WRONG in rows else tuple(rows)

    def from_text(self, text: str) -> Any:
        """The values between the commas."""
        parts = (part.strip() for part in text.split(","))
        return tuple(self._inner.from_text(part) for part in parts if part)

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """An array."""
        return {"type": "array", "items": self._inner.schema(definitions)}

    @property
    def name(self) -> str:
        """A list."""
        return f"a list of {plural(self._inner.name)}"


class TableOf(Kind):
    """A table with keys of any name, or of some."""

    def __init__(self, inner: Kind, keys: Sequence[str] = ()) -> None:
        self._inner = inner
        self._keys = keys

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The table with each of its values read."""
        if not isinstance(value, Mapping):
            mistakes.add(way, f"expected a table, got {called(value)}")
            return WRONG
        table = {}
        for key, item in value.items():
            if self._keys and key not in self._keys:
                known = ", ".join(self._keys)
                mistakes.add((*way, key), f"{key!r} is not one of {known}{near(key, self._keys)}")
            table[key] = self._inner.read(item, (*way, key), mistakes)
        return WRONG if WRONG in table.values() else table

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """An object."""
        inner = self._inner.schema(definitions)
        if not self._keys:
            return {"type": "object", "additionalProperties": inner}
        properties = dict.fromkeys(self._keys, inner)
        return {"type": "object", "properties": properties, "additionalProperties": False}

    @property
    def name(self) -> str:
        """A table."""
        return "a table"


class Maybe(Kind):
    """A value that may be absent."""

    def __init__(self, inner: Kind) -> None:
        self._inner = inner

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The value; None from Python stands for none."""
        return None if value is None else self._inner.read(value, way, mistakes)

    def from_text(self, text: str) -> Any:
        """As for the value."""
        return self._inner.from_text(text)

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """That of the value: TOML has no null."""
        return self._inner.schema(definitions)

    @property
    def name(self) -> str:
        """That of the value."""
        return self._inner.name


class Either(Kind):
    """A value of one of several kinds; the first that fits counts."""

    def __init__(self, inner: Sequence[Kind]) -> None:
        self._inner = inner

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The value as the first kind that takes it."""
        trials: list[Mistakes] = []
        for kind in self._inner:
            trial = Mistakes()
            read = kind.read(value, way, trial)
            if read is not WRONG and not trial:
                return read
            trials.append(trial)
        deepest = max(trials, key=lambda trial: max(len(mistake.path) for mistake in trial))
        if all(mistake.path == way for mistake in deepest):
            mistakes.add(way, f"expected {self.name}, got {called(value)}")
        else:
            mistakes.extend(deepest)
        return WRONG

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """Any of them."""
        return {"anyOf": [kind.schema(definitions) for kind in self._inner]}

    @property
    def name(self) -> str:
        """All of them."""
        return " or ".join(kind.name for kind in self._inner)


def called(value: Any) -> str:
    """The name of a value in a message that must not show it."""
    names: dict[type, str] = {
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        tuple: "a list",
        dict: "a table",
    }
    return names.get(type(value), type(value).__name__)


def plural(name: str) -> str:
    """`texts` for `text`, `tables` for `a table`; other names as they are."""
    words = [part.removeprefix("a ") for part in name.split(" or ")]
    return " or ".join(f"{word}s" if word.isalpha() else word for word in words)


_PLAIN: dict[Any, Kind] = {
    str: Plain(str, "text", "string"),
    int: Plain(int, "a whole number", "integer"),
    float: Plain(float, "a number", "number"),
    bool: Plain(bool, "true or false", "boolean"),
    Path: PathKind(),
    Any: AnyKind(),
    object: AnyKind(),
}


@lru_cache(maxsize=1024)
def kind_of(hint: Any) -> Kind:
    """The kind of values that an annotation stands for.

    Args:
        hint: with all names resolved.

    Raises:
        TypeError: for an annotation that no setting may have.
    """
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, type) and isinstance(kind := getattr(hint, "KIND", None), Kind):
        return kind
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin is Literal:
        return Choice(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin in (tuple, Sequence):
        return ListOf(kind_of(arguments[0]))
    if origin is Mapping:
        words = get_args(arguments[0]) if get_origin(arguments[0]) is Literal else ()
        return TableOf(kind_of(arguments[1]), words)
    raise TypeError(f"{hint} is not a type that a setting may have; see stixbridge.settings.kinds")


def _annotated(hint: Any, more: Sequence[Any]) -> Kind:
    for item in more:
        if isinstance(item, Kind):
            return item
    kind = kind_of(hint)
    for item in more:
        if isinstance(item, Check):
            kind = Checked(kind, item)
    return kind


def _union(hints: Sequence[Any]) -> Kind:
    kinds = [kind_of(hint) for hint in hints if hint is not type(None)]
    kind = kinds[0] if len(kinds) == 1 else Either(kinds)
    return Maybe(kind) if type(None) in hints else kind
