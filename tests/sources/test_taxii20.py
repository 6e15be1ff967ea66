"""TAXII 2.0: the source against medallion 1.1, and against answers that no server should give."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.pull import Pull
from servers import TaxiiServer, medallion20
from servers.reading import INDICATORS, Stix, ids, indicator

from stixbridge import times
from stixbridge.errors import ConfigError
from stixbridge.http import Auth
from stixbridge.pipeline.pull import PullPolicy
from stixbridge.sources.taxii.v20 import STIX_TYPE, Taxii20

OLD = [{key: value for key, value in item.items() if key != "spec_version"} for item in INDICATORS]
DATED = [(item, f"2026-01-01T{number:02}:00:00.000Z") for number, item in enumerate(OLD[:20])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaxiiServer]:
    content = {"Old": DATED, "Secret": [(OLD[0], "2026-01-01T00:00:00.000Z")]}
    with medallion20(
        content, page_size=10, readable=["Old"], dir=tmp_path_factory.mktemp("taxii20")
    ) as running:
        yield running


def basic(server: TaxiiServer) -> Auth:
    return Auth(user=server.user, password=server.password)


@pytest.mark.servers
@pytest.mark.parametrize("page_size", [1, 7, 10, 1000])
def test_every_object_whatever_the_server_makes_of_a_range(
    pull: Pull, server: TaxiiServer, page_size: int
) -> None:
    summary = pull(server.url, kind=Taxii20, auth=basic(server), page_size=page_size)
    assert (summary.errors, summary.entries, pull.ids) == ([], 20, sorted(ids(OLD[:20])))
    assert pull.watermarks == ["2026-01-01T19:00:00.000000Z"]


@pytest.mark.servers
def test_a_later_poll_asks_for_what_is_new(pull: Pull, server: TaxiiServer) -> None:
    pull(server.url, kind=Taxii20, auth=basic(server))
    again = pull(server.url, kind=Taxii20, auth=basic(server), overlap="90m")
    assert (again.entries, again.changed, again.errors) == (2, 0, [])
    server.add("Old", [{**indicator(77), "spec_version": "2.0"}])
    assert pull(server.url, kind=Taxii20, auth=basic(server)).changed == 1


@pytest.mark.servers
def test_newer_versions_are_found_in_the_manifest(
    pull: Pull, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The server keeps the time at which it got the first version, so that `added_after` never
    shows another.
    """
    with medallion20({"Old": DATED}, page_size=10, dir=tmp_path_factory.mktemp("newer")) as server:
        pull_policy = PullPolicy(compare_every=times.duration("1d"))
        poll = partial(
            pull,
            server.url,
            kind=Taxii20,
            auth=basic(server),
            pull_policy=pull_policy,
            overlap="1s",
        )
        poll(now="2026-01-10T00:00:00Z")
        server.add(
            "Old", [{**OLD[3], "spec_version": "2.0", "modified": "2026-01-07T00:00:00.000Z"}]
        )
        assert poll(now="2026-01-10T12:00:00Z").changed == 0
        summary = poll(now="2026-01-11T12:00:00Z")
        assert (summary.errors, summary.changed) == ([], 1)
        assert poll(now="2026-01-13T12:00:00Z").changed == 0


@pytest.mark.servers
def test_filters_and_what_may_not_be_read(pull: Pull, server: TaxiiServer) -> None:
    match = {"id": [OLD[3]["id"], OLD[5]["id"]], "version": ["all"]}
    assert pull(server.url, kind=Taxii20, auth=basic(server), match=match).entries == 2
    with pytest.raises(ConfigError, match="'Secret' may not be read"):
        pull(server.url, kind=Taxii20, auth=basic(server), collections=["Secret"])


