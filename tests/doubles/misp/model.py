"""The small types that the parts of the double hand to each other."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
"""A JSON object."""

LIMIT = 65_535
"""Bytes that fit a MySQL `text` column."""


@dataclasses.dataclass
class Request:
    """One request as the server saw it.

    `status` is what was answered; 0 when the connection was cut instead. `path` has the query
    string cut off.
    """

    method: str
    path: str
    body: Any
    status: int = 0
    query: str = ""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_write(self) -> bool:
        """Whether this kind of request changes something."""
        return is_write(self.method, self.path)


READS = (
    "events/view", "events/restsearch", "attributes/restsearch", "sightings/restsearch",
    "tags/search", "tags/index", "logs/index",
)  # fmt: skip


def is_write(method: str, path: str) -> bool:
    """Tell requests that change something from those that only look, although many of the latter
    are POSTs.
    """
    plain = path.strip("/").lower()
    return method in ("POST", "PUT", "DELETE") and not plain.startswith(
        (*READS, "galaxy_clusters/restsearch")
    )


@dataclasses.dataclass
class Answer:
    """What goes back over the wire; `body` is JSON unless it is a str."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Refusal(Exception):
    """MISP's exceptions: `{"name", "message", "url"}` with a status, as CakePHP renders them."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


class NotSaved(Exception):
    """MISP's `saveFailResponse`: 403 with `saved: false` and `errors`."""

    def __init__(self, what: str, errors: Any, ident: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.errors = errors
        self.ident = ident


class Crash(Exception):
    """A database error half-way: 500, and what was stored before it stays (MISP uses no
    transaction).
    """


class Unknown(Exception):
    """The double does not know a route, method, parameter or field: the test must fail."""


@dataclasses.dataclass(frozen=True)
class Role:
    """The permissions that change an answer."""

    name: str
    site_admin: bool = False
    sync: bool = False
    publish: bool = False
    tag_editor: bool = False
    write: bool = True
    galaxy_editor: bool = True

    def permissions(self) -> dict[str, bool]:
        """The `perm_*` flags of `/users/view/me`."""
        return {
            "perm_add": self.write, "perm_modify": self.write, "perm_modify_org": self.write,
            "perm_publish": self.publish, "perm_delegate": self.publish, "perm_sync": self.sync,
            "perm_admin": self.site_admin, "perm_site_admin": self.site_admin, "perm_audit": True,
            "perm_auth": True, "perm_tagger": self.write, "perm_tag_editor": self.tag_editor,
            "perm_template": self.site_admin, "perm_sharing_group": self.sync,
            "perm_sighting": self.write, "perm_object_template": self.site_admin,
            "perm_galaxy_editor": self.galaxy_editor, "perm_warninglist": self.site_admin,
            "perm_analyst_data": self.write, "perm_view_feed_correlations": True,
        }  # fmt: skip


ROLES: Mapping[str, Role] = {
    "admin": Role("admin", site_admin=True, sync=True, publish=True, tag_editor=True),
    "sync": Role("Sync user", sync=True, publish=True, tag_editor=True),
    "publisher": Role("Publisher", publish=True),
    "user": Role("User"),
    "readonly": Role("Read Only", write=False, galaxy_editor=False),
    "writer": Role("A role of one's own", publish=True, tag_editor=True, galaxy_editor=False),
}
"""The roles a fresh MISP 2.5 has, as far as a client sees a difference, and one by an admin."""


@dataclasses.dataclass(frozen=True)
class Actor:
    """Who acts: the key under test, or an analyst in the web interface."""

    role: Role
    org_id: str


@dataclasses.dataclass
class Place:
    """Where an attribute lives."""

    event: Json
    object: Json | None
    attribute: Json


def attributes_of(event: Json) -> Iterator[tuple[Json | None, Json]]:
    """Every attribute of an event with the object it is in."""
    for attribute in event["Attribute"]:
        yield None, attribute
    for obj in event["Object"]:
        for attribute in obj["Attribute"]:
            yield obj, attribute


def truthy(value: Any) -> bool:
    """PHP's `!empty()`."""
    return value not in (None, False, 0, "", "0", [], {}) and value != 0.0
