"""Hostile and broken documents: never an exception, always an accounted ledger, and the neighbours
survive.
"""

import json
import sys
import unicodedata
from typing import Any

import orjson
import pytest
from helpers.rich import (
    NOW,
    TYPES,
    accounted,
    everything,
    neighbour,
    properties,
    rich,
    rich20,
    survives,
    told,
    with_property,
)
from helpers.stix import (
    EARLY,
    LATER,
    MARKINGS,
    Stix,
    address,
    indicator,
    relationship,
    report,
    sighting,
    stix_id,
)

from stixbridge import Enrich, Result, convert
from stixbridge.misp.model import all_attributes, tag_names

SURROGATE = "\ud800"


def nested(depth: int, leaf: Any = "leaf") -> Any:
    """Lists in lists."""
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def converted(objects: list[Any], **more: Any) -> Result:
    """Convert objects beside a neighbour; check the ledger, the neighbour, and that the events are
    JSON.
    """
    entries = [*objects, neighbour()]
    result = convert(
        {"type": "bundle", "id": stix_id("bundle", "hostile"), "objects": entries}, NOW, **more
    )
    accounted(result, entries)
    assert survives(result)
    orjson.dumps(result.events)
    return result


# Wrong types

WRONG: list[Any] = [
    None, True, -1, 1.5, "", "x", "²", "--5", "\x00", [], [None, 5, "x", [["y"]], {}], {},
    {"x": {"y": [1]}, "": ""}, "9" * 5_000, "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", nested(200),
    # what no JSON text can bring, but a caller's own objects can
    SURROGATE, [{SURROGATE: SURROGATE}], {5: "x", None: "y"}, [float("nan"), float("inf")], 10**400,
    [10**5000],
    nested(900), {"x": nested(5_000)},
]  # fmt: skip
OBJECTS = {"2.1": rich, "2.0": rich20}
EVERY_TYPE = pytest.mark.parametrize(
    ("version", "kind"),
    [(version, kind) for version, make in OBJECTS.items() for kind in dict(properties(make()))],
)


@EVERY_TYPE
def test_every_property_of_every_wrong_type(version: str, kind: str) -> None:
    objects = OBJECTS[version]()
    failures = []
    for wrong in WRONG:
        mutants = [{**obj, name: wrong} for name, obj in _copies(objects, kind).items()]
        try:
            converted([*objects, *mutants])
        except Exception as error:  # all of them are wanted, not the first
            failures.append((short(wrong), f"{type(error).__name__}: {error}"[:200]))
    assert failures == []


@EVERY_TYPE
def test_what_is_not_understood_is_told(version: str, kind: str) -> None:
    """A word inside a value of a wrong type comes out somewhere, or the ledger says that it does
    not.
    """
    objects = OBJECTS[version]()
    silent = []
    for form in (
        lambda word: [word],
        lambda word: [[word]],
        lambda word: {"a": word},
        lambda word: [{"a": word}],
    ):
        words = {name: f"mislaid{at}word" for at, name in enumerate(_copies(objects, kind))}
        mutants = {
            name: {**obj, name: form(words[name])} for name, obj in _copies(objects, kind).items()
        }
        result = converted([*objects, *mutants.values()])
        shown = everything(result)
        for name, obj in mutants.items():
            # where the id itself is gone, the object as a whole is accounted
            if (
                name not in ("id", "type")
                and words[name] not in shown
                and not told(result, obj["id"], name)
            ):
                silent.append((name, obj[name]))
    assert silent == []


def _copies(objects: list[Stix], kind: str) -> dict[str, Stix]:
    """An object of that type for each of its properties, members of the first report as the
    original is.
    """
    original = next(obj for obj in objects if obj["type"] == kind)
    copies = {name: {**original, "id": stix_id(kind, f"rich {name}")} for name in original}
    members = next(obj for obj in objects if obj["type"] == "report")["object_refs"]
    members += [obj["id"] for obj in copies.values() if kind not in ("report", "grouping")]
    return copies


def short(value: Any) -> str:
    """Enough of a value to know it by, whatever it is."""
    try:
        return ascii(value)[:30]
    except (ValueError, RecursionError):
        return f"a large {type(value).__name__}"


