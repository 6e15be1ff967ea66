"""Handlers of `/events/…` and `/eventReports/…`."""

from typing import Any

from .call import NOT_YOURS, Call, Route
from .capture import add_report
from .events import add_event, edit_event
from .fields import REPORT, check_event, require
from .model import Answer, NotSaved, Refusal, truthy
from .search import search_events
from .stix import upload
from .store import LIVE

NO_DATA = "No valid event data received."


def _event_body(call: Call) -> dict[str, Any]:
    if not call.body:
        raise Refusal(405, NO_DATA)
    sent = call.unwrapped("Event")
    check_event(sent)
    return dict(sent)


def add(call: Call) -> Answer:
    """`POST /events/add`."""
    call.need(call.actor.role.write)
    event = add_event(call.store, call.actor, _event_body(call), call.base_url)
    return Answer({"Event": call.store.show_event(event, metadata=call.named_flag("metadata"))})


def edit(call: Call) -> Answer:
    """`POST /events/edit/<id or UUID>`."""
    call.need(call.actor.role.write)
    named = call.event(call.args[0])
    if not call.store.may_modify(named, call.actor) and not call.actor.role.sync:
        raise Refusal(403, "You are not authorised to do that.")
    edit_event(call.store, call.actor, named, _event_body(call))
    return Answer({"Event": call.store.show_event(named, metadata=call.named_flag("metadata"))})


def _deleted(sent: Any) -> frozenset[bool]:
    """A scalar 1 shows both here, unlike in a search."""
    if isinstance(sent, list):
        return frozenset(truthy(value) for value in sent)
    if not truthy(sent):
        return LIVE
    return frozenset({True, False}) if sent in (1, "1", True) else frozenset({True})


def view(call: Call) -> Answer:
    """`GET` or `POST /events/view/<id or UUID>`."""
    event = call.event(call.args[0])
    body = require(call.body or {}, {"deleted"}, "events/view")
    shown = call.store.show_event(
        event,
        deleted=_deleted(body.get("deleted", call.named.get("deleted"))),
        metadata=call.named_flag("metadata"),
        sightings=not call.named_flag("noSightings"),
        analyst_data=True,
    )
    if call.named_flag("extended"):
        own = {"id", "info", "orgc_id", "Orgc"}
        others = [
            one for one in call.store.events.values() if one.get("extends_uuid") == event["uuid"]
        ]
        shown["extensionEvents"] = {
            one["id"]: {key: one[key] for key in own if key in one} for one in others
        }
    return Answer({"Event": shown})


def delete(call: Call) -> Answer:
    """`POST /events/delete/<id>`: the UUID goes on the blocklist."""
    event = call.store.event(call.args[0])
    if event is None or not call.store.may_modify(event, call.actor):
        raise NotSaved("Event", "Event was not deleted.")
    call.store.forget_event(event)
    return call.saved("Event deleted.", call.args[0])


def publish(call: Call) -> Answer:
    """`POST /events/publish/<id>`: repeatable, without e-mail."""
    call.need(call.actor.role.publish)
    event = call.store.event(call.args[0])
    if event is None or not call.store.visible(event, call.actor):
        raise Refusal(404, "Invalid event.")
    if not call.store.may_modify(event, call.actor):
        raise Refusal(403, NOT_YOURS)
    event["published"] = True
    event["publish_timestamp"] = str(call.store.clock())
    return call.saved("Event published without alerts", event["id"])


def search(call: Call) -> Answer:
    """`POST /events/restSearch`."""
    return search_events(call.store, call.actor, call.body or {})


def upload_stix(call: Call) -> Answer:
    """`POST /events/upload_stix/2`."""
    call.need(call.actor.role.write)
    if call.args != ["2"]:
        raise Refusal(405, "Only STIX 2 is known here.")
    return Answer(upload(call.store, call.actor, call.body, call.base_url))


def report_add(call: Call) -> Answer:
    """`POST /eventReports/add/<numeric id>`: a UUID is not understood."""
    if not call.args[0].isdigit():
        raise NotSaved("EventReport", "numeric")
    event = call.event(call.args[0], modify=True)
    sent = require(call.unwrapped("EventReport"), REPORT, "EventReport")
    report, errors = add_report(call.store, call.actor, event, sent)
    if errors:
        raise NotSaved("EventReport", errors)
    call.store.touch(event)
    return Answer({"EventReport": dict(report or {})})


_VIEW = frozenset({"extended", "deleted", "metadata", "noSightings"})


def blocklist(call: Call) -> Answer:
    """`GET /event_blocklists/index`: for users of the host organisation."""
    call.need(call.actor.org_id == "1" and call.actor.role.write)
    return Answer([{"event_uuid": uuid} for uuid in sorted(call.store.blocklist)])


def unblock(call: Call) -> Answer:
    """`POST /event_blocklists/delete/<uuid>`: the UUID may be used again."""
    call.need(call.actor.org_id == "1" and call.actor.role.write)
    if call.args[0].lower() not in call.store.blocklist:
        raise Refusal(404, "Invalid blocklist entry")
    call.store.blocklist.remove(call.args[0].lower())
    return call.saved("Blocklist entry removed", call.args[0])


ROUTES = [
    Route("POST", "events", "add", add, named=frozenset({"metadata"})),
    Route("POST", "events", "edit", edit, (1, 1), frozenset({"metadata"})),
    Route("GET", "events", "view", view, (1, 1), _VIEW),
    Route("POST", "events", "view", view, (1, 1), _VIEW),
    Route("POST", "events", "delete", delete, (1, 1)),
    Route("POST", "events", "publish", publish, (1, 1)),
    Route("POST", "events", "restSearch", search),
    Route("POST", "events", "upload_stix", upload_stix, (1, 1)),
    Route("POST", "event_reports", "add", report_add, (1, 1)),
    Route("GET", "event_blocklists", "index", blocklist, named=frozenset({"limit"})),
    Route("POST", "event_blocklists", "delete", unblock, (1, 1)),
]
