"""A TAXII 2.1 server in this process: strict about what it is sent, and misbehaving on command as
real servers do.

It answers everything that the specification forbids with 4xx and remembers it as a violation;
leaving the `with` block raises when there was one. It has a clock of its own, so every stamp is the
same in every run.

Switches (attributes) last until they are unset; the methods `…_next` act on the next requests only.
"""

import base64
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from .http import Answer, Fault, Refused, Request, Server, When, always, for_objects
from .records import (
    FILTERS,
    Collection,
    Record,
    Stix,
    Walk,
    described,
    manifest,
    recorded,
    select,
    sound,
)

MEDIA_TYPE = "application/taxii+json;version=2.1"
ENDLESS_LOOP = 25  # answers without progress after which a client is taken to go on for ever


def unchanged(_: Request, answer: Answer) -> Answer:
    return answer


@dataclass(kw_only=True, eq=False)
class Misbehaviour:
    """The switches. As made, a double behaves as the specification wishes."""

    more_without_next: bool = False  # pages by header only, as OpenTAXII's manifest
    next_consumed_once: bool = (
        False  # the same `next` again yields the following page, as on medallion
    )
    next_dies_after: int | None = None  # pages of one listing after which its `next` is refused
    empty_page_with_more: int = 0  # so many empty pages that promise more, after the first page
    more_on_last_page: bool = False  # one empty page follows the last object, as OpenCTI
    next_with_more_false: bool = False  # `next` on the last page too, as OpenCTI
    no_limit_max: bool = (
        False  # any `limit` is granted, and without one the whole collection is sent
    )
    not_advancing: bool = False  # always the first page, with `more` and without `next`
    bundle_instead_of_envelope: bool = False  # no `more`, no `next`
    null_objects: bool = False  # an empty envelope says `"objects": null`
    omit_objects: bool = (
        True  # an empty envelope has no `objects`, as the specification has it; else `[]`
    )
    content_type: str | None = None  # another Content-Type
    no_date_headers: bool = False
    undefined_headers: bool | Literal["empty"] = (
        False  # X-TAXII-…: undefined, on all pages or on empty ones
    )
    date_header_format: str | None = None  # strftime; "%a %b %d %Y" is MITRE's
    ignores_match: bool = False  # every `match[…]` is accepted and does nothing
    denied_status: int = 403  # for a collection that may not be read; OpenTAXII answers 404
    newest_first: bool = False  # lists in the wrong order
    accept: str = MEDIA_TYPE  # the one Accept header that is answered
    # a form of `added_after` of its own: another is refused with 400, which is no client's fault
    added_after: re.Pattern[str] | None = None
    largest_limit: int | None = None  # a larger `limit` is answered with `too_large`
    too_large: tuple[int, str] = (413, "Payload Too Large")
    # a last word on every answer
    change: Callable[[Request, Answer], Answer] = unchanged


