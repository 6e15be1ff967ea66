"""The TAXII servers that other tests rely on: the real ones start, serve and page, and the double
is like them.
"""

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import taxii2client.v20
import taxii2client.v21
from doubles.taxii import MEDIA_TYPE, TaxiiDouble, for_objects
from servers import TaxiiServer, medallion, medallion20, opentaxii
from servers.reading import (
    ADDRESS,
    EARLY,
    EVERYTHING,
    INDICATORS,
    LATE,
    TLP_RED,
    Reader,
    Stix,
    ids,
    indicator,
)
from servers.taxii import TAXII20

# The real servers


@pytest.mark.servers
def test_the_servers_give_all_objects_page_by_page(real_server: TaxiiServer) -> None:
    pages = list(Reader(real_server).pages(real_server.objects_url("All"), limit=10))
    assert [len(page["objects"]) for page in pages] == [10, 10, 7]
    assert sorted(ids([item for page in pages for item in page["objects"]])) == sorted(
        ids(EVERYTHING)
    )


@pytest.mark.servers
def test_what_comes_out_is_what_went_in(real_server: TaxiiServer) -> None:
    got = [
        item
        for page in Reader(real_server).pages(real_server.objects_url("All"), limit=10)
        for item in page["objects"]
    ]
    by_id = {item["id"]: item for item in got}
    # OpenTAXII gives the object's type as its spec_version; a client has to live with it.
    if real_server.token:
        assert by_id[TLP_RED["id"]]["spec_version"] == "marking-definition"
        for item in by_id.values():
            item["spec_version"] = "2.1"
    assert by_id == {item["id"]: item for item in EVERYTHING}


@pytest.mark.servers
def test_taxii2_client_reads_all_objects(real_server: TaxiiServer) -> None:
    client = taxii2client.v21.Server(
        real_server.url, user=real_server.user, password=real_server.password
    )
    collections = {collection.title: collection for collection in client.default.collections}
    assert set(collections) == {"All", "Secret"}
    pages = taxii2client.v21.as_pages(collections["All"].get_objects, per_request=10)
    assert sorted(ids([item for page in pages for item in page["objects"]])) == sorted(
        ids(EVERYTHING)
    )


@pytest.mark.servers
def test_the_boundary_of_added_after_is_exclusive(real_server: TaxiiServer) -> None:
    read = Reader(real_server)
    last = read(real_server.objects_url("All")).headers["X-TAXII-Date-Added-Last"]
    if real_server.token is None:
        assert last == EARLY
    assert read(real_server.objects_url("All"), added_after=EARLY.replace("2026", "2025")).json()[
        "objects"
    ]
    nothing = read(real_server.objects_url("All"), added_after="2999-01-01T00:00:00.000000Z")
    assert nothing.json() == {}
    assert "X-TAXII-Date-Added-Last" not in nothing.headers


@pytest.mark.servers
def test_a_collection_that_may_not_be_read(med: TaxiiServer, otx: TaxiiServer) -> None:
    assert Reader(med)(med.objects_url("Secret")).status_code == 403
    assert Reader(otx)(otx.objects_url("Secret")).status_code == 404
    assert httpx.get(med.url, headers={"Accept": MEDIA_TYPE}, trust_env=False).status_code == 401
    assert httpx.get(otx.url, headers={"Accept": MEDIA_TYPE}, trust_env=False).status_code == 401


@pytest.mark.servers
def test_objects_added_later_are_read_by_watermark(home: Path) -> None:
    with (
        medallion({"Later": [(indicator(1), EARLY)]}, dir=home) as med,
        opentaxii({"Later": [indicator(1)]}, dir=home) as otx,
    ):
        for server, duplicates_failed in ((med, 1), (otx, 0)):
            mark = Reader(server)(server.objects_url("Later")).headers["X-TAXII-Date-Added-Last"]
            assert server.add("Later", [indicator(2), ADDRESS])["success_count"] == 2
            fresh = Reader(server)(server.objects_url("Later"), added_after=mark).json()["objects"]
            assert sorted(ids(fresh)) == sorted([indicator(2)["id"], ADDRESS["id"]])
            assert server.add("Later", [indicator(2)])["failure_count"] == duplicates_failed
            assert server.add("Later", [ADDRESS])["failure_count"] == duplicates_failed
            versions = Reader(server)(
                server.objects_url("Later"), **{"match[version]": "all"}
            ).json()["objects"]
            assert len(versions) == 3


