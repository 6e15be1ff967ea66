"""How a MISP answers, call by call, without the sink: the double has to answer as a real one does.

Each row is asked of the double, and of a real MISP where MISP_URL and MISP_KEY name one.
"""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from helpers.delivering import (
    SECONDS,
    attribute,
    changed,
    derived,
    event,
    file_object,
    report,
    sighting,
    tagged,
    tags,
)
from helpers.misp import Misp

Json = dict[str, Any]
A, B = "198.51.100.1", "198.51.100.2"
NOWHERE = "00000000-0000-4000-8000-00000000dead"


class Server:
    """A MISP with one event in it.

    Args:
        misp: the MISP.
    """

    def __init__(self, misp: Misp) -> None:
        self.misp = misp
        self.own = misp.fresh()
        self.part = attribute(self.own, A)
        self.id = str(misp.add_event(event(self.own, self.part))["id"])

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return self.misp.http.post(path, json=body, **more)

    def edit(self, **fields: Any) -> httpx.Response:
        return self.post(f"/events/edit/{self.own}", {"Event": fields})

    def event(self) -> Json:
        found = self.misp.event(self.own)
        assert found is not None
        return found

    def row(self) -> Json:
        return self.misp.part(self.own, self.part["uuid"])

    def values(self) -> list[str]:
        return [str(row["value"]) for row in self.event()["Attribute"]]


@pytest.fixture
def server(misp: Misp) -> Server:
    return Server(misp)


BAD = {"type": "ip-dst", "category": "Network activity", "value": "x"}
Answers = dict[str, tuple[Callable[[Server], httpx.Response], int, str]]

ANSWERS: Answers = {
    "a UUID that exists": (
        lambda on: on.post("/events/add", event(on.own, on.part)),
        404,
        "Event already exists",
    ),
    "an empty body": (lambda on: on.post("/events/add", {}), 405, "No valid event data received."),
    "broken JSON": (
        lambda on: on.misp.http.post(
            "/events/add", content=b"{", headers={"Content-Type": "application/json"}
        ),
        405,
        "Invalid JSON input",
    ),
    "a bad field": (
        lambda on: on.post("/events/add", event(on.misp.fresh(), info="")),
        403,
        "Info cannot be empty.",
    ),
    "published and empty": (
        lambda on: on.post("/events/add", event(on.misp.fresh(), published=True)),
        403,
        "published event that was empty",
    ),
    "an edit that is not newer": (
        lambda on: on.edit(timestamp=str(SECONDS), info="x"),
        403,
        "not newer than",
    ),
    "an edit of nothing that is there": (
        lambda on: on.post(f"/events/edit/{NOWHERE}", {"Event": {}}),
        404,
        "",
    ),
    "an attribute with a bad value": (
        lambda on: on.post(
            f"/attributes/add/{on.id}",
            {"type": "ip-dst", "category": "Network activity", "value": "x"},
        ),
        403,
        "IP address has an invalid format.",
    ),
    "a value that is there": (
        lambda on: on.post(
            f"/attributes/add/{on.id}",
            {"type": "ip-dst", "category": "Network activity", "value": A},
        ),
        403,
        "A similar attribute already exists for this event.",
    ),
    "an attribute of no type": (
        lambda on: on.post(
            f"/attributes/add/{on.id}", {"type": "none", "category": "Other", "value": "x"}
        ),
        403,
        "Invalid type.",
    ),
    "an attribute in another category": (
        lambda on: on.post(
            f"/attributes/add/{on.id}", {"type": "ip-dst", "category": "Person", "value": B}
        ),
        403,
        "Options depend on the selected category.",
    ),
    "attributes that are all bad": (
        lambda on: on.post(f"/attributes/add/{on.id}", [BAD, {**BAD, "value": "y"}]),
        403,
        "IP address has an invalid format.",
    ),
    "an object with a bad attribute": (
        lambda on: on.post(f"/objects/add/{on.id}", file_object(on.own, md5="no hash")),
        403,
        "hecksum",
    ),
    "a reference to nothing": (
        lambda on: on.post(
            "/object_references/add",
            {"object_uuid": _with_object(on), "referenced_uuid": NOWHERE, "relationship_type": "x"},
        ),
        404,
        "Invalid target.",
    ),
    "publishing": (lambda on: on.post(f"/events/publish/{on.id}"), 200, "published without alerts"),
    "publishing nothing": (lambda on: on.post("/events/publish/999999999"), 404, "Invalid event."),
    "a sighting of nothing": (
        lambda on: on.post("/sightings/add", {"value": "nothing.example.org", "type": "0"}),
        200,
        "No valid attributes found",
    ),
    "a report by the event's UUID": (
        lambda on: on.post(f"/eventReports/add/{on.own}", {"name": "x", "content": "y"}),
        403,
        "numeric",
    ),
    "an unknown sharing group": (
        lambda on: on.post(
            "/events/add", event(on.misp.fresh(), distribution="4", sharing_group_id="999999")
        ),
        405,
        "Invalid Sharing Group",
    ),
    "a note that is not there": (
        lambda on: on.post(f"/analyst_data/edit/Note/{NOWHERE}", {"note": "x"}),
        404,
        "Invalid",
    ),
}