@pytest.mark.servers
def test_manifest_and_single_objects(server: TaxiiServer) -> None:
    source = Taxii20(server.url, auth=basic(server), page_size=6)
    (collection,) = source.collections()
    rows = [row for page in source.manifest(collection) for row in page]
    assert {id_ for id_, _ in rows} >= set(ids(OLD[:20]))
    assert all(version is not None for _, version in rows)
    (page,) = source.by_id(collection, [OLD[1]["id"], indicator(98)["id"]])
    assert [entry.id for entry in page.entries] == [OLD[1]["id"]]
    source.close()


# Odd answers

Answers = Callable[[int, str], tuple[int, dict[str, str], Stix]]


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """A collection whose answer depends on the start of the range that is asked for, and on the
    path.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = int(self.headers.get("Range", "items=0-0").removeprefix("items=").split("-")[0])
            if self.path.startswith("/api/collections/c/objects/"):
                assert self.headers["Accept"] == STIX_TYPE
                status, headers, body = answers(start, self.path)
            elif self.path == "/api/collections/c/":
                status, headers, body = 200, {}, {"id": "c", "title": "C", "can_read": True}
            else:
                status, headers, body = 404, {}, {}
            text = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/collections/c/"
    finally:
        server.shutdown()
        server.server_close()


def of(*objects: Stix) -> Stix:
    return {"type": "bundle", "id": "bundle--1", "spec_version": "2.0", "objects": list(objects)}


def test_an_answer_without_content_range_is_everything(pull: Pull) -> None:
    with answering(lambda _start, _path: (200, {}, of(*OLD[:5]))) as url:
        assert pull(url, kind=Taxii20, page_size=2).entries == 5


def test_a_total_that_is_not_known_and_an_end_that_is_416(pull: Pull) -> None:
    def answer(start: int, _path: str) -> tuple[int, dict[str, str], Stix]:
        if start >= 4:
            return 416, {"Content-Range": "items */4"}, {}
        return 206, {"Content-Range": f"items {start}-{start + 1}/*"}, of(*OLD[start : start + 2])

    with answering(answer) as url:
        assert (pull(url, kind=Taxii20, page_size=2).errors, pull.ids) == ([], sorted(ids(OLD[:4])))


@pytest.mark.parametrize("said", ["items 0-1/9", "items 5-3/9", "items 0--1/9"])
def test_a_range_that_does_not_advance_is_an_error(pull: Pull, said: str) -> None:
    with answering(lambda _start, _path: (206, {"Content-Range": said}, of(*OLD[:2]))) as url:
        (error,) = pull(url, kind=Taxii20, page_size=2).errors
        assert said in error


def test_empty_ranges_without_end_are_an_error(pull: Pull) -> None:
    def answer(start: int, _path: str) -> tuple[int, dict[str, str], Stix]:
        return 206, {"Content-Range": f"items {start}-{start + 1}/*"}, of()

    with answering(answer) as url:
        (error,) = pull(url, kind=Taxii20, page_size=2).errors
        assert "empty ranges without end" in error


def test_a_cut_between_two_ranges_leaves_the_watermark(
    pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing promises an order, so what a later range would have brought may be older."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    broken = True

    def answer(start: int, _path: str) -> tuple[int, dict[str, str], Stix]:
        stamp = "2026-01-02T00:00:00.000Z" if start == 0 else "2026-01-01T00:00:00.000Z"
        headers = {
            "Content-Range": f"items {start}-{start + 1}/4",
            "X-TAXII-Date-Added-Last": stamp,
        }
        return (500, {}, {}) if broken and start else (206, headers, of(*OLD[start : start + 2]))

    with answering(answer) as url:
        assert "500" in pull(url, kind=Taxii20, page_size=2).errors[0]
        assert (pull.ids, pull.watermarks) == (sorted(ids(OLD[:2])), [None])
        broken = False
        assert pull(url, kind=Taxii20, page_size=2).errors == []
        assert (pull.ids, pull.watermarks) == (
            sorted(ids(OLD[:4])),
            ["2026-01-02T00:00:00.000000Z"],
        )
