"""Inputs to measure with: generated, the same at every run, and written one object at a time.

`python -m benchmarks.inputs NAME COUNT FILE` writes one. All names are invented; addresses and
domains are of the ranges that RFC 5737, 3849 and 2606 keep for examples.
"""

import json
import os
import random
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

Object = dict[str, Any]

STAMP = "2026-01-05T08:00:00.000Z"
GREEN = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
IN_A_REPORT = 100
FAMILIES = 10
_SEED = 5
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_KINDS = ("ipv4-addr", "domain-name", "url", "file")
_ROOT = Path(__file__).parent.parent


def id_of(type_: str, at: int, version: int = 4) -> str:
    """Return the id of the `at`-th object of a type.

    It is known without the object, so that nothing need be held to refer to it.
    """
    digest = blake2b(f"{type_} {at}".encode(), digest_size=16).digest()
    return f"{type_}--{uuid.UUID(bytes=digest, version=version)}"


def made(type_: str, at: int, **properties: Any) -> Object:
    """A domain object or a relationship."""
    return {
        "type": type_,
        "spec_version": "2.1",
        "id": id_of(type_, at),
        "created": STAMP,
        "modified": STAMP,
        **properties,
    }


def observable(type_: str, at: int, **properties: Any) -> Object:
    """A cyber-observable object."""
    return {"type": type_, "spec_version": "2.1", "id": id_of(type_, at, version=5), **properties}


def sha256_of(at: int) -> str:
    """An invented SHA-256."""
    return blake2b(f"file {at}".encode(), digest_size=32).hexdigest()


def ipv4(at: int) -> str:
    """One of the 768 example addresses, in turn."""
    return f"{_NETWORKS[at % 3]}.{at // 3 % 256}"


def ipv6(at: int) -> str:
    """An example address; there are enough of them to have each once."""
    return f"2001:db8::{at >> 16:x}:{at & 0xFFFF:x}"


def value_of(kind: str, at: int) -> str:
    """The `at`-th value of a kind of observable."""
    match kind:
        case "ipv4-addr":
            return ipv4(at)
        case "ipv6-addr":
            return ipv6(at)
        case "domain-name":
            return f"host{at}.example.org"
        case "url":
            return f"http://host{at}.example/path"
        case "file":
            return sha256_of(at)
    raise ValueError(kind)


def pattern_of(kind: str, at: int) -> str:
    """A pattern of one comparison."""
    path = "file:hashes.'SHA-256'" if kind == "file" else f"{kind}:value"
    return f"[{path} = '{value_of(kind, at)}']"


def indicator(at: int, pattern: str, producer: str) -> Object:
    """An indicator with the properties that most have."""
    return made(
        "indicator",
        at,
        created_by_ref=producer,
        name=f"Indicator {at}",
        description="seen in an invented campaign",
        indicator_types=["malicious-activity"],
        pattern=pattern,
        pattern_type="stix",
        pattern_version="2.1",
        valid_from=STAMP,
        confidence=75,
        object_marking_refs=[GREEN],
    )


def reports(count: int) -> Iterator[Object]:
    """Make `count` indicators, each related to one of ten malware families, a report a hundred.

    The reports come last, so that a reader of the stream meets every member long before it knows
    where that belongs.
    """
    rng = random.Random(_SEED)
    yield (producer := made("identity", 0, name="Invented Vendor", identity_class="organization"))
    yield from (made("malware", at, name=f"Family {at}", is_family=True) for at in range(FAMILIES))
    for at in range(count):
        yield indicator(at, pattern_of(rng.choice(_KINDS), at), producer["id"])
    for at in range(count):
        source, target = id_of("indicator", at), id_of("malware", rng.randrange(FAMILIES))
        yield made(
            "relationship", at, relationship_type="indicates", source_ref=source, target_ref=target
        )
    families = [id_of("malware", at) for at in range(FAMILIES)]
    for at in range(0, count, IN_A_REPORT):
        members = range(at, min(at + IN_A_REPORT, count))
        refs = [
            id_of(type_, member) for type_ in ("indicator", "relationship") for member in members
        ]
        yield made(
            "report",
            at,
            name=f"Report {at}",
            report_types=["campaign"],
            published=STAMP,
            object_refs=[*refs, *families],
        )


