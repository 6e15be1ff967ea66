"""Delivered means seen in MISP: fields, sightings and analyst data that it drops in silence."""

from typing import Any

import pytest
from helpers.delivering import (
    Delivering,
    attribute,
    changed,
    derived,
    event,
    file_object,
    kill_at,
    noted,
    report,
    sighting,
    sink_of,
)
from helpers.misp import Misp

from stixbridge.errors import ServerError
from stixbridge.ledger import Reason
from stixbridge.sinks.delivery import State

A, B = "198.51.100.1", "198.51.100.2"
Json = dict[str, Any]


def note(event_uuid: str, text: str, name: str = "n", **more: Any) -> Json:
    return {
        "uuid": derived(event_uuid, "note", name),
        "note": text,
        "language": "en",
        "distribution": "5",
        **more,
    }


def opinion(event_uuid: str, number: int) -> Json:
    return {
        "uuid": derived(event_uuid, "opinion"),
        "opinion": str(number),
        "comment": "",
        "distribution": "5",
    }


def relationship(event_uuid: str, target: str, verb: str = "related-to") -> Json:
    return {
        "uuid": derived(event_uuid, "relationship"), "related_object_uuid": target,
        "related_object_type": "Attribute", "relationship_type": verb, "distribution": "5",
    }  # fmt: skip


def notes_on(misp: Misp, event_uuid: str, uuid: str, kind: str = "Note") -> list[str]:
    key = {"Note": "note", "Opinion": "opinion", "Relationship": "relationship_type"}[kind]
    part = misp.event(event_uuid) if uuid == event_uuid else misp.part(event_uuid, uuid)
    assert part is not None
    return [str(row[key]) for row in part.get(kind) or []]


def reasons_of(delivery: Any, reason: Reason) -> list[str]:
    return [str(text) for _, _, why, text in delivery.notes if why is reason]


# fields


def test_a_refused_field_keeps_no_other_from_being_stored_and_is_told(misp: Misp) -> None:
    """The source's new start lies behind an end that an analyst set, and `to_ids` goes: MISP drops
    the whole row.
    """
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, part))
    misp.edit(part["uuid"], last_seen="2026-01-02T00:00:00.000000+00:00")
    ends = changed(
        part, to_ids=False, first_seen="2026-02-01T00:00:00.000000+00:00", comment="expired"
    )
    delivery = deliver(event(event_uuid, ends))
    stored = misp.part(event_uuid, part["uuid"])
    assert (stored["to_ids"], stored["comment"], stored["first_seen"]) == (False, "expired", None)
    assert delivery.state is State.DELIVERED
    (why,) = reasons_of(delivery, Reason.MISP_DROPPED)
    assert "first_seen" in why
    assert "greater than first seen" in why
    (row,) = delivery.body["Attribute"]
    assert (row["to_ids"], row.get("first_seen")) == (False, None)
    misp.forget()
    assert deliver(event(event_uuid, changed(ends, first_seen=None))).state is State.DELIVERED


def test_what_an_object_or_a_report_does_not_take_is_told(misp: Misp) -> None:
    event_uuid = misp.fresh()
    obj, text = file_object(event_uuid), report(event_uuid, "Text", "first")
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, attribute(event_uuid, A), Object=[obj], EventReport=[text]))
    late, early = "2026-02-01T00:00:00.000000+00:00", "2026-01-01T00:00:00.000000+00:00"
    worse = changed(obj, first_seen=late, last_seen=early, comment="another")
    delivery = deliver(
        event(event_uuid, attribute(event_uuid, A), Object=[worse], EventReport=[text])
    )
    assert {uuid for uuid, reason in noted(delivery) if reason == "misp-dropped"} == {obj["uuid"]}
    assert delivery.body["Object"][0]["comment"] == ""


def test_what_has_to_be_withdrawn_and_is_not_is_tried_again(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, part))
    post = deliver.sink._api.post  # type: ignore[attr-defined]

    def dropped(route: str, body: Any) -> Any:
        """As if MISP dropped the row of the attribute, and refused it by itself."""
        if route.startswith("attributes/edit/"):
            body = {"category": "no such category"}
        if route.startswith("events/edit/"):
            body = {
                "Event": {"Attribute": [{"uuid": part["uuid"], "category": "no such category"}]}
            }
        return post(route, body)

    deliver.sink._api.post = dropped  # type: ignore[attr-defined]
    delivery = deliver(event(event_uuid, changed(part, to_ids=False)))
    assert delivery.state is State.WAITING
    assert reasons_of(delivery, Reason.MISP_DROPPED)
    assert misp.part(event_uuid, part["uuid"])["to_ids"] is True
    deliver.sink._api.post = post  # type: ignore[attr-defined]
    assert deliver(event(event_uuid, changed(part, to_ids=False))).state is State.DELIVERED
    assert misp.part(event_uuid, part["uuid"])["to_ids"] is False


