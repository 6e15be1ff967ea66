"""The STIX side: which object and property of a bundle a text comes from."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

# prose and names: each of them must be said somewhere, in whatever element
TEXTS = ("name", "description", "content", "abstract", "explanation", "summary", "opinion")
CLUSTERS = {
    "attack-pattern",
    "campaign",
    "course-of-action",
    "identity",
    "intrusion-set",
    "location",
    "malware",
    "threat-actor",
    "tool",
    "vulnerability",
}
UNKNOWN = "-"
# properties whose values mean something else when another property has the same
_WEAK = {
    "created",
    "modified",
    "number_observed",
    "confidence",
    "object_refs",
    "is_family",
    "revoked",
    "summary",
}
_TIMES = {
    "first_seen": ("first_observed", "first_seen", "start", "valid_from", "start_time", "created"),
    "last_seen": (
        "last_observed",
        "last_seen",
        "stop",
        "valid_until",
        "end",
        "stop_time",
        "modified",
    ),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")


@lru_cache(maxsize=100_000, typed=True)  # False, 0 and 0.0 are equal
def plain(value: object) -> str:
    """A value in one spelling: lower case, single blanks, times in UTC, `true` for 1 and True,
    numbers without `.0`.
    """
    text = " ".join(str(value).split()).lower()
    if "[" in text or text.startswith("hxxp"):  # defanged
        text = re.sub(r"^hxxp", "http", text.replace("[.]", ".").replace("[:]", ":"))
    if _TIME.fullmatch(text.upper()):
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            return text
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).isoformat()
    if re.fullmatch(r"-?\d+\.\d+", text):
        return text.rstrip("0").rstrip(".")
    if text.count(":") > 1 and re.fullmatch(r"[0-9a-f:.]+", text):
        try:
            return str(ip_address(text))
        except ValueError:
            return text
    return text.removesuffix("/") if text.startswith(("http://", "https://")) else text


@lru_cache(maxsize=100_000)
def words(text: str) -> str:
    """Only the words of a text, so that Markdown, quotes and line breaks make no difference."""
    return " ".join(re.findall(r"\w+", text.lower()))


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every single value with its path; neither positions in lists nor the keys of a 2.0 `objects`
    are part of it.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    elif value is not None:
        yield path, value


class Bundle:
    """An index of a bundle's objects by id, UUID and value."""

    def __init__(self, raw: dict[str, Any]) -> None:
        rows = [
            row
            for row in raw.get("objects") or []
            if isinstance(row, dict) and isinstance(row.get("type"), str)
        ]
        self.objects: list[tuple[str, dict[str, Any]]] = [
            (str(row.get("id", "")), row) for row in rows
        ]
        self.by_uuid: dict[str, set[str]] = defaultdict(set)
        self.found: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        self.patterns: list[tuple[str, str, str]] = []
        self.refs: dict[tuple[str, str], tuple[str, str]] = {}
        for id_, _ in self.objects:
            self.by_uuid[id_.rpartition("--")[2].lower()].add(id_)
        for id_, row in self.objects:
            inner = row.get("objects")
            for key, observable in inner.items() if isinstance(inner, dict) else ():
                if isinstance(observable, dict):
                    self._index(
                        f"{observable.get('type')}--{id_}/{key}",
                        str(observable.get("type")),
                        observable,
                    )
            self._index(
                id_, row["type"], {key: held for key, held in row.items() if key != "objects"}
            )
            if row["type"] == "relationship":
                ends = (str(row.get("source_ref")), str(row.get("target_ref")))
                self.refs[ends] = ("relationship", "relationship_type")

    def _index(self, id_: str, kind: str, row: dict[str, Any]) -> None:
        for path, value in leaves(row):
            if path in ("type", "id", "spec_version"):
                continue
            if path.endswith(("_ref", "_refs")):
                self.refs.setdefault((id_, str(value)), (kind, path))
            if path == "pattern":
                self.patterns.append((id_, kind, unescaped(value)))
            for spelling in spellings(value):
                self.found[spelling].add((id_, kind, path))
        phases = row.get("kill_chain_phases")
        for phase in phases if isinstance(phases, list) else ():
            if isinstance(phase, dict):
                text = plain(f"{phase.get('kill_chain_name')}:{phase.get('phase_name')}")
                self.found[text].add((id_, kind, "kill_chain_phases.phase_name"))

    def guess(self, values: Iterable[str]) -> frozenset[str]:
        """The objects that hold most of some values, for an element whose origin the engine does
        not tell.
        """
        votes: Counter[str] = Counter()
        for value in set(values):
            votes.update({id_ for id_, _, path in self.found.get(value, ()) if path not in _WEAK})
        most = max(votes.values(), default=0)
        return frozenset(id_ for id_, count in votes.items() if count == most)

    def origin(self, value: str, behind: Iterable[str], key: str = "") -> tuple[str, str]:
        """The type and property that say a value, those of the objects behind the element first."""
        ids = set(behind)
        kinds = {id_.partition("--")[0] for id_ in ids}
        times = _TIMES.get(key, ())

        def rank(hit: tuple[str, str, str]) -> tuple[object, ...]:
            id_, kind, path = hit
            last = path.rpartition(".")[2]
            at = times.index(last) if last in times else len(times)
            weak = last in _WEAK or last.endswith(("_ref", "_refs"))
            return at, id_ not in ids, kind not in kinds, weak, kind, path, id_

        hits = sorted(self.found.get(value, ()), key=rank)
        near = [hit for hit in hits if hit[0] in ids or hit[1] in kinds]
        if near or (hits and not ids):
            return (near or hits)[0][1:]
        patterns = sorted(
            (id_ not in ids, kind) for id_, kind, text in self.patterns if value in text
        )
        if patterns and (not patterns[0][0] or not hits):
            return patterns[0][1], "pattern"
        return hits[0][1:] if hits else (self.type_of(ids), UNKNOWN)

    def type_of(self, ids: Iterable[str]) -> str:
        """The type of the object behind an element; of several, not observed-data."""
        kinds = {id_.partition("--")[0] for id_ in ids}
        return min(kinds - {"observed-data"} or kinds, default=UNKNOWN)


def short(path: str) -> str:
    """The property of a path; of an extension also its name, of a reference also its part."""
    parts = path.split(".")
    return ".".join(parts[: 2 if parts[0] in ("extensions", "external_references") else 1])


def unescaped(pattern: object) -> str:
    """A pattern in which values stand as they mean."""
    return plain(pattern).replace("\\\\", "\\").replace("\\'", "'")


def spellings(value: object) -> set[str]:
    """The forms in which a STIX value may arrive in MISP."""
    text = plain(value)
    return {
        text,
        text.replace("\\\\", "\\"),
        *([text.partition("--")[2]] if re.match(r"[a-z-]+--", text) else ()),
    }