@pytest.mark.parametrize("kind", TYPES)
def test_properties_that_nobody_knows(kind: str) -> None:
    id_ = next(obj["id"] for obj in rich() if obj["type"] == kind)
    for name, value in (
        ("x_new", "v"),
        ("x_ref", "v"),
        ("x_refs", ["v"]),
        ("", ""),
        ("a[0]", 1),
        ("$", nested(100)),
    ):
        result = converted(with_property(rich(), kind, name, value))
        # an object that is dropped as a whole has one line for all its properties
        paths = [row.get("path", f"$.{name}") for row in result.ledger.entries if row["id"] == id_]
        assert f"$.{name}" in paths, name


@pytest.mark.parametrize("name", [5, None, ("a", "b"), True, SURROGATE], ids=ascii)
def test_names_of_properties_that_are_no_names(name: Any) -> None:
    for kind in TYPES:
        converted(with_property(rich(), kind, name, "x"))


# Texts that try to be structure

TRICKS = [
    'x" misp-galaxy:threat-actor="APT28',
    'x"\ntlp:clear',
    "two\r\nlines",
    "tlp:clear",
    "nul\x00 bell\x07 escape\x1b[31m delete\x7f separator\x1f next\x85 line\u2028",
    "right-to-left \u202e override",
    "a|b|c \\| d `e` <script>alert(1)</script> ![x](https://x.example)",
    "\U0001f600 emoji",
    "\ud83d half of one",
    "../../etc/passwd",
    "' OR 1=1 --",
    "{event.info} %s ${x}",
    "y" * 100_000,
    " ",
    "\x00",
]
ONE_LINE = {
    "ip-dst",
    "ip-src",
    "domain",
    "hostname",
    "url",
    "link",
    "email-src",
    "filename",
    "mac-address",
    "AS",
}


def _placed(objects: list[Stix], trick: str) -> list[Stix]:
    """The trick in every property that is a free text, and in lists and dictionaries of them."""
    kept = {
        "type", "id", "spec_version", "created", "modified", "pattern", "pattern_type",
        "valid_from", "valid_until", "first_observed", "last_observed", "published", "value",
        "context", "object_marking_refs",
    }  # fmt: skip

    def change(name: str, value: Any) -> Any:
        if name in kept or name.endswith(("_ref", "_refs")):
            return value
        if isinstance(value, str):
            return trick
        if isinstance(value, list):
            return [change("", item) for item in value]
        return (
            {key: change(key, item) for key, item in value.items()}
            if isinstance(value, dict)
            else value
        )

    return [{name: change(name, value) for name, value in obj.items()} for obj in objects]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda text: ascii(text)[:30])
@pytest.mark.parametrize("version", OBJECTS)
def test_texts_never_become_structure(version: str, trick: str) -> None:
    objects = OBJECTS[version]()
    result = converted(
        _placed(objects, trick), labels=["*"], source="acme", enrich=Enrich(info="{report.name}")
    )
    plain = converted(objects, labels=["*"], source="acme")
    levels = {
        row["uuid"]: _tlp(row) for event in plain.events for row in (event, *all_attributes(event))
    }
    for event in result.events:
        assert event["info"].strip()
        assert _one_line(event["info"]), event["info"]
        assert len(event["info"]) <= 65_535
        elements = [event, *all_attributes(event)]
        for element in elements:
            assert _tlp(element) == levels.get(element["uuid"], _tlp(element))
            assert len(_tlp(element)) <= 1
            for tag in tag_names(element):
                assert _one_line(tag), tag
                assert len(tag) <= 255
                assert tag.count('"') in (0, 2), tag
                assert '"' not in tag or tag.endswith('"'), tag
                assert "APT28" not in tag or tag.startswith(
                    ("stix:", "acme:", "misp-galaxy:producer=")
                ), tag
        for row in all_attributes(event):
            assert row["type"] not in ONE_LINE or _one_line(row["value"]), row["value"]
            assert len(row["comment"]) <= 255
        for row in event.get("EventReport", []):
            for line in (
                row["content"].splitlines()
                if row["name"].startswith(("Relationships", "Sightings"))
                else ()
            ):
                assert line.startswith("|"), line


def _tlp(element: dict[str, Any]) -> list[str]:
    return [tag for tag in tag_names(element) if tag.lower().startswith("tlp:")]


def _one_line(text: str) -> bool:
    return not any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in text)


