"""A small TAXII 2.1 server in this process, for the demo: one API root with one collection."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from stixbridge import times

MEDIA_TYPE = "application/taxii+json;version=2.1"
COLLECTION = "2f6d1f0e-8a38-4d2b-9f1c-6a4f1d6f0a01"
_START = 1_767_600_000_000_000  # 2026-01-05T08:00:00Z
_STEP = 3_600_000_000


class DemoServer:
    """Serves pages of STIX objects on 127.0.0.1, on a free port, until the block ends.

    Args (of the constructor):
        pages: each is got an hour after the one before, and served as one page.
        title: of the collection.
    """

    def __init__(
        self, pages: Sequence[Sequence[dict[str, Any]]], title: str = "Indicators"
    ) -> None:
        self._pages = [(_START + at * _STEP, list(page)) for at, page in enumerate(pages)]
        self.title = title
        handler = type("Handler", (_Handler,), {"demo": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def url(self) -> str:
        """The discovery URL."""
        return f"http://127.0.0.1:{self._server.server_port}/taxii2/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, path: str, query: dict[str, list[str]]
    ) -> tuple[dict[str, Any], dict[str, str]] | None:
        """The resource at a path, and its headers; None where there is none."""
        collection = {
            "id": COLLECTION,
            "title": self.title,
            "can_read": True,
            "can_write": False,
            "media_types": ["application/stix+json;version=2.1"],
        }
        if path == "/taxii2/":
            return {"title": "stixbridge demo", "default": "/demo/", "api_roots": ["/demo/"]}, {}
        if path == "/demo/":
            return {"title": "Demo", "versions": [MEDIA_TYPE], "max_content_length": 10_000_000}, {}
        if path == "/demo/collections/":
            return {"collections": [collection]}, {}
        if path == f"/demo/collections/{COLLECTION}/":
            return collection, {}
        if path == f"/demo/collections/{COLLECTION}/objects/":
            return self._objects(query)
        return None

    def _objects(self, query: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, str]]:
        after = times.microseconds(query["added_after"][0]) if "added_after" in query else None
        left = [(added, page) for added, page in self._pages if after is None or added > after]
        at = int(query["next"][0]) if "next" in query else 0
        if at >= len(left):
            return {}, {}
        added, page = left[at]
        envelope: dict[str, Any] = {"more": at + 1 < len(left), "objects": page}
        if envelope["more"]:
            envelope["next"] = str(at + 1)
        stamp = times.to_text(added)
        return envelope, {"X-TAXII-Date-Added-First": stamp, "X-TAXII-Date-Added-Last": stamp}


class _Handler(BaseHTTPRequestHandler):
    demo: DemoServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        found = self.demo.answer(parts.path, parse_qs(parts.query))
        body, headers = found if found is not None else ({"title": "not found"}, {})
        data = orjson.dumps(body)
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", MEDIA_TYPE)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the demo's output is the demo's."""
