"""Deliveries that are cut between two requests, or refused once, and what the next run makes of
them.
"""

import copy
import uuid
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import Bridge, bridge_to, reasons
from helpers.delivering import (
    Delivering,
    attribute,
    changed,
    event,
    file_object,
    interpose,
    kill_at,
    sink_of,
)
from helpers.misp import Misp

from stixbridge.errors import ServerError
from stixbridge.misp.model import all_attributes
from stixbridge.sinks.delivery import State

pytestmark = pytest.mark.usefixtures("no_waiting")


Json = dict[str, Any]
A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
SCRIPT = "7c0ad1b5-5d2c-4a53-9b38-91a6b6e0c6b1"


def live(misp: MispDouble) -> dict[str, bool]:
    """Value -> whether it detects, of what is not deleted."""
    rows = [row for held in misp.events.values() for row in held["Attribute"] if not row["deleted"]]
    assert len(rows) == len({row["value"] for row in rows})
    return {row["value"]: row["to_ids"] for row in rows}


# what never had a value


def test_a_report_without_values_is_updated(misp: Misp) -> None:
    """MISP hides it from whoever asks for deleted parts too."""
    event_uuid = misp.fresh()
    text = {
        "uuid": str(uuid.uuid4()),
        "name": "Description",
        "content": "One.",
        "distribution": "5",
    }
    wanted = event(event_uuid, EventReport=[text])
    deliver = Delivering(sink_of(misp))
    assert deliver(wanted).notes == []
    newer = changed(
        wanted,
        info="renamed",
        EventReport=[{**text, "content": "Two."}],
        Attribute=[attribute(event_uuid, A)],
    )
    delivery = deliver(newer)
    assert (delivery.state, delivery.action, delivery.notes) == (State.DELIVERED, "updated", [])
    held = misp.event(event_uuid)
    assert held is not None
    assert (held["info"], [row["content"] for row in held["EventReport"]]) == ("renamed", ["Two."])
    assert misp.part(event_uuid, newer["Attribute"][0]["uuid"])["value"] == A


# an edit that is cut


@pytest.mark.parametrize("settings", [{}, {"split": 1}], ids=["one event", "several"])
@pytest.mark.parametrize("stored", [True, False])
def test_what_arrived_of_a_cut_edit_is_ours_though_the_source_takes_it_back(
    double: MispDouble, settings: Json, stored: bool
) -> None:
    first, second = attribute(OWN, A), attribute(OWN, B)
    deliver = Delivering(sink_of(double, **settings))
    deliver(event(OWN, first))
    kill_at(deliver.sink, ("events/edit", "events/add"), stored=stored)
    with pytest.raises(ServerError):
        deliver(event(OWN, first, second))
    again = Delivering(sink_of(double, **settings))
    again.last = deliver.last
    delivery = again(event(OWN, first))
    assert (delivery.state, delivery.notes) == (State.DELIVERED, [])
    assert live(double) == {A: True}
    again(event(OWN, first, attribute(OWN, C)))
    assert live(double) == {A: True, C: True}


