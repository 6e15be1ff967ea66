"""One event that MISP refuses, or a step that fails, keeps nothing else from arriving, and is not
forgotten.
"""

import uuid
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import NOW, Bridge, actions, bridge_to, reasons
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
    tagged,
    tags,
)
from helpers.misp import Misp

from stixbridge import convert
from stixbridge.envelopes import Wanted
from stixbridge.errors import ServerError
from stixbridge.ledger import Reason
from stixbridge.sinks.delivery import State
from stixbridge.sinks.merge import merge

A, B, C, D = (f"198.51.100.{number}" for number in range(1, 5))
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
Json = dict[str, Any]


def live(misp: MispDouble) -> dict[str, int]:
    """How often each value is there."""
    found: dict[str, int] = {}
    for one in misp.events.values():
        for row in one["Attribute"]:
            found[row["value"]] = found.get(row["value"], 0) + (not row["deleted"])
    return found


# one event


def test_an_event_that_never_gets_through_keeps_no_other_out(
    double: MispDouble, tmp_path: Path
) -> None:
    """As where a firewall in front of MISP does not like it."""
    members = [stix.indicator(value) for value in (A, B, C, D)]
    reports = [stix.report(f"wave {number}", [one]) for number, one in enumerate(members)]
    bad = min(stix.uuid_in(one["id"]) for one in reports)
    html = "<html>Request blocked</html>"
    double.fail_next(
        403, html, path="/events/add", times=9, when=lambda request: request.body["uuid"] == bad
    )
    bridge = bridge_to(double, tmp_path)
    summary = bridge.poll(*members, *reports)
    assert (summary.events, summary.status) == ({"failed": 1, "created": 3}, 3)
    assert "answered 403" in summary.errors[0]
    summary = bridge.run()
    assert (summary.events, summary.status) == ({"failed": 1, "unchanged": 3}, 3)
    double.calm_down()
    assert actions(bridge.run()) == {"created": 1, "unchanged": 3}
    assert live(double) == {A: 1, B: 1, C: 1, D: 1}
    assert actions(bridge.run()) == {}
    bridge.close()


@pytest.mark.parametrize("role", ["user", "publisher"])
def test_an_event_that_the_key_may_not_take_over_is_left_and_said(
    tmp_path: Path, role: str
) -> None:
    with MispDouble(role=role) as misp:
        one, two = stix.indicator(A), stix.indicator(B)
        first, second = stix.report("first", [one]), stix.report("second", [two])
        event_uuid = stix.uuid_in(first["id"])
        misp.analyst_event(
            event(event_uuid, attribute(event_uuid, C, uuid=str(uuid.uuid4())), distribution="1")
        )
        other = misp.store.add_org("OTHER", str(uuid.uuid4()))
        misp.events[event_uuid].update(orgc_id=other["id"], Orgc=other)
        bridge = bridge_to(misp, tmp_path, foreign="adopt")
        summary = bridge.poll(one, two, first, second)
        assert (summary.events, summary.status) == ({"foreign": 1, "created": 1}, 1)
        assert any("may not edit what is OTHER's" in text for text in reasons(summary)["foreign"])
        assert actions(bridge.run()) == {}
        bridge.close()


@pytest.mark.parametrize("how", ["500", "refused"])
def test_events_that_exchange_members_get_all_before_they_give_any_away(
    double: MispDouble, tmp_path: Path, how: str
) -> None:
    one, two, three, four = (stix.indicator(value) for value in (A, B, C, D))
    bridge = bridge_to(double, tmp_path)
    bridge.poll(
        one,
        two,
        three,
        four,
        stix.report("first", [one, three]),
        stix.report("second", [two, four]),
    )
    last = max(double.events)
    refusal = '{"saved":false,"name":"Could not edit Event","errors":{"Event":["no lock"]}}'
    double.fail_next(*((500, "") if how == "500" else (403, refusal)), path=f"/events/edit/{last}")
    moved = [
        stix.report("first", [two, three], modified=stix.LATER),
        stix.report("second", [one, four], modified=stix.LATER),
    ]
    bridge.poll(*moved)
    assert all(count >= 1 for count in live(double).values())
    assert bridge.run().errors == []
    assert live(double) == {A: 1, B: 1, C: 1, D: 1}
    where = {
        uuid_: {row["value"] for row in stored["Attribute"] if not row["deleted"]}
        for uuid_, stored in double.events.items()
    }
    first, second = (stix.uuid_in(stix.stix_id("report", name)) for name in ("first", "second"))
    assert where == {first: {B, C}, second: {A, D}}
    assert actions(bridge.run()) == {}
    bridge.close()


