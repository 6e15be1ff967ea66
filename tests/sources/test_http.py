"""HTTP as a source sees it: credentials stay at their host and out of every text, waits and limits
are kept.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from doubles.taxii import TaxiiDouble, for_objects
from helpers.pull import Pull
from servers.reading import EVERYTHING, ids, indicator

from stixbridge.cli import main
from stixbridge.config.reader import parse
from stixbridge.errors import ConfigError, StixbridgeError
from stixbridge.http import Auth, Http, asked_wait
from stixbridge.sources.taxii.v21 import MEDIA_TYPE, Taxii21

pytestmark = pytest.mark.usefixtures("waits")

SECRET = "s3cr3t-Pa55"
WAYS: list[tuple[dict[str, Any], Auth]] = [
    ({"auth": ("reader", SECRET)}, Auth(user="reader", password=SECRET)),
    ({"bearer": SECRET}, Auth(token=SECRET)),
    ({"header": ("Authorization", f"Token {SECRET}")}, Auth(token=SECRET, scheme="Token")),
    ({"header": ("X-Api-Key", SECRET)}, Auth(header="X-Api-Key", value=SECRET)),
]
EACH_WAY = pytest.mark.parametrize(
    ("options", "auth"), WAYS, ids=["basic", "bearer", "token", "header"]
)


def fill(server: TaxiiDouble, title: str = "All", root: int = 1) -> None:
    server.add_collection(title, root=root)
    server.add(title, EVERYTHING)


def secrets_sent(server: TaxiiDouble) -> list[str]:
    """The requests that carry the secret, plain or in Basic, or a cookie."""
    found = []
    for request in server.requests:
        text = str(request.headers) + request.path + str(request.query)
        if SECRET in text or "Authorization" in request.headers or "Cookie" in request.headers:
            found.append(text)
    return found


# Credentials


@EACH_WAY
def test_every_way_to_authenticate(pull: Pull, options: dict[str, Any], auth: Auth) -> None:
    with TaxiiDouble(page_size=10, **options) as server:
        fill(server)
        assert pull(server.url, auth=auth).errors == []
        assert pull.ids == sorted(ids(EVERYTHING))
        assert len(secrets_sent(server)) == len(server.requests)


@EACH_WAY
def test_credentials_never_go_to_an_api_root_elsewhere(
    pull: Pull, options: dict[str, Any], auth: Auth
) -> None:
    with TaxiiDouble(**options) as server, TaxiiDouble() as other:
        fill(server)
        other.add_collection("Open")
        other.add("Open", [indicator(90)])
        server.extra_roots = [other.api_root]
        assert pull(server.url, auth=auth).errors == []
        assert indicator(90)["id"] in pull.ids
        assert other.requests
        assert secrets_sent(other) == []


@EACH_WAY
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_never_follow_a_redirect_elsewhere(
    pull: Pull, options: dict[str, Any], auth: Auth, status: int
) -> None:
    for when in (lambda _: True, for_objects):
        with TaxiiDouble(**options) as server, TaxiiDouble() as other:
            fill(server)
            server.redirect_next(other.url, status, when=when)
            summary = pull(server.url, auth=auth)
            assert summary.status == 3
            assert f"redirects to another host (http://127.0.0.1:{other.port})" in summary.errors[0]
            assert other.requests == []


def test_cookies_stay_at_their_host_too(pull: Pull) -> None:
    """A session's cookie is as good as a password; ports of one host share cookies unless a client
    keeps them apart.
    """
    with TaxiiDouble() as server, TaxiiDouble() as other:
        fill(server)
        fill(other)
        body = {"api_roots": [server.api_root, other.api_root]}
        server.fail_next(200, body, {"Set-Cookie": f"session={SECRET}; Path=/"})
        assert pull(server.url).errors == []
        assert other.requests
        assert secrets_sent(other) == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_host_is_followed_with_credentials(pull: Pull, status: int) -> None:
    with TaxiiDouble(bearer=SECRET) as server:
        fill(server)
        server.redirect_next("/taxii2/", status)
        assert pull(server.url, auth=Auth(token=SECRET)).errors == []
        assert pull.ids == sorted(ids(EVERYTHING))
        server.redirect_next("/taxii2/", status, times=100)
        summary = pull(server.url, auth=Auth(token=SECRET))
        assert "redirects in circles" in summary.errors[0]


@pytest.mark.parametrize(
    "location", ["http://[bad", "http://127.0.0.1:99999/", "mailto:me", "file:///etc/passwd"]
)
def test_a_redirect_to_nonsense_is_a_clear_error(pull: Pull, location: str) -> None:
    with TaxiiDouble() as server:
        server.redirect_next(location, times=100)
        summary = pull(server.url)
        assert (summary.status, len(summary.errors)) == (3, 1)


# Secrets in texts


@EACH_WAY
def test_refused_credentials_are_a_clear_error_without_them(
    pull: Pull, options: dict[str, Any], auth: Auth
) -> None:
    with TaxiiDouble(auth=("reader", "another"), header=("X-Other", "x")) as server:
        (error,) = pull(server.url, auth=auth).errors
        assert "the credentials were not accepted (401)" in error
        assert SECRET not in error


@EACH_WAY
def test_what_a_server_says_of_the_credentials_is_not_repeated(
    pull: Pull, options: dict[str, Any], auth: Auth
) -> None:
    with TaxiiDouble(**options) as server:
        sent: dict[str, str] = {}

        def echo(request: Any) -> bool:
            sent.update(request.headers.items())
            return False

        server.fail_next(500, when=echo)
        pull(server.url, auth=auth)
        told = {"title": sent.get("Authorization"), "description": f"{SECRET} is wrong"}
        server.fail_next(403, told, when=lambda request: not request.path.startswith("/taxii2"))
        (error,) = pull(server.url, auth=auth).errors
        assert SECRET not in error
        assert sent.get("Authorization", SECRET).split()[-1] not in error


@pytest.mark.parametrize(
    "auth",
    [
        Auth(token=f"{SECRET}\nsecond line"),
        Auth(token=f"{SECRET}\r"),
        Auth(header="X-Api-Key", value=f"{SECRET}\x00"),
        Auth(token=f"{SECRET}\u00e4\u20ac"),
        Auth(header="X-Api-Key", value=f"{SECRET}\u20ac"),
        Auth(header="X Api Key:", value=SECRET),
        Auth(user="reader", password=f"{SECRET}\n\u20ac"),
    ],
    ids=["newline", "return", "null", "umlaut", "euro", "bad name", "basic"],
)
def test_a_secret_that_is_no_header_is_not_shown(auth: Auth) -> None:
    with TaxiiDouble(auth=("reader", f"{SECRET}\n\u20ac")) as server:
        try:
            http = Http(server.url, auth=auth, accept=MEDIA_TYPE)
            assert http.get(server.url).status == 200
        except StixbridgeError as error:
            assert SECRET not in str(error)
            assert auth.user is None


def test_nothing_shows_a_secret() -> None:
    for _, auth in WAYS:
        http = Http("https://host.example/", auth=auth)
        source = Taxii21("https://host.example/taxii2/", http=http)
        for shown in (auth, http, source):
            assert SECRET not in repr(shown)
            assert SECRET not in str(shown)


def test_credentials_in_a_url_are_refused_or_hidden() -> None:
    with pytest.raises(StixbridgeError) as caught, TaxiiDouble() as server:
        server.fail_next(404, times=100)
        url = server.url.replace("http://", f"http://reader:{SECRET}@")
        Taxii21(url, http=Http(url, accept=MEDIA_TYPE)).collections()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "host/taxii2/",
        "ftp://host/",
        "https:///x/",
        "http://[bad/",
        "https://host:99999/",
        "https://host:x/",
        "",
    ],
)
def test_what_is_no_url_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigError):
        Http(url)
    with pytest.raises(ConfigError):
        parse(
            {
                "sources": {"acme": {"type": "taxii21", "url": url}},
                "sinks": {"out": {"type": "files", "path": "out"}},
                "pipelines": {"acme": {"source": "acme", "sinks": ["out"]}},
            }
        )


# Waiting


def test_the_wait_is_read_as_a_misp_says_it(pull: Pull, waits: list[float]) -> None:
    with TaxiiDouble() as server:
        fill(server)
        server.fail_next(429, headers={"X-Rate-Limit-Reset": "7"}, times=2, when=for_objects)
        assert pull(server.url).errors == []
        assert [wait for wait in waits if wait >= 7] == [7, 7]


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_a_server_asks_for_is_kept(
    pull: Pull, waits: list[float], status: int
) -> None:
    with TaxiiDouble(page_size=10) as server:
        fill(server)
        server.fail_next(status, headers={"Retry-After": "7"}, times=2, when=for_objects)
        assert pull(server.url).errors == []
        assert waits == [7.0, 7.0]


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_is_kept_between_two_pages_too(
    pull: Pull, waits: list[float], status: int
) -> None:
    with TaxiiDouble(page_size=10) as server:
        fill(server)
        server.fail_next(
            status, headers={"Retry-After": "7"}, when=lambda request: "next" in request.query
        )
        assert pull(server.url).errors == []
        assert pull.ids == sorted(ids(EVERYTHING))
        assert waits == [7.0]


def test_a_wait_that_is_too_long_is_left_to_the_next_run(pull: Pull, waits: list[float]) -> None:
    with TaxiiDouble() as server:
        fill(server)
        server.fail_next(
            429, {"title": "slow down"}, {"Retry-After": "86400"}, times=9, when=for_objects
        )
        (error,) = pull(server.url).errors
        assert "too many requests (429); it asks to wait 86400 s" in error
        assert "slow down" in error
        assert waits == []


@pytest.mark.parametrize(
    "header", [None, "soon", "-5", "0", "Thu, 01 Jan 1970 00:00:00 GMT", "nan"]
)
def test_limits_without_a_usable_wait_are_tried_again_a_few_times(
    pull: Pull, waits: list[float], header: str | None
) -> None:
    with TaxiiDouble() as server:
        fill(server)
        server.fail_next(
            429, headers={"Retry-After": header} if header else {}, times=2, when=for_objects
        )
        assert pull(server.url).errors == []
        server.fail_next(
            429, headers={"Retry-After": header} if header else {}, times=99, when=for_objects
        )
        server.requests.clear()
        assert "too many requests (429)" in pull(server.url).errors[0]
        assert len(server.requests) < 10
        assert all(0 <= wait <= 10 for wait in waits)


def test_the_wait_is_read_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stixbridge.http.pace.time.time", lambda: 1_800_000_000.0)
    for text, wait in {
        "": None,
        "soon": None,
        "nan": None,
        "1.5": 1.5,
        "-3": 0.0,
        "1800000008": 8.0,
        "1800000008000": 8.0,
        "2027-01-15T08:00:09Z": 9.0,
        "Thu, 01 Jan 1970 00:00:00 GMT": 0.0,
    }.items():
        for name in ("retry-after", "x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset"):
            assert asked_wait({name: text}) == wait, (name, text)
    assert asked_wait({}) is None
    assert asked_wait({"retry-after": "2", "ratelimit-reset": "9"}) == 2.0
    assert (asked_wait({"retry-after": "Fri, 01 Jan 2999 00:00:00 GMT"}) or 0) > 1e9


def test_nothing_listens(pull: Pull) -> None:
    with TaxiiDouble() as server:
        url, port = server.url, server.port
    (error,) = pull(url).errors
    assert f"127.0.0.1:{port}" in error
    assert "can't connect" in error


def test_a_server_that_says_nothing(pull: Pull) -> None:
    with TaxiiDouble() as server:
        server.hang_next(times=99)
        (error,) = pull(server.url, http=Http(server.url, accept=MEDIA_TYPE, timeout=0.1)).errors
        assert f"http://127.0.0.1:{server.port}: no answer in time" in error


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "not allowed"),
        (404, "not found, or not allowed"),
        (406, "version of TAXII"),
        (418, "418"),
    ],
)
def test_a_refusal_is_said_once_and_in_words(pull: Pull, status: int, said: str) -> None:
    with TaxiiDouble() as server:
        fill(server)
        server.fail_next(status, {"title": "a\x1b[31m\nb"}, times=99, when=for_objects)
        (error,) = pull(server.url).errors
        assert said in error
        assert error.isprintable()
        assert len(server.requests) == 3


# Limits


def test_an_answer_over_the_byte_cap_is_left(pull: Pull) -> None:
    with TaxiiDouble() as server:
        fill(server)
        server.huge_page(1 << 30, times=99)
        summary = pull(server.url, http=Http(server.url, accept=MEDIA_TYPE, max_bytes=100_000))
        assert "over 100,000 bytes" in summary.errors[0]
        assert (summary.status, pull.ids) == (3, [])
        assert len(server.requests) == 10  # with smaller and smaller pages
        assert server.huge_sent < 1 << 28


def test_the_byte_cap_counts_what_is_unpacked(pull: Pull) -> None:
    packed = gzip.compress(json.dumps({"objects": [], "filler": "a" * 5_000_000}).encode())
    with TaxiiDouble() as server:
        fill(server)
        server.fail_next(200, packed, {"Content-Encoding": "gzip"}, times=8, when=for_objects)
        summary = pull(server.url, http=Http(server.url, accept=MEDIA_TYPE, max_bytes=100_000))
        assert "over 100,000 bytes" in summary.errors[0]
        good = gzip.compress(json.dumps({"objects": EVERYTHING}).encode())
        server.fail_next(200, good, {"Content-Encoding": "gzip"}, when=for_objects)
        assert pull(server.url).errors == []
        assert pull.ids == sorted(ids(EVERYTHING))
        server.fail_next(
            200, packed[:500], {"Content-Encoding": "gzip"}, times=99, when=for_objects
        )
        assert pull(server.url).status == 3
        server.fail_next(
            200, b"no gzip at all", {"Content-Encoding": "gzip"}, times=99, when=for_objects
        )
        assert pull(server.url).status == 3


# Through the command


def configuration(folder: Path, url: str, more: str = "") -> Path:
    path = folder / "stixbridge.toml"
    path.write_text(
        f"""
        [store]
        path = "{folder}/stixbridge.db"
        [sources.acme]
        type = "taxii21"
        url = "{url}"
        {more}
        [sinks.out]
        type = "files"
        path = "{folder}/out"
        [pipelines.acme]
        source = "acme"
        sinks = ["out"]
        """
    )
    return path


def run(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["run", "-c", str(path), "--now", "2026-01-10T00:00:00Z"])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def test_the_command_ends_with_3_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACME_TOKEN", SECRET)
    with TaxiiDouble(bearer="another") as server:
        path = configuration(
            tmp_path, server.url, 'auth = {type = "bearer", token = {env = "ACME_TOKEN"}}'
        )
        status, shown = run(path, capsys)
        assert status == 3
        assert "the credentials were not accepted (401)" in shown
        assert SECRET not in shown
        assert "Traceback" not in shown


def test_the_command_reads_everything_and_default_tlp_marks_what_is_unmarked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TaxiiDouble(page_size=10) as server:
        fill(server)
        path = configuration(tmp_path, server.url, 'default_tlp = "amber"\nsince = "2025-12-01"')
        status, shown = run(path, capsys)
        assert (status, "27 entries in 3 pages, 27 new or newer" in shown) == (0, True)
        events = [
            json.loads(file.read_text())["Event"] for file in (tmp_path / "out").glob("*.json")
        ]
        assert {
            tag["name"]
            for event in events
            for tag in event["Tag"]
            if tag["name"].startswith("tlp:")
        } == {"tlp:amber"}
        assert run(path, capsys)[0] == 0
