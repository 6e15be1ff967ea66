"""From a request to its answer: strictness, rights, routes, MISP's error bodies."""

import gzip
import json
import re
from collections.abc import Mapping
from typing import Any

from . import event_routes, other_routes, part_routes
from .call import Call, Route
from .faults import page
from .model import Actor, Answer, Crash, NotSaved, Refusal, Request, Unknown
from .store import Store

ROUTES = [*event_routes.ROUTES, *part_routes.ROUTES, *other_routes.ROUTES]
BAD_JSON = (
    "Invalid JSON input. Make sure that the JSON input is a correctly formatted JSON string. "
    "The request has been blocked to avoid an unfiltered request."
)
BAD_KEY = (
    "Authentication failed. Please make sure you pass the API key of an API enabled user along in "
    "the Authorization header."
)
CRASHED = "An Internal Error Has Occurred."


class Malformed:
    """Stands for a body that is no JSON."""


def parse_body(raw: bytes, headers: Mapping[str, str]) -> Any:
    """The body as JSON; None where there is none, `Malformed` where it is none.

    Raises:
        Unknown: a content type or encoding that the double does not take.
    """
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError):
            return Malformed()
    elif encoding != "identity":
        raise Unknown(f"Content-Encoding {encoding!r}")
    if not raw.strip():
        return None
    if not headers.get("content-type", "").lower().startswith("application/json"):
        raise Unknown(
            f"a body with Content-Type {headers.get('content-type')!r}: MISP reads application/json"
        )
    try:
        return json.loads(raw)
    except ValueError:
        return Malformed()


def find(method: str, path: str) -> tuple[Route, list[str], dict[str, str]]:
    """The route of a path with its positional and named parts.

    Raises:
        Unknown: there is none, or it does not take these parts.
    """
    parts = [part for part in path.removesuffix(".json").split("/") if part]
    named = dict(part.split(":", 1) for part in parts[2:] if ":" in part)
    plain = [part for part in parts if ":" not in part]
    if len(plain) == 2 and plain[0] == "events" and re.fullmatch(r"\d+|[0-9a-fA-F-]{36}", plain[1]):
        plain.insert(1, "view")
    if len(plain) >= 2:
        # CakePHP takes `eventReports` and `event_reports` for the same controller.
        controller = re.sub(r"([a-z])([A-Z])", r"\1_\2", plain[0]).lower()
        for route in ROUTES:
            if (route.method, route.controller, route.action) != (method, controller, plain[1]):
                continue
            args = plain[2:]
            if not route.args[0] <= len(args) <= route.args[1]:
                raise Unknown(f"{method} {path}: wrong number of path parts")
            if extra := sorted(set(named) - route.named):
                raise Unknown(f"{method} {path}: unknown named parameter {', '.join(extra)}")
            return route, args, named
    raise Unknown(f"{method} {path}: unknown route")


def respond(store: Store, actor: Actor, key: str, base_url: str, request: Request) -> Answer:
    """Answer one request, whose body is parsed already.

    Raises:
        Unknown: the double does not know what was asked.
    """
    route, args, named = find(request.method, request.path)
    if request.query:
        raise Unknown(f"{request.method} {request.path}: unknown query {request.query!r}")
    if "application/json" not in request.headers.get("accept", ""):
        return page()
    if key not in (request.headers.get("authorization"), request.headers.get("x-misp-auth")):
        return refused(403, BAD_KEY, request.path)
    if isinstance(request.body, Malformed):
        return refused(405, BAD_JSON, request.path)
    call = Call(store, actor, base_url, request.path, args, named, request.body)
    try:
        return route.handler(call)
    except Refusal as error:
        return refused(error.status, error.message, request.path, error.headers)
    except NotSaved as error:
        message = f"Could not {route.action} {error.what}"
        body = {
            "saved": False,
            "name": message,
            "message": message,
            "url": request.path,
            "errors": error.errors,
        }
        return Answer(body | ({"id": error.ident} if error.ident else {}), 403)
    except Crash:
        return refused(500, CRASHED, request.path)


def refused(
    status: int, message: str, url: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """An exception as MISP renders it."""
    return Answer({"name": message, "message": message, "url": url}, status, headers or {})