@pytest.mark.servers
def test_the_same_next_again_loses_a_page_on_medallion_only(
    med: TaxiiServer, otx: TaxiiServer
) -> None:
    for server, rest in ((med, 7), (otx, 10)):
        read = Reader(server)
        token = read(server.objects_url("All"), limit=10).json()["next"]
        first = read(server.objects_url("All"), limit=10, next=token).json()["objects"]
        again = read(server.objects_url("All"), limit=10, next=token).json()["objects"]
        assert len(first) == 10
        assert len(again) == rest
        assert (ids(first) == ids(again)) is (server is otx)


@pytest.mark.servers
def test_next_expires_on_medallion(home: Path) -> None:
    with medallion(
        {"All": [(item, EARLY) for item in INDICATORS]}, session_timeout=0, dir=home
    ) as server:
        read = Reader(server)
        token = read(server.objects_url("All"), limit=1).json()["next"]
        deadline = time.monotonic() + 15
        while (answer := read(server.objects_url("All"), limit=1, next=token)).status_code == 200:
            assert time.monotonic() < deadline, "`next` is still good"
            token = (
                answer.json().get("next") or read(server.objects_url("All"), limit=1).json()["next"]
            )
            time.sleep(0.1)
        assert answer.status_code == 400
        assert "'next' not valid" in answer.text


@pytest.mark.servers
def test_opentaxii_pages_its_manifest_by_header(otx: TaxiiServer) -> None:
    page = Reader(otx)(otx.objects_url("All").replace("/objects/", "/manifest/"), limit=10).json()
    assert page["more"] is True
    assert "next" not in page


@pytest.mark.servers
def test_a_timestamp_without_fraction_divides_the_servers(
    med: TaxiiServer, otx: TaxiiServer
) -> None:
    statuses = [
        Reader(server)(server.objects_url("All"), added_after="2026-01-01T00:00:00Z").status_code
        for server in (med, otx)
    ]
    assert statuses == [200, 400]


@pytest.mark.servers
def test_taxii_20(home: Path) -> None:
    objects = [
        {key: value for key, value in item.items() if key != "spec_version"} for item in INDICATORS
    ]
    content = {"Old": [(item, EARLY) for item in objects], "Secret": []}
    with medallion20(content, page_size=10, readable=["Old"], dir=home) as server:
        assert server.add("Old", [{**indicator(99), "spec_version": "2.0"}])["success_count"] == 1
        everything = sorted([*ids(objects), indicator(99)["id"]])

        client = taxii2client.v20.Server(server.url, user=server.user, password=server.password)
        collection = next(item for item in client.default.collections if item.title == "Old")
        pages = [
            page["objects"]
            for page in taxii2client.v20.as_pages(collection.get_objects, per_request=5)
        ]
        # The server takes the end of a range as exclusive, the client steps by what it asked for:
        # it loses one object a page, and so is no witness for TAXII 2.0. What follows steps by what
        # came.
        assert [len(page) for page in pages] == [4, 3, 3, 3, 3, 3, 2]

        found: list[str] = []
        while len(found) < len(everything):
            page = Reader(
                server, Accept=TAXII20.stix, Range=f"items={len(found)}-{len(found) + 9}"
            )(server.objects_url("Old"))
            assert page.status_code == 206
            found += ids(page.json()["objects"])
        assert sorted(found) == everything
        beyond = Reader(server, Accept=TAXII20.stix, Range="items=0-99")(server.objects_url("Old"))
        assert (
            beyond.headers["Content-Range"] == f"items 0-8/{len(everything)}"
        )  # the page size, less one as above
        assert Reader(server, Accept=TAXII20.stix)(server.objects_url("Secret")).status_code == 403


# The double


@pytest.fixture
def double() -> Iterator[TaxiiDouble]:
    with TaxiiDouble(page_size=10) as server:
        server.add_collection("All")
        server.add("All", EVERYTHING)
        yield server


def objects_url(server: TaxiiDouble, title: str = "All") -> str:
    listed = Reader()(f"{server.api_root}collections/").json()["collections"]
    id_ = next(item["id"] for item in listed if item["title"] == title)
    return f"{server.api_root}collections/{id_}/objects/"