def equal_values(count: int) -> Iterator[Object]:
    """Make `count` indicators and `count` observables in no report.

    Every second observable has an indicator's value.
    """
    kinds = ("ipv6-addr", "domain-name", "url", "file")
    yield (producer := made("identity", 0, name="Invented Vendor", identity_class="organization"))
    for at in range(count):
        yield indicator(at, pattern_of(kinds[at % 4], at), producer["id"])
    for at in range(count):
        # pairs keep all four kinds among the equal ones and among the others
        same = at // 4 % 2 == 0
        yield of_kind(kinds[at % 4], at, value_of(kinds[at % 4], at if same else at + count))


def of_kind(kind: str, at: int, value: str) -> Object:
    """An observable with one value."""
    if kind == "file":
        return observable(kind, at, hashes={"SHA-256": value})
    return observable(kind, at, value=value)


def observed(count: int) -> Iterator[Object]:
    """`count` observed-data, each with one or two observables of its own."""
    for at in range(count):
        match at % 4:
            case 0:
                found = [
                    of_kind("domain-name", at, value_of("domain-name", at)),
                    of_kind("ipv6-addr", at, ipv6(at)),
                ]
            case 1:
                address = of_kind("ipv6-addr", at, ipv6(at))
                flow = observable(
                    "network-traffic",
                    at,
                    dst_ref=address["id"],
                    dst_port=443,
                    protocols=["ipv6", "tcp", "https"],
                )
                found = [flow, address]
            case 2:
                found = [
                    observable(
                        "file",
                        at,
                        name=f"tool{at}.exe",
                        size=1000 + at,
                        hashes={"SHA-256": sha256_of(at)},
                    )
                ]
            case _:
                found = [of_kind("url", at, value_of("url", at))]
        yield made(
            "observed-data",
            at,
            first_observed=STAMP,
            last_observed="2026-01-06T08:00:00.000Z",
            number_observed=1 + at % 7,
            object_refs=[row["id"] for row in found],
        )
        yield from found


def generators() -> dict[str, Callable[[int], Iterable[Object]]]:
    """The generated bundles by name; what the count means is said by each."""
    from .attack import attack  # noqa: PLC0415 - it is made of what is above

    return {"reports": reports, "equal": equal_values, "observed": observed, "attack": attack}


def write(objects: Iterable[Object], path: Path) -> int:
    """Write a bundle, one object at a time.

    Args:
        objects: what is in it.
        path: the file.

    Returns:
        The number of objects.
    """
    count = 0
    with path.open("wb") as file:
        file.write(b'{"type":"bundle","id":"%s","objects":[' % id_of("bundle", 0).encode())
        for obj in objects:
            file.write(b",\n" if count else b"\n")
            file.write(orjson.dumps(obj))
            count += 1
        file.write(b"\n]}\n")
    return count


def corpora_folder() -> Path | None:
    """The optional folder of real STIX files."""
    folder = Path(os.environ.get("STIXBRIDGE_CORPORA") or _ROOT.parent / "shared" / "corpora")
    return folder if folder.is_dir() else None


def single_patterns(count: int) -> list[str]:
    """Different patterns of one comparison."""
    kinds = ("ipv6-addr", "domain-name", "url", "file")
    return [pattern_of(kinds[at % 4], at) for at in range(count)]


def real_patterns(folder: Path) -> list[str]:
    """List the different STIX patterns of a folder of real files and of its `patterns.jsonl`."""
    found: dict[str, None] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            if path.suffix == ".jsonl":
                rows = [json.loads(line) for line in path.read_text().splitlines()]
                found.update(dict.fromkeys(row["pattern"] for row in rows if "pattern" in row))
            else:
                _collect(json.loads(path.read_bytes()), found)
        except (ValueError, RecursionError):
            continue  # the folder has files that are no JSON on purpose
    return list(found)


def _collect(value: Any, found: dict[str, None]) -> None:
    """Walk a parsed file: indicators stand in bundles, lists, envelopes and servers' answers."""
    if isinstance(value, dict):
        if value.get("type") == "indicator" and value.get("pattern_type", "stix") == "stix":
            pattern = value.get("pattern")
            if isinstance(pattern, str):
                found[pattern] = None
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _collect(item, found)


def main(name: str, count: int, path: Path) -> None:
    """Write an input, and print how many objects or patterns it has."""
    if name in ("single", "real"):
        folder = corpora_folder()
        texts = (
            single_patterns(count) if name == "single" else real_patterns(folder) if folder else []
        )
        path.write_bytes(orjson.dumps(texts))
        print(len(texts))
    else:
        print(write(generators()[name](count), path))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
