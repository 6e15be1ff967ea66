"""The five laws of the conversion, as properties of generated bundles."""

import itertools
import random
import uuid
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from typing import Any

import orjson
import pytest
from helpers.generated import FIXED, FUTURE, LEVELS, RANK, SDO, UNKNOWN, WIDEST, bundles
from helpers.rich import NOW, accounted, everything, rich, told, with_property
from helpers.stix import EARLY, LAST, LATER, MARKINGS, Stix, indicator, relationship, report, sighting, stix_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stixbridge import Enrich, Result, convert
from stixbridge.misp.model import all_attributes, tag_names

LAWS = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)


def run(objects: list[Stix], **more: Any) -> Result:
    """Convert, with settings that do not depend on the order."""
    return convert({"type": "bundle", "id": stix_id("bundle", "laws"), "objects": objects}, NOW, **more)


def newest(objects: Iterable[Stix]) -> dict[str, Stix]:
    """id -> its newest version; among versions of one time, any."""
    found: dict[str, Stix] = {}
    for obj in objects:
        held = found.get(obj["id"])
        if held is None or obj.get("modified", "") > held.get("modified", ""):
            found[obj["id"]] = obj
    return found


# 1. Nothing is silent


@LAWS
@given(bundles(), st.sampled_from(["report", "day", "creator"]))
def test_everything_is_accounted(objects: list[Stix], group: str) -> None:
    result = run(objects, group=group)
    accounted(result, objects)
    # whoever is in the ledger as mapped, and is content, is in an event
    away = {row["id"] for row in result.ledger.entries if "path" not in row}
    shown = {id_ for row in result.converted for id_ in row.stix_ids}
    for id_, obj in newest(objects).items():
        if obj["type"] in ("indicator", "vulnerability", "report", "grouping") and id_ not in away:
            assert id_ in shown


_TOLD = [
    (obj["type"], name)
    for obj in rich()
    for name, value in obj.items()
    if isinstance(value, str) and not name.endswith("_ref") and name not in ("id", "type", "pattern")
]


def _probe(name: str, value: str) -> str:
    """Another value of the same form, to be found again."""
    if name in ("created", "modified", "valid_from", "valid_until", "published", "definition_type", "pattern_type"):
        return value
    if len(value) > 10 and value[4] == "-" and value[10] == "T":
        return "2026-01-05T11:22:33.000Z"
    probes = {"ipv4-addr": "203.0.113.99", "2001:db8::2": "2001:db8::99", "00:11:22:33:44:55": "00:11:22:33:44:99"}
    if value in probes:
        return probes[value]
    return {"203.0.113.2": "203.0.113.99", "spec_version": "2.1"}.get(value, value.replace(".", "0.", 1) + "quaint")


@pytest.mark.parametrize(("kind", "name"), sorted(set(_TOLD)))
def test_a_text_comes_out_or_is_told(kind: str, name: str) -> None:
    """A property that the ledger counts as mapped has its text in an event."""
    objects = rich()
    obj = next(obj for obj in objects if obj["type"] == kind and name in obj)
    if name == "spec_version" or (text := _probe(name, obj[name])) == obj[name]:
        return
    obj[name] = text
    result = convert(objects, NOW, labels=["*"])
    shown = everything(result)
    forms = {text, text.lower(), text.replace(".000Z", ".000000Z"), "1767612153"}
    assert any(orjson.dumps(form).decode().strip('"') in shown for form in forms) or told(result, obj["id"], name)


@pytest.mark.parametrize("kind", ["relationship", "sighting", "identity", "report", "vulnerability", "observed-data"])
@pytest.mark.parametrize("name", ["labels", "confidence", "created_by_ref", "external_references"])
def test_a_common_property_comes_out_or_is_told(kind: str, name: str) -> None:
    """What has the property and what lacks it differ in their events, or the ledger says why not."""
    objects = rich()
    obj = next(obj for obj in objects if obj["type"] == kind)
    value = {
        "labels": ["quaint"],
        "confidence": 10,
        "created_by_ref": stix_id("identity", "other"),
        "external_references": [{"source_name": "quaint", "url": "https://quaint.example/"}],
    }[name]
    other = {"type": "identity", "id": stix_id("identity", "other"), "created": EARLY, "name": "Quaint"}
    with_it = convert([*with_property(objects, kind, name, value), other], NOW, labels=["*"])
    without = convert(
        [*({k: v for k, v in row.items() if row is not obj or k != name} for row in objects), other], NOW, labels=["*"]
    )
    assert everything(with_it) != everything(without) or told(with_it, obj["id"], name)


