"""Deliveries whose right answer depends on what was agreed, lost or refused before: the record says
what is ours.
"""

from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import Bridge, actions
from helpers.delivering import (
    Delivering,
    attribute,
    changed,
    derived,
    event,
    interpose,
    kill_at,
    noted,
    sink_of,
    tagged,
    tags,
)
from helpers.misp import Misp

from stixbridge.errors import ServerError
from stixbridge.sinks.delivery import State

pytestmark = pytest.mark.misp_double(sharing_groups=["A", "B"])


A, B, C, D = (f"198.51.100.{number}" for number in range(1, 5))
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
REFUSAL = '{"saved":false,"name":"Could not edit Event","errors":{"Event":["no lock"]}}'
Json = dict[str, Any]


def marked(event_uuid: str, level: str, distribution: str, *attributes: Json, **more: Any) -> Json:
    return event(
        event_uuid, *attributes, Tag=tags(f"tlp:{level}"), distribution=distribution, **more
    )


def seen(part: Json) -> tuple[str, list[str]]:
    return str(part["distribution"]), tagged(part)


def refuse(misp: MispDouble, sink: Any, number: int) -> None:
    """Let MISP refuse one of the edits of events, counted from 1."""
    met = 0

    def post(real: Any, route: str, body: Any) -> Any:
        nonlocal met
        met += route.startswith("events/edit")
        if route.startswith("events/edit") and met == number:
            misp.fail_next(403, REFUSAL, path="/events/edit")
        return real(route, body)

    interpose(sink, post)


def lose(sink: Any, name: str, number: int) -> None:
    """Let MISP lose a tag in one of the edits that bring it, counted from 1."""
    met = 0

    def post(real: Any, route: str, body: Any) -> Any:
        nonlocal met
        rows = body.get("Event", {}).get("Tag") or []
        if any(tag["name"] == name and not tag.get("deleted") for tag in rows):
            met += 1
            if met == number:
                kept = [tag for tag in rows if tag["name"] != name]
                body = {"Event": {**body["Event"], "Tag": kept}}
        return real(route, body)

    interpose(sink, post)


# what has to win


def test_what_is_withdrawn_wins_though_analyst_and_source_agreed_before(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A, to_ids=False)
    deliver = Delivering(sink_of(misp))
    deliver(marked(event_uuid, "red", "0", part))
    misp.post(f"/events/edit/{event_uuid}", {"Event": {"distribution": "3"}})
    misp.edit(part["uuid"], to_ids=True)
    deliver(marked(event_uuid, "clear", "3", changed(part, to_ids=True)))
    deliver(marked(event_uuid, "red", "0", part))
    stored = misp.event(event_uuid)
    assert stored is not None
    assert (str(stored["distribution"]), misp.part(event_uuid, part["uuid"])["to_ids"]) == (
        "0",
        False,
    )


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_split_event_of_which_one_lost_its_marking_is_narrowed_as_a_whole(
    double: MispDouble, number: int
) -> None:
    parts = [attribute(OWN, value) for value in (A, B, C, D)]
    deliver = Delivering(sink_of(double, split=2))
    deliver(marked(OWN, "clear", "3", *parts))
    lose(deliver.sink, "tlp:green", number)
    for level, distribution in (("green", "3"), ("green", "3"), ("red", "0")):
        deliver(marked(OWN, level, distribution, *parts))
    assert [seen(stored) for stored in double.events.values()] == [("0", ["tlp:red"])] * 2
    assert deliver(marked(OWN, "red", "0", *parts)).action == "unchanged"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_split_event_of_which_one_edit_was_refused_can_be_relaxed(
    double: MispDouble, number: int
) -> None:
    parts = [attribute(OWN, value) for value in (A, B, C, D)]
    deliver = Delivering(sink_of(double, split=2))
    deliver(marked(OWN, "amber", "1", *parts))
    refuse(double, deliver.sink, number)
    for level, distribution in (("red", "0"), ("red", "0"), ("green", "3"), ("green", "3")):
        deliver(marked(OWN, level, distribution, *parts))
    assert [seen(stored) for stored in double.events.values()] == [("3", ["tlp:green"])] * 2


@pytest.mark.parametrize("number", [1, 2])
def test_a_marking_that_was_lost_once_does_not_hold_the_event_for_ever(
    double: MispDouble, number: int
) -> None:
    deliver = Delivering(sink_of(double))
    deliver(marked(OWN, "clear", "3", attribute(OWN, A)))
    lose(deliver.sink, "tlp:red", number)
    for level, distribution in (("red", "0"), ("red", "0"), ("amber", "1"), ("clear", "3")):
        delivery = deliver(marked(OWN, level, distribution, attribute(OWN, A)))
    assert (delivery.state, delivery.notes) == (State.DELIVERED, [])
    assert seen(double.events[OWN]) == ("3", ["tlp:clear"])


# sharing groups


STEPS = {
    "another group": [("4", "A"), ("4", "B"), ("4", "B")],
    "a community and back": [("4", "A"), ("1", None), ("4", "A")],
    "the own organisation and back": [("4", "A"), ("0", None), ("4", "A")],
}


