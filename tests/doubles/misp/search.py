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


def _terms(sent: Any) -> tuple[list[str], list[str], list[str]]:
    """A filter as (any of, all of, none of), from a scalar, a list with `!` or `{"OR", …}`."""
    if isinstance(sent, dict):
        if extra := set(sent) - {"OR", "AND", "NOT"}:
            raise Unknown(f"search filter: unknown operator {sorted(extra)}")

        def listed(name: str) -> list[str]:
            value = sent.get(name) or []
            return [str(item) for item in (value if isinstance(value, list) else [value])]

        return listed("OR"), listed("AND"), listed("NOT")
    texts = [str(item) for item in (sent if isinstance(sent, list) else [sent])]
    negated = [text[1:] for text in texts if text.startswith("!")]
    return [text for text in texts if not text.startswith("!")], [], negated


def like(pattern: str, text: str) -> bool:
    """SQL's LIKE under a collation that ignores case; `%` is the wildcard MISP's users know."""
    regex = ".*".join(re.escape(part) for part in pattern.casefold().split("%"))
    return re.fullmatch(regex, text.casefold(), re.DOTALL) is not None


def _passes(sent: Any, texts: Iterable[str]) -> bool:
    texts = list(texts)
    any_of, all_of, none_of = _terms(sent)

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


def _between(sent: Any, at: str, now: int) -> bool:
    bounds = sent if isinstance(sent, list) else [sent]
    low = _moment(bounds[0], now)
    return int(at) >= low and (len(bounds) < 2 or int(at) <= _moment(bounds[1], now))


def value_parts(attribute: Json) -> list[str]:
    """What a value filter compares with: each half of a composite by itself, else the value."""
    if knowledge().composite(attribute["type"]):
        return [*attribute["value"].split("|"), attribute["value"]]
    return [attribute["value"]]


def _compressed(sent: Any) -> Any:
    """IPv6 in a filter is compressed by MISP before it looks."""
    if isinstance(sent, list):
        return [_compressed(item) for item in sent]
    if isinstance(sent, dict):
        return {name: _compressed(item) for name, item in sent.items()}
    try:
        ipaddress.ip_address(str(sent))
    except ValueError:
        return sent
    return normalise_ip(str(sent))


def _deleted(sent: Any) -> frozenset[bool]:
    """The values of `deleted` that a search shows: `[0, 1]` is both, a plain 1 deleted ones."""
    if sent is None:
        return LIVE
    values = sent if isinstance(sent, list) else [sent]
    return frozenset(True if value == "only" else truthy(value) for value in values)


def _page(items: list[Json], sent: Json) -> list[Json]:
    limit = int(sent.get("limit") or 0)
    if not limit:
        return items
    start = (max(int(sent.get("page") or 1), 1) - 1) * limit
    return items[start : start + limit]


def _check_format(sent: Json) -> None:
    if sent.get("returnFormat", "json") != "json":
        raise Unknown(f"restSearch: returnFormat {sent['returnFormat']!r} is not implemented")
    if str(sent.get("published", "")) not in ("", "0", "1", "True", "False"):
        raise Unknown(f"restSearch: published {sent['published']!r} is not implemented")


def _attribute_filters(
    store: Store, sent: Json, *, with_time: bool
) -> list[Callable[[Json, Json], bool]]:
    """The filters on (event, attribute) that were asked for."""
    now = store.clock()
    wanted: list[Callable[[Json, Json], bool]] = []
    if truthy(sent.get("value")):
        value = _compressed(sent["value"])
        wanted.append(lambda event, stored: _passes(value, value_parts(stored)))
    for name in ("type", "category"):
        if truthy(sent.get(name)):
            wanted.append(lambda event, stored, name=name: _passes(sent[name], [stored[name]]))  # type: ignore[misc]
    if sent.get("to_ids") is not None:
        wanted.append(
            lambda event, stored: (
                stored["to_ids"] == (truthy(sent["to_ids"]) and sent["to_ids"] != "exclude")
            )
        )
    if with_time and truthy(sent.get("timestamp")):
        wanted.append(lambda event, stored: _between(sent["timestamp"], stored["timestamp"], now))
    return wanted


