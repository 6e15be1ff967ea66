"""Secrets: the configuration names where one is, and never holds one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

from stixbridge.errors import ConfigError
from stixbridge.settings.kinds import WRONG, JsonSchema, Kind
from stixbridge.settings.mistakes import Mistakes
from stixbridge.settings.mistakes import Path as Way

_PLACES = ("env", "file", "keyring")


class SecretKind(Kind):
    """The kind of a reference to a secret."""

    def read(self, value: Any, way: Way, mistakes: Mistakes) -> Any:
        """The reference; never shows what stands there in its place."""
        if isinstance(value, Secret):
            return value
        if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in _PLACES:
            mistakes.add(
                way,
                'a secret is a reference: { env = "NAME" }, { file = "PATH" }'
                ' or { keyring = "NAME" }',
            )
            return WRONG
        ((place, target),) = value.items()
        if not isinstance(target, str) or not target:
            mistakes.add((*way, place), f"{place} takes a name")
            return WRONG
        return Secret(**{place: target})

    def schema(self, definitions: JsonSchema) -> JsonSchema:
        """A table with one of its three keys."""
        definitions["Secret"] = {
            "description": "A reference to a secret: an environment variable, a file,"
            " or an entry of the keyring.",
            "type": "object",
            "properties": {place: {"type": "string", "minLength": 1} for place in _PLACES},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        return {"$ref": "#/definitions/Secret"}

    @property
    def name(self) -> str:
        """A secret."""
        return "a SECRET"


@dataclass(frozen=True)
class Secret:
    """A reference to a secret: an environment variable, a file, or an entry of the keyring.

    Attributes:
        env: name of an environment variable.
        file: path of a file.
        keyring: name of an entry of the service `stixbridge`.
        text: the secret itself, given in Python; no configuration can hold it, and `repr` does not
            show it.
    """

    KIND: ClassVar[Kind] = SecretKind()

    env: str | None = None
    file: str | None = None
    keyring: str | None = None
    text: str | None = field(default=None, repr=False)

    def read(self, where: str) -> str:
        """Look the secret up.

        Args:
            where: the place in the configuration, for the message.

        Raises:
            ConfigError: when it is not there; never shows a value.
        """
        if self.text is not None:
            return self.text
        if self.env is not None:
            value = os.environ.get(self.env)
            if not value:
                raise ConfigError(
                    f"{where}: the environment variable {self.env} is not set; export it"
                )
            return value
        if self.file is not None:
            return self._in_file(self.file, where)
        return self._in_keyring(where)

    @staticmethod
    def _in_file(path: str, where: str) -> str:
        try:
            value = Path(path).expanduser().read_text().strip()
        except (OSError, RuntimeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ConfigError(f"{where}: {path}: {reason or error}") from None
        if not value:
            raise ConfigError(f"{where}: {path} is empty")
        return value

    def _in_keyring(self, where: str) -> str:
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


def secret_in(value: Any) -> Secret | None:
    """The reference to a secret that a value is, `{ env = … }` and the like; None for any other."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in _PLACES:
        ((place, target),) = value.items()
        return Secret(**{place: str(target)})
    return None


def secrets_in(value: Any, place: str) -> Iterator[tuple[Secret, str]]:
    """All references to secrets in some settings, with their places.

    Args:
        value: settings, or a part of them.
        place: of the settings, as `$.sinks.misp`.
    """
    secret = secret_in(value)
    if secret is not None:
        yield secret, place
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            yield from secrets_in(getattr(value, item.name), f"{place}.{item.name}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_in(inner, f"{place}.{key}")
    elif isinstance(value, tuple):
        for inner in value:
            name = getattr(inner, "name", None)
            yield from secrets_in(inner, f"{place}.{name}" if name else place)
