"""TAXII servers to test against: medallion 3 and OpenTAXII (TAXII 2.1), and medallion 1 (TAXII
2.0).

They differ in almost everything that the specification leaves open, so a client that is right on
all three has met most traps. medallion takes a `date_added` for every object; OpenTAXII stamps
objects itself when they are posted. medallion's filters are quadratic: keep its collections below a
few hundred objects.
"""

import base64
import hashlib
import json
import secrets
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from .environment import environment
from .process import ServerProcess, StartError

STATUS_SECONDS = 60.0
Stix = dict[str, Any]
Dated = Mapping[str, list[tuple[Stix, str]]]


class _Media(NamedTuple):
    taxii: str
    stix: str
    wrapper: Callable[[list[Stix]], Stix]


TAXII21 = _Media(
    "application/taxii+json;version=2.1",
    "application/taxii+json;version=2.1",
    lambda objects: {"objects": objects},
)
TAXII20 = _Media(
    "application/vnd.oasis.taxii+json; version=2.0",
    "application/vnd.oasis.stix+json; version=2.0",
    lambda objects: {
        "type": "bundle",
        "id": f"bundle--{uuid.uuid4()}",
        "spec_version": "2.0",
        "objects": objects,
    },
)


class TaxiiServer:
    """A running server.

    Attributes:
        url: The discovery URL.
        api_root: The URL of its only API root.
        user: The user name for Basic.
        password: Its password.
        token: A Bearer token, on servers that know them.
        collections: The id of each collection, by title.
        log: What the server printed.
    """

    def __init__(
        self, process: ServerProcess, *, path: str, user: str, password: str, media: _Media
    ) -> None:
        self.url = f"http://127.0.0.1:{process.port}{path}"
        self.api_root = ""
        self.user = user
        self.password = password
        self.token: str | None = None
        self.collections: dict[str, str] = {}
        self.log = process.log
        self._process = process
        self._media = media

    def objects_url(self, title: str) -> str:
        """Return the URL of a collection's objects."""
        return f"{self.api_root}collections/{self.collections[title]}/objects/"

    def add(self, title: str, objects: Iterable[Stix]) -> Stix:
        """Post objects to a collection and wait until the server has stored them.

        Returns:
            The status resource. Objects may have failed (medallion counts a duplicate as failed):
            see `failures`.

        Raises:
            urllib.error.HTTPError: The server refused the request.
            TimeoutError: The status did not become `complete`.
        """
        body = json.dumps(self._media.wrapper(list(objects))).encode()
        status = self.request(self.objects_url(title), body=body)
        deadline = time.monotonic() + STATUS_SECONDS
        while status["status"] != "complete":
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the objects were not stored after {STATUS_SECONDS:.0f} s: {status}"
                )
            time.sleep(0.05)
            status = self.request(f"{self.api_root}status/{status['id']}/")
        return status

    def request(self, url: str, *, body: bytes | None = None) -> Stix:
        """Return the JSON answer to a GET, or to a POST of objects, made as this server's user."""
        headers = {"Accept": self._media.taxii, "Authorization": self.authorization}
        if body is not None:
            headers["Content-Type"] = self._media.stix
        return _open(urllib.request.Request(url, data=body, headers=headers))

    @property
    def authorization(self) -> str:
        """The header that authenticates: Bearer where the server knows it, else Basic."""
        if self.token:
            return f"Bearer {self.token}"
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def stop(self) -> None:
        """End the server; a second call does nothing."""
        self._process.stop()

    def _discover(self) -> bool:
        # The password is this server's own, so a stranger on a port that we lost cannot be taken
        # for it.
        found = self.request(self.url)
        self.api_root = urllib.parse.urljoin(self.url, found["default"])
        listed = self.request(f"{self.api_root}collections/").get("collections", [])
        self.collections = {collection["title"]: collection["id"] for collection in listed}
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def medallion(
    objects: Dated,
    *,
    page_size: int = 100,
    session_timeout: int = 30,
    readable: Collection[str] | None = None,
    dir: Path,
) -> TaxiiServer:
    """Start medallion 3 (TAXII 2.1) with these objects.

    Args:
        objects: For each collection's title, STIX objects with the time at which the server got
            them.
        page_size: The server's maximum; a larger `limit` is cut down to it.
        session_timeout: Seconds after the first page at which `next` stops working; looked at every
            second.
        readable: The titles that may be read, all when absent; the others answer 403.
        dir: Where the server's files and its log go.
    """
    home = Path(tempfile.mkdtemp(prefix="medallion-", dir=dir))
    user, password = "admin", secrets.token_hex(8)
    backend = {
        "module": "medallion.backends.memory_backend",
        "module_class": "MemoryBackend",
        "filename": str(home / "data.json"),
        "session_timeout": session_timeout,
        "check_interval": 1,
    }
    config = {"backend": backend, "users": {user: password}, "taxii": {"max_page_size": page_size}}

    def configure(port: int) -> list[str]:
        return _configure_medallion(
            home, port, config, _medallion_data(objects, readable, TAXII21, port)
        )

    return _started(
        "medallion", configure, home, path="/taxii2/", user=user, password=password, media=TAXII21
    )


