"""The MISP double does what the real server was seen to do: getting in, adding, what is dropped."""

import gzip
import json
from typing import Any

import pytest

from . import MispDouble
from .client import T0, Api, file_object, ip, uid

# getting in


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_without_accept_json_comes_a_html_page_and_nothing_is_stored(
    misp: MispDouble, accept: str
) -> None:
    answer = Api(misp, Accept=accept).add()
    assert (answer.status_code, answer.headers["content-type"][:9], answer.text[:9]) == (
        200,
        "text/html",
        "<!DOCTYPE",
    )
    assert not misp.events


def test_wrong_key_is_403(misp: MispDouble) -> None:
    answer = Api(misp, Authorization="x").get("/servers/getVersion")
    assert answer.status_code == 403
    assert answer.json()["message"].startswith(
        "Authentication failed. Please make sure you pass the API key"
    )


def test_version_and_me(api: Api, misp: MispDouble) -> None:
    assert {"version", "perm_sync", "pymisp_recommended_version"} <= set(
        api.get("/servers/getVersion.json").json()
    )
    me = api.get("/users/view/me.json").json()
    assert {"User", "Role", "UserSetting"} <= set(me)
    assert me["Role"]["perm_publish"] is True
    with MispDouble(role="user") as other:
        role = Api(other).get("/users/view/me").json()["Role"]
    assert (role["perm_publish"], role["perm_tag_editor"], role["perm_sync"]) == (
        False,
        False,
        False,
    )


# strictness


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/warninglists/index", None),
        ("PUT", "/events/add", {"info": "e"}),
        ("GET", "/events/view/1?extended=1", None),
        ("POST", "/events/add/breakOnDuplicate:1", {"info": "e"}),
        ("POST", "/events/add", {"info": "e", "confidence": 3}),
        ("POST", "/events/add", {"info": "e", "Attribute": [{"type": "md5", "valeu": "x"}]}),
        ("POST", "/events/add", {"info": "e", "Tag": [{"nome": "x"}]}),
        ("POST", "/events/restSearch", {"uuids": "x"}),
        ("POST", "/attributes/restSearch", {"includeDecayScore": 1}),
        ("POST", "/attributes/restSearch", {"returnFormat": "csv"}),
    ],
)  # fmt: skip
def test_what_it_does_not_know_fails_the_test(method: str, path: str, body: Any) -> None:
    misp = MispDouble()
    try:
        assert Api(misp).http.request(method, path, json=body).status_code == 501
        assert len(misp.violations) == 1
        assert not misp.events
        with pytest.raises(AssertionError, match="does not know"):
            misp.check()
    finally:
        misp.close()


def test_leaving_the_block_checks() -> None:
    with pytest.raises(AssertionError, match="unknown route"), MispDouble() as misp:
        Api(misp).get("/nowhere/at/all")


def test_a_body_without_json_content_type_fails_the_test() -> None:
    misp = MispDouble()
    assert Api(misp).http.post("/events/add", content=b"{}").status_code == 501
    misp.close()
    assert misp.violations


# adding events


def test_add_answers_the_event_with_string_ids(api: Api, misp: MispDouble) -> None:
    event = api.add(
        Attribute=[ip(uuid=uid(10), timestamp=T0 - 5)], Tag=[{"name": "tlp:green"}]
    ).json()["Event"]
    stored = event["Attribute"][0]
    assert (event["id"], event["uuid"], event["timestamp"]) == ("1", uid(1), str(T0))
    assert (stored["timestamp"], stored["distribution"], stored["to_ids"], stored["deleted"]) == (
        str(T0 - 5),
        "5",
        True,
        False,
    )
    assert "Tag" not in stored
    assert event["Orgc"]["uuid"] == misp.org["uuid"]
    assert api.get("/events/1").json() == api.get(f"/events/view/{uid(1)}.json").json()


