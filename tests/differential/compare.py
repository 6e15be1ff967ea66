"""Run both engines on bundles, and count where they differ."""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from stixbridge import convert

from .bundle import UNKNOWN, Bundle, short
from .facts import OF_A_VALUE, Said, place_of, said, told

NOW = "2019-01-01T00:00:00Z"  # nearly nothing has expired by then
OURS, THEIRS = "only ours", "only theirs"
Key = tuple[str, str, str, str]
"""STIX type, STIX property, MISP element, side."""
CRASHED: Key = ("bundle", UNKNOWN, "event", OURS)
"""A bundle on which misp-stix fails as a whole, so that all of it is only ours."""


@dataclass
class Differences:
    """The sum over many bundles."""

    count: Counter[Key] = field(default_factory=Counter)
    example: dict[Key, str] = field(default_factory=dict)
    facts: int = 0
    equal: int = 0

    def add(self, key: Key, example: str) -> None:
        self.count[key] += 1
        self.example[key] = min(example, self.example.get(key, example))


def bundles(corpora: Path) -> list[Path]:
    """Every bundle of the corpora, wherever it lies."""
    found = []
    for path in sorted(corpora.rglob("*")):
        named = path.suffix in (".json", ".stix2") and not path.name.endswith(".misp.json")
        if named and "misp-events" not in path.parts and _bundle(path) is not None:
            found.append(path)
    return found


def cases(corpora: Path) -> list[Path]:
    """misp-stix's own third-party cases."""
    return [
        path
        for path in bundles(corpora / "misp-stix-cases")
        if path.parent.name.startswith("external_")
    ]


def _bundle(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_bytes())
    except ValueError:
        return None
    return raw if isinstance(raw, dict) and raw.get("type") == "bundle" else None


def differences(paths: Iterable[Path], corpora: Path, *, stored: bool) -> Differences:
    """Compare what both engines say.

    Args:
        paths: files with one bundle each.
        corpora: the folder above them.
        stored: whether misp-stix's output is read from beside a case, where it is, or made anew.
    """
    out = Differences()
    for path in paths:
        raw = _bundle(path)
        assert raw is not None, path
        beside = path.with_name(path.name.replace(".bundle.json", ".misp.json"))
        name = f"{path.parent.name}/{path.name}"
        if stored and beside != path and beside.is_file():
            theirs = json.loads(beside.read_bytes())["events"]
        else:
            theirs = misp_stix(path.read_bytes())
        if theirs is None:
            out.add(CRASHED, name)
            continue
        bundle = Bundle(raw)
        result = convert(path, now=NOW)
        elements = {uuid: ids for row in result.converted for uuid, ids in row.elements.items()}
        _compare(said(result.events, bundle, elements), said(theirs, bundle, {}), bundle, name, out)
    return out


def misp_stix(data: bytes) -> list[dict[str, Any]] | None:
    """The events that misp-stix makes, or None where it fails."""
    from misp_stix_converter import MISP_org_uuid
    from misp_stix_converter.tools import get_stix2_parser, load_stix2_content
    from misp_stix_converter.tools.stix2_to_misp_helpers import is_stix2_from_misp

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            loaded = load_stix2_content(BytesIO(data), max_size=0)
            own = is_stix2_from_misp(loaded.objects)
            kind, settings = get_stix2_parser(
                own, 0, None, None, None, False, False, False, MISP_org_uuid, 0, None
            )
            parser = kind()
            parser.load_stix_bundle(loaded)
            parser.parse_stix_bundle(**settings)
            made = parser.misp_events
            return [
                json.loads(event.to_json())
                for event in (made if isinstance(made, list) else [made])
            ]
    except Exception:
        return None
    finally:
        logging.disable(before)


def _compare(ours: Said, theirs: Said, bundle: Bundle, name: str, out: Differences) -> None:
    both = ours.facts.keys() & theirs.facts.keys()
    out.facts += len(both)
    out.equal += len(both)
    for mine, other, side in ((ours, theirs, OURS), (theirs, ours, THEIRS)):
        for fact in mine.facts.keys() - both:
            if fact[0] in OF_A_VALUE and ("value", *fact[1:3]) not in both:
                continue  # the value itself is the difference
            out.facts += 1
            element, behind = mine.facts[fact]
            kind, source, what = _origin(fact, behind, bundle)
            out.add((kind, short(source), element, side), f"{name} {what}")
        for reference in mine.references:
            out.facts += 1
            if any(_same(reference, one) for one in other.references):
                out.equal += side == OURS
                out.facts -= side == THEIRS
                continue
            kind, source = _reference_origin(reference, bundle)
            out.add((kind, short(source), reference[3], side), f"{name} {reference[0]}")
    for id_, kind, source, text in told(bundle):
        places = [place_of(text, one.places) for one in (ours, theirs)]
        out.facts += any(places)
        out.equal += all(places)
        for place, other, side in ((places[0], places[1], OURS), (places[1], places[0], THEIRS)):
            if place and not other:
                out.add((kind, source, f"text in {place}", side), f"{name} {id_}")


def _origin(fact: tuple[str, ...], behind: frozenset[str], bundle: Bundle) -> tuple[str, str, str]:
    what = " ".join(sorted(behind)[:1])
    match fact:
        case "on event" | "on value", *_, text:
            if text.startswith("statement:"):
                return "marking-definition", "definition", what
            kind, source = bundle.origin(text, behind)
            if source == UNKNOWN:
                kind, source = bundle.origin(text.rpartition('="')[2].removesuffix('"'), behind)
        case "tlp", *_:
            kind, source = bundle.type_of(behind), "object_marking_refs"
        case (("first_seen" | "last_seen"), _, _, time):
            kind, source = bundle.origin(time, behind, fact[0])
        case "sighting", *_:
            kind, source = "sighting", "sighting_of_ref"
        case "object", _:
            kind, source = bundle.type_of(behind), "type"
        case _, _, value:
            kind, source = bundle.origin(value, behind)
    return kind, source, what


def _same(one: tuple, other: tuple) -> bool:
    return (
        one[0] == other[0] and not one[1].isdisjoint(other[1]) and not one[2].isdisjoint(other[2])
    )


def _reference_origin(reference: tuple, bundle: Bundle) -> tuple[str, str]:
    ends = [{one for one in end if "--" in one} for end in reference[1:3]]
    pairs = [
        pair
        for one in ends[0]
        for two in ends[1]
        for pair in ((one, two), (two, one))
        if pair in bundle.refs
    ]
    if pairs:
        return min(
            (bundle.refs[pair] for pair in pairs),
            key=lambda found: (found[0] != "relationship", found),
        )
    kind = bundle.type_of(ends[0])
    return kind, "pattern" if kind == "indicator" and ends[0] & ends[1] else UNKNOWN