def medallion20(
    objects: Dated, *, page_size: int = 100, readable: Collection[str] | None = None, dir: Path
) -> TaxiiServer:
    """Start medallion 1 (TAXII 2.0) with these objects; the arguments are those of `medallion`."""
    home = Path(tempfile.mkdtemp(prefix="medallion20-", dir=dir))
    user, password = "admin", secrets.token_hex(8)
    backend = {
        "module": "medallion.backends.taxii.memory_backend",
        "module_class": "MemoryBackend",
        "filename": str(home / "data.json"),
    }
    auth = {
        "module": "medallion.backends.auth.memory_auth",
        "module_class": "AuthMemoryBackend",
        "users": {user: _werkzeug_hash(password)},
    }
    config = {"backend": backend, "auth": auth, "taxii": {"max_page_size": page_size}}

    def configure(port: int) -> list[str]:
        return _configure_medallion(
            home, port, config, _medallion_data(objects, readable, TAXII20, port)
        )

    return _started(
        "medallion20", configure, home, path="/taxii/", user=user, password=password, media=TAXII20
    )


def opentaxii(
    objects: Mapping[str, list[Stix]], *, readable: Collection[str] | None = None, dir: Path
) -> TaxiiServer:
    """Start OpenTAXII (TAXII 2.1) and post these objects to it, in this order.

    The server's `token` is a Bearer token; Basic works as well and costs it ten times as long.

    Args:
        objects: For each collection's title, STIX objects. `created` and `modified` must have a
            fraction.
        readable: The titles that may be read, all when absent; the others answer 404. All may be
            written.
        dir: Where the server's database and its log go.
    """
    home = Path(tempfile.mkdtemp(prefix="opentaxii-", dir=dir))
    user, password = "reader", secrets.token_hex(8)
    rights = [
        (title, ["read", "write"] if readable is None or title in readable else ["write"])
        for title in objects
    ]
    attempt = iter(range(1_000_000))

    def configure(port: int) -> list[str]:
        # A database of its own for each attempt: the collections would be there twice after a
        # second one.
        data = home / f"data{next(attempt)}"
        data.mkdir()
        settings = {
            "port": port,
            "dir": str(data),
            "secret": secrets.token_hex(32),
            "user": user,
            "password": password,
            "title": "OpenTAXII",
            "collections": rights,
        }
        (data / "settings.json").write_text(json.dumps(settings))
        return ["opentaxii", str(data / "settings.json")]

    server = _started(
        "opentaxii", configure, home, path="/taxii2/", user=user, password=password, media=TAXII21
    )
    try:
        for title, items in objects.items():
            if items:
                server.add(title, items)
    except BaseException:
        server.stop()
        raise
    return server


