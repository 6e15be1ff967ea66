"""The fate of each object and property, recorded where it is decided (law 1).

`outcome` and `drop` are called where something is decided. The tables supply the fate of everything
that nobody decided about (`Shape.drops`, `Handler.default`). `write` adds up, and checks each
object that counts as mapped against the events: its evidence has to be in them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence, Set

from stixbridge.conversion.to_misp.shapes import Shape
from stixbridge.ledger import Account, Drop, Ledger, Outcome, Reason

Fate = tuple[Outcome, Reason | None, str | None]
"""(outcome, reason, the MISP element in a few words)."""

MAPPED: Fate = (Outcome.MAPPED, None, None)
_LOST: Fate = (Outcome.DROPPED, Reason.LOST, None)


class Fates:
    """The fates of one conversion."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Fate] = {}
        self._evidence: dict[str, Sequence[str]] = {}
        self._drops: dict[str, list[Drop]] = {}
        self._told: dict[str, frozenset[str]] = {}

    def outcome(
        self, id_: str, outcome: Outcome, reason: Reason | None = None, target: str | None = None
    ) -> None:
        """Record that an object did not come out, or as a relationship, sighting or note."""
        self._outcomes[id_] = (outcome, reason, target)

    def mapped(self, id_: str, evidence: Sequence[str] = ()) -> None:
        """Record that an object came out, unless something else is recorded of it.

        Args:
            id_: of the object.
            evidence: keys of elements, tags, references or reports, any of which has to be in an
                event at the end (`EventBuilder.shown`); without evidence the record stands as it
                is.
        """
        if id_ not in self._outcomes:
            self._outcomes[id_] = MAPPED
        if evidence:
            known = self._evidence.get(id_)
            self._evidence[id_] = evidence if known is None else [*known, *evidence]

    def drop(self, id_: str, drops: Iterable[Drop]) -> None:
        """Record that parts of an object's properties are not carried over."""
        self._drops.setdefault(id_, []).extend(drops)

    def tell(self, id_: str, names: frozenset[str]) -> None:
        """Record that an event report tells custom properties of an object."""
        self._told[id_] = names

    def refused(self, id_: str) -> bool:
        """Whether an object is recorded as one that does not come out."""
        fate = self._outcomes.get(id_)
        return fate is not None and fate[0] is not Outcome.MAPPED

    def is_mapped(self, id_: str) -> bool:
        """Whether an object is recorded as one that came out."""
        fate = self._outcomes.get(id_)
        return fate is not None and fate[0] is Outcome.MAPPED

    def decided(self, id_: str) -> bool:
        """Whether anything is recorded of an object as a whole."""
        return id_ in self._outcomes

    # adding up

    def write(
        self,
        ledger: Ledger,
        shapes: Mapping[str, Shape],
        sizes: Mapping[str, int],
        embedded: Mapping[str, tuple[str, str]],
        shown: Container[str],
        kept: Set[str],
    ) -> None:
        """Account every object once.

        Args:
            ledger: takes the accounts.
            shapes: the shape of each object, with the drops that the table gives by default.
            sizes: how many properties each entry came with.
            embedded: observables of a STIX 2.0 observed-data: id -> (id of that, key); its
                properties, not entries.
            shown: the keys of everything that is in an event.
            kept: ids of objects that an event carries as they came: their losses elsewhere count as
                preserved.
        """
        for id_, evidence in self._evidence.items():
            mapped = self._outcomes[id_][0] is Outcome.MAPPED
            if mapped and not any(key in shown for key in evidence):
                self._outcomes[id_] = _LOST
        for id_, (owner, key) in embedded.items():
            self._embedded(id_, shapes[id_], owner, key)
        accounts: dict[str, Account] = {}
        outcomes, dropped, told = self._outcomes, self._drops, self._told
        for id_, size in sizes.items():
            outcome, reason, target = outcomes[id_]
            drops: tuple[Drop, ...] = ()
            if outcome is Outcome.MAPPED:
                shape = shapes[id_]
                plain = id_ not in dropped and id_ not in told
                drops = shape.drops if plain else self._drops_of(id_, shape)
            accounts[id_] = (outcome, reason, target, size, drops)
        for id_ in kept & accounts.keys():
            accounts[id_] = _preserved(accounts[id_])
        ledger.account_all(accounts)

    def _drops_of(self, id_: str, shape: Shape) -> tuple[Drop, ...]:
        drops, more = shape.drops, self._drops.get(id_)
        told = self._told.get(id_)
        if told:
            drops = tuple(row for row in drops if row[0] not in told)
            more = [row for row in more or () if row[2] is not Reason.CUSTOM]
        return drops + tuple(dict.fromkeys(more)) if more else drops

    def _embedded(self, id_: str, shape: Shape, owner: str, key: str) -> None:
        """Record the losses of an embedded observable as parts of the property `objects`."""
        outcome, reason, _ = self._outcomes[id_]
        if reason is not None:
            self.drop(owner, [(f"objects.{key}", outcome, reason)])
            return
        lost = self._drops_of(id_, shape)
        self.drop(owner, ((f"objects.{key}.{path}", how, why) for path, how, why in lost))


def _preserved(account: Account) -> Account:
    """The account of an object that an event carries as it came."""
    outcome, reason, target, size, drops = account
    kept = tuple(
        (path, Outcome.PRESERVED if how is Outcome.DROPPED else how, why)
        for path, how, why in drops
    )
    outcome = Outcome.PRESERVED if outcome is Outcome.DROPPED else outcome
    return outcome, reason, target, size, kept