def _with_object(on: Server) -> str:
    made = file_object(on.own)
    on.edit(Object=[made])
    return str(made["uuid"])


@pytest.mark.parametrize("row", ANSWERS)
def test_an_answer(server: Server, row: str) -> None:
    ask, status, text = ANSWERS[row]
    answer = ask(server)
    assert (answer.status_code, text.lower() in answer.text.lower()) == (status, True), answer.text[
        :400
    ]


def test_where_the_event_is_that_exists(server: Server) -> None:
    location = server.post("/events/add", event(server.own, server.part)).headers["Location"]
    assert location.rstrip("/").endswith(f"/events/{server.id}")


def test_an_event_that_was_deleted_is_blocked(server: Server) -> None:
    server.misp.delete_event(server.own)
    answer = server.post("/events/add", event(server.own, server.part))
    assert (answer.status_code, "blocked by event blocklist" in answer.text) == (403, True)


DROPPED: dict[str, Callable[[Server], Json]] = {
    "a bad value": lambda on: {"Attribute": [attribute(on.own, "x")]},
    "no type": lambda on: {"Attribute": [attribute(on.own, "x", "none")]},
    "another category": lambda on: {"Attribute": [attribute(on.own, B, category="Person")]},
    "a UUID that is used": lambda on: {"Attribute": [attribute(on.own, B, uuid=_elsewhere(on))]},
    "seen last before first": lambda on: {
        "Attribute": [
            attribute(
                on.own, B, first_seen="2026-02-01T00:00:00Z", last_seen="2026-01-01T00:00:00Z"
            )
        ]
    },
    "a value that is too long": lambda on: {
        "Attribute": [attribute(on.own, "x" * 65_536, "text", category="Other")]
    },
    "an object without a template": lambda on: {
        "Object": [
            {key: value for key, value in file_object(on.own).items() if key != "template_uuid"}
        ]
    },
    "an object of bad attributes": lambda on: {
        "Object": [
            {
                **file_object(on.own),
                "Attribute": file_object(on.own, md5="no hash")["Attribute"][1:],
            }
        ]
    },
    "a report without a name": lambda on: {"EventReport": [report(on.own, " ", "x")]},
    "a note in a report": lambda on: {
        "EventReport": [{**report(on.own, "x", "y"), "Note": [note(on, "z")]}]
    },
}


def _elsewhere(on: Server) -> str:
    other = on.misp.fresh()
    made = attribute(other, B)
    on.misp.add_event(event(other, made))
    return str(made["uuid"])


def note(on: Server, text: str, **more: Any) -> Json:
    return {
        "uuid": derived(on.own, "note"),
        "note": text,
        "language": "en",
        "distribution": "0",
        **more,
    }


@pytest.mark.parametrize("how", ["add", "edit"])
@pytest.mark.parametrize("row", DROPPED)
def test_what_is_dropped_in_silence(server: Server, row: str, how: str) -> None:
    parts = DROPPED[row](server)
    event_uuid = server.own
    if how == "add":
        event_uuid = server.misp.fresh()
        body = {**event(event_uuid), **parts}
        answer = server.post("/events/add", body)
    else:
        answer = server.edit(**parts)
    assert (answer.status_code, "errors" in answer.json()) == (200, False), answer.text[:300]
    stored = server.misp.event(event_uuid)
    assert stored is not None
    assert len(stored["Attribute"]) == (how == "edit")
    assert stored["Object"] == []
    assert [one.get("Note") or [] for one in stored["EventReport"]] == (
        [[]] if row == "a note in a report" else []
    )


def test_an_edit_of_a_stored_part_is_dropped_whole_for_one_bad_field(server: Server) -> None:
    answer = server.edit(
        Attribute=[{"uuid": server.part["uuid"], "to_ids": False, "category": "none"}]
    )
    assert answer.status_code == 200
    assert server.row()["to_ids"] is True


def test_equal_values_in_one_event(server: Server) -> None:
    event_uuid = server.misp.fresh()
    rows = [
        attribute(event_uuid, text, "domain", uuid=str(uuid.uuid4()))
        for text in ("x.example", "x.example")
    ]
    server.post("/events/add", event(event_uuid, *rows))
    stored = server.misp.event(event_uuid)
    assert stored is not None
    assert [row["uuid"] for row in stored["Attribute"]] == [rows[0]["uuid"]]


