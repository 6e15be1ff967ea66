"""The official converter as an engine: in memory, with our identities, and accounted."""

import json
from pathlib import Path

import pytest
from doubles.misp import MispDouble

from stixbridge import MispSink, convert

BUNDLE = {
    "type": "bundle",
    "id": "bundle--00000000-0000-4000-8000-000000000001",
    "objects": [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": "indicator--00000000-0000-4000-8000-000000000001",
            "created": "2026-01-05T08:00:00.000Z",
            "modified": "2026-01-05T08:00:00.000Z",
            "pattern": "[ipv4-addr:value = '198.51.100.1']",
            "pattern_type": "stix",
            "valid_from": "2026-01-05T08:00:00Z",
        },
        {
            "type": "x-nobody-knows",
            "spec_version": "2.1",
            "id": "x-nobody-knows--00000000-0000-4000-8000-000000000002",
        },
    ],
}


def test_it_converts_and_gives_the_same_uuids_again() -> None:
    first, second = (
        convert(json.loads(json.dumps(BUNDLE)), engine="misp-stix", source="s") for _ in range(2)
    )
    assert first.events == second.events
    assert [row["value"] for row in first.events[0]["Attribute"]] == ["198.51.100.1"]
    assert first.ledger.outcomes == {"mapped": 1, "preserved": 0, "dropped": 1, "invalid": 0}
    assert first.ledger.reasons == {"engine": 1}


def test_what_it_can_t_read_is_in_the_ledger(tmp_path: Path) -> None:
    result = convert(
        {"objects": [{"type": "indicator", "id": "indicator--x"}, {"type": 7}]}, engine="misp-stix"
    )
    assert result.events == [] or not result.events[0]["Attribute"]
    assert sum(result.ledger.outcomes.values()) == 2


def test_pymisp_events_from_both_engines() -> None:
    for engine in ("native", "misp-stix"):
        (event,) = convert(BUNDLE, engine=engine).misp_events()
        assert [attribute.value for attribute in event.attributes] == ["198.51.100.1"]


def test_the_reference_time_in_every_form() -> None:
    from datetime import UTC, datetime

    ended = {**BUNDLE["objects"][0], "valid_until": "2026-01-06T00:00:00Z"}
    for now in ("2026-02-01T00:00:00Z", datetime(2026, 2, 1, tzinfo=UTC), 1_769_904_000_000_000):
        (event,) = convert([ended], now).events
        assert event["Attribute"][0]["to_ids"] is False
        assert convert([ended], now).ledger.reference_time == "2026-02-01T00:00:00.000000Z"


def test_a_sink_takes_events_of_pymisp() -> None:
    with MispDouble() as misp:
        (delivery,) = MispSink(misp.url, misp.key).add(convert(BUNDLE).misp_events())
        assert delivery.action == "created"
        assert len(misp.find("198.51.100.1")) == 1


@pytest.mark.parametrize(
    "shape", ["bundle", "bytes", "text", "list", "file", "path", "stix2", "memory store"]
)
def test_every_shape(shape: str, tmp_path: Path) -> None:
    import stix2

    text = json.dumps({**BUNDLE, "objects": BUNDLE["objects"][:1]})
    path = tmp_path / "b.json"
    path.write_text(text)
    parsed = stix2.parse(text)
    given = {
        "bundle": json.loads(text),
        "bytes": text.encode(),
        "text": text,
        "list": json.loads(text)["objects"],
        "file": path.open("rb"),
        "path": path,
        "stix2": parsed,
        "memory store": stix2.MemoryStore(parsed),
    }[shape]
    result = convert(given)
    assert [row["value"] for row in result.events[0]["Attribute"]] == ["198.51.100.1"]
    assert result.ledger.objects == 1
