"""The MISP double acts as the real server was seen to act: edits, single parts, search, trouble."""

import ssl
import threading
import time
from typing import Any

import httpx
import pytest

from . import MispDouble
from .client import T0, Api, Clock, file_object, ip, uid

# editing


def test_edit_not_newer_is_403_and_without_timestamp_is_now(api: Api, clock: Clock) -> None:
    api.add()
    for timestamp in (T0, T0 - 1):
        answer = api.edit(timestamp=timestamp, info="x")
        assert answer.status_code == 403
        assert (
            answer.json()["errors"]
            == "Event could not be saved: Event in the request not newer than the local copy."
        )
    assert api.edit(info="y").json()["Event"]["timestamp"] == str(clock.now)
    api.edit(timestamp=clock.now + 9_000)
    assert api.edit(timestamp=clock.now + 10, info="z").status_code == 403
    assert api.edit(2, info="x").status_code == 404


def test_delta_edit_merges_by_uuid(api: Api, clock: Clock) -> None:
    api.add(
        Attribute=[ip("192.0.2.1", uuid=uid(10), timestamp=T0), ip("192.0.2.2", uuid=uid(11))],
        Tag=[{"name": "a"}],
    )
    old = ip(
        "192.0.2.1",
        uuid=uid(10),
        timestamp=T0,
        comment="new",
        Tag=[{"name": "t"}],
        Sighting=[{"uuid": uid(30)}],
    )
    assert api.edit(Attribute=[old]).status_code == 200
    stored = api.event()["Attribute"][0]
    assert (stored["comment"], "Tag" in stored, "Sighting" in stored) == ("", False, False)
    api.edit(Attribute=[{"uuid": uid(10), "to_ids": False}])
    stored = api.event()["Attribute"][0]
    assert (stored["value"], stored["to_ids"], stored["timestamp"]) == (
        "192.0.2.1",
        False,
        str(clock.now),
    )
    assert len(api.values()) == 2 and api.event()["Tag"][0]["name"] == "a"


def test_withdrawal_with_stix_time_after_an_analysts_edit_is_ignored(
    api: Api, misp: MispDouble
) -> None:
    api.add(Attribute=[ip(uuid=uid(10), timestamp=T0)])
    misp.analyst_edit(uid(10), comment="mine")
    api.edit(Attribute=[ip(uuid=uid(10), timestamp=T0 + 5, to_ids=False)])
    assert (misp.attribute(uid(10))["to_ids"], misp.attribute(uid(10))["comment"]) == (True, "mine")


def test_tags_in_an_edit_are_additive(api: Api) -> None:
    api.add(Tag=[{"name": "a"}, {"name": "b"}], Attribute=[ip(uuid=uid(10), Tag=[{"name": "c"}])])
    api.edit(
        Tag=[{"name": "a", "deleted": 1}, {"name": "d"}],
        Attribute=[{"uuid": uid(10), "Tag": [{"name": "e"}]}],
    )
    assert [tag["name"] for tag in api.event()["Tag"]] == ["b", "d"]
    assert [tag["name"] for tag in api.event()["Attribute"][0]["Tag"]] == ["c", "e"]


def test_content_without_uuid_edited_in_twice(api: Api) -> None:
    obj = {name: value for name, value in file_object().items() if name != "uuid"}
    obj["Attribute"] = [{"object_relation": "filename", "type": "filename", "value": "a.exe"}]
    api.add()
    for _ in range(2):
        api.edit(Attribute=[ip()], Object=[obj])
    assert (len(api.event()["Attribute"]), len(api.event()["Object"])) == (1, 2)


