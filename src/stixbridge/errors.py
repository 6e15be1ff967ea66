"""The exceptions, named by what the caller should do.

    StixbridgeError
    ├── ConfigError      correct the configuration or the call      (exit status 2)
    ├── InputError       correct or leave out the input             (exit status 2)
    ├── ServerError      look at the answer of the server           (exit status 3)
    │   └── Unreachable  try again later: the server did not answer (exit status 3)
    └── StoreError       check the store: locked, newer or damaged  (exit status 2)

Every message describes the problem, its place, and the solution. No message contains a secret.
"""

from __future__ import annotations

from collections.abc import Sequence


class StixbridgeError(Exception):
    """The base of all errors of stixbridge. The text can be shown to the user."""

    exit_status = 2


class ConfigError(StixbridgeError):
    """The configuration or the call is wrong; `problems` lists every mistake."""

    def __init__(self, problems: Sequence[str] | str, where: str = "") -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        head = f"{where}: " if where else ""
        count = len(self.problems)
        if count == 1:
            text = f"{head}{self.problems[0]}"
        else:
            text = f"{head}{count} mistakes\n" + "\n".join(
                f"  - {problem}" for problem in self.problems
            )
        super().__init__(text)


class InputError(StixbridgeError):
    """An input can't be read: the file is missing, not readable, or over the size limit."""


class ServerError(StixbridgeError):
    """A server answered with an error, or not in its protocol."""

    exit_status = 3

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(ServerError):
    """The server did not answer: wrong name or port, refused certificate, time-out."""


class StoreError(StixbridgeError):
    """The store can't be used: it is locked, made by a newer version, or damaged."""
