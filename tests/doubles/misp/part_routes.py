"""Handlers for single parts: attributes, objects, references, sightings, tags, analyst data."""

import datetime as dt
import json
from typing import Any

from .call import Call, Route
from .capture import (
    ANALYST_KINDS,
    add_attribute,
    add_object,
    add_one_analyst,
    add_reference,
    downgrade_sharing,
    edit_tags,
    lower_target,
    store_sighting,
)
from .checks import Errors, check_attribute, check_object, live_keys, timestamp
from .edit import apply_attribute
from .fields import ANALYST, REFERENCE, require
from .fields import check_attribute as known_attribute
from .fields import check_object as known_object
from .model import Answer, Json, NotSaved, Refusal, attributes_of, truthy
from .search import search_attributes, value_parts

SIGHTING = ("value", "values", "uuid", "id", "timestamp", "date", "time", "type", "source")


def _sharing_group(call: Call, given: Json) -> None:
    wanted = (given.get("SharingGroup") or {}).get("uuid") or given.get("sharing_group_id")
    if str(given.get("distribution")) == "4" and not call.store.sharing_group(wanted):
        raise Refusal(403, "Invalid Sharing Group or not authorised.")


def attribute_add(call: Call) -> Answer:
    """`POST /attributes/add/<event>`: one attribute or an array; says why it refuses."""
    event = call.event(call.args[0], modify=True)
    given = call.unwrapped("Attribute")
    if isinstance(given, dict):
        _sharing_group(call, given)
    sent: list[Any] = given if isinstance(given, list) else [given]
    for number, attribute in enumerate(sent):
        known_attribute(attribute, f"attribute_{number}")
    keys = live_keys(event)
    stored: list[Json] = []
    failed: dict[str, Errors] = {}
    for number, attribute in enumerate(sent):
        if str(attribute.get("distribution")) == "4":
            # Here an unknown group is an error of its own, not a quiet distribution 0.
            attribute = {
                **attribute,
                "sharing_group_id": downgrade_sharing(call.store, attribute)["sharing_group_id"],
            }
        made, errors = add_attribute(call.store, call.actor, event, None, attribute, keys=keys)
        if made:
            stored.append(made)
        else:
            failed[f"attribute_{number}"] = errors
    if not stored:
        raise NotSaved("Attribute", failed["attribute_0"] if len(sent) == 1 else failed)
    call.store.touch(event)
    shown = [call.store.show_attribute(made, full=False) for made in stored]
    # With exactly one success MISP answers an object, whatever was sent.
    body: Json = {"Attribute": shown if len(shown) > 1 else shown[0]}
    return Answer(body | ({"errors": failed} if failed else {}))


def attribute_edit(call: Call) -> Answer:
    """`POST /attributes/edit/<id or UUID>`."""
    place = call.place(call.args[0])
    stored = place.attribute
    if stored["deleted"]:
        raise Refusal(404, "Invalid attribute")
    given = dict(call.unwrapped("Attribute"))
    known_attribute(given)
    _sharing_group(call, given)
    fixed = ("uuid", "object_relation")
    given = {
        name: value for name, value in given.items() if value is not None and name not in fixed
    }
    if "timestamp" in given and timestamp(given["timestamp"], 0) <= int(stored["timestamp"]):
        raise Refusal(
            405,
            "Attribute could not be saved: Attribute in the request not newer than the local copy.",
        )
    errors = apply_attribute(
        call.store, stored, given, in_object=place.object is not None, keys=live_keys(place.event)
    )
    if errors:
        raise NotSaved("Attribute", errors)
    edit_tags(call.store, call.actor, stored, given)
    if place.object is not None:
        place.object["timestamp"] = str(call.store.clock())
    call.store.touch(place.event)
    return Answer({"Attribute": call.store.show_attribute(stored, full=False)})


def attribute_delete(call: Call) -> Answer:
    """`POST /attributes/delete/<id or UUID>[/hard]`."""
    place = call.place(call.args[0])
    body = require(call.body or {}, {"hard"}, "attributes/delete")
    hard = truthy(body.get("hard")) or call.named_flag("hard") or call.args[1:] in (["hard"], ["1"])
    if place.attribute["deleted"] and not hard:
        raise Refusal(404, "Invalid attribute")
    now = str(call.store.clock())
    if hard:
        call.store.forget_attribute(place)
    else:
        place.attribute.update(deleted=True, timestamp=now)
    for _, _, reference in call.store.references.values():
        if reference["referenced_uuid"] == place.attribute["uuid"]:
            reference["deleted"] = True
    call.store.touch(place.event)
    return Answer({"message": "Attribute deleted."})


