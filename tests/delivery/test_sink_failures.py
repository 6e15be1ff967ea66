"""Sinks that fail for a while, events that can't be had, adds that are cut: what comes meanwhile is
not forgotten.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers.bridge import Bridge
from helpers.stix import LATER, indicator, report, uuid_in

from stixbridge import http

pytestmark = pytest.mark.usefixtures("no_waiting")

A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"


@pytest.fixture(autouse=True)
def no_further_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that fails is not sent again."""
    monkeypatch.setattr(http.Http, "_again", lambda self, error: False)


@pytest.fixture
def other() -> Iterator[MispDouble]:
    """A second MISP."""
    with MispDouble() as double:
        yield double


def section(misp: MispDouble) -> dict[str, Any]:
    return {"type": "misp", "url": misp.url, "key": misp.key}


def live(misp: MispDouble, value: str) -> list[tuple[str, bool]]:
    """(title of the event, to_ids) of every live attribute of a value."""
    return [
        (event["info"], row["to_ids"])
        for event in misp.events.values()
        for row in event["Attribute"]
        if row["value"] == value and not row["deleted"]
    ]


@pytest.mark.parametrize("what", ["stricter", "revoked", "reported"])
def test_what_changes_while_one_of_two_sinks_fails(
    misp: MispDouble, other: MispDouble, tmp_path: Path, what: str
) -> None:
    bridge = Bridge(tmp_path, {"one": section(misp), "two": section(other)})
    other.fail_next(500, times=1, path="/events/add")
    assert bridge.poll(indicator(A, tlp="green")).errors
    if what == "stricter":
        bridge.poll(indicator(A, modified=LATER, tlp="red"))
    elif what == "revoked":
        bridge.poll(indicator(A, modified=LATER, tlp="green", revoked=True))
    else:
        bridge.poll(report("wave", [indicator(A)]))
    assert bridge.run().errors == []
    for sink in (misp, other):
        found = live(sink, A)
        assert len(found) == 1
        if what == "stricter":
            assert "RED" in found[0][0]
        assert found[0][1] is (what != "revoked")
    bridge.close()


def test_a_report_that_is_someone_elses_holds_back_its_member_only(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = Bridge(tmp_path, {"misp": section(misp)})
    bridge.poll(indicator(A), indicator(B))
    wave = report("wave", [indicator(A)])
    misp.analyst_event({"uuid": uuid_in(wave["id"]), "info": "an analyst's"})
    bridge.poll(wave, indicator(B, modified=LATER, revoked=True), indicator(C))
    for _ in range(2):
        assert [to_ids for _, to_ids in live(misp, A)] == [True]
        assert [to_ids for _, to_ids in live(misp, B)] == [False]
        assert [to_ids for _, to_ids in live(misp, C)] == [True]
        bridge.poll(indicator(C, modified=LATER, name="news"))
    bridge.close()


@pytest.mark.parametrize("change", [{"indicator_types": ["benign"]}, {"revoked": True}])
def test_a_withdrawal_after_an_add_that_was_cut(
    misp: MispDouble, tmp_path: Path, change: dict[str, Any]
) -> None:
    bridge = Bridge(tmp_path, {"misp": section(misp)})
    misp.hang_up_next(path="/events/add")
    misp.fail_next(500, path="/events/restSearch")
    assert bridge.poll(indicator(A)).errors
    bridge.poll(indicator(A, modified=LATER, **change))
    assert bridge.run().errors == []
    assert [to_ids for _, to_ids in live(misp, A)] == [False]
    bridge.close()


def test_two_markings_of_one_part_keep_it_in_the_feed(misp: MispDouble, tmp_path: Path) -> None:
    feed = {"type": "feed", "path": str(tmp_path / "feed")}
    bridge = Bridge(
        tmp_path, {"misp": section(misp), "feed": feed}, sources={"beta": {"type": "files"}}
    )
    amber = indicator(A, tlp="amber")
    bridge.poll(amber, report("w", [amber], tlp="green"))
    bridge.poll(amber, report("w", [amber], tlp="amber"), source="beta")
    (row,) = [row for event in misp.events.values() for row in event["Attribute"]]
    assert row["distribution"] == "5"
    (path,) = (tmp_path / "feed").glob("*-*.json")
    (part,) = json.loads(path.read_bytes())["Event"]["Attribute"]
    assert not part.get("deleted")
    bridge.close()


def test_an_event_that_was_deleted_stays_so(misp: MispDouble, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, {"misp": section(misp)})
    bridge.poll(indicator(A), report("w", [indicator(A)]))
    misp.store.events.clear()
    for at in ("2026-01-11T00:00:00.000Z", "2026-01-12T00:00:00.000Z"):
        summary = bridge.poll(report("w", [indicator(A)], modified=at, description=at))
        assert summary.events == {"blocked": 1}
    assert misp.events == {}
    bridge.close()