class TaxiiDouble(Misbehaviour):
    """The server; use it as a context manager.

    Attributes:
        requests: Everything that was asked, in order.
        violations: What a client may not do and did.
        extra_roots: API root URLs that discovery lists besides our own, such as one on another
            host.
        now: The server's clock; it moves on by a second with every `add`.
        huge_sent: The bytes that the last `huge_page` got rid of before the client hung up.
    """

    def __init__(
        self,
        *,
        page_size: int = 100,
        auth: tuple[str, str] | None = None,
        bearer: str | None = None,
        header: tuple[str, str] | None = None,
        relative_roots: bool = False,
        tls: tuple[Path | str, Path | str] | None = None,
        client_ca: Path | str | None = None,
        api_roots: int = 1,
    ) -> None:
        """Take a free port; requests are answered from `__enter__` on.

        Args:
            page_size: The largest page, and the size of one when no `limit` is given.
            auth: User and password for Basic.
            bearer: A Bearer token. Of several ways to authenticate, any one is enough.
            header: Name and value of another header that authenticates.
            relative_roots: Whether discovery gives API roots as paths.
            tls: Certificate and key files; the server speaks HTTPS then.
            client_ca: Asks for a client certificate issued by this authority.
            api_roots: How many API roots there are; the first is the default.
        """
        super().__init__()
        self.page_size = page_size
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.extra_roots: list[str] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.huge_sent = 0
        self._accepted = [("Authorization", f"Bearer {bearer}")] if bearer else []
        if auth:
            self._accepted.append(
                ("Authorization", "Basic " + base64.b64encode(":".join(auth).encode()).decode())
            )
        if header:
            self._accepted.append(header)
        self._relative_roots = relative_roots
        self._roots = api_roots
        self._collections: dict[str, Collection] = {}
        self._hidden: list[tuple[Collection, list[Record]]] = []
        self._walks: dict[str, Walk] = {}
        self._issued = 0
        self._stuck = 0
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            if client_ca:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        self._server = Server(self, context)
        self.port: int = self._server.server_address[1]
        self._base = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.url = f"{self._base}/taxii2/"
        self.api_root = f"{self._base}/api1/"

    # Content

    def add_collection(
        self, title: str, *, id: str | None = None, can_read: bool = True, root: int = 1
    ) -> str:
        """Add a collection to an API root (the first is 1) and return its id."""
        made = id or str(uuid.UUID(int=(0x4 << 76) | (0x8 << 60) | (len(self._collections) + 1)))
        self._collections[title] = Collection(made, title, can_read, root)
        return made

    def add(self, title: str, objects: Iterable[Stix], date_added: str | None = None) -> str:
        """Add objects, all with one stamp, and return the stamp: `date_added`, or the server's
        clock.
        """
        with self._lock:
            stamp = self._stamp(date_added)
            self._collections[title].records += [recorded(item, stamp) for item in objects]
            return stamp

    def visible_later(
        self, title: str, objects: Iterable[Stix], date_added: str | None = None
    ) -> str:
        """Stamp objects now that can only be seen after `reveal`, as in a slow transaction; return
        the stamp.
        """
        with self._lock:
            stamp = self._stamp(date_added)
            self._hidden.append(
                (self._collections[title], [recorded(item, stamp) for item in objects])
            )
            return stamp

    def reveal(self) -> None:
        """Show what `visible_later` held back."""
        with self._lock:
            for collection, records in self._hidden:
                collection.records += records
            self._hidden.clear()

    def remove(self, title: str, id: str) -> None:
        """Delete all versions of an object; TAXII leaves no trace of it."""
        with self._lock:
            records = self._collections[title].records
            records[:] = [record for record in records if record.object["id"] != id]

    def clock_step(self, seconds: float) -> None:
        """Put the server's clock forward, or back if negative."""
        self.now += timedelta(seconds=seconds)

    def forget_next(self) -> None:
        """Refuse every `next` given so far, as after a restart."""
        with self._lock:
            self._walks.clear()

    # Faults. With several, the first that matches a request acts on it.

    def fail_next(
        self,
        status: int,
        body: bytes | str | Mapping[str, Any] = "",
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        when: When = always,
    ) -> None:
        """Answer requests with this instead; nothing is read, so no `next` is used up."""
        kind = MEDIA_TYPE if isinstance(body, Mapping) else "text/html; charset=utf-8"
        if isinstance(body, Mapping):
            body = json.dumps(body)
        content = body.encode() if isinstance(body, str) else body
        answer = Answer(status, content, {"Content-Type": kind, **(headers or {})})
        self._faults.append(Fault("answer", times, when, answer))

    def redirect_next(
        self, url: str, status: int = 302, times: int = 1, when: When = always
    ) -> None:
        """Send the client elsewhere."""
        self.fail_next(status, headers={"Location": url}, times=times, when=when)

    def cut_next(self, bytes: int, times: int = 1, when: When = for_objects) -> None:
        """Announce the whole answer, send so many bytes of its body and close.

        A `next` is used up.
        """
        self._faults.append(Fault("cut", times, when, amount=bytes))

    def drop_next(self, times: int = 1, when: When = always) -> None:
        """Close the connection without an answer. A `next` is used up."""
        self._faults.append(Fault("drop", times, when))

    def hang_next(
        self, seconds: float = 30, times: int = 1, when: When = always
    ) -> threading.Event:
        """Say nothing until the returned event is set, then answer; close after so many seconds."""
        fault = Fault("hang", times, when, amount=seconds)
        self._faults.append(fault)
        return fault.release

    def huge_page(self, bytes: int, times: int = 1, when: When = for_objects) -> None:
        """Send a valid page of at least so many bytes, without saying how long it is."""
        self._faults.append(Fault("huge", times, when, amount=bytes))

    # Judgement

    def check(self) -> None:
        """Raise an AssertionError that lists the violations, if there are any."""
        if self.violations:
            raise AssertionError("the client broke TAXII 2.1:\n" + "\n".join(self.violations))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fault in self._faults:
            fault.release.set()
        self._server.close()
        if error is None:
            self.check()

    # Answering

    def take(self, request: Request) -> tuple[Fault | None, Answer]:
        with self._lock:
            self.requests.append(request)
            fault = next(
                (fault for fault in self._faults if fault.times > 0 and fault.when(request)), None
            )
            try:
                self._inspect(request)
                if fault:
                    fault.times -= 1
                if fault and fault.kind in {"answer", "huge"}:
                    return fault, fault.answer
                return fault, self.change(request, self._route(request))
            except Refused as refused:
                if refused.violation:
                    self.violations.append(
                        f"{request.method} {request.path} {request.query}: {refused}"
                    )
                body = {"title": str(refused), "http_status": str(refused.status)}
                headers = {"Content-Type": MEDIA_TYPE}
                if refused.status == 401:
                    headers["WWW-Authenticate"] = 'Basic realm="taxii"'
                return None, Answer(refused.status, json.dumps(body).encode(), headers)

    def _inspect(self, request: Request) -> None:
        """Refuse what no client may send to any resource."""
        if request.method != "GET":
            raise Refused(405, f"{request.method} is not for reading")
        if request.headers.get_all("Accept") != [self.accept]:
            raise Refused(
                406, f"Accept must be exactly {MEDIA_TYPE}: {request.headers.get_all('Accept')}"
            )
        if not request.path.endswith("/"):
            raise Refused(404, "the trailing slash is missing")
        if "Authorization" in request.headers and not self._accepted:
            raise Refused(400, "credentials were sent to a server that has asked for none")
        known = (
            {"limit", "added_after", "next", *FILTERS}
            if request.path.endswith(("objects/", "manifest/"))
            else set()
        )
        if unknown := request.query.keys() - known:
            raise Refused(400, f"unknown parameters: {', '.join(sorted(unknown))}")
        own_form = self.added_after
        since = request.query.get("added_after")
        if own_form is not None and since is not None and not own_form.fullmatch(since):
            raise Refused(400, "not a valid datetime", violation=False)
        limit = request.query.get("limit", "1")
        if self.largest_limit is not None and int(limit) > self.largest_limit:
            raise Refused(*self.too_large, violation=False)
        for name, value in request.query.items():
            if not (name == "added_after" and own_form) and not sound(name, value):
                raise Refused(400, f"bad value for {name}: {value!r}")

    def _route(self, request: Request) -> Answer:
        if self._accepted and not any(
            request.headers.get(name) == value for name, value in self._accepted
        ):
            raise Refused(401, "not authenticated", violation=False)
        match request.path.strip("/").split("/"):
            case ["taxii2"]:
                base = "" if self._relative_roots else self._base
                roots = [
                    f"{base}/api{number + 1}/" for number in range(self._roots)
                ] + self.extra_roots
                return self._json({"title": "double", "default": roots[0], "api_roots": roots})
            case [root, *rest] if root in {f"api{number + 1}" for number in range(self._roots)}:
                return self._in_root(request, int(root[3:]), rest)
        raise Refused(404, "no such resource", violation=False)

    def _in_root(self, request: Request, root: int, rest: Sequence[str]) -> Answer:
        here = {item.id: item for item in self._collections.values() if item.root == root}
        match rest:
            case []:
                return self._json(
                    {
                        "title": f"root {root}",
                        "versions": [MEDIA_TYPE],
                        "max_content_length": 1 << 26,
                    }
                )
            case ["collections"]:
                return self._json(
                    {"collections": [described(item) for item in here.values()]} if here else {}
                )
            case ["collections", id] if id in here:
                return self._json(described(here[id]))
            case ["collections", id, "objects" | "manifest" as kind] if id in here:
                if not here[id].can_read:
                    raise Refused(
                        self.denied_status, "this collection may not be read", violation=False
                    )
                page, more, token = self._page(request, here[id])
                items = [
                    record.object if kind == "objects" else manifest(record) for record in page
                ]
                return self._json(self._envelope(items, more, token), self._date_headers(page))
        raise Refused(404, "no such resource", violation=False)

    def _page(
        self, request: Request, collection: Collection
    ) -> tuple[list[Record], bool, str | None]:
        query = dict(request.query)
        if self.ignores_match:
            query = {name: value for name, value in query.items() if not name.startswith("match")}
        token = query.pop("next", None)
        size = int(query.get("limit", self.page_size))
        if not self.no_limit_max:
            size = min(size, self.page_size)
        elif "limit" not in query:
            size = len(collection.records)
        if self.not_advancing:
            self._stuck += 1
            if self._stuck > ENDLESS_LOOP:
                raise Refused(
                    400, "the client goes on although `X-TAXII-Date-Added-Last` does not advance"
                )
            return select(collection, {**query, "added_after": ""})[:size], True, None
        walk = Walk((request.path, query), select(collection, query))
        if token is not None:
            walk = self._resume(token, walk.key)
        elif self.newest_first:
            walk = replace(walk, records=walk.records[::-1])
        if token is not None and walk.empty < self.empty_page_with_more:
            page = []
            walk = replace(walk, empty=walk.empty + 1, pages=walk.pages + 1)
        else:
            page = walk.records[walk.offset : walk.offset + size]
            walk = replace(walk, offset=walk.offset + size, pages=walk.pages + 1)
        more = walk.offset < len(walk.records) or (self.more_on_last_page and bool(page))
        if token is not None and self.next_consumed_once:
            del self._walks[token]
        if self.more_without_next or not (more or self.next_with_more_false):
            return page, more, None
        if token is None or not self.next_consumed_once:
            self._issued += 1
            token = f"next-{self._issued}"
        self._walks[token] = walk
        return page, more, token

    def _resume(self, token: str, key: tuple[str, dict[str, str]]) -> Walk:
        if "limit" not in key[1]:
            raise Refused(400, "`next` without `limit`")
        walk = self._walks.get(token)
        if walk is None:
            ours = re.fullmatch(r"next-(\d+)", token)
            raise Refused(
                400, "`next` is not valid", violation=not (ours and int(ours[1]) <= self._issued)
            )
        if walk.key != key:
            raise Refused(400, f"`next` with other parameters than before: {walk.key}")
        if self.next_dies_after is not None and walk.pages >= self.next_dies_after:
            raise Refused(400, "`next` has expired", violation=False)
        return walk

    def _envelope(self, items: list[Stix], more: bool, token: str | None) -> Stix:
        if self.bundle_instead_of_envelope:
            return {"type": "bundle", "id": f"bundle--{uuid.UUID(int=0)}", "objects": items}
        envelope: Stix = {"more": more} if items or more or token else {}
        if token:
            envelope["next"] = token
        if items or not self.omit_objects:
            envelope["objects"] = items
        elif self.null_objects:
            envelope["objects"] = None
        return envelope

    def _date_headers(self, page: list[Record]) -> dict[str, str]:
        first, last = "X-TAXII-Date-Added-First", "X-TAXII-Date-Added-Last"
        if self.undefined_headers is True or (self.undefined_headers == "empty" and not page):
            return {first: "undefined", last: "undefined"}
        if self.no_date_headers or not page:
            return {}
        ends = {first: page[0].date_added, last: page[-1].date_added}
        if self.not_advancing:
            ends[last] = ends[first]
        if self.date_header_format:
            shown = self.date_header_format
            return {
                name: datetime.fromisoformat(value).strftime(shown) for name, value in ends.items()
            }
        return ends

    def _json(self, body: Stix, headers: dict[str, str] | None = None) -> Answer:
        content_type = {"Content-Type": self.content_type or MEDIA_TYPE}
        return Answer(200, json.dumps(body).encode(), content_type | (headers or {}))

    def _stamp(self, date_added: str | None) -> str:
        if date_added is None:
            date_added = self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self.now += timedelta(seconds=1)
        if not sound("added_after", date_added):
            raise ValueError(f"date_added must look like 2026-01-31T09:30:00.000000Z: {date_added}")
        return date_added