def attribute_search(call: Call) -> Answer:
    """`POST /attributes/restSearch`."""
    return search_attributes(call.store, call.actor, call.body or {})


def object_add(call: Call) -> Answer:
    """`POST /objects/add/<event>`: one bad attribute refuses the whole object.

    References are not read here.
    """
    event = call.event(call.args[0], modify=True)
    given = dict(call.unwrapped("Object"))
    known_object(given)
    attributes = given.get("Attribute") or []
    if not attributes:
        raise NotSaved("Object", "Could not save the object as no attributes were set.")
    for attribute in attributes:
        _, errors = check_attribute(call.store, attribute, in_object=True, keys=None)
        if errors:
            relation = attribute.get("object_relation") or "No object_relation"
            raise NotSaved(
                "Object",
                "Could not save object as at least one attribute has failed validation "
                f"({relation}). {json.dumps(errors)}",
            )
    clean, errors = check_object(call.store, given, new=True)
    if not errors:
        given["uuid"] = clean["uuid"] or call.store.new_uuid()
        errors = add_object(call.store, call.actor, event, given)
    if errors:
        raise NotSaved("Object", errors)
    call.store.touch(event)
    obj = call.store.objects[given["uuid"]][1]
    shown = [call.store.show_attribute(stored, full=False) for stored in obj["Attribute"]]
    return Answer({"Object": {**obj, "Attribute": shown}})


def reference_add(call: Call) -> Answer:
    """`POST /object_references/add`."""
    given = require(call.unwrapped("ObjectReference"), REFERENCE, "ObjectReference")
    source = call.store.objects.get(
        call.store.uuid_of("Object", given.get("object_uuid") or given.get("object_id"))
    )
    if source is None or source[1]["deleted"] or not call.store.may_modify(source[0], call.actor):
        raise Refusal(404, "Invalid object.")
    event, obj = source
    target = lower_target(call.store, given)
    if target is None or target[2]["deleted"]:
        raise Refusal(404, "Invalid target.")
    if target[0] is not event:
        raise Refusal(
            404, "Invalid target. Target has to be within the same event or extending it."
        )
    fresh = {name: given.get(name) for name in ("referenced_uuid", "relationship_type", "comment")}
    add_reference(call.store, event, obj["uuid"], fresh)
    obj["timestamp"] = str(call.store.clock())
    call.store.touch(event)
    return Answer({"ObjectReference": dict(obj["ObjectReference"][-1])})


def sighting_add(call: Call) -> Answer:
    """`POST /sightings/add[/<attribute>]`: by value it hits every attribute; a UUID is the
    attribute's.
    """
    call.need(call.actor.role.write)
    given = require(call.unwrapped("Sighting"), SIGHTING, "Sighting")
    kind = str(given.get("type") or 0)
    ident = (call.args or [given.get("uuid") or given.get("id") or ""])[0]
    values = [given["value"]] if "value" in given else given.get("values") or []
    values = [str(value) for value in (values if isinstance(values, list) else [values])]
    found = []
    for event in call.store.events.values():
        if not call.store.visible(event, call.actor):
            continue
        for _, stored in attributes_of(event):
            wanted = (
                ident in (stored["id"], stored["uuid"])
                if ident
                else set(values) & set(value_parts(stored))
            )
            if wanted and not stored["deleted"]:
                found.append(stored)
    reason = "No valid attributes found that match the criteria."
    if kind not in ("0", "1", "2"):
        found, reason = [], "Invalid type, please change it before you POST 1000000 sightings."
    if not found:
        # 200, although nothing was stored: only the message tells.
        return Answer({"message": f"Could not add the Sighting. Reason: {reason}"})
    made: Json = {}
    for stored in found:
        if kind == "2":
            stored["Sighting"] = [
                s
                for s in stored["Sighting"]
                if (s["type"], s["org_id"]) != ("2", call.actor.org_id)
            ]
        source = str(given.get("source") or "").strip()
        details = {"date_sighting": given.get("timestamp"), "type": kind, "source": source}
        made = store_sighting(call.store, stored, call.actor.org_id, details, call.store.new_uuid())
    return Answer(
        {"Sighting": {n: v for n, v in made.items() if n not in ("attribute_uuid", "Organisation")}}
    )