def test_an_attribute_that_is_deleted_while_it_is_changed_stays_deleted(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, part, attribute(event_uuid, B)))
    post = deliver.sink._api.post  # type: ignore[attr-defined]

    def meanwhile(route: str, body: Any) -> Any:
        if route.startswith("events/edit/"):
            misp.delete(part["uuid"])
        return post(route, body)

    deliver.sink._api.post = meanwhile  # type: ignore[attr-defined]
    delivery = deliver(event(event_uuid, changed(part, comment="newer"), attribute(event_uuid, B)))
    assert (part["uuid"], "conflict") in noted(delivery)
    assert "misp-dropped" not in [reason for _, reason in noted(delivery)]
    assert misp.part(event_uuid, part["uuid"])["deleted"] in (True, "1")


def test_why_an_attribute_of_an_object_is_not_there(misp: Misp) -> None:
    event_uuid = misp.fresh()
    obj = file_object(event_uuid)
    bad = attribute(
        obj["uuid"], "no hash", "sha1", object_relation="sha1", category="Payload delivery"
    )
    obj["Attribute"].append(bad)
    delivery = Delivering(sink_of(misp))(event(event_uuid, Object=[obj]))
    (why,) = reasons_of(delivery, Reason.MISP_DROPPED)
    assert "hecksum" in why
    stored = misp.event(event_uuid)
    assert stored is not None
    assert stored["Attribute"] == []  # asking leaves nothing behind
    assert len(delivery.body["Object"][0]["Attribute"]) == 2


# analyst data and sightings


def test_analyst_data_arrive_change_and_go(misp: Misp) -> None:
    """MISP ignores an inline note that it has, however new: it is changed by a call of its own."""
    event_uuid = misp.fresh()
    one, two = attribute(event_uuid, A), attribute(event_uuid, B)
    deliver = Delivering(sink_of(misp))
    said = {
        "Note": [note(event_uuid, "first")],
        "Opinion": [opinion(event_uuid, 20)],
        "Relationship": [relationship(event_uuid, two["uuid"])],
    }
    assert (
        deliver(
            event(event_uuid, {**one, **said}, two, Note=[note(event_uuid, "of it all", "e")])
        ).notes
        == []
    )
    assert notes_on(misp, event_uuid, one["uuid"]) == ["first"]
    assert notes_on(misp, event_uuid, event_uuid) == ["of it all"]
    said = {
        "Note": [note(event_uuid, "second", modified="2026-01-06 00:00:00")],
        "Opinion": [opinion(event_uuid, 80)],
        "Relationship": [relationship(event_uuid, two["uuid"], "uses")],
    }
    newer = event(
        event_uuid, {**one, **said}, two, Note=[note(event_uuid, "of it all, again", "e")]
    )
    assert deliver(newer).notes == []
    assert notes_on(misp, event_uuid, one["uuid"]) == ["second"]
    assert notes_on(misp, event_uuid, one["uuid"], "Opinion") == ["80"]
    assert notes_on(misp, event_uuid, one["uuid"], "Relationship") == ["uses"]
    assert notes_on(misp, event_uuid, event_uuid) == ["of it all, again"]
    misp.forget()
    assert deliver(newer).action == "unchanged"
    assert misp.writes() == []
    assert deliver(event(event_uuid, one, two)).notes == []
    assert [notes_on(misp, event_uuid, one["uuid"], kind) for kind in said] == [[], [], []]
    assert notes_on(misp, event_uuid, event_uuid) == []
    assert deliver(newer).notes == []  # what went can come back
    assert notes_on(misp, event_uuid, one["uuid"]) == ["second"]