def test_soft_deleted_stays_deleted_unless_revived(api: Api) -> None:
    api.add(Attribute=[ip(uuid=uid(10))])
    assert api.post(f"/attributes/delete/{uid(10)}").json()["message"] == "Attribute deleted."
    assert api.post(f"/attributes/delete/{uid(10)}").status_code == 404
    assert api.post(f"/attributes/edit/{uid(10)}", {"comment": "x"}).status_code == 404
    api.edit(Attribute=[ip(uuid=uid(10))])
    assert api.values() == [] and api.event(deleted=[0, 1])["Attribute"][0]["deleted"] is True
    refused = api.post(f"/attributes/add/{uid(1)}", ip(uuid=uid(10)))
    assert (refused.status_code, refused.json()["errors"]) == (
        403,
        {"uuid": ["The UUID provided is not unique"]},
    )
    api.edit(Attribute=[{"uuid": uid(10), "deleted": False}])
    assert len(api.values()) == 1
    api.post(f"/attributes/delete/{uid(10)}")
    assert api.post(f"/attributes/add/{uid(1)}", ip(uuid=uid(11))).status_code == 200
    assert api.post(f"/attributes/delete/{uid(11)}/hard").status_code == 200
    assert api.post(f"/attributes/add/{uid(1)}", ip(uuid=uid(11))).status_code == 200


def test_edit_merges_objects_reports_and_partial_fields(api: Api) -> None:
    api.add(
        Object=[file_object(50, timestamp=T0)],
        EventReport=[{"uuid": uid(70), "name": "r", "content": "c"}],
    )
    api.edit(Object=[{"uuid": uid(50), "timestamp": T0, "comment": "ignored"}])
    api.edit(Object=[{"uuid": uid(50), "Attribute": [{"uuid": uid(51), "to_ids": False}]}])
    obj = api.event()["Object"][0]
    assert (
        obj["comment"],
        obj["name"],
        obj["Attribute"][0]["value"],
        obj["Attribute"][0]["to_ids"],
    ) == (
        "",
        "file",
        "a.exe",
        False,
    )
    api.edit(
        EventReport=[{"uuid": uid(70), "name": "r", "content": ""}],
        Object=[{"uuid": uid(50), "deleted": True}],
    )
    assert (api.event()["EventReport"][0]["content"], api.event()["Object"]) == ("", [])


def test_any_edit_unpublishes_unless_published_is_sent(
    api: Api, misp: MispDouble, clock: Clock
) -> None:
    api.add(published=True, Attribute=[ip(uuid=uid(10))])
    assert api.event()["published"] is True and api.event()["publish_timestamp"] == str(clock.now)
    clock.now += 10
    api.edit(published=True)
    assert api.event()["published"] is True and api.event()["publish_timestamp"] == str(
        clock.now - 10
    )
    for path, body in [
        (f"/events/edit/{uid(1)}", {"Event": {"analysis": 1}}),
        (f"/attributes/add/{uid(1)}", ip("192.0.2.8")),
        ("/tags/attachTagToObject", {"uuid": uid(10), "tag": "t"}),
        ("/eventReports/add/1", {"name": "r"}),
        (f"/objects/add/{uid(1)}", file_object(50)),
        (f"/attributes/edit/{uid(10)}", {"comment": "c"}),
    ]:  # fmt: skip
        assert api.post("/events/publish/1").json()["name"] == "Event published without alerts"
        assert misp.events[uid(1)]["published"] is True
        assert api.post(path, body).status_code == 200, path
        assert misp.events[uid(1)]["published"] is False, path


def test_publish_without_event_or_right(api: Api) -> None:
    assert api.post("/events/publish/77").json()["message"] == "Invalid event."
    with MispDouble(role="user") as misp:
        other = Api(misp)
        assert other.add(published=True, Attribute=[ip()]).json()["Event"]["published"] is False
        answer = other.post("/events/publish/1")
        assert (answer.status_code, answer.json()["message"][:30]) == (
            403,
            "You do not have permission to ",
        )


