"""The HTTP server and the face of the double."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from . import analyst
from .dispatch import CRASHED, find, parse_body, refused, respond
from .faults import LOGIN_PAGE, Fault, Faults, page
from .model import ROLES, Actor, Answer, Json, Request, Unknown, attributes_of
from .store import Store

KEY = "d" * 40
ORG = {"name": "BRIDGE", "uuid": "c1b2d3e4-0000-4000-8000-000000000001"}


def _now() -> int:
    return int(time.time())


class MispDouble:
    """A MISP 2.5 on 127.0.0.1 that keeps and drops what the real one does.

    Args:
        role: "admin", "sync" (sync, publish and tag editor), "publisher" (publish, no tag editor),
            "user" (neither) or "readonly".
        port: A port, or 0 for a free one.
        cost_per_attribute: Seconds each stored attribute takes. The lock is free meanwhile, so that
            a client that timed out and tries again meets the half-filled event.
        known_tags: Tags that exist already.
        clusters: Known galaxy clusters by tag name.
        sharing_groups: Names, or dicts with `id`, `name`, `uuid`.
        tls: Certificate and key file.
        clock: What time it is.

    Leaving the `with` block without an exception calls `check()`.
    """

    def __init__(
        self,
        *,
        role: str = "admin",
        port: int = 0,
        cost_per_attribute: float = 0.0,
        known_tags: Iterable[str] = (),
        clusters: Mapping[str, Json] = {},
        sharing_groups: Iterable[Any] = (),
        tls: tuple[str, str] | None = None,
        clock: Callable[[], int] = _now,
    ) -> None:
        self.key = KEY
        self.org = dict(ORG)
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.clock = clock
        self.store = Store(
            clock=self._time,
            org=self.org,
            known_tags=known_tags,
            clusters=clusters,
            sharing_groups=sharing_groups,
        )
        self.cost_per_attribute = cost_per_attribute
        self.store.pause = self._pause
        self._watchers: list[Callable[[], None]] = []
        self._actor = Actor(ROLES[role], self.store.org["id"])
        self._analyst = analyst.Analyst(self.store)
        self._faults = Faults()
        self._lock = threading.Lock()
        self._coming: set[str] = set()
        self._server = _Server(("127.0.0.1", port), self)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake belongs into the connection's own thread, not into accept().
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None:
            self.check()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_all()
        self._thread.join()

    # what happened

    @property
    def events(self) -> dict[str, Json]:
        """By event UUID what is stored, soft-deleted parts included (`deleted` true)."""
        return self.store.events

    @property
    def drops(self) -> list[Json]:
        """MISP's own log of silent drops: `title` names the part, `change` the reason."""
        return self.store.drops

    def writes(self) -> list[Request]:
        """The requests of a kind that changes something, whatever was answered."""
        return [request for request in self.requests if request.is_write]

    def check(self) -> None:
        """Fail if anything was asked that the double does not know.

        Raises:
            AssertionError: it lists every violation.
        """
        assert not self.violations, (
            "the MISP double was asked what it does not know:\n" + "\n".join(self.violations)
        )

    def attribute(self, uuid: str) -> Json:
        """The stored attribute, deleted or not.

        Raises:
            KeyError: there is none.
        """
        with self._lock:
            return self.store.attributes[uuid.lower()].attribute

    def find(self, value: str) -> list[Json]:
        """The live attributes with exactly that stored value, also in objects."""
        with self._lock:
            return [
                stored
                for event in self.events.values()
                for obj, stored in attributes_of(event)
                if stored["value"] == value
                and not stored["deleted"]
                and not (obj and obj["deleted"])
            ]

    def snapshot(self) -> Json:
        """The content of all events without ids, timestamps and server-made UUIDs, to compare two
        runs.
        """
        with self._lock:
            return analyst.snapshot(self.store)

    # an analyst at work

    def analyst_event(self, event: Json) -> str:
        """Add an event as an analyst with all rights, and return its UUID; `Orgc` makes it someone
        else's.
        """
        with self._lock:
            return self._analyst.add_event(event)

    def analyst_edit(self, attribute_uuid: str, **fields: Any) -> None:
        """Change fields of an attribute."""
        with self._lock:
            self._analyst.edit(attribute_uuid, fields)

    def analyst_delete(self, attribute_uuid: str) -> None:
        """Soft-delete an attribute."""
        with self._lock:
            self._analyst.delete(attribute_uuid)

    def analyst_tag(self, uuid: str, tag: str) -> None:
        """Tag an event or attribute."""
        with self._lock:
            self._analyst.tag(uuid, tag)

    def analyst_untag(self, uuid: str, tag: str) -> None:
        """Untag an event or attribute."""
        with self._lock:
            self._analyst.tag(uuid, tag, remove=True)

    def analyst_sighting(self, attribute_uuid: str, *, type: int = 0, source: str = "") -> None:
        """Add a sighting to an attribute."""
        with self._lock:
            self._analyst.sighting(attribute_uuid, type, source)

    # misbehaving on command

    def fail_next(self, status: int, body: str = "", *, path: str | None = None, times: int = 1,
                  headers: Mapping[str, str] = {},
                  when: Callable[[Request], bool] = lambda _: True) -> None:  # fmt: skip
        """Answer the next matching requests with this, and do nothing."""
        self._faults.add(Fault(Answer(body, status, dict(headers)), False, path, times, when))

    def watch(self, see: Callable[[], None]) -> None:
        """Call this after each request, when what it did can be seen."""
        self._watchers.append(see)

    def lose_tag(self, name: str, *, lost: bool = True) -> None:
        """Drop a tag in silence wherever it is sent, as for a role that may not create it; or no
        longer.
        """
        (self.store.lost_tags.add if lost else self.store.lost_tags.discard)(name)

    def hang_up_next(
        self,
        *,
        path: str | None = None,
        after_storing: bool = True,
        times: int = 1,
        when: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """Cut the connection of the next matching requests without an answer, their effect in place
        or not.
        """
        self._faults.add(Fault(None, after_storing, path, times, when))

    def html_next(
        self, body: str = LOGIN_PAGE, *, status: int = 200, path: str | None = None, times: int = 1
    ) -> None:
        """Answer the next matching requests with an HTML page, as a proxy or an expired session
        would.
        """
        self._faults.add(Fault(page(status, body), False, path, times))

    def calm_down(self) -> None:
        """Forget the faults that still wait for their request."""
        self._faults.clear()

    # serving

    def _time(self) -> int:
        # Looked up at each call, so that a test may replace `double.clock`.
        return int(self.clock())

    def _pause(self) -> None:
        if self.cost_per_attribute:
            self._lock.release()
            time.sleep(self.cost_per_attribute)
            self._lock.acquire()

    @contextlib.contextmanager
    def _violation(self) -> Iterator[None]:
        try:
            yield
        except Unknown as error:
            self.violations.append(str(error))

    def _serve(
        self, method: str, target: str, headers: dict[str, str], raw: bytes
    ) -> Answer | None:
        """Answer one request; None means: hang up."""
        path, _, query = target.partition("?")
        request = Request(method, path, None, query=query, headers=headers)
        answer: Answer | None = refused(501, "Unknown to the MISP double", path)
        with self._lock:
            self.requests.append(request)
            with self._violation():
                find(method, path)
                request.body = parse_body(raw, headers)
                fault = self._faults.take(request)
                if fault and not fault.store:
                    answer = fault.answer
                else:
                    answer = self._respond(request)
                    answer = fault.answer if fault else answer
            request.status = answer.status if answer else 0
            for see in self._watchers:
                see()
        return answer

    def _respond(self, request: Request) -> Answer:
        # MISP looks for a tag and then creates it: of two requests that bring it at a time one ends
        # in a duplicate key.
        new = _tags_in(request.body) - self.store.tags.keys()
        if new & self._coming:
            return refused(500, CRASHED, request.path)
        self._coming |= new
        try:
            return respond(self.store, self._actor, self.key, self.url, request)
        except Unknown:
            raise
        except Exception as error:
            # A bug of the double must fail the test too, not look like a server in trouble.
            self.violations.append(
                f"{request.method} {request.path}: the double itself failed: {error!r}"
            )
            return refused(500, CRASHED, request.path)
        finally:
            self._coming -= new


def _tags_in(body: Any) -> set[str]:
    """The names of all tags anywhere in a body, as MISP compares them."""
    if isinstance(body, list):
        return set().union(*map(_tags_in, body))
    if not isinstance(body, Mapping):
        return set()
    rows = body.get("Tag")
    own = (
        {str(row.get("name")).lower() for row in rows if isinstance(row, Mapping)}
        if isinstance(rows, list)
        else set()
    )
    return own.union(*(_tags_in(value) for key, value in body.items() if key != "Tag"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], double: MispDouble) -> None:
        self.double = double
        self.open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that `close` ends idle ones too."""
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self.open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        """Cut every open connection."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    # Headers and body in one packet: two small ones cost 40 ms with delayed acknowledgements.
    wbufsize = -1
    disable_nagle_algorithm = True
    # An idle keep-alive connection must not hold its thread for ever.
    timeout = 30

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def _any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.double._serve(self.command, self.path, headers, raw)
        if answer is None:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        data = text.encode()
        sent = {
            "Content-Type": "application/json",
            **answer.headers,
            "Content-Length": str(len(data)),
        }
        self.send_response(answer.status)
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests keep `double.requests` instead."""