def sighting_search(call: Call) -> Answer:
    """`POST /sightings/restSearch`: by type and time; without a time the last 30 days."""
    known = {"returnFormat", "type", "from", "to", "last"}
    given = require(call.body or {}, known, "sightings/restSearch")
    since, until = (
        int(given.get("from") or call.store.clock() - 30 * 86_400),
        int(given.get("to") or 2**40),
    )
    found = [
        {
            "Sighting": {
                **{n: v for n, v in row.items() if n != "attribute_uuid"},
                "value": stored["value"],
            }
        }
        for event in call.store.events.values()
        if call.store.visible(event, call.actor)
        for _, stored in attributes_of(event)
        for row in stored["Sighting"]
        if row["type"] == str(given.get("type", row["type"]))
        and since <= int(row["date_sighting"]) <= until
    ]
    return Answer({"response": found})


def _element(call: Call, uuid: str) -> tuple[str, Json, Json]:
    """The kind, event and element that a UUID in a tag call names."""
    if uuid in call.store.events:
        event = call.store.events[uuid]
        found = "Event", event, event
    elif place := call.store.attributes.get(uuid):
        found = "Attribute", place.event, place.attribute
    else:
        raise Refusal(404, "Invalid Target.")
    if not call.store.may_modify(found[1], call.actor):
        raise Refusal(403, "Invalid Target.")
    return found


def _touch_tagged(call: Call, kind: str, event: Json, element: Json) -> None:
    if kind == "Attribute":
        element["timestamp"] = str(call.store.clock())
        place = call.store.attributes[element["uuid"]]
        if place.object is not None:
            place.object["timestamp"] = element["timestamp"]
    call.store.touch(event)


def tag_attach(call: Call) -> Answer:
    """`POST /tags/attachTagToObject`."""
    call.need(call.actor.role.write)
    given = require(call.body, {"uuid", "tag", "local", "relationship_type"}, "attachTagToObject")
    kind, event, element = _element(call, str(given["uuid"]).lower())
    names = given["tag"] if isinstance(given["tag"], list) else [given["tag"]]
    local = truthy(given.get("local"))
    fails: list[str] = []
    message = ""
    for name in names:
        if local and not call.actor.role.site_admin:
            fails.append("Local tags can only be added by users of the host organisation.")
            continue
        tag = call.store.tag({"name": str(name).strip()}, call.actor.role)
        if tag is None:
            fails.append("Tag not found and insufficient privileges to create it.")
            continue
        if call.store.attach(element, tag, given):
            if not local:
                _touch_tagged(call, kind, event, element)
            scope = "Local" if local else "Global"
            message = (
                f"{scope} tag {tag['name']}({tag['id']}) successfully attached to "
                f"{kind}({element['id']})."
            )
        else:
            message = (
                f"{kind} already has the requested tag attached, no changes had to be made "
                f"for tag {tag['name']}."
            )
    failed = f"Failed to attach {len(fails)} tags. Reasons: " + json.dumps(
        {str(n): why for n, why in enumerate(fails)}
    )
    if not message:
        raise NotSaved("Tag", failed)
    return call.saved(f"{message}\n{failed}" if fails else message)


def tag_remove(call: Call) -> Answer:
    """`POST /tags/removeTagFromObject`."""
    call.need(call.actor.role.write)
    given = require(call.body, {"uuid", "tag"}, "removeTagFromObject")
    kind, event, element = _element(call, str(given["uuid"]).lower())
    tag = call.store.tags.get(str(given["tag"]).strip().lower())
    if tag is None:
        raise Refusal(405, "Invalid Tag.")
    stored = next((one for one in element["Tag"] if one["id"] == tag["id"]), None)
    if stored is None:
        raise Refusal(404, f"Could not remove tag as it is not attached to the target {kind}")
    call.store.detach(element, tag)
    if not stored["local"]:
        _touch_tagged(call, kind, event, element)
    return call.saved(
        f"{'Local' if stored['local'] else 'Global'} tag {tag['name']} ({tag['id']}) successfully "
        "removed from "
        f"{kind}({element['id']})."
    )


