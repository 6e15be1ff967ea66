"""Large events in several requests, and several events in flight: the same end as in one, wherever
it is cut.
"""

import threading
import time
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers.delivering import (
    Delivering,
    attribute,
    changed,
    event,
    file_object,
    noted,
    report,
    sink_of,
    tags,
)

from stixbridge.envelopes import Wanted
from stixbridge.errors import ServerError
from stixbridge.sinks.delivery import Job, LastDelivery, State
from stixbridge.sinks.misp.chunks import chunks
from stixbridge.sinks.misp.parallel import Parallel
from stixbridge.sinks.misp.tags import NewTags

pytestmark = pytest.mark.usefixtures("no_waiting")

Json = dict[str, Any]
ONE = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"


def large(count: int = 25) -> Json:
    """An event of attributes, two objects that refer to each other and to an attribute, and a
    report.
    """
    rows = [attribute(ONE, f"198.51.100.{at}", Tag=tags("tlp:green")) for at in range(count)]
    first, second = file_object(ONE, "a.exe"), file_object(ONE, "b.exe")
    first["ObjectReference"] = [
        {
            "uuid": f"0b0ad1b5-5d2c-4a53-9b38-00000000000{number}",
            "object_uuid": first["uuid"],
            "referenced_uuid": target,
            "relationship_type": "related-to",
            "comment": "",
        }
        for number, target in enumerate([second["uuid"], rows[-1]["uuid"]])
    ]
    made = event(ONE, *rows, Tag=tags("tlp:green"), EventReport=[report(ONE, "Words", "…")])
    made["Object"] = [first, second]
    return made


def stored(misp: MispDouble) -> Json:
    (found,) = misp.events.values()
    return found


def sizes(misp: MispDouble) -> list[int]:
    """Attributes in each write."""
    found = []
    for request in misp.writes():
        body = request.body.get("Event", request.body)
        inner = sum(len(obj.get("Attribute") or ()) for obj in body.get("Object") or ())
        found.append(len(body.get("Attribute") or ()) + inner)
    return found


def test_pieces_hold_everything_once_and_references_last() -> None:
    whole = large()
    found = chunks(whole, 10, 10**9)
    assert [len(piece.get("Attribute", ())) for piece in found] == [10, 10, 5, 0]
    assert found[0]["info"] == whole["info"]
    assert all("info" not in piece for piece in found[1:])
    assert [row for piece in found for row in piece.get("Attribute", ())] == whole["Attribute"]
    heads = [obj for piece in found for obj in piece.get("Object", ()) if "ObjectReference" in obj]
    assert [obj["uuid"] for obj in heads] == [whole["Object"][0]["uuid"]]
    assert chunks(whole, 100, 10**9) == [whole]
    by_size = chunks(whole, 10**6, 1_200)
    assert len(by_size) > 5
    assert [row for piece in by_size for row in piece.get("Attribute", ())] == whole["Attribute"]


def test_a_large_event_arrives_whole_and_no_request_is_larger(misp: MispDouble) -> None:
    deliver = Delivering(sink_of(misp, chunk=10))
    delivery = deliver(large())
    assert (delivery.state, delivery.action, delivery.notes) == (State.DELIVERED, "created", [])
    assert max(sizes(misp)) <= 10
    with MispDouble() as other:
        Delivering(sink_of(other))(large())
        assert other.snapshot() == misp.snapshot()
    writes = len(misp.writes())
    assert deliver(large()).action == "unchanged"
    assert len(misp.writes()) == writes
    # an update of many parts goes in pieces too
    newer = large()
    newer["Attribute"] = [changed(row, comment="seen again") for row in newer["Attribute"]]
    assert deliver(newer).notes == []
    assert max(sizes(misp)) <= 10
    assert {row["comment"] for row in stored(misp)["Attribute"]} == {"seen again"}


def test_what_misp_drops_of_a_piece_is_named(misp: MispDouble) -> None:
    bad = large()
    bad["Attribute"][17] = changed(bad["Attribute"][17], value="no address")
    delivery = Delivering(sink_of(misp, chunk=10))(bad)
    assert noted(delivery) == [(bad["Attribute"][17]["uuid"], "misp-dropped")]
    assert len(stored(misp)["Attribute"]) == 24


@pytest.mark.parametrize("point", range(1, 6))
@pytest.mark.parametrize("how", ["before", "after", "500"])
def test_a_cut_between_or_inside_the_pieces(misp: MispDouble, point: int, how: str) -> None:
    """The request number `point` fails; the next delivery goes on with what is missing."""
    deliver = Delivering(sink_of(misp, chunk=7))
    seen = 0
    original = MispDouble._serve

    def serve(self: MispDouble, method: str, target: str, headers: Any, raw: bytes) -> Any:
        nonlocal seen
        if method == "POST" and target.startswith(("/events/add", "/events/edit")):
            seen += 1
            if seen == point:
                if how == "500":
                    self.fail_next(500, path="/events/")
                else:
                    self.hang_up_next(path="/events/", after_storing=how == "after")
        return original(self, method, target, headers, raw)

    misp._serve = serve.__get__(misp)  # type: ignore[method-assign]
    for _ in range(3):
        try:
            delivery = deliver(large())
        except ServerError:
            continue
        if delivery.state is State.DELIVERED:
            break
    assert delivery.state is State.DELIVERED
    assert seen >= point
    with MispDouble() as other:
        Delivering(sink_of(other))(large())
        assert misp.snapshot() == other.snapshot()
    values = [row["value"] for row in stored(misp)["Attribute"]]
    assert len(values) == len(set(values)) == 25


# Several in flight


