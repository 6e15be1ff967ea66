"""A MISP under the sink: the double, or a real one behind a proxy that sees and spoils requests as
the double does.

Both have an analyst, who works by REST with a client of their own; what the analyst asks is in no
list of requests.
"""

import threading
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
from doubles.misp import MispDouble, Request
from doubles.misp.dispatch import parse_body
from doubles.misp.faults import LOGIN_PAGE, Fault, Faults, page
from doubles.misp.model import ROLES, Answer
from doubles.misp.server import _Server

Json = dict[str, Any]
SHARING_GROUP = "stixbridge tests"
_ANALYST = {"X-Analyst": "1", "Accept": "application/json"}


class Misp:
    """What a test needs of a MISP.

    Args:
        url: what the sink is given.
        key: of the sink's user.
        analyst: (URL, key) of the analyst, who may do everything.
        server: the double or the proxy: has `requests`, `fail_next`, `hang_up_next`, `html_next`.
    """

    def __init__(self, url: str, key: str, analyst: tuple[str, str], server: Any) -> None:
        self.url = url
        self.key = key
        self.server = server
        self.made: set[str] = set()
        self.http = httpx.Client(
            base_url=analyst[0],
            headers={**_ANALYST, "Authorization": analyst[1]},
            timeout=60,
            follow_redirects=False,
        )
        self._groups: list[str] = []
        self._tags: list[str] = []

    @property
    def real(self) -> bool:
        """Whether this is a real MISP."""
        return not isinstance(self.server, MispDouble)

    # what the sink asked

    @property
    def requests(self) -> list[Request]:
        """What the sink asked, in order."""
        return [request for request in self.server.requests if "x-analyst" not in request.headers]

    def writes(self, path: str = "") -> list[Request]:
        """The writes below a path."""
        return [
            stored
            for stored in self.requests
            if stored.is_write and stored.path.strip("/").startswith(path)
        ]

    def forget(self) -> None:
        """Start a new list of requests."""
        self.server.requests.clear()

    # what is stored

    def event(self, event_uuid: str) -> Json | None:
        """An event with what is soft-deleted; None where there is none."""
        answer = self.http.post(f"/events/view/{event_uuid}", json={"deleted": [0, 1]})
        return answer.json()["Event"] if answer.status_code == 200 else None

    def part(self, event_uuid: str, part_uuid: str) -> Json:
        """One attribute, object, attribute of an object or event report, deleted or not."""
        event = self.event(event_uuid)
        assert event is not None, f"no event {event_uuid}"
        rows = [
            row for name in ("Attribute", "Object", "EventReport") for row in event.get(name) or []
        ]
        rows += [inner for obj in event["Object"] for inner in obj.get("Attribute") or []]
        found = [row for row in rows if row["uuid"] == part_uuid]
        assert found, f"no part {part_uuid} in {event_uuid}"
        return found[0]

    # an analyst at work

    def post(self, path: str, body: Any = None) -> Json:
        """Ask as the analyst, and mean it."""
        answer = self.http.post(path, json=body if body is not None else {})
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:400]}"
        return dict(answer.json())

    def fresh(self) -> str:
        """The UUID of an event to be; it is deleted after the test."""
        made = str(uuid.uuid4())
        self.made.add(made)
        return made

    def add_event(self, event: Json) -> Json:
        """Add an event."""
        self.made.add(event["uuid"])
        return dict(self.post("/events/add", {"Event": event})["Event"])

    def delete_event(self, event_uuid: str) -> None:
        """Delete an event; its UUID goes on the blocklist."""
        event = self.event(event_uuid)
        assert event is not None
        self.post(f"/events/delete/{event['id']}")

    def edit(self, attribute_uuid: str, **fields: Any) -> None:
        """Change fields of an attribute."""
        self.post(f"/attributes/edit/{attribute_uuid}", fields)

    def delete(self, attribute_uuid: str) -> None:
        """Soft-delete an attribute."""
        self.post(f"/attributes/delete/{attribute_uuid}")

    def tag(self, part_uuid: str, tag: str) -> None:
        """Tag an event or attribute."""
        self.post("/tags/attachTagToObject", {"uuid": part_uuid, "tag": tag})

    def untag(self, part_uuid: str, tag: str) -> None:
        """Untag an event or attribute."""
        self.post("/tags/removeTagFromObject", {"uuid": part_uuid, "tag": tag})

    def make_tag(self, tag: str) -> None:
        """Make a tag exist."""
        if isinstance(self.server, MispDouble):
            self.server.store.tag({"name": tag}, ROLES["admin"])
        else:
            self._tags.append(str(self.post("/tags/add", {"name": tag})["Tag"]["id"]))

    def make_sharing_group(self, name: str) -> None:
        """Make a sharing group exist; the double has it from the start."""
        if self.real:
            group = self.post(
                "/sharing_groups/add", {"name": name, "releasability": "tests", "active": True}
            )
            self._groups.append(str(group["SharingGroup"]["id"]))

    def close(self) -> None:
        """Delete all that the test made."""
        for event_uuid in self.made:
            event = self.event(event_uuid) if self.real else None
            if event is not None:
                self.http.post(f"/events/delete/{event['id']}")
        for kind, idents in (("tags", self._tags), ("sharing_groups", self._groups)):
            for ident in idents:
                self.http.post(f"/{kind}/delete/{ident}")
        self.http.close()


class Proxy:
    """Stands before a real MISP: records requests, and misbehaves on command as the double does."""

    def __init__(self, upstream: str) -> None:
        self.requests: list[Request] = []
        self._faults = Faults()
        self._client = httpx.Client(base_url=upstream, timeout=300, follow_redirects=False)
        self._server = _Server(("127.0.0.1", 0), self)  # type: ignore[arg-type]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_all()
        self._client.close()

    def fail_next(
        self, status: int, body: str = "", *, path: str | None = None, times: int = 1
    ) -> None:
        """Answer the next matching requests with this, and do nothing."""
        self._faults.add(Fault(Answer(body, status), False, path, times))

    def hang_up_next(
        self, *, path: str | None = None, after_storing: bool = True, times: int = 1
    ) -> None:
        """Cut the connection of the next matching requests without an answer."""
        self._faults.add(Fault(None, after_storing, path, times))

    def html_next(
        self, body: str = LOGIN_PAGE, *, status: int = 200, path: str | None = None, times: int = 1
    ) -> None:
        """Answer the next matching requests with an HTML page."""
        self._faults.add(Fault(page(status, body), False, path, times))

    def _serve(
        self, method: str, target: str, headers: Mapping[str, str], raw: bytes
    ) -> Answer | None:
        path, _, query = target.partition("?")
        request = Request(
            method, path, parse_body(raw, headers), query=query, headers=dict(headers)
        )
        self.requests.append(request)
        fault = self._faults.take(request)
        if fault and not fault.store:
            answer = fault.answer
        else:
            answer = self._forward(method, target, headers, raw)
            answer = fault.answer if fault else answer
        request.status = answer.status if answer else 0
        return answer

    def _forward(self, method: str, target: str, headers: Mapping[str, str], raw: bytes) -> Answer:
        kept = {
            name: value
            for name, value in headers.items()
            if name not in ("host", "connection", "accept-encoding")
        }
        stored = self._client.request(method, target, content=raw, headers=kept)
        shown = {
            name.title(): stored.headers[name]
            for name in ("content-type", "location")
            if name in stored.headers
        }
        return Answer(stored.text, stored.status_code, shown)