def test_values_are_compared_before_they_are_normalised(server: Server) -> None:
    event_uuid = server.misp.fresh()
    rows = [
        attribute(event_uuid, text, "domain", uuid=str(uuid.uuid4()))
        for text in ("Dup.example", "dup.example")
    ]
    server.post("/events/add", event(event_uuid, *rows))
    stored = server.misp.event(event_uuid)
    assert stored is not None
    assert [row["value"] for row in stored["Attribute"]] == ["dup.example", "dup.example"]


def test_a_part_that_is_not_newer_is_ignored_with_its_tags(server: Server) -> None:
    server.edit(Attribute=[{**server.part, "comment": "x", "Tag": tags("tlp:green")}])
    assert (server.row()["comment"], tagged(server.row())) == ("", [])
    plain = {"uuid": server.part["uuid"], "comment": "x", "Tag": tags("tlp:green", "tlp:red")}
    server.edit(Attribute=[plain])
    assert (server.row()["comment"], tagged(server.row())) == ("x", ["tlp:green", "tlp:red"])
    server.edit(
        Attribute=[{"uuid": server.part["uuid"], "Tag": [{"name": "tlp:red", "deleted": 1}]}]
    )
    assert tagged(server.row()) == ["tlp:green"]


def test_what_was_soft_deleted(server: Server) -> None:
    server.misp.delete(server.part["uuid"])
    plain = {key: value for key, value in server.part.items() if key != "timestamp"}
    server.edit(Attribute=[plain])
    assert server.row()["deleted"] in (True, "1")
    answer = server.post(f"/attributes/add/{server.id}", plain)
    assert (answer.status_code, "The UUID provided is not unique" in answer.text) == (403, True)
    server.edit(Attribute=[{**plain, "deleted": False}])
    assert server.row()["deleted"] in (False, "0")


def test_of_several_attributes_the_good_ones_are_added(server: Server) -> None:
    rows = [
        {"type": "ip-dst", "category": "Network activity", "value": value} for value in ("x", B)
    ]
    answer = server.post(f"/attributes/add/{server.id}", rows).json()
    assert isinstance(answer["Attribute"], dict)
    assert list(answer["errors"]) == ["attribute_0"]


def test_an_edit_unpublishes(server: Server) -> None:
    server.post(f"/events/publish/{server.id}")
    assert server.event()["published"] in (True, "1")
    assert server.post(f"/events/publish/{server.id}").status_code == 200
    server.edit(Attribute=[{"uuid": server.part["uuid"], "comment": "x"}])
    assert server.event()["published"] in (False, "0")


def test_sightings(server: Server) -> None:
    said = sighting(server.own, "s")
    server.edit(Attribute=[{**server.part, "Sighting": [said]}])
    assert server.row().get("Sighting", []) == []
    for _ in range(2):
        server.edit(Attribute=[{"uuid": server.part["uuid"], "Sighting": [said]}])
    assert [row["uuid"] for row in server.row()["Sighting"]] == [said["uuid"]]
    for _ in range(2):
        server.post("/sightings/add", {"uuid": server.part["uuid"], "type": "0"})
    assert len(server.row()["Sighting"]) == 3


def test_analyst_data(server: Server) -> None:
    """One that is there is changed by a call of its own; searches and answers of writes show none
    by themselves.
    """
    row = {"uuid": server.part["uuid"]}
    answer = server.edit(Attribute=[{**row, "Note": [note(server, "first")]}])
    assert "Note" not in answer.json()["Event"]["Attribute"][0]
    server.edit(
        Attribute=[{**row, "Note": [note(server, "second", modified="2036-01-01 00:00:00")]}]
    )
    assert [one["note"] for one in server.row()["Note"]] == ["first"]
    asked = {"returnFormat": "json", "uuid": [server.own]}
    for more, shown in (({}, False), ({"includeAnalystData": 1}, True)):
        found = server.post("/events/restSearch", {**asked, **more}).json()["response"][0]["Event"]
        assert bool(found["Attribute"][0].get("Note")) is shown
    event_uuid = note(server, "")["uuid"]
    assert (
        server.post(f"/analyst_data/edit/Note/{event_uuid}", {"note": "third"}).status_code == 200
    )
    assert [one["note"] for one in server.row()["Note"]] == ["third"]
    assert server.post(f"/analyst_data/delete/Note/{event_uuid}/0").status_code == 200
    server.edit(Attribute=[{**row, "Note": [note(server, "again")]}])
    assert [one["note"] for one in server.row()["Note"]] == ["again"]
    server.post(f"/analyst_data/delete/Note/{event_uuid}")
    server.edit(Attribute=[{**row, "Note": [note(server, "blocked")]}])
    assert server.row().get("Note", []) == []