def test_the_double_pages_as_the_specification_has_it(double: TaxiiDouble) -> None:
    read, url = Reader(), objects_url(double)
    pages = list(read.pages(url, limit=10))
    assert ids([item for page in pages for item in page["objects"]]) == ids(EVERYTHING)
    assert "next" not in pages[-1]
    token = pages[0]["next"]
    again = [read(url, limit=10, next=token).json()["objects"] for _ in range(2)]
    assert again == [pages[1]["objects"]] * 2
    assert len(read(url, limit=500).json()["objects"]) == 10
    entries = [
        entry
        for page in read.pages(url.replace("/objects/", "/manifest/"), limit=10)
        for entry in page["objects"]
    ]
    assert {entry["date_added"] for entry in entries} == {EARLY}
    assert read(url, limit=10).headers["X-TAXII-Date-Added-Last"] == EARLY
    assert read(url, added_after=EARLY).json() == {}
    assert double.requests[-1].query == {"added_after": EARLY}
    assert double.requests[-1].headers["accept"] == MEDIA_TYPE


def test_taxii2_client_reads_the_double() -> None:
    with TaxiiDouble(
        page_size=10, auth=("me", "secret"), relative_roots=True, api_roots=2
    ) as double:
        double.add_collection("All", root=2)
        double.add("All", EVERYTHING)
        client = taxii2client.v21.Server(double.url, user="me", password="secret")
        assert [len(root.collections) for root in client.api_roots] == [0, 1]
        pages = taxii2client.v21.as_pages(
            client.api_roots[1].collections[0].get_objects, per_request=10
        )
        assert ids([item for page in pages for item in page["objects"]]) == ids(EVERYTHING)


def test_the_double_serves_the_last_version_and_filters(double: TaxiiDouble) -> None:
    read, url = Reader(), objects_url(double)
    double.add(
        "All",
        [indicator(1, "2026-03-01T00:00:00Z"), indicator(1, "2026-03-01T00:00:00.500Z")],
        LATE,
    )
    assert [item["modified"] for item in read(url, added_after=EARLY).json()["objects"]] == [
        "2026-03-01T00:00:00.500Z"
    ]
    one = indicator(1)["id"]
    for wanted, count in (("all", 3), ("first,last", 2), ("first", 1), ("2026-03-01T00:00:00Z", 1)):
        assert (
            len(read(url, **{"match[id]": one, "match[version]": wanted}).json()["objects"])
            == count
        )
    assert ids(read(url, **{"match[type]": "ipv4-addr,marking-definition"}).json()["objects"]) == [
        TLP_RED["id"],
        ADDRESS["id"],
    ]
    double.remove("All", one)
    assert read(url, **{"match[id]": one}).json() == {}


@pytest.mark.parametrize(
    ("parameters", "headers", "status"),
    [
        ({"added_after": "2026-01-01T00:00:00Z"}, {}, 400),
        ({"added_after": "2026-01-01T00:00:00.000000+00:00"}, {}, 400),
        ({"added_after": "2026-13-01T00:00:00.000000Z"}, {}, 400),
        ({"limit": "0"}, {}, 400),
        ({"match[type]": "a, b"}, {}, 400),
        ({"since": "5d"}, {}, 400),
        ({"next": "next-1"}, {}, 400),
        ({"next": "next-1", "limit": "9"}, {}, 400),
        ({"next": "next-1", "limit": "10", "match[type]": "indicator"}, {}, 400),
        ({"next": "made-up", "limit": "10"}, {}, 400),
        ({}, {"Accept": "application/taxii+json; version=2.1"}, 406),
        ({}, {"Accept": "*/*"}, 406),
        ({}, {"Authorization": "Bearer leaked"}, 400),
    ],
)
def test_the_double_fails_a_client_that_is_wrong(
    parameters: Stix, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(AssertionError, match="broke TAXII"), TaxiiDouble(page_size=10) as double:
        double.add_collection("All")
        double.add("All", EVERYTHING)
        url = objects_url(double)
        assert Reader()(url, limit=10).json()["next"] == "next-1"
        double.check()
        assert Reader(**headers)(url, **parameters).status_code == status


def test_next_needs_a_limit_and_no_parameter_comes_twice(double: TaxiiDouble) -> None:
    url = objects_url(double)
    token = Reader()(url).json()["next"]
    assert "without `limit`" in Reader()(url, next=token).text
    assert Reader()(f"{url}?match[type]=a&match[type]=b").status_code == 400
    assert len(double.violations) == 2
    double.violations.clear()


def test_a_missing_slash_and_a_post_are_violations(double: TaxiiDouble) -> None:
    assert Reader()(objects_url(double)[:-1]).status_code == 404
    assert (
        httpx.post(
            double.url, headers={"Accept": MEDIA_TYPE}, content=b"{}", trust_env=False
        ).status_code
        == 405
    )
    assert len(double.violations) == 2
    double.violations.clear()


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ({"auth": ("me", "secret")}, {"Authorization": "Basic bWU6c2VjcmV0"}),
        ({"bearer": "token"}, {"Authorization": "Bearer token"}),
        ({"header": ("X-Api-Key", "key")}, {"x-api-key": "key"}),
    ],
)
def test_the_double_authenticates(options: Stix, good: dict[str, str]) -> None:
    with TaxiiDouble(**options) as double:
        refused = Reader()(double.url)
        assert (refused.status_code, "WWW-Authenticate" in refused.headers) == (401, True)
        assert Reader(**good)(double.url).json()["api_roots"] == [double.api_root]


