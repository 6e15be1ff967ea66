"""A marking never gets looser: not in an edit, between two requests, after a cut, in a merged or
adopted event.
"""

import uuid
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import Bridge, actions, reasons
from helpers.delivering import (
    SECONDS,
    Delivering,
    attribute,
    changed,
    event,
    interpose,
    kill_at,
    noted,
    report,
    sink_of,
    tagged,
    tags,
)
from helpers.misp import Misp

from stixbridge.envelopes import Wanted
from stixbridge.errors import ServerError
from stixbridge.sinks.delivery import State
from stixbridge.sinks.merge import merge

A, B = "198.51.100.1", "198.51.100.2"
Json = dict[str, Any]
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"


def bridge_to(
    misp: MispDouble, folder: Path, *, enrich: Json | None = None, **settings: Any
) -> Bridge:
    sink = {"type": "misp", "url": misp.url, "key": misp.key, **settings}
    return Bridge(folder, {"misp": sink}, enrich=enrich or {"distribution": 3})


def marked(
    level: str, distribution: str, *attributes: Json, event_uuid: str = OWN, **more: Any
) -> Json:
    return event(
        event_uuid, *attributes, Tag=tags(f"tlp:{level}"), distribution=distribution, **more
    )


def shown_to(part: Json) -> tuple[str, list[str]]:
    """The distribution of a part, and its TLP tags."""
    return str(part["distribution"]), [
        name for name in tagged(part) if name.lower().startswith("tlp:")
    ]


def held(misp: Misp, event_uuid: str) -> Json:
    found = misp.event(event_uuid)
    assert found is not None
    return found


# in an edit


def test_an_event_report_keeps_its_distribution_and_an_analysts_name(misp: Misp) -> None:
    """MISP sets what an edit of a report leaves out to a default: to inherit."""
    event_uuid = misp.fresh()
    text = report(event_uuid, "Descriptions (restricted)", "first")
    deliver = Delivering(sink_of(misp))
    deliver(
        marked(
            "green",
            "1",
            attribute(event_uuid, A),
            event_uuid=event_uuid,
            EventReport=[changed(text, distribution="0")],
        )
    )
    theirs = {"uuid": text["uuid"], "name": "Ours", "content": "first", "distribution": "0"}
    misp.post(f"/events/edit/{event_uuid}", {"Event": {"EventReport": [theirs]}})
    wanted = marked(
        "green",
        "1",
        attribute(event_uuid, A),
        event_uuid=event_uuid,
        EventReport=[changed(text, distribution="0", content="second")],
    )
    assert deliver(wanted).notes == []
    (stored,) = held(misp, event_uuid)["EventReport"]
    assert (stored["content"], stored["name"], str(stored["distribution"])) == (
        "second",
        "Ours",
        "0",
    )


def test_nothing_gets_wider_before_what_restricts_it_is_stored(
    double: MispDouble, tmp_path: Path
) -> None:
    """A report goes from RED to GREEN, its indicators stay RED: they are narrowed first, whatever
    is cut.
    """
    members = [stix.indicator(f"198.51.100.{number}", tlp="red") for number in range(1, 7)]
    wave = stix.report("wave", members, tlp="red")
    event_uuid = stix.uuid_in(wave["id"])
    bridge = bridge_to(double, tmp_path, chunk=2)
    assert actions(bridge.poll(*members, wave)) == {"created": 1}
    seen: list[tuple[str, list[str]]] = []

    def see() -> None:
        stored = double.events[event_uuid]
        loose = [row["value"] for row in stored["Attribute"] if row["distribution"] != "0"]
        seen.append((stored["distribution"], loose))

    double.watch(see)
    assert actions(bridge.poll(stix.report("wave", members, tlp="green", modified=stix.LATER))) == {
        "updated": 1
    }
    assert len([request for request in double.writes() if "/events/edit" in request.path]) >= 4
    assert [loose for distribution, loose in seen if distribution != "0" and loose] == []
    assert shown_to(double.events[event_uuid]) == ("3", ["tlp:green"])
    bridge.close()


def test_a_marking_that_is_lost_stops_the_widening(double: MispDouble) -> None:
    deliver = Delivering(sink_of(double))
    deliver(marked("red", "0", attribute(OWN, A)))
    double.lose_tag("tlp:green")
    delivery = deliver(marked("green", "3", attribute(OWN, A)))
    assert (delivery.state, (OWN, "held:marking")[1] in [why for _, why in noted(delivery)]) == (
        State.WAITING,
        True,
    )
    assert shown_to(double.events[OWN]) == ("0", ["tlp:red"])
    double.lose_tag("tlp:green", lost=False)
    assert deliver(marked("green", "3", attribute(OWN, A))).state is State.DELIVERED
    assert shown_to(double.events[OWN]) == ("3", ["tlp:green"])


