"""Adding and editing whole events: MISP's `_add` and `_edit`."""

import datetime as dt
from typing import Any

from .capture import (
    add_analyst_data,
    add_attribute,
    add_object,
    add_reference,
    add_report,
    add_tags,
    check_report,
    downgrade_sharing,
    edit_tags,
)
from .checks import check_event_fields, crash_on_text, given_uuid, live_keys, timestamp
from .edit import edit_attribute, edit_object
from .model import Actor, Crash, Json, NotSaved, Refusal, truthy
from .store import Store

EXISTS = "Event already exists, if you would like to edit it, use the url in the location header."
EMPTY = "Received a published event that was empty. Event add process blocked."
NOT_SAVED = "Event could not be saved: "
NOT_AUTHORISED = (
    "The user used to edit the event is not authorised to do so. This can be caused by the user "
    "not being of the same organisation as the original creator of the event whilst also not "
    "being a site administrator."
)
RECOVERED = ("analysis", "threat_level_id", "info", "distribution", "date")
"""Fields an edit without them keeps."""
DEFAULT_DISTRIBUTION = "1"
"""`MISP.default_event_distribution` of a fresh server: without one, the community sees it."""


def _sharing_group(store: Store, given: Json) -> str:
    if str(given.get("distribution")) != "4":
        return "0"
    wanted = (given.get("SharingGroup") or {}).get("uuid") or given.get("sharing_group_id")
    group = store.sharing_group(wanted)
    if not group:
        raise Refusal(405, "Invalid Sharing Group or not authorised.")
    return str(group["id"])


def _crash_on_event(given: Json, now: int) -> int:
    crash_on_text("info", given.get("info") or "")
    return timestamp(given.get("timestamp"), now)


def add_event(store: Store, actor: Actor, given: Json, base_url: str) -> Json:
    """Add an event with all its parts and return it.

    Raises:
        Refusal: it exists, was deleted, or has an unknown sharing group.
        NotSaved: the event's own fields are bad.
        Crash: the database fails; what came before it is stored.
    """
    now = store.clock()
    uuid = given_uuid(given)
    given = {
        "distribution": DEFAULT_DISTRIBUTION, "analysis": "0", "threat_level_id": "4",
        "date": dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%d"),
        **{name: value for name, value in given.items() if value is not None},
    }  # fmt: skip
    group = _sharing_group(store, given)
    if uuid in store.blocklist:
        raise Refusal(403, "Event blocked by event blocklist.")
    published = truthy(given.get("published"))
    if published and not any(given.get(part) for part in ("Attribute", "Object", "EventReport")):
        raise NotSaved("Event", {"Event": EMPTY})
    published = published and actor.role.publish
    if uuid in store.events:
        raise Refusal(404, EXISTS, {"Location": f"{base_url}/events/{store.events[uuid]['id']}"})
    if errors := check_event_fields(given):
        raise NotSaved("Event", {"Event": errors})
    moment = _crash_on_event(given, now)
    organisation = next(org for org in store.orgs.values() if org["id"] == actor.org_id)
    orgc = organisation
    if actor.role.sync and given.get("Orgc"):
        orgc = store.add_org(
            str(given["Orgc"].get("name") or ""), str(given["Orgc"].get("uuid") or "")
        )
    uuid = uuid or store.new_uuid()
    event: Json = {
        "id": store.next_id("Event", uuid),
        "orgc_id": orgc["id"],
        "org_id": organisation["id"],
        "date": str(given["date"]),
        "threat_level_id": str(given["threat_level_id"]),
        "info": str(given["info"]),
        "published": published,
        "uuid": uuid,
        "analysis": str(given["analysis"]),
        "timestamp": str(moment),
        "distribution": str(given["distribution"]),
        "proposal_email_lock": False,
        "locked": truthy(given.get("locked")),
        "publish_timestamp": "0",
        "sharing_group_id": group,
        "disable_correlation": truthy(given.get("disable_correlation")),
        "extends_uuid": str(given.get("extends_uuid") or "").lower(),
        "protected": None,
        "event_creator_email": "bridge@stixbridge.test",
        "Org": organisation,
        "Orgc": orgc,
        "Attribute": [],
        "Object": [],
        "EventReport": [],
        "Galaxy": [],
        "Tag": [],
    }
    store.events[uuid] = event
    store.filling.add(uuid)
    try:
        _fill(store, actor, event, given)
    finally:
        store.filling.discard(uuid)
    if published:
        event["publish_timestamp"] = str(store.clock())
    return event


def _fill(store: Store, actor: Actor, event: Json, given: Json) -> None:
    add_tags(store, actor, event, given)
    sent: set[tuple[str, str, str]] = set()
    for attribute in given.get("Attribute") or []:
        # MISP compares what was sent, not what it makes of it, so differently written duplicates
        # both stay.
        raw = tuple(str(attribute.get(name) or "") for name in ("value", "type", "category"))
        if not truthy(attribute.get("deleted")):
            if raw in sent:
                store.drop("Attribute", event, "the same value, type and category twice", attribute)
                continue
            sent.add(raw)  # type: ignore[arg-type]
        add_attribute(store, actor, event, None, downgrade_sharing(store, attribute))
    for obj in given.get("Object") or []:
        inner = [downgrade_sharing(store, attribute) for attribute in obj.get("Attribute") or []]
        add_object(store, actor, event, {**downgrade_sharing(store, obj), "Attribute": inner})
    _references(store, event, given)
    for report in given.get("EventReport") or []:
        add_report(store, actor, event, report)
    add_analyst_data(store, actor, event, "Event", given)


