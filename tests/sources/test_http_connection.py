"""How a server is reached: client certificates, proxies, rates, and the presets that know what a
server needs.
"""

import base64
import gzip
import json
import select
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from doubles.taxii import TaxiiDouble
from helpers.pull import Pull
from servers.reading import EVERYTHING, ids

from stixbridge.config.build import check_secrets, make_source
from stixbridge.config.reader import parse
from stixbridge.errors import ConfigError, ServerError
from stixbridge.http import Auth, Certificate, Http
from stixbridge.sources.taxii.presets import PRESETS
from stixbridge.sources.taxii.settings import TaxiiSettings
from stixbridge.sources.taxii.v21 import MEDIA_TYPE

pytestmark = pytest.mark.usefixtures("waits")

SECRET = "s3cr3t-Pa55"


# Client certificates


class Papers:
    """A server's certificate, a client's, and the authority of both, as files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.server = folder / "server.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(self.server)
        )
        client = authority.issue_cert("client.example")
        self.both = folder / "client.pem"
        client.private_key_and_cert_chain_pem.write_to_path(str(self.both))
        self.cert, self.key, self.locked = (
            folder / name for name in ("cert.pem", "key.pem", "locked.pem")
        )
        client.cert_chain_pems[0].write_to_path(str(self.cert))
        client.private_key_pem.write_to_path(str(self.key))
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        self.locked.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(SECRET.encode()),
            )
        )

    def double(self, **settings: Any) -> TaxiiDouble:
        return TaxiiDouble(tls=(self.server, self.server), client_ca=self.ca, **settings)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.mark.parametrize("form", ["one file", "two files", "locked key"])
@pytest.mark.parametrize("basic", [False, True])
def test_a_client_certificate_with_and_without_basic(
    pull: Pull, papers: Papers, form: str, basic: bool
) -> None:
    certificate = {
        "one file": Certificate(papers.both),
        "two files": Certificate(papers.cert, papers.key),
        "locked key": Certificate(papers.cert, papers.locked, SECRET),
    }[form]
    with papers.double(auth=("me", SECRET) if basic else None) as server:
        server.add_collection("All")
        server.add("All", EVERYTHING)
        auth = Auth(user="me", password=SECRET) if basic else None
        http = Http(server.url, auth=auth, accept=MEDIA_TYPE, ca=papers.ca, certificate=certificate)
        assert pull(server.url, http=http).errors == []
        assert pull.ids == sorted(ids(EVERYTHING))


def test_a_client_certificate_is_shown_to_its_host_only(papers: Papers) -> None:
    """An API root on another host that asks for a certificate gets none; the connection ends."""
    with papers.double() as here, papers.double() as elsewhere:
        http = Http(here.url, accept=MEDIA_TYPE, ca=papers.ca, certificate=Certificate(papers.both))
        assert http.get(here.url).status == 200
        with pytest.raises(ServerError):
            http.get(elsewhere.url, idempotent=False)
        assert elsewhere.requests == []
        http.close()


@pytest.mark.parametrize(
    ("cert", "key", "password", "said"),
    [
        ("nothing.pem", None, None, "nothing.pem is not a file"),
        ("cert.pem", "nothing.pem", None, "nothing.pem is not a file"),
        ("cert.pem", "ca.pem", None, "give PEM files"),
        ("cert.pem", "locked.pem", None, "cert_password"),
        ("cert.pem", "locked.pem", "wrong", "cert_password"),
    ],
)
def test_a_certificate_that_is_none(
    papers: Papers, cert: str, key: str | None, password: str | None, said: str
) -> None:
    folder = papers.ca.parent
    with pytest.raises(ConfigError, match=said) as caught:
        Http(
            "https://host.example/",
            certificate=Certificate(folder / cert, folder / key if key else None, password),
        )
    assert password is None or password not in str(caught.value)


def test_nothing_shows_the_password_of_a_key(papers: Papers) -> None:
    assert SECRET not in repr(Certificate(papers.cert, papers.locked, SECRET))


# Proxies


class Proxy:
    """A forward proxy: plain requests and tunnels; remembers what went through, and may want
    credentials.
    """

    def __init__(self, credentials: str | None = None) -> None:
        self.seen: list[str] = []
        wanted = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else None
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def refused(self) -> bool:
                if wanted and self.headers.get("Proxy-Authorization") != wanted:
                    self.send_response(407)
                    self.send_header("Proxy-Authenticate", "Basic")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return True
                return False

            def do_GET(self) -> None:
                seen.append(self.path)
                if self.refused():
                    return
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if not name.startswith("Proxy")
                }
                with httpx.Client(trust_env=False) as client:
                    answer = client.get(
                        self.path, headers={**headers, "Accept-Encoding": "identity"}
                    )
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            def do_CONNECT(self) -> None:
                seen.append(f"CONNECT {self.path}")
                if self.refused():
                    return
                host, _, port = self.path.partition(":")
                with socket.create_connection((host, int(port))) as far:
                    self.send_response(200)
                    self.end_headers()
                    ends = {self.connection: far, far: self.connection}
                    while True:
                        ready, _, _ = select.select(list(ends), [], [], 5)
                        data = ready[0].recv(65536) if ready else b""
                        if not data:
                            break
                        ends[ready[0]].sendall(data)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("credentials", [None, f"me:{SECRET}"])
def test_a_proxy_with_and_without_credentials(
    pull: Pull, papers: Papers, tls: bool, credentials: str | None
) -> None:
    with (
        Proxy(credentials) as proxy,
        TaxiiDouble(tls=(papers.server, papers.server) if tls else None) as server,
    ):
        server.add_collection("All")
        server.add("All", EVERYTHING)
        auth = ("me", SECRET) if credentials else None
        http = Http(server.url, accept=MEDIA_TYPE, ca=papers.ca, proxy=proxy.url, proxy_auth=auth)
        assert pull(server.url, http=http).errors == []
        assert pull.ids == sorted(ids(EVERYTHING))
        place = urlsplit(server.url).netloc
        assert (
            f"CONNECT {place}" in proxy.seen
            if tls
            else all(path.startswith(server.url[:20]) for path in proxy.seen)
        )


def test_a_proxy_that_refuses_is_named(papers: Papers) -> None:
    with Proxy(f"me:{SECRET}") as proxy, TaxiiDouble(tls=(papers.server, papers.server)) as server:
        http = Http(
            server.url, accept=MEDIA_TYPE, ca=papers.ca, proxy=proxy.url, proxy_auth=("me", "wrong")
        )
        with pytest.raises(ServerError, match=r"the proxy 127\.0\.0\.1:\d+ refuses"):
            http.get(server.url)
        assert server.requests == []
        http.close()


@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:1080"},
        {"HTTPS_PROXY": f"ftp://me:{SECRET}@proxy.example"},
    ],
)
def test_a_proxy_of_the_environment_that_is_none(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(ConfigError, match="the proxy can't be used") as caught:
        Http("https://host.example/")
    assert SECRET not in str(caught.value)


# Hostile answers


def test_an_answer_that_is_packed_again_and_again_is_not_unpacked() -> None:
    body = gzip.compress(gzip.compress(bytes(50_000_000)))
    with answering(body, {"Content-Encoding": "gzip, gzip"}) as url:
        tracemalloc.start()
        with pytest.raises(ServerError, match="'gzip, gzip', which was not asked for"):
            Http(url, max_bytes=1_000_000).get(url)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


def test_a_bomb_is_left_before_it_is_unpacked() -> None:
    with answering(gzip.compress(bytes(200_000_000)), {"Content-Encoding": "gzip"}) as url:
        tracemalloc.start()
        with pytest.raises(ServerError, match="over 1,000,000 bytes"):
            Http(url, max_bytes=1_000_000).get(url)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body", [b"no gzip at all", gzip.compress(b'{"a": 1}' * 500)[:-20]], ids=["none", "cut"]
)
def test_an_answer_that_is_packed_wrongly(body: bytes) -> None:
    with (
        answering(body, {"Content-Encoding": "gzip"}) as url,
        pytest.raises(ServerError, match=r"packed wrongly|broke"),
    ):
        Http(url).get(url)


@pytest.mark.parametrize(
    "auth",
    [
        Auth(token='s3cr/et+tok"en'),
        Auth(user="me", password="?????>>>>?"),
        Auth(header="X", value="abc/def"),
    ],
)
def test_a_secret_is_hidden_in_whatever_form_json_gives_it(auth: Auth) -> None:
    sent = (
        base64.b64encode(b"me:?????>>>>?").decode() if auth.user else auth.token or auth.value or ""
    )
    body = json.dumps({"message": f"bad credentials: {sent}"}).replace("/", "\\/").encode()
    with answering(body, {}, 401) as url, pytest.raises(ServerError) as caught:
        Http(url, auth=auth).get(url)
    assert "bad credentials: ***" in str(caught.value)


@contextmanager
def answering(body: bytes, headers: dict[str, str], status: int = 200) -> Iterator[str]:
    """A server with one answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


