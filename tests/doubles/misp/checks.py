"""MISP's model validation: what it fills in, and why it refuses a part."""

import re
import uuid as uuids
from collections.abc import Mapping
from typing import Any

from .knowledge import knowledge
from .model import LIMIT, Crash, Json, truthy
from .store import Store
from .values import TRIMMED, has_four_byte, lower, normalise, refusal, seen

Errors = dict[str, list[str]]
BAD_UUID = "Please provide a valid RFC 4122 UUID"
TAKEN_UUID = "The UUID provided is not unique"
SIMILAR = "A similar attribute already exists for this event."
NO_GROUP = 'If the distribution is set to "Sharing Group", a sharing group has to be selected.'
LEVELS = ("0", "1", "2", "3", "4", "5")

Key = tuple[str, str, str]
"""What makes two attributes of an event "similar": type, category, value."""


def key_of(attribute: Mapping[str, Any]) -> Key:
    """The key under MySQL's collation, which ignores case and trailing blanks."""
    return attribute["type"], attribute["category"], attribute["value"].casefold().rstrip(" ")


def live_keys(event: Json) -> dict[Key, str]:
    """The keys of the live attributes outside objects, with the UUID that holds each."""
    return {
        key_of(stored): stored["uuid"] for stored in event["Attribute"] if not stored["deleted"]
    }


_UUID = re.compile(
    r"[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[0-5][a-fA-F0-9]{3}-[089aAbB][a-fA-F0-9]{3}-[a-fA-F0-9]{12}"
)


def is_uuid(value: object) -> bool:
    """What CakePHP's `uuid` rule accepts."""
    return _UUID.fullmatch(str(value)) is not None


def timestamp(value: Any, now: int) -> int:
    """A timestamp as the database takes it.

    Raises:
        Crash: it is not an integer.
    """
    if not truthy(value):
        return now
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
        raise Crash("Incorrect integer value for column 'timestamp'")
    if int(value) > 2**31 - 1:
        raise Crash("Out of range value for column 'timestamp'")
    return int(value)


def crash_on_text(name: str, text: object, *, four_byte: bool = True) -> None:
    """Fail as the database does on text its column cannot hold.

    Raises:
        Crash: longer than the column, or with a character of four bytes.
    """
    if len(str(text).encode()) > LIMIT:
        raise Crash(f"Data too long for column '{name}'")
    if four_byte and has_four_byte(str(text)):
        raise Crash(f"Incorrect string value for column '{name}'")


def _seen(sent: Json, clean: Json, errors: Errors) -> None:
    for name in ("first_seen", "last_seen"):
        value = sent.get(name)
        try:
            clean[name] = seen(value) if value not in (None, "") else None
        except ValueError as error:
            errors.setdefault(name, []).append(str(error))
    first, last = clean.get("first_seen"), clean.get("last_seen")
    if first and last and first > last:
        errors.setdefault("last_seen", []).append(
            "Last seen value should be greater than first seen value"
        )


def _unreadable(sent: Json, in_object: bool) -> Errors:
    """Why MISP looks no further at an attribute."""
    kind = sent.get("type")
    if not truthy(kind):
        return {"type": ["No type set."]}
    if kind not in knowledge().types:
        return {"type": ["Invalid type."]}
    if isinstance(sent.get("value"), (list, dict)):
        return {"value": ["Value is an array."]}
    if in_object and not truthy(sent.get("object_relation")):
        return {"object_relation": ["Object attribute sent, but no object_relation set."]}
    return {}


def _clean(sent: Json) -> Json:
    """The fields of an attribute as MISP stores them, with its defaults."""
    kind, value = sent["type"], sent.get("value")
    info = knowledge().types[kind]
    clean: Json = {
        "type": kind,
        "category": sent.get("category") or info.category,
        "value": normalise(kind, "" if value is None else "1" if value is True else str(value)),
        "to_ids": truthy(sent["to_ids"]) if sent.get("to_ids") is not None else info.to_ids,
        "uuid": lower(str(sent["uuid"])) if truthy(sent.get("uuid")) else "",
        "distribution": str(sent["distribution"]) if sent.get("distribution") is not None else "5",
        "comment": str(sent.get("comment") or ""),
        "deleted": truthy(sent.get("deleted")),
        "disable_correlation": truthy(sent.get("disable_correlation")),
        "object_relation": sent.get("object_relation") or None,
    }
    clean["sharing_group_id"] = (
        str(sent.get("sharing_group_id") or 0) if clean["distribution"] == "4" else "0"
    )
    return clean


def _repeated(clean: Json, keys: Mapping[Key, str] | None, uuid: str) -> bool:
    """Whether another live attribute of the event has the same key."""
    if keys is None or clean["deleted"] or clean["object_relation"]:
        return False
    return keys.get(key_of(clean)) not in (None, "", uuid)


