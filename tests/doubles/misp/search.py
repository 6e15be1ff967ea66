"""`restSearch` for events and attributes."""

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from .fields import SEARCH_ATTRIBUTES, SEARCH_EVENTS, require_search
from .knowledge import knowledge
from .model import Actor, Answer, Json, Unknown, attributes_of, truthy
from .store import LIVE, Store
from .values import normalise_ip, seen

SUMMARY = ("org_id", "distribution", "publish_timestamp", "id", "info", "orgc_id", "uuid")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _terms(given: Any) -> tuple[list[str], list[str], list[str]]:
    """A filter as (any of, all of, none of), from a scalar, a list with `!` or `{"OR", …}`."""
    if isinstance(given, dict):
        if extra := set(given) - {"OR", "AND", "NOT"}:
            raise Unknown(f"search filter: unknown operator {sorted(extra)}")

        def listed(name: str) -> list[str]:
            value = given.get(name) or []
            return [str(item) for item in (value if isinstance(value, list) else [value])]

        return listed("OR"), listed("AND"), listed("NOT")
    texts = [str(item) for item in (given if isinstance(given, list) else [given])]
    negated = [text[1:] for text in texts if text.startswith("!")]
    return [text for text in texts if not text.startswith("!")], [], negated


def like(pattern: str, text: str) -> bool:
    """SQL's LIKE under a collation that ignores case; `%` is the wildcard MISP's users know."""
    regex = ".*".join(re.escape(part) for part in pattern.casefold().split("%"))
    return re.fullmatch(regex, text.casefold(), re.DOTALL) is not None


def _passes(given: Any, texts: Iterable[str]) -> bool:
    texts = list(texts)
    any_of, all_of, none_of = _terms(given)

    def hit(term: str) -> bool:
        return any(like(term, text) for text in texts)

    return (
        (not any_of or any(map(hit, any_of)))
        and all(map(hit, all_of))
        and not any(map(hit, none_of))
    )


def _moment(value: Any, now: int) -> int:
    match = re.fullmatch(r"(\d+)(?:\.0*)?([smhdw])", str(value))
    if match:
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        return int(float(value))
    except ValueError as error:
        raise Unknown(f"search filter: cannot read the time {value!r}") from error


def _between(given: Any, at: str, now: int) -> bool:
    bounds = given if isinstance(given, list) else [given]
    low = _moment(bounds[0], now)
    return int(at) >= low and (len(bounds) < 2 or int(at) <= _moment(bounds[1], now))


def value_parts(attribute: Json) -> list[str]:
    """What a value filter compares with: each half of a composite by itself, else the value."""
    if knowledge().composite(attribute["type"]):
        return [*attribute["value"].split("|"), attribute["value"]]
    return [attribute["value"]]


def _compressed(given: Any) -> Any:
    """IPv6 in a filter is compressed by MISP before it looks."""
    if isinstance(given, list):
        return [_compressed(item) for item in given]
    if isinstance(given, dict):
        return {name: _compressed(item) for name, item in given.items()}
    try:
        ipaddress.ip_address(str(given))
    except ValueError:
        return given
    return normalise_ip(str(given))


def _deleted(given: Any) -> frozenset[bool]:
    """The values of `deleted` that a search shows: `[0, 1]` is both, a plain 1 deleted ones."""
    if given is None:
        return LIVE
    values = given if isinstance(given, list) else [given]
    return frozenset(True if value == "only" else truthy(value) for value in values)


def _page(items: list[Json], given: Json) -> list[Json]:
    limit = int(given.get("limit") or 0)
    if not limit:
        return items
    start = (max(int(given.get("page") or 1), 1) - 1) * limit
    return items[start : start + limit]


def _check_format(given: Json) -> None:
    if given.get("returnFormat", "json") != "json":
        raise Unknown(f"restSearch: returnFormat {given['returnFormat']!r} is not implemented")
    if str(given.get("published", "")) not in ("", "0", "1", "True", "False"):
        raise Unknown(f"restSearch: published {given['published']!r} is not implemented")


def _attribute_filters(
    store: Store, given: Json, *, with_time: bool
) -> list[Callable[[Json, Json], bool]]:
    """The filters on (event, attribute) that were asked for."""
    now = store.clock()
    wanted: list[Callable[[Json, Json], bool]] = []
    if truthy(given.get("value")):
        value = _compressed(given["value"])
        wanted.append(lambda event, held: _passes(value, value_parts(held)))
    for name in ("type", "category"):
        if truthy(given.get(name)):
            wanted.append(lambda event, held, name=name: _passes(given[name], [held[name]]))  # type: ignore[misc]
    if given.get("to_ids") is not None:
        wanted.append(
            lambda event, held: (
                held["to_ids"] == (truthy(given["to_ids"]) and given["to_ids"] != "exclude")
            )
        )
    if with_time and truthy(given.get("timestamp")):
        wanted.append(lambda event, held: _between(given["timestamp"], held["timestamp"], now))
    return wanted


