"""A proxy before a real server that does at random what servers and networks do on bad days."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

HANG = 1.5
"""Seconds without an answer: longer than the client waits."""
PLAIN = (
    "drop before",
    "drop after",
    "cut",
    "500",
    "503",
    "429",
    "web page",
    "nothing",
    "hang",
    "the page before",
)


_CANNED = {
    "500": b"oops",
    "503": b"busy",
    "429": b"slow",
    "web page": b"<html>hello</html>",
    "nothing": b"",
}


class Mischief:
    """The proxy; use it as a context manager.

    Args (of the constructor):
        target: the origin of the server.
        chance: draws the faults.
        counts: faults by kind, counted on.
        share: of the requests that meet a fault, while `on`.
    """

    def __init__(self, target: str, chance: Random, counts: Counter[str], share: float) -> None:
        self.on = False
        self.target = target
        self.pages: list[httpx.Response] = []
        self._chance = chance
        self._counts = counts
        self._share = share
        self._lock = threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"mischief": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self) -> str:
        """Draw the fault of a request; an empty text for none."""
        with self._lock:
            drawn = self._chance.choice(PLAIN) if self.on else ""
            if not drawn or self._chance.random() >= self._share:
                return ""
        if drawn == "the page before" and not self.pages:
            return ""
        self._counts[drawn] += 1
        return drawn

    def through(self, url: str) -> str:
        """The URL by which this proxy leads to one of the server's."""
        return self.url + urlsplit(url).path

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    mischief: Mischief

    def do_GET(self) -> None:
        fault = self.mischief.fault()
        if fault in ("drop before", "hang"):
            time.sleep(HANG if fault == "hang" else 0)
            self.close_connection = True
            return
        if fault in _CANNED:
            status = int(fault) if fault.isdigit() else 200
            self._answer(status, {"Retry-After": "0"} if fault == "429" else {}, _CANNED[fault])
            return
        answer = _forwarded(self.mischief.target + self.path, self.headers)
        if fault == "the page before":
            answer = self.mischief.pages[-1]
        elif "/objects/" in self.path and answer.is_success:
            self.mischief.pages[:] = [answer]
        if fault == "drop after":
            self.close_connection = True
            return
        kept = {name: value for name, value in answer.headers.items() if _end_to_end(name)}
        self._answer(answer.status_code, kept, answer.content, cut=fault == "cut")

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error here."""


def _forwarded(url: str, headers: Mapping[str, str]) -> httpx.Response:
    passed = {
        name: value
        for name, value in headers.items()
        if name.lower() not in ("host", "connection", "accept-encoding")
    }
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.get(url, headers={**passed, "Accept-Encoding": "identity"})


def _end_to_end(name: str) -> bool:
    return name.lower() not in (
        "content-length",
        "connection",
        "transfer-encoding",
        "date",
        "server",
    )
