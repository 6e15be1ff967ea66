"""From a URL to the collections that can be polled.

Discovery, API roots, collections, and what people paste.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from stixbridge.errors import ConfigError, ServerError
from stixbridge.http.refusals import origin
from stixbridge.settings.mistakes import near
from stixbridge.sources.base import Collection
from stixbridge.sources.taxii.answers import OtherVersion, is_bundle, is_true

Row = dict[str, Any]
_OBJECTS = re.compile(r"(.*/collections/[^/]+/)(?:objects|manifest)/.*")
_WELL_KNOWN = ("taxii2/", "taxii/")
"""Where discovery is: TAXII 2.1, section 4.1, and 2.0."""
_NO_DISCOVERY = (403, 404, 405)


@dataclass(slots=True)
class Offer:
    """What a server has.

    Attributes:
        rows: its collections, each with the `_root` that it is at.
        errors: of API roots that can't be read beside others.
    """

    rows: list[Row] = field(default_factory=list)
    errors: list[ServerError] = field(default_factory=list)


class Discovery:
    """Finds the collections behind a URL.

    Args (of the constructor):
        url: discovery, API root or collection.
        fetch: reads the resource at a URL.
        fetch_rows: reads the collections of an API root.
        name: of the source.
    """

    def __init__(
        self,
        url: str,
        fetch: Callable[[str], Row],
        fetch_rows: Callable[[str], Iterable[Row]],
        name: str,
    ) -> None:
        self._fetch = fetch
        self._fetch_rows = fetch_rows
        self._place = f"source {name}"
        base = url.partition("?")[0].rstrip("/") + "/"
        pasted = _OBJECTS.fullmatch(base)
        self._url = pasted[1] if pasted else base

    def offer(self) -> Offer:
        """Find what the server has.

        Raises:
            ServerError: when it does not answer as TAXII.
        """
        resource, failure = self._start()
        if is_bundle(resource) or ("objects" in resource and "api_roots" not in resource):
            raise ServerError(
                f"{self._place}: {self._url} serves STIX objects, not TAXII; give discovery, an API"
                ' root or a collection as url, or set type = "https" for a bundle at a URL'
            )
        if "id" in resource and "can_read" in resource:
            return Offer([{**resource, "_root": urljoin(self._url, "../..")}])
        if isinstance(resource.get("collections"), list):
            return Offer(list(_usable(resource["collections"], urljoin(self._url, ".."))))
        roots = self._roots(resource)
        if not roots:
            return Offer(self._rows_of(self._url, resource, failure))
        return self._read_roots(roots)

    def _start(self) -> tuple[Row, ServerError | None]:
        """The resource at the URL, or at the known places of a host; and why there is none."""
        try:
            return self._fetch(self._url), None
        except OtherVersion:
            raise
        except ServerError as error:
            if error.status not in _NO_DISCOVERY:
                raise
            failure = error
        if urlsplit(self._url).path in ("", "/"):
            for path in _WELL_KNOWN:
                try:
                    resource = self._fetch(urljoin(self._url, path))
                except ServerError:
                    continue
                self._url = urljoin(self._url, path)
                return resource, None
            raise ServerError(
                f"{failure}; discovery is often at {urljoin(self._url, _WELL_KNOWN[0])}, and is"
                " not there:"
                " ask the operator for the URL of discovery or of an API root",
                status=failure.status,
            )
        # servers without discovery: the URL may be an API root all the same
        return {}, failure

    def _roots(self, resource: Row) -> list[str]:
        """The API roots that discovery names, the default first."""
        listed = resource.get("api_roots")
        named = [resource.get("default"), *(listed if isinstance(listed, list) else [])]
        if listed == [] and not isinstance(resource.get("default"), str):
            raise ServerError(
                f"{self._place}: discovery at {self._url} names no API root; the operator may"
                " have given"
                " these credentials no rights, or give the URL of an API root as url"
            )
        roots = [f"{root.rstrip('/')}/" for root in named if isinstance(root, str) and root]
        return list(dict.fromkeys(joined(self._url, root) for root in roots))

    def _read_roots(self, roots: Sequence[str]) -> Offer:
        """The collections of API roots; one that can't be read stops no other."""
        offer = Offer()
        for root in roots:
            try:
                offer.rows += _usable(self._fetch_rows(root), root)
            except OtherVersion:
                raise
            except ServerError as error:
                error.args = (f"{error}; {self._about_root(root)}",)
                offer.errors.append(error)
        if len(offer.errors) == len(roots):
            raise offer.errors[0]
        return offer

    def _about_root(self, root: str) -> str:
        text = f"discovery at {self._url} names this API root"
        try:
            elsewhere = origin(root) != origin(self._url)
        except ValueError:
            elsewhere = True
        if elsewhere:
            return (
                f"{text}, on another host: behind a reverse proxy it may be wrong; give the API"
                " root as it"
                " is reached from here as url"
            )
        return f"{text}; to leave it out, give another API root as url"

    def _rows_of(self, root: str, resource: Row, failure: ServerError | None) -> list[Row]:
        """The collections of the URL itself, which may be an API root."""
        try:
            return list(_usable(self._fetch_rows(root), root))
        except OtherVersion:
            raise
        except ServerError as error:
            if resource or (failure is not None and error.status == failure.status == 404):
                error.args = (
                    f"{error}; {self._url} is neither discovery nor an API root nor a collection:"
                    " give the"
                    " URL of one of them",
                )
            raise


