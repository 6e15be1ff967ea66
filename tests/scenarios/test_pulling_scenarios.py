"""Scenarios 10 and 12 of an analyst: what comes a week late, and a new feed looked at before it
lands.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers import stix
from helpers.bridge import Bridge, actions
from helpers.command import run

A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"


def attribute(misp: MispDouble, value: str) -> dict[str, Any]:
    (row,) = [
        row
        for event in misp.events.values()
        for row in event["Attribute"]
        if row["value"] == value and not row["deleted"]
    ]
    return dict(row)


def test_10_what_comes_a_week_late_joins_the_event(
    misp: MispDouble, server: TaxiiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member, a relationship and a sighting; the UUIDs, and the sightings of an analyst, stay."""
    monkeypatch.setenv("NO_PROXY", "*")
    one, two, late = (stix.indicator(value) for value in (A, B, C))
    server.add("All", [one, two, stix.report("wave", [one, two, late])])
    sinks = {"misp": {"type": "misp", "url": misp.url, "key": misp.key}}
    bridge = Bridge(tmp_path, sinks, source={"type": "taxii21", "url": server.url})
    assert actions(bridge.run(now="2026-01-06T00:00:00Z")) == {"created": 1}
    (uuid,) = misp.events
    before = attribute(misp, A)["uuid"]
    misp.analyst_sighting(before, source="our sensor")
    misp.analyst_tag(before, "mine")
    server.clock_step(7 * 86_400)
    server.add(
        "All", [late, stix.relationship(one, "related-to", two), stix.sighting(one, count=3)]
    )
    assert actions(bridge.run(now="2026-01-13T00:00:00Z")) == {"updated": 1}
    assert list(misp.events) == [uuid]
    row = attribute(misp, A)
    assert row["uuid"] == before
    assert "mine" in [tag["name"] for tag in row["Tag"]]
    assert "our sensor" in [one["source"] for one in row["Sighting"]]
    assert len(row["Sighting"]) == 2
    assert attribute(misp, C)["to_ids"]
    assert [link["related_object_uuid"] for link in row["Relationship"]] == [
        attribute(misp, B)["uuid"]
    ]
    writes = len(misp.writes())
    assert bridge.run(now="2026-01-14T00:00:00Z").errors == []
    assert len(misp.writes()) == writes
    bridge.close()


CONFIGURATION = """
[sources.new]
type = "taxii21"
url = "{url}"
{window}
[sinks.misp]
type = "misp"
url = "{misp}"
key = {{ file = "key" }}
[pipelines.new]
source = "new"
sinks = ["misp"]
"""


def test_12_a_new_feed_is_looked_at_before_it_lands(
    misp: MispDouble, server: TaxiiDouble, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(misp.key)
    wanted = [
        stix.indicator(f"198.51.{at // 250}.{at % 250}", confidence=at % 100) for at in range(3_000)
    ]
    reports = [stix.report(f"report {at}", wanted[at * 100 : at * 100 + 100]) for at in range(20)]
    malware = {
        **stix.indicator("x"),
        "type": "malware",
        "id": stix.stix_id("malware", "Emotet"),
        "name": "Emotet",
    }
    link = stix.relationship(wanted[0], "indicates", malware)
    server.page_size = 1_000
    server.add("All", [*wanted, *reports, {**malware, "is_family": True}, link])

    def rehearse(window: str = "") -> dict[str, Any]:
        text = CONFIGURATION.format(url=server.url, misp=misp.url, window=window)
        (tmp_path / "stixbridge.toml").write_text(text)
        done = run("run", "--dry-run", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (summary,) = json.loads(done.stdout)
        return dict(summary)

    summary = rehearse()
    shown = run("run", "--dry-run", cwd=tmp_path).stdout
    assert summary["events"] == {"created": 21}  # the reports, and what is in none
    assert summary["volume"] == {"attributes": 3_000, "tags": 5, "clusters": 1, "new tags": 5}
    assert re.search(r"3000 attributes, 5 tags, 1 clusters; a MISP needs about 9 s for that", shown)
    # a smaller window, by each of its settings
    assert rehearse("min_confidence = 50")["volume"]["attributes"] == 1_500
    assert rehearse('types = ["indicator"]')["events"] == {"created": 1}
    assert rehearse('max_age = "1d"')["events"] == {}
    assert rehearse('since = "1s"')["events"] == {}
    assert misp.events == {}
    assert not (tmp_path / "stixbridge.db").exists()
