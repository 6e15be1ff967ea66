"""The ledger: the outcome of every object of the input and of each of its properties.

Each entry of the input, and each of its properties, has exactly one outcome. `entries` lists those
that are not simply mapped. The list of reasons is closed, and each reason has a meaning in words,
so that a reader of a report does not need the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Protocol


class Outcome(StrEnum):
    """The outcome of an object or a property."""

    MAPPED = "mapped"
    PRESERVED = "preserved"
    DROPPED = "dropped"
    INVALID = "invalid"


class Reason(StrEnum):
    """The reason why an object or property is not simply mapped; `MEANING` explains each."""

    # whole objects
    SUPERSEDED = "superseded"
    DUPLICATE = "duplicate"
    NO_TABLE = "no-table"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNLINKED = "unlinked-context"
    DANGLING = "dangling"
    FILTERED = "filtered"
    VANISHED = "vanished"
    DEAD_LETTER = "dead-letter"
    UNDONE = "undone"
    INVALID_OBJECT = "invalid-object"
    INVALID_JSON = "invalid-json"
    NOT_STIX = "not-stix"
    INVALID_PATTERN = "invalid-pattern"
    ENGINE = "engine"
    LOST = "lost"
    UUID_TAKEN = "uuid-taken"
    # properties
    NO_PLACE = "no-place"
    CUSTOM = "custom"
    REDUNDANT = "redundant"
    CLUSTER = "cluster"
    LIFECYCLE = "lifecycle"
    NO_VALUE = "no-value"
    INVALID_VALUE = "invalid-value"
    CUT = "cut"
    MENDED = "mended"
    LIMIT = "limit"
    INEXACT = "inexact"
    # enrichment
    RULE = "rule"
    RULE_REFUSED = "rule:refused"
    RULE_FAILED = "rule:failed"
    WARNINGLIST = "warninglist"
    SUPPRESSED = "suppressed"
    PLUGIN = "plugin"
    MODULE = "module"
    # markings and delivery
    MARKING = "marking"
    HELD_MARKING = "held:marking"
    FOREIGN = "foreign"
    ADOPTED = "adopted"
    BLOCKED = "blocked"
    REFUSED = "refused"
    MISP_DROPPED = "misp-dropped"
    CONFLICT = "conflict"


MEANING: Mapping[Reason, str] = {
    Reason.SUPERSEDED: "the input has a newer version of the same object",
    Reason.DUPLICATE: "the input already has an exact copy of the object",
    Reason.NO_TABLE: "no table describes this STIX type, and `custom` is `drop`",
    Reason.REVOKED: "the producer revoked it and it was never delivered, so it is not created",
    Reason.EXPIRED: "valid_until has passed and it was never delivered, so it is not created",
    Reason.UNLINKED: (
        "context (actor, malware, technique, identity …) that no element in the output refers to"
    ),
    Reason.DANGLING: (
        "refers to an object that is missing from the input or has no element in the output"
    ),
    Reason.FILTERED: "excluded by the settings of the source or pipeline",
    Reason.VANISHED: "the source no longer has it, and `vanished` is `delete`",
    Reason.DEAD_LETTER: (
        "the conversion failed on it because of a fault in stixbridge; see"
        " `stixbridge dead-letters`"
    ),
    Reason.UNDONE: "removed by `stixbridge undo`",
    Reason.INVALID_OBJECT: (
        "not a usable STIX object: the id, the type or a required property is missing"
    ),
    Reason.INVALID_JSON: "the text is not JSON",
    Reason.NOT_STIX: "JSON, but neither a STIX object nor a list or envelope of STIX objects",
    Reason.INVALID_PATTERN: "the STIX pattern does not follow the grammar",
    Reason.ENGINE: "the misp-stix engine did not convert it",
    Reason.UUID_TAKEN: "another element already has its UUID, so it has a derived one",
    Reason.LOST: "a fault of the conversion lost it: please report it, with the object",
    Reason.NO_PLACE: "MISP has no field for this property",
    Reason.CUSTOM: "a custom property or extension that no table describes",
    Reason.REDUNDANT: "another part of the result has the same information",
    Reason.CLUSTER: "the known galaxy cluster has this information already",
    Reason.LIFECYCLE: "used for the life cycle and kept in the store; MISP has no field for it",
    Reason.NO_VALUE: "the value is empty",
    Reason.INVALID_VALUE: "MISP would refuse the value",
    Reason.CUT: "cut to the length that MISP stores",
    Reason.MENDED: "a character that MISP can't store was replaced",
    Reason.LIMIT: "over a limit that protects against hostile input",
    Reason.INEXACT: "attributes can't express the whole pattern; its text is kept beside them",
    Reason.RULE: "dropped or held back by a rule",
    Reason.RULE_REFUSED: "the action of a rule is not possible, or would loosen a marking",
    Reason.RULE_FAILED: "a rule failed on its input and did nothing",
    Reason.WARNINGLIST: "on a warninglist of known harmless or common values",
    Reason.SUPPRESSED: (
        "an analyst marked the value as harmless; it gets no `to_ids`, whichever feed contains it"
    ),
    Reason.PLUGIN: "a plug-in failed on it; the changes of the plug-in were undone",
    Reason.MODULE: "a misp-module failed, was too slow, or exceeded its budget",
    Reason.MARKING: (
        "a change would have loosened a marking of the source and was refused, or a part is "
        "too strict for the sink"
    ),
    Reason.HELD_MARKING: "held back, because the sink can't store the marking",
    Reason.FOREIGN: "somebody else created the event in the sink; it was not changed",
    Reason.ADOPTED: "an event of somebody else was taken over or extended, as `foreign` is set",
    Reason.BLOCKED: "the event is on the sink's blocklist",
    Reason.REFUSED: "the sink refused it",
    Reason.MISP_DROPPED: "MISP answered 200 but did not store it",
    Reason.CONFLICT: (
        "both the source and an analyst changed it; `target` says whose value was kept"
    ),
}

# Reasons that make `convert` and `run` exit with status 1.
ALARMING = frozenset(
    {Reason.FOREIGN, Reason.BLOCKED, Reason.REFUSED, Reason.MISP_DROPPED, Reason.HELD_MARKING}
)

Entry = tuple[str | None, str | None, Outcome, Reason | None, str | None]
"""(id, path, outcome, reason, target)."""


Account = tuple[Outcome, "Reason | None", str | None, int, tuple["Drop", ...]]
"""The outcome of an object: (outcome, reason, target, number of properties, drops)."""


class Readable(Protocol):
    """A ledger that can be read, whether it is in memory or in a database."""

    reference_time: str | None

    @property
    def objects(self) -> int:
        """The number of entries in the input."""
        ...

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of objects by outcome."""
        ...

    @property
    def properties(self) -> dict[str, int]:
        """The number of properties by outcome."""
        ...

    @property
    def reasons(self) -> dict[str, int]:
        """The number of objects that are not mapped, by reason."""
        ...

    @property
    def kinds(self) -> set[str]:
        """The outcomes and reasons that `--fail-on` looks for."""
        ...

    @property
    def alarming(self) -> bool:
        """Whether an entry is invalid, refused or held back."""
        ...

    @property
    def entries(self) -> Iterable[dict[str, str]]:
        """All entries, in a fixed order."""
        ...


