"""Objects that arrive late, move between events, or come from two sources: nothing is doubled,
loosened or lost.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers.bridge import Bridge, actions
from helpers.stix import LAST, LATER, address, indicator, relationship, report, sighting, uuid_in

IP = "198.51.100.7"
OTHER = "198.51.100.8"
FIRST_UUID = "00000000-0000-4000-8000-00000000000a"
LAST_UUID = "ffffffff-ffff-4fff-bfff-fffffffffff0"


def tagged(part: dict[str, Any]) -> list[str]:
    return sorted(tag["name"] for tag in part["Tag"])


def event_of(misp: MispDouble, value: str) -> list[str]:
    """UUIDs of the events where a value is live."""
    return [
        uuid
        for uuid, event in misp.events.items()
        for row in event["Attribute"]
        if row["value"] == value and not row["deleted"]
    ]


# one value, several objects


@pytest.mark.parametrize("stricter_first", [False, True])
def test_an_equal_red_indicator_marks_the_one_attribute(
    misp: MispDouble, bridge: Bridge, stricter_first: bool
) -> None:
    polls = [address(IP), indicator(IP, tlp="red")]
    for obj in reversed(polls) if stricter_first else polls:
        assert bridge.poll(obj).errors == []
    (stored,) = misp.find(IP)
    (event,) = event_of(misp, IP)
    assert "tlp:red" in tagged(stored) and stored["to_ids"] is True
    assert (tagged(misp.events[event]), misp.events[event]["distribution"]) == (["tlp:red"], "0")
    for other, content in misp.events.items():
        assert other == event or content["info"].startswith("[withdrawn]")
    misp.requests.clear()
    bridge.run()
    assert misp.writes() == []


@pytest.mark.parametrize("stricter_first", [False, True])
def test_an_equal_red_indicator_marks_the_one_attribute_of_a_report(
    misp: MispDouble, bridge: Bridge, stricter_first: bool
) -> None:
    plain, red = address(IP), indicator(IP, tlp="red")
    wave = report("wave", [plain, red], tlp="green")
    first, second = (red, plain) if stricter_first else (plain, red)
    assert bridge.poll(wave, first).errors == []
    assert bridge.poll(second).errors == []
    (stored,) = misp.find(IP)
    assert event_of(misp, IP) == [uuid_in(wave["id"])]
    assert (tagged(stored), stored["distribution"], stored["to_ids"]) == (["tlp:red"], "0", True)


def test_a_marking_that_gets_stricter_moves_the_object_add_first(
    misp: MispDouble, bridge: Bridge
) -> None:
    bridge.poll(indicator(IP, tlp="green"), indicator(OTHER, tlp="green"))
    (green,) = event_of(misp, IP)
    misp.requests.clear()
    bridge.poll(indicator(IP, tlp="red", modified=LATER))
    (red,) = event_of(misp, IP)
    assert red != green and event_of(misp, OTHER) == [green]
    assert tagged(misp.events[red]) == ["tlp:red"]
    assert [request.path for request in misp.writes()] == ["/events/add", f"/events/edit/{green}"]


def test_a_text_under_red_in_a_green_report_is_no_wider_than_red(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = Bridge(
        tmp_path,
        {"misp": {"type": "misp", "url": misp.url, "key": misp.key}},
        enrich={"distribution": 3},
    )
    red = indicator(
        IP, tlp="red", name="Actor", description="first line\nthe name of our source is Bob"
    )
    wave = report("wave", [red, indicator(OTHER)], tlp="green")
    bridge.poll(red, indicator(OTHER), wave)
    bridge.close()
    event = misp.events[uuid_in(wave["id"])]
    assert event["distribution"] == "3"
    telling = [row for row in event["EventReport"] if "Bob" in row["content"]]
    assert all(row["distribution"] == "0" for row in telling)
    (stored,) = misp.find(IP)
    assert (tagged(stored), stored["distribution"]) == (["tlp:red"], "0")


# reports and their members


def test_members_that_come_in_a_later_poll_join_the_report(
    misp: MispDouble, bridge: Bridge
) -> None:
    one, two = indicator(IP), indicator(OTHER)
    wave = report("wave", [one, two, "indicator--00000000-0000-4000-8000-000000000009"])
    event_uuid = uuid_in(wave["id"])
    bridge.poll(wave)
    bridge.poll(one)
    assert event_of(misp, IP) == [event_uuid]
    uuid = misp.find(IP)[0]["uuid"]
    misp.analyst_sighting(uuid, source="our firewall")
    misp.analyst_tag(uuid, "ours:seen")
    bridge.poll(two, relationship(one, "related-to", two), sighting(one))
    assert event_of(misp, OTHER) == [event_uuid] and list(misp.events) == [event_uuid]
    (stored,) = misp.find(IP)
    assert stored["uuid"] == uuid and "ours:seen" in tagged(stored)
    assert sorted(row["source"] == "our firewall" for row in stored["Sighting"]) == [False, True]
    assert [row["related_object_uuid"] for row in stored["Relationship"]] == [
        misp.find(OTHER)[0]["uuid"]
    ]


def test_a_member_that_leaves_the_report_is_withdrawn_and_collected(
    misp: MispDouble, bridge: Bridge
) -> None:
    one, two = indicator(IP), indicator(OTHER)
    wave = report("wave", [one, two])
    bridge.poll(one, two, wave)
    bridge.poll(report("wave", [one], modified=LATER))
    assert event_of(misp, IP) == [uuid_in(wave["id"])]
    (collecting,) = event_of(misp, OTHER)
    assert collecting != uuid_in(wave["id"])


@pytest.mark.parametrize("event_uuid", [FIRST_UUID, LAST_UUID])
def test_an_object_that_joins_a_report_is_added_there_first(
    misp: MispDouble, bridge: Bridge, event_uuid: str
) -> None:
    one, two = indicator(IP), indicator(OTHER)
    bridge.poll(one, two)
    (collecting,) = event_of(misp, IP)
    misp.requests.clear()
    wave = {**report("wave", [one]), "id": f"report--{event_uuid}"}
    bridge.poll(wave, now="2026-01-10T01:00:00Z")
    assert [request.path for request in misp.writes()] == [
        "/events/add",
        f"/events/edit/{collecting}",
    ]
    assert (event_of(misp, IP), event_of(misp, OTHER)) == ([event_uuid], [collecting])


@pytest.mark.parametrize("event_uuid", [FIRST_UUID, LAST_UUID])
def test_it_is_added_first_also_when_the_collecting_event_grows(
    misp: MispDouble, bridge: Bridge, event_uuid: str
) -> None:
    one = indicator(IP)
    bridge.poll(one)
    (collecting,) = event_of(misp, IP)
    misp.requests.clear()
    bridge.poll({**report("wave", [one]), "id": f"report--{event_uuid}"}, indicator(OTHER))
    assert [request.path for request in misp.writes()] == [
        "/events/add",
        f"/events/edit/{collecting}",
    ]
    assert (event_of(misp, IP), event_of(misp, OTHER)) == ([event_uuid], [collecting])


def test_the_last_member_leaves_an_empty_collecting_event_behind(
    misp: MispDouble, bridge: Bridge
) -> None:
    one = indicator(IP)
    bridge.poll(one)
    (collecting,) = event_of(misp, IP)
    summary = bridge.poll(report("wave", [one]))
    assert actions(summary) == {"created": 1, "withdrawn": 1}
    event = misp.events[collecting]
    assert event["info"].startswith("[withdrawn] ") and all(
        row["deleted"] for row in event["Attribute"]
    )
    bridge.poll(indicator(OTHER))
    assert event_of(misp, OTHER) == [collecting]
    assert not misp.events[collecting]["info"].startswith("[withdrawn]")


def test_nothing_is_withdrawn_while_the_report_can_not_be_added(
    misp: MispDouble, bridge: Bridge
) -> None:
    """The report's event exists and is someone else's: what we delivered elsewhere stays."""
    one = indicator(IP)
    bridge.poll(one)
    (collecting,) = event_of(misp, IP)
    wave = report("wave", [one])
    misp.analyst_event({"uuid": uuid_in(wave["id"]), "info": "by hand"})
    bridge.poll(wave)
    assert event_of(misp, IP) == [collecting]


def test_a_failing_add_withdraws_nothing(misp: MispDouble, bridge: Bridge) -> None:
    one = indicator(IP)
    bridge.poll(one)
    (collecting,) = event_of(misp, IP)
    misp.fail_next(500, "{}", path="/events/add")
    wave = report("wave", [one])
    summary = bridge.poll(wave)
    assert summary.status and event_of(misp, IP) == [collecting]
    assert bridge.run().errors == []
    assert event_of(misp, IP) == [uuid_in(wave["id"])]


# two sources


@pytest.fixture
def two(misp: MispDouble, tmp_path: Path) -> Iterator[Bridge]:
    made = Bridge(
        tmp_path,
        {"misp": {"type": "misp", "url": misp.url, "key": misp.key}},
        sources={"umbra": {"type": "files"}},
    )
    yield made
    made.close()


@pytest.mark.parametrize("newer", ["acme", "umbra"])
def test_one_report_from_two_sources_is_one_event(
    misp: MispDouble, two: Bridge, newer: str
) -> None:
    one, other, shared = indicator(IP), indicator(OTHER), indicator("198.51.100.9")
    times = {"acme": LAST, "umbra": LATER} if newer == "acme" else {"acme": LATER, "umbra": LAST}
    mine = report(
        "wave", [one, shared], tlp="green", modified=times["acme"], description="from acme"
    )
    theirs = report(
        "wave", [other, shared], tlp="amber", modified=times["umbra"], description="from umbra"
    )
    two.poll(one, shared, mine, source="acme")
    two.poll(other, shared, theirs, source="umbra")
    event_uuid = uuid_in(mine["id"])
    assert list(misp.events) == [event_uuid]
    event = misp.events[event_uuid]
    assert {row["value"] for row in event["Attribute"]} == {IP, OTHER, "198.51.100.9"}
    assert [tag for tag in tagged(event) if tag.startswith("tlp:")] == ["tlp:amber"]
    (text,) = [row for row in event["EventReport"] if row["name"] == "Description"]
    assert text["content"] == f"from {newer}"
    misp.requests.clear()
    for source in ("acme", "umbra"):
        two.run(source=source)
    assert misp.writes() == []


@pytest.mark.parametrize("newer", ["acme", "umbra"])
def test_what_hangs_on_a_part_of_two_sources_is_joined(
    misp: MispDouble, two: Bridge, newer: str
) -> None:
    """Sightings, relationships, references and rows of event reports are parts too."""
    one, other = indicator(IP), indicator(OTHER)
    file = indicator("file", "[file:name = 'a.exe' AND file:size = 42]")
    members = [one, other, file]
    stamps = {"acme": LATER, "umbra": LAST} if newer == "umbra" else {"acme": LAST, "umbra": LATER}
    links = [
        relationship(one, "related-to", other, description="from acme alone"),
        relationship(file, "related-to", one),
        sighting(one),
    ]
    two.poll(*members, report("wave", members, modified=stamps["acme"]), *links, source="acme")
    two.poll(*members, report("wave", members, modified=stamps["umbra"]), source="umbra")
    two.poll(report("wave", members, modified=stamps["umbra"], confidence=50), source="umbra")
    (event,) = misp.events.values()
    (stored,) = misp.find(IP)
    assert len(stored["Sighting"]) == 1
    assert [row["related_object_uuid"] for row in stored["Relationship"]] == [
        misp.find(OTHER)[0]["uuid"]
    ]
    (obj,) = event["Object"]
    assert [row["referenced_uuid"] for row in obj["ObjectReference"] if not row["deleted"]] == [
        stored["uuid"]
    ]
    assert any(
        "from acme alone" in row["content"] for row in event["EventReport"] if not row["deleted"]
    )


@pytest.mark.parametrize("first", ["acme", "umbra"])
def test_what_the_second_source_adds_to_a_part_arrives(
    misp: MispDouble, two: Bridge, first: str
) -> None:
    """The older of the two brings a sighting after the newer was delivered."""
    one = indicator(IP)
    second = "umbra" if first == "acme" else "acme"
    two.poll(one, report("wave", [one], modified=LAST), source=first)
    two.poll(one, report("wave", [one]), sighting(one), source=second)
    (stored,) = misp.find(IP)
    assert len(stored["Sighting"]) == 1


def test_a_part_goes_when_its_last_source_withdraws_it(misp: MispDouble, two: Bridge) -> None:
    one, shared = indicator(IP), indicator(OTHER)
    for source in ("acme", "umbra"):
        two.poll(one, shared, report("wave", [one, shared]), source=source)
    event_uuid = uuid_in(report("wave", [])["id"])
    two.poll(report("wave", [one], modified=LATER), source="acme")
    assert event_uuid in event_of(misp, OTHER)
    two.poll(report("wave", [one], modified=LATER), source="umbra")
    assert event_uuid not in event_of(misp, OTHER)
    assert event_of(misp, IP) == [event_uuid]


# time


@pytest.mark.parametrize("in_report", [False, True])
def test_an_indicator_that_expires_between_two_runs_loses_to_ids(
    misp: MispDouble, bridge: Bridge, in_report: bool
) -> None:
    soon, later = indicator(IP, valid_until="2026-01-11T00:00:00Z"), indicator(OTHER)
    around = [report("wave", [soon, later])] if in_report else []
    bridge.poll(soon, later, *around, now="2026-01-10T00:00:00Z")
    uuid = misp.find(IP)[0]["uuid"]
    assert misp.attribute(uuid)["to_ids"] is True
    misp.requests.clear()
    assert actions(bridge.run(now="2026-01-10T23:59:59Z")) == {} and misp.writes() == []
    assert actions(bridge.run(now="2026-01-11T00:00:00Z")) == {"updated": 1}
    stored = misp.attribute(uuid)
    assert (stored["to_ids"], stored["deleted"]) == (False, False)
    assert [row["type"] for row in stored["Sighting"]] == ["2"]
    assert misp.find(OTHER)[0]["to_ids"] is True
    misp.requests.clear()
    bridge.run(now="2026-01-12T00:00:00Z")
    assert misp.writes() == []


def test_an_expired_indicator_stays_live_where_another_says_the_same(
    misp: MispDouble, bridge: Bridge
) -> None:
    one = indicator("one", f"[ipv4-addr:value = '{IP}']", valid_until="2026-01-11T00:00:00Z")
    bridge.poll(one, indicator("two", f"[ipv4-addr:value = '{IP}']"), now="2026-01-10T00:00:00Z")
    bridge.run(now="2026-01-12T00:00:00Z")
    (stored,) = misp.find(IP)
    assert stored["to_ids"] is True


def test_a_changed_value_withdraws_the_old_one(misp: MispDouble, bridge: Bridge) -> None:
    bridge.poll(indicator("moving", f"[ipv4-addr:value = '{IP}']"), indicator("198.51.100.9"))
    old = misp.find(IP)[0]["uuid"]
    bridge.poll(indicator("moving", f"[ipv4-addr:value = '{OTHER}']", modified=LATER))
    assert misp.attribute(old)["deleted"] is True
    assert misp.find(OTHER)[0]["to_ids"] is True
    assert len(misp.events) == 1