def test_what_an_analyst_did_to_a_note_stays(misp: Misp) -> None:
    event_uuid = misp.fresh()
    one = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(
        event(
            event_uuid,
            {**one, "Note": [note(event_uuid, "first"), note(event_uuid, "other", "gone")]},
        )
    )
    misp.post(f"/analyst_data/edit/Note/{note(event_uuid, '')['uuid']}", {"note": "an analyst's"})
    misp.post(f"/analyst_data/delete/Note/{note(event_uuid, '', 'gone')['uuid']}/0")
    delivery = deliver(
        event(
            event_uuid,
            {**one, "Note": [note(event_uuid, "second"), note(event_uuid, "newer", "gone")]},
        )
    )
    assert notes_on(misp, event_uuid, one["uuid"]) == ["an analyst's"]
    assert [reason for _, reason in noted(delivery)] == ["conflict", "conflict"]
    delivery = deliver(event(event_uuid, one))
    assert notes_on(misp, event_uuid, one["uuid"]) == ["an analyst's"]
    assert "stays" in reasons_of(delivery, Reason.CONFLICT)[0]


def test_a_note_that_gets_stricter_is_narrowed_whoever_changed_it(misp: Misp) -> None:
    event_uuid = misp.fresh()
    one = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, {**one, "Note": [note(event_uuid, "first")]}))
    misp.post(
        f"/analyst_data/edit/Note/{note(event_uuid, '')['uuid']}",
        {"note": "an analyst's", "distribution": "1"},
    )
    deliver(event(event_uuid, {**one, "Note": [note(event_uuid, "first", distribution="0")]}))
    (stored,) = misp.part(event_uuid, one["uuid"])["Note"]
    assert (stored["note"], str(stored["distribution"])) == ("an analyst's", "0")


def test_an_analysts_own_note_is_never_touched(misp: Misp) -> None:
    event_uuid = misp.fresh()
    one = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, {**one, "Note": [note(event_uuid, "first")]}))
    misp.post(f"/analyst_data/add/Note/{one['uuid']}/Attribute", {"note": "mine"})
    deliver(event(event_uuid, changed(one, comment="newer")))
    assert notes_on(misp, event_uuid, one["uuid"]) == ["mine"]


def test_a_relationship_whose_exchange_was_cut_comes(misp: Misp) -> None:
    event_uuid = misp.fresh()
    one, two = attribute(event_uuid, A), attribute(event_uuid, B)
    deliver = Delivering(sink_of(misp))
    deliver(
        event(event_uuid, {**one, "Relationship": [relationship(event_uuid, two["uuid"])]}, two)
    )
    sink = sink_of(misp)
    kill_at(sink, "events/edit", stored=False)
    deliver.sink = sink
    wanted = event(
        event_uuid, {**one, "Relationship": [relationship(event_uuid, two["uuid"], "uses")]}, two
    )
    with pytest.raises(ServerError):
        deliver(wanted)
    deliver.sink = sink_of(misp)
    assert deliver(wanted).notes == []
    assert notes_on(misp, event_uuid, one["uuid"], "Relationship") == ["uses"]


def test_what_a_report_does_not_take_is_told(misp: Misp) -> None:
    """MISP drops what is inline in an event report."""
    event_uuid = misp.fresh()
    text = {**report(event_uuid, "Text", "first"), "Note": [note(event_uuid, "beside")]}
    delivery = Delivering(sink_of(misp))(
        event(event_uuid, attribute(event_uuid, A), EventReport=[text])
    )
    assert noted(delivery) == [(text["Note"][0]["uuid"], "misp-dropped")]
    assert delivery.body["EventReport"][0]["Note"] == []


def test_a_sighting_that_is_not_stored_is_told(misp: Misp) -> None:
    event_uuid = misp.fresh()
    one = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, one))
    post = deliver.sink._api.post  # type: ignore[attr-defined]

    def older(route: str, body: Any) -> Any:
        """As a client that sends timestamps would: MISP ignores the row, and answers 200."""
        for row in body.get("Event", {}).get("Attribute") or []:
            row["timestamp"] = "1"
        return post(route, body)

    deliver.sink._api.post = older  # type: ignore[attr-defined]
    delivery = deliver(event(event_uuid, {**one, "Sighting": [sighting(event_uuid, "s")]}))
    assert (sighting(event_uuid, "s")["uuid"], "misp-dropped") in noted(delivery)
    deliver.sink._api.post = post  # type: ignore[attr-defined]
    deliver(event(event_uuid, {**one, "comment": "newer", "Sighting": [sighting(event_uuid, "s")]}))
    assert len(misp.part(event_uuid, one["uuid"])["Sighting"]) == 1