@pytest.mark.parametrize(
    "text",
    ["a | b\n| forged | row |", "ends with a backslash \\", "escaped \\| bar"],
    ids=["line", "end", "escaped"],
)
def test_a_table_keeps_its_columns(text: str) -> None:
    known, unknown = (
        rich()[6],
        {"type": "tool", "id": stix_id("tool", "t"), "name": text, "created": EARLY},
    )
    objects = [
        indicator("203.0.113.5"), {**known, "name": text}, unknown,
        relationship(indicator("203.0.113.5"), text, known, description=text, start_time=text),
        relationship(known, text, unknown, description=text, stop_time=text, confidence=text),
        sighting(known, first_seen=text, last_seen=text,
                 where_sighted_refs=[stix_id("identity", "i")]),
        {"type": "identity", "id": stix_id("identity", "i"), "name": text, "created": EARLY},
    ]  # fmt: skip
    (event,) = converted(objects).events
    tables = [
        row
        for row in event["EventReport"]
        if row["name"].startswith(("Relationships", "Sightings"))
    ]
    assert {row["name"].split()[0] for row in tables} == {"Relationships", "Sightings"}
    for table in tables:
        head, _, *rows = [_columns(line) for line in table["content"].splitlines()]
        assert rows
        assert {*rows} == {head}


def _columns(line: str) -> int:
    """The number of bars that no backslash escapes."""
    bars, at = 0, 0
    while at < len(line):
        bars += line[at] == "|"
        at += 2 if line[at] == "\\" else 1
    return bars


# References


def _in_a_ring(kind: str, count: int) -> list[Stix]:
    ids = [stix_id(kind, str(at)) for at in range(count)]
    return [
        {**report(str(at), [ids[(at + 1) % count], neighbour()]), "type": kind, "id": ids[at]}
        for at in range(count)
    ]


@pytest.mark.parametrize("kind", ["report", "grouping"])
@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_reports_in_reports_end(kind: str, count: int) -> None:
    objects = _in_a_ring(kind, count)
    entries = [*objects, neighbour()]
    result = convert(entries, NOW)
    accounted(result, entries)
    above = {event["uuid"]: event.get("extends_uuid") for event in result.events}
    assert len(above) == count
    for start in above:
        seen, at = set(), start
        while at is not None:
            assert at not in seen, "extends_uuid goes in a circle"
            seen.add(at)
            at = above.get(at)


def test_references_in_a_circle_end() -> None:
    one, two = (
        address("198.51.100.1"),
        {**address("198.51.100.2"), "type": "domain-name", "value": "a.example"},
    )
    two["id"] = stix_id("domain-name", "a")
    one["resolves_to_refs"], two["resolves_to_refs"] = (
        [two["id"], one["id"]],
        [one["id"], two["id"]],
    )
    files = [{"type": "file", "id": stix_id("file", str(at)), "name": f"f{at}", "contains_refs": [
        stix_id("file", str(1 - at)), stix_id("file", str(at))]} for at in range(2)]  # fmt: skip
    tied = relationship(one, "x", two)
    tied |= {"source_ref": tied["id"], "target_ref": tied["id"]}
    seen = sighting(one)
    seen |= {"sighting_of_ref": seen["id"], "where_sighted_refs": [seen["id"]]}
    made = {"type": "identity", "id": stix_id("identity", "i"), "name": "I", "created": EARLY}
    made["created_by_ref"] = made["id"]
    marking = {
        "type": "marking-definition",
        "id": stix_id("marking-definition", "m"),
        "created": EARLY,
    }
    marking["object_marking_refs"] = [marking["id"]]
    converted(
        [one, two, *files, tied, seen, {**made, "object_marking_refs": [marking["id"]]}, marking]
    )
    converted(
        [
            report("all", [one, two, *files, tied, seen, made, marking]),
            one,
            two,
            *files,
            tied,
            seen,
            made,
            marking,
        ]
    )


def test_references_twice_make_no_uuid_twice() -> None:
    mac = {"type": "mac-addr", "id": stix_id("mac-addr", "m"), "value": "00:11:22:33:44:66"}
    one = {**address("198.51.100.1"), "resolves_to_refs": [mac["id"], mac["id"]]}
    inner = {"type": "file", "id": stix_id("file", "i"), "name": "i", "size": 1}
    outer = {
        "type": "file",
        "id": stix_id("file", "o"),
        "name": "o",
        "size": 2,
        "contains_refs": [inner["id"]] * 2,
    }
    (event,) = converted([mac, one, inner, outer]).events
    rows = [row for obj in event["Object"] for row in obj.get("ObjectReference", [])]
    rows += [row for attribute in event["Attribute"] for row in attribute.get("Relationship", [])]
    assert len(rows) == 2
    assert len({row["uuid"] for row in rows}) == 2