def _event_filters(store: Store, given: Json, *, with_time: bool) -> list[Callable[[Json], bool]]:
    now = store.clock()
    wanted: list[Callable[[Json], bool]] = []
    if truthy(given.get("eventid")):
        any_of, _, none_of = _terms(given["eventid"])
        chosen = {store.uuid_of("Event", item) for item in any_of}
        refused = {store.uuid_of("Event", item) for item in none_of}
        wanted.append(
            lambda event: (not chosen or event["uuid"] in chosen) and event["uuid"] not in refused
        )
    if truthy(given.get("org")):
        wanted.append(
            lambda event: _passes(
                given["org"], [event["Orgc"][name] for name in ("id", "name", "uuid")]
            )
        )
    if truthy(given.get("eventinfo")):
        wanted.append(lambda event: _passes(given["eventinfo"], [event["info"]]))
    if given.get("published") is not None and str(given["published"]) != "":
        wanted.append(
            lambda event: event["published"] == (str(given["published"]) in ("1", "True"))
        )
    if truthy(given.get("event_timestamp")):
        wanted.append(lambda event: _between(given["event_timestamp"], event["timestamp"], now))
    if truthy(given.get("publish_timestamp")):
        wanted.append(
            lambda event: _between(given["publish_timestamp"], event["publish_timestamp"], now)
        )
    if with_time and truthy(given.get("timestamp")):
        wanted.append(lambda event: _between(given["timestamp"], event["timestamp"], now))
    return wanted


def _tag_names(element: Json) -> list[str]:
    return [tag["name"] for tag in element["Tag"]]


def search_events(store: Store, actor: Actor, body: Any) -> Answer:
    """`POST /events/restSearch`: whole events, a list under `response`.

    Raises:
        Unknown: a parameter the double does not implement.
    """
    given = require_search(body, SEARCH_EVENTS, "events/restSearch")
    _check_format(given)
    deleted = _deleted(given.get("deleted"))
    by_event = _event_filters(store, given, with_time=True)
    by_attribute = _attribute_filters(store, given, with_time=False)
    found = []
    for event in store.events.values():
        if not store.visible(event, actor) or not all(test(event) for test in by_event):
            continue
        held = [attribute for _, attribute in attributes_of(event)]
        if "deleted" in given and not held:
            continue  # who asks for deleted attributes too is not shown an event that never had any
        if truthy(given.get("uuid")):
            # The UUID of an attribute finds its event too.
            names = [event["uuid"], *(attribute["uuid"] for attribute in held)]
            if not _passes(given["uuid"], names):
                continue
        if truthy(given.get("tags")):
            names = _tag_names(event) + [
                name for attribute in held for name in _tag_names(attribute)
            ]
            if not _passes(given["tags"], names):
                continue
        live = [attribute for attribute in held if attribute["deleted"] in deleted]
        if by_attribute and not any(
            all(test(event, attribute) for test in by_attribute) for attribute in live
        ):
            continue
        found.append(event)
    more = {
        "metadata": truthy(given.get("metadata")),
        "analyst_data": truthy(given.get("includeAnalystData")),
    }
    shown = [{"Event": store.show_event(e, deleted=deleted, **more)} for e in _page(found, given)]
    return Answer({"response": shown}, headers={"X-Result-Count": str(len(shown))})


def search_attributes(store: Store, actor: Actor, body: Any) -> Answer:
    """`POST /attributes/restSearch`: attributes, also those in objects, under `response.Attribute`.

    Raises:
        Unknown: a parameter the double does not implement.
    """
    given = require_search(body, SEARCH_ATTRIBUTES, "attributes/restSearch")
    _check_format(given)
    deleted = _deleted(given.get("deleted"))
    by_event = _event_filters(store, given, with_time=False)
    by_attribute = _attribute_filters(store, given, with_time=True)
    found = []
    for event in store.events.values():
        if not store.visible(event, actor) or not all(test(event) for test in by_event):
            continue
        for obj, held in attributes_of(event):
            if held["deleted"] not in deleted or not all(
                test(event, held) for test in by_attribute
            ):
                continue
            if truthy(given.get("uuid")) and not _passes(
                given["uuid"], [held["uuid"], event["uuid"]]
            ):
                continue
            if truthy(given.get("tags")) and not _passes(
                given["tags"], _tag_names(held) + _tag_names(event)
            ):
                continue
            if truthy(given.get("excludeDecayed")) and _decayed(held, store.clock()):
                continue
            found.append((event, obj, held))
    shown = [_show(store, given, *entry) for entry in _page(found, given)]  # type: ignore[arg-type]
    return Answer({"response": {"Attribute": shown}}, headers={"X-Result-Count": str(len(shown))})


def _decayed(attribute: Json, now: int) -> bool:
    """The decaying models' trap: a `last_seen` ahead of now scores 0.

    Real decay over time is not modelled.
    """
    last = attribute["last_seen"]
    return bool(last) and last > seen_at(now)


def seen_at(now: int) -> str:
    """A point of time in the form of `last_seen`, so that the two compare as text."""
    return str(seen(dt.datetime.fromtimestamp(now, dt.UTC).isoformat()))


def _show(store: Store, given: Json, event: Json, obj: Json | None, attribute: Json) -> Json:
    shown = store.show_attribute(attribute, full=truthy(given.get("includeSightings")))
    shown.pop("ShadowAttribute", None)
    shown.pop("Galaxy", None)
    shown["Event"] = {name: event[name] for name in SUMMARY}
    if obj is not None:
        shown["Object"] = {name: obj[name] for name in ("id", "distribution", "sharing_group_id")}
    if truthy(given.get("includeEventUuid")):
        shown["event_uuid"] = event["uuid"]
    if truthy(given.get("includeEventTags")):
        inherited = [{**tag, "inherited": 1} for tag in event["Tag"]]
        shown["Tag"] = [*shown.get("Tag", []), *inherited]
    return shown
