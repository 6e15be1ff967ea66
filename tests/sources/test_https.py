"""A document at a URL: asked for when it has changed, in every shape, and said as what it is."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.document import DocumentServer
from servers.reading import ids, indicator

from stixbridge import times
from stixbridge.errors import ServerError
from stixbridge.http import Auth
from stixbridge.pipeline.pull import Pulled, Puller, PullPolicy
from stixbridge.sources.https import Https, HttpsSettings
from stixbridge.store import Store

pytestmark = pytest.mark.usefixtures("waits")
ALL = [indicator(number) for number in range(25)]
NOW = times.microseconds("2026-01-10T00:00:00Z") or 0
DELETE = PullPolicy(
    compare_every=HttpsSettings(url="https://a.example/", vanished="delete").compare_interval()
)


@pytest.fixture
def server() -> Iterator[DocumentServer]:
    running = DocumentServer()
    running.objects = {item["id"]: item for item in ALL}
    yield running
    running.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "s.db")
    yield made
    made.close()


def pull(
    store: Store,
    server: DocumentServer,
    policy: PullPolicy | None = None,
    *,
    full: bool = False,
    **settings: Any,
) -> Pulled:
    puller = Puller(Https(server.url, name="a", **settings), store, policy)
    try:
        return puller.pull(NOW, full=full)
    finally:
        puller.source.close()


def vanished(store: Store) -> int:
    sql = "SELECT count(*) AS n FROM objects WHERE vanished IS NOT NULL"
    return int(store.database.rows(sql)[0]["n"])


@pytest.mark.parametrize("etag", [True, False])
def test_a_document_is_read_when_it_has_changed(
    store: Store, server: DocumentServer, etag: bool
) -> None:
    server.etag = etag
    assert pull(store, server).changed == 25
    assert (pull(store, server).changed, pull(store, server).pages) == (0, 0)
    assert (server.requests[1].get("If-None-Match") is not None) == etag
    server.objects[ALL[0]["id"]] = {**ALL[0], "modified": "2026-01-09T00:00:00.000Z"}
    assert pull(store, server).changed == 1
    assert pull(store, server, full=True).entries == 25


def shapes() -> dict[str, bytes]:
    bundle = json.dumps({"type": "bundle", "objects": ALL}).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.json", json.dumps(ALL[:10]))
        archive.writestr("folder/two.json.gz", gzip.compress(json.dumps(ALL[10:]).encode()))
        archive.writestr("README.txt", "not STIX")
    return {
        "list": json.dumps(ALL).encode(),
        "lines": "\n".join(map(json.dumps, ALL)).encode(),
        "mark": b"\xef\xbb\xbf" + bundle,
        "gzip": gzip.compress(bundle),
        "zip": packed.getvalue(),
    }


@pytest.mark.parametrize("shape", list(shapes()))
def test_every_shape(store: Store, server: DocumentServer, shape: str) -> None:
    server.body = shapes()[shape]
    assert pull(store, server).changed == 25


def test_what_a_document_no_longer_has_is_gone(store: Store, server: DocumentServer) -> None:
    pull(store, server, DELETE)
    for item in ALL[:5]:
        del server.objects[item["id"]]
    assert pull(store, server, DELETE).changed == 5
    assert vanished(store) == 5
    assert pull(store, server, DELETE).changed == 0
    server.objects |= {item["id"]: item for item in ALL[:5]}
    assert pull(store, server, DELETE).changed == 5
    assert vanished(store) == 0


def test_a_document_that_lost_more_than_half_is_doubted(
    store: Store, server: DocumentServer
) -> None:
    pull(store, server, DELETE)
    server.objects = {item["id"]: item for item in ALL[:3]}
    assert pull(store, server, DELETE).changed == 0
    assert vanished(store) == 0
    pull(store, server, DELETE, full=True)
    assert vanished(store) == 22


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "is empty"),
        (b"<html><title>Sign in</title></html>", "is a web page 'Sign in', not STIX"),
        (b'{"title": "x", "api_roots": []}', 'is a TAXII server; set type = "taxii21"'),
        (b"a,b,c\n1,2,3\n", r"is not STIX \(invalid-json\)"),
        (b"PK\x03\x04broken", "is a zip that can't be read"),
    ],
)
def test_what_is_not_stix_is_told_as_what_it_is(
    store: Store, server: DocumentServer, body: bytes, expected: str
) -> None:
    server.body = body
    with pytest.raises(ServerError, match=expected):
        raise pull(store, server).errors[0]


def test_redirects_go_to_hosts_that_are_allowed_and_without_credentials(
    store: Store, server: DocumentServer
) -> None:
    elsewhere = DocumentServer()
    elsewhere.objects = {item["id"]: item for item in ALL[:3]}
    server.redirect = elsewhere.url.replace("127.0.0.1", "localhost")
    auth = Auth(token="secret-word")
    (error,) = pull(store, server, auth=auth).errors
    assert "redirects to another host" in str(error)
    assert elsewhere.requests == []
    assert pull(store, server, auth=auth, allow_hosts=("localhost",)).changed == 3
    assert "Authorization" in server.requests[-1]
    assert "Authorization" not in elsewhere.requests[-1]
    elsewhere.close()


def test_ids_of_the_document_are_not_asked_for_one_by_one(
    store: Store, server: DocumentServer
) -> None:
    report = {**indicator(90), "type": "report", "id": "report--" + indicator(90)["id"][11:]}
    server.objects[report["id"]] = {**report, "object_refs": ids([indicator(99)])}
    assert pull(store, server).errors == []
    assert len(server.requests) == 1