def test_next_used_twice_loses_a_page_as_on_medallion(double: TaxiiDouble) -> None:
    double.next_consumed_once = True
    read, url = Reader(), objects_url(double)
    token = read(url, limit=10).json()["next"]
    double.cut_next(bytes=20)
    with pytest.raises(httpx.RemoteProtocolError, match="received 20 bytes"):
        read(url, limit=10, next=token)
    last = read(url, limit=10, next=token).json()
    assert ids(last["objects"]) == ids(EVERYTHING[20:])
    assert read(url, limit=10, next=token).status_code == 400


def test_next_dies(double: TaxiiDouble) -> None:
    double.next_dies_after = 2
    read, url = Reader(), objects_url(double)
    first = read(url, limit=10).json()
    second = read(url, limit=10, next=first["next"]).json()
    assert read(url, limit=10, next=second["next"]).status_code == 400
    double.next_dies_after = None
    double.forget_next()
    assert read(url, limit=10, next=first["next"]).status_code == 400


def test_more_without_next(double: TaxiiDouble) -> None:
    double.more_without_next = True
    double.add("All", [indicator(50)], LATE)
    read, url = Reader(), objects_url(double)
    first = read(url, limit=10)
    assert (first.json()["more"], "next" in first.json()) == (True, False)
    following = read(url, limit=10, added_after=first.headers["X-TAXII-Date-Added-Last"]).json()
    assert (ids(following["objects"]), following["more"]) == ([indicator(50)["id"]], False)


def test_a_client_that_goes_round_is_stopped(double: TaxiiDouble) -> None:
    double.not_advancing = True
    read, url = Reader(), objects_url(double)
    seen: dict[str, str] = {}
    for _ in range(100):
        answer = read(url, limit=10, **seen)
        if answer.status_code != 200:
            break
        assert answer.json()["more"] is True
        seen = {"added_after": answer.headers["X-TAXII-Date-Added-Last"]}
    with pytest.raises(AssertionError, match="does not advance"):
        double.check()
    double.violations.clear()


def test_empty_pages_and_odd_ends(double: TaxiiDouble) -> None:
    read, url = Reader(), objects_url(double)
    double.empty_page_with_more = 2
    assert [len(page.get("objects", [])) for page in read.pages(url, limit=10)] == [10, 0, 0, 10, 7]
    double.empty_page_with_more = 0
    double.more_on_last_page = True
    assert [len(page.get("objects", [])) for page in read.pages(url, limit=10)] == [10, 10, 7, 0]
    double.more_on_last_page = False
    double.next_with_more_false = True
    last = list(read.pages(url, limit=10))[-1]
    assert last["more"] is False
    assert read(url, limit=10, next=last["next"]).json()["more"] is False
    double.no_limit_max = True
    assert len(read(url).json()["objects"]) == len(EVERYTHING)
    assert len(read(url, limit=26).json()["objects"]) == 26


def test_odd_bodies_and_headers(double: TaxiiDouble) -> None:
    read, url = Reader(), objects_url(double)
    last = "X-TAXII-Date-Added-Last"
    double.null_objects = True
    assert read(url, added_after=LATE).json() == {"objects": None}
    double.omit_objects = False
    assert read(url, added_after=LATE).json() == {"objects": []}
    double.bundle_instead_of_envelope = True
    assert read(url).json().keys() == {"type", "id", "objects"}
    double.content_type = "application/json"
    assert read(url).headers["Content-Type"] == "application/json"
    double.undefined_headers = "empty"
    assert read(url, added_after=LATE).headers[last] == "undefined"
    double.date_header_format = "%a %b %d %Y"
    assert read(url).headers[last] == "Thu Jan 01 2026"
    double.undefined_headers = True
    assert read(url).headers[last] == "undefined"
    double.undefined_headers = False
    double.no_date_headers = True
    assert last not in read(url).headers


