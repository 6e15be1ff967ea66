"""The lines at which the settings of a TOML file stand (TOML 1.0), for messages about them.

`tomllib` keeps no positions. This walks over a text that it has read already, so that only valid
TOML comes here.
"""

from __future__ import annotations

import re
import tomllib

from stixbridge.settings.mistakes import Path

_SPACE = re.compile(r"(?:[ \t\r\n]|\#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
_STRING = re.compile(
    r"\"\"\"(?:[^\\]|\\.)*?\"{3,5}|'''.*?'{3,5}|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'", re.DOTALL
)
_WORD = re.compile(r"[^,\]}\n#]+")


class Lines:
    """Where settings stand.

    Args (of the constructor):
        starts: the number of the first line of each setting and table, by its path.
    """

    def __init__(self, starts: dict[Path, int]) -> None:
        self._starts = starts

    def line(self, path: Path) -> int | None:
        """The line of a setting, or of the nearest table around it that is in the file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._starts:
                return self._starts[path[:end]]
        return None


def lines_of(toml: str) -> Lines:
    """Find the lines of all settings.

    Args:
        toml: a text that is valid TOML.
    """
    return Lines(_Walk(toml).document())


class _Walk:
    """A walk over a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._starts: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}

    def document(self) -> dict[Path, int]:
        """All settings with their lines."""
        table: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._text.startswith("[", self._at):
                table = self._header(1)
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._starts

    def _header(self, brackets: int) -> Path:
        """`[table]` or `[[row of a list]]`."""
        self._at += brackets
        path = self._resolved(self._keys())
        self._at += brackets
        if brackets == 2:
            self._tables[path] = self._tables.get(path, -1) + 1
            path = (*path, self._tables[path])
        self._note(path)
        return path

    def _resolved(self, keys: list[str]) -> Path:
        """A header's keys; a list of tables on the way stands for its last one."""
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if path in self._tables and number < len(keys) - 1:
                path = (*path, self._tables[path])
        return path

    def _pair(self, table: Path) -> None:
        """`key = value`, the key perhaps dotted."""
        before = self._place()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._starts.setdefault(path, before)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_BLANK)
            word = self._skip(_KEY)
            keys.append(_unquoted(word))
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._list(path)
        elif first == "{":
            self._inline_table(path)
        elif first in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_WORD)

    def _list(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._more("]"):
            row = (*path, number)
            self._note(row)
            self._value(row)
            number += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._more("}"):
            self._pair(path)

    def _more(self, end: str) -> bool:
        """Go over what separates values; whether another one comes before the end."""
        self._skip(_SPACE)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_SPACE)
        if self._text[self._at] == end:
            self._at += 1
            return False
        return True

    def _note(self, path: Path) -> None:
        self._starts.setdefault(path, self._place())

    def _place(self) -> int:
        """The number of the line that the walk is at."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, f"not TOML at character {self._at}"
        self._at = found.end()
        return found[0]


def _unquoted(key: str) -> str:
    if key[0] not in "\"'":
        return key
    (name,) = tomllib.loads(f"{key} = 0")
    return name
