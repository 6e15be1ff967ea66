"""What analysts did is told apart from what we did, whatever the source does afterwards."""

import contextlib
import json
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import NOW, Bridge, actions, bridge_to, reasons
from helpers.delivering import (
    SECONDS,
    Delivering,
    attribute,
    changed,
    event,
    file_object,
    noted,
    report,
    sink_of,
    tagged,
    tags,
)
from helpers.misp import Misp

from stixbridge import times
from stixbridge.config.build import make_pipelines
from stixbridge.envelopes import Wanted
from stixbridge.pipeline.dry_run import rehearse
from stixbridge.pipeline.records import StoreRecord
from stixbridge.sinks.delivery import Job, State
from stixbridge.sinks.fields import OBJECT_HEAD
from stixbridge.sinks.withdrawal import emptied

A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"
Json = dict[str, Any]


# what was cleared or deleted


def test_to_ids_that_an_analyst_cleared_stays_off_when_the_source_prolongs(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    one = stix.indicator(A, valid_until="2026-01-12T00:00:00Z")
    bridge.poll(one, stix.report("wave", [one]))
    (row,) = double.find(A)
    double.analyst_edit(row["uuid"], to_ids=False, comment="our own mail relay")
    bridge.run(now="2026-01-13T00:00:00Z")
    longer = stix.indicator(A, valid_until="2026-02-12T00:00:00Z", modified="2026-01-13T01:00:00Z")
    bridge.poll(longer, now="2026-01-14T00:00:00Z")
    (row,) = double.find(A)
    assert (row["to_ids"], row["comment"]) == (False, "our own mail relay")
    bridge.close()


def test_to_ids_that_only_the_source_cleared_comes_back(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    for on in (True, False, True):
        deliver(event(event_uuid, changed(part, to_ids=on)))
        assert misp.part(event_uuid, part["uuid"])["to_ids"] is on


@pytest.mark.parametrize("whose", ["an analyst", "the source"])
def test_what_was_deleted_and_comes_back_at_the_source(misp: Misp, whose: str) -> None:
    event_uuid = misp.fresh()
    one, two = attribute(event_uuid, A), attribute(event_uuid, B)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, one, two))
    if whose == "an analyst":
        misp.delete(two["uuid"])
    deliver(event(event_uuid, one))
    delivery = deliver(event(event_uuid, one, two))
    gone = misp.part(event_uuid, two["uuid"])["deleted"] in (True, "1")
    assert gone is (whose == "an analyst")
    assert ((two["uuid"], "conflict") in noted(delivery)) is gone
    misp.forget()
    deliver(event(event_uuid, one, two))
    assert misp.writes() == []


def test_a_field_that_an_analyst_had_changed_alike_first_is_his(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, part, distribution="3"))
    misp.post(f"/events/edit/{event_uuid}", {"Event": {"distribution": "0"}})
    deliver(event(event_uuid, part, distribution="0"))
    deliver(event(event_uuid, part, distribution="3"))
    stored = misp.event(event_uuid)
    assert stored is not None
    assert str(stored["distribution"]) == "0"


# what was added or corrected


def test_what_an_analyst_added_to_an_object_stays_when_it_is_withdrawn(misp: Misp) -> None:
    event_uuid = misp.fresh()
    obj = file_object(event_uuid)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, attribute(event_uuid, A), Object=[obj]))
    found = {
        "uuid": str(uuid.uuid4()), "type": "sha256", "value": "a" * 64, "object_relation": "sha256",
        "category": "Payload delivery", "comment": "found in our sandbox",
    }  # fmt: skip
    head = {key: obj[key] for key in OBJECT_HEAD if key in obj}
    misp.post(f"/events/edit/{event_uuid}", {"Event": {"Object": [{**head, "Attribute": [found]}]}})
    delivery = deliver(event(event_uuid, attribute(event_uuid, A)))
    assert (obj["uuid"], "conflict") in noted(delivery)
    assert misp.part(event_uuid, found["uuid"])["deleted"] in (False, "0")
    for inner in obj["Attribute"]:
        assert misp.part(event_uuid, inner["uuid"])["deleted"] in (True, "1")


