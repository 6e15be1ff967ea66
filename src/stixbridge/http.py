"""HTTP for sources and sinks: time-outs, byte cap, own CA, credentials that stay at their host, clear errors."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import stamina

from stixbridge import times
from stixbridge.errors import ConfigError, ServerError, Unreachable
from stixbridge.stopping import wait as wait_unless_stopped

MAX_BYTES = 200_000_000
MAX_WAIT = 300.0
_ATTEMPTS = 4
_REDIRECTS = 3


@dataclass(frozen=True)
class Auth:
    """Credentials of one server; `repr` never shows them.

    Attributes:
        user: with `password`: Basic (RFC 7617).
        password: the other half.
        token: with `scheme`: `Authorization: SCHEME TOKEN`.
        scheme: `Bearer` (RFC 6750) or `Token`.
        header: any other header, with `value`.
        value: of the header.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    scheme: str = "Bearer"
    header: str | None = None
    value: str | None = field(default=None, repr=False)

    def headers(self) -> dict[str, str]:
        """The headers that carry the credentials, Basic left to the HTTP library."""
        if self.token is not None:
            return {"Authorization": f"{self.scheme} {self.token}"}
        if self.header is not None and self.value is not None:
            return {self.header: self.value}
        return {}

    @property
    def basic(self) -> tuple[str, str] | None:
        """User and password, where there are."""
        return (self.user, self.password or "") if self.user is not None else None


@dataclass(frozen=True)
class Certificate:
    """A client certificate; `repr` never shows the password.

    Attributes:
        cert: a PEM file with the certificate, and its key where `key` names no other file.
        key: a PEM file with the key.
        password: of the key.
    """

    cert: Path
    key: Path | None = None
    password: str | None = field(default=None, repr=False)

    def load(self, context: ssl.SSLContext) -> None:
        """Put it into a TLS context.

        Raises:
            ConfigError: when it can't be read.
        """
        try:
            # without a password the library would ask for one at the terminal
            context.load_cert_chain(self.cert, self.key, self.password or (lambda: b""))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            missing = [
                path for path in (self.cert, self.key) if path is not None and not path.is_file()
            ]
            reason = f"{missing[0]} is no file" if missing else str(error)
            raise ConfigError(
                f"cert {self.cert}: {reason}; give PEM files of the certificate and its key, and cert_password where"
                " the key has one"
            ) from None


def rate(text: str) -> tuple[int, float]:
    """Read `10/10m` as (requests, seconds).

    Raises:
        ValueError: for anything else.
    """
    count, slash, span = text.partition("/")
    if not slash or not (count.isascii() and count.isdigit()) or len(count) > 6 or int(count) < 1:
        raise ValueError(f"{text!r} is no rate; write requests and a duration, as 10/10m")
    return int(count), times.duration(span) / 1_000_000