class Ledger:
    """Counts and entries of one conversion or run.

    The conversion calls `account` once for each object, even if several events contain it. `entry`
    is for entries that are not objects (for example bad JSON), and `note` for notes about
    delivery.
    """

    __slots__ = ("_accounts", "_counts", "_entries", "_notes", "_properties", "reference_time")

    def __init__(self, reference_time: str | None = None) -> None:
        self.reference_time = reference_time
        self._entries: list[Entry] = []
        self._notes: list[Entry] = []
        self._counts: Counter[Outcome] = Counter()
        self._properties: Counter[Outcome] = Counter()
        # id -> (outcome, reason, target, number of properties, drops)
        self._accounts: dict[str, Account] = {}

    def entry(
        self,
        id_: str | None,
        path: str | None,
        outcome: Outcome,
        reason: Reason,
        properties: int = 0,
        where: str | None = None,
    ) -> None:
        """Record an entry of the input that is not converted: invalid, superseded or duplicate.

        Args:
            id_: the STIX id, if it has one.
            path: its place in the document (`$.objects[3]`).
            outcome: usually `invalid` or `dropped`.
            reason: the reason.
            properties: the number of properties with the same outcome.
            where: the name of the input; it becomes the `target` of the entry.
        """
        self._counts[outcome] += 1
        self._properties[outcome] += properties
        self._entries.append((id_, path, outcome, reason, where))

    def account(
        self,
        id_: str,
        outcome: Outcome,
        properties: int,
        drops: tuple[Drop, ...] = (),
        reason: Reason | None = None,
        target: str | None = None,
    ) -> None:
        """Record the outcome of one object.

        A second call for the same id counts only if it is mapped.

        Args:
            id_: the STIX id.
            outcome: the outcome of the object as a whole.
            properties: the number of its top-level properties.
            drops: its properties that are not simply mapped.
            reason: required unless the outcome is `mapped`.
            target: the MISP element, in a few words.
        """
        known = self._accounts.get(id_)
        if known is None or (known[0] is not Outcome.MAPPED and outcome is Outcome.MAPPED):
            self._accounts[id_] = (outcome, reason, target, properties, drops)

    def account_all(self, accounts: Mapping[str, Account]) -> None:
        """Account the objects of one conversion, each of which has one account."""
        self._accounts.update(accounts)

    def leave_out(self, id_: str, reason: Reason) -> None:
        """Change the outcome of a mapped object that a later step dropped."""
        known = self._accounts.get(id_)
        if known is not None and known[0] is Outcome.MAPPED:
            self._accounts[id_] = (Outcome.DROPPED, reason, None, known[3], ())

    def note(
        self,
        id_: str | None,
        path: str | None,
        outcome: Outcome,
        reason: Reason,
        target: str | None = None,
    ) -> None:
        """Record a note about an element or event; it is listed, but not counted as an object."""
        self._notes.append((id_, path, outcome, reason, target))

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of objects by outcome; the four numbers add up to `objects`."""
        counts = Counter(self._counts)
        for account in self._accounts.values():
            counts[account[0]] += 1
        return {outcome.value: counts[outcome] for outcome in Outcome}

    @property
    def objects(self) -> int:
        """The number of entries in the input."""
        return sum(self._counts.values()) + len(self._accounts)

    @property
    def properties(self) -> dict[str, int]:
        """The number of properties by outcome; those of a dropped object are dropped with it."""
        counts = Counter(self._properties)
        for account in self._accounts.values():
            count_properties(account, counts)
        return {outcome.value: counts[outcome] for outcome in Outcome}

    @property
    def entries(self) -> list[dict[str, str]]:
        """All entries, in a fixed order."""
        rows: list[Entry] = list(self._entries)
        for id_, account in self._accounts.items():
            rows.extend(entries_of(id_, account))
        rows.extend(self._notes)
        rows.sort(key=order_of)
        return [plain(row) for row in rows]

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The outcome of each object."""
        return self._accounts

    @property
    def lines(self) -> tuple[list[Entry], list[Entry]]:
        """The entries that are not objects, and the notes."""
        return self._entries, self._notes

    @property
    def line_counts(self) -> tuple[Mapping[Outcome, int], Mapping[Outcome, int]]:
        """Counts by outcome of entries without an account, and of their properties."""
        return self._counts, self._properties

    @property
    def reasons(self) -> dict[str, int]:
        """The number of objects that are not mapped, by reason, the most frequent first."""
        counts: Counter[str] = Counter(str(entry[3]) for entry in self._entries)
        counts.update(
            str(account[1]) for account in self._accounts.values() if account[1] is not None
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def kinds(self) -> set[str]:
        """The outcomes of objects and the reasons anywhere that `--fail-on` looks for."""
        found: set[str] = {outcome for outcome, count in self.outcomes.items() if count}
        found.update(row[2] for row in self._notes)
        found.update(row[3] for row in (*self._entries, *self._notes) if row[3] is not None)
        for _, reason, _, _, drops in self._accounts.values():
            if reason is not None:
                found.add(reason)
            found.update(why for _, _, why in drops)
        return found

    @property
    def alarming(self) -> bool:
        """Whether an entry is invalid, refused or held back (exit status 1)."""
        return bool(self.outcomes["invalid"]) or any(note[3] in ALARMING for note in self._notes)

    def restrict(self, ids: Container[str]) -> None:
        """Remove the outcomes of all other objects: a run reports only the changed objects."""
        self._accounts = {id_: account for id_, account in self._accounts.items() if id_ in ids}

    def merge(self, other: Ledger) -> None:
        """Add the content of another ledger, for example of one event of a run."""
        self._entries.extend(other._entries)
        self._notes.extend(other._notes)
        self._counts.update(other._counts)
        self._properties.update(other._properties)
        for id_, account in other._accounts.items():
            known = self._accounts.get(id_)
            if known is None or known[0] is not Outcome.MAPPED:
                self._accounts[id_] = account

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger in the format of `--ledger FILE`."""
        return {
            "objects": self.objects,
            "outcomes": self.outcomes,
            "properties": self.properties,
            "reference_time": self.reference_time,
            "entries": self.entries,
        }


def written(ledger: Readable) -> Iterator[bytes]:
    """Yield the text of `--ledger FILE`, piece by piece."""
    import orjson  # imported here, because the command line uses this module without orjson

    head = {
        "objects": ledger.objects,
        "outcomes": ledger.outcomes,
        "properties": ledger.properties,
        "reference_time": ledger.reference_time,
    }
    yield orjson.dumps(head, option=orjson.OPT_INDENT_2)[:-2] + b',\n  "entries": ['
    first = True
    for entry in ledger.entries:
        yield (b"\n    " if first else b",\n    ") + orjson.dumps(entry)
        first = False
    yield b"]\n}\n" if first else b"\n  ]\n}\n"


Drop = tuple[str, Outcome, Reason]
"""A property (a dotted path below the object) that is not simply mapped."""


def counted(counts: Mapping[str, int]) -> str:
    """Write counts for a reader: `3 mapped, 1 dropped`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def top_level(path: str) -> str:
    """Return the top-level property of a path: `hashes` for `hashes.MD5` and `hashes[0]`."""
    return path.split(".", 1)[0].split("[", 1)[0]


def count_properties(account: Account, counts: Counter[Outcome]) -> None:
    """Count the properties of an object by outcome; a dropped object drops them all."""
    outcome, _, _, total, drops = account
    if outcome is not Outcome.MAPPED:
        counts[outcome] += total
        return
    # several parts of one property can be dropped; the property counts once
    gone: dict[str, Outcome] = {}
    for path, how, _ in drops:
        gone.setdefault(top_level(path), how)
    for how in gone.values():
        counts[how] += 1
    counts[Outcome.MAPPED] += total - len(gone)


def entries_of(id_: str, account: Account) -> Iterator[Entry]:
    """Return the entries of one object: one for the object, or one for each dropped property."""
    outcome, reason, target, _, drops = account
    if outcome is not Outcome.MAPPED:
        yield id_, None, outcome, reason, target
    else:
        for path, how, why in drops:
            yield id_, f"$.{path}", how, why, None


def order_of(row: Entry) -> tuple[str, ...]:
    """Return the sort key of an entry."""
    return tuple(part or "" for part in row)


def plain(row: Entry) -> dict[str, str]:
    """Return an entry in the format of the ledger file."""
    id_, path, outcome, reason, target = row
    plain: dict[str, str] = {"id": id_ or ""}
    if path is not None:
        plain["path"] = path
    plain["outcome"] = outcome.value
    if reason is not None:
        plain["reason"] = reason.value
    if target is not None:
        plain["target"] = target
    return plain