def test_body_may_be_bare_and_gzipped(api: Api, misp: MispDouble) -> None:
    packed = gzip.compress(json.dumps({"info": "bare"}).encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert api.http.post("/events/add", content=packed, headers=headers).status_code == 200
    assert [event["info"] for event in misp.events.values()] == ["bare"]
    assert misp.requests[-1].body == {"info": "bare"}


def test_existing_uuid_is_404_with_location(api: Api, misp: MispDouble) -> None:
    api.add()
    answer = api.add(info="other")
    assert (answer.status_code, answer.headers["location"]) == (404, f"{misp.url}/events/1")
    assert (
        answer.json()["name"].startswith("Event already exists")
        and answer.json()["url"] == "/events/add"
    )
    assert misp.events[uid(1)]["info"] == "e"


def test_deleted_event_is_on_the_blocklist(api: Api) -> None:
    api.add(Attribute=[ip(uuid=uid(10))])
    assert api.post("/events/delete/1").json()["message"] == "Event deleted."
    answer = api.add()
    assert (answer.status_code, answer.json()["message"]) == (
        403,
        "Event blocked by event blocklist.",
    )
    assert api.add(2, Attribute=[ip(uuid=uid(10))]).json()["Event"]["Attribute"]


def test_empty_or_malformed_body_is_405(api: Api) -> None:
    assert api.http.post("/events/add").json()["message"] == "No valid event data received."
    answer = api.http.post(
        "/events/add", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 405 and answer.json()["message"].startswith("Invalid JSON input")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("info", " "),
        ("date", "today"),
        ("threat_level_id", 9),
        ("analysis", 7),
        ("distribution", 8),
    ],
)
def test_bad_event_field_is_403_with_errors(
    api: Api, misp: MispDouble, field: str, value: Any
) -> None:
    answer = api.add(**{field: value})
    assert (answer.status_code, answer.json()["saved"], answer.json()["name"]) == (
        403,
        False,
        "Could not add Event",
    )
    assert list(answer.json()["errors"]["Event"]) == [field]
    assert not misp.events


def test_published_but_empty_is_refused(api: Api) -> None:
    answer = api.add(published=True)
    assert (
        answer.status_code == 403
        and "published event that was empty" in answer.json()["errors"]["Event"]
    )


# silent drops


@pytest.mark.parametrize(
    "bad",
    [
        ip("foo"), ip("10.0.0.0/99"), {"type": "no-such", "value": "x"},
        ip(category="Financial fraud"), ip(""),
        {"type": "md5", "value": "abc"}, {"type": "domain", "value": "nodot"},
        {"type": "filename|md5", "value": "a.exe"},
        {"type": "vulnerability", "value": "CVE-1"}, {"type": "text", "value": "x" * 65_536},
        ip(uuid="nonsense"),
        ip(first_seen="2026-01-02", last_seen="2026-01-01"), ip(first_seen="soon"),
        ip(distribution=9),
    ],
)  # fmt: skip
def test_bad_attribute_is_dropped_silently(api: Api, misp: MispDouble, bad: dict[str, Any]) -> None:
    good = ip("192.0.2.1")
    answer = api.add(Attribute=[bad, good])
    assert answer.status_code == 200 and "errors" not in answer.json()
    assert api.values() == ["192.0.2.1"]
    assert api.edit(Attribute=[bad]).status_code == 200
    assert api.values() == ["192.0.2.1"]
    logs = api.post("/logs/index", {"title": "%dropped%Event 1 failed%"}).json()
    assert len(logs) == len(misp.drops) == 2


def test_uuid_used_in_another_event_is_dropped(api: Api) -> None:
    api.add(
        Attribute=[ip(uuid=uid(10))],
        Object=[file_object(50)],
        EventReport=[{"uuid": uid(70), "name": "r"}],
    )
    before = api.event(1)
    other = {
        "Attribute": [ip("192.0.2.9", uuid=uid(10))],
        "Object": [file_object(50, comment="theirs")],
        "EventReport": [{"uuid": uid(70), "name": "theirs"}],
    }
    api.add(2, **other)
    api.edit(2, **other)
    event = api.event(2)
    assert (event["Attribute"], event["Object"], event["EventReport"]) == ([], [], [])
    assert api.event(1) == before


