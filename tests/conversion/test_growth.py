"""The CPU time of a conversion grows with its input, not with the square of it."""

import gc
import time
from collections.abc import Callable

import pytest
from helpers.stix import EARLY, Stix, indicator, relationship, report, stix_id

from stixbridge import convert

FEW, MANY = 1_000, 8_000
GROWTH = 1.7
"""How much more CPU time an object may take among many than among few; 8 where it is quadratic."""
NOW = "2026-02-01T00:00:00Z"


def observable(kind: str, label: str, /, **more: object) -> Stix:
    return {"type": kind, "spec_version": "2.1", "id": stix_id(kind, label), **more}


def context(kind: str, name: str) -> Stix:
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": stix_id(kind, name),
        "created": EARLY,
        "modified": EARLY,
        "name": name,
    }


def address(at: int) -> str:
    return f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}"


def files_of_a_directory(count: int) -> list[Stix]:
    files = [observable("file", str(at), name=f"{at}.exe") for at in range(count)]
    refs = [item["id"] for item in files]
    return [observable("directory", "all", path="C:\\all", contains_refs=refs), *files]


def addresses_of_a_domain(count: int) -> list[Stix]:
    found = [observable("ipv4-addr", str(at), value=address(at)) for at in range(count)]
    refs = [item["id"] for item in found]
    return [observable("domain-name", "all", value="a.example", resolves_to_refs=refs), *found]


def children_of_a_process(count: int) -> list[Stix]:
    children = [
        observable("process", str(at), pid=at, command_line=f"{at}.exe") for at in range(count)
    ]
    refs = [item["id"] for item in children]
    return [observable("process", "all", command_line="all.exe", child_refs=refs), *children]


def reports_of_a_malware(count: int) -> list[Stix]:
    """`count` objects: reports that name one malware, and an actor each that uses it."""
    malware = context("malware", "all")
    made = [malware]
    for at in range(count // 3):
        value = indicator(address(at))
        actor = context("threat-actor", str(at))
        uses = relationship(actor, "uses", malware)
        made += [value, actor, uses, report(str(at), [value, malware, actor, uses])]
    return made


def relationships_of_a_source(count: int) -> list[Stix]:
    source = observable("file", "all", name="all.exe")
    targets = [observable("ipv4-addr", str(at), value=address(at)) for at in range(count)]
    return [source, *targets, *(relationship(source, "related-to", item) for item in targets)]


def relationships_of_a_pair(count: int) -> list[Stix]:
    source = observable("file", "all", name="all.exe")
    target = observable("ipv4-addr", "all", value="198.51.100.7")
    link = relationship(source, "related-to", target)
    links = [{**link, "id": stix_id("relationship", str(at))} for at in range(count)]
    return [source, target, *links]


MIXES: list[Callable[[int], list[Stix]]] = [
    files_of_a_directory,
    addresses_of_a_domain,
    children_of_a_process,
    reports_of_a_malware,
    relationships_of_a_source,
    relationships_of_a_pair,
]


def cpu(objects: list[Stix], runs: int) -> float:
    """Seconds for each object, in the fastest of several conversions."""
    taken = []
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        convert(objects, now=NOW)
        taken.append(time.process_time() - start)
    return min(taken) / len(objects)


@pytest.mark.long
@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.__name__)
def test_cpu_time_is_linear(mix: Callable[[int], list[Stix]]) -> None:
    few, many = mix(FEW), mix(MANY)
    convert(few[:100], now=NOW)  # what is loaded once
    growth = cpu(many, 2) / cpu(few, 4)
    if growth > GROWTH:  # another process may have slowed the machine meanwhile
        growth = min(growth, cpu(many, 2) / cpu(few, 4))
    assert growth < GROWTH
