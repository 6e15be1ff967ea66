"""A feed folder by HTTP: its own files and nothing else, read-only."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_FILE = re.compile(
    r"/(manifest\.json|hashes\.csv|SHA256SUMS(?:\.asc)?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json)(?:\?.*)?",
    re.ASCII,
)
_KINDS = {".json": "application/json", ".csv": "text/csv", ".asc": "application/pgp-signature"}


class FeedServer(ThreadingHTTPServer):
    """Serves a feed folder.

    Args (of the constructor):
        folder: that `FeedSink` wrote.
        host: the address to listen at.
        port: 0 for any.

    Raises:
        OSError: when it can't listen there.
    """

    daemon_threads = True

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = folder
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"


class _Handler(BaseHTTPRequestHandler):
    server: FeedServer
    server_version = "stixbridge"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        match = _FILE.fullmatch(self.path)
        try:
            data = (self.server.folder / match[1]).read_bytes() if match else None
        except OSError:
            data = None
        if match is None or data is None:
            self.send_error(404, "no such file in this feed")
            return
        self.send_response(200)
        self.send_header("Content-Type", _KINDS.get(Path(match[1]).suffix, "text/plain"))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: a path is text from outside."""