def test_a_live_attribute_uuid_used_again_inside_an_object_is_dropped(api: Api) -> None:
    api.add(Attribute=[ip(uuid=uid(10))])
    inner = {**ip("192.0.2.9", uuid=uid(10)), "object_relation": "ip"}
    api.edit(
        Object=[
            file_object(
                50, inner, {"object_relation": "filename", "type": "filename", "value": "b"}
            )
        ]
    )
    assert [stored["value"] for stored in api.event()["Object"][0]["Attribute"]] == ["b"]
    assert api.values() == ["198.51.100.7"]


def test_object_with_a_free_uuid_but_taken_attribute_uuids_disappears(api: Api) -> None:
    api.add(
        Attribute=[ip(uuid=uid(10))],
        Object=[file_object(50, {**ip(uuid=uid(10)), "object_relation": "ip"})],
    )
    assert api.event()["Object"] == [] and len(api.event()["Attribute"]) == 1
    # The invisible row holds its UUID against other events, not against its own.
    api.add(2, Object=[file_object(50)])
    api.edit(1, Object=[file_object(50)])
    assert (len(api.event(2)["Object"]), len(api.event(1)["Object"])) == (0, 1)


def test_same_value_type_category_twice_keeps_one_compared_as_sent(api: Api) -> None:
    api.add(Attribute=[ip(uuid=uid(10)), ip(uuid=uid(11), Tag=[{"name": "tlp:red"}])])
    assert [(stored["uuid"], "Tag" in stored) for stored in api.event()["Attribute"]] == [
        (uid(10), False)
    ]
    api.add(
        2,
        Attribute=[
            {"type": "domain", "value": "Dup.example"},
            {"type": "domain", "value": "dup.example"},
        ],
    )
    assert api.values(2) == ["dup.example", "dup.example"]
    api.add(3, Attribute=[ip(), ip(category="Payload delivery")])
    assert len(api.values(3)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"template_uuid": None}, {"name": ""}, {"meta-category": None},
        {"Attribute": [{"object_relation": "md5", "type": "md5", "value": "x"}]},
        {"Attribute": [{"type": "filename", "value": "no relation"}]},
        {"first_seen": "2026-01-02", "last_seen": "2026-01-01"},
    ],
)  # fmt: skip
def test_bad_object_disappears(api: Api, misp: MispDouble, change: dict[str, Any]) -> None:
    assert api.add(Object=[{**file_object(50), **change}]).status_code == 200
    assert api.event()["Object"] == misp.events[uid(1)]["Object"] == []


def test_object_keeps_its_good_attributes(api: Api) -> None:
    bad = {"object_relation": "md5", "type": "md5", "value": "x"}
    api.add(
        Object=[
            file_object(50, bad, {"object_relation": "filename", "type": "filename", "value": "b"})
        ]
    )
    assert [stored["value"] for stored in api.event()["Object"][0]["Attribute"]] == ["b"]


def test_reference_to_unknown_uuid_is_dropped_and_known_kept(api: Api) -> None:
    api.add(2, Attribute=[ip(uuid=uid(20))])
    targets = (uid(10), uid(99), uid(20))
    references = [{"referenced_uuid": target, "relationship_type": "uses"} for target in targets]
    api.add(Attribute=[ip(uuid=uid(10))], Object=[file_object(50, ObjectReference=references)])
    assert [
        stored["referenced_uuid"] for stored in api.event()["Object"][0]["ObjectReference"]
    ] == [uid(10)]
    answer = api.post(
        "/object_references/add", {"object_uuid": uid(50), "referenced_uuid": uid(99)}
    )
    assert (answer.status_code, answer.json()["message"]) == (404, "Invalid target.")
    sent = {"object_uuid": uid(50), "referenced_uuid": uid(10), "relationship_type": "x"}
    assert api.post("/objectReferences/add", sent).json()["ObjectReference"]["object_id"] == "1"
    assert (
        api.post(
            "/object_references/add", {"object_uuid": uid(50), "referenced_uuid": uid(20)}
        ).status_code
        == 404
    )