def test_a_tag_that_misp_writes_otherwise_is_ours_all_the_same() -> None:
    with MispDouble(known_tags=["TLP:RED"]) as misp:
        deliver = Delivering(sink_of(misp))
        part = attribute(OWN, A, Tag=tags("tlp:red"))
        deliver(marked("red", "0", part))
        assert shown_to(misp.events[OWN]) == ("0", ["TLP:RED"])
        wanted = marked("green", "1", changed(part, Tag=tags("tlp:green")))
        assert deliver(wanted).notes == []
        assert shown_to(misp.events[OWN]) == ("1", ["tlp:green"])
        assert shown_to(misp.events[OWN]["Attribute"][0]) == ("5", ["tlp:green"])
        assert deliver(wanted).action == "unchanged"


@pytest.mark.parametrize(
    ("analyst", "wanted", "stands"), [("2", "1", "1"), ("0", "1", "0"), ("1", "2", "1")]
)
def test_the_narrower_distribution_stands(
    misp: Misp, analyst: str, wanted: str, stands: str
) -> None:
    event_uuid = misp.fresh()
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, attribute(event_uuid, A), distribution="3"))
    misp.post(f"/events/edit/{event_uuid}", {"Event": {"distribution": analyst}})
    deliver(event(event_uuid, attribute(event_uuid, A), distribution=wanted))
    assert str(held(misp, event_uuid)["distribution"]) == stands


def test_an_analysts_stricter_tag_keeps_an_event_from_getting_wider(misp: Misp) -> None:
    event_uuid = misp.fresh()
    deliver = Delivering(sink_of(misp))
    deliver(marked("amber", "0", attribute(event_uuid, A), event_uuid=event_uuid))
    misp.tag(event_uuid, "tlp:red")
    delivery = deliver(marked("clear", "3", attribute(event_uuid, A), event_uuid=event_uuid))
    assert (event_uuid, "conflict") in noted(delivery)
    assert shown_to(held(misp, event_uuid)) == ("0", ["tlp:red"])


def test_an_event_that_an_analyst_narrowed_stays_narrow_when_a_lost_marking_is_stored(
    double: MispDouble,
) -> None:
    deliver = Delivering(sink_of(double))
    deliver(marked("green", "1", attribute(OWN, A)))
    double.events[OWN]["distribution"] = "0"  # an analyst's
    double.lose_tag("tlp:amber")
    assert deliver(marked("amber", "1", attribute(OWN, A))).state is State.WAITING
    double.lose_tag("tlp:amber", lost=False)
    assert deliver(marked("amber", "1", attribute(OWN, A))).state is State.DELIVERED
    assert shown_to(double.events[OWN]) == ("0", ["tlp:amber"])


def test_that_an_event_could_not_be_narrowed_is_an_error_and_done_next(double: MispDouble) -> None:
    deliver = Delivering(sink_of(double))
    double.lose_tag("tlp:amber")
    double.fail_next(500, path=f"/events/edit/{OWN}")
    with pytest.raises(ServerError):
        deliver(marked("amber", "1", attribute(OWN, A)))
    deliver(marked("amber", "1", attribute(OWN, A)))
    assert shown_to(double.events[OWN]) == ("0", [])


# after a cut


CUTS: dict[str, tuple[Json, Json]] = {
    "RED, GREEN, RED": (
        marked("red", "0", attribute(OWN, A)),
        marked("green", "1", attribute(OWN, A)),
    ),
    "a part RED, inheriting, RED": (
        marked(
            "green",
            "1",
            attribute(OWN, A, distribution="0", Tag=tags("tlp:red")),
            attribute(OWN, B),
        ),
        marked("green", "1", attribute(OWN, A), attribute(OWN, B)),
    ),
    "a value goes and comes back": (
        event(OWN, attribute(OWN, A), attribute(OWN, B)),
        event(OWN, attribute(OWN, A)),
    ),
    "a comment": (
        event(OWN, attribute(OWN, A, comment="first")),
        event(OWN, attribute(OWN, A, comment="second")),
    ),
}


