"""An oversized event as several linked ones."""

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import Bridge, actions
from helpers.delivering import (
    Delivering,
    attribute,
    changed,
    event,
    file_object,
    kill_at,
    noted,
    report,
    sink_of,
    tags,
)
from helpers.misp import Misp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stixbridge.errors import ServerError
from stixbridge.queries.find import find
from stixbridge.sinks.delivery import State
from stixbridge.sinks.misp.split import assigned
from stixbridge.sinks.places import share_uuid

pytestmark = pytest.mark.usefixtures("no_waiting")


Json = dict[str, Any]
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"


def addresses(event_uuid: str, count: int, start: int = 0) -> list[Json]:
    return [
        attribute(event_uuid, f"198.51.{at // 250}.{at % 250}")
        for at in range(start, start + count)
    ]


def referring(source: Json, target: Json) -> Json:
    row = {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, source["uuid"] + target["uuid"])),
        "object_uuid": source["uuid"], "referenced_uuid": target["uuid"],
        "relationship_type": "related-to", "comment": "",
    }  # fmt: skip
    return {**source, "ObjectReference": [*source.get("ObjectReference", []), row]}


def values(held: Json | None) -> set[str]:
    assert held is not None
    return {row["value"] for row in held["Attribute"] if row["deleted"] not in (True, 1, "1")}


def test_parts_are_shared_out_and_the_events_linked(misp: Misp) -> None:
    event_uuid = misp.fresh()
    misp.made |= {share_uuid(event_uuid, number) for number in (1, 2, 3)}
    rows = addresses(event_uuid, 25)
    wanted = event(
        event_uuid, *rows, Tag=tags("tlp:green"), EventReport=[report(event_uuid, "Words", "…")]
    )
    deliver = Delivering(sink_of(misp, split=10))
    delivery = deliver(wanted)
    assert (delivery.event, delivery.state, delivery.action, delivery.notes) == (
        event_uuid,
        State.DELIVERED,
        "created",
        [],
    )
    held = [misp.event(share_uuid(event_uuid, number)) for number in range(4)]
    assert held[3] is None
    assert [len(values(one)) for one in held[:3]] == [10, 10, 5]
    assert set().union(*(values(one) for one in held[:3])) == {row["value"] for row in rows}
    for number, one in enumerate(held[1:3], 2):
        assert one is not None
        assert (one["extends_uuid"], one["info"]) == (event_uuid, f"stixbridge test ({number})")
        assert [tag["name"] for tag in one["Tag"]] == ["tlp:green"]
        assert one.get("EventReport") in ([], None)
    # nothing new, nothing written
    misp.forget()
    deliver(wanted)
    assert misp.writes() == []
    # what goes, goes where it is; what comes goes where there is room; what was anywhere stays
    # there
    gone, new = rows[0], addresses(event_uuid, 8, 100)
    assert deliver(changed(wanted, Attribute=[*rows[1:], *new])).notes == []
    after = [misp.event(share_uuid(event_uuid, number)) for number in range(4)]
    assert [len(values(one)) for one in after] == [10, 10, 10, 2]
    assert gone["value"] not in set().union(*map(values, after))
    assert all(
        values(one) - {gone["value"]} <= values(other)
        for one, other in zip(held[:3], after, strict=False)
    )
    # all of it
    assert (
        deliver(
            changed(wanted, info="[withdrawn] stixbridge test", Attribute=[], EventReport=[])
        ).notes
        == []
    )
    left = [misp.event(share_uuid(event_uuid, number)) for number in range(4)]
    assert [values(one) for one in left] == [set()] * 4
    assert all(one is not None and one["info"].startswith("[withdrawn] ") for one in left)
    # and back again
    assert deliver(wanted).notes == []
    back = [misp.event(share_uuid(event_uuid, number)) for number in range(3)]
    assert [values(one) for one in back] == [values(one) for one in held[:3]]


def test_what_is_joined_stays_together_and_a_late_reference_between_two_events_is_told(
    double: MispDouble,
) -> None:
    first, second, third = (file_object(OWN, f"{name}.exe") for name in "abc")
    rows = addresses(OWN, 4)
    first = referring(referring(first, second), rows[3])
    wanted = event(OWN, *rows, Object=[first, second, third])
    deliver = Delivering(sink_of(double, split=6))
    assert deliver(wanted).notes == []
    ends = {first["uuid"], second["uuid"], rows[3]["uuid"]}
    places = [
        {row["uuid"] for row in (*held["Attribute"], *held["Object"])} & ends
        for held in double.events.values()
    ]
    assert [place for place in places if place] == [ends]
    home = {row["uuid"]: held["uuid"] for held in double.events.values() for row in held["Object"]}
    assert home[third["uuid"]] != home[first["uuid"]]
    late = referring(third, first)
    delivery = deliver(changed(wanted, Object=[first, second, late]))
    assert noted(delivery) == [(late["ObjectReference"][0]["uuid"], "no-place")]
    assert delivery.state is State.DELIVERED


