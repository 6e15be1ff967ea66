"""Every field and parameter the double knows. Anything else makes the test fail.

The sets hold what MISP reads and what it gives out itself, since a client may send back what it
got.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from .model import Json, Unknown, truthy

_SHARING = {"distribution", "sharing_group_id", "SharingGroup"}
_ANALYST = {"Note", "Opinion", "Relationship"}

EVENT = frozenset(
    {
        "id", "uuid", "info", "date", "timestamp", "published", "publish_timestamp",
        "threat_level_id", "analysis", "disable_correlation", "extends_uuid", "protected", "locked",
        "proposal_email_lock", "attribute_count", "orgc_id", "org_id", "Orgc", "Org", "user_id",
        "event_creator_email", "sighting_timestamp", "Attribute", "ShadowAttribute", "RelatedEvent",
        "Galaxy", "Object", "EventReport", "CryptographicKey", "Tag", "Feed",
    }
    | _SHARING | _ANALYST
)  # fmt: skip
ATTRIBUTE = frozenset(
    {
        "id", "event_id", "object_id", "object_relation", "category", "type", "value", "to_ids",
        "uuid", "timestamp", "comment", "deleted", "disable_correlation", "first_seen", "last_seen",
        "data", "Tag", "Galaxy", "Sighting", "ShadowAttribute",
    }
    | _SHARING | _ANALYST
)  # fmt: skip
OBJECT = frozenset(
    {
        "id", "event_id", "name", "meta-category", "description", "template_uuid",
        "template_version", "uuid", "timestamp", "comment", "deleted", "first_seen", "last_seen",
        "ObjectReference", "Attribute",
    }
    | _SHARING | _ANALYST
)  # fmt: skip
REFERENCE = frozenset(
    {
        "id", "uuid", "timestamp", "object_id", "object_uuid", "source_uuid", "event_id",
        "referenced_id", "referenced_uuid", "referenced_type", "relationship_type", "comment",
        "deleted", "Object", "Attribute",
    }
)  # fmt: skip
TAG = frozenset(
    {
        "id", "name", "colour", "exportable", "user_id", "org_id", "hide_tag", "numerical_value",
        "is_galaxy", "is_custom_galaxy", "local_only", "local", "deleted", "relationship_type",
    }
)  # fmt: skip
REPORT = frozenset(
    {"id", "uuid", "event_id", "name", "content", "timestamp", "deleted"} | _SHARING | _ANALYST
)
SIGHTING = frozenset(
    {
        "id", "uuid", "attribute_id", "attribute_uuid", "event_id", "org_id", "date_sighting",
        "source", "type", "Organisation",
    }
)  # fmt: skip
ANALYST = frozenset(
    {
        "id", "uuid", "object_uuid", "object_type", "authors", "org_uuid", "orgc_uuid", "Org",
        "Orgc", "created", "modified", "locked", "note", "language", "opinion", "comment",
        "relationship_type", "related_object_uuid", "related_object_type", "note_type",
        "note_type_name",
    }
    | _SHARING | _ANALYST
)  # fmt: skip

SEARCH_COMMON = frozenset(
    {
        "returnFormat", "page", "limit", "value", "type", "category", "org", "tags", "uuid",
        "eventid", "timestamp", "published", "deleted", "to_ids", "eventinfo", "publish_timestamp",
        "event_timestamp", "withAttachments",
    }
)  # fmt: skip
SEARCH_EVENTS = SEARCH_COMMON | {"metadata", "includeAnalystData"}
SEARCH_ATTRIBUTES = SEARCH_COMMON | {
    "includeEventUuid",
    "includeEventTags",
    "includeSightings",
    "excludeDecayed",
}
SEARCH_OFF = frozenset(
    {
        "metadata", "enforceWarninglist", "includeEventUuid", "includeEventTags", "includeContext",
        "headerless", "includeSightings", "includeDecayScore", "includeCorrelations",
        "excludeDecayed", "sgReferenceOnly",
    }
)  # fmt: skip
"""Switches that PyMISP always sends, as 0: harmless when off, unknown to the double when on."""


def require(body: Any, known: Iterable[str], where: str) -> Json:
    """Refuse an object with a field the double does not know.

    Raises:
        Unknown: a field is not in `known`, or the body is no object.
    """
    if not isinstance(body, Mapping):
        raise Unknown(f"{where}: expected an object, got {type(body).__name__}")
    if extra := sorted(set(body) - set(known)):
        raise Unknown(f"{where}: unknown field {', '.join(map(repr, extra))}")
    return dict(body)


def require_search(body: Any, known: frozenset[str], where: str) -> Json:
    """Like `require`, for a search: switches that are off may stand there."""
    body = require(body, known | SEARCH_OFF, where)
    if on := sorted(name for name in body if name not in known and truthy(body[name])):
        raise Unknown(f"{where}: parameter {', '.join(map(repr, on))} is not implemented")
    return {name: value for name, value in body.items() if name in known}


def _each(parent: Json, name: str, known: frozenset[str], where: str) -> list[tuple[str, Json]]:
    items = parent.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise Unknown(f"{where}.{name}: expected a list, got {type(items).__name__}")
    found = []
    for number, item in enumerate(items):
        path = f"{where}.{name}[{number}]"
        found.append((path, require(item, known, path)))
    return found


def _check_analyst(parent: Json, where: str) -> None:
    for name in sorted(_ANALYST):
        for path, item in _each(parent, name, ANALYST, where):
            _check_analyst(item, path)


def check_attribute(body: Any, where: str = "Attribute") -> None:
    """Refuse an attribute with unknown fields, at any depth."""
    body = require(body, ATTRIBUTE, where)
    _each(body, "Tag", TAG, where)
    _each(body, "Sighting", SIGHTING, where)
    _check_analyst(body, where)


def check_object(body: Any, where: str = "Object") -> None:
    """Refuse an object with unknown fields, at any depth."""
    body = require(body, OBJECT, where)
    for number, attribute in enumerate(body.get("Attribute") or []):
        check_attribute(attribute, f"{where}.Attribute[{number}]")
    _each(body, "ObjectReference", REFERENCE, where)
    _check_analyst(body, where)


def check_event(body: Any) -> None:
    """Refuse an event with unknown fields, at any depth."""
    body = require(body, EVENT, "Event")
    for name, check in (("Attribute", check_attribute), ("Object", check_object)):
        items = body.get(name)
        if items is not None and not isinstance(items, list):
            raise Unknown(f"Event.{name}: expected a list, got {type(items).__name__}")
        for number, item in enumerate(items or []):
            check(item, f"Event.{name}[{number}]")
    _each(body, "Tag", TAG, "Event")
    for path, report in _each(body, "EventReport", REPORT, "Event"):
        _check_analyst(report, path)
    _check_analyst(body, "Event")
