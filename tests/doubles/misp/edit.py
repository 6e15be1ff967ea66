"""Merging a part into what is stored, by UUID: MISP's `editAttribute` and `editObject`."""

from .capture import add_analyst_data, add_attribute, add_object, add_sightings, edit_tags
from .checks import Errors, Key, check_attribute, check_object, given_uuid, key_of, timestamp
from .model import Actor, Json
from .store import Store

KEPT = (
    "value", "to_ids", "distribution", "category", "type", "comment", "sharing_group_id",
    "object_relation", "first_seen", "last_seen", "deleted", "disable_correlation", "uuid", "data",
)  # fmt: skip
OBJECT_KEPT = (
    "name", "meta-category", "description", "template_uuid", "template_version", "distribution",
    "sharing_group_id", "comment", "deleted", "first_seen", "last_seen", "uuid",
)  # fmt: skip


def _unknown_sharing_group(store: Store, given: Json) -> bool:
    if str(given.get("distribution")) != "4":
        return False
    wanted = (given.get("SharingGroup") or {}).get("uuid") or given.get("sharing_group_id")
    group = store.sharing_group(wanted)
    if group:
        given["sharing_group_id"] = group["id"]
    return group is None


def edit_attribute(store: Store, actor: Actor, event: Json, obj: Json | None, given: Json, *,
                   keys: dict[Key, str] | None = None) -> bool:  # fmt: skip
    """Merge one attribute of an edited event; only fields given change.

    False when MISP saw nothing to do.

    Raises:
        Crash: the database fails on it.
    """
    given = {name: value for name, value in given.items() if value is not None}
    uuid = given_uuid(given)
    place = store.attributes.get(uuid)
    if place is None:
        if _unknown_sharing_group(store, given):
            store.drop("Attribute", event, "invalid sharing group", given, "edit")
        else:
            add_attribute(store, actor, event, obj, given, keys=keys)
        return True
    stored = place.attribute
    if place.event is not event or place.object is not obj:
        store.drop("Attribute", event, "the UUID is used in another event or object", given, "edit")
        return True
    if "timestamp" in given and timestamp(given["timestamp"], 0) <= int(stored["timestamp"]):
        return False
    if _unknown_sharing_group(store, given):
        store.drop("Attribute", event, "invalid sharing group", given, "edit")
        return True
    if apply_attribute(store, stored, given, in_object=obj is not None, keys=keys):
        store.drop("Attribute", event, "validation", given, "edit")
        return True
    add_sightings(store, actor, stored, given)
    add_analyst_data(store, actor, stored, "Attribute", given)
    edit_tags(store, actor, stored, given)
    return True


def apply_attribute(
    store: Store, stored: Json, given: Json, *, in_object: bool, keys: dict[Key, str] | None
) -> Errors:
    """Overwrite the given fields of a stored attribute, or say why not.

    Without a timestamp it gets now.

    Raises:
        Crash: the database fails on it.
    """
    store.pause()
    merged = {**{name: stored.get(name) for name in KEPT}, **given}
    clean, errors = check_attribute(
        store, merged, in_object=in_object, keys=keys, uuid=stored["uuid"]
    )
    if errors:
        return errors
    if keys is not None:
        if keys.get(key_of(stored)) == stored["uuid"]:
            del keys[key_of(stored)]
        if not clean["deleted"]:
            keys[key_of(clean)] = stored["uuid"]
    stored.update(clean)
    return {}


def edit_object(store: Store, actor: Actor, event: Json, given: Json) -> bool:
    """Merge one object of an edited event. False when MISP saw nothing to do.

    Raises:
        Crash: the database fails on it.
    """
    given = {name: value for name, value in given.items() if value is not None}
    uuid = given_uuid(given)
    if _unknown_sharing_group(store, given):
        store.drop("Object", event, "invalid sharing group", given, "edit")
        return True
    if store.ghosts.get(uuid) == event["uuid"]:
        # The invisible row is edited, which looks like a new object from outside.
        del store.ghosts[uuid]
    if uuid not in store.objects:
        add_object(store, actor, event, given)
        return True
    holder, obj = store.objects[uuid]
    if holder is not event:
        store.drop("Object", event, "the UUID is used in another event", given, "edit")
        return True
    if "timestamp" in given and timestamp(given["timestamp"], 0) <= int(obj["timestamp"]):
        return False
    clean, errors = check_object(
        store, {**{name: obj[name] for name in OBJECT_KEPT}, **given}, new=False
    )
    if errors:
        store.drop("Object", event, errors, given, "edit")
        return True
    obj.update(clean)
    if clean["deleted"]:
        for attribute in obj["Attribute"]:
            if not attribute["deleted"]:
                attribute.update(deleted=True, timestamp=str(store.clock()))
    add_analyst_data(store, actor, obj, "Object", given)
    for attribute in given.get("Attribute") or []:
        sent = {**attribute, "deleted": True} if clean["deleted"] else attribute
        edit_attribute(store, actor, event, obj, sent)
    return True