def test_a_value_that_an_analyst_corrected_is_his(misp: Misp) -> None:
    event_uuid = misp.fresh()
    one, two = attribute(event_uuid, A), attribute(event_uuid, B)
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, one, two))
    misp.edit(one["uuid"], value="203.0.113.9", comment="typo of the vendor")
    delivery = deliver(event(event_uuid, two))
    assert (one["uuid"], "conflict") in noted(delivery)
    stored = misp.part(event_uuid, one["uuid"])
    assert (stored["value"], stored["deleted"] in (True, "1")) == ("203.0.113.9", False)


def test_a_value_that_misp_normalises_is_withdrawn_all_the_same(misp: Misp) -> None:
    event_uuid = misp.fresh()
    rows = [
        attribute(event_uuid, "Host.Example", "domain"),
        attribute(event_uuid, "2001:0DB8::0001"),
        attribute(event_uuid, B),
    ]
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, *rows))
    assert deliver(event(event_uuid, rows[-1])).notes == []
    for row in rows[:-1]:
        assert misp.part(event_uuid, row["uuid"])["deleted"] in (True, "1")


def test_the_text_of_a_report_that_an_analyst_rewrote_stays(misp: Misp) -> None:
    event_uuid = misp.fresh()
    text, other = report(event_uuid, "Text", "first"), report(event_uuid, "Other", "second")
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, attribute(event_uuid, A), EventReport=[text, other]))
    misp.post(
        f"/events/edit/{event_uuid}",
        {"Event": {"EventReport": [{"uuid": text["uuid"], "name": "Text", "content": "mine"}]}},
    )
    delivery = deliver(event(event_uuid, attribute(event_uuid, A)))
    assert noted(delivery) == [(text["uuid"], "conflict")]
    assert (
        misp.part(event_uuid, text["uuid"])["content"],
        misp.part(event_uuid, text["uuid"])["deleted"],
    ) == (
        "mine",
        False,
    )
    assert misp.part(event_uuid, other["uuid"])["deleted"] in (True, "1")


# tags