def analyst_add(call: Call) -> Answer:
    """`POST /analyst_data/add/<Note|Opinion|Relationship>/<UUID>/<kind>`."""
    call.need(call.actor.role.write)
    kind, uuid, kind_of = call.args
    if kind not in ANALYST_KINDS:
        raise Refusal(404, "Invalid type.")
    given = require(call.unwrapped(kind), ANALYST, kind)
    uuid = uuid.lower()
    places = {"Event": call.store.events.get(uuid)}
    if place := call.store.attributes.get(uuid):
        places["Attribute"] = place.attribute
    for name, register in (("Object", call.store.objects), ("EventReport", call.store.reports)):
        if uuid in register:
            places[name] = register[uuid][1]
    element = places.get(kind_of)
    if element is None:
        raise Refusal(404, "Invalid parent.")
    made = add_one_analyst(call.store, call.actor, element, kind=kind, kind_of=kind_of, item=given)
    if made is None:
        raise NotSaved(kind, {"uuid": ["The UUID provided is not unique"]})
    return Answer({kind: dict(made)})


_EDITABLE = (
    "note",
    "language",
    "authors",
    "opinion",
    "comment",
    "distribution",
    "sharing_group_id",
)
"""Of a relationship MISP changes neither type nor target, and answers 200."""


def _analyst(call: Call) -> tuple[str, dict[str, Any]]:
    """The kind and the stored note, opinion or relationship that a call names.

    Raises:
        Refusal: there is none, or it is another organisation's.
    """
    kind, uuid, *_ = call.args
    stored = call.store.analyst.get(uuid.lower())
    if kind not in ANALYST_KINDS or stored is None or stored["note_type_name"] != kind:
        raise Refusal(404, f"Invalid {kind}.")
    organisation = next(org for org in call.store.orgs.values() if org["id"] == call.actor.org_id)
    if stored["orgc_uuid"] != organisation["uuid"] and not call.actor.role.site_admin:
        raise Refusal(405, "You are not authorised to do that.")
    return kind, stored


def analyst_edit(call: Call) -> Answer:
    """`POST /analyst_data/edit/<kind>/<UUID>`: the fields that were given change."""
    call.need(call.actor.role.write)
    kind, stored = _analyst(call)
    given = require(call.unwrapped(kind), ANALYST, kind)
    stored.update({name: value for name, value in given.items() if name in _EDITABLE})
    stored["modified"] = dt.datetime.fromtimestamp(call.store.clock(), dt.UTC).strftime(
        "%Y-%m-%d %H:%M:%S"
    )
    return Answer({kind: dict(stored)})


def analyst_delete(call: Call) -> Answer:
    """`POST /analyst_data/delete/<kind>/<UUID>[/0]`: for good; without the 0 it blocks the UUID."""
    call.need(call.actor.role.write)
    kind, stored = _analyst(call)
    uuid = stored["uuid"]
    del call.store.analyst[uuid]
    if truthy(call.args[2] if len(call.args) > 2 else "1"):
        call.store.analyst_blocklist.add(uuid)
    for event in call.store.events.values():
        for element in (event, *event["Object"], *(row for _, row in attributes_of(event))):
            if element.get(kind):
                element[kind] = [row for row in element[kind] if row["uuid"] != uuid]
    return call.saved(f"{kind} deleted.")


ROUTES = [
    Route("POST", "attributes", "add", attribute_add, (1, 1)),
    Route("POST", "attributes", "edit", attribute_edit, (1, 1)),
    Route("POST", "attributes", "delete", attribute_delete, (1, 2), frozenset({"hard"})),
    Route("POST", "attributes", "restSearch", attribute_search),
    Route("POST", "objects", "add", object_add, (1, 1)),
    Route("POST", "object_references", "add", reference_add),
    Route("POST", "sightings", "add", sighting_add, (0, 1)),
    Route("POST", "sightings", "restSearch", sighting_search),
    Route("POST", "tags", "attachTagToObject", tag_attach),
    Route("POST", "tags", "removeTagFromObject", tag_remove),
    Route("POST", "analyst_data", "add", analyst_add, (3, 3)),
    Route("POST", "analyst_data", "edit", analyst_edit, (2, 2)),
    Route("POST", "analyst_data", "delete", analyst_delete, (2, 3)),
]
