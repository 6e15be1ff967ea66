"""A web server with one document of STIX: it answers 304 to a client that has the document."""

import json
import threading
from collections.abc import Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class DocumentServer:
    """The server; it runs from the beginning.

    Attributes:
        objects: of the document, by id.
        body: another body than the bundle of the objects.
        redirect: where to send clients instead.
        etag: whether the answer has an ETag.
        failing: numbers of requests, from 1, that are answered with 500.
        requests: the headers of each request.
    """

    def __init__(self, path: str = "/feed/indicators.json") -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.body: bytes | None = None
        self.redirect: str | None = None
        self.etag = True
        self.failing = range(0)
        self.requests: list[Mapping[str, str]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                double.requests.append(self.headers)
                status, headers, body = double.answer(self.headers)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def answer(self, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        if len(self.requests) in self.failing:
            return 500, {}, b""
        if self.redirect is not None:
            return 302, {"Location": self.redirect}, b""
        bundle = {"type": "bundle", "id": "bundle--1", "objects": list(self.objects.values())}
        body = self.body if self.body is not None else json.dumps(bundle).encode()
        etag = f'"{sha256(body).hexdigest()[:16]}"'
        if self.etag and headers.get("If-None-Match") == etag:
            return 304, {"ETag": etag}, b""
        return 200, {"ETag": etag} if self.etag else {}, body

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