def test_a_split_event_with_a_part_that_misp_refuses_comes_to_rest(
    double: MispDouble, tmp_path: Path
) -> None:
    members = [stix.indicator(f"198.51.100.{number}") for number in range(1, 8)]
    wave = stix.report("wave", members)
    (made,) = convert([*members, wave], now=NOW).events
    taken = made["Attribute"][2]["uuid"]
    other = str(uuid.uuid4())
    double.analyst_event(event(other, attribute(other, "203.0.113.1", uuid=taken)))
    bridge = bridge_to(double, tmp_path, enrich={"publish": True}, split=3)
    summary = bridge.poll(*members, wave)
    assert "misp-dropped" in reasons(summary)
    writes = len(double.writes())
    assert actions(bridge.run()) == {}
    assert len(double.writes()) == writes
    bridge.close()


# publishing


def test_publishing_that_fails_is_owed(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path, enrich={"publish": True})
    one = stix.indicator(A)
    double.fail_next(500, path="/events/publish")
    summary = bridge.poll(one, stix.report("wave", [one]))
    assert (summary.events, summary.status) == ({"created": 1}, 1)
    (stored,) = double.events.values()
    assert stored["published"] is False
    assert actions(bridge.run()) == {"unchanged": 1}
    assert stored["published"] is True
    writes = len(double.writes())
    assert actions(bridge.run()) == {}
    assert len(double.writes()) == writes
    bridge.close()


def test_publishing_that_is_refused_holds_nothing_back(double: MispDouble, tmp_path: Path) -> None:
    """As for a key that may publish, but not what carries another organisation."""
    bridge = bridge_to(double, tmp_path, enrich={"publish": True})
    one, two = stix.indicator(A), stix.indicator(B)
    refusal = '{"message":"You do not have the permission to do that."}'
    double.fail_next(403, refusal, path="/events/publish", times=9)
    bridge.poll(one, two, stix.report("wave", [one, two]))
    summary = bridge.poll(stix.report("wave", [one], modified=stix.LATER))
    assert any("not published" in text for text in reasons(summary)["refused"])
    assert live(double) == {A: 1, B: 1}
    assert actions(bridge.run()) == {}
    bridge.close()


@pytest.mark.parametrize("how", ["500", "cut"])
def test_an_event_that_was_published_stays_so_though_publishing_fails_once(
    misp: Misp, how: str
) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp, keep_published=True))
    deliver(event(event_uuid, part))
    stored = misp.event(event_uuid)
    assert stored is not None
    misp.post(f"/events/publish/{stored['id']}")
    deliver.sink = sink_of(misp, keep_published=True)
    wanted = event(event_uuid, changed(part, comment="newer"))
    if how == "cut":
        kill_at(deliver.sink, "events/publish", stored=False)
        with pytest.raises(ServerError):
            deliver(wanted)
    else:
        misp.server.fail_next(500, path="/events/publish")
        assert deliver(wanted).state is State.WAITING
    deliver.sink = sink_of(misp, keep_published=True)
    assert deliver(wanted).state is State.DELIVERED
    stored = misp.event(event_uuid)
    assert stored is not None
    assert stored["published"] in (True, "1")


def test_events_from_python_are_published_only_when_they_are_complete(misp: Misp) -> None:
    """MISP would publish what is sent as published at once, whatever it drops of it."""
    event_uuid = misp.fresh()
    made = {
        **event(event_uuid, attribute(event_uuid, A), attribute(event_uuid, "no address")),
        "published": True,
    }
    sink = sink_of(misp, only_complete=True)
    (delivery,) = sink.add([made], publish=True)
    stored = misp.event(event_uuid)
    assert stored is not None
    assert (delivery.published, stored["published"] in (True, "1")) == (False, False)
    assert misp.writes("events/add")[0].body["published"] is False


# direct upload


def test_an_upload_that_was_cut_is_ours(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path, mode="upload_stix")
    one = stix.indicator(A)
    double.hang_up_next(path="/events/upload_stix", after_storing=True)
    assert bridge.poll(one, stix.report("wave", [one])).events == {"failed": 1}
    assert actions(bridge.run()) == {"created": 1}
    assert len(double.events) == 1
    assert actions(bridge.run()) == {}
    bridge.close()


def test_an_upload_of_what_somebody_else_has_is_foreign(double: MispDouble, tmp_path: Path) -> None:
    one = stix.indicator(A)
    wave = stix.report("wave", [one])
    event_uuid = stix.uuid_in(wave["id"])
    double.analyst_event(event(event_uuid, attribute(event_uuid, B)))
    bridge = bridge_to(double, tmp_path, mode="upload_stix")
    summary = bridge.poll(one, wave)
    assert "has an event of this UUID" in reasons(summary)["foreign"][0]
    assert double.writes() == []
    bridge.close()


def test_an_upload_of_which_misp_saves_nothing_is_no_success(
    double: MispDouble, tmp_path: Path
) -> None:
    """MISP answers 200 and keeps the file alone where it knows the indicators already."""
    one = stix.indicator(A)
    bridge = bridge_to(double, tmp_path, mode="upload_stix")
    assert actions(bridge.poll(one, stix.report("first", [one]))) == {"created": 1}
    summary = bridge.poll(stix.report("second", [one]))
    assert summary.events == {"refused": 1}
    assert "saved no attribute" in reasons(summary)["refused"][0]
    bridge.close()