def events(count: int) -> list[Json]:
    uuids = [f"0b0ad1b5-5d2c-4a53-9b38-{at:012d}" for at in range(count)]
    return [event(uuid, attribute(uuid, f"198.51.100.{at}")) for at, uuid in enumerate(uuids)]


def jobs(made: list[Json], last: dict[str, LastDelivery] | None = None) -> list[Job]:
    return [Job(Wanted.of(one), (last or {}).get(one["uuid"])) for one in made]


def test_events_are_delivered_side_by_side_in_their_order(misp: MispDouble) -> None:
    sink = sink_of(misp, concurrency=4)
    found = list(sink.deliver(jobs(events(30))))
    assert [delivery.event for delivery in found] == [one["uuid"] for one in events(30)]
    assert {delivery.action for delivery in found} == {"created"}
    assert len(misp.events) == 30


def test_no_more_than_the_limit_and_fewer_when_the_server_is_busy() -> None:
    under_way, most = 0, []
    lock = threading.Lock()
    busy = iter([True, True])

    def act(job: Job) -> Any:
        nonlocal under_way
        with lock:
            under_way += 1
            most.append(under_way)
        time.sleep(0.002)
        with lock:
            under_way -= 1
            if job.now == 20 and next(busy, False):
                raise ServerError("too many requests", status=429)
        return job.now

    flight = Parallel(act, 4)
    import stixbridge.sinks.misp.parallel as module

    waits: list[float] = []
    module_pause, module.pause = module.pause, waits.append
    try:
        found = list(flight.run([Job(Wanted({}), None, now=at) for at in range(40)]))
    finally:
        module.pause = module_pause
    assert found == list(range(40))
    assert 1 < max(most) <= 4
    assert waits == [1.0, 1.0]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_one_event_that_fails_keeps_no_other_from_arriving(
    misp: MispDouble, concurrency: int
) -> None:
    made = events(12)
    sink = sink_of(misp, concurrency=concurrency)
    misp.fail_next(500, path="/events/add", times=1)
    found = list(sink.deliver(jobs(made)))
    assert [delivery.event for delivery in found] == [one["uuid"] for one in made]
    (bad,) = [delivery for delivery in found if delivery.state is not State.DELIVERED]
    assert (bad.state, bad.action) == (State.FAILED, "failed")
    assert "answered 500" in str(bad.error)
    assert set(misp.events) == {one["uuid"] for one in made} - {bad.event}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_several_failures_in_a_row_end_it_after_what_was_under_way(
    misp: MispDouble, concurrency: int
) -> None:
    """What arrived is told, so that it is put on record; the others are for the next run."""
    made = events(30)
    sink = sink_of(misp, concurrency=concurrency)
    misp.fail_next(500, path="/events/add", times=99, when=lambda _: len(misp.events) >= 5)
    told = []
    with pytest.raises(ServerError):
        for delivery in sink.deliver(jobs(made)):
            if delivery.state is State.DELIVERED:
                told.append(delivery.event)
    assert set(told) == set(misp.events)
    assert 5 <= len(told) < 10
    misp.calm_down()
    rest = [one for one in made if one["uuid"] not in misp.events]
    assert len(list(sink.deliver(jobs(rest)))) == len(rest)
    assert len(misp.events) == 30


def test_no_two_events_in_flight_bring_the_same_new_tag() -> None:
    """MISP fails half-way on the second; the first brings it, then the others go side by side."""
    made = [
        {**one, "Tag": tags("tlp:green", f'acme:batch="{at % 3}"'), "Attribute": rows}
        for at, one in enumerate(events(12))
        for rows in [[{**row, "Tag": tags('acme:label="x"')} for row in one["Attribute"]]]
    ]
    with MispDouble(cost_per_attribute=0.02) as misp:
        sink = sink_of(misp, concurrency=4)
        found = list(sink.deliver(jobs(made)))
        assert [(delivery.state, delivery.notes) for delivery in found] == [
            (State.DELIVERED, [])
        ] * 12
        assert {request.status for request in misp.writes()} == {200}
        assert len(misp.writes()) == 12
        assert all(
            len(stored["Tag"]) == 2 and stored["Attribute"][0]["Tag"]
            for stored in misp.events.values()
        )


def test_a_tag_whose_first_event_failed_is_still_new() -> None:
    new = NewTags()
    first = {"Tag": tags("tlp:green")}
    with pytest.raises(ServerError), new.brought_by(first):
        raise ServerError("no answer")
    order = []

    def second() -> None:
        with new.brought_by(first):
            order.append("second")

    with new.brought_by(first):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(
            0.05
        )  # it would be through by now; where it is not waiting this fails, never the other way
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_slow_answers_bring_fewer_events_at_a_time() -> None:
    """An answer that takes a quarter of the time-out counts as slow."""
    together, alone = threading.Barrier(4), threading.Barrier(2)
    met = []

    def act(job: Job) -> Any:
        if job.now < 4:
            together.wait(5)  # the first four go side by side, or this breaks
        elif job.now > 12:
            try:
                alone.wait(0.02)
                met.append(job.now)
            except threading.BrokenBarrierError:
                alone.reset()
        flight.ease()
        return job.now

    flight = Parallel(act, 4)
    assert list(flight.run([Job(Wanted({}), None, now=at) for at in range(30)])) == list(range(30))
    assert met == []
    with MispDouble(cost_per_attribute=0.02) as misp:
        sink = sink_of(misp, timeout=2.0, concurrency=2)
        eased: list[None] = []
        sink._api.on_slow = lambda: eased.append(None)
        list(
            sink.deliver(
                jobs([event(ONE, *(attribute(ONE, f"198.51.100.{at}") for at in range(40)))])
            )
        )
        assert eased == [None]
        list(sink.deliver(jobs(events(3))))
        assert eased == [None]
