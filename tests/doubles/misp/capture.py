"""How MISP takes in new parts: what is wrong is dropped and only the server's log knows."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from .checks import (
    TAKEN_UUID,
    Errors,
    Key,
    check_attribute,
    check_object,
    crash_on_text,
    given_uuid,
    is_uuid,
    key_of,
    timestamp,
)
from .model import Actor, Crash, Json, Place, truthy
from .store import Store

ANALYST_KINDS = ("Note", "Opinion", "Relationship")
REPORT_LIMIT = 16 * 1024 * 1024 - 1


def downgrade_sharing(store: Store, sent: Json) -> Json:
    """Give a part with a sharing group the server does not know distribution 0, as `/events/add`
    does.
    """
    if str(sent.get("distribution")) != "4":
        return sent
    wanted = (sent.get("SharingGroup") or {}).get("uuid") or sent.get("sharing_group_id")
    group = store.sharing_group(wanted)
    if group:
        return {**sent, "sharing_group_id": group["id"]}
    return {**sent, "distribution": "0", "sharing_group_id": "0"}


def add_attribute(store: Store, actor: Actor, event: Json, obj: Json | None, sent: Json, *,
                  keys: dict[Key, str] | None = None) -> tuple[Json | None, Errors]:  # fmt: skip
    """Store a new attribute, or drop it and say why.

    Args:
        store: Where to.
        actor: Whose rights count for tags.
        event: The event it goes to.
        obj: The object it goes to, if any.
        given: As it was sent.
        keys: Live attributes it must not resemble, kept up to date here; None where MISP compares
            none.

    Raises:
        Crash: the database fails on it.
    """
    store.pause()
    clean, errors = check_attribute(store, sent, in_object=obj is not None, keys=keys)
    if errors:
        store.drop("Attribute", event, errors, sent)
        return None, errors
    clean["uuid"] = clean["uuid"] or store.new_uuid()
    attribute: Json = {
        "id": store.next_id("Attribute", clean["uuid"]),
        "event_id": event["id"],
        "object_id": obj["id"] if obj else "0",
        **clean,
        "Galaxy": [],
        "Tag": [],
        "Sighting": [],
    }
    (obj or event)["Attribute"].append(attribute)
    store.attributes[clean["uuid"]] = Place(event, obj, attribute)
    if keys is not None and obj is None and not attribute["deleted"]:
        keys[key_of(attribute)] = clean["uuid"]
    add_tags(store, actor, attribute, sent)
    add_sightings(store, actor, attribute, sent)
    add_analyst_data(store, actor, attribute, "Attribute", sent)
    return attribute, {}


def _kept_from(actor: Actor, tag: Json) -> bool:
    """A local tag from a sync key is dropped in silence: it comes from another instance."""
    return truthy(tag.get("local")) and actor.role.sync and not actor.role.site_admin


def add_tags(store: Store, actor: Actor, element: Json, sent: Mapping[str, Any]) -> None:
    """Tag a new element; a tag the role may not create is dropped.

    `deleted` means nothing on an add.
    """
    for tag in sent.get("Tag") or []:
        if _kept_from(actor, tag):
            continue
        if found := store.tag(tag, actor.role):
            store.attach(element, found, tag)


def edit_tags(store: Store, actor: Actor, element: Json, sent: Mapping[str, Any]) -> bool:
    """Apply the tags of an edit: additive, `deleted` removes. True when something changed."""
    changed = False
    for tag in sent.get("Tag") or []:
        if _kept_from(actor, tag):
            continue
        if found := store.tag(tag, actor.role):
            if truthy(tag.get("deleted")):
                changed |= store.detach(element, found)
            else:
                changed |= store.attach(element, found, tag)
    return changed


def add_sightings(store: Store, actor: Actor, attribute: Json, sent: Mapping[str, Any]) -> None:
    """Store inline sightings; one whose UUID is known is the same sighting."""
    for sighting in sent.get("Sighting") or []:
        uuid = given_uuid(sighting)
        if uuid and uuid in store.sightings:
            continue
        org = sighting.get("Organisation") or {}
        org_id = (
            store.add_org(org.get("name", ""), org.get("uuid", ""))["id"] if org else actor.org_id
        )
        store_sighting(store, attribute, org_id, sighting, uuid or store.new_uuid())


def store_sighting(
    store: Store, attribute: Json, org_id: str, sent: Mapping[str, Any], uuid: str
) -> Json:
    """Append one sighting.

    Raises:
        Crash: its time is no integer, or its source does not fit the column.
    """
    if len(str(sent.get("source") or "")) > 255:
        raise Crash("Data too long for column 'source'")
    crash_on_text("source", sent.get("source") or "")
    org = next(org for org in store.orgs.values() if org["id"] == org_id)
    store.sightings.add(uuid)
    sighting = {
        "id": store.next_id("Sighting"),
        "attribute_id": attribute["id"],
        "event_id": attribute["event_id"],
        "org_id": org_id,
        "date_sighting": str(timestamp(sent.get("date_sighting"), store.clock())),
        "uuid": uuid,
        "source": str(sent.get("source") or ""),
        "type": str(sent.get("type") or 0),
        "attribute_uuid": attribute["uuid"],
        "Organisation": {name: org[name] for name in ("id", "uuid", "name")},
    }
    attribute["Sighting"].append(sighting)
    return sighting


def add_analyst_data(
    store: Store, actor: Actor, element: Json, kind_of: str, sent: Mapping[str, Any]
) -> None:
    """Store inline notes, opinions and relationships; one whose UUID is known is ignored, whatever
    its `modified`.
    """
    for kind in ANALYST_KINDS:
        for item in sent.get(kind) or []:
            add_one_analyst(store, actor, element, kind=kind, kind_of=kind_of, item=item)


def add_one_analyst(store: Store, actor: Actor, element: Json, *, kind: str, kind_of: str,
                    item: Mapping[str, Any]) -> Json | None:  # fmt: skip
    """Store one note, opinion or relationship; None where MISP ignores it."""
    uuid = given_uuid(item) or store.new_uuid()
    moment = dt.datetime.fromtimestamp(store.clock(), dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    organisation = next(org for org in store.orgs.values() if org["id"] == actor.org_id)
    stored = store.analyst.get(uuid)
    if stored is not None or uuid in store.analyst_blocklist:
        # what was made here is changed by `analyst_data/edit` only; it outlives its event, and
        # shows with its parent
        if (
            stored is not None
            and stored["object_uuid"] == element["uuid"]
            and stored not in element.get(kind, [])
        ):
            element.setdefault(kind, []).append(stored)
        return None
    if kind == "Relationship" and item.get("related_object_uuid") == element["uuid"]:
        return None
    for name in ("note", "comment", "authors", "relationship_type"):
        crash_on_text(name, item.get(name) or "")
    orgc = str(
        (item.get("Orgc") or {}).get("uuid") or item.get("orgc_uuid") or organisation["uuid"]
    )
    inner = {name: value for name, value in item.items() if name not in ANALYST_KINDS}
    made: Json = {
        "authors": "analyst@stixbridge.test", "created": moment, "modified": moment,
        "distribution": "1", "sharing_group_id": None, "locked": False, **inner,
        "id": store.next_id(kind, uuid), "uuid": uuid, "object_uuid": element["uuid"],
        "object_type": kind_of, "org_uuid": organisation["uuid"], "orgc_uuid": orgc
        if actor.role.sync
        else organisation["uuid"], "note_type_name": kind,
    }  # fmt: skip
    store.analyst[uuid] = made
    element.setdefault(kind, []).append(made)
    add_analyst_data(store, actor, made, kind, item)
    return made


def add_object(store: Store, actor: Actor, event: Json, sent: Json) -> Errors:
    """Store a new object with those of its attributes that are good; without any it stays
    invisible.

    Raises:
        Crash: the database fails on it.
    """
    clean, errors = check_object(store, sent, new=True)
    if errors:
        store.drop("Object", event, errors, sent)
        return errors
    clean["uuid"] = clean["uuid"] or store.new_uuid()
    obj: Json = {"id": store.next_id("Object", clean["uuid"]), "event_id": event["id"], **clean,
                 "ObjectReference": [], "Attribute": []}  # fmt: skip
    # Visible to a client that looks while the attributes are still coming in; taken out again
    # below.
    event["Object"].append(obj)
    store.objects[obj["uuid"]] = (event, obj)
    for attribute in sent.get("Attribute") or []:
        if clean["deleted"]:
            attribute = {**attribute, "deleted": True}
        add_attribute(store, actor, event, obj, attribute)
    add_analyst_data(store, actor, obj, "Object", sent)
    if not obj["Attribute"]:
        event["Object"].remove(obj)
        del store.objects[obj["uuid"]]
        store.ghosts[obj["uuid"]] = event["uuid"]
        store.drop("Object", event, "no attribute is left", sent)
    return {}


def add_reference(store: Store, event: Json, source_uuid: str, sent: Json) -> bool:
    """Store an object reference, or update the one with its UUID; an unknown end drops it.

    True if stored.
    """
    uuid = given_uuid(sent)
    if uuid in store.references:
        _, _, stored = store.references[uuid]
        if "timestamp" in sent and timestamp(sent["timestamp"], 0) <= int(stored["timestamp"]):
            return False
        for name in ("relationship_type", "comment"):
            if sent.get(name) is not None:
                stored[name] = str(sent[name])
        if "deleted" in sent:
            stored["deleted"] = truthy(sent["deleted"])
        stored["timestamp"] = str(timestamp(sent.get("timestamp"), store.clock()))
        return True
    source = store.objects.get(source_uuid)
    target = lower_target(store, sent)
    if not source or source[0] is not event or target is None or target[0] is not event:
        store.drop("ObjectReference", event, "unknown end", sent)
        return False
    if uuid and not is_uuid(uuid):
        store.drop("ObjectReference", event, {"uuid": ["invalid"]}, sent)
        return False
    uuid = uuid or store.new_uuid()
    obj = source[1]
    kind, element = target[1:]
    reference = {
        "id": store.next_id("ObjectReference", uuid),
        "uuid": uuid,
        "timestamp": str(timestamp(sent.get("timestamp"), store.clock())),
        "object_id": obj["id"],
        "event_id": event["id"],
        "source_uuid": obj["uuid"],
        "referenced_id": element["id"],
        "referenced_uuid": element["uuid"],
        "referenced_type": "1" if kind == "Object" else "0",
        "relationship_type": str(sent.get("relationship_type") or ""),
        "comment": str(sent.get("comment") or ""),
        "deleted": truthy(sent.get("deleted")),
    }
    obj["ObjectReference"].append(reference)
    store.references[uuid] = (event, obj, reference)
    return True


def lower_target(store: Store, sent: Mapping[str, Any]) -> tuple[Json, str, Json] | None:
    """The event, kind and element that a reference names, wherever it is."""
    wanted = str(sent.get("referenced_uuid") or "").lower()
    if wanted in store.objects:
        event, obj = store.objects[wanted]
        return event, "Object", obj
    if place := store.attributes.get(wanted):
        return place.event, "Attribute", place.attribute
    return None


def check_report(store: Store, sent: Json) -> tuple[Json, Errors]:
    """A report as MISP would store it, and the reasons for which it will not.

    Raises:
        Crash: the database fails on it.
    """
    sent = downgrade_sharing(store, sent)
    uuid = given_uuid(sent)
    errors: Errors = {}
    if not str(sent.get("name") or "").strip():
        errors["name"] = ["This field cannot be left blank"]
    if uuid and not is_uuid(uuid):
        errors["uuid"] = ["Please provide a valid RFC 4122 UUID"]
    if errors:
        return {}, errors
    content = str(sent.get("content") or "")
    if len(content.encode()) > REPORT_LIMIT or len(str(sent["name"])) > 255:
        raise Crash("Data too long for column 'content' or 'name'")
    return {
        "uuid": uuid,
        "name": str(sent["name"]),
        "content": content,
        "distribution": str(sent["distribution"]) if sent.get("distribution") is not None else "5",
        "sharing_group_id": str(sent.get("sharing_group_id") or 0),
        "timestamp": str(timestamp(sent.get("timestamp"), store.clock())),
        "deleted": truthy(sent.get("deleted")),
    }, {}


def add_report(store: Store, actor: Actor, event: Json, sent: Json) -> tuple[Json | None, Errors]:
    """Store a new event report, or drop it and say why.

    Raises:
        Crash: the database fails on it.
    """
    clean, errors = check_report(store, sent)
    if not errors and clean["uuid"] in store.reports:
        errors = {"uuid": [TAKEN_UUID]}
    if errors:
        store.drop("EventReport", event, errors, sent)
        return None, errors
    clean["uuid"] = clean["uuid"] or store.new_uuid()
    report: Json = {
        "id": store.next_id("EventReport", clean["uuid"]),
        "event_id": event["id"],
        **clean,
    }
    event["EventReport"].append(report)
    store.reports[report["uuid"]] = (event, report)
    return report, {}  # what is inline in a report is dropped
