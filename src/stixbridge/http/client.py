"""Requests to one server."""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import stamina

from stixbridge.errors import ConfigError, ServerError, Unreachable
from stixbridge.http.credentials import Auth, Certificate, without_secrets
from stixbridge.http.pace import MAX_WAIT, Pace, pace_of
from stixbridge.http.refusals import (
    Dripping,
    Misdirected,
    Refused,
    TooLarge,
    Untrusted,
    connection_error,
    origin,
    refusal,
)

MAX_BYTES = 200_000_000
_ATTEMPTS = 4
_REDIRECTS = 3
_CONNECT_TIMEOUT = 15.0
_SLOWEST = 1_000
"""Bytes a second that a body has to reach on average, once the time-out has passed."""
_HOPELESS = (Untrusted, Misdirected, Dripping)
_WORTH_A_RETRY = (429, 500, 502, 503, 504)


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
        base: a URL at the host; credentials and cookies go to its origin only.
        auth: credentials.
        accept: the Accept header.
        ca: a PEM file of the server's own certificate authority.
        verify: False trusts any certificate.
        timeout: seconds to wait for the server at any one point.
        max_bytes: the most an answer may hold.
        max_wait: the longest wait that a server may ask for, seconds.
        certificate: a client certificate; shown to the host of `base` only.
        proxy: URL of a proxy, `http://host:port`; the environment's (`HTTPS_PROXY`) when None.
        proxy_auth: user and password at the proxy.
        rate_limit: as `10/10m`: no more requests than that.
        allow_hosts: other hosts that may be redirected to; they get nothing of the credentials.
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
        allow_hosts: Collection[str] = (),
    ) -> None:
        self._origin = _checked_origin(base)
        self.base = base
        self._auth = auth
        self._secrets = auth.secrets() if auth is not None else ()
        self._max_bytes = max_bytes
        self._max_wait = max_wait
        self._allow_hosts = frozenset(host.lower() for host in allow_hosts)
        self.headers = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": "stixbridge"}
        self.timeout = timeout
        self.pace: Pace | None = None
        self._proxy: httpx.Proxy | None = None
        try:
            if rate_limit is not None:
                self.pace = pace_of(self._origin, rate_limit)
            if proxy is not None:
                self._proxy = httpx.Proxy(proxy, auth=proxy_auth)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        context = _tls(ca, verify)
        own = context
        if certificate is not None:
            own = _tls(ca, verify)
            certificate.load(own)
        self._client = self._made(own, CookieJar())
        # nothing of the server goes elsewhere: neither credentials nor cookies nor its certificate
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._elsewhere = self._made(context, no_cookies)

    def _made(self, context: ssl.SSLContext, cookies: CookieJar) -> httpx.Client:
        try:
            return httpx.Client(
                verify=context,
                timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, _CONNECT_TIMEOUT)),
                follow_redirects=False,
                cookies=cookies,
                proxy=self._proxy,
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            # the text of the error may hold the credentials of the proxy
            raise ConfigError(
                "the proxy can't be used: look at proxy, or at HTTP_PROXY, HTTPS_PROXY and "
                "ALL_PROXY in the environment; an http:// or https:// URL is needed"
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
        """GET; tried again after faults and waits when `idempotent`.

        Raises:
            Refused: for any answer but 2xx.
            ServerError: for an answer that can't be used.
            Unreachable: for none.
        """
        return self._tried("GET", url, params, None, idempotent=idempotent, headers=headers)

    def post(self, url: str, body: bytes, *, idempotent: bool = False) -> Answer:
        """POST JSON. Any answer is returned: at MISP 403 and 404 say things.

        Never retried unless `idempotent`.

        Raises:
            Unreachable: when no answer came; the server may have acted all the same.
        """
        return self._tried("POST", url, None, body, idempotent=idempotent)

    def _tried(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        *,
        idempotent: bool,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        attempts = _ATTEMPTS if idempotent else 1
        for attempt in stamina.retry_context(
            on=self._again, attempts=attempts, timeout=self._max_wait + 60, wait_max=8.0
        ):
            with attempt:
                answer = self._once(method, url, params, body, headers or {})
                succeeded = 200 <= answer.status < 300
                if answer.status in (429, 503) or (method == "GET" and not succeeded):
                    raise self._refusal(answer)
                return answer if succeeded else self._without_secrets(answer)
        raise AssertionError("stamina gives at least one attempt")

    def _refusal(self, answer: Answer) -> Refused:
        return refusal(
            answer,
            credentials=self._auth is not None,
            sent=origin(answer.url) == self._origin,
            secrets=self._secrets,
            proxy=self._proxy_for(answer.url),
        )

    def _without_secrets(self, answer: Answer) -> Answer:
        """A refusal that repeats no secret.

        What a server says of an error ends in messages and in the store.
        """
        text = answer.body.decode("utf-8", "surrogateescape")
        shown = without_secrets(text, self._secrets)
        return (
            answer
            if shown == text
            else replace(answer, body=shown.encode("utf-8", "surrogateescape"))
        )

    def _again(self, error: Exception) -> bool | float:
        """Whether an error is worth another attempt.

        A number is the wait that the server asked for.
        """
        if isinstance(error, Refused):
            if error.wait is not None:
                return error.wait if error.wait <= self._max_wait else False
            return error.status in _WORTH_A_RETRY
        return isinstance(error, Unreachable) and not isinstance(error, _HOPELESS)

    def _once(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        more: Mapping[str, str],
    ) -> Answer:
        for _ in range(_REDIRECTS + 1):
            try:
                own = origin(url) == self._origin
            except ValueError as error:
                raise ServerError(f"{url!r} is not a URL ({error})") from None
            headers = {**self.headers, **more}
            if body is not None:
                headers["Content-Type"] = "application/json"
            if self.pace is not None:
                self.pace.keep()
            answer, location = self._send(method, url, params, body, headers, own=own)
            if location is None:
                return answer
            self._check_redirect(answer, location)
            url, params = location, None
        raise ServerError(f"{url} redirects in circles")

    def _check_redirect(self, answer: Answer, location: str) -> None:
        try:
            target = origin(location)
        except ValueError as error:
            raise ServerError(
                f"{answer.url} redirects to what is not a URL ({error})", status=answer.status
            ) from None
        if target != self._origin and urlsplit(location).hostname not in self._allow_hosts:
            raise ServerError(
                f"{answer.url} redirects to another host ({target}); use the URL there if that is "
                "right",
                status=answer.status,
            )

    def _send(
        self,
        method: str,
        url: str,
        params: Any,
        body: bytes | None,
        headers: dict[str, str],
        *,
        own: bool,
    ) -> tuple[Answer, str | None]:
        """One request; the answer, and where it redirects to."""
        basic: Any = None
        if self._auth is not None and own:
            headers.update(self._auth.headers())
            basic = self._auth.basic
        client = self._client if own else self._elsewhere
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
            raise connection_error(url, error, self._proxy_for(url)) from None
        except httpx.InvalidURL as error:
            raise ServerError(f"{url!r} is not a URL or leads to none ({error})") from None
        return answer, location

    def _proxy_for(self, url: str) -> str:
        """The host and port of the proxy that a URL is asked through; empty for none."""
        if self._proxy is not None:
            return self._proxy.url.netloc.decode("ascii", "replace").rpartition("@")[2]
        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme) or getproxies().get("all") or ""
        if not proxy or proxy_bypass(parts.hostname or ""):
            return ""
        return urlsplit(proxy).netloc.rpartition("@")[2]

    def _content(self, response: httpx.Response) -> bytes:
        """The body of an answer, unpacked here.

        The library would unpack a bomb before anything can count it.
        """
        place = origin(str(response.url))
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise ServerError(
                f"{response.url} answered in the encoding {encoding[:40]!r}, which was not asked "
                "for"
            )
        unpacking = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
        chunks: list[bytes] = []
        left = self._max_bytes
        began, received = time.monotonic(), 0
        try:
            for raw in response.iter_raw():
                received += len(raw)
                self._check_speed(place, time.monotonic() - began, received)
                chunk = raw if unpacking is None else unpacking.decompress(raw, left + 1)
                left -= len(chunk)
                if left < 0:
                    raise TooLarge(
                        f"{response.url}: the answer is over {self._max_bytes:,} bytes; lower "
                        "page_size or raise max_bytes"
                    )
                chunks.append(chunk)
        except zlib.error as error:
            raise Unreachable(f"{place}: the answer is packed wrongly ({error})") from None
        if unpacking is not None and not unpacking.eof and chunks:
            raise Unreachable(f"{place}: the connection broke in the middle of an answer")
        return b"".join(chunks)

    def _check_speed(self, place: str, seconds: float, received: int) -> None:
        """A body that drips would keep a run for ever: each byte comes in time."""
        if seconds > self.timeout and received < seconds * _SLOWEST:
            raise Dripping(
                f"{place}: the answer is too slow ({received:,} bytes in {seconds:.0f} s); lower"
                " page_size, or raise timeout"
            )


def _checked_origin(base: str) -> str:
    try:
        parts = urlsplit(base)
        place = origin(base)
    except ValueError as error:
        raise ConfigError(
            f"the URL can't be read ({error}); write it as https://host/path/"
        ) from None
    if parts.username or parts.password:
        raise ConfigError("a URL holds no credentials; give them as auth")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{base!r} is not a URL; write it as https://host/path/")
    return place


def _tls(ca: Path | None, verify: bool) -> ssl.SSLContext:
    """What is trusted of a server.

    Its own authority where one is given, else those of the system's packages.
    """
    if ca is None:
        return httpx.create_ssl_context(verify=verify)
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ca {ca}: {error}; give a PEM file with the server's certificate authority"
        ) from None