@pytest.mark.parametrize("first", ["indicator", "malware", "report", "identity"])
@pytest.mark.parametrize("second", ["tool", "grouping", "ipv4-addr", "relationship"])
def test_two_objects_with_one_uuid(first: str, second: str) -> None:
    uuid = "0f0e0d0c-0b0a-4908-8706-050403020100"
    objects = [
        {**obj, "id": f"{obj['type']}--{uuid}"} for obj in rich() if obj["type"] in (first, second)
    ]
    result = converted(objects)
    assert len({event["uuid"] for event in result.events}) == len(result.events)


@pytest.mark.parametrize(
    "id_",
    [
        "", "indicator", "indicator--", "--x", "indicator--../../etc/passwd",
        "indicator--/etc/passwd", "indicator--a\\b", "indicator--a\x00b", "indicator--a\nb",
        "indicator--a b", "indicator--é", "../x--y", "indicator--" + "a" * 10_000,
        "report--not-a-uuid", "x" * 100 + "--y", SURROGATE + "--x", "indicator--%2e%2e",
    ],
    ids=lambda text: ascii(text)[:40],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["indicator", "report", "ipv4-addr"])
def test_ids_that_are_paths_or_worse(kind: str, id_: str) -> None:
    """A strange id is refused, or used for nothing but the derivation of UUIDs."""
    result = converted(
        [{**with_property(rich(), kind, "id", id_)[0], "type": kind}, report("r", [id_])]
    )
    for event in result.events:
        for row in (event, *event["Object"], *all_attributes(event)):
            assert len(row["uuid"]) == 36
            assert row["uuid"].count("-") == 4


# Size, depth and numbers


@pytest.mark.parametrize("depth", [100, 260, 1_000])
@pytest.mark.parametrize(
    "name", ["x_deep", "name", "description", "external_references", "confidence"]
)
def test_deep_json(depth: int, name: str) -> None:
    """Deep values, and deep objects twice, so that they are compared."""
    for kind in TYPES:
        objects = with_property(rich(), kind, name, "@@")
        text = json.dumps([*objects, *objects, neighbour()]).replace(
            '"@@"', "[" * depth + "]" * depth
        )
        result = convert(text.encode(), NOW)
        assert result.ledger.objects == 2 * len(objects) + 1
        assert survives(result)


def test_json_too_deep_to_be_read() -> None:
    text = "[" * 1_000_000
    for data in (
        text,
        text + "]" * 1_000_000,
        '{"a":' * 100_000,
        '{"type":"bundle","objects":' + text,
    ):
        result = convert(data.encode(), NOW)
        assert result.ledger.outcomes["invalid"] == result.ledger.objects == 1


def test_values_that_nest_deeper_than_the_stack() -> None:
    depth = sys.getrecursionlimit() * 3
    for kind, name in properties(rich()):
        converted(with_property(rich(), kind, name, nested(depth)))


