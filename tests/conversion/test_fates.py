"""The ledger notices what a stage loses: `mapped` means that it is in a finished event."""

from collections.abc import Callable
from typing import Any

import pytest
from helpers.stix import indicator, relationship, report

from stixbridge import convert
from stixbridge.conversion.to_misp.event_form import EventForm

NOW = "2026-02-01T00:00:00Z"
MALWARE = {
    "type": "malware",
    "spec_version": "2.1",
    "id": "malware--3f3f8a0e-6c0a-4c2e-9a44-0b5a1a1f7d01",
    "created": "2026-01-05T08:00:00.000Z",
    "modified": "2026-01-05T08:00:00.000Z",
    "name": "Zqloader",
    "is_family": True,
}


def objects() -> list[dict[str, Any]]:
    """Two related indicators, one indicates a malware and has a note; a report has all."""
    first, second = indicator("198.51.100.1"), indicator("198.51.100.2")
    related = relationship(first, "related-to", second)
    indicates = relationship(first, "indicates", MALWARE)
    note = {
        "type": "note",
        "spec_version": "2.1",
        "id": "note--3f3f8a0e-6c0a-4c2e-9a44-0b5a1a1f7d02",
        "created": "2026-01-05T08:00:00.000Z",
        "modified": "2026-01-05T08:00:00.000Z",
        "content": "Seen twice.",
        "object_refs": [first["id"]],
    }
    members = [first, second, related, indicates, MALWARE, note]
    return [*members, report("wave", members)]


def outcomes(break_stage: Callable[[dict[str, Any]], None], patch: pytest.MonkeyPatch) -> set[str]:
    """The types of objects that are `lost` where a stage breaks the finished event."""
    shown = EventForm._shown

    def broken(form: EventForm, event: dict[str, Any]) -> set[str]:
        break_stage(event)
        return shown(form, event)

    patch.setattr(EventForm, "_shown", broken)
    ledger = convert(objects(), now=NOW, source="acme").ledger
    assert sum(ledger.outcomes.values()) == ledger.objects
    return {
        str(entry["id"]).partition("--")[0]
        for entry in ledger.entries
        if entry.get("reason") == "lost"
    }


def without_attributes(event: dict[str, Any]) -> None:
    event["Attribute"] = []


def without_tags(event: dict[str, Any]) -> None:
    event.pop("Tag", None)
    for attribute in event["Attribute"]:
        attribute.pop("Tag", None)
    event.pop("EventReport", None)


def without_links(event: dict[str, Any]) -> None:
    for attribute in event["Attribute"]:
        attribute.pop("Relationship", None)


def without_notes(event: dict[str, Any]) -> None:
    for attribute in event["Attribute"]:
        attribute.pop("Note", None)


@pytest.mark.parametrize(
    ("stage", "lost"),
    [
        (without_attributes, {"indicator", "relationship", "note"}),
        (without_tags, {"malware", "relationship"}),
        (without_links, {"relationship"}),
        (without_notes, {"note"}),
    ],
)
def test_a_broken_stage_is_noticed(
    stage: Callable[[dict[str, Any]], None], lost: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcomes(stage, monkeypatch) == lost


def test_nothing_is_lost_where_no_stage_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcomes(lambda event: None, monkeypatch) == set()
