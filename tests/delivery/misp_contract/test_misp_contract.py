"""What the MISP sink promises, on the double and, where MISP_URL and MISP_KEY are set, on a real
MISP.

Adding, changing, withdrawing, and what analysts did meanwhile. Trouble has a module of its own.
"""

import uuid
from typing import Any

from doubles.misp import MispDouble
from helpers.delivering import (
    Delivering,
    attribute,
    changed,
    event,
    file_object,
    noted,
    report,
    sighting,
    sink_of,
    tagged,
    tags,
)
from helpers.misp import Misp

from stixbridge import times
from stixbridge.sinks.delivery import State

CONFLICT = "conflict"


# adding


def test_what_is_added_is_stored_whole(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(
        event_uuid,
        "198.51.100.7",
        comment="C2",
        Tag=tags("tlp:amber"),
        Sighting=[sighting(event_uuid, "seen")],
    )
    file = file_object(event_uuid)
    file["ObjectReference"] = [
        {"uuid": misp.fresh(), "object_uuid": file["uuid"], "referenced_uuid": ip["uuid"],
         "relationship_type": "drops", "comment": ""}
    ]  # fmt: skip
    text = report(event_uuid, "Description", "What happened")
    wanted = event(event_uuid, ip, Object=[file], EventReport=[text], Tag=tags("tlp:green"))
    delivery = deliver(wanted)
    assert (delivery.state, delivery.action, delivery.notes) == (State.DELIVERED, "created", [])
    held = misp.event(event_uuid)
    assert held is not None
    assert (held["info"], held["date"], tagged(held), held["published"]) == (
        wanted["info"], wanted["date"], ["tlp:green"], False,
    )  # fmt: skip
    stored = misp.part(event_uuid, ip["uuid"])
    assert (stored["value"], stored["comment"], stored["to_ids"], tagged(stored)) == (
        "198.51.100.7", "C2", True, ["tlp:amber"],
    )  # fmt: skip
    assert [row["uuid"] for row in stored["Sighting"]] == [ip["Sighting"][0]["uuid"]]
    assert {row["uuid"] for row in held["Object"][0]["Attribute"]} == {
        row["uuid"] for row in file["Attribute"]
    }
    assert held["Object"][0]["ObjectReference"][0]["uuid"] == file["ObjectReference"][0]["uuid"]
    assert misp.part(event_uuid, text["uuid"])["content"] == "What happened"
    assert [request.path for request in misp.writes()] == ["/events/add"]


def test_the_same_again_writes_nothing(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(
        event_uuid,
        "198.51.100.7",
        comment=" C2",
        first_seen="2026-01-01T00:00:00.000000Z",
        Sighting=[sighting(event_uuid, "seen")],
    )
    domain = attribute(
        event_uuid, "evil.example", "domain", Tag=tags("tlp:amber", 'acme:label="Phishing"')
    )
    wanted = event(
        event_uuid, ip, domain, Object=[file_object(event_uuid)],
        EventReport=[report(event_uuid, "Description", "text\n")],
        Tag=tags("tlp:green"), extends_uuid=misp.fresh(),
    )  # fmt: skip
    deliver(wanted)
    before = misp.event(event_uuid)
    misp.forget()
    again = deliver(wanted)
    assert (again.state, again.action, again.notes, misp.writes()) == (
        State.DELIVERED,
        "unchanged",
        [],
        [],
    )
    after = misp.event(event_uuid)
    assert before is not None and after is not None
    assert {**after, "RelatedEvent": []} == {**before, "RelatedEvent": []}


# changing


def test_only_the_changed_field_is_sent(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip, other = (
        attribute(event_uuid, "198.51.100.7", comment="C2"),
        attribute(event_uuid, "198.51.100.8"),
    )
    deliver(event(event_uuid, ip, other, Object=[file_object(event_uuid)]))
    misp.forget()
    delivery = deliver(
        event(
            event_uuid, changed(ip, comment="C2 of Emotet"), other, Object=[file_object(event_uuid)]
        )
    )
    assert (delivery.action, delivery.notes) == ("updated", [])
    (request,) = misp.writes()
    assert request.path == f"/events/edit/{event_uuid}"
    assert request.body == {
        "Event": {"Attribute": [{"uuid": ip["uuid"], "comment": "C2 of Emotet"}]}
    }
    stored = misp.part(event_uuid, ip["uuid"])
    assert (stored["comment"], stored["to_ids"], stored["value"]) == (
        "C2 of Emotet",
        True,
        "198.51.100.7",
    )


def test_a_new_part_is_added_to_the_event(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip, domain = (
        attribute(event_uuid, "198.51.100.7"),
        attribute(event_uuid, "evil.example", "domain", Tag=tags("tlp:red")),
    )
    deliver(event(event_uuid, ip))
    misp.forget()
    file = file_object(event_uuid)
    delivery = deliver(
        event(
            event_uuid,
            ip,
            domain,
            Object=[file],
            EventReport=[report(event_uuid, "Description", "new")],
        )
    )
    assert (delivery.action, delivery.notes) == ("updated", [])
    assert tagged(misp.part(event_uuid, domain["uuid"])) == ["tlp:red"]
    assert (
        misp.part(event_uuid, file["Attribute"][1]["uuid"])["value"]
        == file["Attribute"][1]["value"]
    )
    sent = misp.writes()[0].body["Event"]
    assert [row["uuid"] for row in sent["Attribute"]] == [domain["uuid"]]
    assert "timestamp" not in sent and "timestamp" not in sent["Attribute"][0]


def test_event_fields_and_reports_change(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    deliver(
        event(
            event_uuid,
            attribute(event_uuid, "198.51.100.7"),
            EventReport=[report(event_uuid, "Description", "old")],
        )
    )
    misp.forget()
    text = report(event_uuid, "Description", "new")
    delivery = deliver(
        event(
            event_uuid,
            attribute(event_uuid, "198.51.100.7"),
            EventReport=[text],
            info="renamed",
            threat_level_id="1",
        )
    )
    assert (delivery.action, delivery.notes, len(misp.writes())) == ("updated", [], 1)
    held = misp.event(event_uuid)
    assert held is not None
    assert (held["info"], held["threat_level_id"], held["analysis"]) == ("renamed", "1", "2")
    assert (misp.part(event_uuid, text["uuid"])["content"], held["EventReport"][0]["name"]) == (
        "new",
        "Description",
    )
    misp.forget()
    deliver(
        event(
            event_uuid,
            attribute(event_uuid, "198.51.100.7"),
            EventReport=[text],
            info="renamed",
            threat_level_id="1",
        )
    )
    assert misp.writes() == []


def test_withdrawn_parts_are_soft_deleted(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip, domain, file = (
        attribute(event_uuid, "198.51.100.7"),
        attribute(event_uuid, "evil.example", "domain"),
        file_object(event_uuid),
    )
    text = report(event_uuid, "Description", "text")
    deliver(event(event_uuid, ip, domain, Object=[file], EventReport=[text]))
    delivery = deliver(event(event_uuid, ip, EventReport=[]))
    assert (delivery.action, delivery.notes) == ("updated", [])
    for part in (domain, file, text):
        assert misp.part(event_uuid, part["uuid"])["deleted"] is True
    assert misp.part(event_uuid, ip["uuid"])["deleted"] is False
    misp.forget()
    deliver(event(event_uuid, ip, EventReport=[]))
    assert misp.writes() == []


def test_a_withdrawn_part_that_comes_back_is_alive_again(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip, domain, file = (
        attribute(event_uuid, "198.51.100.7"),
        attribute(event_uuid, "evil.example", "domain"),
        file_object(event_uuid),
    )
    deliver(event(event_uuid, ip, domain, Object=[file]))
    deliver(event(event_uuid, ip))
    delivery = deliver(event(event_uuid, ip, domain, Object=[file]))
    assert (delivery.action, delivery.notes) == ("updated", [])
    assert misp.part(event_uuid, domain["uuid"])["deleted"] is False
    assert misp.part(event_uuid, file["uuid"])["deleted"] is False
    assert misp.part(event_uuid, file["Attribute"][1]["uuid"])["deleted"] is False


def test_an_attribute_of_an_object_is_withdrawn_alone(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    file = file_object(event_uuid)
    deliver(event(event_uuid, Object=[file]))
    delivery = deliver(event(event_uuid, Object=[changed(file, Attribute=file["Attribute"][:1])]))
    assert (delivery.action, delivery.notes) == ("updated", [])
    assert misp.part(event_uuid, file["Attribute"][1]["uuid"])["deleted"] is True
    assert misp.part(event_uuid, file["Attribute"][0]["uuid"])["deleted"] is False
    assert misp.part(event_uuid, file["uuid"])["deleted"] is False


def test_our_tags_come_and_go_and_an_analysts_stay(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7", Tag=tags('acme:label="a"', 'acme:label="b"'))
    deliver(event(event_uuid, ip, Tag=tags("tlp:green")))
    misp.tag(event_uuid, 'tests:of="an analyst"')
    misp.tag(ip["uuid"], 'tests:of="an analyst"')
    delivery = deliver(
        event(
            event_uuid,
            changed(ip, Tag=tags('acme:label="b"', 'acme:label="c"')),
            Tag=tags("tlp:amber"),
        )
    )
    assert delivery.notes == []
    held = misp.event(event_uuid)
    assert held is not None
    assert tagged(held) == ['tests:of="an analyst"', "tlp:amber"]
    assert tagged(misp.part(event_uuid, ip["uuid"])) == [
        "acme:label=\"b\"", "acme:label=\"c\"", "tests:of=\"an analyst\"",
    ]  # fmt: skip


def test_bookkeeping_tags_are_local_and_go_again(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ours, mark = 'acme:label="a"', 'stixbridge:source="vanished"'
    ip = attribute(event_uuid, "198.51.100.7", Tag=tags(ours, mark))
    wanted = event(event_uuid, ip, Tag=tags("tlp:green", mark))

    def local(part: dict[str, Any]) -> dict[str, bool]:
        return {tag["name"]: tag["local"] in (True, 1, "1") for tag in part["Tag"]}

    assert deliver(wanted).notes == []
    held = misp.event(event_uuid)
    assert held is not None and local(held) == {"tlp:green": False, mark: True}
    assert local(misp.part(event_uuid, ip["uuid"])) == {ours: False, mark: True}
    second = attribute(event_uuid, "198.51.100.8")
    deliver(changed(wanted, Attribute=[changed(ip, Tag=tags(ours)), second], Tag=tags("tlp:green")))
    held = misp.event(event_uuid)
    assert held is not None and local(held) == {"tlp:green": False}
    assert local(misp.part(event_uuid, ip["uuid"])) == {ours: False}
    deliver(changed(wanted, Attribute=[ip, changed(second, Tag=tags(mark))]))
    assert local(misp.part(event_uuid, second["uuid"])) == {mark: True}


def test_a_sync_key_sends_bookkeeping_tags_as_plain_ones() -> None:
    """MISP drops the local tags of a sync key in silence."""
    with MispDouble(role="sync") as double:
        sink = sink_of(double)
        event_uuid = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
        delivery = Delivering(sink)(event(event_uuid, Tag=tags('stixbridge:source="vanished"')))
        assert delivery.notes == []
        assert [(tag["name"], tag["local"]) for tag in double.events[event_uuid]["Tag"]] == [
            ('stixbridge:source="vanished"', False)
        ]


def test_a_tag_that_an_analyst_removed_is_not_put_back(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7", Tag=tags('acme:label="a"'))
    deliver(event(event_uuid, ip))
    misp.untag(ip["uuid"], 'acme:label="a"')
    deliver(event(event_uuid, changed(ip, comment="newer")))
    assert tagged(misp.part(event_uuid, ip["uuid"])) == []


def test_a_stricter_marking_of_an_analyst_is_not_loosened(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7", Tag=tags("tlp:green"))
    deliver(event(event_uuid, ip))
    misp.tag(ip["uuid"], "tlp:red")
    misp.untag(ip["uuid"], "tlp:green")
    deliver(event(event_uuid, changed(ip, Tag=tags("tlp:amber"))))
    assert tagged(misp.part(event_uuid, ip["uuid"])) == ["tlp:red"]


# an analyst's work


def test_an_analysts_comment_is_kept_and_the_conflict_told(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7", comment="C2")
    deliver(event(event_uuid, ip))
    misp.edit(ip["uuid"], comment="sinkholed, ask Ada")
    quiet = deliver(event(event_uuid, ip, info="renamed"))
    assert quiet.notes == []
    told = deliver(event(event_uuid, changed(ip, comment="C2 of Emotet"), info="renamed"))
    assert noted(told) == [(ip["uuid"], CONFLICT)]
    assert misp.part(event_uuid, ip["uuid"])["comment"] == "sinkholed, ask Ada"


def test_cleared_to_ids_is_not_set_again(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7")
    deliver(event(event_uuid, ip))
    misp.edit(ip["uuid"], to_ids=False)
    deliver(event(event_uuid, changed(ip, comment="newer"), info="renamed"))
    deliver(event(event_uuid, ip))
    stored = misp.part(event_uuid, ip["uuid"])
    assert (stored["to_ids"], stored["deleted"]) == (False, False)


def test_a_deleted_attribute_is_not_revived(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip, file = attribute(event_uuid, "198.51.100.7"), file_object(event_uuid)
    deliver(event(event_uuid, ip, Object=[file]))
    misp.delete(ip["uuid"])
    misp.delete(file["Attribute"][1]["uuid"])
    newer = changed(file)
    newer["Attribute"][1]["comment"] = "newer"
    delivery = deliver(
        event(
            event_uuid,
            changed(ip, comment="newer", Tag=tags("tlp:red")),
            Object=[newer],
            info="renamed",
        )
    )
    assert misp.part(event_uuid, ip["uuid"])["deleted"] is True
    assert misp.part(event_uuid, file["Attribute"][1]["uuid"])["deleted"] is True
    assert set(noted(delivery)) == {
        (ip["uuid"], CONFLICT),
        (file["Attribute"][1]["uuid"], CONFLICT),
    }
    assert delivery.state is State.DELIVERED


def test_withdrawn_to_ids_wins_over_an_analysts_edit(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7", comment="C2")
    deliver(event(event_uuid, ip))
    misp.edit(ip["uuid"], comment="seen at home too")
    expired = sighting(event_uuid, "expired", "2")
    delivery = deliver(event(event_uuid, changed(ip, to_ids=False, Sighting=[expired])))
    assert (delivery.action, delivery.notes) == ("updated", [])
    stored = misp.part(event_uuid, ip["uuid"])
    assert (stored["to_ids"], stored["comment"]) == (False, "seen at home too")
    assert [(row["uuid"], row["type"]) for row in stored["Sighting"]] == [(expired["uuid"], "2")]


def test_an_analysts_sighting_is_kept_and_ours_is_not_doubled(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7", Sighting=[sighting(event_uuid, "first")])
    deliver(event(event_uuid, ip))
    misp.post(f"/sightings/add/{ip['uuid']}", {"type": "0", "source": "our firewall"})
    deliver(
        event(
            event_uuid,
            changed(ip, Sighting=[sighting(event_uuid, "first"), sighting(event_uuid, "second")]),
        )
    )
    sources = sorted(row["source"] for row in misp.part(event_uuid, ip["uuid"])["Sighting"])
    assert sources == ["acme", "acme", "our firewall"]


def test_false_positives_of_analysts_are_found_and_ours_are_not_among_them(
    misp: Misp, deliver: Delivering
) -> None:
    event_uuid = misp.fresh()
    mine = uuid.uuid4().int % 250
    ours, theirs, later = (f"203.0.{mine}.{at}" for at in range(3))
    rows = [attribute(event_uuid, value) for value in (ours, theirs, later)]
    rows[0]["Sighting"] = [sighting(event_uuid, "denied", "1")]
    deliver(event(event_uuid, *rows))
    since = times.now() - 60_000_000
    misp.post("/sightings/add", {"uuid": rows[1]["uuid"], "type": "1"})
    misp.post("/sightings/add", {"uuid": rows[2]["uuid"], "type": "0"})
    misp.forget()
    found = {
        value for value, said in deliver.sink.false_positives(since) if said >= since - 1_000_000
    }
    assert theirs in found
    assert not {ours, later} & found
    assert misp.writes() == []
    assert not [value for value, _ in deliver.sink.false_positives(times.now() + 3_600_000_000)]


def test_a_narrower_distribution_wins_over_an_analysts(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7")
    deliver(event(event_uuid, ip, distribution="1"))
    misp.edit(ip["uuid"], distribution="3")
    delivery = deliver(
        event(event_uuid, changed(ip, distribution="0", Tag=tags("tlp:red")), distribution="0")
    )
    assert delivery.notes == []
    stored = misp.part(event_uuid, ip["uuid"])
    held = misp.event(event_uuid)
    assert held is not None
    assert (stored["distribution"], tagged(stored), held["distribution"]) == ("0", ["tlp:red"], "0")


# publishing


def test_publishing_is_the_last_call_and_without_mail(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    ip = attribute(event_uuid, "198.51.100.7")
    delivery = deliver(event(event_uuid, ip), publish=True)
    assert (delivery.published, delivery.notes) == (True, [])
    paths = [request.path for request in misp.writes()]
    assert paths[0] == "/events/add" and len(paths) == 2 and paths[1].startswith("/events/publish/")
    assert misp.writes()[0].body["published"] is False
    held = misp.event(event_uuid)
    assert held is not None and held["published"] is True
    misp.forget()
    again = deliver(event(event_uuid, ip), publish=True)
    assert (again.published, misp.writes()) == (True, [])
    newer = deliver(event(event_uuid, changed(ip, comment="newer")), publish=True)
    held = misp.event(event_uuid)
    assert held is not None and held["published"] is True and newer.published
    assert [request.path.split("/")[2] for request in misp.writes()] == ["edit", "publish"]


def test_without_publish_an_event_stays_unpublished(misp: Misp, deliver: Delivering) -> None:
    event_uuid = misp.fresh()
    deliver(event(event_uuid, attribute(event_uuid, "198.51.100.7")))
    held = misp.event(event_uuid)
    assert held is not None and held["published"] is False
    assert misp.writes("events/publish") == []


def test_a_role_that_may_not_publish_says_so(plain_misp: Misp) -> None:
    event_uuid = plain_misp.fresh()
    sink = sink_of(plain_misp)
    delivery = Delivering(sink)(
        event(event_uuid, attribute(event_uuid, "198.51.100.7")), publish=True
    )
    sink.close()
    assert (delivery.state, delivery.published, noted(delivery)) == (
        State.DELIVERED,
        False,
        [(None, "refused")],
    )
    assert plain_misp.writes("events/publish") == []