@pytest.mark.parametrize("case", CUTS)
@pytest.mark.parametrize("stored", [True, False])
def test_the_source_going_back_after_a_cut_is_no_analysts_work(
    case: str, stored: bool, double: MispDouble
) -> None:
    first, second = CUTS[case]
    deliver = Delivering(sink_of(double))
    deliver(first)
    deliver.sink = sink_of(double)
    kill_at(deliver.sink, "events/edit", stored=stored)
    with pytest.raises(ServerError):
        deliver(second)
    deliver.sink = sink_of(double)
    assert deliver(first).notes == []
    stored_event = double.events[OWN]
    assert shown_to(stored_event) == shown_to(first)
    live = [row for row in stored_event["Attribute"] if not row["deleted"]]
    assert [(row["value"], row["comment"], shown_to(row)) for row in live] == [
        (row["value"], row["comment"], shown_to(row)) for row in first["Attribute"]
    ]
    double.requests.clear()
    assert deliver(first).action == "unchanged"
    assert double.writes() == []


# where its new event can't be


@pytest.mark.parametrize("why", ["no tag", "deleted by an analyst"])
def test_what_has_to_stay_where_it_was_is_as_strict_as_where_it_should_be(
    tmp_path: Path, why: str
) -> None:
    role = "user" if why == "no tag" else "admin"
    with MispDouble(role=role, known_tags=["tlp:green"]) as misp:
        bridge = bridge_to(misp, tmp_path)
        there = [stix.indicator(A, tlp="green"), stix.indicator(B, tlp="green")]
        if why != "no tag":
            there.append(stix.indicator("198.51.100.9", tlp="red"))
        bridge.poll(*there)
        green = next(uuid_ for uuid_, one in misp.events.items() if "GREEN" in one["info"])
        for event_uuid in [event_uuid for event_uuid in misp.events if event_uuid != green]:
            misp.store.forget_event(misp.events[event_uuid])
        summary = bridge.poll(stix.indicator(A, tlp="red", modified=stix.LATER))
        assert summary.status == 1
        (moved,) = [row for row in misp.events[green]["Attribute"] if row["value"] == A]
        assert moved["distribution"] == "0"
        assert ("tlp:red" in tagged(moved)) is (why != "no tag")
        (stayed,) = [row for row in misp.events[green]["Attribute"] if row["value"] == B]
        assert stayed["distribution"] == "5"
        bridge.close()


def test_an_event_that_shall_be_stricter_and_can_t_be_is_seen_by_nobody_else(
    tmp_path: Path,
) -> None:
    with MispDouble(role="user", known_tags=["tlp:green"]) as misp:
        bridge = bridge_to(misp, tmp_path)
        one = stix.indicator(A)
        bridge.poll(one, stix.report("wave", [one], tlp="green"))
        (event_uuid,) = misp.events
        assert shown_to(misp.events[event_uuid]) == ("3", ["tlp:green"])
        summary = bridge.poll(stix.report("wave", [one], tlp="red", modified=stix.LATER))
        assert summary.events == {"held": 1}
        assert misp.events[event_uuid]["distribution"] == "0"
        misp.store._new_tag({"name": "tlp:red"})
        assert actions(bridge.run()) == {"updated": 1}
        assert shown_to(misp.events[event_uuid]) == ("0", ["tlp:red"])
        bridge.close()


# of several sources


def test_two_sharing_groups_have_no_reader_in_common() -> None:
    later = str(SECONDS + 1)
    first = Wanted(event(OWN, attribute(OWN, A), distribution="4"), sharing_group="A")
    second = Wanted(
        event(OWN, attribute(OWN, A), distribution="4", timestamp=later), sharing_group="B"
    )
    wide = Wanted(event(OWN, attribute(OWN, A), distribution="3", timestamp=later))
    merged = merge([first, second])
    assert (merged.event["distribution"], merged.sharing_group) == ("0", None)
    for offers in ([first, wide], [wide, first]):
        merged = merge(offers)
        assert (merged.event["distribution"], merged.sharing_group) == ("4", "A")


