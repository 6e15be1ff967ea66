"""Generated bundles of every type: optional properties, markings, references, versions, order."""

from collections.abc import Collection, Iterator
from hashlib import sha256
from typing import Any

import stix2.v21
from hypothesis import strategies as st

from .rich import rich, rich20
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
    {
        "type": "marking-definition",
        "id": stix_id("marking-definition", name),
        "created": EARLY,
        **more,
    }
    for name, _, more in _OWN
]
LEVELS |= {stix_id("marking-definition", name): level for name, level, _ in _OWN}
STATEMENT = {"type": "marking-definition", "id": stix_id("marking-definition", "statement"),
             "created": EARLY,
             "definition_type": "statement", "definition": {"statement": "(c)"}}  # fmt: skip
UNKNOWN = stix_id("marking-definition", "nowhere")

# Objects

_PATTERNS = [
    "[ipv4-addr:value = '198.51.100.1']", "[ipv4-addr:value != '198.51.100.1']",
    "[domain-name:value = 'a.example']", "[ipv4-addr:value IN ('198.51.100.1', '198.51.100.2')]",
    "[file:name = 'a' AND file:size = 1]", "[domain-name:value LIKE '%.example']",
    "[ipv4-addr:value = '198.51.100.2'] FOLLOWEDBY [url:value = 'http://a/']",
    "[domain-name:value = 'b.example' AND ipv4-addr:value = '198.51.100.2']", "[x-none:y = 1]",
    "[broken", "[file:name = 'a' AND file:size = 1] AND [file:name = 'b' AND file:size = 2]",
    "[email-message:subject = 's' AND email-message:from_ref.value = 'a@a.example']",
    "[windows-registry-key:key = 'HKLM\\\\a' AND windows-registry-key:values[*].name = 'b']",
    "[process:command_line = 'a -b' OR user-account:account_login = 'c']",
]  # fmt: skip
SDO = {"created": EARLY, "spec_version": "2.1"}
_VALUES: dict[str, list[Stix]] = {
    "ipv4-addr": [
        {"value": "198.51.100.1"},
        {"value": "198.51.100.2"},
        {"value": "198.51.100.0/24"},
    ],
    "ipv6-addr": [{"value": "2001:db8::1"}],
    "domain-name": [{"value": "a.example"}, {"value": "b.example"}, {"value": "nodots"}],
    "url": [{"value": "https://a.example/x"}],
    "email-addr": [{"value": "a@a.example"}, {"value": "B@B.example"}],
    "mac-addr": [{"value": "00:11:22:33:44:55"}],
    "autonomous-system": [{"number": 64496}],
    "file": [
        {"name": "f.exe", "hashes": {"MD5": "a" * 32}, "size": 3},
        {"hashes": {"SHA-256": "b" * 64}},
    ],
    "malware": [{"name": "m", "is_family": True}, {"name": "m", "is_family": False}],
    "location": [
        {"name": "Somewhere", "country": "FR"},
        {"latitude": 1.5, "longitude": -2.5},
        {"region": "caribbean"},
    ],
    "identity": [{"name": "Someone"}, {"name": "energy", "identity_class": "class"}],
    "vulnerability": [{"name": "CVE-2026-10001"}, {"name": "A flaw"}],
    "note": [{"content": "What is noted.", "object_refs": []}],
    "opinion": [
        {"opinion": "agree", "object_refs": []},
        {"opinion": "strongly-disagree", "object_refs": []},
    ],
    # OpenCTI's types, ATT&CK's, and one that nobody knows
    "hostname": [{"value": "h.a.example"}, {"value": "H.A.example"}],
    "user-agent": [{"value": "Agent/1.0"}],
    "cryptocurrency-wallet": [{"value": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"}, {"value": "0xabc"}],
    "text": [{"value": "some text"}],
    "phone-number": [{"value": "+331234"}],
    "bank-account": [{"iban": "FR7630006000011234567890189", "bic": "AGRIFRPP"}],
    "payment-card": [{"card_number": "4111111111111111", "cvv": "123"}],
    "media-content": [{"url": "https://a.example/x", "title": "A title"}],
    "credential": [{"value": "secret"}],
    "cryptographic-key": [{"value": "key"}],
    "x-mitre-tactic": [{"name": "A tactic", "x_mitre_shortname": "a-tactic"}],
    "x-mitre-data-source": [{"name": "A source", "x_mitre_platforms": ["Linux"]}],
    "x-custom": [
        {
            "name": "own",
            "x_list": [1, "two", {"three": None}],
            "x_ref": stix_id("malware", "dangling"),
        }
    ],
    "x-custom-thing": [{"value": "198.51.100.1", "x_map": {"a": [True]}}],
}

# what the specification says each type has at least, and no property of two that exclude each other
_ALWAYS = {
    "directory": ["path"], "process": ["pid"], "network-traffic": ["protocols", "src_ref"],
    "artifact": ["payload_bin"], "x509-certificate": ["serial_number"],
    "malware-analysis": ["product", "result"], "user-account": ["user_id"],
    "windows-registry-key": ["key"], "infrastructure": ["name"], "software": ["name"],
    "email-message": ["is_multipart"],
    "observed-data": ["first_observed", "last_observed", "number_observed"],
}  # fmt: skip
_CLASSES = {
    found._type: found
    for module in (stix2.v21.sdo, stix2.v21.observables, stix2.v21.common)
    for found in vars(module).values()
    if isinstance(found, type) and hasattr(found, "_properties") and hasattr(found, "_type")
}
_TIED = {
    "relationship",
    "sighting",
    "report",
    "grouping",
    "observed-data",
    "indicator",
    "marking-definition",
}
_FULL: dict[str, list[Stix]] = {}
for _obj in rich():
    _FULL.setdefault(_obj["type"], []).append(_obj)
SCO = frozenset(kind for kind, found in _FULL.items() if "created" not in found[0]) | {
    "hostname", "user-agent", "cryptocurrency-wallet", "text", "phone-number", "bank-account",
    "payment-card", "media-content", "credential", "cryptographic-key",
}  # fmt: skip


def _least(kind: str, full: Stix) -> Stix:
    """An object of the specification with nothing but what it must have."""
    needed = {name for name, prop in _CLASSES[kind]._properties.items() if prop.required} | set(
        _ALWAYS.get(kind, ())
    )
    return {
        name: value
        for name, value in full.items()
        if name in needed and name not in ("created", "modified")
    }


def _pool() -> list[Stix]:
    """The objects that bundles are drawn from, without their optional properties and references."""
    made: list[Stix] = []
    for kind in sorted({*_FULL, *_VALUES} - _TIED):
        found = _VALUES.get(kind) or [_least(kind, full) for full in _FULL[kind]]
        times = {} if kind in SCO else {"modified": EARLY, **SDO}
        for at, value in enumerate(found):
            made += [
                {**value, "type": kind, "id": stix_id(kind, f"{at} {copy}"), **times}
                for copy in range(2)
            ]
    made += [{"type": "indicator", "id": stix_id("indicator", f"{at} {copy}"), "modified": EARLY,
              **SDO,
              "pattern": pattern, "pattern_type": "stix", "valid_from": EARLY}
             for at, pattern in enumerate(_PATTERNS) for copy in range(2)]  # fmt: skip
    return made


POOL = _pool()
KINDS = sorted({obj["type"] for obj in POOL})
_BY_KIND = {kind: [obj for obj in POOL if obj["type"] == kind] for kind in KINDS}
_known = [obj["id"] for obj in POOL]
_dangling = [
    stix_id(kind, "dangling") for kind in ("indicator", "malware", "ipv4-addr", "identity")
]
_moment = st.sampled_from([EARLY, LATER, LAST])
_marks = st.lists(st.sampled_from([*LEVELS, STATEMENT["id"], UNKNOWN]), max_size=2, unique=True)
_chance = st.integers(0, 9)
_COMMON = frozenset({
    "type", "id", "spec_version", "created", "modified", "revoked", "object_marking_refs",
    "granular_markings", "created_by_ref", "confidence", "labels", "external_references",
    "extensions", "valid_until", "indicator_types",
})  # fmt: skip
_OPENCTI = {"x_opencti_score": 70, "x_opencti_description": "What it is.",
            "x_opencti_labels": ["l"],
            "x_opencti_detection": True}  # fmt: skip


def optional(kind: str) -> dict[str, Any]:
    """The properties of its own that an object of a type may have."""
    found = {
        name: value
        for full in _FULL.get(kind, ())
        for name, value in full.items()
        if name not in _COMMON
    }
    if kind == "artifact":
        found.pop("url", None)  # excludes the payload
    return found


def _references(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(name of the property, type it refers to) of each reference at any depth of an object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _references(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner, name)
    elif name.endswith(("_ref", "_refs")) and not name.endswith(("marking_ref", "marking_refs")):
        yield name, value.partition("--")[0]


_MEANT: dict[str, set[str]] = {}  # property -> the types it refers to; of `object_refs`, all
_BESIDE: dict[str, set[str]] = {}  # type -> the types it refers to
for _obj in rich():
    for _name, _kind in _references(_obj):
        _MEANT.setdefault(_name, set()).add(_kind)
        if _kind in _BY_KIND:
            _BESIDE.setdefault(_obj["type"], set()).add(_kind)


class Refs:
    """Draws references: mostly to what is there (the object itself too) and of the type that is
    meant.
    """

    def __init__(self, held: list[str], other: list[str]) -> None:
        self._held = held
        self.any = st.one_of(
            st.sampled_from(held), st.sampled_from(held), st.sampled_from([*_known, *other])
        )

    def of(self, name: str) -> st.SearchStrategy[str]:
        """Those that a property of that name may hold."""
        meant = [id_ for id_ in self._held if id_.partition("--")[0] in _MEANT.get(name, ())]
        return (
            st.one_of(st.sampled_from(meant), st.sampled_from(meant), self.any)
            if meant
            else self.any
        )


def _tied(draw: st.DrawFn, value: Any, refs: Refs, name: str = "") -> Any:
    """A value whose references are drawn, wherever they stand in it."""
    if isinstance(value, dict):
        return {key: _tied(draw, inner, refs, key) for key, inner in value.items()}
    if isinstance(value, list):
        if name.endswith("_refs"):
            return draw(st.lists(refs.of(name), min_size=1, max_size=3, unique=True))
        return [_tied(draw, inner, refs) for inner in value]
    return draw(refs.of(name)) if name.endswith("_ref") else value


def _some(draw: st.DrawFn, values: dict[str, Any]) -> dict[str, Any]:
    """Some of several properties; often all or none."""
    if not values:
        return {}
    some = st.lists(st.sampled_from(sorted(values)), unique=True)
    names = draw(st.one_of(st.just([]), st.just(sorted(values)), some))
    return {name: values[name] for name in sorted(names)}


@st.composite
def _dressed(draw: st.DrawFn, obj: Stix, refs: Refs) -> Stix:
    """An object with some optional properties and references."""
    kind = obj["type"]
    made = dict(obj)
    if kind not in _TIED:
        made |= {
            name: value for name, value in _some(draw, optional(kind)).items() if name not in obj
        }
    full = next((full for full in _FULL.get(kind, ()) if "extensions" in full), None)
    if full is not None and draw(_chance) > 6:
        made["extensions"] = {
            name: _some(draw, inner) for name, inner in _some(draw, full["extensions"]).items()
        }
    made = (
        {name: _tied(draw, value, refs, name) for name, value in made.items()}
        if kind not in _TIED
        else made
    )
    may = draw(
        st.sets(
            st.sampled_from(["marks", "granular", "more", "creator", "ended", "labels", "own"]),
            max_size=3,
        )
    )
    if "marks" in may:
        made["object_marking_refs"] = draw(_marks)
    if "granular" in may:
        made["granular_markings"] = [
            {"marking_ref": ref, "selectors": ["type"]} for ref in draw(_marks)
        ]
    if "own" in may:
        made |= {"x_custom": {"a": [1]}, "x_custom_ref": draw(refs.any)} | _some(draw, _OPENCTI)
    return made if kind in SCO else made | _common(draw, kind, may, refs)


def _common(draw: st.DrawFn, kind: str, may: Collection[str], refs: Refs) -> Stix:
    """Some properties that every domain object may have."""
    made: Stix = {}
    if "more" in may:
        made |= {"confidence": draw(st.integers(0, 100)),
                 "external_references": [{"source_name": "s", "url": "https://ref.example/"},
                                         {"source_name": "cve",
                                          "external_id": "CVE-2026-10001"}]}  # fmt: skip
        if kind not in ("note", "opinion", "observed-data", "language-content"):
            made["description"] = "First.\nSecond."
    if "creator" in may:
        made["created_by_ref"] = draw(refs.of("created_by_ref"))
    if "labels" in may:
        made["labels"] = ["l"]
    if "ended" in may:
        made["revoked"] = draw(st.booleans())
        if kind == "indicator":
            made["valid_until"] = draw(st.sampled_from([PAST, FUTURE]))
            made["indicator_types"] = draw(st.lists(st.sampled_from(
                ["benign", "malicious-activity", "anonymization", "unknown", "attribution"]),
                max_size=2))  # fmt: skip
    return made


_DEFINITION = _FULL["extension-definition"][0]  # of the extension that the observables have

# all types, those that much is said of or that say much of others more often
_OFTEN = KINDS + ["indicator"] * 6 + ["ipv4-addr"] * 2 + ["note"] * 5 + ["opinion"] * 3

# observed-data of STIX 2.0, with references by key and parts of a message
_NESTED = [{
    "0": {"type": "email-message", "is_multipart": True, "from_ref": "1", "to_refs": ["2"],
          "subject": "s",
          "body_multipart": [{"body": "b", "content_type": "text/plain"}, {"body_raw_ref": "3"}]},
    "1": {"type": "email-addr", "value": "a@a.example", "display_name": "A"},
    "2": {"type": "email-addr", "value": "no"},
    "3": {"type": "file", "name": "f.exe", "contains_refs": ["3", "9"], "created": EARLY},
    "4": {"type": "x-unheard-of", "a": 1}, "5": {"type": "ipv4-addr", "value": "198.51.100.1"},
}, next(obj for obj in rich20() if obj["type"] == "observed-data")["objects"]]  # fmt: skip


@st.composite
def bundles(draw: st.DrawFn) -> list[Stix]:
    """The objects of a bundle, in any order."""
    # by type first: a type of many values is no more frequent
    kinds = draw(st.lists(st.sampled_from(_OFTEN), min_size=1, max_size=9))
    for kind in list(kinds):
        if kind in _BESIDE and draw(_chance) > 4:
            kinds.append(draw(st.sampled_from(sorted(_BESIDE[kind]))))
    chosen = {obj["id"]: obj for obj in [draw(st.sampled_from(_BY_KIND[kind])) for kind in kinds]}
    held = list(chosen)
    containers = [stix_id(kind, "r") for kind in ("report", "grouping")] + [stix_id("report", "s")]
    refs = Refs(held, [*_dangling, *containers])
    made = [draw(_dressed(obj, refs)) for obj in chosen.values()]
    if any(_DEFINITION["id"] in obj.get("extensions", ()) for obj in made):
        least = _least("extension-definition", _DEFINITION)
        known = {"type": "extension-definition", "id": _DEFINITION["id"], "modified": EARLY, **SDO}
        made.append(draw(_dressed({**least, **known}, refs)))
    for at in range(draw(st.integers(0, 3))):
        tie = relationship(
            {"id": draw(refs.any)},
            draw(st.sampled_from(["indicates", "uses", "x"])),
            {"id": draw(refs.any)},
        )
        more = _some(draw, {"description": "Why.", "start_time": EARLY, "stop_time": LATER})
        made.append(draw(_dressed({**tie, **more, "id": stix_id("relationship", str(at))}, refs)))
    for at in range(draw(st.integers(0, 2))):
        seen = sighting(
            {"id": draw(refs.any)}, count=draw(st.integers(0, 9)), last_seen=draw(_moment)
        )
        more = (
            {"where_sighted_refs": [draw(refs.of("where_sighted_refs"))]}
            if draw(_chance) > 5
            else {}
        )
        made.append(draw(_dressed({**seen, **more, "id": stix_id("sighting", str(at))}, refs)))
    for at in range(draw(st.integers(0, 1))):
        what = draw(st.one_of(
            st.fixed_dictionaries({"object_refs": st.lists(refs.any, max_size=3, unique=True)}),
            st.fixed_dictionaries({"objects": st.sampled_from(_NESTED)})))  # fmt: skip
        made.append(draw(_dressed({
            "type": "observed-data", "id": stix_id("observed-data", str(at)), "modified": EARLY,
            **SDO, "first_observed": EARLY, "last_observed": LATER, "number_observed": 2, **what},
            refs)))  # fmt: skip
    everyone = [obj["id"] for obj in made]
    for id_ in containers[: draw(st.integers(0, 3))]:
        members = draw(
            st.lists(st.sampled_from([*everyone, *containers, UNKNOWN]), max_size=6, unique=True)
        )
        made.append(
            draw(
                _dressed({**report(id_, members), "type": id_.partition("--")[0], "id": id_}, refs)
            )
        )
    for obj in list(made):
        if "modified" in obj and draw(_chance) > 7:
            made.append({**obj, "modified": draw(_moment), "x_version": draw(st.integers(0, 2))})
        if draw(_chance) > 7:
            made += [dict(obj)] * draw(st.integers(1, 2))
    made += draw(st.sampled_from([[], DEFINITIONS, [*DEFINITIONS, STATEMENT]]))
    return draw(st.permutations(made))


_TEXTS = frozenset({
    "name", "description", "abstract", "content", "explanation", "objective", "display_name",
    "subject", "body", "comment", "command_line", "product", "result_name", "vendor", "title",
    "contact_information", "x_opencti_description",
})  # fmt: skip
_LISTED = frozenset({"aliases", "authors", "goals", "x_list", "modules", "labels", "roles"})


def word_of(id_: str) -> str:
    """A word that stands for one object."""
    return f"q{sha256(id_.encode()).hexdigest()[:12]}q"


def worded(objects: list[Stix]) -> list[Stix]:
    """The objects with the word of each in its texts, to know them by."""
    return [
        _worded(obj, word_of(obj["id"])) if obj["type"] != "marking-definition" else obj
        for obj in objects
    ]


def _worded(value: Any, word: str, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _worded(inner, word, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_worded(inner, word, name if name in _LISTED else "") for inner in value]
    own = (
        isinstance(value, str)
        and (name in _TEXTS or name in _LISTED)
        and not value.startswith("CVE-")
    )
    return f"{value} {word}" if own else value
