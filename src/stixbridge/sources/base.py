"""What every source gives: collections, and pages of entries with the watermark that stands after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from stixbridge.stix.reader import Entry

Listed = tuple[str, int | None]
"""An entry of a manifest: the id, and the newest version that the server has, microseconds."""


@dataclass(frozen=True, slots=True)
class Collection:
    """One thing to poll: a TAXII collection, a file."""

    id: str
    title: str
    url: str = ""


@dataclass(slots=True)
class Page:
    """One answer.

    Attributes:
        entries: what it held.
        watermark: where a later poll goes on, once this page is stored; None where the server did not say.
        date_added: when the server got the objects, microseconds, as far as it says.
    """

    entries: list[Entry] = field(default_factory=list)
    watermark: str | None = None
    date_added: int | None = None


class Source(Protocol):
    """A source of a pipeline."""

    name: str

    def collections(self) -> list[Collection]:
        """What there is to poll."""

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        """The pages after a watermark (None: the first run), to be stored in their order."""

    def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class Server(Source, Protocol):
    """A source that can be asked for more than what is new."""

    @property
    def settings(self) -> str:
        """What the list of collections depends on: another text means to ask again."""

    @property
    def chosen(self) -> bool:
        """Whether its collections were chosen, and are not all that there are."""

    def named(self, collection: Collection, ids: Sequence[str]) -> Iterator[Page]:
        """Objects by their ids."""

    def manifest(self, collection: Collection) -> Iterator[list[Listed]]:
        """All that a collection holds now."""
