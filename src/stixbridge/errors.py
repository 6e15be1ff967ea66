"""The exceptions, named by what the caller should do.

    StixbridgeError
    ├── ConfigError      mend the configuration or the call       (exit status 2)
    ├── InputError       mend or leave out the input              (exit status 2)
    ├── ServerError      a server said no, or nonsense            (exit status 3)
    │   └── Unreachable  try again later: nothing was reached     (exit status 3)
    └── StoreError       look at the store: locked, newer, broken (exit status 2)

Every message says what happened, where, and what to do. None carries a secret.
"""

from __future__ import annotations

from collections.abc import Sequence


class StixbridgeError(Exception):
    """Base of all errors raised on purpose; the text is fit to be shown to the user."""

    exit_status = 2


class ConfigError(StixbridgeError):
    """The configuration or the call is wrong; `problems` lists every mistake found, not the first."""

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
    """An input can't be read at all: no such file, no permission, over the size limit."""


class ServerError(StixbridgeError):
    """A server answered with an error, or with something that is not its protocol."""

    exit_status = 3

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(ServerError):
    """No answer at all: name, port, certificate, time-out."""


class StoreError(StixbridgeError):
    """The store can't be used: locked by another instance, made by a newer version, or damaged."""
