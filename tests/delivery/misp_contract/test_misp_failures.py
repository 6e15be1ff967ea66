"""What the MISP sink promises when things go wrong, on the double and, where MISP_URL and MISP_KEY
are set, a real one.

Foreign and deleted events, parts MISP drops, markings it can't store, answers that don't come.
"""

import uuid
from pathlib import Path

import pytest
from doubles.misp import MispDouble
from helpers.bridge import Bridge, actions, reasons
from helpers.delivering import (
    Delivering,
    attribute,
    changed,
    event,
    file_object,
    noted,
    sighting,
    sink_of,
    tagged,
    tags,
)
from helpers.misp import SHARING_GROUP, Misp
from helpers.stix import indicator, report

from stixbridge.envelopes import Delivered
from stixbridge.errors import ServerError
from stixbridge.sinks.delivery import LastDelivery, State
from stixbridge.sinks.misp.sink import MispSink

pytestmark = pytest.mark.usefixtures("no_waiting")


# events that are not ours, or not wanted


def test_an_event_that_we_did_not_create_is_left_alone(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    misp.add_event(
        event(event_uuid, attribute(event_uuid, "203.0.113.9", comment="by hand"), info="by hand")
    )
    before = misp.event(event_uuid)
    delivery = deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7")))
    assert (delivery.state, noted(delivery)) == (State.FOREIGN, [(None, "foreign")])
    assert misp.event(event_uuid) == before


def test_an_interrupted_add_does_not_take_over_a_foreign_event(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    wanted = event(event_uuid, attribute(event_uuid, "198.51.100.7"))
    misp.add_event(event(event_uuid, attribute(event_uuid, "203.0.113.9"), info="by hand"))
    before = misp.event(event_uuid)
    deliver.last[event_uuid] = LastDelivery(State.ADDING, Delivered(wanted))
    delivery = deliver(wanted)
    assert (delivery.state, noted(delivery)) == (State.FOREIGN, [(None, "foreign")])
    assert misp.event(event_uuid) == before


def test_an_event_on_the_blocklist_is_not_created(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    misp.add_event(event(event_uuid, attribute(event_uuid, "203.0.113.9")))
    misp.delete_event(event_uuid)
    delivery = deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7")))
    assert (delivery.state, noted(delivery)) == (State.BLOCKED, [(None, "blocked")])
    assert misp.event(event_uuid) is None


def test_an_event_deleted_in_misp_is_not_created_again(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7")
    deliver(event(event_uuid, ip))
    misp.delete_event(event_uuid)
    misp.forget()
    delivery = deliver(event(event_uuid, changed(ip, comment="newer")))
    assert (delivery.state, noted(delivery)) == (State.BLOCKED, [(None, "blocked")])
    assert misp.writes() == []
    deliver(event(event_uuid, changed(ip, comment="newest")))
    assert misp.event(event_uuid) is None


# what MISP drops


def test_an_invalid_part_is_named_with_the_reason(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    good, bad = attribute(event_uuid, "198.51.100.7"), attribute(event_uuid, "no address")
    delivery = deliver(event(event_uuid, good, bad))
    assert delivery.state is State.DELIVERED
    (note,) = delivery.notes
    assert (note[0], note[2].value) == (bad["uuid"], "misp-dropped")
    assert "no address" in str(note[3]) and "IP address has an invalid format" in str(note[3])
    assert [row["uuid"] for row in delivery.body["Attribute"]] == [good["uuid"]]
    assert misp.part(event_uuid, good["uuid"])["value"] == "198.51.100.7"


def test_an_invalid_object_is_named_with_the_reason(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    bad = file_object(event_uuid, md5="xyz")
    bad["Attribute"] = bad["Attribute"][1:]
    delivery = deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7"), Object=[bad]))
    (note,) = delivery.notes
    assert (note[0], note[2].value) == (bad["uuid"], "misp-dropped")
    assert "md5" in str(note[3]).lower() or "checksum" in str(note[3]).lower()
    assert delivery.body["Object"] == []


def test_an_invalid_attribute_of_an_object_is_named_and_the_rest_stays(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    file = file_object(event_uuid, md5="xyz")
    delivery = deliver(event(event_uuid, Object=[file]))
    assert noted(delivery) == [(file["Attribute"][1]["uuid"], "misp-dropped")]
    assert misp.part(event_uuid, file["Attribute"][0]["uuid"])["deleted"] is False


def test_an_invalid_part_of_an_edit_is_named_too(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    good, bad = attribute(event_uuid, "198.51.100.7"), attribute(event_uuid, "no address")
    deliver(event(event_uuid, good))
    delivery = deliver(event(event_uuid, good, bad))
    assert noted(delivery) == [(bad["uuid"], "misp-dropped")]
    assert "IP address has an invalid format" in str(delivery.notes[0][3])


def test_the_same_value_under_another_uuid_is_told(misp: Misp, deliver: Delivering) -> None:
    """An analyst entered it first: the first stays, and its tags with it."""
    event_uuid = misp.fresh()
    deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7")))
    stored = misp.event(event_uuid)
    assert stored is not None
    row = {"type": "domain", "category": "Network activity", "value": "evil.example"}
    misp.post(f"/attributes/add/{stored['id']}", row)
    ours = attribute(event_uuid, "evil.example", "domain", Tag=tags("tlp:red"))
    delivery = deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7"), ours))
    assert (ours["uuid"], "misp-dropped") in noted(delivery)
    assert "similar attribute already exists" in " ".join(str(note[3]) for note in delivery.notes)
    assert [row["value"] for row in delivery.body["Attribute"]] == ["198.51.100.7"]


def test_a_uuid_that_is_taken_elsewhere_is_told(misp: Misp, deliver: Delivering) -> None:
    other, event_uuid = misp.fresh(), misp.fresh()
    taken = attribute(other, "198.51.100.7")
    deliver(event(other, taken))
    delivery = deliver(
        event(
            event_uuid, attribute(event_uuid, "198.51.100.8"), changed(taken, value="198.51.100.9")
        )
    )
    assert noted(delivery) == [(taken["uuid"], "misp-dropped")]
    assert "UUID" in str(delivery.notes[0][3])


def test_a_reference_to_what_is_not_there_is_told(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    file = file_object(event_uuid)
    row = {"uuid": misp.fresh(), "object_uuid": file["uuid"], "referenced_uuid": misp.fresh(),
           "relationship_type": "drops", "comment": ""}  # fmt: skip
    delivery = deliver(event(event_uuid, Object=[{**file, "ObjectReference": [row]}]))
    assert noted(delivery) == [(row["uuid"], "misp-dropped")]
    assert delivery.body["Object"][0]["ObjectReference"] == []


def test_a_value_that_no_column_holds_is_told(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    long = attribute(event_uuid, "x" * 70_000, "text", category="Other", to_ids=False)
    delivery = deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7"), long))
    assert noted(delivery) == [(long["uuid"], "misp-dropped")]


def test_a_bad_field_of_the_event_refuses_it(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    delivery = deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7"), info=""))
    assert (delivery.state, noted(delivery)) == (State.REFUSED, [(None, "refused")])
    assert "Info cannot be empty" in str(delivery.notes[0][3])
    assert misp.event(event_uuid) is None


def test_values_and_clusters_come_back_as_misp_writes_them_and_nothing_is_sent_again(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    rows = [
        attribute(event_uuid, "HXXP://EVIL[.]example/a", "url"),
        attribute(event_uuid, "EVIL.example", "domain"),
        attribute(event_uuid, "198.51.100.7|443", "ip-dst|port"),
        attribute(
            event_uuid,
            "2001:0DB8:0000:0000:0000:0000:0000:0001",
            first_seen="2026-01-01T00:00:00.123456789Z",
        ),
    ]
    wanted = event(event_uuid, *rows, Tag=tags('misp-galaxy:threat-actor="Nobody Has This"'))
    assert deliver(wanted).notes == []
    misp.forget()
    delivery = deliver(wanted)
    assert (delivery.action, delivery.notes, misp.writes()) == ("unchanged", [], [])


def test_a_key_that_may_not_write_is_an_error_that_says_so() -> None:
    with MispDouble(role="readonly") as double:
        sink = sink_of(double)
        with pytest.raises(ServerError, match="may not add events"):
            Delivering(sink)(event("5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"))
        assert double.events == {}


def test_emoji_in_a_title_do_not_stop_delivery(misp: Misp, tmp_path: Path) -> None:
    event_uuid = misp.fresh()
    bridge = Bridge(tmp_path, {"misp": {"type": "misp", "url": misp.url, "key": misp.key}})
    title = {
        **report("Phishing \U0001f41f wave", [indicator("198.51.100.7")]),
        "id": f"report--{event_uuid}",
    }
    summary = bridge.poll(title, indicator("198.51.100.7", description="sent with \U0001f600"))
    bridge.close()
    assert actions(summary) == {"created": 1}
    stored = misp.event(event_uuid)
    assert stored is not None
    assert (
        stored["info"].startswith("Phishing")
        and stored["info"].endswith("wave")
        and "\U0001f41f" not in stored["info"]
    )
    assert [row["value"] for row in stored["Attribute"]] == ["198.51.100.7"]


# markings


def test_an_event_whose_marking_can_not_be_stored_is_held_until_the_tag_exists(
    plain_misp: Misp,
) -> None:
    event_uuid = plain_misp.fresh()
    marking = f"tlp:test-{uuid.uuid4()}"
    wanted = event(event_uuid, attribute(event_uuid, "198.51.100.7", Tag=tags(marking)))
    sink = sink_of(plain_misp)
    deliver = Delivering(sink)
    delivery = deliver(wanted)
    assert (delivery.state, noted(delivery)) == (State.HELD, [(None, "held:marking")])
    assert marking in str(delivery.notes[0][3])
    assert plain_misp.writes() == []
    plain_misp.make_tag(marking)
    later = deliver(wanted)
    sink.close()
    assert (later.state, later.action, later.notes) == (State.DELIVERED, "created", [])
    assert tagged(plain_misp.part(event_uuid, wanted["Attribute"][0]["uuid"])) == [marking]


def test_an_update_that_is_held_is_an_update_once_the_tag_exists(plain_misp: Misp) -> None:
    event_uuid = plain_misp.fresh()
    marking = f"tlp:test-{uuid.uuid4()}"
    ip = attribute(event_uuid, "198.51.100.7")
    first = sink_of(plain_misp)
    deliver = Delivering(first)
    deliver(event(event_uuid, ip))
    newer = event(event_uuid, changed(ip, Tag=tags(marking), comment="stricter"))
    assert deliver(newer).state is State.WAITING
    first.close()
    plain_misp.make_tag(marking)
    deliver.sink = sink_of(plain_misp)
    later = deliver(newer)
    deliver.sink.close()
    assert (later.state, later.action, later.notes) == (State.DELIVERED, "updated", [])
    stored = plain_misp.part(event_uuid, ip["uuid"])
    assert (tagged(stored), stored["comment"]) == ([marking], "stricter")


def test_other_unknown_tags_are_told_and_do_not_hold(plain_misp: Misp) -> None:
    event_uuid = plain_misp.fresh()
    tag = f'acme:label="{uuid.uuid4()}"'
    sink = sink_of(plain_misp)
    delivery = Delivering(sink)(
        event(event_uuid, attribute(event_uuid, "198.51.100.7", Tag=tags(tag)))
    )
    sink.close()
    assert (delivery.state, noted(delivery)) == (State.DELIVERED, [(None, "misp-dropped")])
    assert tag in str(delivery.notes[0][3])


def test_a_marking_that_was_lost_all_the_same_keeps_the_event_in_and_unpublished(
    misp: Misp, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_uuid = misp.fresh()
    sink = sink_of(misp)
    deliver = Delivering(sink)
    real_post = sink._http.post

    def without_marking(url: str, body: bytes, *, idempotent: bool = False):  # type: ignore[no-untyped-def]
        # a tag that MISP keeps for another organisation is dropped without a word
        return real_post(url, body.replace(b'"Tag":[{"name":"tlp:red"}],', b"").replace(
            b',"Tag":[{"name":"tlp:red"}]', b""), idempotent=idempotent)  # fmt: skip

    monkeypatch.setattr(sink._http, "post", without_marking)
    wanted = event(
        event_uuid, attribute(event_uuid, "198.51.100.7", Tag=tags("tlp:red")), distribution="1"
    )
    for again in (wanted, wanted, changed(wanted, info="renamed")):
        delivery = deliver(again, publish=True)
        stored = misp.event(event_uuid)
        assert stored is not None
        assert (stored["distribution"], stored["published"], delivery.published) == (
            "0",
            False,
            False,
        )
    sink.close()


# answers that don't come


def test_a_hang_up_after_storing_makes_no_second_copy(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip, file = (
        attribute(
            event_uuid, "198.51.100.7", Tag=tags("tlp:red"), Sighting=[sighting(event_uuid, "seen")]
        ),
        file_object(event_uuid),
    )
    misp.server.hang_up_next(path="/events/add")
    delivery = deliver(event(event_uuid, ip, Object=[file]))
    assert (delivery.state, delivery.action, delivery.notes) == (State.DELIVERED, "created", [])
    assert len(misp.writes("events/add")) == 1
    stored = misp.event(event_uuid)
    assert stored is not None
    assert (
        len(stored["Attribute"]),
        len(stored["Object"]),
        len(stored["Attribute"][0]["Sighting"]),
    ) == (
        1,
        1,
        1,
    )
    misp.forget()
    assert (deliver(event(event_uuid, ip, Object=[file])).action, misp.writes()) == (
        "unchanged",
        [],
    )


def test_an_add_that_was_cut_before_we_looked_goes_on_in_the_next_run(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    old, kept = attribute(event_uuid, "198.51.100.7"), attribute(event_uuid, "198.51.100.8")
    misp.add_event(event(event_uuid, old, kept))  # ours, as far as it got before we were killed
    deliver.last[event_uuid] = LastDelivery(State.ADDING, Delivered(event(event_uuid, old, kept)))
    new = attribute(event_uuid, "198.51.100.9")
    delivery = deliver(event(event_uuid, kept, new))
    assert (delivery.state, delivery.notes) == (State.DELIVERED, [])
    assert misp.part(event_uuid, kept["uuid"])["deleted"] is False
    assert misp.part(event_uuid, new["uuid"])["deleted"] is False
    assert (
        misp.part(event_uuid, old["uuid"])["deleted"] is True
    )  # the source changed its mind meanwhile


def test_a_hang_up_before_storing_is_tried_again_in_the_next_run(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    wanted = event(event_uuid, attribute(event_uuid, "198.51.100.7"))
    misp.server.hang_up_next(path="/events/add", after_storing=False)
    with pytest.raises(ServerError):
        deliver(wanted)
    assert deliver.last[event_uuid].state is State.ADDING
    assert deliver(wanted).action == "created"
    assert len(misp.part(event_uuid, wanted["Attribute"][0]["uuid"])) > 0


def test_a_partial_event_after_a_500_is_completed(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip, domain = (
        attribute(event_uuid, "198.51.100.7"),
        attribute(event_uuid, "evil.example", "domain", Tag=tags("tlp:red")),
    )
    misp.add_event(event(event_uuid, ip))
    deliver.last[event_uuid] = LastDelivery(State.ADDING, Delivered(event(event_uuid, ip, domain)))
    delivery = deliver(event(event_uuid, ip, domain))
    assert (delivery.state, delivery.notes) == (State.DELIVERED, [])
    assert tagged(misp.part(event_uuid, domain["uuid"])) == ["tlp:red"]
    assert len(misp.writes("events/add")) == 0


@pytest.mark.parametrize("path", ["/events/add", "/events/edit"])
def test_a_500_is_an_error_and_done_again_in_the_next_run(
    misp: Misp, deliver: Delivering, path: str
) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7")
    if path == "/events/edit":
        deliver(event(event_uuid, ip))
    newer = event(event_uuid, changed(ip, comment="newer"))
    misp.server.fail_next(500, '{"name":"An Internal Error Has Occurred."}', path=path)
    with pytest.raises(ServerError, match=r"500.*Internal Error"):
        deliver(newer)
    assert deliver(newer).state is State.DELIVERED
    assert misp.part(event_uuid, ip["uuid"])["comment"] == "newer"


@pytest.mark.parametrize(
    "path", ["/users/view/me", "/events/add", "/events/edit", "/events/restSearch"]
)
def test_a_web_page_in_place_of_an_answer_is_an_error(
    misp: Misp, deliver: Delivering, path: str
) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7")
    if path not in ("/users/view/me", "/events/add"):
        deliver(event(event_uuid, ip))
    newer = event(event_uuid, changed(ip, comment="newer"))
    misp.server.html_next(path=path)
    with pytest.raises(ServerError, match="MISP"):
        deliver(newer)
    assert deliver(newer).state is State.DELIVERED
    assert misp.part(event_uuid, ip["uuid"])["comment"] == "newer"


def test_a_wrong_key_is_an_error_that_says_so(misp: Misp) -> None:
    event_uuid = misp.fresh()
    sink = MispSink(misp.url, "x" * 40)
    with pytest.raises(ServerError, match=r"(?i)key") as caught:
        Delivering(sink)(event(event_uuid, attribute(event_uuid, "198.51.100.7")))
    sink.close()
    assert caught.value.status in (401, 403)
    assert "x" * 40 not in str(caught.value)
    assert misp.writes() == []


def test_a_web_page_in_place_of_publishing_is_not_taken_for_published(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    wanted = event(event_uuid, attribute(event_uuid, "198.51.100.7"))
    misp.server.html_next(path="/events/publish")
    try:
        delivery = deliver(wanted, publish=True)
    except ServerError:
        pass
    else:
        assert not delivery.published and noted(delivery) == [(None, "refused")]
    deliver(wanted, publish=True)
    stored = misp.event(event_uuid)
    assert stored is not None and stored["published"] is True


# other ways in


def test_a_pymisp_object_is_a_sink(misp: Misp) -> None:
    from pymisp import PyMISP

    event_uuid = misp.fresh()
    sink = MispSink(PyMISP(misp.url, misp.key))
    (delivery,) = sink.add([event(event_uuid, attribute(event_uuid, "198.51.100.7"))])
    sink.close()
    assert (delivery.state, delivery.action) == (State.DELIVERED, "created")
    assert misp.event(event_uuid) is not None


def test_raw_stix_is_handed_over_once(misp: Misp) -> None:
    event_uuid = misp.fresh()
    content = indicator("198.51.100.7")
    content["id"] = f"indicator--{uuid.uuid4()}"
    content["indicator_types"] = ["malicious-activity"]
    container = {**report("uploaded", [content]), "id": f"report--{event_uuid}"}
    wanted = event(event_uuid, attribute(event_uuid, "198.51.100.7"))
    sink = sink_of(misp, mode="upload_stix")
    deliver = Delivering(sink)
    delivery = deliver(wanted, stix=lambda: [container, content])
    assert (delivery.state, delivery.action, delivery.notes) == (State.DELIVERED, "created", [])
    stored = misp.event(event_uuid)
    assert stored is not None
    assert [row["value"] for row in stored["Attribute"]] == ["198.51.100.7"]
    misp.forget()
    again = deliver(changed(wanted, info="renamed"), stix=lambda: [container, content])
    sink.close()
    assert (again.state, again.action, noted(again)) == (
        State.DELIVERED,
        "refused",
        [(None, "refused")],
    )
    assert misp.writes() == []


def test_a_sharing_group_is_found_by_name(misp: Misp, tmp_path: Path) -> None:
    event_uuid = misp.fresh()
    misp.make_sharing_group(SHARING_GROUP)
    bridge = Bridge(
        tmp_path,
        {"misp": {"type": "misp", "url": misp.url, "key": misp.key}},
        enrich={"sharing_group": SHARING_GROUP},
    )
    first = {**report("shared", [indicator("198.51.100.7")]), "id": f"report--{event_uuid}"}
    assert actions(bridge.poll(first, indicator("198.51.100.7"))) == {"created": 1}
    stored = misp.event(event_uuid)
    assert stored is not None and stored["distribution"] == "4"
    misp.forget()
    bridge.run()
    assert misp.writes() == []
    second = {**first, "modified": "2026-01-08T00:00:00.000Z", "name": "renamed"}
    assert actions(bridge.poll(second)) == {"updated": 1}
    bridge.close()
    stored = misp.event(event_uuid)
    assert stored is not None and (stored["distribution"], stored["info"]) == ("4", "renamed")


def test_an_unknown_sharing_group_is_refused(misp: Misp, tmp_path: Path) -> None:
    event_uuid = misp.fresh()
    bridge = Bridge(
        tmp_path,
        {"misp": {"type": "misp", "url": misp.url, "key": misp.key}},
        enrich={"sharing_group": "no such"},
    )
    summary = bridge.poll({**report("shared", [indicator("198.51.100.7")]),
                           "id": f"report--{event_uuid}"},
                          indicator("198.51.100.7"))  # fmt: skip
    bridge.close()
    assert summary.events == {"refused": 1}
    assert "no such" in reasons(summary)["refused"][0]
    assert misp.event(event_uuid) is None


def test_a_refused_update_leaves_the_event_ours(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7")
    deliver(event(event_uuid, ip))
    refused = deliver(
        event(event_uuid, changed(ip, comment="newer"), sharing_group="no such", distribution="4")
    )
    assert (refused.action, noted(refused)) == ("refused", [(None, "refused")])
    later = deliver(event(event_uuid, changed(ip, comment="newest")))
    assert (later.state, later.action, later.notes) == (State.DELIVERED, "updated", [])
    assert misp.part(event_uuid, ip["uuid"])["comment"] == "newest"
