"""The five laws of the conversion, as properties of generated bundles."""

import itertools
import random
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any

import orjson
import pytest
from helpers.generated import (
    FIXED,
    FUTURE,
    LEVELS,
    RANK,
    SCO,
    SDO,
    UNKNOWN,
    WIDEST,
    bundles,
    word_of,
    worded,
)
from helpers.length import at_length
from helpers.rich import NOW, accounted, everything, rich, told, with_property
from helpers.stix import (
    EARLY,
    LAST,
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stixbridge import Enrich, Result, convert
from stixbridge.misp.knowledge import load
from stixbridge.misp.model import all_attributes, derived_uuid, tag_names
from stixbridge.misp.values import normalise

LAWS = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
MANY = settings(LAWS, max_examples=at_length(4_000))
AT_LENGTH: dict[str, Callable[[], None]] = {}

OPTIONS = st.fixed_dictionaries(
    {
        "group": st.sampled_from(["report", "day", "creator"]),
        "preserve": st.sampled_from(["none", "source"]),
        "custom": st.sampled_from(["objects", "all", "drop"]),
        "default_tlp": st.sampled_from([None, "tlp:clear", "tlp:amber"]),
        "labels": st.sampled_from([[], ["*"]]),
    }
)


def law(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A property: a test of few examples, and one of `test_the_laws_at_length` of many."""

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        AT_LENGTH[check.__name__] = MANY(given(*strategies)(check))
        return LAWS(given(*strategies)(check))

    return decorate


def run(objects: list[Stix], **more: Any) -> Result:
    """Convert, with settings that do not depend on the order."""
    return convert(
        {"type": "bundle", "id": stix_id("bundle", "laws"), "objects": objects}, NOW, **more
    )


def newest(objects: Iterable[Stix]) -> dict[str, Stix]:
    """id -> its newest version; among versions of one time, any."""
    found: dict[str, Stix] = {}
    for obj in objects:
        held = found.get(obj["id"])
        if held is None or obj.get("modified", "") > held.get("modified", ""):
            found[obj["id"]] = obj
    return found


# 1. Nothing is silent


CONTENT = SCO | {
    "indicator", "vulnerability", "report", "grouping", "infrastructure", "incident",
    "malware-analysis", "x-custom", "x-custom-thing",
}  # fmt: skip


@law(bundles(), OPTIONS)
def test_everything_is_accounted(objects: list[Stix], options: dict[str, Any]) -> None:
    result = run(objects, **options)
    accounted(result, objects)
    # whoever is in the ledger as mapped, and is content, is in an event
    away = {row["id"] for row in result.ledger.entries if "path" not in row}
    shown = {id_ for row in result.converted for id_ in row.stix_ids}
    for id_, obj in newest(objects).items():
        if obj["type"] in CONTENT and id_ not in away:
            assert id_ in shown


_TOLD = [
    (obj["type"], name)
    for obj in rich()
    for name, value in obj.items()
    if isinstance(value, str)
    and not name.endswith("_ref")
    and name not in ("id", "type", "pattern")
]


def _probe(name: str, value: str) -> str:
    """Another value of the same form, to be found again."""
    if name in (
        "created",
        "modified",
        "valid_from",
        "valid_until",
        "published",
        "definition_type",
        "pattern_type",
    ):
        return value
    if len(value) > 10 and value[4] == "-" and value[10] == "T":
        return "2026-01-05T11:22:33.000Z"
    probes = {
        "ipv4-addr": "203.0.113.99",
        "2001:db8::2": "2001:db8::99",
        "00:11:22:33:44:55": "00:11:22:33:44:99",
    }
    if value in probes:
        return probes[value]
    return {"203.0.113.2": "203.0.113.99", "spec_version": "2.1"}.get(
        value, value.replace(".", "0.", 1) + "quaint"
    )


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
    assert any(orjson.dumps(form).decode().strip('"') in shown for form in forms) or told(
        result, obj["id"], name
    )


@pytest.mark.parametrize(
    "kind", ["relationship", "sighting", "identity", "report", "vulnerability", "observed-data"]
)
@pytest.mark.parametrize("name", ["labels", "confidence", "created_by_ref", "external_references"])
def test_a_common_property_comes_out_or_is_told(kind: str, name: str) -> None:
    """Objects with and without the property differ in their events, or the ledger says why."""
    objects = rich()
    obj = next(obj for obj in objects if obj["type"] == kind)
    value = {
        "labels": ["quaint"],
        "confidence": 10,
        "created_by_ref": stix_id("identity", "other"),
        "external_references": [{"source_name": "quaint", "url": "https://quaint.example/"}],
    }[name]
    other = {
        "type": "identity",
        "id": stix_id("identity", "other"),
        "created": EARLY,
        "name": "Quaint",
    }
    with_it = convert([*with_property(objects, kind, name, value), other], NOW, labels=["*"])
    without = convert(
        [
            *({k: v for k, v in row.items() if row is not obj or k != name} for row in objects),
            other,
        ],
        NOW,
        labels=["*"],
    )
    assert everything(with_it) != everything(without) or told(with_it, obj["id"], name)


def test_what_an_observed_data_holds_in_vain_is_told() -> None:
    observed = {"type": "observed-data", "id": stix_id("observed-data", "old"), "created": EARLY,
                "modified": EARLY,
                "first_observed": EARLY, "last_observed": EARLY, "number_observed": 1, "objects": {
                    "0": {"type": "ipv4-addr", "value": "198.51.100.1"},
                    "1": {"type": "ipv4-addr", "value": "none"},
                    "2": {"type": "x-unheard-of"}}}  # fmt: skip
    result = run([observed])
    accounted(result, [observed])
    assert {"$.objects.1", "$.objects.2"} <= {
        row.get("path", "")[:11] for row in result.ledger.entries
    }


def test_a_comment_that_is_cut_is_told() -> None:
    long = indicator("198.51.100.1", name="n" * 200, description="d" * 200)
    result = run([long])
    assert "d" * 200 in everything(result) or told(result, long["id"], "description")


# 2. Markings never loosen


def _marking_refs(obj: Stix) -> list[str]:
    return [
        *obj.get("object_marking_refs", []),
        *(row["marking_ref"] for row in obj.get("granular_markings", [])),
    ]


def unresolved(obj: Stix, held: dict[str, Stix]) -> bool:
    """Whether an object has a marking whose meaning nobody knows."""
    return any(ref not in held and ref not in FIXED for ref in _marking_refs(obj))


WORD = re.compile(rb"q[0-9a-f]{12}q")


def rank_of(element: dict[str, Any]) -> int:
    levels = [tag.removeprefix("tlp:") for tag in tag_names(element) if tag.startswith("tlp:")]
    assert len(levels) <= 1
    return max((RANK[level] for level in levels), default=-1)


def rank_in(obj: Stix | None, held: dict[str, Stix]) -> int:
    """The rank of the strictest TLP level that an object is marked with, as far as its definitions
    are there.
    """
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
            assert int(
                event["distribution"] if inherited else element["distribution"]
            ) <= WIDEST.get(wanted, 3)
            for part in element.get(
                "Attribute", []
            ):  # of an object: they have what it has, and no wider one
                assert part["distribution"] in ("5", element["distribution"])
            if any(unresolved(obj, held) for obj in own):
                assert element["distribution"] == "0"


def analyst_data(event: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Notes and opinions, each with the event, attribute or object that it is on."""
    for element in [event, *event["Attribute"], *event["Object"]]:
        for row in [*element.get("Note", []), *element.get("Opinion", [])]:
            yield row, element


def effective(row: dict[str, Any], *around: dict[str, Any]) -> int:
    """The distribution that holds for a row inside of others."""
    return next(int(one["distribution"]) for one in (row, *around) if one["distribution"] != "5")


def chunks(event: dict[str, Any]) -> Iterator[tuple[Any, int, int, bool]]:
    """What an event says, piece by piece, with its rank and distribution, and whether it can have a
    tag of its own.
    """
    of_event = rank_of(event)
    # an event that nothing marks is as a green one
    yield [event["info"], event.get("Tag")], max(of_event, RANK["green"]), effective(event), True
    for row in event.get("EventReport", []):
        yield row["content"], of_event, effective(row, event), False
    for row, element in analyst_data(event):
        around = [] if element is event else [element]
        yield {**row, "distribution": ""}, of_event, effective(row, *around, event), False
    for row in event["Attribute"]:
        yield without_analysis(row), max(of_event, rank_of(row)), effective(row, event), True
    for obj in event["Object"]:
        for row in obj["Attribute"]:
            yield (
                without_analysis(row),
                max(of_event, rank_of(row)),
                effective(row, obj, event),
                True,
            )
        rank = max(of_event, *(rank_of(row) for row in obj["Attribute"]))
        yield [obj["comment"], obj.get("ObjectReference")], rank, effective(obj, event), True


def without_analysis(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("Note", "Opinion")}


def check_words(result: Result, objects: list[Stix]) -> None:
    """Hold every text against the markings of the object whose word is in it."""
    held = newest(objects)
    words = {word_of(id_).encode(): obj for id_, obj in held.items()}
    for event in result.events:
        for said, rank, distribution, tagged in chunks(event):
            for word in WORD.findall(orjson.dumps(said)):
                obj = words[word]
                wanted = rank_in(obj, held)
                told = f"{said} says {obj['id']}"
                if tagged:
                    # a name beside what nothing marks, which counts as green; own markings are held
                    # above
                    assert max(rank, RANK["green"]) >= wanted, told
                    assert distribution <= WIDEST.get(wanted, 3), told
                elif distribution:
                    assert max(rank, RANK["green"]) >= wanted, told
                assert not distribution or not unresolved(obj, held), told


@law(bundles(), OPTIONS)
def test_nothing_comes_out_looser(objects: list[Stix], options: dict[str, Any]) -> None:
    check_markings(run(objects, **options), objects)


RED = [MARKINGS["red"]]


def _actor(**more: Any) -> Stix:
    return {"type": "malware", "id": stix_id("malware", "secret"), **SDO, "modified": EARLY,
            "name": "Secretbot",
            "is_family": True, "description": "A secret description.", **more}  # fmt: skip


def _who(**more: Any) -> Stix:
    return {
        "type": "identity",
        "id": stix_id("identity", "w"),
        **SDO,
        "modified": EARLY,
        "name": "Who",
        **more,
    }


def _told() -> dict[str, list[Stix]]:
    """What is told beside something else, which is not marked."""
    plain, red = indicator("198.51.100.1", tlp="clear"), {"object_marking_refs": RED}
    who = _who(**red)
    mail = {"type": "email-addr", "id": stix_id("email-addr", "m"), "value": "a@a.example",
            "display_name": "A",
            "belongs_to_ref": stix_id("user-account", "dangling"), **red}  # fmt: skip
    file = {"type": "file", "id": stix_id("file", "f"), "name": "secret.exe", "size": 4, **red}
    note = {"type": "note", "id": stix_id("note", "n"), **SDO, "modified": EARLY, "content": "c",
            "object_refs": [plain["id"]]}  # fmt: skip
    gone = {
        "type": "incident",
        "id": stix_id("incident", "i"),
        **SDO,
        "modified": EARLY,
        "name": "I",
        **red,
    }
    content = {"type": "language-content", "id": stix_id("language-content", "l"), **SDO,
               "modified": EARLY,
               "object_ref": stix_id("indicator", "red"),
               "contents": {"de": {"name": "n"}}}  # fmt: skip
    seen = {"type": "observed-data", "id": stix_id("observed-data", "o"), "created": EARLY,
            "modified": EARLY,
            "first_observed": EARLY, "last_observed": EARLY, "number_observed": 1, **red,
            "objects": {"0": {"type": "file", "name": "f.exe"}}}  # fmt: skip
    return {
        "value taken in by a message": [
            mail,
            {"type": "email-message", "id": stix_id("email-message", "m"), "is_multipart": False,
             "subject": "s",
             "from_ref": mail["id"]}],
        "value taken in by a process": [
            file, {"type": "process", "id": stix_id("process", "p"), "pid": 4,
                   "image_ref": file["id"]}],
        "producer": [who, address("198.51.100.7"), {**plain, "created_by_ref": who["id"]}],
        "creator of a context": [
            who, plain, _actor(created_by_ref=who["id"]),
            relationship(plain, "indicates", _actor())],
        "where sighted": [who, plain, sighting(plain, where_sighted_refs=[who["id"]])],
        "creator of a sighting": [who, plain, sighting(plain, created_by_ref=who["id"])],
        "author of a note": [who, plain, {**note, "created_by_ref": who["id"]}],
        "name of what is translated": [
            content, plain, {**plain, "id": stix_id("indicator", "red"), "name": "Secret", **red}],
        "end of a relationship that is nowhere": [
            plain, {**gone, "revoked": True}, relationship(plain, "related-to", gone)],
        "end of a relationship that is in another event": [
            plain, file, relationship(plain, "related-to", file), report("r", [plain]),
            report("s", [file], **red)],
        "inside of a revoked observed-data": [{**seen, "revoked": True}],
        "inside of an observed-data": [seen],
        "note on a context": [
            plain, _actor(**red), relationship(plain, "indicates", _actor()),
            {**note, "object_refs": [_actor()["id"]]}],
    }  # fmt: skip


@pytest.mark.parametrize("case", _told())
def test_what_is_told_beside_something_is_as_red(case: str) -> None:
    objects = worded(_told()[case])
    check_words(run(objects, enrich=Enrich(distribution=3)), objects)


@law(bundles(), OPTIONS, st.sampled_from([(), ("tlp:clear",)]))
def test_no_text_is_told_looser(
    objects: list[Stix], options: dict[str, Any], tags: tuple[str, ...]
) -> None:
    """Names, descriptions, comments, notes, translations: wherever a text comes out, its object's
    marking holds.
    """
    objects = worded(objects)
    check_words(run(objects, enrich=Enrich(distribution=3, tags=tags), **options), objects)


@law(bundles(), OPTIONS)
def test_notes_and_opinions_are_as_strict_as_they_say(
    objects: list[Stix], options: dict[str, Any]
) -> None:
    held = newest(objects)
    result = run(objects, enrich=Enrich(distribution=3), **options)
    for event in result.events:
        for row, element in analyst_data(event):
            kind = "Opinion" if "opinion" in row else "Note"
            said_by = [
                obj
                for id_, obj in held.items()
                if obj["type"] == kind.lower()
                for about in (id_, *(f"{id_} {ref}" for ref in obj["object_refs"]))
                if row["uuid"] == derived_uuid(event["uuid"], kind, about, element["uuid"])
            ]
            assert len(said_by) == 1
            around = [] if element is event else [element]
            if effective(row, *around, event):
                assert max(rank_of(event), RANK["green"]) >= rank_in(said_by[0], held)
                assert not unresolved(said_by[0], held)


@law(
    bundles(),
    st.sampled_from(["tlp:clear", "tlp:green", "tlp:amber", "tlp:red"]),
    st.sampled_from([0, 1, 3]),
)
def test_settings_tighten_and_never_loosen(
    objects: list[Stix], tag: str, distribution: int
) -> None:
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
    result = run(
        [indicator("198.51.100.1"), closed], enrich=Enrich(distribution=3, tags=("tlp:clear",))
    )
    (event,) = result.events
    assert event["distribution"] == "0"
    assert "tlp:clear" not in tag_names(event)
    assert told(result, closed["id"], "object_marking_refs")


def _secrets() -> dict[str, list[Stix]]:
    plain = indicator("198.51.100.1", tlp="clear")
    red = indicator(
        "198.51.100.1", name="n", description="First.\nA secret description.", tlp="red"
    )
    tie = relationship(plain, "indicates", _actor())
    other = indicator("198.51.100.2", tlp="clear")
    seen = {"where_sighted_refs": [stix_id("identity", "w")], "object_marking_refs": RED}
    who = {
        "type": "identity",
        "id": stix_id("identity", "w"),
        **SDO,
        "modified": EARLY,
        "name": "Secretbot",
    }
    return {
        "context": [plain, _actor(object_marking_refs=RED), tie],
        "relationship to context": [plain, _actor(), {**tie, "object_marking_refs": RED}],
        "context in the report alone": [_actor(object_marking_refs=RED)],
        "description": [red],
        "relationship": [plain, other, relationship(plain, "Secretbot", other,
                                                    object_marking_refs=RED)],
        "row of a relationship": [
            plain, other, relationship(plain, "x", other, description="Secretbot",
                                       object_marking_refs=RED),
        ],
        "sighting": [plain, who, sighting(plain, **seen)],
        "between contexts": [
            plain, _actor(name="M", description="d"), tie,
            {**_actor(name="T", description="d"), "type": "tool", "id": stix_id("tool", "t")},
            relationship(_actor(), "x", {"id": stix_id("tool", "t")}, description="Secretbot",
                         object_marking_refs=RED),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("in_report", [False, True], ids=["collected", "reported"])
@pytest.mark.parametrize("case", _secrets())
def test_what_red_says_is_red_wherever_it_is_said(case: str, in_report: bool) -> None:
    """Tags, sightings, references and event reports are said by their objects as much as values
    are.
    """
    objects = _secrets()[case]
    if in_report:
        # who sighted it is no secret by itself
        members = [obj for obj in objects if obj["type"] != "identity"]
        if (
            case == "relationship to context"
        ):  # the context itself is no secret, and stays unsaid by the report
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


@law(bundles(), st.randoms(use_true_random=False), OPTIONS)
def test_the_order_says_nothing(
    objects: list[Stix], chance: random.Random, options: dict[str, Any]
) -> None:
    shuffled = [dict(chance.sample(list(obj.items()), len(obj))) for obj in objects]
    chance.shuffle(shuffled)
    first, second = run(objects, **options), run(shuffled, **options)
    assert orjson.dumps(first.events) == orjson.dumps(second.events)
    assert first.ledger.to_dict() == second.ledger.to_dict()


def test_the_order_of_versions_says_nothing() -> None:
    versions = [{**_actor(), "modified": moment} for moment in (EARLY, EARLY, LAST, LATER)]
    ledgers = [run([*order]).ledger.to_dict() for order in itertools.permutations(versions)]
    assert all(ledger == ledgers[0] for ledger in ledgers)


# 4. Lifecycle counts


@law(bundles(), OPTIONS)
def test_to_ids_only_where_something_live_detects(
    objects: list[Stix], options: dict[str, Any]
) -> None:
    result = run(objects, **options)
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


DESCRIBED = orjson.loads((resources.files("pymisp") / "data" / "describeTypes.json").read_bytes())[
    "result"
]


@law(bundles(), OPTIONS)
def test_everything_is_what_misp_takes(objects: list[Stix], options: dict[str, Any]) -> None:
    """Types in their categories, values as MISP holds them, objects by their templates."""
    for row in run(objects, **options).converted:
        for attribute in all_attributes(row.event):
            assert attribute["category"] in load().allowed[attribute["type"]]
            assert normalise(attribute["type"], attribute["value"]) == attribute["value"]
        for obj in row.event["Object"]:
            relations = load().relations(obj["name"])
            if not relations:  # MISP has none: a custom type's, and then only texts
                assert obj["name"] in {id_.partition("--")[0] for id_ in row.elements[obj["uuid"]]}
                assert {attribute["type"] for attribute in obj["Attribute"]} == {"text"}
                continue
            template = load().template(obj["name"])
            assert obj["template_uuid"] == template.uuid
            assert (obj["template_version"], obj["meta-category"]) == (
                template.version,
                template.category,
            )
            for attribute in obj["Attribute"]:
                assert attribute["type"] == relations[attribute["object_relation"]][0]


@law(bundles(), OPTIONS, st.booleans())
def test_uuids_are_unique_and_types_are_misps(
    objects: list[Stix], options: dict[str, Any], derived: bool
) -> None:
    result = run(
        objects, **options, uuid_namespace=str(uuid.UUID(int=1, version=4)) if derived else None
    )
    every: Counter[str] = Counter()
    for event in result.events:
        own = {row["uuid"] for row in (*all_attributes(event), *event["Object"])}
        rows = [event, *all_attributes(event), *event["Object"], *event.get("EventReport", [])]
        for row in list(rows):
            for name in ("Sighting", "Relationship", "ObjectReference", "Note", "Opinion"):
                rows += row.get(name, [])
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
    traffic = {"type": "network-traffic", "id": stix_id("network-traffic", "t"),
               "dst_ref": address["id"],
               "dst_port": 443, "protocols": ["tcp"]}  # fmt: skip
    result = run([address, traffic, report("r", [address])])
    (event,) = [row.event for row in result.converted if row.container]
    assert [row["value"] for row in event["Attribute"]] == ["198.51.100.9"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(AT_LENGTH))
def test_the_laws_at_length(name: str) -> None:
    AT_LENGTH[name]()