def test_someone_elses_event_is_overwritten_if_the_role_may(api: Api, misp: MispDouble) -> None:
    theirs = misp.analyst_event(
        {
            "uuid": uid(5),
            "info": "theirs",
            "Orgc": {"name": "OTHER", "uuid": uid(60)},
            "Attribute": [ip()],
        }
    )
    assert api.edit(5, info="ours").status_code == 200 and misp.events[theirs]["info"] == "ours"
    with MispDouble(role="user") as small:
        small.analyst_event(
            {
                "uuid": uid(5),
                "info": "theirs",
                "distribution": 0,
                "Orgc": {"name": "O", "uuid": uid(60)},
            }
        )
        # Not even visible is existing.
        small.events[uid(5)]["org_id"] = small.events[uid(5)]["orgc_id"]
        assert Api(small).get(f"/events/view/{uid(5)}").status_code == 404
        assert Api(small).add(5).status_code == 404


def test_adding_a_part_or_tag_moves_the_event(api: Api, misp: MispDouble, clock: Clock) -> None:
    for path, body in [
        (f"/attributes/add/{uid(1)}", ip()),
        ("/tags/attachTagToObject", {"uuid": uid(1), "tag": "t"}),
    ]:
        api.add()
        misp.events[uid(1)]["timestamp"] = str(T0)
        assert api.post(path, body).status_code == 200
        assert misp.events[uid(1)]["timestamp"] == str(clock.now)
    assert api.post("/tags/removeTagFromObject", {"uuid": uid(1), "tag": "t"}).status_code == 200
    assert "Tag" not in api.event()


# single parts


def test_attributes_add_says_why(api: Api) -> None:
    api.add(Attribute=[ip()])
    for body, errors in [
        (ip("foo"), {"value": ["IP address has an invalid format."]}),
        (ip(), {"value": ["A similar attribute already exists for this event."]}),
        (
            ip("192.0.2.5", category="Financial fraud"),
            {"type": ["Options depend on the selected category."]},
        ),
        ({"type": "no-such", "value": "x"}, {"type": ["Invalid type."]}),
    ]:
        answer = api.post(f"/attributes/add/{uid(1)}", body)
        assert (answer.status_code, answer.json()["errors"]) == (403, errors)


def test_attributes_add_with_an_array(api: Api) -> None:
    api.add()
    answer = api.post("/attributes/add/1", [ip("192.0.2.1"), ip("foo"), ip("192.0.2.2")]).json()
    assert (len(answer["Attribute"]), list(answer["errors"])) == (2, ["attribute_1"])
    answer = api.post("/attributes/add/1", [ip("foo"), ip("192.0.2.3")]).json()
    assert isinstance(answer["Attribute"], dict) and list(answer["errors"]) == ["attribute_0"]
    answer = api.post("/attributes/add/1", [ip("foo"), ip("bar")])
    assert answer.status_code == 403 and list(answer.json()["errors"]) == [
        "attribute_0",
        "attribute_1",
    ]


def test_objects_add_refuses_whole_for_one_bad_attribute(api: Api) -> None:
    api.add()
    bad = {"object_relation": "md5", "type": "md5", "value": "x"}
    answer = api.post(
        "/objects/add/1",
        file_object(50, bad, {"object_relation": "filename", "type": "filename", "value": "b"}),
    )
    assert (
        answer.status_code == 403
        and "at least one attribute has failed validation (md5)" in answer.json()["errors"]
    )
    assert (
        api.post("/objects/add/1", file_object(50)).json()["Object"]["Attribute"][0]["value"]
        == "a.exe"
    )
    assert api.post("/objects/add/1", file_object(50)).status_code == 403


def test_attributes_edit(api: Api, clock: Clock) -> None:
    api.add(Attribute=[ip(uuid=uid(10), timestamp=T0)])
    assert (
        api.post(f"/attributes/edit/{uid(10)}", {"timestamp": T0, "to_ids": False}).status_code
        == 405
    )
    stored = api.post(f"/attributes/edit/{uid(10)}", {"to_ids": False}).json()["Attribute"]
    assert (stored["to_ids"], stored["value"], stored["timestamp"]) == (
        False,
        "198.51.100.7",
        str(clock.now),
    )