def test_a_note_of_two_sources_is_for_the_fewer() -> None:
    note = {"uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, "note")), "note": "x", "distribution": "0"}
    wide = {**note, "distribution": "5"}
    first = Wanted(event(OWN, {**attribute(OWN, A), "Note": [note]}))
    second = Wanted(event(OWN, {**attribute(OWN, A), "Note": [wide]}, timestamp=str(SECONDS + 1)))
    assert merge([first, second]).event["Attribute"][0]["Note"][0]["distribution"] == "0"


# taken over


def test_an_event_that_is_taken_over_is_seen_by_no_more_than_its_marking_allows(misp: Misp) -> None:
    event_uuid = misp.fresh()
    theirs = attribute(event_uuid, A, uuid=str(uuid.uuid4()))
    misp.add_event(marked("green", "3", theirs, event_uuid=event_uuid))
    misp.post(f"/events/publish/{held(misp, event_uuid)['id']}")
    deliver = Delivering(sink_of(misp, foreign="adopt", keep_published=True))
    delivery = deliver(
        marked(
            "red", "0", attribute(event_uuid, A), attribute(event_uuid, B), event_uuid=event_uuid
        ),
        publish=True,
    )
    assert delivery.state is State.DELIVERED
    stored = held(misp, event_uuid)
    assert shown_to(stored) == ("0", ["tlp:green", "tlp:red"])
    assert stored["published"] in (False, "0")


def test_a_part_that_is_taken_over_is_narrowed_and_the_event_stays_as_it_was(misp: Misp) -> None:
    event_uuid = misp.fresh()
    theirs = attribute(event_uuid, A, uuid=str(uuid.uuid4()))
    misp.add_event(marked("green", "3", theirs, event_uuid=event_uuid))
    ours = attribute(event_uuid, A, distribution="0", Tag=tags("tlp:red"))
    deliver = Delivering(sink_of(misp, foreign="adopt"))
    for comment in ("", "newer"):
        deliver(marked("green", "1", changed(ours, comment=comment), event_uuid=event_uuid))
        stored = held(misp, event_uuid)
        assert str(stored["distribution"]) == "3"
        (row,) = stored["Attribute"]
        assert shown_to(row) == ("0", ["tlp:red"])


def test_a_report_that_turned_red_while_the_store_was_lost(
    double: MispDouble, tmp_path: Path
) -> None:
    one = stix.indicator(A)
    for number, level in enumerate(("green", "red")):
        folder = tmp_path / str(number)
        folder.mkdir()
        bridge = bridge_to(double, folder, foreign="adopt")
        when = stix.LATER if number else stix.EARLY
        bridge.poll(one, stix.report("wave", [one], tlp=level, modified=when))
        (stored,) = double.events.values()
        assert stored["distribution"] == ("0" if number else "3")
        bridge.close()


def test_a_draft_that_was_taken_over_is_not_published_by_us(misp: Misp) -> None:
    event_uuid = misp.fresh()
    misp.add_event(
        event(
            event_uuid,
            attribute(event_uuid, A),
            attribute(event_uuid, B, comment="our own victim"),
            distribution="3",
        )
    )
    deliver = Delivering(sink_of(misp, foreign="adopt"))
    for comment in ("", "newer"):
        deliver(event(event_uuid, attribute(event_uuid, A, comment=comment)), publish=True)
        assert held(misp, event_uuid)["published"] in (False, "0")


# published


def test_a_rule_against_publishing_holds_for_what_is_taken_up_later(tmp_path: Path) -> None:
    rule = {"name": "not this", "when": 'event.info == "secret"', "then": [{"publish": False}]}
    with MispDouble(role="publisher") as misp:
        bridge = bridge_to(misp, tmp_path, enrich={"publish": True, "rules": [rule]})
        one = stix.indicator(A)
        assert bridge.poll(one, stix.report("secret", [one], tlp="green")).events == {"held": 1}
        misp.store._new_tag({"name": "tlp:green"})
        assert actions(bridge.run()) == {"created": 1}
        (stored,) = misp.events.values()
        assert stored["published"] is False
        bridge.close()


def test_a_refused_piece_is_tried_again(double: MispDouble) -> None:
    """What a piece takes off `to_ids` does not count as done where MISP refused the piece."""
    parts = [attribute(OWN, f"198.51.100.{number}") for number in range(1, 6)]
    deliver = Delivering(sink_of(double, chunk=2))
    deliver(event(OWN, *parts))
    refusal = (
        '{"saved":false,"name":"Could not edit Event","errors":{"Event":["could not acquire '
        'lock"]}}'
    )
    edits = 0

    def post(real: Any, route: str, body: Any) -> Any:
        nonlocal edits
        edits += route.startswith("events/edit")
        if route.startswith("events/edit") and edits == 2:
            double.fail_next(403, refusal, path="/events/edit")
        return real(route, body)

    interpose(deliver.sink, post)
    wanted = event(OWN, *[changed(part, to_ids=False) for part in parts])
    assert deliver(wanted).state is State.WAITING
    assert deliver(wanted).state is State.DELIVERED
    assert {row["to_ids"] for row in double.events[OWN]["Attribute"]} == {False}


def test_reasons_are_told_once_for_a_held_event(tmp_path: Path) -> None:
    with MispDouble(role="user", known_tags=["tlp:green"]) as misp:
        bridge = bridge_to(misp, tmp_path)
        summary = bridge.poll(stix.indicator(A, tlp="red"))
        assert len(reasons(summary)["held:marking"]) == 1
        bridge.close()
