"""What every source offers.

Collections, and pages of entries with the watermark that stands after each.

A source of your own needs two methods:

    @source("acme", AcmeSettings)
    class Acme(Source):
        def collections(self) -> list[Collection]: ...
        def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]: ...

`stixbridge.testing.SourceContract` tests what the bridge relies on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stixbridge.errors import ServerError
from stixbridge.stix.reader import Entry

ManifestRow = tuple[str, int | None]
"""An entry of a manifest: the id, and the newest version that the server has, in microseconds."""


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
        entries: what the answer contains.
        watermark: where a later poll goes on, once this page is stored; None leaves the stored
            watermark.
        date_added: when the server got the last of the objects, in microseconds; None where it does
            not tell.
        date_first: when it got the first of them.
    """

    entries: list[Entry] = field(default_factory=list)
    watermark: str | None = None
    date_added: int | None = None
    date_first: int | None = None


class Source(ABC):
    """A source of a pipeline.

    Attributes:
        name: of the source; objects are stored under it.
        unread: errors of parts of the server that the last `collections` left out.
    """

    name: str
    unread: Sequence[ServerError] = ()

    @cached_property
    def facts(self) -> MutableMapping[str, Any]:
        """What was learned of the server, by name.

        Values are what JSON can hold. A pipeline keeps it in the store.
        """
        return {}

    @cached_property
    def notify(self) -> Callable[[str], None]:
        """Takes a line of text for the user; a pipeline shows it."""
        return lambda _: None

    @abstractmethod
    def collections(self) -> list[Collection]:
        """List what there is to poll.

        Raises:
            ConfigError: when a collection that was chosen is not there.
            ServerError: when the server does not answer as it should.
        """

    @abstractmethod
    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        """Read the pages after a watermark.

        A source may read ahead of the caller, but it must not assume that a page is stored
        before the caller asks for the next one. The caller may stop at any page; the next poll then
        begins with the watermark of the last page that was stored.

        Args:
            collection: from `collections`.
            watermark: of the last page that was stored; None on the first run and for everything.

        Yields:
            Pages, to be stored in their order.

        Raises:
            ServerError: when a page does not come; it names the source and says what to do.
        """

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Close connections and files."""


class Server(Source):
    """A source that can be asked for more than what is new."""

    @property
    @abstractmethod
    def choice(self) -> str:
        """The settings that the list of collections depends on, as text; a new text asks again."""

    @property
    @abstractmethod
    def chosen(self) -> bool:
        """Whether the configuration chose some collections of the server."""

    @property
    def comparable(self) -> bool:
        """Whether there is something to compare the store with after this poll."""
        return True

    @abstractmethod
    def by_id(self, collection: Collection, ids: Sequence[str]) -> Iterator[Page]:
        """Read objects by their ids; ids that the server does not have are left out.

        Raises:
            ServerError: when the server does not answer, or can't be asked so.
        """

    @abstractmethod
    def manifest(self, collection: Collection) -> Iterator[list[ManifestRow]]:
        """List everything that a collection has now.

        Raises:
            ServerError: when the server does not answer, or has no manifest.
        """
