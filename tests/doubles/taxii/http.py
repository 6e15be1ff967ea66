"""The transport of the double: requests, answers, and the faults that happen between them."""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

IDLE_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """What a client sent; `headers` is case-insensitive, `at` is `time.monotonic()`."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    at: float


@dataclass(frozen=True)
class Answer:
    """What the server sends back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that is answered with an error; a violation if no client may send it."""

    def __init__(self, status: int, why: str, *, violation: bool = True) -> None:
        super().__init__(why)
        self.status = status
        self.violation = violation


When = Callable[[Request], bool]


def always(_: Request) -> bool:
    """Match every request."""
    return True


def for_objects(request: Request) -> bool:
    """Match the requests for a page of objects."""
    return request.path.endswith("/objects/")


@dataclass
class Fault:
    """Something that goes wrong with the next requests that match."""

    kind: Literal["answer", "cut", "drop", "hang", "huge"]
    times: int
    when: When
    answer: Answer = Answer(500)
    amount: float = 0
    release: threading.Event = field(default_factory=threading.Event)


class Responder(Protocol):
    """What the transport needs of the double."""

    now: datetime
    violations: list[str]
    huge_sent: int

    def take(self, request: Request) -> tuple[Fault | None, Answer]:
        """Return the answer to a request, and what goes wrong with it."""


class Server(ThreadingHTTPServer):
    """A listening socket on the loopback interface that forgets no connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, double: Responder, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.double = double
        self._context = context
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its handshake is left to its own thread, so that a slow one delays
        nobody.
        """
        connection, address = super().get_request()
        if self._context:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep our own faults for the test; a client that hangs up is none."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.double.violations.append(f"the double itself failed: {error!r}")

    def close(self) -> None:
        """Stop with all connections at once: a client's pool must not reach a stopped server."""
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True  # the body follows the headers at once

    def handle_one_request(self) -> None:
        """Answer one request of whatever method."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
        except TimeoutError:
            self.raw_requestline = b""
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self._respond()

    def _respond(self) -> None:
        parts = urlsplit(self.path)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        # A parameter may be given once only; joined like this, a second one makes a value that is
        # always refused.
        query = {
            name: ", ".join(value for other, value in pairs if other == name) for name, _ in pairs
        }
        request = Request(self.command, parts.path, query, self.headers, time.monotonic())
        if self.command != "GET":
            self.close_connection = True  # its body stays unread
        fault, answer = self.server.double.take(request)
        if fault is None or fault.kind == "answer":
            self._send(answer, answer.body)
        elif fault.kind == "huge":
            self._send_huge(int(fault.amount))
        elif fault.kind == "hang" and fault.release.wait(fault.amount):
            self._send(answer, answer.body)
        else:
            self.close_connection = True
            if fault.kind == "cut":
                self._send(answer, answer.body[: int(fault.amount)])

    def _send(self, answer: Answer, body: bytes) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_huge(self, amount: int) -> None:
        filler = "a" * 60_000
        self.send_response(200)
        self.send_header("Content-Type", "application/taxii+json;version=2.1")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk('{"more": false, "objects": [')
        number = sent = 0
        while sent < amount:
            id = f"x-filler--00000000-0000-4000-8000-{number:012d}"
            item = (
                f'{{"type": "x-filler", "spec_version": "2.1", "id": "{id}", "filler": "{filler}"}}'
            )
            sent += self._chunk(("," if number else "") + item)
            self.server.double.huge_sent = sent
            number += 1
        self._chunk("]}")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, text: str) -> int:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        return len(text)

    def version_string(self) -> str:
        """Name the server."""
        return "taxii-double"

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the time of the server's own clock."""
        return format_datetime(self.server.double.now, usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet; `requests` has it all."""
