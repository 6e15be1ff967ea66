"""What rules and warninglists cost, per attribute.

One kind of measurement a process:

python -m benchmarks.enriching rules FILE
python -m benchmarks.enriching lists FILE
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from .measure import NOW

RULES = 20
_TYPES = ("ip-dst", "domain", "url", "sha256")


def _rules(*, matching: bool) -> tuple[dict[str, Any], ...]:
    """Twenty rules in the ways that users write them; or twenty for types that do not occur."""
    if not matching:
        return tuple(
            {
                "name": str(at),
                "types": ["mutex"],
                "when": f"attribute.value == '{at}'",
                "then": {"set_to_ids": False},
            }
            for at in range(RULES)
        )
    found: list[dict[str, Any]] = []
    for at in range(RULES // 4):
        found += [
            {
                "name": f"a{at}",
                "when": f"attribute.to_ids && attribute.value.startsWith('{at}.')",
                "then": {"set_to_ids": False},
            },
            {
                "name": f"b{at}",
                "when": f"in_network(attribute.value, '10.{at}.0.0/16')",
                "then": {"add_tags": ["a:b"]},
            },
            {
                "name": f"c{at}",
                "when": (
                    "attribute.type in ['domain', 'url'] && hostname(attribute.value) == "
                    f"'x{at}.example'"
                ),
                "then": {"drop": True},
            },
            {
                "name": f"d{at}",
                "when": f"event.threat_level == {at} && 'tlp:red' in attribute.tags",
                "then": {"set_comment": "c"},
            },
        ]
    return tuple(found)


def measure_rules(path: Path) -> dict[str, float]:
    """CPU seconds of a conversion with and without rules and warninglists."""
    from stixbridge import Enrich, convert  # noqa: PLC0415
    from stixbridge.enrich import Enrichment  # noqa: PLC0415

    data = path.read_bytes()
    ways = {
        "without": Enrich(),
        "rules": Enrich(rules=_rules(matching=True)),
        "other types": Enrich(rules=_rules(matching=False)),
        "rules and warninglists": Enrich(
            rules=_rules(matching=True), warninglists=({"lists": ["*"], "action": "report"},)
        ),
    }
    found: dict[str, float] = {}
    for name, settings in ways.items():
        enrichment = Enrichment(settings)
        times = []
        for _ in range(4):  # the first warms caches up
            start = time.process_time()
            result = convert(data, NOW, source="bench", enrich=enrichment)
            times.append(time.process_time() - start)
        found[name] = sorted(times[1:])[1]
    found["attributes"] = sum(
        len(event["Attribute"]) + sum(len(obj["Attribute"]) for obj in event["Object"])
        for event in result.events
    )
    return found


def measure_lists(path: Path) -> dict[str, float]:
    """Count look-ups a second in all lists.

    The package takes a second for a few values, so it is asked for fewer.
    """
    from pymispwarninglists import WarningLists  # noqa: PLC0415

    from stixbridge.enrich.warninglists import load  # noqa: PLC0415
    from stixbridge.stix.reader import read_bytes  # noqa: PLC0415

    objects = [
        entry.obj for entry in read_bytes(path.read_bytes()).entries if entry.obj is not None
    ]
    values = [obj["pattern"].split("'")[1] for obj in objects if "pattern" in obj]
    ours = load()
    start = time.process_time()
    for value in values:
        ours.hits("ip-dst" if value[0].isdigit() else "url" if "/" in value else "domain", value)
    own = len(values) / (time.process_time() - start)
    theirs = WarningLists(slow_search=True)
    few = values[:: max(1, len(values) // 20)]
    start = time.process_time()
    for value in few:
        theirs.search(value)
    return {"ours": own, "package": len(few) / (time.process_time() - start)}


if __name__ == "__main__":
    measures = {"rules": measure_rules, "lists": measure_lists}
    print(json.dumps(measures[sys.argv[1]](Path(sys.argv[2]))))
