"""The source against real TAXII 2.1 servers: medallion and OpenTAXII, which differ in almost
everything.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.pull import Pull
from servers import TaxiiServer, medallion, opentaxii
from servers.reading import ADDRESS, EARLY, EVERYTHING, Reader, Stix, ids, indicator

from stixbridge.errors import ConfigError
from stixbridge.http import Auth
from stixbridge.sources.taxii.v21 import Taxii21

pytestmark = pytest.mark.servers

ALL = sorted(ids(EVERYTHING))
SPREAD = [
    (item, f"2026-01-01T{number:02}:00:00.{number:06}Z")
    for number, item in enumerate(EVERYTHING[:20])
]


def basic(server: TaxiiServer) -> Auth:
    return Auth(user=server.user, password=server.password)


def best(server: TaxiiServer) -> Auth:
    return Auth(token=server.token) if server.token else basic(server)


def last_added(server: TaxiiServer, title: str = "All") -> str:
    return str(
        Reader(server)(server.objects_url(title), limit=1000).headers["X-TAXII-Date-Added-Last"]
    )


@pytest.mark.parametrize("page_size", [4, 10, 1000])
def test_every_object_over_several_pages(
    pull: Pull, real_server: TaxiiServer, page_size: int
) -> None:
    summary = pull(
        real_server.url, auth=best(real_server), collections=["All"], page_size=page_size
    )
    assert (summary.errors, summary.changed, pull.ids) == ([], len(ALL), ALL)
    assert summary.pages >= len(ALL) / page_size
    assert summary.entries == len(ALL)


@pytest.mark.parametrize("way", [basic, best])
def test_every_way_to_authenticate(
    pull: Pull, real_server: TaxiiServer, way: Callable[[TaxiiServer], Auth]
) -> None:
    assert pull(real_server.url, auth=way(real_server)).errors == []
    assert pull.ids == ALL


def test_objects_come_as_they_were_posted(pull: Pull, real_server: TaxiiServer) -> None:
    pull(real_server.url, auth=best(real_server))
    by_id = {item["id"]: item for item in EVERYTHING}
    for id_, (obj, added) in pull.store.objects.load("acme", ALL).items():
        # OpenTAXII gives the object's type as its spec_version
        assert {**obj, "spec_version": "2.1"} == by_id[id_]
        assert added is not None


def test_the_urls_of_an_api_root_and_of_a_collection(pull: Pull, real_server: TaxiiServer) -> None:
    for url in (real_server.api_root, real_server.objects_url("All").removesuffix("objects/")):
        assert pull(url, auth=best(real_server)).errors == []
        assert pull.ids == ALL


def test_a_collection_that_may_not_be_read(pull: Pull, real_server: TaxiiServer) -> None:
    with pytest.raises(ConfigError, match="'Secret' may not be read with these credentials"):
        pull(real_server.url, auth=best(real_server), collections=["Secret"])
    with pytest.raises(ConfigError, match=r"no collection 'None'.*there are: All, Secret"):
        pull(real_server.url, auth=best(real_server), collections=["None"])


def wrong(server: TaxiiServer) -> list[Auth | None]:
    found = [Auth(user=server.user, password="wr0ng-s3cret"), None]
    return found if server.token is None else [*found, Auth(token="wr0ng-s3cret")]


def test_wrong_credentials_are_a_clear_error(pull: Pull, real_server: TaxiiServer) -> None:
    for auth in wrong(real_server):
        summary = pull(real_server.url, auth=auth)
        (error,) = summary.errors
        assert summary.status == 3
        reason = "the credentials were not accepted" if auth is not None else "wants credentials"
        assert f"{real_server.url}: " in error
        assert reason in error
        assert "(401)" in error
        assert "wr0ng-s3cret" not in error
        assert error.isprintable()
    assert pull.ids == []


@pytest.mark.parametrize("since", ["30d", "2025-06-01", "2025-06-01T00:00:00+02:00"])
def test_since_is_a_time_that_both_take(pull: Pull, real_server: TaxiiServer, since: str) -> None:
    summary = pull(real_server.url, auth=best(real_server), since=since, page_size=5)
    assert summary.errors == []
    if since != "30d":  # the times of medallion's objects are ours, not today
        assert pull.ids == ALL


def growing(kind: str, home: Path, objects: list[Stix], **settings: Any) -> TaxiiServer:
    if kind == "medallion":
        return medallion(
            {"Later": [(item, EARLY) for item in objects]}, page_size=5, dir=home, **settings
        )
    return opentaxii({"Later": objects}, dir=home)


@pytest.mark.parametrize("kind", ["medallion", "opentaxii"])
def test_later_polls_bring_what_is_new_and_know_what_they_had(
    pull: Pull, home: Path, kind: str
) -> None:
    first = [indicator(number) for number in range(12)]
    with growing(kind, home, first) as server:
        settings: dict[str, Any] = {"auth": best(server), "page_size": 5}
        assert pull(server.url, **settings).changed == 12
        mark = last_added(server, "Later")
        assert pull.watermarks == [mark]

        again = pull(server.url, **settings)
        assert (again.errors, again.changed, again.entries) == ([], 0, 12), (
            "the overlap reads the last minutes again"
        )
        assert pull.watermarks == [mark]

        new = [
            *(indicator(number) for number in range(20, 27)),
            ADDRESS,
            indicator(3, "2026-03-01T00:00:00.000Z"),
        ]
        assert server.add("Later", new)["success_count"] == 9
        assert pull(server.url, **settings).changed == 9
        assert pull.ids == sorted({*ids(first), *ids(new)})
        assert pull.store.objects.load("acme", [indicator(3)["id"]])[indicator(3)["id"]][0][
            "modified"
        ].startswith("2026-03")

        narrow = pull(server.url, **settings, overlap="0s")
        assert (narrow.errors, narrow.changed) == ([], 0)
        assert narrow.entries < 21, "without an overlap only the last time is read again"


@pytest.mark.parametrize("spread", [False, True], ids=["one time", "hours apart"])
def test_a_next_that_died_loses_nothing(pull: Pull, home: Path, spread: bool) -> None:
    content = SPREAD if spread else [(item, EARLY) for item, _ in SPREAD]
    with medallion({"All": content}, page_size=5, session_timeout=2, dir=home) as server:
        source = Taxii21(server.url, auth=best(server))
        (collection,) = source.collections()
        found: list[str] = []
        pages = 0
        for page in source.pages(collection, None):
            found += [entry.id for entry in page.entries if entry.id]
            pages += 1
            if pages == 2:
                wait_until_dead(server)
        source.close()
        assert set(found) == {item["id"] for item, _ in SPREAD}
        assert pages > 4, "the `next` did not die"


def wait_until_dead(server: TaxiiServer) -> None:
    """Wait until a `next` that is younger than any given so far has died; asking uses one up, so
    there are many.
    """
    read, url = Reader(server), server.objects_url("All")
    tokens = [read(url, limit=1).json()["next"] for _ in range(100)]
    for token in tokens:
        if read(url, limit=1, next=token).status_code != 200:
            return
        time.sleep(0.2)
    raise AssertionError("`next` is still good")
