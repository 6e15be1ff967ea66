"""Answers that say no, and connections that fail, in words: what happened, where, what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from stixbridge.errors import ServerError, Unreachable
from stixbridge.http.credentials import without_secrets
from stixbridge.http.pace import asked_wait

_SCHEMES = ("digest", "ntlm", "negotiate", "kerberos")
"""Ways to authenticate that are not supported."""
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "UNKNOWN_CA")
_SHOWN = 200
_READ = 2_000
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TLS_ALERT = re.compile(r"\\x15\\x03|\x15\x03")


class Refused(ServerError):
    """An answer other than 2xx.

    Attributes:
        status: of the answer.
        wait: the seconds that the server asks to wait; None where it does not.
        excerpt: the beginning of its body, in one line.
    """

    def __init__(
        self, message: str, *, status: int, wait: float | None = None, excerpt: str = ""
    ) -> None:
        super().__init__(message, status=status)
        self.wait = wait
        self.excerpt = excerpt


class Untrusted(Unreachable):
    """The certificate of the server is not good; a second attempt changes nothing."""


class Misdirected(Unreachable):
    """The scheme or the proxy is wrong; a second attempt changes nothing."""


class TooSlow(Unreachable):
    """The server answers not in time, or a few bytes at a time."""


class Dripping(TooSlow):
    """The body of an answer comes a few bytes at a time; the next one would, too."""


class TooLarge(ServerError):
    """The answer is over the cap on bytes."""


class AnswerLike(Protocol):
    """What a message needs of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