@pytest.mark.parametrize("steps", STEPS)
def test_a_sharing_group_changes(double: MispDouble, steps: str) -> None:
    deliver = Delivering(sink_of(double))
    groups = {"A": "1", "B": "2", None: "0"}
    for distribution, group in STEPS[steps]:
        more = {"sharing_group": group} if group else {}
        delivery = deliver(event(OWN, attribute(OWN, A), distribution=distribution, **more))
        assert (delivery.state, delivery.notes) == (State.DELIVERED, [])
        stored = double.events[OWN]
        assert (stored["distribution"], stored["sharing_group_id"]) == (distribution, groups[group])


# between two requests


def test_what_leaves_in_an_exchange_stays_as_strict_meanwhile(
    double: MispDouble, tmp_path: Path
) -> None:
    sink = {"type": "misp", "url": double.url, "key": double.key}
    bridge = Bridge(tmp_path, {"misp": sink}, enrich={"distribution": 3})
    one, four = (stix.indicator(value, tlp="amber") for value in (A, D))
    two, three = (stix.indicator(value, tlp="clear") for value in (B, C))
    first = stix.report("first", [one, two], tlp="amber")
    bridge.poll(one, two, three, four, first, stix.report("second", [three, four], tlp="amber"))
    event_uuid = stix.uuid_in(first["id"])
    loose: list[Json] = []

    def see() -> None:
        stored = double.events[event_uuid]
        loose.extend(
            dict(row)
            for row in stored["Attribute"]
            if row["value"] == A
            and not row["deleted"]
            and stored["distribution"] == "3"
            and row["distribution"] != "0"
        )

    double.watch(see)
    moved = [
        stix.report("first", [two, three], tlp="clear", modified=stix.LATER),
        stix.report("second", [one, four], tlp="amber", modified=stix.LATER),
    ]
    assert actions(bridge.poll(*moved)) == {"updated": 2}
    assert loose == []
    assert double.events[event_uuid]["distribution"] == "3"
    bridge.close()


@pytest.mark.parametrize("how", ["narrowed", "untagged"])
def test_an_event_that_is_written_in_two_steps_is_published_after_both(
    misp: Misp, how: str
) -> None:
    event_uuid = misp.fresh()
    one, two = attribute(event_uuid, A), attribute(event_uuid, B)
    deliver = Delivering(sink_of(misp))
    deliver(marked(event_uuid, "amber", "1", one), publish=True)
    if how == "narrowed":
        misp.post(f"/events/edit/{event_uuid}", {"Event": {"distribution": "0"}})
    else:
        misp.untag(event_uuid, "tlp:amber")
    delivery = deliver(marked(event_uuid, "green", "2", one, two), publish=True)
    stored = misp.event(event_uuid)
    assert stored is not None
    assert (delivery.published, stored["published"] in (True, "1")) == (True, True)


# published before


@pytest.mark.parametrize("how", ["piece refused", "marking lost", "refused after a cut"])
def test_keep_published_survives_a_setback(double: MispDouble, how: str) -> None:
    parts = [attribute(OWN, f"198.51.100.{number}") for number in range(1, 6)]
    settings = {"keep_published": True, "chunk": 2 if how == "piece refused" else 1_000}
    deliver = Delivering(sink_of(double, **settings))
    deliver(marked(OWN, "amber", "0", parts[0]))
    double.events[OWN]["published"] = True  # an analyst did
    wanted = marked(OWN, "green", "0", *parts)
    if how == "piece refused":
        refuse(double, deliver.sink, 2)
    elif how == "marking lost":
        lose(deliver.sink, "tlp:green", 1)
    else:
        kill_at(deliver.sink, "events/edit")
        with pytest.raises(ServerError):
            deliver(wanted)
        deliver.sink = sink_of(double, **settings)
        refuse(double, deliver.sink, 1)
        wanted = marked(OWN, "green", "0", *parts, attribute(OWN, "198.51.100.77"))
    assert deliver(wanted).state is State.WAITING
    assert deliver(wanted).state is State.DELIVERED
    assert double.events[OWN]["published"] is True


def test_what_is_not_to_be_published_any_more_is_not(double: MispDouble) -> None:
    deliver = Delivering(sink_of(double))
    double.fail_next(500, path="/events/publish")
    assert deliver(event(OWN, attribute(OWN, A)), publish=True).state is State.WAITING
    deliver(event(OWN, attribute(OWN, A, comment="newer")))
    assert double.events[OWN]["published"] is False


# refused, lost, cut


def test_a_part_of_an_extending_event_goes_though_it_was_refused_once(double: MispDouble) -> None:
    double.analyst_event(event(OWN, attribute(OWN, D)))
    one, two = attribute(OWN, A), attribute(OWN, B)
    deliver = Delivering(sink_of(double, foreign="extend"))
    deliver(event(OWN, one, two))
    refuse(double, deliver.sink, 1)
    assert deliver(event(OWN, one)).state is State.WAITING
    assert deliver(event(OWN, one)).state is State.DELIVERED
    (ours,) = [stored for event_uuid, stored in double.events.items() if event_uuid != OWN]
    assert [row["value"] for row in ours["Attribute"] if not row["deleted"]] == [A]


