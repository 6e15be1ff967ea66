"""What an analyst would throw the old scripts away for, end to end: from polls to what stands in
MISP.
"""

import json
from pathlib import Path

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers.bridge import Bridge, actions, reasons
from helpers.scenarios import live, only, sink_of
from helpers.stix import LAST, LATER, indicator, relationship, report, uuid_in

from stixbridge.queries.find import find

IP = "198.51.100.7"


def test_1_a_feed_pulled_twice_writes_once(misp: MispDouble, tmp_path: Path) -> None:
    many = [
        indicator(f"198.51.100.{number}", tlp="amber" if number % 2 else "green")
        for number in range(1, 8)
    ]
    wave = report("wave", [many[0], many[1]], tlp="green", description="A wave\nof things")
    noise = indicator(
        "noise",
        f"[ipv4-addr:value = '{IP}' AND ipv4-addr:value != '203.0.113.1']",
        description="a\nb",
    )
    with TaxiiDouble(page_size=3) as taxii:
        taxii.add_collection("Indicators")
        taxii.add("Indicators", [*many, wave, noise, relationship(many[0], "related-to", many[1])])
        bridge = Bridge(
            tmp_path,
            sink_of(misp),
            enrich={"publish": True},
            sources={"feed": {"type": "taxii21", "url": taxii.url}},
        )
        first = bridge.run(source="feed")
        assert first.errors == [] and first.events["created"] >= 3
        before = {uuid: dict(event) for uuid, event in misp.events.items()}
        assert all(event["published"] for event in before.values())
        misp.requests.clear()
        again = bridge.run(source="feed", now="2026-01-10T01:00:00Z")
        assert (again.errors, again.changed, misp.writes()) == ([], 0, [])
        # everything served again, as after a restart of the server with new stamps
        taxii.add("Indicators", [*many, wave, noise])
        replayed = bridge.run(source="feed", now="2026-01-10T02:00:00Z")
        bridge.close()
    assert (replayed.errors, replayed.changed, misp.writes()) == ([], 0, [])
    for uuid, event in misp.events.items():
        assert (event["timestamp"], event["published"]) == (before[uuid]["timestamp"], True)


@pytest.mark.parametrize("publish", [False, True])
def test_3_a_revoked_indicator_loses_to_ids_within_one_poll(
    misp: MispDouble, tmp_path: Path, publish: bool
) -> None:
    bridge = Bridge(tmp_path, sink_of(misp), enrich={"publish": publish})
    bridge.poll(indicator(IP, name="C2"), indicator("198.51.100.8"))
    uuid = only(misp)["uuid"]
    misp.analyst_edit(uuid, comment="seen at home too")
    misp.requests.clear()
    bridge.poll(indicator(IP, name="C2", modified=LATER, revoked=True))
    bridge.close()
    held = only(misp)
    assert (held["uuid"], held["to_ids"], held["comment"]) == (uuid, False, "seen at home too")
    assert [row["type"] for row in held["Sighting"]] == ["2"]
    assert only(misp, "198.51.100.8")["to_ids"] is True
    kinds = [request.path.split("/")[2] for request in misp.writes()]
    assert kinds == (["edit", "publish"] if publish else ["edit"])


def test_3_a_revoked_indicator_that_was_never_delivered_is_not_created(
    misp: MispDouble, bridge: Bridge
) -> None:
    summary = bridge.poll(indicator(IP, revoked=True))
    assert (summary.errors, misp.events, misp.writes()) == ([], {}, [])
    assert "revoked" in reasons(summary)


@pytest.mark.parametrize("in_report", [False, True])
def test_4_what_an_analyst_cleared_or_deleted_is_not_revived(
    misp: MispDouble, bridge: Bridge, in_report: bool
) -> None:
    cleared, deleted = indicator(IP), indicator("198.51.100.8")
    around = [report("wave", [cleared, deleted])] if in_report else []
    bridge.poll(cleared, deleted, *around)
    one, other = only(misp)["uuid"], only(misp, "198.51.100.8")["uuid"]
    misp.analyst_edit(one, to_ids=False)
    misp.analyst_delete(other)
    polls = [
        [indicator(IP, modified=LATER, name="C2", tlp="amber" if in_report else None)],
        [indicator("198.51.100.8", modified=LATER, name="C2", confidence=90)],
        [cleared, deleted, *around],  # an old page served again
        [indicator("198.51.100.9", modified=LAST), *around],
    ]
    for objects in polls:
        assert bridge.poll(*objects).errors == []
        assert misp.attribute(one)["to_ids"] is False
        assert misp.attribute(other)["deleted"] is True
    assert misp.attribute(one)["comment"] == "C2"
    assert only(misp, "198.51.100.9")["to_ids"] is True or not in_report