def test_what_an_observed_data_holds_in_vain_is_told() -> None:
    observed = {"type": "observed-data", "id": stix_id("observed-data", "old"), "created": EARLY, "modified": EARLY,
                "first_observed": EARLY, "last_observed": EARLY, "number_observed": 1, "objects": {
                    "0": {"type": "ipv4-addr", "value": "198.51.100.1"}, "1": {"type": "ipv4-addr", "value": "none"},
                    "2": {"type": "x-unheard-of"}}}  # fmt: skip
    result = run([observed])
    accounted(result, [observed])
    assert {"$.objects.1", "$.objects.2"} <= {row.get("path", "")[:11] for row in result.ledger.entries}


def test_a_comment_that_is_cut_is_told() -> None:
    long = indicator("198.51.100.1", name="n" * 200, description="d" * 200)
    result = run([long])
    assert "d" * 200 in everything(result) or told(result, long["id"], "description")


# 2. Markings never loosen


def _marking_refs(obj: Stix) -> list[str]:
    return [*obj.get("object_marking_refs", []), *(row["marking_ref"] for row in obj.get("granular_markings", []))]


def unresolved(obj: Stix, held: dict[str, Stix]) -> bool:
    """Whether an object has a marking whose meaning nobody knows."""
    return any(ref not in held and ref not in FIXED for ref in _marking_refs(obj))


def rank_of(element: dict[str, Any]) -> int:
    levels = [tag.removeprefix("tlp:") for tag in tag_names(element) if tag.startswith("tlp:")]
    assert len(levels) <= 1
    return max((RANK[level] for level in levels), default=-1)


def rank_in(obj: Stix | None, held: dict[str, Stix]) -> int:
    """The rank of the strictest TLP level that an object is marked with, as far as its definitions are there."""
    refs = _marking_refs(obj) if obj is not None else []
    return max((RANK[LEVELS.get(ref)] for ref in refs if ref in held or ref in FIXED), default=-1)


def check_markings(result: Result, objects: list[Stix]) -> None:
    """Hold every element against the markings of every object that says it, and of its report."""
    held = newest(objects)
    for row in result.converted:
        event = row.event
        container = held.get(row.container or "")
        of_event, reported = rank_of(event), rank_in(container, held)
        assert of_event >= reported
        if container is not None and unresolved(container, held):
            assert event["distribution"] == "0"
        for element in [*event["Attribute"], *event["Object"]]:
            own = [held[id_] for id_ in row.elements[element["uuid"]] if id_ in held]
            wanted = max([reported, *(rank_in(obj, held) for obj in own)])
            for part in element.get("Attribute", [element]):
                rank = rank_of(part)
                assert max(rank, of_event) >= wanted
                assert rank == -1 or rank >= wanted
            inherited = element["distribution"] == "5"
            assert int(event["distribution"] if inherited else element["distribution"]) <= WIDEST.get(wanted, 3)
            if any(unresolved(obj, held) for obj in own):
                assert element["distribution"] == "0"


@LAWS
@given(bundles(), st.sampled_from(["report", "day"]), st.sampled_from([None, "tlp:clear", "tlp:amber"]))
def test_nothing_comes_out_looser(objects: list[Stix], group: str, default: str | None) -> None:
    check_markings(run(objects, group=group, default_tlp=default), objects)


@LAWS
@given(bundles(), st.sampled_from(["tlp:clear", "tlp:green", "tlp:amber", "tlp:red"]), st.sampled_from([0, 1, 3]))
def test_settings_tighten_and_never_loosen(objects: list[Stix], tag: str, distribution: int) -> None:
    result = run(objects, enrich=Enrich(tags=(tag,), distribution=distribution))
    check_markings(result, objects)
    for row in result.converted:
        event = row.event
        # no level stands beside a marking that is none: the event is closed in another way
        assert row.closed or rank_of(event) >= RANK[tag.removeprefix("tlp:")]
        assert not row.closed or event["distribution"] == "0"
        assert int(event["distribution"]) <= WIDEST.get(rank_of(event), 3)


