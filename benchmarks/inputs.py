"""Inputs to measure with: generated, the same at every run."""

import random
import uuid
from typing import Any

STAMP = "2026-01-05T08:00:00.000Z"
GREEN = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"


def indicators_with_reports(count: int) -> dict[str, Any]:
    """`count` indicators, a relationship each to one of ten malware families, and a report for every hundred."""
    rng = random.Random(5)

    def make(type_: str, **properties: Any) -> dict[str, Any]:
        id_ = f"{type_}--{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        return {"type": type_, "spec_version": "2.1", "id": id_, "created": STAMP, "modified": STAMP, **properties}

    producer = make("identity", name="Invented Vendor", identity_class="organization")
    families = [make("malware", name=f"Family {at}", is_family=True) for at in range(10)]
    indicators, links, reports = [], [], []
    for at in range(count):
        value = rng.choice(
            [
                f"[ipv4-addr:value = '198.51.{rng.randrange(256)}.{rng.randrange(256)}']",
                f"[domain-name:value = 'host{at}.example.org']",
                f"[url:value = 'http://host{at}.example/path']",
                f"[file:hashes.'SHA-256' = '{rng.getrandbits(256):064x}']",
            ]
        )
        indicators.append(
            make(
                "indicator",
                created_by_ref=producer["id"],
                name=f"Indicator {at}",
                description="seen in an invented campaign",
                indicator_types=["malicious-activity"],
                pattern=value,
                pattern_type="stix",
                pattern_version="2.1",
                valid_from=STAMP,
                confidence=75,
                object_marking_refs=[GREEN],
            )
        )
        links.append(
            make(
                "relationship",
                relationship_type="indicates",
                source_ref=indicators[-1]["id"],
                target_ref=rng.choice(families)["id"],
            )
        )
    for at in range(0, count, 100):
        members = [*indicators[at : at + 100], *links[at : at + 100], *families]
        refs = [member["id"] for member in members]
        reports.append(make("report", name=f"Report {at}", published=STAMP, object_refs=refs))
    return {
        "type": "bundle",
        "id": f"bundle--{uuid.UUID(int=rng.getrandbits(128), version=4)}",
        "objects": [producer, *families, *indicators, *links, *reports],
    }