def test_4_a_replay_with_a_lost_store_revives_nothing(misp: MispDouble, tmp_path: Path) -> None:
    objects = [
        indicator(IP),
        indicator("198.51.100.8"),
        report("wave", [indicator(IP), indicator("198.51.100.8")]),
    ]
    (tmp_path / "one").mkdir()
    bridge = Bridge(tmp_path / "one", sink_of(misp))
    bridge.poll(*objects)
    bridge.close()
    one, other = only(misp)["uuid"], only(misp, "198.51.100.8")["uuid"]
    misp.analyst_edit(one, to_ids=False)
    misp.analyst_delete(other)
    (tmp_path / "two").mkdir()
    bridge = Bridge(tmp_path / "two", sink_of(misp))
    summary = bridge.poll(*objects)
    bridge.close()
    assert (misp.attribute(one)["to_ids"], misp.attribute(other)["deleted"]) == (False, True)
    assert "foreign" in reasons(summary) and summary.status == 1


def test_5_a_guarded_address_is_one_attribute(misp: MispDouble, bridge: Bridge) -> None:
    pattern = (
        f"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '{IP}']"
    )
    assert actions(bridge.poll(indicator("guarded", pattern))) == {"created": 1}
    (event,) = misp.events.values()
    assert [(row["type"], row["value"], row["to_ids"]) for row in event["Attribute"]] == [
        ("ip-dst", IP, True)
    ]
    assert event["Object"] == []


def test_6_what_does_not_select_is_no_indicator(misp: MispDouble, bridge: Bridge) -> None:
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    assert bridge.poll(
        indicator("file",
                  f"[file:name = 'svchost.exe' AND file:hashes.MD5 = '{md5}' AND file:size = 42]"),
        indicator(
            "traffic",
            f"[network-traffic:dst_ref.value = '{IP}' AND network-traffic:dst_port = 8443"
            " AND network-traffic:src_port = 1024]",
        ),
        indicator("as",
                  ("[ipv4-addr:value = '198.51.100.9' AND ipv4-addr:belongs_to_refs[*].number = "
                   "64496]")),
    ).errors == []  # fmt: skip
    detecting = {(row["type"], row["value"]) for row in live(misp) if row["to_ids"]}
    values = {value for _, value in detecting}
    assert md5 in {part for value in values for part in value.split("|")}
    assert any(IP in value for value in values)
    halves = {part for value in values for part in value.split("|")}
    lone = {value for _, value in detecting if "|" not in value}
    assert not lone & {"svchost.exe", "8443", "1024", "64496", "AS64496", "42"}
    assert not halves & {"64496", "AS64496", "1024", "42"}
    assert not any(
        row["type"] in ("port", "AS", "size-in-bytes", "filename")
        for row in live(misp)
        if row["to_ids"]
    )


def test_11_find_tells_where_an_object_went(misp: MispDouble, bridge: Bridge) -> None:
    good = indicator(IP, name="C2")
    wave = report("wave", [good])
    bridge.poll(good, wave)
    event, held = uuid_in(wave["id"]), only(misp)["uuid"]
    for what in (good["id"], IP, held):
        rows = find(bridge.config, bridge.store, what)
        assert [row["id"] for row in rows] == [good["id"]]
        (place,) = rows[0]["events"]
        assert (place["event"], place["pipeline"]) == (event, "acme")
        assert [(row["uuid"], row["type"], row["value"]) for row in place["elements"]] == [
            (held, "ip-dst", IP)
        ]
        assert [(row["sink"], row["state"], row["info"]) for row in place["sinks"]] == [
            ("misp", "delivered", "wave")
        ]
    assert {row["id"] for row in find(bridge.config, bridge.store, event)} == {
        good["id"],
        wave["id"],
    }
    assert find(bridge.config, bridge.store, "no such thing") == []