def test_role_without_tag_editor_loses_unknown_tags() -> None:
    with MispDouble(role="user", known_tags=["tlp:red"]) as misp:
        api = Api(misp)
        api.add(
            Tag=[{"name": "TLP:RED"}, {"name": "new"}],
            Attribute=[ip(uuid=uid(10), Tag=[{"name": "new"}])],
        )
        api.edit(Tag=[{"name": "other"}])
        assert [tag["name"] for tag in api.event()["Tag"]] == ["tlp:red"]
        assert "Tag" not in api.event()["Attribute"][0]
        answer = api.post("/tags/attachTagToObject", {"uuid": uid(1), "tag": "new"})
        assert answer.status_code == 403
        reasons = '{"0": "Tag not found and insufficient privileges to create it."}'
        assert answer.json()["errors"] == f"Failed to attach 1 tags. Reasons: {reasons}"
        assert api.post("/tags/add", {"name": "new"}).status_code == 403


def test_unknown_sharing_group() -> None:
    with MispDouble(sharing_groups=["friends"]) as misp:
        api = Api(misp)
        answer = api.add(distribution=4, sharing_group_id=9)
        assert (answer.status_code, answer.json()["message"]) == (
            405,
            "Invalid Sharing Group or not authorised.",
        )
        group = api.get("/sharing_groups/index").json()["response"][0]["SharingGroup"]["id"]
        levels = [
            ip("192.0.2.1", distribution=4, sharing_group_id=9),
            ip("192.0.2.2", distribution=4, sharing_group_id=group),
        ]
        api.add(distribution=4, sharing_group_id=group, Attribute=levels)
        assert [stored["distribution"] for stored in api.event()["Attribute"]] == ["0", "4"]


# what the server makes of values


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("domain", " Evil[.]Example ", "evil.example"),
        ("url", "hxxp://evil[.]example/A", "http://evil.example/A"),
        ("domain", "müller.example", "xn--mller-kva.example"),
        ("ip-dst", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("ip-dst", "192.0.2.1/32", "192.0.2.1"), ("ip-dst|port", "192.0.2.1:80", "192.0.2.1|80"),
        ("ip-src|port", "[2001:db8:0::1]:80", "2001:db8::1|80"), ("AS", "AS123", "123"),
        ("md5", "A" * 32, "a" * 32),
        ("mac-address", "AA-BB-CC-DD-EE-FF", "aa:bb:cc:dd:ee:ff"),
        ("text", "hi \U0001f600", "hi ?"),
        ("vulnerability", "cve-2026–12345", "CVE-2026-12345"),
        ("email-src", "Bad[at]Evil.Example", "bad@evil.example"),
        ("filename|md5", "A.exe|" + "B" * 32, "A.exe|" + "b" * 32),
    ],
)  # fmt: skip
def test_values_are_normalised(api: Api, kind: str, sent: str, kept: str) -> None:
    api.add(Attribute=[{"type": kind, "value": sent}])
    assert api.values() == [kept]


def test_defaults_come_from_the_type(api: Api) -> None:
    api.add(
        Attribute=[
            {"type": "comment", "value": "x"},
            {
                "type": "sha256",
                "value": "a" * 64,
                "first_seen": "2026-01-01T01:00:00.123456789+01:00",
            },
        ]
    )
    comment, sha = api.event()["Attribute"]
    assert (comment["to_ids"], comment["category"], sha["to_ids"]) == (False, "Other", True)
    assert sha["first_seen"] == "2026-01-01T00:00:00.123456+00:00"


@pytest.mark.parametrize(
    "fields", [{"info": "\U0001f600"}, {"info": "x" * 65_536}, {"timestamp": "soon"}]
)
def test_event_fields_that_crash_the_database(
    api: Api, misp: MispDouble, fields: dict[str, Any]
) -> None:
    assert api.add(**fields).status_code == 500
    assert not misp.events


def test_a_500_half_way_leaves_a_partial_event_that_an_edit_repairs(api: Api) -> None:
    parts = [
        ip("192.0.2.1", uuid=uid(10)),
        ip("192.0.2.2", uuid=uid(11), comment="x" * 65_536),
        ip("192.0.2.3", uuid=uid(12)),
    ]
    assert api.add(Attribute=parts).status_code == 500
    assert api.values() == ["192.0.2.1"]
    assert api.add(Attribute=parts).status_code == 404
    parts[1]["comment"] = "short"
    assert api.edit(Attribute=parts).status_code == 200
    assert len(api.values()) == 3