def check_attribute(store: Store, sent: Json, *, in_object: bool, keys: Mapping[Key, str] | None,
                    uuid: str = "") -> tuple[Json, Errors]:  # fmt: skip
    """An attribute as MISP would store it, and the reasons for which it will not.

    Args:
        store: For the UUIDs in use and the clock.
        given: All fields, those of the stored attribute filled in on an edit.
        in_object: The attribute stands in an object.
        keys: Live attributes to compare with; None where MISP compares none.
        uuid: The UUID of the stored attribute that is edited.

    Raises:
        Crash: a timestamp or comment makes the database fail; only where nothing else was wrong.
    """
    if errors := _unreadable(sent, in_object):
        return {}, errors
    clean = _clean(sent)
    kind = clean["type"]
    if clean["category"] not in knowledge().categories:
        errors["category"] = [
            "Options : Payload delivery, Antivirus detection, Payload installation, ..."
        ]
    if kind not in knowledge().categories.get(clean["category"], ()):
        errors["type"] = ["Options depend on the selected category."]
    if message := refusal(kind, clean["value"]):
        errors["value"] = [message]
    elif _repeated(clean, keys, uuid):
        errors["value"] = [SIMILAR]
    if clean["uuid"] and not is_uuid(clean["uuid"]):
        errors["uuid"] = [BAD_UUID]
    elif clean["uuid"] in store.attributes and clean["uuid"] != uuid:
        errors["uuid"] = [TAKEN_UUID]
    if clean["distribution"] not in LEVELS:
        errors["distribution"] = [
            "Options: Your organisation only, This community only, Connected communities, ..."
        ]
    if clean["distribution"] == "4" and clean["sharing_group_id"] == "0":
        errors["sharing_group_id"] = [NO_GROUP]
    _seen(sent, clean, errors)
    if not errors:
        clean["timestamp"] = str(timestamp(sent.get("timestamp"), store.clock()))
        crash_on_text("comment", clean["comment"])
        if sent.get("data") is not None:
            clean["data"] = sent["data"]
    return clean, errors


def check_object(store: Store, sent: Json, *, new: bool) -> tuple[Json, Errors]:
    """An object without its attributes as MISP would store it, and the reasons for which it will
    not.

    Raises:
        Crash: a timestamp or comment makes the database fail.
    """
    errors: Errors = {}
    clean: Json = {
        "name": str(sent.get("name") or ""),
        "meta-category": str(sent.get("meta-category") or ""),
        "description": str(sent.get("description") or ""),
        "template_uuid": str(sent.get("template_uuid") or ""),
        "template_version": str(sent.get("template_version") or 1),
        "uuid": lower(str(sent.get("uuid") or "")),
        "distribution": str(sent["distribution"]) if sent.get("distribution") is not None else "5",
        "comment": str(sent.get("comment") or ""),
        "deleted": truthy(sent.get("deleted")),
    }
    clean["sharing_group_id"] = (
        str(sent.get("sharing_group_id") or 0) if clean["distribution"] == "4" else "0"
    )
    if new:
        for name in ("name", "meta-category"):
            if not clean[name]:
                errors[name] = [f"{name.capitalize()} cannot be empty."]
        if "description" in sent and not clean["description"]:
            errors["description"] = ["Description cannot be empty."]
        if not is_uuid(clean["template_uuid"]):
            errors["template_uuid"] = [BAD_UUID]
        if not re.fullmatch(r"[1-9]\d*", clean["template_version"]):
            errors["template_version"] = ["This field cannot be left blank"]
        if clean["uuid"] in store.objects or clean["uuid"] in store.ghosts:
            errors["uuid"] = [TAKEN_UUID]
    if clean["uuid"] and not is_uuid(clean["uuid"]):
        errors["uuid"] = [BAD_UUID]
    _seen(sent, clean, errors)
    if not errors:
        clean["timestamp"] = str(timestamp(sent.get("timestamp"), store.clock()))
        crash_on_text("comment", clean["comment"])
    return clean, errors


def _is_date(value: str) -> bool:
    match = re.fullmatch(r"\d{4}-(\d\d?)-(\d\d?)", value)
    return bool(match) and 1 <= int(match[1]) <= 12 and 1 <= int(match[2]) <= 31  # type: ignore[index]


def check_event_fields(sent: Json) -> Errors:
    """Why MISP refuses the fields of an event itself; defaults are already filled in."""
    errors: Errors = {}
    if not str(sent.get("info") or "").strip(TRIMMED):
        errors["info"] = ["Info cannot be empty."]
    if not _is_date(str(sent["date"])):
        errors["date"] = ["Expected date format: YYYY-MM-DD"]
    if str(sent["threat_level_id"]) not in ("1", "2", "3", "4"):
        errors["threat_level_id"] = ["Options : 1, 2, 3, 4 (for High, Medium, Low, Undefined)"]
    if str(sent["analysis"]) not in ("0", "1", "2"):
        errors["analysis"] = ["Options : 0, 1, 2 (for Initial, Ongoing, Completed)"]
    if str(sent["distribution"]) not in LEVELS[:5]:
        errors["distribution"] = [
            (
                "Options : Your organisation only, This community only, Connected communities, All "
                "communities"
            )
        ]
    if truthy(sent.get("uuid")) and not is_uuid(sent["uuid"]):
        errors["uuid"] = [BAD_UUID]
    if truthy(sent.get("extends_uuid")) and not is_uuid(sent["extends_uuid"]):
        errors["extends_uuid"] = ["Please provide a valid UUID"]
    return errors


def given_uuid(sent: Mapping[str, Any]) -> str:
    """The UUID a part was sent with, lower-cased, or nothing."""
    return lower(str(sent.get("uuid") or ""))


def content_uuid(*parts: str) -> str:
    """A UUID that depends on content only."""
    return str(uuids.uuid5(uuids.NAMESPACE_URL, "\n".join(parts)))