def collections(
    rows: Sequence[Row], wanted: Sequence[str], place: str, url: str
) -> list[Collection]:
    """The collections to poll.

    Args:
        rows: of an offer.
        wanted: titles, aliases or ids; all readable ones when empty.
        place: of the source, for messages.
        url: of the server.

    Raises:
        ConfigError: when a wanted one is not there or may not be read.
        ServerError: when there is none to read.
    """
    readable = [row for row in rows if _readable(row)]
    chosen = _chosen(rows, wanted, place, url) if wanted else readable
    if not chosen:
        can = f"{len(rows)} collections, none of which can be read with these credentials"
        raise ServerError(
            f"{place}: {url} has {can if rows else 'no collection that can be read'}; ask the"
            " operator for the right to read, or look at url and auth"
        )
    return _with_own_ids(rows, chosen)


def _with_own_ids(rows: Sequence[Row], chosen: Sequence[Row]) -> list[Collection]:
    """Some collections, each once; one id at two API roots is two collections."""
    urls: dict[str, set[str]] = {}
    for collection in map(_collection, rows):
        urls.setdefault(collection.id, set()).add(collection.url)
    result = [
        Collection(item.id if len(urls[item.id]) == 1 else item.url, item.title, item.url)
        for item in map(_collection, chosen)
    ]
    return list(dict.fromkeys(result))


def _chosen(rows: Sequence[Row], wanted: Sequence[str], place: str, url: str) -> list[Row]:
    chosen: list[Row] = []
    problems: list[str] = []
    for name in wanted:
        matches = _matches(rows, name)
        readable = [row for row in matches if _readable(row)]
        chosen += readable
        if not matches:
            titles = sorted(str(row.get("title") or row["id"]) for row in rows)
            there = f"; there are: {', '.join(titles) or 'none'}"
            problems.append(f"{place}: no collection {name!r} at {url}{near(name, titles)}{there}")
        elif not readable:
            problems.append(f"{place}: collection {name!r} may not be read with these credentials")
    if problems:
        raise ConfigError(problems)
    return chosen


def _matches(rows: Sequence[Row], name: str) -> list[Row]:
    """The collections of a name, by its exact case where there is one."""
    exact = [row for row in rows if name in _names(row)]
    return exact or [row for row in rows if name.lower() in map(str.lower, _names(row))]


def _names(row: Row) -> list[str]:
    return [str(row[name]) for name in ("id", "title", "alias") if row.get(name)]


def _readable(row: Row) -> bool:
    return is_true(row.get("can_read", True))


def _usable(rows: Iterable[Any], root: str) -> Iterable[Row]:
    """Rows with an id, as text: servers write numbers, too."""
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("id"), str | int) and row["id"] != "":
            yield {**row, "id": str(row["id"]), "_root": root}


def _collection(row: Mapping[str, Any]) -> Collection:
    id_ = str(row["id"])
    url = joined(str(row["_root"]), f"collections/{quote(id_, safe='')}/")
    return Collection(id_, str(row.get("title") or id_), url)


def joined(base: str, reference: str) -> str:
    """A reference of a server as a URL.

    Raises:
        ServerError: when it is none.
    """
    try:
        return urljoin(base, reference)
    except ValueError as error:
        raise ServerError(f"{base}: {reference!r} is not a URL ({error})") from None
