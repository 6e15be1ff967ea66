"""The contract of a source: nothing is lost, wherever a poll is cut; nothing new writes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import pytest

from stixbridge.errors import StixbridgeError
from stixbridge.pipeline.pull import Puller
from stixbridge.sources.base import Collection, Source
from stixbridge.store import Store

Stix = dict[str, Any]
_NOW = 1_768_003_200_000_000  # 2026-01-10
_POLLS = 4
"""Polls after which everything has to be there, although one request failed."""


class Feed(ABC):
    """A double of the server that a source reads; a context manager.

    It gives small pages: the seven objects of the contract need at least two, where the source has
    pages at all.

    Attributes:
        place: the URL or path that an error of the source has to name.
        requests: how many requests, or reads of a file, the double has answered or refused.
    """

    place: str
    requests: int = 0

    @abstractmethod
    def source(self) -> Source:
        """Make a source that reads this feed."""

    @abstractmethod
    def add(self, objects: Iterable[Stix]) -> None:
        """Add objects; one whose id is there gets a new version."""

    @abstractmethod
    def fail(self, request: int, *, times: int = 1) -> None:
        """Let a request fail.

        Args:
            request: counted from now, from 1.
            times: how many requests fail, from that one on.
        """

    def close(self) -> None:  # noqa: B027 - not every double has something to close
        """Stop the double."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass
class _Stored:
    """What a store would have after some pages.

    Attributes:
        objects: each by its id and version.
        watermarks: of each collection.
        pages: stored so far.
    """

    objects: dict[tuple[str, str], Stix] = field(default_factory=dict)
    watermarks: dict[str, str] = field(default_factory=dict)
    pages: int = 0

    def poll(self, feed: Feed, stop_after: int | None = None) -> StixbridgeError | None:
        """Poll all collections once; stop before storing a page, where one is given.

        Returns:
            The error that ended it.
        """
        source = feed.source()
        self.pages = 0
        try:
            for collection in source.collections():
                for page in source.pages(collection, self.watermarks.get(collection.id)):
                    if self.pages == stop_after:
                        return None
                    self.pages += 1
                    for entry in page.entries:
                        assert entry.obj is not None, f"{entry.path}: {entry.reason}"
                        obj = entry.obj
                        self.objects[obj["id"], str(obj.get("modified"))] = obj
                    if page.watermark is not None:
                        self.watermarks[collection.id] = page.watermark
        except StixbridgeError as error:
            return error
        finally:
            source.close()
        return None


class SourceContract:
    """What every source has to keep. Subclasses define the fixture `feed`."""

    @pytest.fixture
    def feed(self) -> Feed:
        """The double of the server, without objects."""
        raise NotImplementedError("define the fixture `feed`: it returns a stixbridge.testing.Feed")

    def test_every_object_comes_once_and_as_it_is(self, feed: Feed) -> None:
        """One poll brings each object, unchanged and in one entry."""
        feed.add(_objects(1, 8))
        source, entries = feed.source(), []
        for collection in source.collections():
            for page in source.pages(collection, None):
                entries += page.entries
        source.close()
        assert sorted(entry.id or entry.path for entry in entries) == sorted(
            obj["id"] for obj in _objects(1, 8)
        )
        assert {entry.id: entry.obj for entry in entries} == {
            obj["id"]: obj for obj in _objects(1, 8)
        }

    def test_collections_keep_their_ids(self, feed: Feed) -> None:
        """Watermarks are stored under the id of a collection, so it must not change."""
        feed.add(_objects(1, 8))
        assert _ids(feed.source().collections()) == _ids(feed.source().collections())

    def test_a_poll_can_stop_at_any_page(self, feed: Feed) -> None:
        """The watermark comes with the page that it stands after: other pages come again."""
        feed.add(_objects(1, 8))
        whole = _Stored()
        assert whole.poll(feed) is None
        for pages in range(whole.pages):
            stored = _Stored()
            assert stored.poll(feed, stop_after=pages) is None
            assert stored.poll(feed) is None
            assert stored.objects.keys() == whole.objects.keys(), f"stopped after {pages} pages"

    def test_a_poll_can_be_cut_at_any_request(self, feed: Feed) -> None:
        """One request fails: that poll, or a later one, brings everything."""
        feed.add(_objects(1, 8))
        before = feed.requests
        whole = _Stored()
        assert whole.poll(feed) is None
        for request in range(1, feed.requests - before + 1):
            stored = _Stored()
            feed.fail(request)
            errors = [stored.poll(feed) for _ in range(_POLLS)]
            assert errors[-1] is None, f"request {request} failed once: {errors[-1]}"
            assert stored.objects.keys() == whole.objects.keys(), f"request {request} failed"

    def test_a_later_poll_brings_what_is_new(self, feed: Feed) -> None:
        """New objects and new versions come with the next poll, whatever came before."""
        feed.add(_objects(1, 8))
        stored = _Stored()
        assert stored.poll(feed) is None
        later = [*_objects(8, 11), *_objects(1, 3, day=20)]
        feed.add(later)
        assert stored.poll(feed) is None
        assert stored.objects.keys() >= {(obj["id"], obj["modified"]) for obj in later}

    def test_nothing_new_writes_nothing(self, feed: Feed, tmp_path: Path) -> None:
        """A poll of a feed that has not changed changes nothing in the store."""
        feed.add(_objects(1, 8))
        store = Store(tmp_path / "contract.db")
        try:
            changed = []
            for number in range(3):
                puller = Puller(feed.source(), store)
                pulled = puller.pull(_NOW + number)
                puller.source.close()
                assert pulled.errors == []
                changed.append(pulled.changed)
        finally:
            store.close()
        assert changed == [7, 0, 0]

    def test_an_error_names_the_place(self, feed: Feed) -> None:
        """A feed that can't be read is an error that says where, and not a quiet poll."""
        feed.add(_objects(1, 8))
        feed.fail(1, times=1_000)
        error = _Stored().poll(feed)
        assert error is not None, "the feed can't be read, and the poll ended as if it could"
        assert type(error) is not StixbridgeError, "raise one of the classes of stixbridge.errors"
        assert feed.place in str(error)

    def test_a_source_can_be_closed_twice(self, feed: Feed) -> None:
        """The bridge closes what it made, whatever happened before."""
        source = feed.source()
        source.close()
        source.close()


def _ids(collections: list[Collection]) -> list[str]:
    assert all(collection.title for collection in collections)
    return [collection.id for collection in collections]


def _objects(first: int, after: int, day: int = 10) -> list[Stix]:
    """Indicators with the numbers from `first` up to the one before `after`."""
    return [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--{UUID(int=number, version=4)}",
            "created": "2026-01-10T00:00:00.000Z",
            "modified": f"2026-01-{day:02}T00:00:00.000Z",
            "name": f"indicator {number}",
            "pattern": f"[domain-name:value = 'host{number}.example']",
            "pattern_type": "stix",
            "valid_from": "2026-01-10T00:00:00Z",
        }
        for number in range(first, after)
    ]
