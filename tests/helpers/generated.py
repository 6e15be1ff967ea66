"""Generated bundles of the types that are converted: optional properties, markings, references, versions, any order."""

from hypothesis import strategies as st

from .stix import EARLY, LAST, LATER, MARKINGS, Stix, relationship, report, sighting, stix_id

PAST, FUTURE = "2026-01-15T00:00:00Z", "2027-01-01T00:00:00Z"  # of `rich.NOW`

# Markings

RANK = {None: -1, "clear": 0, "green": 1, "amber": 2, "amber+strict": 3, "red": 4}
WIDEST = {RANK["red"]: 0, RANK["amber+strict"]: 0, RANK["amber"]: 1}
LEVELS = {
    **{id_: level for level, id_ in MARKINGS.items()},
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "clear",  # TLP 1
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "amber",
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": "amber+strict",
}
FIXED = frozenset(LEVELS)  # known without their definitions
_OWN = [
    ("opencti", "red", {"definition_type": "TLP", "name": "TLP:RED"}),
    ("opencti strict", "amber+strict", {"definition_type": "TLP", "name": "TLP:AMBER+STRICT"}),
    ("old", "green", {"definition_type": "tlp", "definition": {"tlp": "green"}}),
    ("extension", "amber", {"name": "x", "extensions": {
        "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {"tlp_2_0": "amber"}}}),
]  # fmt: skip
DEFINITIONS = [
    {"type": "marking-definition", "id": stix_id("marking-definition", name), "created": EARLY, **more}
    for name, _, more in _OWN
]
LEVELS |= {stix_id("marking-definition", name): level for name, level, _ in _OWN}
STATEMENT = {"type": "marking-definition", "id": stix_id("marking-definition", "statement"), "created": EARLY,
             "definition_type": "statement", "definition": {"statement": "(c)"}}  # fmt: skip
UNKNOWN = stix_id("marking-definition", "nowhere")

# Bundles

_VALUES = {
    "ipv4-addr": ["198.51.100.1", "198.51.100.2"],
    "ipv6-addr": ["2001:db8::1"],
    "domain-name": ["a.example", "b.example"],
    "url": ["https://a.example/x"],
    "email-addr": ["a@a.example"],
    "mac-addr": ["00:11:22:33:44:55"],
}
_NAMED = ["malware", "tool", "attack-pattern", "intrusion-set", "threat-actor", "campaign", "course-of-action"]
_PATTERNS = [
    "[ipv4-addr:value = '198.51.100.1']", "[ipv4-addr:value != '198.51.100.1']", "[domain-name:value = 'a.example']",
    "[ipv4-addr:value IN ('198.51.100.1', '198.51.100.2')]", "[file:name = 'a' AND file:size = 1]",
    "[domain-name:value LIKE '%.example']", "[ipv4-addr:value = '198.51.100.2'] FOLLOWEDBY [url:value = 'http://a/']",
    "[domain-name:value = 'b.example' AND ipv4-addr:value = '198.51.100.2']", "[x-none:y = 1]", "[broken",
    "[file:name = 'a' AND file:size = 1] AND [file:name = 'b' AND file:size = 2]",
]  # fmt: skip
SDO = {"created": EARLY, "spec_version": "2.1"}


def _bare() -> list[Stix]:
    """The objects that bundles are drawn from, without their optional properties and references."""
    made: list[Stix] = []
    for kind, values in _VALUES.items():
        made += [{"type": kind, "id": stix_id(kind, f"{value}{at}"), "value": value}
                 for value in values for at in range(2)]  # fmt: skip
    made += [{"type": kind, "id": stix_id(kind, "n"), "modified": EARLY, **SDO, "name": f"{kind} n"} for kind in _NAMED]
    made += [{"type": "indicator", "id": stix_id("indicator", f"{at} {copy}"), "modified": EARLY, **SDO,
              "pattern": pattern, "pattern_type": "stix", "valid_from": EARLY}
             for at, pattern in enumerate(_PATTERNS) for copy in range(2)]  # fmt: skip
    made += [
        {"type": "file", "id": stix_id("file", "f"), "name": "f.exe", "hashes": {"MD5": "a" * 32}, "size": 3},
        {"type": "file", "id": stix_id("file", "g"), "hashes": {"SHA-256": "b" * 64}},
        {"type": "autonomous-system", "id": stix_id("autonomous-system", "1"), "number": 64496},
        {"type": "mutex", "id": stix_id("mutex", "1"), "name": "m"},
        {"type": "network-traffic", "id": stix_id("network-traffic", "1"), "protocols": ["tcp"]},
        {"type": "vulnerability", "id": stix_id("vulnerability", "1"), "modified": EARLY, **SDO,
         "name": "CVE-2026-10001"},
        {"type": "identity", "id": stix_id("identity", "1"), "modified": EARLY, **SDO, "name": "Someone"},
    ]  # fmt: skip
    return made


POOL = _bare()
SCO = {*_VALUES, "file", "autonomous-system", "mutex", "network-traffic"}
_known = [obj["id"] for obj in POOL]
_ref = st.sampled_from([*_known, stix_id("indicator", "dangling"), stix_id("malware", "dangling")])
_moment = st.sampled_from([EARLY, LATER, LAST])
_marks = st.lists(st.sampled_from([*LEVELS, STATEMENT["id"], UNKNOWN]), max_size=2, unique=True)


@st.composite
def _dressed(draw: st.DrawFn, obj: Stix) -> Stix:
    """An object with some optional properties and references."""
    made = dict(obj)
    may = draw(
        st.sets(st.sampled_from(["marks", "granular", "more", "creator", "ended", "refs", "labels"]), max_size=3)
    )
    if "marks" in may:
        made["object_marking_refs"] = draw(_marks)
    if "granular" in may:
        made["granular_markings"] = [{"marking_ref": ref, "selectors": ["type"]} for ref in draw(_marks)]
    kind = obj["type"]
    if kind in SCO:
        if "refs" in may:
            made |= {
                "ipv4-addr": {"resolves_to_refs": [stix_id("mac-addr", "00:11:22:33:44:550"), draw(_ref)]},
                "domain-name": {"resolves_to_refs": [stix_id("ipv4-addr", "198.51.100.10"), draw(_ref)]},
                "network-traffic": {"dst_ref": draw(_ref), "src_ref": stix_id("ipv4-addr", "198.51.100.21")},
                "file": {"contains_refs": [draw(_ref), stix_id("file", "f"), stix_id("file", "g")]},
            }.get(kind, {"x_custom_ref": draw(_ref)})
        return made
    if "more" in may:
        made |= {"description": "First.\nSecond.", "confidence": draw(st.integers(0, 100)), "x_custom": {"a": [1]},
                 "external_references": [{"source_name": "s", "url": "https://ref.example/"}]}  # fmt: skip
    if "creator" in may:
        made["created_by_ref"] = draw(st.sampled_from([stix_id("identity", "1"), stix_id("identity", "dangling")]))
    if "labels" in may:
        made["labels"] = ["l"]
    if "ended" in may:
        made["revoked"] = draw(st.booleans())
        if kind == "indicator":
            made["valid_until"] = draw(st.sampled_from([PAST, FUTURE]))
            made["indicator_types"] = draw(st.lists(st.sampled_from(
                ["benign", "malicious-activity", "anonymization", "unknown", "attribution"]), max_size=2))  # fmt: skip
    return made


@st.composite
def bundles(draw: st.DrawFn) -> list[Stix]:
    """The objects of a bundle, in any order."""
    chosen = draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=9, unique_by=lambda obj: obj["id"]))
    made = [draw(_dressed(obj)) for obj in chosen]
    held = [obj["id"] for obj in made]
    ref = st.one_of(st.sampled_from(held), _ref)
    for at in range(draw(st.integers(0, 3))):
        tie = relationship({"id": draw(ref)}, draw(st.sampled_from(["indicates", "uses", "x"])), {"id": draw(ref)})
        made.append(draw(_dressed({**tie, "id": stix_id("relationship", str(at))})))
    for at in range(draw(st.integers(0, 2))):
        seen = sighting({"id": draw(ref)}, count=draw(st.integers(0, 9)), last_seen=draw(_moment))
        made.append(draw(_dressed({**seen, "id": stix_id("sighting", str(at))})))
    for at in range(draw(st.integers(0, 1))):
        refs = draw(st.lists(ref, max_size=3, unique=True))
        made.append(draw(_dressed({
            "type": "observed-data", "id": stix_id("observed-data", str(at)), "modified": EARLY, **SDO,
            "first_observed": EARLY, "last_observed": LATER, "number_observed": 2, "object_refs": refs})))  # fmt: skip
    names = [stix_id(kind, "r") for kind in ("report", "grouping")] + [stix_id("report", "s")]
    everyone = [obj["id"] for obj in made]
    for id_ in names[: draw(st.integers(0, 3))]:
        refs = draw(st.lists(st.sampled_from([*everyone, *names, UNKNOWN]), max_size=6, unique=True))
        made.append(draw(_dressed({**report(id_, refs), "type": id_.partition("--")[0], "id": id_})))
    for obj in list(made):
        if "modified" in obj and draw(st.integers(0, 9)) > 7:
            made.append({**obj, "modified": draw(_moment), "x_version": draw(st.integers(0, 2))})
        if draw(st.integers(0, 9)) > 7:
            made += [dict(obj)] * draw(st.integers(1, 2))
    made += draw(st.sampled_from([[], DEFINITIONS, [*DEFINITIONS, STATEMENT]]))
    return draw(st.permutations(made))