def test_what_an_analyst_deleted_of_an_extending_event_stays_deleted(double: MispDouble) -> None:
    double.analyst_event(event(OWN, attribute(OWN, D)))
    one, two = attribute(OWN, A), attribute(OWN, B)
    deliver = Delivering(sink_of(double, foreign="extend"))
    deliver(event(OWN, one, two))
    (ours,) = [stored for event_uuid, stored in double.events.items() if event_uuid != OWN]
    (gone,) = [row for row in ours["Attribute"] if row["value"] == B]
    double.analyst_delete(gone["uuid"])
    for wanted in (
        event(OWN, one),
        event(OWN, changed(one, comment="newer")),
        event(OWN, one, two),
    ):
        delivery = deliver(wanted)
    assert (two["uuid"] in {uuid for uuid, _ in noted(delivery)}) or delivery.notes
    assert gone["deleted"]


@pytest.mark.parametrize("how", ["cut", "refused"])
def test_a_note_that_we_changed_before_a_setback_is_ours(double: MispDouble, how: str) -> None:
    def wanted(text: str | None, comment: str) -> Json:
        row = attribute(OWN, A, comment=comment)
        note = {"uuid": derived(OWN, "note"), "note": text, "language": "en", "distribution": "0"}
        return event(OWN, {**row, "Note": [note]} if text else row)

    deliver = Delivering(sink_of(double))
    deliver(wanted("first", "a"))
    if how == "cut":
        kill_at(deliver.sink, "events/edit", stored=False)
        with pytest.raises(ServerError):
            deliver(wanted("second", "b"))
        deliver.sink = sink_of(double)
    else:
        double.fail_next(403, REFUSAL, path="/events/edit")
        assert deliver(wanted("second", "b")).state is State.WAITING
    assert deliver(wanted("third", "b")).notes == []
    (row,) = double.events[OWN]["Attribute"]
    assert [one["note"] for one in row["Note"]] == ["third"]
    assert deliver(wanted(None, "b")).notes == []
    assert row["Note"] == []


def test_a_time_is_taken_away(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A, last_seen="2026-01-02T00:00:00.000000+00:00")
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, part))
    assert misp.part(event_uuid, part["uuid"])["last_seen"]
    plain = {key: value for key, value in part.items() if key != "last_seen"}
    assert deliver(event(event_uuid, plain)).notes == []
    assert not misp.part(event_uuid, part["uuid"])["last_seen"]


def test_a_value_that_misp_stores_otherwise_goes_when_the_source_drops_it(misp: Misp) -> None:
    """MISP rewrites times, and Windows paths by a list of its own."""
    event_uuid = misp.fresh()
    rows = [
        attribute(event_uuid, "2026-01-02T00:00:00Z", "datetime", category="Other", to_ids=False),
        attribute(event_uuid, r"C:\Windows\Temp\evil.exe", "filename", category="Payload delivery"),
        attribute(event_uuid, A),
    ]
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, *rows))
    assert deliver(event(event_uuid, rows[-1])).notes == []
    assert all(misp.part(event_uuid, row["uuid"])["deleted"] in (True, "1") for row in rows[:-1])


def test_edits_that_fail_again_and_again_don_t_pile_up(double: MispDouble) -> None:
    deliver = Delivering(sink_of(double))
    deliver(event(OWN, attribute(OWN, A)))
    double.fail_next(500, path="/events/edit", times=5)
    for number in range(5):
        with pytest.raises(ServerError):
            deliver(event(OWN, attribute(OWN, A, comment=f"newer {number}")))
    assert len(deliver.last[OWN].edits) == 1
    assert deliver(event(OWN, attribute(OWN, A, comment="at last"))).notes == []
    assert double.events[OWN]["Attribute"][0]["comment"] == "at last"


@pytest.mark.parametrize("late", ["2147483648", "253402214400"])
def test_a_time_that_misp_can_t_hold_is_mended_and_said(misp: Misp, late: str) -> None:
    event_uuid = misp.fresh()
    made = event(event_uuid, attribute(event_uuid, A, timestamp=late), timestamp=late)
    deliver = Delivering(sink_of(misp))
    delivery = deliver(made)
    assert {reason for _, reason in noted(delivery)} == {"mended"}
    assert deliver(made).action == "unchanged"


def test_a_guard_counts_what_a_feed_would_really_lose(tmp_path: Path) -> None:
    bridge = Bridge(
        tmp_path,
        {"feed": {"type": "feed", "path": str(tmp_path / "feed")}},
        guard={"withdraw": "5"},
    )
    secret = [stix.indicator(f"192.0.2.{number}", tlp="red") for number in range(10)]
    one, two = stix.indicator(A, tlp="clear"), stix.indicator(B, tlp="clear")
    assert bridge.poll(*secret, one, stix.report("wave", [*secret, one], tlp="clear")).errors == []
    wave = stix.report("wave", [*secret, one, two], tlp="clear", modified=stix.LATER)
    assert bridge.poll(two, wave).errors == []
    bridge.close()