def test_inline_sightings(api: Api, misp: MispDouble) -> None:
    sighting = {"uuid": uid(30), "date_sighting": T0, "source": "vendor", "type": "0"}
    api.add(Attribute=[ip(uuid=uid(10), timestamp=T0)])
    api.edit(Attribute=[{"uuid": uid(10), "timestamp": T0, "Sighting": [sighting]}])
    assert misp.attribute(uid(10))["Sighting"] == []
    for _ in range(2):
        api.edit(Attribute=[{"uuid": uid(10), "Sighting": [sighting]}])
    assert [stored["source"] for stored in api.event()["Attribute"][0]["Sighting"]] == ["vendor"]


def test_sightings_add_doubles_and_unknown_value_is_200(api: Api, misp: MispDouble) -> None:
    api.add(Attribute=[ip(uuid=uid(10))])
    for _ in range(2):
        assert (
            api.post(f"/sightings/add/{uid(10)}", {"uuid": uid(30), "type": 0}).status_code == 200
        )
    assert len(misp.attribute(uid(10))["Sighting"]) == 2
    answer = api.post("/sightings/add", {"value": "192.0.2.200"})
    assert answer.status_code == 200
    assert answer.json()["message"].startswith(
        "Could not add the Sighting. Reason: No valid attributes found"
    )


def test_event_reports_add_wants_the_numeric_id(api: Api) -> None:
    api.add()
    assert api.post(f"/eventReports/add/{uid(1)}", {"name": "r"}).status_code == 403
    assert (
        api.post("/eventReports/add/1", {"name": "r", "content": "c"}).json()["EventReport"]["name"]
        == "r"
    )


def test_metadata_answers_small(api: Api) -> None:
    body = {"Event": {"uuid": uid(1), "info": "e", "Attribute": [ip()]}}
    event = api.post("/events/add/metadata:1", body).json()["Event"]
    assert "Attribute" not in event and event["attribute_count"] == "1"
    assert (
        "Attribute"
        not in api.post(f"/events/edit/{uid(1)}/metadata:1", {"info": "f"}).json()["Event"]
    )


def test_tags(api: Api) -> None:
    assert api.post("/tags/add", {"name": "one"}).json()["Tag"]["name"] == "one"
    assert [tag["name"] for tag in api.get("/tags/index").json()["Tag"]] == ["one"]
    assert api.post("/tags/search", {"tag": "ON%"}).json()[0]["Tag"]["name"] == "one"
    assert "ip-dst" in api.get("/attributes/describeTypes.json").json()["result"]["types"]


def test_local_tag_needs_the_host_organisation_but_works_inline_except_for_a_sync_key() -> None:
    with MispDouble(role="writer") as misp:
        api = Api(misp)
        api.add(Tag=[{"name": "mine", "local": True}])
        assert api.event()["Tag"][0]["local"] is True
    with MispDouble(role="sync", known_tags=["mine"]) as misp:
        api = Api(misp)
        api.add(Tag=[{"name": "mine", "local": True}])
        assert api.event().get("Tag", []) == []
        assert (
            api.post(
                "/tags/attachTagToObject", {"uuid": uid(1), "tag": "x", "local": 1}
            ).status_code
            == 403
        )


# searching


def search(api: Api, what: str, **query: Any) -> list[Any]:
    answer = api.post(f"/{what}/restSearch", {"returnFormat": "json", **query})
    found = answer.json()["response"]
    found = found["Attribute"] if what == "attributes" else [entry["Event"] for entry in found]
    assert answer.headers["x-result-count"] == str(len(found))
    return [entry["uuid"] for entry in found]