class _Pace:
    """Keeps requests below a rate: no more than so many in any span of time."""

    def __init__(self, limit: str) -> None:
        self._count, self._seconds = rate(limit)
        self._sent: deque[float] = deque(maxlen=self._count)
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Wait until a request may go."""
        with self._lock:
            if len(self._sent) == self._count:
                left = self._sent[0] + self._seconds - time.monotonic()
                if left > 0:
                    pause(left)
            self._sent.append(time.monotonic())


_PACES: dict[tuple[str, str], _Pace] = {}
_PACES_LOCK = threading.Lock()


def _pace(origin: str, limit: str) -> _Pace:
    """One pace for all connections to a server: several pipelines may ask it."""
    with _PACES_LOCK:
        return _PACES.setdefault((origin, limit), _Pace(limit))


@dataclass(slots=True)
class Answer:
    """One answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Http:
    """Requests to one host.

    Args (of the constructor):
        base: a URL at the host; credentials go to its origin only.
        auth: credentials.
        accept: the Accept header.
        ca: a PEM file of the server's own certificate authority.
        verify: False trusts any certificate.
        timeout: seconds to wait for the server at any one point.
        max_bytes: the most an answer may hold.
        max_wait: the longest `Retry-After` that is waited for, seconds.
        certificate: a client certificate; shown to the host of `base` only.
        proxy: URL of a proxy, `http://host:port`; the environment's (`HTTPS_PROXY`) when None.
        proxy_auth: user and password at the proxy.
        rate_limit: as `10/10m`: no more requests than that.
    """

    def __init__(
        self,
        base: str,
        *,
        auth: Auth | None = None,
        accept: str = "application/json",
        ca: Path | None = None,
        verify: bool = True,
        timeout: float = 60.0,
        max_bytes: int = MAX_BYTES,
        max_wait: float = MAX_WAIT,
        certificate: Certificate | None = None,
        proxy: str | None = None,
        proxy_auth: tuple[str, str] | None = None,
        rate_limit: str | None = None,
    ) -> None:
        try:
            parts = urlsplit(base)
            self._origin = _origin(base)
        except ValueError as error:
            raise ConfigError(
                f"the URL can't be read ({error}); write it as https://host/path/"
            ) from None
        if parts.username or parts.password:
            raise ConfigError("a URL holds no credentials; give them as auth")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{base!r} is no URL; write it as https://host/path/")
        self.base = base
        self._auth = auth
        self._secrets = _checked(auth) if auth is not None else ()
        self._max_bytes = max_bytes
        self._max_wait = max_wait
        self._headers = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": "stixbridge"}
        self._verify = _tls(ca, verify)
        self.timeout = timeout
        try:
            self._pace = _pace(self._origin, rate_limit) if rate_limit is not None else None
            self._proxy = httpx.Proxy(proxy, auth=proxy_auth) if proxy is not None else None
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self._client = self._made(self._verify)
        self._elsewhere = self._client
        if certificate is not None:
            own = _tls(ca, verify)
            certificate.load(own)
            self._client = self._made(own)

    def _made(self, context: ssl.SSLContext) -> httpx.Client:
        try:
            return httpx.Client(
                verify=context,
                timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, 15.0)),
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                proxy=self._proxy,
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            # the text of the error may hold the credentials of the proxy
            raise ConfigError(
                "the proxy can't be used: look at proxy, or at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY in the"
                " environment; an http:// or https:// URL is needed"
            ) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._elsewhere.close()

    def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        idempotent: bool = True,
    ) -> Answer:
        """GET; tried again after faults and `Retry-After` when `idempotent`.

        Raises:
            ServerError: for any answer but 2xx, with its `status`.
            Unreachable: for none.
        """
        return self._tried("GET", url, params, None, idempotent=idempotent, headers=headers)

    def post(self, url: str, body: bytes, *, idempotent: bool = False) -> Answer:
        """POST JSON. Any answer is returned: at MISP 403 and 404 say things. Never retried unless `idempotent`.

        Raises:
            Unreachable: when no answer came; the server may have acted all the same.
        """
        return self._tried("POST", url, None, body, idempotent=idempotent, any_status=True)

    def _tried(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        *,
        idempotent: bool,
        any_status: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        attempts = _ATTEMPTS if idempotent else 1
        for attempt in stamina.retry_context(
            on=self._again, attempts=attempts, timeout=self._max_wait + 60, wait_max=8.0
        ):
            with attempt:
                answer = self._once(method, url, params, body, headers or {})
                if answer.status in (429, 503) or (
                    not any_status and not 200 <= answer.status < 300
                ):
                    raise _refusal(answer, self._secrets)
                return self._redacted(answer)
        raise AssertionError("stamina gives at least one attempt")

    def _redacted(self, answer: Answer) -> Answer:
        """An answer that repeats no secret: what a server says ends in messages and in the store."""
        body = answer.body
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"***")
        return answer if body is answer.body else replace(answer, body=body)

    def _again(self, error: Exception) -> bool | float:
        """Whether an error is worth another attempt; a number is the wait that the server asked for."""
        if isinstance(error, Unreachable):
            return not error.args[0].startswith(_FINAL)
        if isinstance(error, _Refused):
            if error.wait is not None:
                return min(error.wait, self._max_wait) if error.wait <= self._max_wait else False
            return error.status in (429, 500, 502, 503, 504)
        return False

    def _once(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        more: Mapping[str, str],
    ) -> Answer:
        for _ in range(_REDIRECTS + 1):
            headers = {**self._headers, **more}
            basic: Any = None
            try:
                here = _origin(url) == self._origin
            except ValueError as error:
                raise ServerError(f"{url!r} is no URL ({error})") from None
            if self._auth is not None and here:
                headers.update(self._auth.headers())
                basic = self._auth.basic
            if body is not None:
                headers["Content-Type"] = "application/json"
            if self._pace is not None:
                self._pace.keep()
            client = self._client if here else self._elsewhere
            answer, location = self._send(client, method, url, params, body, headers, basic)
            if location is None:
                return answer
            try:
                target = _origin(location)
            except ValueError as error:
                raise ServerError(
                    f"{url} redirects to what is no URL ({error})", status=answer.status
                ) from None
            if target != self._origin:
                raise ServerError(
                    f"{url} redirects to another host ({target}); use the URL there if that is right",
                    status=answer.status,
                )
            url, params = location, None
        raise ServerError(f"{url} redirects in circles")

    def _send(
        self,
        client: httpx.Client,
        method: str,
        url: str,
        params: Any,
        body: bytes | None,
        headers: dict[str, str],
        basic: Any,
    ) -> tuple[Answer, str | None]:
        try:
            with client.stream(
                method, url, params=params, content=body, headers=headers, auth=basic
            ) as response:
                content = self._content(response)
                location = (
                    str(response.next_request.url) if response.next_request is not None else None
                )
                answer = Answer(response.status_code, response.headers, content, str(response.url))
        except httpx.HTTPError as error:
            raise Unreachable(_explained(url, error)) from None
        except httpx.InvalidURL as error:
            raise ServerError(f"{url!r} is no URL or leads to none ({error})") from None
        return answer, location

    def _content(self, response: httpx.Response) -> bytes:
        """The body of an answer, unpacked here: the library would unpack a bomb before anything can count it."""
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise ServerError(
                f"{response.url} answered in the encoding {encoding[:40]!r}, which was not asked for"
            )
        unpacking = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
        chunks: list[bytes] = []
        left = self._max_bytes
        try:
            for raw in response.iter_raw():
                chunk = raw if unpacking is None else unpacking.decompress(raw, left + 1)
                left -= len(chunk)
                if left < 0:
                    raise ServerError(
                        f"{response.url}: the answer is over {self._max_bytes:,} bytes; lower page_size or raise"
                        " max_bytes"
                    )
                chunks.append(chunk)
        except zlib.error as error:
            raise Unreachable(
                f"{_origin(str(response.url))}: the answer is packed wrongly ({error})"
            ) from None
        if unpacking is not None and not unpacking.eof and chunks:
            raise Unreachable(
                f"{_origin(str(response.url))}: the connection broke in the middle of an answer"
            )
        return b"".join(chunks)