# Rates


def test_requests_stay_below_the_rate(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("stixbridge.http.pace.time.time", lambda: clock[0])

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("stixbridge.http.pace.wait_unless_stopped", wait)
    with TaxiiDouble() as server:
        http = Http(server.url, accept=MEDIA_TYPE, rate_limit="3/10m")
        for _ in range(7):
            http.get(server.url)
            clock[0] += 60
        http.close()
    # the fourth waits until ten minutes after the first, the seventh until ten minutes after the
    # fourth
    assert waits == [420.0, 420.0]


def test_all_connections_to_a_server_keep_one_rate(waits: list[float]) -> None:
    with TaxiiDouble() as server:
        for _ in range(4):  # as several pipelines of one source
            http = Http(server.url, accept=MEDIA_TYPE, rate_limit="2/10m")
            http.get(server.url)
            http.close()
    assert len(waits) == 2


@pytest.mark.parametrize("text", ["10", "0/1m", "x/1m", "10/", "10/5"])
def test_a_rate_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"rate|duration"):
        Http("https://host.example/", rate_limit=text)


# Presets, and settings of a source


def configured(**source: Any) -> TaxiiSettings:
    config = parse(
        {
            "sources": {"acme": {"type": "taxii21", **source}},
            "sinks": {"out": {"type": "files", "path": "out"}},
            "pipelines": {"acme": {"source": "acme", "sinks": ["out"]}},
        }
    )
    found = config.sources["acme"]
    assert isinstance(found, TaxiiSettings)
    return found