def test_a_tag_that_an_analyst_set_first_stays_when_the_source_drops_it(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    misp.make_tag("stixbridge-test:todo")
    deliver = Delivering(sink_of(misp))
    deliver(event(event_uuid, part, Tag=tags("tlp:green"), distribution="1"))
    misp.tag(event_uuid, "tlp:red")
    misp.tag(event_uuid, "stixbridge-test:todo")
    deliver(event(event_uuid, part, Tag=tags("tlp:red", "stixbridge-test:todo"), distribution="0"))
    deliver(event(event_uuid, part, Tag=tags("tlp:green"), distribution="1"))
    stored = misp.event(event_uuid)
    assert stored is not None
    assert {"tlp:red", "stixbridge-test:todo"} <= set(tagged(stored))
    assert str(stored["distribution"]) == "0"


def test_a_tag_that_one_part_loses_is_not_forgotten_of_the_others(double: MispDouble) -> None:
    event_uuid = str(uuid.uuid4())
    one, two = attribute(event_uuid, A, Tag=tags("x:y")), attribute(event_uuid, B)
    deliver = Delivering(sink_of(double))
    deliver(event(event_uuid, one, two))
    double.analyst_untag(one["uuid"], "x:y")
    double.lose_tag("x:y")
    both = event(event_uuid, one, changed(two, Tag=tags("x:y")))
    assert deliver(both).incomplete
    double.lose_tag("x:y", lost=False)
    deliver(both)
    rows = {row["value"]: tagged(row) for row in double.events[event_uuid]["Attribute"]}
    assert rows == {A: [], B: ["x:y"]}


# whole events


WORK = {
    "a title": lambda misp, event_uuid: misp.post(
        f"/events/edit/{event_uuid}", {"Event": {"info": "Case 4711"}}
    ),
    "an event that extends it": lambda misp, event_uuid: misp.add_event(
        event(misp.fresh(), extends_uuid=event_uuid)
    ),
    "a note": lambda misp, event_uuid: misp.post(
        f"/analyst_data/add/Note/{event_uuid}/Event", {"note": "mine"}
    ),
}


@pytest.mark.parametrize("work", WORK)
def test_an_empty_event_that_somebody_works_on_is_not_deleted(misp: Misp, work: str) -> None:
    event_uuid = misp.fresh()
    wanted = event(event_uuid, attribute(event_uuid, A))
    deliver = Delivering(sink_of(misp, empty="delete"))
    deliver(wanted)
    WORK[work](misp, event_uuid)
    assert deliver(emptied(wanted)).state is State.DELIVERED
    assert misp.event(event_uuid) is not None


def test_two_reports_of_one_title_don_t_take_over_the_same_event(
    double: MispDouble, tmp_path: Path
) -> None:
    script = str(uuid.uuid4())
    both = [attribute(script, A), attribute(script, B)]
    double.analyst_event(event(script, *both, info="Weekly"))
    bridge = bridge_to(double, tmp_path)  # for its store
    sink = sink_of(double, foreign="adopt", recognise="title", concurrency=2)
    real = sink._api.titled
    both_asked = threading.Barrier(2)

    def titled(info: str) -> list[str]:
        found = real(info)
        with contextlib.suppress(threading.BrokenBarrierError):
            both_asked.wait(0.2)  # the other gets its chance to find the same
        return found

    sink._api.titled = titled  # type: ignore[method-assign]
    uuids = [str(uuid.uuid4()) for _ in range(2)]
    jobs = [
        Job(
            Wanted(event(event_uuid, attribute(event_uuid, value), info="Weekly")),
            None,
            StoreRecord(bridge.store, "misp", event_uuid, 1),
            now=SECONDS,
        )
        for event_uuid, value in zip(uuids, (A, B), strict=True)
    ]
    adopted = [delivery.delivered.adopted for delivery in sink.deliver(jobs)]
    taken = [one.event if one is not None else None for one in adopted]
    assert sorted(taken, key=str) == [script, None] or sorted(taken, key=str) == [None, script]
    assert len(double.events) == 2
    bridge.close()


def test_an_event_of_two_sources_keeps_its_title_when_one_is_emptied(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = Bridge(
        tmp_path,
        {"misp": {"type": "misp", "url": double.url, "key": double.key}},
        sources={"umbra": {"type": "files"}},
    )
    one, two = stix.indicator(A), stix.indicator(B)
    bridge.poll(one, stix.report("wave", [one]), source="acme")
    number = bridge.poll(two, stix.report("wave", [two], modified=stix.LATER), source="umbra").run
    (pipeline,) = make_pipelines(bridge.config, bridge.store, ("umbra",))
    assert pipeline.undo(number, times.microseconds(NOW)).errors == []
    pipeline.close()
    (stored,) = double.events.values()
    assert stored["info"] == "wave"
    assert actions(
        bridge.poll(stix.indicator(A, modified=stix.LATER, name="newer"), source="acme")
    ) == {"updated": 1}
    bridge.close()


# what was lost


def test_a_misp_restored_from_a_backup_gets_back_what_it_lost(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    one, two, three = (stix.indicator(value) for value in (A, B, C))
    bridge.poll(one, two, stix.report("wave", [one, two]), three, stix.report("other", [three]))
    wave, other = (stix.uuid_in(stix.stix_id("report", name)) for name in ("wave", "other"))
    (lost,) = [row for row in double.events[wave]["Attribute"] if row["value"] == B]
    double.store.forget_attribute(double.store.attributes[lost["uuid"]])
    double.store.forget_event(double.events[other])
    double.store.blocklist.clear()
    bridge.close()
    bridge = bridge_to(double, tmp_path, deleted="restore")
    assert actions(bridge.run()) == {}  # a run looks at what is new
    summary = bridge.run(replay=True)
    assert summary.errors == []
    assert [len(double.find(value)) for value in (A, B, C)] == [1, 1, 1]
    double.requests.clear()
    assert bridge.run(replay=True).errors == []
    assert double.writes() == []
    bridge.close()


def test_what_an_analyst_deleted_stays_blocked_with_restore_too(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path, deleted="restore")
    one = stix.indicator(A)
    bridge.poll(one, stix.report("wave", [one]))
    (event_uuid,) = double.events
    double.store.forget_event(double.events[event_uuid])  # as MISP does: on the blocklist
    assert bridge.run(replay=True).events == {"blocked": 1}
    assert double.events == {}
    bridge.close()


def test_policy_restores_what_an_analyst_deleted_when_the_source_changes_it(misp: Misp) -> None:
    event_uuid = misp.fresh()
    part = attribute(event_uuid, A)
    deliver = Delivering(sink_of(misp, deleted="restore"))
    deliver(event(event_uuid, part, attribute(event_uuid, B)))
    misp.delete(part["uuid"])
    deliver(event(event_uuid, part, attribute(event_uuid, B, comment="newer")))
    assert misp.part(event_uuid, part["uuid"])["deleted"] in (True, "1")
    deliver(event(event_uuid, changed(part, comment="newer"), attribute(event_uuid, B)))
    assert misp.part(event_uuid, part["uuid"])["deleted"] in (False, "0")


# what moves to another event


def test_what_an_analyst_did_to_a_value_goes_with_it_into_a_report(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    members = [stix.indicator(value, name=f"feed {value}") for value in (A, B, C)]
    bridge.poll(*members)
    rows = {
        row["value"]: row["uuid"]
        for stored in double.events.values()
        for row in stored["Attribute"]
    }
    double.analyst_edit(rows[A], to_ids=False, comment="checked: benign")
    double.analyst_tag(rows[A], "ours:seen")
    double.analyst_delete(rows[B])
    (tmp_path / "acme" / "99.json").write_text(
        json.dumps(stix.bundle([stix.report("wave", members)]))
    )
    (pipeline,) = make_pipelines(bridge.config, bridge.store, ("acme",))
    shown = rehearse(pipeline, times.microseconds(NOW))
    pipeline.close()
    summary = bridge.run()
    assert (
        len([text for text in reasons(summary)["conflict"] if "where it comes from" in text]) == 2
    )
    assert reasons(shown) == reasons(summary)
    wave = double.events[stix.uuid_in(stix.stix_id("report", "wave"))]
    found = {row["value"]: row for row in wave["Attribute"] if not row["deleted"]}
    assert found.keys() == {A, C}
    assert (found[A]["to_ids"], found[A]["comment"], tagged(found[A])) == (
        False,
        "checked: benign",
        ["ours:seen"],
    )
    assert (found[C]["to_ids"], found[C]["comment"]) == (True, f"feed {C}")
    # it stays his, whatever the source says later, and comes back with the member
    newer = [
        stix.indicator(value, name=f"newer {value}", modified=stix.LATER) for value in (A, B, C)
    ]
    bridge.poll(*newer)
    found = {row["value"]: row for row in wave["Attribute"] if not row["deleted"]}
    assert found.keys() == {A, C}
    assert (found[A]["to_ids"], found[A]["comment"], found[C]["comment"]) == (
        False,
        "checked: benign",
        f"newer {C}",
    )
    bridge.poll(stix.report("wave", [newer[2]], modified=stix.LATER))
    live = {
        row["value"]: row
        for stored in double.events.values()
        for row in stored["Attribute"]
        if not row["deleted"]
    }
    assert live.keys() == {A, C}
    assert (live[A]["to_ids"], live[A]["comment"]) == (False, "checked: benign")
    assert actions(bridge.run()) == {}
    bridge.close()


def test_what_was_written_for_fewer_does_not_go_where_more_read(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    bridge.poll(stix.indicator(A, tlp="red"))
    (row,) = double.find(A)
    double.analyst_edit(row["uuid"], to_ids=False, comment="our victim")
    green = stix.indicator(A, tlp="green", modified=stix.LATER)
    bridge.poll(green, stix.report("wave", [green], tlp="green"))
    (found,) = [row for row in double.find(A) if not row["deleted"]]
    assert (found["to_ids"], found["comment"]) == (False, "")
    bridge.close()