PATTERNS = {
    "value of 10^5": "[domain-name:value = '" + "a" * 100_000 + "']",
    "text of 10^5": "[mutex:name = '" + "a" * 60_000 + "' OR mutex:name = '" + "b" * 60_000 + "']",
    "10^4 alternatives": " OR ".join(f"[ipv4-addr:value = '10.{at >> 8 & 255}.{at & 255}.1']"
                                     for at in range(5_000)),
    "parentheses": "[" + "(" * 50_000 + "a:b = 1" + ")" * 50_000 + "]",
    "observations in parentheses": "(" * 150 + "[ipv4-addr:value = '198.51.100.9']" + ")" * 150,
    "open parentheses": "(" * 100_000,
    "list of 10^5": "[ipv4-addr:value IN (" + ",".join(["'198.51.100.1'"] * 20_000) + ")]",
    "an AND of ORs": "[" + " AND ".join(f"(file:size = {at} OR file:name = 'f{at}')"
                                        for at in range(500)) + "]",
    "an AND of observations": " AND ".join(["([mutex:name = 'a'] OR [mutex:name = 'b'])"] * 300),
    "a path of 10^4 steps": "[file:" + ".".join(["a"] * 10_000) + " = 1]",
    "a path of 10^4 indices": "[file:a" + "[0]" * 10_000 + " = 1]",
    "a path of 10^4 hashes": "[file:" + "hashes." * 10_000 + "MD5 = 1]",
    "qualifiers": "[mutex:name = 'a']" + " REPEATS 2 TIMES" * 5_000,
    "a number of 10^4 digits": "[network-traffic:dst_port = " + "9" * 10_000 + "]",
    "a port in text": "[network-traffic:dst_ref.value = '1.1.1.1' AND network-traffic:dst_port = '"
    + "9" * 5000 + "']",
    "an AS in text": "[autonomous-system:number = '" + "9" * 10_000 + "']",
    "a superscript": "[autonomous-system:number = '²']",
    "a superscript port": ("[network-traffic:dst_ref.value = '198.51.100.1' AND "
                           "network-traffic:dst_port = '²']"),
    "a counter of two signs": ("[network-traffic:src_packets = '--5' AND "
                               "network-traffic:dst_packets = '²']"),
    "a float of 10^4 digits": "[file:size = " + "9" * 10_000 + ".5]",
    "a catastrophic expression": ("[domain-name:value MATCHES '^(a+)+$' OR domain-name:value "
                                  "MATCHES '(.*)*x']"),
    "comments": "/*" * 50_000 + "[a:b = 1]",
    "quotes": "[a:b = '" + "\\'" * 50_000 + "]",
    "a prefix of 10^4 digits": "[ipv4-addr:value ISSUBSET '198.51.100.0/" + "9" * 5_000 + "']",
    "a zone": "[ipv6-addr:value = 'fe80::1%" + "z" * 1_000 + "']",
    "a long international name": "[domain-name:value = '" + "é." * 20_000 + "example']",
    "a surrogate": f"[mutex:name = 'a{SURROGATE}b']",
    "control characters": "[domain-name:value = 'a\x00\x1f\x7f.example']",
}  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_patterns_that_try_the_limits(pattern: str) -> None:
    converted([indicator("hostile", pattern)])


NUMBERS = [
    10**19,
    -(10**19),
    2**63,
    10**400,
    10**4299,
    10**4301,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    -0.0,
    True,
]


@pytest.mark.long
@pytest.mark.parametrize("number", NUMBERS, ids=short)
def test_numbers_out_of_bounds(number: float) -> None:
    for kind, name in properties(rich()):
        converted(with_property(rich(), kind, name, number))
    objects = with_property(rich(), "sighting", "count", number)
    text = json.dumps([*objects, *objects, neighbour()]) if abs(number) < 10**4000 else None
    if text is not None:
        assert convert(text, NOW).ledger.objects in (1, 2 * len(objects) + 1)


def test_huge_texts_are_cut_to_what_misp_stores() -> None:
    texts = _placed(rich(), "z" * 1_000_000)
    result = converted(texts, labels=["*"])
    for event in result.events:
        for row in all_attributes(event):
            assert len(row["value"].encode()) <= 65_535
            assert len(row["comment"].encode()) <= 65_535
        for obj in event["Object"]:
            for row in obj.get("ObjectReference", []):
                assert len(row["relationship_type"]) <= 255
        for row in event.get("EventReport", []):
            assert len(row["name"]) <= 255


def test_observed_data_with_too_many_observables_says_so() -> None:
    inner = {
        str(at): {"type": "ipv4-addr", "value": f"10.0.{at >> 8}.{at & 255}"} for at in range(1_500)
    }
    observed = with_property(rich20(), "observed-data", "objects", inner)
    result = converted(observed)
    id_ = next(obj["id"] for obj in observed if obj["type"] == "observed-data")
    shown = {row["value"] for event in result.events for row in all_attributes(event)}
    assert {row["value"] for row in inner.values()} <= shown or told(result, id_, "objects")


def test_a_definition_cannot_loosen_a_well_known_marking() -> None:
    forged = {"type": "marking-definition", "id": MARKINGS["red"], "created": LATER,
              "definition_type": "tlp",
              "name": "TLP:CLEAR", "definition": {"tlp": "clear"}}  # fmt: skip
    (event,) = convert([forged, indicator("198.51.100.7", tlp="red")], NOW).events
    assert tag_names(event["Attribute"][0]) == ["tlp:red"]