_FINAL = "certificate of "
"""How messages begin that no second attempt can change."""


class _Refused(ServerError):
    """An answer that says no."""

    def __init__(self, message: str, status: int, wait: float | None) -> None:
        super().__init__(message, status=status)
        self.wait = wait


def _tls(ca: Path | None, verify: bool) -> ssl.SSLContext:
    """What is trusted of a server: its own authority where one is given, else those of the system's packages."""
    if ca is None:
        return httpx.create_ssl_context(verify=verify)
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ca {ca}: {error}; give a PEM file with the server's certificate authority"
        ) from None


def _checked(auth: Auth) -> tuple[str, ...]:
    """The texts that no message may repeat; refuses what no header can carry."""
    for name, value in auth.headers().items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(
            r"[!-~]([ -~]*[!-~])?", value
        ):
            raise ConfigError(
                "a secret or header name in auth has characters that no header can carry"
            )
    found = {auth.password, auth.token, auth.value}
    if auth.basic is not None:
        found.add(base64.b64encode(":".join(auth.basic).encode()).decode())
    known = {text for text in found if text}
    # as a server may repeat them in JSON
    known |= {form for text in known for form in _in_json(text)}
    return tuple(sorted(known, key=len, reverse=True))


def _in_json(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        form = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (form, form.replace("/", "\\/"))


def _refusal(answer: Answer, secrets: tuple[str, ...] = ()) -> _Refused:
    # a MISP says it its own way
    wait = retry_after(
        answer.headers.get("retry-after") or answer.headers.get("x-rate-limit-reset")
    )
    what = {
        401: "the credentials were not accepted (401)",
        403: "not allowed with these credentials (403)",
        404: "not found, or not allowed with these credentials (404)",
        406: "the server does not speak this version of TAXII (406)",
        429: "too many requests (429)",
    }.get(answer.status, f"the server answered {answer.status}")
    hint = f"; it asks to wait {wait:.0f} s" if wait is not None else ""
    return _Refused(f"{answer.url}: {what}{hint}{_excerpt(answer, secrets)}", answer.status, wait)


def _excerpt(answer: Answer, secrets: tuple[str, ...]) -> str:
    """What the server says of it, in one line, where it says it in JSON."""
    text = answer.body[:2000].decode("utf-8", "replace").strip()
    for secret in secrets:
        text = text.replace(secret, "***")
    if not text.startswith("{"):
        return ""
    shown = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return f": {shown[:200]}"


def retry_after(text: str | None) -> float | None:
    """Read `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date; None where there is none."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def pause(seconds: float) -> None:
    """Wait, unless the process is asked to end; the one place that sleeps."""
    wait_unless_stopped(seconds)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _explained(url: str, error: httpx.HTTPError) -> str:
    """A connection error in words: what, where, what to do."""
    text = str(error) or type(error).__name__
    place = _origin(url)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.split("certificate verify failed:", 1)[-1].split("(_ssl", 1)[0].strip()
        if "mismatch" in reason or "expired" in reason or "not yet valid" in reason:
            return f"{_FINAL}{place} is not good ({reason}); is the URL right, is the server's certificate?"
        return f"{_FINAL}{place} is not trusted ({reason}); set ca to the PEM file of its authority"
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text:
        return f"{place}: the server wants a client certificate, or another one; set cert and cert_key ({text})"
    if isinstance(error, httpx.ProxyError):
        return f"{place}: the proxy refuses ({text}); are its URL and proxy_auth right?"
    if isinstance(error, httpx.TimeoutException):
        return f"{place}: no answer in time; is the server up, is a proxy or firewall between?"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return f"{place}: the connection broke in the middle of an answer"
    if isinstance(error, httpx.ConnectError):
        return f"{place}: can't connect ({text}); is the name right and the server up?"
    return f"{place}: {text}"