def _references(store: Store, event: Json, given: Json) -> bool:
    changed = False
    for obj in given.get("Object") or []:
        for reference in obj.get("ObjectReference") or []:
            changed |= add_reference(store, event, given_uuid(obj), reference)
    return changed


def edit_event(store: Store, actor: Actor, named: Json, given: Json) -> Json:
    """Edit an event: its fields, and its parts merged by UUID.

    Args:
        store: Where it is.
        actor: Whose rights count.
        named: The event that the URL names; the UUID in the body wins over it, as in MISP.
        given: As it was sent.

    Raises:
        NotSaved: too old, not allowed, or bad fields.
        Crash: the database fails, or the event is still being filled.
    """
    given = {name: value for name, value in given.items() if value is not None}
    event = store.events.get(given_uuid(given)) if truthy(given.get("uuid")) else named
    if event is None:
        raise NotSaved("Event", NOT_SAVED + "Could not find the local event.", named["id"])
    if event["uuid"] in store.filling:
        raise Crash("Duplicate entry for key 'uuid'")
    now = store.clock()
    if "timestamp" in given and timestamp(given["timestamp"], 0) <= int(event["timestamp"]):
        raise NotSaved(
            "Event", NOT_SAVED + "Event in the request not newer than the local copy.", event["id"]
        )
    if str(given.get("distribution")) == "4":
        given["sharing_group_id"] = _edit_sharing_group(store, given, event)
    allowed = (
        actor.role.site_admin
        or event["orgc_id"] == actor.org_id
        or (actor.role.sync and event["locked"])
    )
    if not allowed:
        raise NotSaved(
            "Event",
            NOT_SAVED + NOT_AUTHORISED,
            event["id"],
        )
    merged = {**{name: event[name] for name in RECOVERED}, **given}
    if errors := check_event_fields(merged):
        raise NotSaved("Event", errors, event["id"])
    moment = _crash_on_event(merged, now)
    changed = _set_fields(event, given, merged, moment)
    event["published"] = truthy(given.get("published")) and actor.role.publish
    changed |= _edit_parts(store, actor, event, given)
    if changed and event["published"]:
        event["publish_timestamp"] = str(store.clock())
    return event


def _edit_sharing_group(store: Store, given: Json, event: Json) -> str:
    try:
        return _sharing_group(store, given)
    except Refusal:
        message = "Invalid sharing group or you don't have access to that sharing group."
        raise NotSaved("Event", NOT_SAVED + message, event["id"]) from None


def _set_fields(event: Json, given: Json, merged: Json, moment: int) -> bool:
    changed = False
    for name in RECOVERED:
        changed |= str(merged[name]) != event[name]
        event[name] = str(merged[name])
    event["timestamp"] = str(moment)
    if event["distribution"] != "4":
        event["sharing_group_id"] = "0"
    elif "sharing_group_id" in given:
        event["sharing_group_id"] = str(given["sharing_group_id"])
    if "extends_uuid" in given:
        event["extends_uuid"] = str(given["extends_uuid"]).lower()
    if "disable_correlation" in given:
        event["disable_correlation"] = truthy(given["disable_correlation"])
    return changed


def _edit_parts(store: Store, actor: Actor, event: Json, given: Json) -> bool:
    changed = False
    keys = live_keys(event)
    for attribute in given.get("Attribute") or []:
        changed |= edit_attribute(store, actor, event, None, attribute, keys=keys)
    for obj in given.get("Object") or []:
        changed |= edit_object(store, actor, event, obj)
    changed |= _references(store, event, given)
    for report in given.get("EventReport") or []:
        changed |= _edit_report(store, actor, event, report)
    changed |= edit_tags(store, actor, event, given)
    add_analyst_data(store, actor, event, "Event", given)
    return changed


def _edit_report(store: Store, actor: Actor, event: Json, given: Json) -> bool:
    stored = store.reports.get(given_uuid(given))
    if not stored:
        add_report(store, actor, event, given)
        return True
    holder, report = stored
    if holder is not event:
        store.drop("EventReport", event, "the UUID is used in another event", given, "edit")
        return True
    if truthy(given.get("timestamp")) and timestamp(given["timestamp"], 0) <= int(
        report["timestamp"]
    ):
        return False
    # `name` is a required field even on an update, and `distribution` falls back to "inherit"
    # without one.
    clean, errors = check_report(store, given)
    if errors:
        store.drop("EventReport", event, errors, given, "edit")
        return True
    kept: dict[str, Any] = {
        name: report[name] for name in ("content", "deleted") if given.get(name) is None
    }
    report.update({**clean, **kept})
    return True