def test_an_event_that_grew_keeps_what_it_has(double: MispDouble) -> None:
    rows = addresses(OWN, 8)
    deliver = Delivering(sink_of(double, split=10))
    deliver(event(OWN, *rows))
    deliver(event(OWN, *rows, *addresses(OWN, 9, 50)))
    assert [len(values(held)) for held in double.events.values()] == [10, 7]
    assert {row["value"] for row in rows} <= values(double.events[OWN])
    # the limit is taken away: what is split stays split
    whole = Delivering(sink_of(double))
    whole.last = deliver.last
    delivery = whole(event(OWN, *rows, *addresses(OWN, 12, 50)))
    assert delivery.notes == []
    assert [len(values(held)) for held in double.events.values()] == [13, 7]


@pytest.mark.parametrize("cut", range(1, 4))
@pytest.mark.parametrize("stored", [True, False])
def test_a_cut_at_any_of_the_events_is_gone_on_from(cut: int, stored: bool) -> None:
    """Though more has come meanwhile, which would be shared out otherwise, and one of each has
    gone.
    """
    rows = addresses(OWN, 24)
    wanted = event(OWN, *rows, Tag=tags("tlp:green"))
    with MispDouble() as double:
        deliver = Delivering(sink_of(double, split=10))
        kill_at(deliver.sink, "events/add", number=cut, stored=stored)
        with pytest.raises(ServerError):
            deliver(wanted)
        assert deliver.last[OWN].state is State.ADDING
        again = Delivering(sink_of(double, split=10))
        again.last = deliver.last
        kept = [row for at, row in enumerate(rows) if at not in (3, 13, 23)]
        more = changed(wanted, Attribute=[*addresses(OWN, 3, 100), *kept])
        delivery = again(more)
        assert (delivery.state, delivery.notes) == (State.DELIVERED, [])
        live = [
            row["value"]
            for held in double.events.values()
            for row in held["Attribute"]
            if not row["deleted"]
        ]
        assert sorted(live) == sorted(row["value"] for row in more["Attribute"])
        assert not double.drops
        double.requests.clear()
        again(more)
        assert double.writes() == []


def test_a_part_event_that_an_analyst_deleted_stays_deleted(double: MispDouble) -> None:
    rows = addresses(OWN, 15)
    deliver = Delivering(sink_of(double, split=10))
    deliver(event(OWN, *rows))
    other = share_uuid(OWN, 1)
    ident = double.events[other]["id"]
    headers = {"Authorization": double.key, "Accept": "application/json"}
    httpx.post(f"{double.url}/events/delete/{ident}", headers=headers).raise_for_status()
    delivery = deliver(event(OWN, *rows, info="changed"))
    assert ("blocked" in [reason for _, reason in noted(delivery)], delivery.state) == (
        True,
        State.DELIVERED,
    )
    assert set(double.events) == {OWN}


def test_somebody_elses_event_is_not_split(double: MispDouble) -> None:
    double.analyst_event(
        {"uuid": OWN, "info": "theirs", "Orgc": {"name": "X", "uuid": str(uuid.uuid4())}}
    )
    deliver = Delivering(sink_of(double, split=10))
    assert deliver(event(OWN, *addresses(OWN, 15))).state is State.FOREIGN
    assert set(double.events) == {OWN}


def test_a_pipeline_finds_what_is_in_which_event(double: MispDouble, tmp_path: Path) -> None:
    sink = {"type": "misp", "url": double.url, "key": double.key, "split": 2}
    bridge = Bridge(tmp_path, {"misp": sink})
    found = [stix.indicator(f"198.51.100.{at}") for at in range(5)]
    assert actions(bridge.poll(*found, stix.report("wave", found))) == {"created": 1}
    assert len(double.events) == 3
    for number in range(5):
        (value,) = double.find(f"198.51.100.{number}")
        (home,) = [held["uuid"] for held in double.events.values() if value in held["Attribute"]]
        (row,) = find(bridge.config, bridge.store, value["value"])
        assert [sink["event"] for sink in row["events"][0]["sinks"]] == [home]
    bridge.poll(stix.report("wave", found[:1], modified=stix.LATER))
    live = [
        row["value"]
        for held in double.events.values()
        for row in held["Attribute"]
        if not row["deleted"]
    ]
    assert sorted(live) == sorted(
        f"198.51.100.{at}" for at in range(5)
    )  # four of them in the collecting event
    bridge.close()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(1, 4), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=6),
    st.integers(1, 6),
    st.integers(0, 12),
)
def test_sharing_out_is_stable(
    sizes: list[int], pairs: list[tuple[int, int]], most: int, cut: int
) -> None:
    """No part moves; groups are together where all of a group is new; an event over the limit holds
    one group.
    """
    objects = [
        {
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, str(at))),
            "Attribute": [{"uuid": f"{at}-{n}"} for n in range(size)],
        }
        for at, size in enumerate(sizes)
    ]
    for one, other in pairs:
        if one < len(objects) and other < len(objects):
            objects[one] = referring(objects[one], objects[other])
    whole = {"uuid": OWN, "Object": objects}
    before = assigned({"uuid": OWN, "Object": objects[:cut]}, {}, most)
    after = assigned(whole, before, most)
    assert after.keys() == {part["uuid"] for part in objects}
    assert {part: after[part] for part in before} == before
    fresh = assigned(whole, {}, most)
    for part in objects:
        for row in part.get("ObjectReference", []):
            assert fresh[str(part["uuid"])] == fresh[row["referenced_uuid"]]
    assert set(fresh.values()) == set(range(len(set(fresh.values()))))