def test_11_find_tells_why_something_is_missing(misp: MispDouble, bridge: Bridge) -> None:
    over = indicator(IP, valid_until=LATER)
    odd = indicator("odd", "[x-thing:value = ")
    bad = indicator(
        "198.51.100.8", external_references=[{"source_name": "a", "description": "only words"}]
    )
    bridge.poll(over, odd, bad)
    (row,) = find(bridge.config, bridge.store, over["id"])
    assert (row["events"], [entry["reason"] for entry in row["missing"]]) == ([], ["expired"])
    (row,) = find(bridge.config, bridge.store, odd["id"])
    assert [entry["reason"] for entry in row["missing"]] == ["invalid-pattern"]
    (row,) = find(bridge.config, bridge.store, bad["id"])
    assert "$.external_references[0]" in [entry.get("path") for entry in row["missing"]]


def test_11_find_tells_what_misp_dropped(misp: MispDouble, bridge: Bridge, tmp_path: Path) -> None:
    good = indicator(IP)
    (tmp_path / "other").mkdir()
    other = Bridge(tmp_path / "other", {"out": {"type": "files", "path": str(tmp_path / "out")}})
    other.poll(good)
    other.close()
    (file,) = (tmp_path / "out").iterdir()
    uuid = json.loads(file.read_text())["Event"]["Attribute"][0]["uuid"]
    misp.analyst_event(
        {"info": "by hand", "Attribute": [{"uuid": uuid, "type": "ip-dst", "value": "203.0.113.1"}]}
    )
    summary = bridge.poll(good)
    assert (summary.status, "misp-dropped" in reasons(summary)) == (1, True)
    (row,) = find(bridge.config, bridge.store, good["id"])
    assert [note["reason"] for place in row["events"] for note in place["notes"]] == [
        "misp-dropped"
    ]


@pytest.mark.parametrize("default", [None, "tlp:amber"])
def test_14_an_unmarked_feed_gets_the_default_and_stays_inside(
    misp: MispDouble, tmp_path: Path, default: str | None
) -> None:
    bridge = Bridge(tmp_path, sink_of(misp), source={"default_tlp": default} if default else {})
    inside = indicator("198.51.100.9")
    bridge.poll(
        indicator(IP), inside, indicator("198.51.100.8", tlp="green"), report("wave", [inside])
    )
    bridge.close()
    assert len(misp.events) == 3
    marked = {
        row["value"]: [tag["name"] for tag in event["Tag"] if tag["name"].startswith("tlp:")]
        for event in misp.events.values()
        for row in event["Attribute"]
    }
    wanted = [default] if default else []
    assert marked == {IP: wanted, "198.51.100.9": wanted, "198.51.100.8": ["tlp:green"]}
    assert {event["distribution"] for event in misp.events.values()} == {"0"}
    assert all(row["distribution"] in ("0", "5") for row in live(misp))


def test_14_a_wider_distribution_than_the_marking_allows_is_refused(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = Bridge(
        tmp_path,
        sink_of(misp),
        source={"default_tlp": "tlp:red"},
        enrich={"distribution": 3, "tags": ["tlp:clear"]},
    )
    summary = bridge.poll(indicator(IP), indicator("198.51.100.8", tlp="green"))
    bridge.close()
    found = {
        tag["name"]: event["distribution"] for event in misp.events.values() for tag in event["Tag"]
    }
    assert found == {"tlp:red": "0", "tlp:green": "3"}
    assert len(reasons(summary)["marking"]) == 3


def test_14_a_report_whose_marking_no_tag_can_say_stays_inside(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = Bridge(tmp_path, sink_of(misp), enrich={"distribution": 3, "tags": ["tlp:clear"]})
    unknown = ["marking-definition--00000000-0000-4000-8000-00000000000e"]
    wave = {**report("wave", [indicator(IP)]), "object_marking_refs": unknown}
    bridge.poll(indicator(IP), wave)
    bridge.close()
    event = misp.events[uuid_in(wave["id"])]
    assert event["distribution"] == "0"
    assert not [tag["name"] for tag in event["Tag"] if tag["name"].startswith("tlp:")]


def test_a_bad_object_stops_nothing(misp: MispDouble, bridge: Bridge) -> None:
    summary = bridge.poll({"type": "indicator", "id": "nonsense"}, indicator(IP))
    assert summary.errors == [] and only(misp)["to_ids"] is True
    assert summary.ledger.outcomes["invalid"] == 1