def test_faults_hit_the_requests_they_are_meant_for(double: TaxiiDouble) -> None:
    read, url = Reader(), objects_url(double)
    double.fail_next(429, {"title": "slow down"}, {"Retry-After": "3"}, times=2, when=for_objects)
    assert read(double.url).status_code == 200
    for _ in range(2):
        answer = read(url)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    double.fail_next(200, "<html>please log in</html>")
    assert read(url).headers["Content-Type"].startswith("text/html")
    double.redirect_next("http://192.0.2.1/taxii2/")
    assert read(url).headers["Location"] == "http://192.0.2.1/taxii2/"
    double.drop_next()
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        read(url)
    assert read(url).status_code == 200


def test_a_hanging_server_can_be_released(double: TaxiiDouble) -> None:
    url = objects_url(double)
    release = double.hang_next()
    before = time.monotonic()
    threading.Timer(0.2, release.set).start()
    assert Reader()(url).status_code == 200
    assert time.monotonic() - before >= 0.2
    double.hang_next(seconds=0.1)
    with pytest.raises(httpx.RemoteProtocolError):
        Reader()(url)


def test_a_huge_page_is_valid_and_stops_with_the_client(double: TaxiiDouble) -> None:
    url = objects_url(double)
    double.huge_page(300_000)
    whole = Reader()(url)
    assert len(whole.content) >= 300_000
    assert whole.json()["more"] is False
    double.huge_page(1 << 34)
    with httpx.stream("GET", url, headers={"Accept": MEDIA_TYPE}, trust_env=False) as answer:
        for _ in zip(range(3), answer.iter_raw(), strict=False):
            pass
    deadline = time.monotonic() + 10
    stood = -1
    while stood != double.huge_sent:
        assert time.monotonic() < deadline
        stood = double.huge_sent
        time.sleep(0.2)
    assert stood < 1 << 30


def test_objects_that_are_stamped_before_they_can_be_seen(double: TaxiiDouble) -> None:
    read, url = Reader(), objects_url(double)
    double.visible_later("All", [indicator(60)])
    mark = double.add("All", [indicator(61)])
    assert read(url, added_after=EARLY).headers["X-TAXII-Date-Added-Last"] == mark
    double.reveal()
    double.reveal()
    assert read(url, added_after=mark).json() == {}
    late = read(url, added_after=EARLY, **{"match[version]": "all"}).json()["objects"]
    assert ids(late) == [indicator(60)["id"], indicator(61)["id"]]
    double.clock_step(-3600)
    assert double.add("All", [indicator(62)]) < mark
    assert read(url, added_after=EARLY).headers["Date"] == "Wed, 31 Dec 2025 23:00:04 GMT"


def test_unreadable_collections_and_roots_elsewhere(double: TaxiiDouble) -> None:
    double.add_collection("Secret", id="not-a-uuid", can_read=False)
    url = objects_url(double, "Secret")
    assert "/not-a-uuid/" in url
    assert Reader()(url).status_code == 403
    double.denied_status = 404
    assert Reader()(url).status_code == 404
    double.extra_roots = ["http://192.0.2.1/api/"]
    assert Reader()(double.url).json()["api_roots"] == [double.api_root, "http://192.0.2.1/api/"]


def test_the_double_speaks_tls_and_wants_a_client_certificate(tmp_path: Path) -> None:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("127.0.0.1", "client"):
        issued = authority.issue_cert(name)
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    pem = tmp_path / "127.0.0.1.pem"
    with TaxiiDouble(tls=(pem, pem), client_ca=tmp_path / "ca.pem") as double:
        assert double.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with pytest.raises(httpx.TransportError):
            httpx.get(double.url, headers={"Accept": MEDIA_TYPE}, verify=context, trust_env=False)
        assert double.requests == []
        context.load_cert_chain(tmp_path / "client.pem")
        assert httpx.get(
            double.url, headers={"Accept": MEDIA_TYPE}, verify=context, trust_env=False
        ).is_success


def test_nobody_answers_after_the_end() -> None:
    with httpx.Client(trust_env=False, headers={"Accept": MEDIA_TYPE}) as client:
        with TaxiiDouble() as double:
            assert client.get(double.url).status_code == 200
            hanging = double.hang_next(when=for_objects)
        assert hanging.is_set()
        with pytest.raises(httpx.TransportError):
            client.get(double.url)