# what MISP can't hold


def test_a_title_from_a_template_is_cut_and_said(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path, enrich={"info": "{report.name} " * 100})
    one = stix.indicator(A)
    summary = bridge.poll(one, stix.report("w" * 1_000, [one]))
    assert actions(summary) == {"created": 1}
    assert "cut" in reasons(summary)
    bridge.close()


def test_the_text_of_a_merged_report_fits() -> None:
    def body(text: str, at: int) -> Json:
        told = {"uuid": OWN, "name": "Notes", "content": text * 9_000_000, "distribution": "5"}
        return event(OWN, attribute(OWN, A), EventReport=[told], timestamp=str(at))

    (merged,) = merge([Wanted(body("a", 1)), Wanted(body("b", 2))]).event["EventReport"]
    assert len(merged["content"].encode()) <= 16_000_000


def test_no_reason_is_called_refused_by_mistake(double: MispDouble) -> None:
    """A part that is refused by itself is a drop, and the event arrives."""
    deliver = Delivering(sink_of(double))
    delivery = deliver(event(OWN, attribute(OWN, A), attribute(OWN, "no address")))
    assert delivery.state is State.DELIVERED
    assert {reason for _, reason in noted(delivery)} == {Reason.MISP_DROPPED.value}


EVERYWHERE = "x\N{FIRE}y"


def test_an_emoji_anywhere_is_mended_and_said(misp: Misp) -> None:
    """MISP fails on one as a whole, wherever it is but in a value."""
    event_uuid = misp.fresh()
    one = attribute(
        event_uuid, A, comment=EVERYWHERE, Tag=tags(f'stixbridge-test:label="{EVERYWHERE}"')
    )
    one["Note"] = [
        {
            "uuid": derived(event_uuid, "n"),
            "note": EVERYWHERE,
            "language": "en",
            "distribution": "0",
        }
    ]
    one["Sighting"] = [{**sighting(event_uuid, "s"), "source": EVERYWHERE}]
    two = attribute(event_uuid, EVERYWHERE, "text", category="Other", to_ids=False)
    obj = file_object(event_uuid, comment=EVERYWHERE)
    text = report(event_uuid, EVERYWHERE, EVERYWHERE)
    made = event(event_uuid, one, two, info=EVERYWHERE, Object=[obj], EventReport=[text])
    deliver = Delivering(sink_of(misp))
    delivery = deliver(made)
    assert delivery.state is State.DELIVERED
    assert {reason for _, reason in noted(delivery)} == {"mended"}
    assert len(delivery.notes) == 9
    stored = misp.event(event_uuid)
    assert stored is not None
    mended = r"x\u{1F525}y"
    assert stored["info"] == mended
    assert misp.part(event_uuid, one["uuid"])["comment"] == mended
    assert misp.part(event_uuid, two["uuid"])["value"] == mended
    assert misp.part(event_uuid, text["uuid"])["content"] == mended
    misp.forget()
    assert deliver(made).action == "unchanged"
    assert misp.writes() == []


def test_a_value_that_is_written_otherwise_detects_nothing(misp: Misp) -> None:
    """A rule or a plug-in brought it: the conversion takes `to_ids` off by itself."""
    event_uuid = misp.fresh()
    row = attribute(event_uuid, f"{EVERYWHERE}.exe", "filename", category="Payload delivery")
    deliver = Delivering(sink_of(misp))
    assert deliver(event(event_uuid, row)).state is State.DELIVERED
    stored = misp.part(event_uuid, row["uuid"])
    assert (stored["value"], stored["to_ids"]) == (r"x\u{1F525}y.exe", False)


@pytest.mark.parametrize("text", ["ü" * 128, "ab" + "ü" * 127, "z" * 300])
def test_a_tag_is_cut_at_a_whole_character(misp: Misp, text: str) -> None:
    """MISP cuts at 255 bytes, and fails where that is inside a character."""
    event_uuid = misp.fresh()
    wanted = event(event_uuid, attribute(event_uuid, A, Tag=tags(text)))
    deliver = Delivering(sink_of(misp))
    delivery = deliver(wanted)
    assert [reason for _, reason in noted(delivery)] == ["mended"]
    assert (
        253 <= len(tagged(misp.part(event_uuid, wanted["Attribute"][0]["uuid"]))[0].encode()) <= 255
    )
    misp.forget()
    assert deliver(wanted).action == "unchanged"
    assert misp.writes() == []


def test_a_label_with_an_emoji_arrives(double: MispDouble, tmp_path: Path) -> None:
    sink = {"type": "misp", "url": double.url, "key": double.key}
    bridge = Bridge(tmp_path, {"misp": sink}, labels=["*"])
    one = stix.indicator(A, labels=[EVERYWHERE, "ü" * 300])
    assert actions(bridge.poll(one, stix.report(EVERYWHERE, [one]))) == {"created": 1}
    ((row,),) = [stored["Attribute"] for stored in double.events.values()]
    assert r'acme:label="x\u{1F525}y"' in tagged(row)
    bridge.close()