def test_search(api: Api) -> None:
    api.add(1, Attribute=[ip("192.0.2.1", uuid=uid(10), Tag=[{"name": "a"}])])
    api.add(2, timestamp=T0 + 50, Tag=[{"name": "b"}], Object=[file_object(50)])
    assert search(api, "events", uuid=[uid(1), uid(9)]) == [uid(1)] and search(
        api, "events", uuid=uid(10)
    ) == [uid(1)]
    assert search(api, "events", eventid=2) == search(api, "events", value="a.exe") == [uid(2)]
    assert search(api, "events", tags="a") == [uid(1)] and search(api, "events", tags=["!a"]) == [
        uid(2)
    ]
    assert search(api, "events", timestamp=T0 + 1) == [uid(2)]
    assert (
        search(api, "events", limit=1, page=2) == [uid(2)]
        and search(api, "events", limit=1, page=3) == []
    )
    assert (
        search(api, "attributes", value="192.0.2.%")
        == search(api, "attributes", tags="a")
        == [uid(10)]
    )
    assert search(api, "attributes", eventid=uid(2)) == [uid(51)]
    event = api.post("/events/restSearch", {"metadata": 1, "uuid": uid(1)}).json()["response"][0][
        "Event"
    ]
    assert "Attribute" not in event
    api.post(f"/attributes/delete/{uid(10)}")
    assert (
        search(api, "attributes", value="192.0.2.1")
        == []
        == search(api, "events", value="192.0.2.1")
    )
    assert (
        search(api, "attributes", value="192.0.2.1", deleted=[0, 1])
        == search(api, "attributes", deleted=1)
        == [uid(10)]
    )


def test_last_seen_ahead_hides_an_attribute_from_exclude_decayed(api: Api) -> None:
    api.add(
        Attribute=[
            ip("192.0.2.1", uuid=uid(10), last_seen="2099-01-01"),
            ip("192.0.2.2", uuid=uid(11)),
        ]
    )
    assert search(api, "attributes", excludeDecayed=1) == [uid(11)]


# the direct way


def test_upload_stix(api: Api) -> None:
    indicator = {
        "type": "indicator",
        "id": f"indicator--{uid(10)}",
        "pattern": "[domain-name:value = 'evil.example']",
    }

    def bundle(number: int) -> dict[str, Any]:
        report = {"type": "report", "id": f"report--{uid(number)}", "name": "R"}
        return {"type": "bundle", "id": f"bundle--{uid(99)}", "objects": [report, indicator]}

    answer = api.post("/events/upload_stix/2", bundle(1)).json()
    assert (answer["Event"]["info"], answer["Attribute"][0]["value"]) == ("R", "evil.example")
    assert (
        "Attribute" not in answer["Event"]
        and answer["Object"][0]["name"] == "original-imported-file"
    )
    again = api.post("/events/upload_stix/2", bundle(1))
    assert (again.status_code, again.json()["errors"]) == (
        403,
        "Event with the same UUID already exists.",
    )
    assert api.post("/events/upload_stix/2", bundle(2)).json()["Attribute"] == []


# misbehaving


def test_fail_next(api: Api, misp: MispDouble) -> None:
    misp.fail_next(
        429,
        '{"message": "Rate limit exceeded."}',
        path="/events/restSearch",
        headers={"X-Rate-Limit-Reset": "3"},
    )
    misp.fail_next(503, "busy", times=2)
    assert api.get("/servers/getVersion").status_code == 200
    answer = api.post("/events/restSearch", {})
    assert (answer.status_code, answer.headers["x-rate-limit-reset"]) == (429, "3")
    assert [api.add().status_code for _ in range(3)] == [503, 503, 200]
    assert [request.status for request in misp.writes()] == [503, 503, 200]


@pytest.mark.parametrize("stored", [True, False])
def test_hang_up_next(api: Api, misp: MispDouble, stored: bool) -> None:
    misp.hang_up_next(after_storing=stored)
    with pytest.raises(httpx.TransportError):
        api.add()
    assert bool(misp.events) is stored
    assert api.add().status_code == (404 if stored else 200)
    assert misp.writes()[0].status == 0


def test_html_next(api: Api, misp: MispDouble) -> None:
    misp.html_next(path="/events/add")
    assert api.add().headers["content-type"].startswith("text/html") and not misp.events