def origin(url: str) -> str:
    """Scheme, host and port of a URL.

    Raises:
        ValueError: when it can't be read.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def refusal(
    answer: AnswerLike, *, credentials: bool, sent: bool, secrets: tuple[str, ...], proxy: str
) -> Refused:
    """The error for an answer that says no.

    Args:
        answer: from the server.
        credentials: whether there are any for this server.
        sent: whether they were sent: they go to the host of the configured URL only.
        secrets: texts that the message must not repeat.
        proxy: the proxy that was asked, empty for none.
    """
    text = answer.body[:_READ].decode("utf-8", "replace").strip()
    wait = asked_wait(answer.headers)
    reason = _reason(answer, text, credentials=credentials, sent=sent, proxy=proxy)
    hint = f"; it asks to wait {wait:.0f} s" if wait is not None else ""
    excerpt = _one_line(without_secrets(text, secrets))
    quoted = f": {excerpt}" if text.startswith("{") else ""
    return Refused(
        f"{answer.url}: {reason}{hint}{quoted}", status=answer.status, wait=wait, excerpt=excerpt
    )


def is_taxii_1(answer: AnswerLike) -> bool:
    """Whether an answer is that of a TAXII 1.x server."""
    names = ("x-taxii-content-type", "x-taxii-services")
    kind = "".join(answer.headers.get(name, "") for name in names)
    return ":xml:1" in kind or "services:1" in kind or b"taxii_1" in answer.body[:_READ]


def is_web_page(answer: AnswerLike) -> bool:
    """Whether an answer is a page for people."""
    kind = answer.headers.get("content-type", "").lower()
    head = answer.body[:_READ].lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html")) or ("html" in kind and head[:1] == b"<")


def page_title(answer: AnswerLike) -> str:
    """The title of a web page in quotes, with a blank before it; empty for none."""
    found = _TITLE.search(answer.body[:_READ].decode("utf-8", "replace"))
    return f" {_one_line(found[1])!r}" if found else ""


_REASONS = {
    403: "not allowed with these credentials (403)",
    404: "not found, or not allowed with these credentials (404)",
    406: "the server does not answer in this version of TAXII, or not for this Accept header (406)",
    413: "the request or its answer is too large for the server (413); lower page_size",
    429: "too many requests (429)",
}


def _reason(answer: AnswerLike, text: str, *, credentials: bool, sent: bool, proxy: str) -> str:
    if is_taxii_1(answer):
        return f"this is a TAXII 1.x server ({answer.status}); TAXII 2.0 and 2.1 can be read"
    if answer.status == 401:
        return _unauthorised(answer, credentials=credentials, sent=sent)
    if answer.status == 403 and is_web_page(answer):
        return (
            f"a web page{page_title(answer)} answers in place of the server (403), perhaps a"
            " firewall's; ask the operator to let this address in"
        )
    if answer.status == 407:
        return f"the proxy {proxy or 'in between'} wants credentials (407); set proxy_auth"
    if answer.status == 400 and "https port" in text.lower():
        return "the server speaks TLS at this port (400); write the URL with https://"
    return _REASONS.get(answer.status, f"the server answered {answer.status}")


def _unauthorised(answer: AnswerLike, *, credentials: bool, sent: bool) -> str:
    offered = answer.headers.get("www-authenticate", "")
    schemes = re.findall(r"(?:^|,)\s*([A-Za-z]+)(?=\s|$|,)", offered)
    if credentials and not sent:
        return (
            "the credentials were not sent, since this is another host than that of the url (401);"
            " write the URL at this host as url if it is the right one"
        )
    wanted = [scheme for scheme in schemes if scheme.lower() in _SCHEMES]
    if wanted and len(wanted) == len(schemes):
        return (
            f"the server wants {' or '.join(wanted)} credentials (401), which are not supported;"
            " ask its operator for Basic, a token or a key"
        )
    if not credentials:
        which = f" ({', '.join(schemes)})" if schemes else ""
        return f"the server wants credentials{which} (401); set auth"
    return "the credentials were not accepted (401)"


def _one_line(text: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:_SHOWN]


def connection_error(url: str, error: httpx.HTTPError, proxy: str) -> Unreachable:
    """The error for a connection that failed.

    Args:
        url: that was asked.
        error: of the HTTP library.
        proxy: the proxy that was asked, empty for none.
    """
    text = str(error) or type(error).__name__
    place = origin(url)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return Untrusted(_certificate_problem(place, text))
    if any(name in text for name in _WANTS_CERTIFICATE):
        return Untrusted(
            f"{place}: the server wants a client certificate, or another one; set cert and"
            f" cert_key ({text})"
        )
    if isinstance(error, httpx.ProxyError):
        return Misdirected(
            f"{place}: the proxy {proxy} refuses ({text}); are its URL and proxy_auth right?"
        )
    scheme = _wrong_scheme(text)
    if scheme is not None:
        return Misdirected(f"{place}: {scheme}")
    if isinstance(error, httpx.TimeoutException):
        return TooSlow(
            f"{place}: no answer in time; is the server up, is a proxy or firewall between?"
        )
    return Unreachable(f"{place}: {_broken_connection(error, text, place, proxy)}")


def _broken_connection(error: httpx.HTTPError, text: str, place: str, proxy: str) -> str:
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        plain = place.startswith("http:")
        hint = "; if the server speaks TLS, write the URL with https://" if plain else ""
        return f"the connection broke in the middle of an answer{hint}"
    if not isinstance(error, httpx.ConnectError):
        return text
    if proxy:
        return f"can't connect through the proxy {proxy} ({text}); are its URL and port right?"
    return f"can't connect ({text}); is the name right and the server up?"


def _certificate_problem(place: str, text: str) -> str:
    reason = text.split("certificate verify failed:", 1)[-1].split("(_ssl", 1)[0].strip()
    if "mismatch" in reason or "expired" in reason or "not yet valid" in reason:
        return (
            f"certificate of {place} is not good ({reason}); is the URL right, is the server's"
            " certificate?"
        )
    return (
        f"certificate of {place} is not trusted ({reason}); set ca to the PEM file of its authority"
    )


def _wrong_scheme(text: str) -> str | None:
    """What to do where TLS meets a server without it, or the other way round."""
    if any(
        name in text for name in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
    ):
        return "the server speaks plain HTTP at this port; write the URL with http://"
    if _TLS_ALERT.search(text):
        return "the server speaks TLS at this port; write the URL with https://"
    return None