def _event_filters(store: Store, sent: Json, *, with_time: bool) -> list[Callable[[Json], bool]]:
    now = store.clock()
    wanted: list[Callable[[Json], bool]] = []
    if truthy(sent.get("eventid")):
        any_of, _, none_of = _terms(sent["eventid"])
        chosen = {store.uuid_of("Event", item) for item in any_of}
        refused = {store.uuid_of("Event", item) for item in none_of}
        wanted.append(
            lambda event: (not chosen or event["uuid"] in chosen) and event["uuid"] not in refused
        )
    if truthy(sent.get("org")):
        wanted.append(
            lambda event: _passes(
                sent["org"], [event["Orgc"][name] for name in ("id", "name", "uuid")]
            )
        )
    if truthy(sent.get("eventinfo")):
        wanted.append(lambda event: _passes(sent["eventinfo"], [event["info"]]))
    if sent.get("published") is not None and str(sent["published"]) != "":
        wanted.append(lambda event: event["published"] == (str(sent["published"]) in ("1", "True")))
    if truthy(sent.get("event_timestamp")):
        wanted.append(lambda event: _between(sent["event_timestamp"], event["timestamp"], now))
    if truthy(sent.get("publish_timestamp")):
        wanted.append(
            lambda event: _between(sent["publish_timestamp"], event["publish_timestamp"], now)
        )
    if with_time and truthy(sent.get("timestamp")):
        wanted.append(lambda event: _between(sent["timestamp"], event["timestamp"], now))
    return wanted


def _tag_names(element: Json) -> list[str]:
    return [tag["name"] for tag in element["Tag"]]


def search_events(store: Store, actor: Actor, body: Any) -> Answer:
    """`POST /events/restSearch`: whole events, a list under `response`.

    Raises:
        Unknown: a parameter the double does not implement.
    """
    sent = require_search(body, SEARCH_EVENTS, "events/restSearch")
    _check_format(sent)
    deleted = _deleted(sent.get("deleted"))
    by_event = _event_filters(store, sent, with_time=True)
    by_attribute = _attribute_filters(store, sent, with_time=False)
    found = []
    for event in store.events.values():
        if not store.visible(event, actor) or not all(test(event) for test in by_event):
            continue
        stored = [attribute for _, attribute in attributes_of(event)]
        if "deleted" in sent and not stored:
            continue  # who asks for deleted attributes too is not shown an event that never had any
        if truthy(sent.get("uuid")):
            # The UUID of an attribute finds its event too.
            names = [event["uuid"], *(attribute["uuid"] for attribute in stored)]
            if not _passes(sent["uuid"], names):
                continue
        if truthy(sent.get("tags")):
            names = _tag_names(event) + [
                name for attribute in stored for name in _tag_names(attribute)
            ]
            if not _passes(sent["tags"], names):
                continue
        live = [attribute for attribute in stored if attribute["deleted"] in deleted]
        if by_attribute and not any(
            all(test(event, attribute) for test in by_attribute) for attribute in live
        ):
            continue
        found.append(event)
    more = {
        "metadata": truthy(sent.get("metadata")),
        "analyst_data": truthy(sent.get("includeAnalystData")),
    }
    shown = [{"Event": store.show_event(e, deleted=deleted, **more)} for e in _page(found, sent)]
    return Answer({"response": shown}, headers={"X-Result-Count": str(len(shown))})


def search_attributes(store: Store, actor: Actor, body: Any) -> Answer:
    """`POST /attributes/restSearch`: attributes, also those in objects, under `response.Attribute`.

    Raises:
        Unknown: a parameter the double does not implement.
    """
    sent = require_search(body, SEARCH_ATTRIBUTES, "attributes/restSearch")
    _check_format(sent)
    deleted = _deleted(sent.get("deleted"))
    by_event = _event_filters(store, sent, with_time=False)
    by_attribute = _attribute_filters(store, sent, with_time=True)
    found = []
    for event in store.events.values():
        if not store.visible(event, actor) or not all(test(event) for test in by_event):
            continue
        for obj, stored in attributes_of(event):
            if stored["deleted"] not in deleted or not all(
                test(event, stored) for test in by_attribute
            ):
                continue
            if truthy(sent.get("uuid")) and not _passes(
                sent["uuid"], [stored["uuid"], event["uuid"]]
            ):
                continue
            if truthy(sent.get("tags")) and not _passes(
                sent["tags"], _tag_names(stored) + _tag_names(event)
            ):
                continue
            if truthy(sent.get("excludeDecayed")) and _decayed(stored, store.clock()):
                continue
            found.append((event, obj, stored))
    shown = [_show(store, sent, *entry) for entry in _page(found, sent)]  # type: ignore[arg-type]
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


def _show(store: Store, sent: Json, event: Json, obj: Json | None, attribute: Json) -> Json:
    shown = store.show_attribute(attribute, full=truthy(sent.get("includeSightings")))
    shown.pop("ShadowAttribute", None)
    shown.pop("Galaxy", None)
    shown["Event"] = {name: event[name] for name in SUMMARY}
    if obj is not None:
        shown["Object"] = {name: obj[name] for name in ("id", "distribution", "sharing_group_id")}
    if truthy(sent.get("includeEventUuid")):
        shown["event_uuid"] = event["uuid"]
    if truthy(sent.get("includeEventTags")):
        inherited = [{**tag, "inherited": 1} for tag in event["Tag"]]
        shown["Tag"] = [*shown.get("Tag", []), *inherited]
    return shown