def test_a_report_with_an_unknown_marking_stays_closed() -> None:
    closed = report("r", [indicator("198.51.100.1")], object_marking_refs=[UNKNOWN])
    result = run([indicator("198.51.100.1"), closed], enrich=Enrich(distribution=3, tags=("tlp:clear",)))
    (event,) = result.events
    assert event["distribution"] == "0"
    assert "tlp:clear" not in tag_names(event)
    assert told(result, closed["id"], "object_marking_refs")


RED = [MARKINGS["red"]]


def _actor(**more: Any) -> Stix:
    return {"type": "malware", "id": stix_id("malware", "secret"), **SDO, "modified": EARLY, "name": "Secretbot",
            "is_family": True, "description": "A secret description.", **more}  # fmt: skip


def _secrets() -> dict[str, list[Stix]]:
    plain = indicator("198.51.100.1", tlp="clear")
    red = indicator("198.51.100.1", name="n", description="First.\nA secret description.", tlp="red")
    tie = relationship(plain, "indicates", _actor())
    other = indicator("198.51.100.2", tlp="clear")
    seen = {"where_sighted_refs": [stix_id("identity", "w")], "object_marking_refs": RED}
    who = {"type": "identity", "id": stix_id("identity", "w"), **SDO, "modified": EARLY, "name": "Secretbot"}
    return {
        "context": [plain, _actor(object_marking_refs=RED), tie],
        "relationship to context": [plain, _actor(), {**tie, "object_marking_refs": RED}],
        "context in the report alone": [_actor(object_marking_refs=RED)],
        "description": [red],
        "relationship": [plain, other, relationship(plain, "Secretbot", other, object_marking_refs=RED)],
        "row of a relationship": [
            plain, other, relationship(plain, "x", other, description="Secretbot", object_marking_refs=RED),
        ],
        "sighting": [plain, who, sighting(plain, **seen)],
        "between contexts": [
            plain, _actor(name="M", description="d"), tie,
            {**_actor(name="T", description="d"), "type": "tool", "id": stix_id("tool", "t")},
            relationship(_actor(), "x", {"id": stix_id("tool", "t")}, description="Secretbot", object_marking_refs=RED),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("in_report", [False, True], ids=["collected", "reported"])
@pytest.mark.parametrize("case", _secrets())
def test_what_red_says_is_red_wherever_it_is_said(case: str, in_report: bool) -> None:
    """Tags, sightings, references and event reports are said by their objects as much as values are."""
    objects = _secrets()[case]
    if in_report:
        # who sighted it is no secret by itself
        members = [obj for obj in objects if obj["type"] != "identity"]
        if case == "relationship to context":  # the context itself is no secret, and stays unsaid by the report
            members = [obj for obj in members if obj["type"] != "malware"]
        objects = [*objects, report("r", members, tlp="clear")]
    result = run(objects, enrich=Enrich(distribution=3, tags=("tlp:clear",)))
    for event in result.events:
        if rank_of(event) == RANK["red"]:
            continue
        for word in ("secret", "Secretbot"):
            assert not any(word in tag for tag in tag_names(event))
            for row in all_attributes(event):
                assert word not in orjson.dumps(row).decode() or rank_of(row) == RANK["red"]
            for row in event.get("EventReport", []):
                assert word not in row["content"] or row["distribution"] == "0"


# 3. Same in, same out


@LAWS
@given(bundles(), st.randoms(use_true_random=False), st.sampled_from(["report", "day", "creator"]))
def test_the_order_says_nothing(objects: list[Stix], chance: random.Random, group: str) -> None:
    shuffled = [dict(chance.sample(list(obj.items()), len(obj))) for obj in objects]
    chance.shuffle(shuffled)
    first, second = run(objects, group=group), run(shuffled, group=group)
    assert orjson.dumps(first.events) == orjson.dumps(second.events)
    assert first.ledger.to_dict() == second.ledger.to_dict()


def test_the_order_of_versions_says_nothing() -> None:
    versions = [{**_actor(), "modified": moment} for moment in (EARLY, EARLY, LAST, LATER)]
    ledgers = [run([*order]).ledger.to_dict() for order in itertools.permutations(versions)]
    assert all(ledger == ledgers[0] for ledger in ledgers)


# 4. Lifecycle counts


@LAWS
@given(bundles())
def test_to_ids_only_where_something_live_detects(objects: list[Stix]) -> None:
    result = run(objects)
    held: dict[str, list[Stix]] = {}
    for obj in objects:  # versions of one time: any may have won
        best = newest(objects)[obj["id"]].get("modified")
        if obj.get("modified") == best:
            held.setdefault(obj["id"], []).append(obj)
    for row in result.converted:
        for element in [*row.event["Attribute"], *row.event["Object"]]:
            if any(part["to_ids"] for part in element.get("Attribute", [element])):
                sayers = [obj for id_ in row.elements[element["uuid"]] for obj in held.get(id_, [])]
                assert any(_detects(obj) for obj in sayers), sayers


def _detects(obj: Stix) -> bool:
    kinds = set(obj.get("indicator_types", ()))
    return (
        obj["type"] == "indicator"
        and obj.get("revoked") is not True
        and obj.get("valid_until", FUTURE) > NOW
        and not kinds & {"benign", "anonymization"}
        and not ("attribution" in kinds and "malicious-activity" not in kinds)
        and "!=" not in obj["pattern"]
        and "FOLLOWEDBY" not in obj["pattern"]
    )


def test_what_only_a_revoked_report_holds_is_not_lost() -> None:
    live = indicator("198.51.100.1")
    result = run([live, report("r", [live], revoked=True)])
    values = [row["value"] for event in result.events for row in event["Attribute"]]
    assert values == ["198.51.100.1"]


def test_a_revoked_context_tags_nothing() -> None:
    gone, live = _actor(revoked=True), indicator("198.51.100.1")
    result = run([gone, live, relationship(live, "indicates", gone), report("r", [gone, live])])
    assert "Secretbot" not in everything(result)
    assert "revoked" in {row["reason"] for row in result.ledger.entries if row["id"] == gone["id"]}


# 5. Identities


DESCRIBED = orjson.loads((resources.files("pymisp") / "data" / "describeTypes.json").read_bytes())["result"]


@LAWS
@given(bundles(), st.sampled_from(["report", "day", "creator"]), st.booleans())
def test_uuids_are_unique_and_types_are_misps(objects: list[Stix], group: str, derived: bool) -> None:
    result = run(objects, group=group, uuid_namespace=str(uuid.UUID(int=1, version=4)) if derived else None)
    every: Counter[str] = Counter()
    for event in result.events:
        own = {row["uuid"] for row in (*all_attributes(event), *event["Object"])}
        rows = [event, *all_attributes(event), *event["Object"], *event.get("EventReport", [])]
        for row in list(rows):
            rows += [*row.get("Sighting", []), *row.get("Relationship", []), *row.get("ObjectReference", [])]
        every.update(row["uuid"] for row in rows)
        for row in all_attributes(event):
            assert row["type"] in DESCRIBED["category_type_mappings"][row["category"]]
        for obj in event["Object"]:
            assert all(row["referenced_uuid"] in own for row in obj.get("ObjectReference", []))
        for row in all_attributes(event):
            assert all(tie["related_object_uuid"] in own for tie in row.get("Relationship", []))
        values = Counter((row["type"], row["value"]) for row in event["Attribute"])
        assert not [value for value, count in values.items() if count > 1]
    assert not [uuid_ for uuid_, count in every.items() if count > 1]
    for text in every:
        assert str(uuid.UUID(text)) == text
        assert uuid.UUID(text).variant == uuid.RFC_4122
        assert uuid.UUID(text).version in range(1, 9)


def test_a_member_is_in_its_event_though_another_object_takes_it_in() -> None:
    """An address that a connection outside of the report refers to stays a member of the report."""
    address = {"type": "ipv4-addr", "id": stix_id("ipv4-addr", "a"), "value": "198.51.100.9"}
    traffic = {"type": "network-traffic", "id": stix_id("network-traffic", "t"), "dst_ref": address["id"],
               "dst_port": 443, "protocols": ["tcp"]}  # fmt: skip
    result = run([address, traffic, report("r", [address])])
    (event,) = [row.event for row in result.converted if row.container]
    assert [row["value"] for row in event["Attribute"]] == ["198.51.100.9"]
