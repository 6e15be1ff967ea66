"""The contract of sources, run over every source that is registered."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles.document import DocumentServer
from doubles.taxii import Request, Taxii20Double, TaxiiDouble

from stixbridge.errors import ServerError
from stixbridge.settings.registry import SOURCES
from stixbridge.sources.base import Collection, Page, Source
from stixbridge.sources.files import Files
from stixbridge.sources.https import Https
from stixbridge.sources.taxii.client import Taxii
from stixbridge.sources.taxii.v20 import Taxii20
from stixbridge.sources.taxii.v21 import Taxii21
from stixbridge.testing import Feed, SourceContract

Stix = dict[str, Any]


class FilesFeed(Feed):
    """A folder; a read that fails meets a file that is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "inbox"
        self.folder.mkdir()
        self.place = str(self.folder)
        self.failing = range(0)

    def source(self) -> Source:
        feed = self

        class Reading(Files):
            def pages(self, *args: Any) -> Any:
                feed.requests += 1
                path = Path(args[0].id)
                hidden = path.with_suffix(".gone")
                if feed.requests in feed.failing:
                    path.rename(hidden)
                try:
                    yield from super().pages(*args)
                finally:
                    if hidden.exists():
                        hidden.rename(path)

        return Reading([self.folder])

    def add(self, objects: Iterable[Stix]) -> None:
        for obj in objects:
            path = self.folder / f"{obj['id'][-2:]}.json"
            path.write_text(json.dumps({"objects": [obj]}))

    def fail(self, request: int, *, times: int = 1) -> None:
        self.failing = range(self.requests + request, self.requests + request + times)


class TaxiiFeed(Feed):
    """A TAXII server with three objects on a page."""

    def __init__(self, double: TaxiiDouble, kind: type[Taxii]) -> None:
        self.double = double
        self.kind = kind
        self.place = double.url.removesuffix("/taxii2/")
        double.add_collection("All")
        double.__enter__()

    @property
    def requests(self) -> int:  # type: ignore[override]
        return len(self.double.requests)

    def source(self) -> Source:
        return self.kind(self.double.url, page_size=3)

    def add(self, objects: Iterable[Stix]) -> None:
        for obj in objects:
            self.double.add("All", [obj])
            self.double.clock_step(3600)  # further apart than the overlap of two polls

    def fail(self, request: int, *, times: int = 1) -> None:
        first = self.requests + request

        def due(_: Request) -> bool:
            return first <= self.requests < first + times

        self.double.fail_next(500, times=times, when=due)

    def close(self) -> None:
        self.double.__exit__(None, None, None)


class HttpsFeed(Feed):
    """A document at a URL, with an ETag."""

    def __init__(self) -> None:
        self.server = DocumentServer()
        self.place = self.server.url

    @property
    def requests(self) -> int:  # type: ignore[override]
        return len(self.server.requests)

    def source(self) -> Source:
        return Https(self.server.url)

    def add(self, objects: Iterable[Stix]) -> None:
        for obj in objects:
            self.server.objects[obj["id"]] = obj

    def fail(self, request: int, *, times: int = 1) -> None:
        self.server.failing = range(self.requests + request, self.requests + request + times)

    def close(self) -> None:
        self.server.close()


FEEDS: dict[str, Callable[[Path], Feed]] = {
    "files": FilesFeed,
    "https": lambda _: HttpsFeed(),
    "taxii20": lambda _: TaxiiFeed(Taxii20Double(page_size=3), Taxii20),
    "taxii21": lambda _: TaxiiFeed(TaxiiDouble(page_size=3), Taxii21),
}


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "*")


class TestEverySource(SourceContract):
    """A source that registers itself is tested here; it needs a double in FEEDS."""

    @pytest.fixture(params=sorted(SOURCES.all()))
    def feed(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Feed]:  # type: ignore[override]
        assert request.param in FEEDS, f"source {request.param!r} has no double: add it to FEEDS"
        with FEEDS[request.param](tmp_path) as feed:
            yield feed


class Hasty(Taxii21):
    """A source that moves the watermark to the end with the first page."""

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        pages = list(super().pages(collection, watermark))
        for page in pages:
            yield replace(page, watermark=pages[-1].watermark)


class Forgetful(Taxii21):
    """A source that leaves out the last page."""

    def pages(self, collection: Collection, watermark: str | None) -> Iterator[Page]:
        yield from list(super().pages(collection, watermark))[:-1]


class Silent(Taxii21):
    """A source that takes a server that does not answer for one that has nothing."""

    def collections(self) -> list[Collection]:
        try:
            return super().collections()
        except ServerError:
            return []


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Hasty, SourceContract.test_a_poll_can_stop_at_any_page),
        (Forgetful, SourceContract.test_every_object_comes_once_and_as_it_is),
        (Silent, SourceContract.test_an_error_names_the_place),
    ],
)
def test_the_contract_notices_a_source_that_is_wrong(
    kind: type[Taxii21], law: Callable[[SourceContract, Feed], None]
) -> None:
    double = TaxiiDouble(page_size=3)
    with TaxiiFeed(double, kind) as feed, pytest.raises(AssertionError):
        law(SourceContract(), feed)