def test_a_preset_fills_in_and_own_settings_go_first() -> None:
    settings = configured(preset="mitre-attack")
    assert (settings.full, settings.ask, settings.rate_limit) == (True, False, "10/10m")
    assert configured(preset="mitre-attack", rate_limit="50/10m").rate_limit == "50/10m"
    make_source("acme", settings).close()


def test_a_preset_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="cisa-ais wants cert of every client"):
        configured(preset="cisa-ais", url="https://host.example/")
    with pytest.raises(ConfigError, match="did you mean 'opencti'"):
        configured(preset="opencty", url="https://host.example/")
    with pytest.raises(ConfigError, match=r"missing setting @ \$.sources.acme.url"):
        configured(preset="opencti")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_source(
    name: str, papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PASSWORD", SECRET)
    auth = {"type": "basic", "user": "me", "password": {"env": "THE_PASSWORD"}}
    settings = configured(
        **{"preset": name, "url": "https://h.example/", "auth": auth, "cert": str(papers.both)}
    )
    make_source("acme", settings).close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"match": {"typ": ["x"]}},
            "'typ' is not one of type, id, version, spec_version; did you mean 'type'",
        ),
        ({"match": {"type": "x"}}, 'expected a list, got text; write \\["x"\\]'),
        ({"min_confidence": 200}, "200 is not between 0 and 100"),
        ({"max_age": "long"}, "is not a duration"),
        ({"rate_limit": "10"}, "is not a rate"),
        ({"rate_limit": "\u00b2/1m"}, "is not a rate"),
        ({"since": "999999w"}, "is over 50 years"),
        ({"overlap": "9999999999999999999d"}, "is over 50 years"),
        ({"vanished": "deleted"}, "did you mean 'delete'"),
        ({"proxy": "http://me:secret@proxy.example"}, "holds no credentials"),
        ({"proxy_auth": {"user": "me", "password": "secret"}}, "a secret is a reference"),
        ({"cert_password": "secret"}, "a secret is a reference"),
    ],
)
def test_mistakes_in_the_settings_of_a_source(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        configured(url="https://host.example/", **settings)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x.pem", "a\0b"])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a path.* @ \$.sources.acme.cert"):
        configured(url="https://host.example/", cert=path)


def test_all_secrets_of_a_connection_are_looked_up_first() -> None:
    config = parse(
        {
            "sources": {
                "acme": {
                    "type": "taxii20",
                    "url": "https://host.example/",
                    "cert_password": {"env": "NO_SUCH_ONE"},
                    "proxy_auth": {"user": "me", "password": {"env": "NO_SUCH_TWO"}},
                }
            },
            "sinks": {"out": {"type": "files", "path": "out"}},
            "pipelines": {"acme": {"source": "acme", "sinks": ["out"]}},
        }
    )
    with pytest.raises(ConfigError) as caught:
        check_secrets(config)
    assert len(caught.value.problems) == 2
