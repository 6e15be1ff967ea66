"""A generated knowledge base in the shape of ATT&CK: few types, long texts, many relationships.

Four of five objects are relationships.
Every text is put together from the parts below, which are invented.
"""

import random
from collections.abc import Iterator

from .inputs import Object, id_of, made

_SEED = 7
_SUBJECTS = (
    "The loader",
    "A scheduled job",
    "The operator",
    "An unsigned helper",
    "The second stage",
    "A renamed tool",
    "The remote shell",
    "A forged update",
)
_VERBS = ("reads", "renames", "encrypts", "copies", "deletes", "sends away", "hides", "replaces")
_THINGS = (
    "the list of mounted drives",
    "saved passwords of the mail client",
    "records of the event log",
    "the settings of the proxy",
    "project files of the controller",
    "keys of the start-up folder",
    "the table of open connections",
    "backups on the file server",
)
_ENDS = (
    "before the first call home",
    "once the user has logged in",
    "to look like routine work",
    "when no analysis tool is running",
    "and waits for up to ten minutes",
    "after it has checked the time zone",
    "so that a restart does not end it",
    "over a channel that was opened earlier",
)
_PLATFORMS = ("Windows", "Linux", "macOS", "Network Devices", "Containers")
_TACTICS = 14

# (type, its share of all objects, length of the text); relationships fill up the rest
_KINDS = (
    ("attack-pattern", 0.028, 2_400),
    ("malware", 0.030, 900),
    ("tool", 0.004, 500),
    ("intrusion-set", 0.007, 1_000),
    ("campaign", 0.002, 1_000),
    ("course-of-action", 0.011, 700),
    ("x-mitre-data-component", 0.004, 600),
    ("x-mitre-analytic", 0.070, 800),
    ("x-mitre-detection-strategy", 0.028, 0),
)
# (relationship, from, to, weight)
_LINKS = (
    ("uses", "malware", "attack-pattern", 46),
    ("uses", "intrusion-set", "attack-pattern", 22),
    ("uses", "intrusion-set", "malware", 6),
    ("uses", "campaign", "attack-pattern", 6),
    ("uses", "tool", "attack-pattern", 4),
    ("mitigates", "course-of-action", "attack-pattern", 8),
    ("detects", "x-mitre-detection-strategy", "attack-pattern", 4),
    ("subtechnique-of", "attack-pattern", "attack-pattern", 3),
    ("attributed-to", "campaign", "intrusion-set", 1),
)


def _prose(rng: random.Random, length: int) -> str:
    """Sentences with citations, in paragraphs, of about that many characters."""
    said: list[str] = []
    size = 0
    while size < length:
        parts = (rng.choice(part) for part in (_SUBJECTS, _VERBS, _THINGS, _ENDS))
        cited = f"(Citation: Invented Report {rng.randrange(900)})" if rng.random() < 0.3 else ""
        said.append(" ".join(parts) + "." + cited + ("\n\n" if rng.random() < 0.1 else " "))
        size += len(said[-1])
    return "".join(said).strip()


def _references(rng: random.Random, external_id: str | None, most: int) -> list[dict[str, str]]:
    found = []
    if external_id is not None:
        url = f"https://attack.example/{external_id}"
        found.append({"source_name": "invented-attack", "external_id": external_id, "url": url})
    for number in rng.sample(range(900), rng.randint(1, most)):
        found.append(
            {
                "source_name": f"Invented Report {number}",
                "description": (
                    f"Invented Vendor. (2025, March {1 + number % 28}). Notes, part {number}."
                ),
                "url": f"https://reports.example.com/notes/{number}",
            }
        )
    return found


def attack(count: int) -> Iterator[Object]:
    """`count` objects in the proportions and with the lengths of text that ATT&CK has."""
    rng = random.Random(_SEED)
    yield (creator := made("identity", 0, name="Invented Institute", identity_class="organization"))
    statement = made(
        "marking-definition",
        0,
        created_by_ref=creator["id"],
        definition_type="statement",
        definition={"statement": "Invented for measurements."},
    )
    del statement["modified"]  # markings have none
    yield statement
    shared = {
        "created_by_ref": creator["id"],
        "object_marking_refs": [statement["id"]],
        "x_mitre_attack_spec_version": "3.3.0",
        "x_mitre_modified_by_ref": creator["id"],
        "x_mitre_deprecated": False,
    }
    for at in range(_TACTICS):
        yield made(
            "x-mitre-tactic",
            at,
            name=f"Tactic {at}",
            description=_prose(rng, 500),
            x_mitre_shortname=f"tactic-{at}",
            external_references=_references(rng, f"TA9{at:03}", 1),
            **shared,
        )
    sizes = {type_: max(1, int(count * share)) for type_, share, _ in _KINDS}
    for type_, _, length in _KINDS:
        for at in range(sizes[type_]):
            yield made(type_, at, **_described(rng, type_, at, length), **shared)
    rest = count - 2 - _TACTICS - sum(sizes.values())
    for at, (how, source, target, _) in enumerate(
        rng.choices(_LINKS, [row[-1] for row in _LINKS], k=max(0, rest))
    ):
        yield made(
            "relationship",
            at,
            relationship_type=how,
            source_ref=id_of(source, rng.randrange(sizes[source])),
            target_ref=id_of(target, rng.randrange(sizes[target])),
            description=_prose(rng, 160),
            external_references=_references(rng, None, 2),
            **shared,
        )


def _described(rng: random.Random, type_: str, at: int, length: int) -> Object:
    """The properties that a type has beside those of all."""
    letter = {
        "attack-pattern": "T9",
        "malware": "S9",
        "tool": "S8",
        "intrusion-set": "G9",
        "campaign": "C9",
    }
    name = f"{type_.removeprefix('x-mitre-').replace('-', ' ').title()} {at}"
    found: Object = {
        "name": name,
        "external_references": _references(
            rng, f"{letter.get(type_, 'X9')}{at:04}", 6 if length > 800 else 2
        ),
        "x_mitre_domains": ["enterprise-attack"],
        "x_mitre_version": "1.2",
        "revoked": False,
    }
    if length:
        found["description"] = _prose(rng, rng.randint(length // 2, length * 3 // 2))
    match type_:
        case "attack-pattern":
            phase = {"kill_chain_name": "mitre-attack", "phase_name": f"tactic-{at % _TACTICS}"}
            found["kill_chain_phases"] = [phase]
            found["x_mitre_detection"] = ""
            found["x_mitre_is_subtechnique"] = at % 3 != 0
            found["x_mitre_platforms"] = list(_PLATFORMS[: 1 + at % len(_PLATFORMS)])
        case "malware":
            found.update(is_family=True, x_mitre_aliases=[name], x_mitre_platforms=["Windows"])
        case "intrusion-set":
            found["aliases"] = [name, f"Invented Group {at}"]
        case "campaign":
            found.update(
                aliases=[name], first_seen="2024-02-01T00:00:00Z", last_seen="2024-09-01T00:00:00Z"
            )
        case "x-mitre-detection-strategy":
            found["x_mitre_analytic_refs"] = [id_of("x-mitre-analytic", at)]
    return found