def test_report_without_a_name_is_dropped(api: Api) -> None:
    api.add(EventReport=[{"content": "c"}, {"name": "good"}])
    assert [report["name"] for report in api.event()["EventReport"]] == ["good"]


def test_report_over_16_mb_is_a_500(api: Api) -> None:
    assert (
        api.add(EventReport=[{"name": "r", "content": "x" * (16 * 1024 * 1024)}]).status_code == 500
    )


def test_long_tag_is_cut_and_both_tlp_are_kept(api: Api) -> None:
    api.add(
        Tag=[{"name": "x" * 300}], Attribute=[ip(Tag=[{"name": "tlp:red"}, {"name": "tlp:green"}])]
    )
    assert api.event()["Tag"][0]["name"] == "x" * 255
    assert [tag["name"] for tag in api.event()["Attribute"][0]["Tag"]] == ["tlp:red", "tlp:green"]


def test_known_galaxy_tag_is_case_normalised_and_brings_its_galaxy() -> None:
    name = 'misp-galaxy:mitre-intrusion-set="APT28 - G0007"'
    with MispDouble(clusters={name: {"value": "APT28 - G0007"}}) as misp:
        api = Api(misp)
        tags = [{"name": name.replace("APT", "apt")}, {"name": 'misp-galaxy:tool="unknown"'}]
        api.add(Attribute=[ip(Tag=tags)], Galaxy=[{"name": "custom", "GalaxyCluster": []}])
        stored = api.event()["Attribute"][0]
        assert [tag["name"] for tag in stored["Tag"]] == [name, 'misp-galaxy:tool="unknown"']
        assert stored["Galaxy"][0]["GalaxyCluster"][0]["value"] == "APT28 - G0007"
        assert api.event()["Galaxy"] == []
        assert (
            api.post("/galaxy_clusters/add/1", {"value": "Mine", "uuid": uid(90)}).status_code
            == 200
        )
        everything = api.post("/galaxy_clusters/restSearch", {"value": "nothing like it"}).json()[
            "response"
        ]
        one = api.post("/galaxy_clusters/restSearch", {"tag_name": name}).json()["response"]
        assert (len(everything), len(one)) == (2, 1)
        api.edit(Tag=[{"name": f'misp-galaxy:mitre-intrusion-set="{uid(90)}"'}])
        assert api.event()["Galaxy"][0]["GalaxyCluster"][0]["value"] == "Mine"


def test_analyst_data_inline_is_stored(api: Api, misp: MispDouble) -> None:
    relation = {
        "uuid": uid(80),
        "related_object_uuid": uid(11),
        "related_object_type": "Attribute",
        "relationship_type": "uses",
    }
    api.add(
        Attribute=[
            ip("192.0.2.1", uuid=uid(10), Relationship=[relation]),
            ip("192.0.2.2", uuid=uid(11)),
        ]
    )
    assert api.event()["Attribute"][0]["Relationship"][0]["relationship_type"] == "uses"
    note = api.post(f"/analyst_data/add/Note/{uid(10)}/Attribute", {"note": "hello"}).json()["Note"]
    assert (note["note"], len(misp.attribute(uid(10))["Note"])) == ("hello", 1)


def test_orgc_is_replaced_for_users_and_created_for_sync() -> None:
    other = {"name": "VENDOR", "uuid": uid(60)}
    with MispDouble(role="user") as misp:
        assert Api(misp).add(Orgc=other).json()["Event"]["Orgc"]["uuid"] == misp.org["uuid"]
    with MispDouble(role="sync") as misp:
        api = Api(misp)
        assert api.add(1, Orgc=other).json()["Event"]["Orgc"]["name"] == "VENDOR"
        assert api.edit(1, info="changed").status_code == 403
        api.add(2, Orgc=other, locked=True)
        assert api.edit(2, info="changed").status_code == 200
        again = api.add(3, Orgc={"name": "VENDOR", "uuid": uid(61)}).json()["Event"]["Orgc"]["name"]
        assert again.startswith("VENDOR_") and again[7:].isdigit()
