"""Empty events: deleted where that is asked for, without blocking their UUIDs, never with
somebody's work in them.
"""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import Bridge, reasons
from helpers.delivering import Delivering, attribute, changed, event, kill_at, sink_of, tags
from helpers.misp import Misp

from stixbridge.errors import ServerError
from stixbridge.sinks.delivery import State

A, B = "198.51.100.1", "198.51.100.2"
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"


def bridge_to(misp: MispDouble, folder: Path, **settings: Any) -> Bridge:
    return Bridge(
        folder,
        {"misp": {"type": "misp", "url": misp.url, "key": misp.key, "empty": "delete", **settings}},
    )


def emptied(wanted: dict[str, Any]) -> dict[str, Any]:
    return changed(
        wanted, info=f"[withdrawn] {wanted['info']}", Attribute=[], Object=[], EventReport=[]
    )


def test_an_empty_event_goes_and_can_come_back(misp: Misp) -> None:
    event_uuid = misp.fresh()
    wanted = event(event_uuid, attribute(event_uuid, A), Tag=tags("tlp:green"))
    deliver = Delivering(sink_of(misp, empty="delete"))
    deliver(wanted)
    delivery = deliver(emptied(wanted))
    assert (delivery.state, delivery.action, delivery.notes) == (State.OUT, "deleted", [])
    assert misp.event(event_uuid) is None
    delivery = deliver(wanted)
    assert (delivery.state, delivery.action, delivery.notes) == (State.DELIVERED, "created", [])
    assert misp.part(event_uuid, wanted["Attribute"][0]["uuid"])["value"] == A


def _own_attribute(misp: Misp, event_uuid: str, part: str) -> None:
    event_ = misp.event(event_uuid)
    assert event_ is not None
    misp.post(
        f"/attributes/add/{event_['id']}",
        {"type": "ip-dst", "category": "Network activity", "value": B},
    )


WORK: dict[str, Callable[[Misp, str, str], Any]] = {
    "an attribute": _own_attribute,
    "a tag": lambda misp, event_uuid, part: misp.tag(event_uuid, "mine"),
    "a sighting": lambda misp, event_uuid, part: misp.post(
        "/sightings/add", {"uuid": part, "type": "0"}
    ),
}


@pytest.mark.parametrize("work", WORK)
def test_an_event_with_somebodys_work_in_it_stays(misp: Misp, work: str) -> None:
    event_uuid = misp.fresh()
    wanted = event(event_uuid, attribute(event_uuid, A))
    deliver = Delivering(sink_of(misp, empty="delete"))
    deliver(wanted)
    WORK[work](misp, event_uuid, wanted["Attribute"][0]["uuid"])
    assert deliver(emptied(wanted)).state is State.DELIVERED
    assert misp.event(event_uuid) is not None


def test_a_collecting_event_whose_last_value_joins_a_report_goes(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    one = stix.indicator(A)
    bridge.poll(one)
    (day,) = double.events
    summary = bridge.poll(stix.report("wave", [one]))
    assert (summary.events, summary.errors) == ({"created": 1, "deleted": 1}, [])
    assert day not in double.events
    assert not double.store.blocklist
    assert bridge.run().events == {}
    assert bridge.run(replay=True).errors == []
    assert day not in double.events
    bridge.poll(stix.indicator(B))
    assert [row["value"] for row in double.events[day]["Attribute"]] == [B]
    bridge.close()


@pytest.mark.parametrize(
    "cut", ["events/delete before", "events/delete after", "event_blocklists/delete"]
)
def test_a_deletion_that_is_cut_is_finished(double: MispDouble, cut: str) -> None:
    wanted = event(OWN, attribute(OWN, A))
    deliver = Delivering(sink_of(double, empty="delete"))
    deliver(wanted)
    place, _, when = cut.partition(" ")
    kill_at(deliver.sink, place, stored=when == "after")
    with pytest.raises(ServerError):
        deliver(emptied(wanted))
    again = Delivering(sink_of(double, empty="delete"))
    again.last = deliver.last
    delivery = again(emptied(wanted))
    assert (delivery.state, delivery.notes) == (State.OUT, [])
    assert (double.events, double.store.blocklist) == ({}, set())
    assert again(wanted).action == "created"


def test_a_key_that_may_not_lift_the_blocklist_deletes_nothing_and_says_so(
    double: MispDouble, tmp_path: Path
) -> None:
    double.fail_next(403, '{"message": "no"}', path="/event_blocklists/index", times=9)
    sink = sink_of(double, empty="delete")
    assert "empty events stay" in "\n".join(sink.limits())
    wanted = event(OWN, attribute(OWN, A))
    deliver = Delivering(sink)
    deliver(wanted)
    assert deliver(emptied(wanted)).state is State.DELIVERED
    assert double.events[OWN]["info"].startswith("[withdrawn] ")
    double.calm_down()


def test_by_default_empty_events_stay(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path, empty="keep")
    one = stix.indicator(A)
    bridge.poll(one)
    summary = bridge.poll(stix.report("wave", [one]))
    assert summary.events == {"created": 1, "withdrawn": 1}
    assert len(double.events) == 2
    assert "blocked" not in reasons(summary)
    bridge.close()


def test_an_analysts_event_that_was_taken_over_is_never_deleted(double: MispDouble) -> None:
    row = {"uuid": str(uuid.uuid4()), "type": "ip-dst", "category": "Network activity", "value": A}
    double.analyst_event({"uuid": OWN, "info": "theirs", "Attribute": [row]})
    deliver = Delivering(sink_of(double, empty="delete", foreign="adopt"))
    wanted = event(OWN, attribute(OWN, A))
    deliver(wanted)
    deliver(emptied(wanted))
    assert OWN in double.events
