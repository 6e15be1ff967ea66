"""Each answer that says no, and each connection that fails, names what to do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from doubles.taxii import TaxiiDouble

from stixbridge.errors import ConfigError, ServerError
from stixbridge.http import Auth, Certificate, Http, TooSlow
from stixbridge.sources.taxii.v21 import MEDIA_TYPE

pytestmark = pytest.mark.usefixtures("waits")
TAXII_1 = b'<taxii_11:Status_Message status_type="BAD_MESSAGE"/>'


def refusal(status: int, body: bytes, *, auth: Auth | None = None, **headers: str) -> str:
    """What a user reads when a server answers so."""
    with TaxiiDouble(auth=("me", "secret-word")) as server:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        server.fail_next(status, body, named, times=9)
        with closing(Http(server.url, accept=MEDIA_TYPE, auth=auth)) as http:
            with pytest.raises(ServerError) as caught:
                http.get(server.url)
            assert caught.value.status == status
            assert server.url in str(caught.value)
            return str(caught.value)


GUEST = Auth(user="guest", password="guest")
ME = Auth(user="me", password="wrong-word")


@pytest.mark.parametrize(
    ("status", "body", "auth", "headers", "expected"),
    [
        (401, b"", ME, {"WWW_Authenticate": 'Digest realm="x", nonce="1"'}, "wants Digest"),
        (401, b"", ME, {"WWW_Authenticate": 'Digest realm="x", Basic realm="y"'}, "not accepted"),
        (401, b"", None, {"WWW_Authenticate": 'Basic realm="x"'}, r"\(Basic\) \(401\); set auth"),
        (401, b"", None, {}, r"wants credentials \(401\); set auth"),
        (403, b"<!DOCTYPE html><title>Attention\n!</title>", ME, {}, "web page 'Attention !'"),
        (403, b"{}", ME, {}, "not allowed with these credentials"),
        (407, b"", None, {}, "proxy .* wants credentials .* set proxy_auth"),
        (405, TAXII_1, None, {}, r"TAXII 1\.x server"),
        (406, b"", None, {"X_TAXII_Services": "urn:taxii.mitre.org:services:1.1"}, r"TAXII 1\.x"),
        (400, b"The plain HTTP request was sent to HTTPS port", None, {}, "with https://"),
        (413, b"", None, {}, "lower page_size"),
    ],
)
def test_a_refusal_names_its_remedy(
    status: int, body: bytes, auth: Auth | None, headers: dict[str, str], expected: str
) -> None:
    import re

    assert re.search(expected, refusal(status, body, auth=auth, **headers))


def test_credentials_that_were_not_sent_are_told() -> None:
    with TaxiiDouble() as server, TaxiiDouble(auth=("me", "secret-word")) as elsewhere:
        http = Http(server.url, accept=MEDIA_TYPE, auth=ME)
        with (
            closing(http),
            pytest.raises(ServerError, match="not sent, since this is another host"),
        ):
            http.get(elsewhere.url)
        assert "Authorization" not in elsewhere.requests[0].headers


@contextmanager
def talking(*answers: bytes, pause: threading.Event | None = None) -> Iterator[int]:
    """A port where every connection gets these bytes, the rest only after a pause."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            for answer in answers:
                connection.sendall(answer)
                if pause is not None:
                    pause.wait(0.15)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def failure(url: str, **settings: float) -> ServerError:
    with closing(Http(url, **settings)) as http, pytest.raises(ServerError) as caught:
        http.get(url)
    return caught.value


def test_https_to_a_port_without_tls() -> None:
    with talking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "write the URL with http://" in str(failure(f"https://127.0.0.1:{port}/"))


def test_http_to_a_port_with_tls() -> None:
    with talking(b"\x15\x03\x01\x00\x02\x02\x46") as port:
        assert "write the URL with https://" in str(failure(f"http://127.0.0.1:{port}/"))


def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    with talking() as port:
        pass
    monkeypatch.setenv("HTTP_PROXY", f"http://user:proxy-word@127.0.0.1:{port}")
    text = str(failure("http://taxii.example/"))
    assert f"through the proxy 127.0.0.1:{port}" in text
    assert "proxy-word" not in text


def test_a_body_that_drips_ends() -> None:
    """Every byte comes within the time-out, and the whole never would."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    with talking(head, *[b" "] * 100, pause=threading.Event()) as port:
        error = failure(f"http://127.0.0.1:{port}/", timeout=0.3)
    assert isinstance(error, TooSlow)
    assert "raise timeout" in str(error)


def test_cookies_are_returned_to_their_server_alone() -> None:
    """Load balancers find the back end that knows a `next` by their cookie."""
    with TaxiiDouble() as server, TaxiiDouble() as elsewhere:
        server.fail_next(200, {}, {"Set-Cookie": "LB=1; Path=/"})
        with closing(Http(server.url, accept=MEDIA_TYPE)) as http:
            http.get(server.url)
            http.get(server.url)
            http.get(elsewhere.url)
        assert server.requests[1].headers["Cookie"] == "LB=1"
        assert "Cookie" not in elsewhere.requests[0].headers


def test_values_that_contain_the_password_come_as_they_are() -> None:
    with TaxiiDouble(auth=("guest", "guest")) as server:
        body = b'{"value": "guest-portal.example"}'
        server.fail_next(200, body)
        with closing(Http(server.url, accept=MEDIA_TYPE, auth=GUEST)) as http:
            assert http.get(server.url).body == body


@pytest.mark.parametrize("token", ["t", "Bearer secret-word", " secret-word "])
def test_tokens_as_people_paste_them(token: str) -> None:
    assert Auth(token=token).headers()["Authorization"] == f"Bearer {token.rsplit(maxsplit=1)[-1]}"


class Files:
    """A certificate in the forms that people have."""

    def __init__(self, folder: Path) -> None:
        made = trustme.CA().issue_cert("client.example")
        self.pem, self.der, self.other = (folder / name for name in ("c.pem", "c.der", "o.pem"))
        made.private_key_and_cert_chain_pem.write_to_path(str(self.pem))
        self.der.write_bytes(b"\x30\x82\x01\x00" + b"\x00" * 60)
        self.pkcs12 = folder / "c.p12"
        self.pkcs12.write_bytes(b"\x30\x82\x01\x00" + b"\x00" * 60)
        trustme.CA().issue_cert("other.example").private_key_pem.write_to_path(str(self.other))


def test_a_certificate_in_another_form_names_the_command(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for cert, key, expected in [
        (files.der, None, "is DER, and PEM is needed; convert it: openssl x509 -inform der"),
        (files.pkcs12, None, "is PKCS#12, and PEM is needed; convert it: openssl pkcs12"),
        (files.pem, files.other, "belongs to another certificate"),
    ]:
        with pytest.raises(ConfigError) as caught:
            Http("https://host.example/", certificate=Certificate(cert, key))
        assert expected in str(caught.value)
