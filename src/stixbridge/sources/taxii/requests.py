"""The form of requests that a server takes.

The page size and the digits of `added_after`, found by trying.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from stixbridge import times
from stixbridge.errors import ServerError
from stixbridge.http import Refused, TooLarge, TooSlow

FORMS: dict[str, Callable[[int], str | None]] = {
    "microseconds": times.to_text,
    "milliseconds": lambda moment: times.to_text(moment)[:-4] + "Z",
    "seconds": lambda moment: times.to_text(moment)[:-8] + "Z",
    "none": lambda _: None,
}
"""How `added_after` is written; `none` asks for everything."""

_SMALLEST = 10
_SMALLEST_GUESS = 50
_LARGEST = 10_000


class RequestForm:
    """The form of requests that one server takes.

    Args (of the constructor):
        page_size: as configured.
        form: of `added_after` to begin with.
        facts: what was learned before, and is learned here.
    """

    def __init__(self, page_size: int, form: str, facts: MutableMapping[str, Any]) -> None:
        self._configured = page_size
        self._default = form
        self._facts = facts
        known = facts.get("page_size")
        self.page_size = (
            min(page_size, known) if isinstance(known, int) and known > 0 else page_size
        )
        self.form = facts.get("added_after", form)
        if self.form not in FORMS:
            self.form = form
        self._untried = [name for name in FORMS if name not in (self.form, form)]

    def added_after(self, moment: int | None) -> dict[str, str]:
        """The parameter for a time."""
        text = FORMS[self.form](moment) if moment is not None else None
        return {} if text is None else {"added_after": text}

    def adapt(self, error: ServerError, params: MutableMapping[str, str]) -> bool:
        """Change the form after a request that failed.

        Args:
            error: that it ended in.
            params: of the request.

        Returns:
            Whether it is worth another request.
        """
        if isinstance(error, TooSlow) or error.status == 504:
            # each such request takes its time: few of them
            return self._shrink(_SMALLEST_GUESS, divisor=4)
        if isinstance(error, TooLarge) or error.status == 413:
            return self._shrink(_SMALLEST)
        if not isinstance(error, Refused) or "next" in params:
            return False
        return self._adapt_to_refusal(error, params)

    def _adapt_to_refusal(self, error: Refused, params: MutableMapping[str, str]) -> bool:
        if error.status in (400, 422) and _is_about_size(error.excerpt):
            return self._shrink(_SMALLEST)
        if error.status in (400, 422, 500) and "added_after" in params and self._untried:
            self.form = self._untried.pop(0)
            return True
        return error.status == 400 and self._shrink(_SMALLEST_GUESS)

    def enlarge(self, entries: int) -> bool:
        """Ask for larger pages, where the server gave as many entries as it was asked for."""
        if entries < self.page_size or self.page_size >= _LARGEST:
            return False
        self.page_size = min(self.page_size * 10, _LARGEST)
        return True

    def worked(self) -> None:
        """Remember the form of a request that was answered."""
        if self.page_size < self._configured:
            self._remember("page_size", self.page_size)
        if self.form != self._default:
            self._remember("added_after", self.form)

    def _shrink(self, smallest: int, divisor: int = 2) -> bool:
        if self.page_size <= smallest:
            return False
        self.page_size = max(smallest, self.page_size // divisor)
        return True

    def _remember(self, name: str, value: Any) -> None:
        if self._facts.get(name) != value:
            self._facts[name] = value


def _is_about_size(text: str) -> bool:
    words = text.lower()
    return "limit" in words or "page size" in words or "too many" in words or "too large" in words