def test_a_relationship_keeps_its_type(server: Server) -> None:
    said = {
        "uuid": derived(server.own, "r"), "related_object_uuid": server.own,
        "related_object_type": "Event", "relationship_type": "first", "distribution": "0",
    }  # fmt: skip
    server.edit(Attribute=[{"uuid": server.part["uuid"], "Relationship": [said]}])
    answer = server.post(
        f"/analyst_data/edit/Relationship/{said['uuid']}", {"relationship_type": "second"}
    )
    assert answer.status_code == 200
    assert [one["relationship_type"] for one in server.row()["Relationship"]] == ["first"]


def test_an_edit_of_a_report_sets_what_it_leaves_out(server: Server) -> None:
    text = {**report(server.own, "x", "y"), "distribution": "0"}
    server.edit(EventReport=[text])
    server.edit(EventReport=[{"uuid": text["uuid"], "name": "x", "content": "z"}])
    assert str(server.misp.part(server.own, text["uuid"])["distribution"]) == "5"


def test_timestamps(server: Server) -> None:
    assert str(server.event()["timestamp"]) == str(SECONDS)
    assert str(server.row()["timestamp"]) == str(SECONDS)
    event_uuid = server.misp.fresh()
    late = "2100000000"
    server.post("/events/add", event(event_uuid, attribute(event_uuid, A), timestamp=late))
    assert (
        server.post(
            f"/events/edit/{event_uuid}", {"Event": {"info": "x", "timestamp": "2000000000"}}
        ).status_code
        == 403
    )
    assert server.post(f"/events/edit/{event_uuid}", {"Event": {"info": "x"}}).status_code == 200
    server.misp.tag(server.own, "tlp:green")
    assert int(server.event()["timestamp"]) > SECONDS


FAILING: dict[str, Json] = {
    "emoji in info": {"info": "x\N{FIRE}"},
    "emoji in a comment": {"Attribute": [{"comment": "x\N{FIRE}"}]},
    "emoji in a tag": {"Tag": tags("x\N{FIRE}")},
    "a tag cut inside a character": {"Tag": tags("ü" * 128)},
    "a comment that is too long": {"Attribute": [{"comment": "x" * 65_536}]},
    "a timestamp that is none": {"Attribute": [{"timestamp": "soon"}]},
    "a timestamp that is too late": {"Attribute": [{"timestamp": "2147483648"}]},
}


@pytest.mark.parametrize("row", FAILING)
def test_what_it_fails_on(server: Server, row: str) -> None:
    event_uuid = server.misp.fresh()
    fields = dict(FAILING[row])
    parts = [changed(attribute(event_uuid, A), **one) for one in fields.pop("Attribute", [{}])]
    assert server.post("/events/add", {**event(event_uuid, *parts), **fields}).status_code == 500


NORMALISED = [
    ("domain", "Host.EXAMPLE", "host.example"),
    ("url", "hxxp://host[.]example/", "http://host.example/"),
    ("domain", "bücher.example", "xn--bcher-kva.example"),
    ("ip-dst", "2001:0DB8:0000::0001", "2001:db8::1"),
    ("AS", "AS64500", "64500"),
    ("mac-address", "00-11-22-33-44-55", "00:11:22:33:44:55"),
    ("vulnerability", "cve-2026-0001", "CVE-2026-0001"),
    ("text", " x\N{FIRE} ", "x?"),
]


@pytest.mark.parametrize(("kind", "sent", "stored"), NORMALISED)
def test_values_are_normalised(server: Server, kind: str, sent: str, stored: str) -> None:
    row = {"type": kind, "value": sent, "uuid": str(uuid.uuid4())}
    server.edit(Attribute=[row])
    assert server.misp.part(server.own, row["uuid"])["value"] == stored


def test_a_search_of_attributes(server: Server) -> None:
    answer = server.post(
        "/attributes/restSearch", {"returnFormat": "json", "uuid": [server.part["uuid"]]}
    )
    assert [row["value"] for row in answer.json()["response"]["Attribute"]] == [A]
    assert answer.headers["X-Result-Count"] == "1"


def test_an_answer_without_parts(server: Server) -> None:
    answer = server.post(f"/events/edit/{server.own}/metadata:1", {"Event": {"info": "x"}})
    assert "Attribute" not in answer.json()["Event"]
    assert server.values() == [A]


def test_without_the_header_it_is_a_web_page(server: Server) -> None:
    answer = server.misp.http.get("/servers/getVersion", headers={"Accept": "*/*"})
    assert "json" not in answer.headers.get("Content-Type", "") or "version" not in answer.text