def test_a_client_that_times_out_meets_the_half_filled_event() -> None:
    parts = [ip(f"192.0.2.{number}", uuid=uid(100 + number)) for number in range(40)]
    with MispDouble(cost_per_attribute=0.02) as misp:
        filling = threading.Thread(target=lambda: Api(misp).add(Attribute=parts))
        filling.start()
        while not misp.events:
            time.sleep(0.001)
        api = Api(misp)
        assert api.add(Attribute=parts).status_code == 404
        assert api.edit(Attribute=parts).status_code == 500
        assert int(api.event()["attribute_count"]) < 40
        filling.join()
        assert api.event()["attribute_count"] == "40"


def test_tls() -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    with (
        authority.cert_pem.tempfile() as ca,
        issued.cert_chain_pems[0].tempfile() as cert,
        issued.private_key_pem.tempfile() as key,
        MispDouble(tls=(cert, key)) as misp,
    ):
        assert misp.url.startswith("https://")
        headers = {"Authorization": misp.key, "Accept": "application/json"}
        context = ssl.create_default_context(cafile=ca)
        assert (
            httpx.get(f"{misp.url}/servers/getVersion", headers=headers, verify=context).status_code
            == 200
        )
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{misp.url}/servers/getVersion", headers=headers)


# an analyst at work, and the comparison of runs


def test_analyst(api: Api, misp: MispDouble, clock: Clock) -> None:
    api.add(Attribute=[ip(uuid=uid(10), timestamp=T0)], published=True)
    misp.analyst_tag(uid(10), "x")
    stored, event = misp.attribute(uid(10)), misp.events[uid(1)]
    assert (stored["timestamp"], event["timestamp"], event["published"]) == (
        str(clock.now),
        str(clock.now),
        False,
    )
    misp.analyst_untag(uid(10), "x")
    misp.analyst_sighting(uid(10), type=1)
    misp.analyst_edit(uid(10), to_ids=False)
    assert (stored["Tag"], stored["Sighting"][0]["type"], stored["to_ids"]) == ([], "1", False)
    assert misp.find("198.51.100.7") == [stored]
    misp.analyst_delete(uid(10))
    assert misp.find("198.51.100.7") == []


def test_snapshot_is_equal_for_equal_content_only(clock: Clock) -> None:
    def run(first: int, comment: str = "") -> dict[str, Any]:
        with MispDouble(clock=clock) as misp:
            api = Api(misp)
            for number in (first, 3 - first):
                api.add(
                    number,
                    Attribute=[ip(f"192.0.2.{number}", comment=comment)],
                    Tag=[{"name": f"t{number}"}],
                )
            api.post("/sightings/add", {"value": "192.0.2.1"})
            clock.now += 5
            return misp.snapshot()

    assert run(1) == run(2)
    assert run(1) != run(1, "other")


# PyMISP


@pytest.mark.filterwarnings("ignore")
def test_pymisp_works_against_it(misp: MispDouble) -> None:
    pymisp = pytest.importorskip("pymisp")
    client = pymisp.PyMISP(misp.url, misp.key, ssl=False)
    event = pymisp.MISPEvent()
    event.from_dict(info="from PyMISP", distribution=0)
    event.add_attribute("ip-dst", "192.0.2.1").add_tag("tlp:red")
    obj = pymisp.MISPObject("file")
    obj.add_attribute("filename", "x.exe")
    event.add_object(obj)
    stored = client.add_event(event, pythonify=True)
    stored = client.get_event(stored.uuid, pythonify=True)
    assert [tag.name for tag in stored.attributes[0].tags] == ["tlp:red"] and stored.objects[
        0
    ].name == "file"
    stored.info = "changed"
    del stored.timestamp
    assert client.update_event(stored, pythonify=True).info == "changed"
    assert client.publish(stored)["success"] is True
    assert client.search(uuid=stored.uuid, pythonify=True)[0].published is True
    assert (
        client.search(controller="attributes", value="192.0.2.1")["Attribute"][0]["value"]
        == "192.0.2.1"
    )
    assert client.tag(stored, "tlp:green")["success"] and client.search_tags("tlp:%")
