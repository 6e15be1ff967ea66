"""A proxy before a real server that does at random what servers and networks do on bad days."""

from __future__ import annotations

import threading
import time
from collections import Counter
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
        mischief = self
        lock = threading.Lock()
        pages: list[httpx.Response] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with lock:
                    fault = chance.choice(PLAIN) if mischief.on and chance.random() < share else ""
                if fault == "the page before" and not pages:
                    fault = ""
                if fault:
                    counts[fault] += 1
                if fault == "drop before":
                    self.close_connection = True
                    return
                if fault == "hang":
                    time.sleep(HANG)
                    self.close_connection = True
                    return
                canned = {
                    "500": b"oops",
                    "503": b"busy",
                    "429": b"slow",
                    "web page": b"<html>hello</html>",
                    "nothing": b"",
                }
                if fault in canned:
                    status = int(fault) if fault.isdigit() else 200
                    self._answer(
                        status, {"Retry-After": "0"} if fault == "429" else {}, canned[fault]
                    )
                    return
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in ("host", "connection", "accept-encoding")
                }
                with httpx.Client(trust_env=False, timeout=60) as client:
                    answer = client.get(
                        f"{target}{self.path}", headers={**headers, "Accept-Encoding": "identity"}
                    )
                if fault == "the page before":
                    answer = pages[-1]
                elif "/objects/" in self.path and answer.is_success:
                    pages[:] = [answer]
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

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that was killed is no error here."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

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


def _end_to_end(name: str) -> bool:
    return name.lower() not in (
        "content-length",
        "connection",
        "transfer-encoding",
        "date",
        "server",
    )