def _started(
    name: str,
    configure: Callable[[int], list[str]],
    home: Path,
    *,
    path: str,
    user: str,
    password: str,
    media: _Media,
) -> TaxiiServer:
    python = environment(name)
    for attempts_left in (2, 1, 0):
        process = ServerProcess(python, configure, log=home / "server.log")
        server = TaxiiServer(process, path=path, user=user, password=password, media=media)

        def probe(server: TaxiiServer = server) -> bool:
            if name == "opentaxii":
                server.token = _login(server)
            return server._discover()

        try:
            process.wait_ready(probe)
        except StartError as error:
            # Somebody took the port between our choice and the server's start.
            if not attempts_left or "in use" not in str(error):
                raise
        except BaseException:
            process.stop()
            raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _login(server: TaxiiServer) -> str:
    url = urllib.parse.urljoin(server.url, "/management/auth")
    body = json.dumps({"username": server.user, "password": server.password}).encode()
    token: str = _open(
        urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    )["token"]
    return token


def _open(request: urllib.request.Request) -> Stix:
    # The machine's proxy settings are for other hosts than this one.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=60
    ) as answer:
        found: Stix = json.load(answer)
        return found


def _configure_medallion(home: Path, port: int, config: Stix, data: Stix) -> list[str]:
    (home / "data.json").write_text(json.dumps(data))
    (home / "config.json").write_text(json.dumps(config))
    return ["medallion", "--host", "127.0.0.1", "--port", str(port), str(home / "config.json")]


def _medallion_data(
    objects: Dated, readable: Collection[str] | None, media: _Media, port: int
) -> Stix:
    root = f"http://127.0.0.1:{port}/api1/"
    versions = ["taxii-2.0"] if media is TAXII20 else [media.taxii]
    collections = []
    for title, dated in objects.items():
        collection = {
            "id": str(uuid.uuid4()),
            "title": title,
            "can_read": readable is None or title in readable,
            "can_write": True,
            "media_types": [
                media.stix if media is TAXII20 else "application/stix+json;version=2.1"
            ],
        }
        content = _content20(dated) if media is TAXII20 else _content21(dated)
        collections.append(collection | content)
    information = {
        "title": "medallion",
        "versions": versions,
        "max_content_length": 64 * 1024 * 1024,
    }
    return {
        "/discovery": {"title": "medallion", "default": root, "api_roots": [root]},
        "api1": {"information": information, "status": [], "collections": collections},
    }


def _content21(dated: list[tuple[Stix, str]]) -> Stix:
    """Return objects and manifest as medallion 3 keeps them: a manifest entry for each version."""
    objects, manifest = [], []
    for item, date_added in dated:
        version = item.get("modified", item.get("created"))
        if (
            version is None
        ):  # an observable: the time of arrival is its version, kept in a hidden property
            version = date_added
            item = {**item, "_date_added": date_added}
        media_type = f"application/stix+json;version={item.get('spec_version', '2.1')}"
        objects.append(item)
        manifest.append(
            {
                "id": item["id"],
                "date_added": date_added,
                "version": version,
                "media_type": media_type,
            }
        )
    return {"objects": objects, "manifest": manifest}


def _content20(dated: list[tuple[Stix, str]]) -> Stix:
    """Return objects and manifest as medallion 1 keeps them: one manifest entry for each id."""
    manifest: dict[str, Stix] = {}
    for item, date_added in dated:
        version = item.get("modified", item.get("created", date_added))
        if item["id"] in manifest:
            entry = manifest[item["id"]]
            entry["versions"] = sorted({*entry["versions"], version}, reverse=True)
        else:
            entry = {"date_added": date_added, "versions": [version], "media_types": [TAXII20.stix]}
            manifest[item["id"]] = {"id": item["id"], **entry}
    return {"objects": [item for item, _ in dated], "manifest": list(manifest.values())}


def _werkzeug_hash(password: str) -> str:
    """Return the password as medallion 1 wants it; few rounds, since every request is checked
    against it.
    """
    salt = secrets.token_hex(8)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 1000).hex()
    return f"pbkdf2:sha256:1000${salt}${digest}"
