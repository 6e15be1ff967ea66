"""A TAXII 2.0 server in this process: the same content as the double of 2.1, paged by Range."""

import json
import re
from collections.abc import Sequence

from .double import TaxiiDouble
from .http import Answer, Refused, Request
from .records import FILTERS, Stix, described, select

TAXII_TYPE = "application/vnd.oasis.taxii+json; version=2.0"
STIX_TYPE = "application/vnd.oasis.stix+json; version=2.0"
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Taxii20Double(TaxiiDouble):
    """The server; its methods and faults are those of the double of 2.1.

    Attributes:
        collections_at_once: How many collections `/collections/` gives in a range; None for all.
        content_range: Whether an answer says which range it is.
    """

    collections_at_once: int | None = None
    content_range = True

    def _inspect(self, request: Request) -> None:
        if request.method != "GET":
            raise Refused(405, f"{request.method} is not for reading")
        wanted = STIX_TYPE if request.path.endswith("/objects/") else TAXII_TYPE
        if request.headers.get_all("Accept") != [wanted]:
            raise Refused(406, f"Accept must be {wanted}: {request.headers.get_all('Accept')}")
        if not request.path.endswith("/"):
            raise Refused(404, "the trailing slash is missing")
        if unknown := request.query.keys() - {"added_after", *FILTERS}:
            raise Refused(400, f"unknown parameters: {', '.join(sorted(unknown))}")
        if not _STAMP.fullmatch(request.query.get("added_after", "2026-01-01T00:00:00.000Z")):
            raise Refused(400, f"added_after: {request.query['added_after']!r}")

    def _in_root(self, request: Request, root: int, rest: Sequence[str]) -> Answer:
        here = {item.id: item for item in self._collections.values() if item.root == root}
        match rest:
            case []:
                return self._json({"title": f"root {root}", "versions": ["taxii-2.0"]})
            case ["collections"]:
                rows = [described(item) for item in here.values()]
                return self._range(request, rows, "collections", self.collections_at_once)
            case ["collections", id] if id in here:
                return self._json(described(here[id]))
            case ["collections", id, "objects" | "manifest" as kind] if id in here:
                if not here[id].can_read:
                    raise Refused(self.denied_status, "may not be read", violation=False)
                query = dict(request.query)
                if "added_after" in query:
                    query["added_after"] = query["added_after"].replace("Z", "000Z")
                records = select(here[id], query)
                rows = [record.object for record in records]
                if kind == "manifest":
                    rows = [
                        {
                            "id": record.object["id"],
                            "date_added": record.date_added,
                            "versions": [record.version],
                        }
                        for record in records
                    ]
                return self._range(request, rows, "objects", self.page_size)
        raise Refused(404, "no such resource", violation=False)

    def _range(self, request: Request, rows: list[Stix], name: str, size: int | None) -> Answer:
        body: Stix = {name: rows}
        if name == "objects" and request.path.endswith("/objects/"):
            body |= {"type": "bundle", "id": "bundle--0", "spec_version": "2.0"}
        asked = re.fullmatch(r"items=(\d+)-(\d+)", request.headers.get("Range", ""))
        if size is None:
            return self._json(body)
        first = int(asked[1]) if asked else 0
        last = int(asked[2]) if asked else len(rows)
        if rows and first >= len(rows):
            raise Refused(416, "past the end", violation=False)
        body[name] = rows[first : min(last + 1, first + size)]
        count = len(body[name])
        headers = {"Content-Range": f"items {first}-{first + count - 1}/{len(rows)}"}
        answer = self._json(body, headers if count and self.content_range else {})
        return Answer(206 if count < len(rows) else 200, answer.body, answer.headers)

    def _json(self, body: Stix, headers: dict[str, str] | None = None) -> Answer:
        content_type = {"Content-Type": self.content_type or TAXII_TYPE}
        return Answer(200, json.dumps(body).encode(), content_type | (headers or {}))