def test_a_cut_edit_is_taken_up_by_the_next_run_though_nothing_is_new(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    one, two = stix.indicator(A), stix.indicator(B)
    bridge.poll(one, two, stix.report("wave", [one]))
    double.hang_up_next(
        path="/events/edit/" + stix.uuid_in(stix.stix_id("report", "wave")), after_storing=True
    )
    assert bridge.poll(stix.report("wave", [one, two], modified=stix.LATER)).errors
    assert bridge.run().errors == []
    assert live(double) == {A: True, B: True}
    assert bridge.run().events == {}
    bridge.close()


@pytest.mark.parametrize("settings", [{"split": 10}, {"chunk": 10}], ids=["split", "pieces"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_answer_of_429_in_the_middle_is_waited_for(
    double: MispDouble, settings: Json, number: int
) -> None:
    sink = sink_of(double, **settings)
    seen = 0

    def post(real: Any, route: str, body: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == number:
            raise ServerError("too many requests", status=429)
        return real(route, body)

    interpose(sink, post)
    rows = [attribute(OWN, f"198.51.100.{at}") for at in range(25)]
    delivery = Delivering(sink)(event(OWN, *rows))
    assert (delivery.state, delivery.notes) == (State.DELIVERED, [])
    assert len(live(double)) == 25


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("inside", [True, False], ids=["in an object", "lone"])
def test_a_value_that_comes_back_by_an_edit_that_is_cut_is_there_in_the_end(
    double: MispDouble, inside: bool, stored: bool
) -> None:
    """We took it away ourselves; that MISP still shows it as deleted is no analyst's work."""
    both = event(OWN, attribute(OWN, A), attribute(OWN, B))
    one = event(OWN, attribute(OWN, A))
    if inside:
        both["Object"], one["Object"] = [file_object(OWN)], [file_object(OWN)]
        del one["Object"][0]["Attribute"][1]
    deliver = Delivering(sink_of(double))
    deliver(both)
    deliver(one)
    kill_at(deliver.sink, "events/edit", stored=stored)
    with pytest.raises(ServerError):
        deliver(both)
    again = Delivering(sink_of(double))
    again.last = deliver.last
    assert again(both).notes == []
    held = [row["value"] for row in all_attributes(double.events[OWN]) if not row["deleted"]]
    assert sorted(held) == sorted(row["value"] for row in all_attributes(both))


# an add that is cut


def test_a_cut_add_that_is_held_once_is_still_ours(double: MispDouble) -> None:
    wanted = event(OWN, attribute(OWN, A))
    deliver = Delivering(sink_of(double))
    kill_at(deliver.sink, "events/add")
    with pytest.raises(ServerError):
        deliver(wanted)
    refused = deliver(changed(wanted, sharing_group="no such", distribution="4"))
    assert (refused.state, refused.action) == (State.ADDING, "refused")
    assert deliver(wanted).state is State.DELIVERED


def test_a_cut_add_whose_content_is_replaced_is_still_ours(double: MispDouble) -> None:
    deliver = Delivering(sink_of(double))
    kill_at(deliver.sink, "events/add")
    with pytest.raises(ServerError):
        deliver(event(OWN, attribute(OWN, A)))
    assert deliver(event(OWN, attribute(OWN, B))).notes == []
    assert live(double) == {B: True}


# events of someone else


def scripted(misp: MispDouble) -> None:
    row = {
        "uuid": SCRIPT[:-1] + "9",
        "type": "ip-dst",
        "category": "Network activity",
        "value": A,
        "to_ids": True,
    }
    misp.analyst_event({"uuid": SCRIPT, "info": "wave", "Attribute": [row]})


@pytest.mark.parametrize("foreign", ["adopt", "extend"])
@pytest.mark.parametrize("stored", [True, False])
def test_a_take_over_that_is_cut_is_gone_on_from(
    double: MispDouble, tmp_path: Path, foreign: str, stored: bool
) -> None:
    scripted(double)
    bridge = bridge_to(double, tmp_path, foreign=foreign, recognise="title")
    one, two = stix.indicator(A), stix.indicator(B)
    path = "/events/edit/" + SCRIPT if foreign == "adopt" else "/events/add"
    double.hang_up_next(path=path, after_storing=stored)
    if not stored or foreign == "adopt":
        assert bridge.poll(one, two, stix.report("wave", [one, two])).errors
    else:
        bridge.poll(one, two, stix.report("wave", [one, two]))
    assert bridge.run().errors == []
    assert len(double.events) == (1 if foreign == "adopt" else 2)
    assert sorted(row["value"] for row in double.find(A) + double.find(B)) == (
        [A, B] if foreign == "adopt" else [A, A, B]
    )
    # B leaves the report
    bridge.poll(stix.report("wave", [one], modified=stix.LATER))
    extending = [held["uuid"] for held in double.events.values() if held["extends_uuid"] == SCRIPT]
    event_uuid = extending[0] if foreign == "extend" else SCRIPT
    assert [
        row["value"] for row in double.events[event_uuid]["Attribute"] if not row["deleted"]
    ] == [A]
    bridge.close()


def test_two_reports_never_take_over_one_event(double: MispDouble, tmp_path: Path) -> None:
    scripted(double)
    bridge = bridge_to(double, tmp_path, foreign="adopt", recognise="title")
    one = stix.indicator(A)
    bridge.poll(one, {**stix.report("first", [one]), "name": "wave"})
    bridge.poll({**stix.report("second", [one]), "name": "wave"})
    assert len(double.events) == 2
    bridge.poll(
        {**stix.report("second", [stix.indicator(B)], modified=stix.LATER), "name": "wave"},
        stix.indicator(B),
    )
    assert [row["value"] for row in double.events[SCRIPT]["Attribute"] if not row["deleted"]] == [A]
    bridge.close()


def test_a_part_of_a_split_event_is_never_taken_for_a_scripts(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path, foreign="adopt", recognise="title", split=1)
    one, two = stix.indicator(A), stix.indicator(B)
    bridge.poll(one, two, stix.report("wave", [one, two]))
    assert {held["info"] for held in double.events.values()} == {"wave", "wave (2)"}
    bridge.poll({**stix.report("other", [one, two]), "name": "wave (2)"})
    assert len(double.events) == 4
    bridge.close()


@pytest.mark.parametrize("foreign", ["adopt", "extend"])
def test_guard_and_order_hold_for_what_was_taken_over(
    double: MispDouble, tmp_path: Path, foreign: str
) -> None:
    scripted(double)
    sink = {
        "type": "misp",
        "url": double.url,
        "key": double.key,
        "foreign": foreign,
        "recognise": "title",
    }
    bridge = Bridge(tmp_path, {"misp": sink}, guard={"withdraw": "0"})
    one = stix.indicator(A)
    bridge.poll(one, stix.report("wave", [one]))
    two = stix.indicator(B)
    assert bridge.poll(two, stix.report("wave", [one, two], modified=stix.LATER)).errors == []
    bridge.close()


def test_a_lost_store_finds_all_parts_of_a_split_event_again(
    double: MispDouble, tmp_path: Path
) -> None:
    rows = [attribute(OWN, f"198.51.100.{at}") for at in range(5)]
    Delivering(sink_of(double, split=2))(event(OWN, *rows))
    before = copy.deepcopy(double.snapshot())
    fresh = Delivering(sink_of(double, split=2, foreign="adopt"))
    assert fresh(event(OWN, *rows)).notes == []
    assert double.snapshot() == before
    fresh(event(OWN, *rows[1:]))
    assert len(live(double)) == 4


# parts that are refused, or deleted by an analyst


def test_a_part_event_that_is_refused_is_tried_again(double: MispDouble) -> None:
    rows = [attribute(OWN, f"198.51.100.{at}") for at in range(5)]
    deliver = Delivering(sink_of(double, split=3))
    adds = 0

    def post(real: Any, route: str, body: Any) -> Any:
        nonlocal adds
        adds += route.startswith("events/add")
        if route.startswith("events/add") and adds == 2:
            double.fail_next(
                403, '{"message": "Could not add Event", "errors": {"Event": {"info": ["x"]}}}'
            )
        return real(route, body)

    interpose(deliver.sink, post)
    assert deliver(event(OWN, *rows)).state is State.WAITING
    assert deliver(event(OWN, *rows)).state is State.DELIVERED
    assert len(live(double)) == 5


@pytest.mark.parametrize("number", [0, 1])
def test_what_comes_after_an_analyst_deleted_one_of_the_events_goes_to_another(
    double: MispDouble, number: int
) -> None:
    rows = [attribute(OWN, f"198.51.100.{at}") for at in range(4)]
    deliver = Delivering(sink_of(double, split=3))
    deliver(event(OWN, *rows))
    gone = list(double.events)[number]
    double.store.forget_event(double.events[gone])
    more = [attribute(OWN, f"203.0.113.{at}") for at in range(2)]
    deliver(event(OWN, *rows, *more))
    deliver(event(OWN, *rows, *more))
    assert gone not in double.events
    assert {row["value"] for row in more} <= live(double).keys()
    deliver(event(OWN, *(changed(row, to_ids=False) for row in (*rows, *more))))
    assert not any(live(double).values())


# answers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users/view/me", '{"Role": [], "User": 1}'),
        ("/events/add", '{"Event": {"uuid": "x"}}'),
        ("/events/add", '{"Event": {"id": "1", "Attribute": {"0": null}, "Tag": [null, 1]}}'),
        ("/events/add", '{"Event": {"id": "1", "Attribute": [null], "Orgc": []}}'),
        (
            "/sightings/restSearch",
            '{"response": [{"Sighting": {"value": "x", "Organisation": [], '
            '"date_sighting": "y"}}]}',
        ),
        ("/sightings/restSearch", '{"response": 7}'),
        ("/sightings/restSearch", "[1, null]"),
    ],
)
def test_an_odd_answer_ends_in_words(
    double: MispDouble, tmp_path: Path, path: str, body: str
) -> None:
    double.fail_next(200, body, path=path)
    bridge = bridge_to(double, tmp_path)
    summary = bridge.poll(stix.indicator(A))
    assert isinstance(summary.errors, list)  # and no exception
    double.calm_down()
    assert bridge.run().errors == []
    bridge.close()


@pytest.mark.parametrize("status", [403, 500])
@pytest.mark.parametrize(
    "path", ["/events/add", "/events/restSearch", "/sightings/restSearch", "/users/view/me"]
)
def test_a_server_that_repeats_the_key_is_not_repeated(
    double: MispDouble, tmp_path: Path, path: str, status: int
) -> None:
    bridge = bridge_to(double, tmp_path)
    double.fail_next(
        status, f'{{"message": "no: {double.key}", "errors": "{double.key}"}}', path=path, times=20
    )
    summary = bridge.poll(stix.indicator(A))
    shown = "\n".join([*summary.errors, str(reasons(summary)), str(summary.to_dict())])
    assert double.key not in shown
    double.calm_down()
    bridge.close()
    assert double.key.encode() not in (tmp_path / "stixbridge.db").read_bytes()
