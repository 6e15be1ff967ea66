"""An observable (or any object with a template) as the values its table has a field for.

The way into nested data.

A *piece* is the object itself or one of its parts (`Table.parts`): a program's sections, the values
of a registry key. References that a path follows (`dst_ref.value`) are taken in; what is taken in
whole needs no element of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping.tables import ByKind, Field, Part, Table, canonical_path
from stixbridge.misp.values import coin, kind

Objects = Callable[[str], Mapping[str, Any] | None]
"""id -> STIX object, or None."""

Found = tuple[str, Field, str]
"""(path, its field, the value as text)."""

_MAX_DEPTH = 8
# Properties that an object may have and still be taken in whole by another.
_BARE = frozenset(
    {"type", "id", "spec_version", "object_marking_refs", "granular_markings", "defanged"}
)


@dataclass(slots=True)
class Piece:
    """The object itself (no part), or one of its parts.

    Attributes:
        key: where it stands, which tells it apart; "" for the object itself.
        part: which part it is.
        prefix: the path of the part.
        parent: the piece it is a piece of.
        found: its values.
    """

    key: str
    part: Part | None = None
    prefix: str = ""
    parent: Piece | None = None
    found: list[Found] = field(default_factory=list)


class Walk:
    """The walk through one object.

    Attributes:
        pieces: the object itself first.
        drops: what has no field.
        consumed: (id, path) of objects that are taken in whole.
        taken: ids of all objects of which a value is taken in: what holds for them holds here.
    """

    __slots__ = ("_get", "_table", "consumed", "drops", "pieces", "taken")

    def __init__(
        self,
        table: Table,
        obj: Mapping[str, Any],
        get: Objects,
    ) -> None:
        self._table = table
        self._get = get
        self.drops: list[Drop] = []
        self.consumed: list[tuple[str, str]] = []
        self.taken: list[str] = []
        main = Piece("")
        self.pieces = [main]
        skipped = table.skipped
        for name, value in obj.items():
            if name not in skipped and value is not None:
                self._value(main, name, name, value, 1)

    def _value(self, piece: Piece, path: str, raw: str, value: Any, depth: int) -> None:
        if isinstance(value, str):
            if path.endswith("_ref") and path in self._table.followed:
                self._follow(piece, path, raw, value)
            else:
                self._scalar(piece, path, raw, value, depth)
        elif isinstance(value, int | float):
            self._scalar(piece, path, raw, value, depth)
        elif depth > _MAX_DEPTH:
            self.drops.append((raw, Outcome.DROPPED, Reason.LIMIT))
        elif isinstance(value, dict):
            part = self._table.parts.get(path)
            if part is not None and not part.several:
                piece = self._piece(part, path, raw, piece)
            self._inside(piece, path, raw, value, depth)
        elif isinstance(value, list):
            self._list(piece, f"{path}[*]", raw, value, depth)

    def _list(self, piece: Piece, path: str, raw: str, value: list[Any], depth: int) -> None:
        part = self._table.parts.get(path)
        own = part is not None and (not part.several or len(value) > 1)
        for at, item in enumerate(value):
            where = f"{raw}[{at}]"
            if isinstance(item, dict):
                target = (
                    self._piece(part, path, where, piece) if own and part is not None else piece
                )
                self._inside(target, path, where, item, depth)
            elif path.endswith("_refs[*]"):
                if isinstance(item, str) and path in self._table.followed:
                    self._follow(piece, path, where, item)
            elif isinstance(item, str | int | float):
                self._scalar(piece, path, where, item, depth)
            elif item is not None:
                self._value(piece, path, where, item, depth + 1)

    def _inside(
        self, piece: Piece, path: str, raw: str, value: Mapping[Any, Any], depth: int
    ) -> None:
        for name, inner in value.items():
            where = f"{raw}.{name}"
            if depth == 1 and path == "extensions" and name not in self._table.extensions:
                self.drops.append((where, Outcome.DROPPED, Reason.CUSTOM))
            elif inner not in (None, "", []):
                self._value(piece, canonical_path(f"{path}.{name}"), where, inner, depth + 1)

    def _piece(self, part: Part, path: str, raw: str, parent: Piece) -> Piece:
        piece = Piece(raw, part, path, parent)
        self.pieces.append(piece)
        return piece

    def _scalar(self, piece: Piece, path: str, raw: str, value: Any, depth: int) -> None:
        if not self.add(piece, path, value) and depth > 1 and path not in self._table.links:
            reason = self._table.unmapped.get(path, Reason.NO_PLACE)
            self.drops.append((raw, Outcome.DROPPED, reason))

    def add(self, piece: Piece, path: str, value: Any) -> bool:
        """Add a value to the piece that has a field for its path; False where none has."""
        at: Piece | None = piece
        while at is not None:
            fields = at.part.fields if at.part is not None else self._table.fields
            below = path[len(at.prefix) + 1 :] if at.part is not None else path
            text = text_of(value)
            target = fields.get(below)
            if target is None:
                head, _, last = below.removesuffix("[*]").rpartition(".")
                target = fields.get(f"{head}.*")
                text = f"{last}: {text}"
            if isinstance(target, ByKind):
                target = target.fields.get(CHOOSERS[target.chooser](text))
            if target is not None:
                at.found.append((path, target, text))
                return True
            at = at.parent
        return False

    def _follow(self, piece: Piece, path: str, raw: str, ref: str) -> None:
        target = self._get(ref)
        if target is None:
            if not raw.endswith("]"):  # members of lists are told by the accounting
                self.drops.append((raw, Outcome.DROPPED, Reason.DANGLING))
            return
        used: set[str] = set()
        for name in self._table.followed[path]:
            inner = target.get(name)
            if name.endswith("_ref"):
                if isinstance(inner, str):
                    self._follow(piece, f"{path}.{name}", raw, inner)
            elif isinstance(inner, str | int | float) and self.add(piece, f"{path}.{name}", inner):
                used.add(name)
        if used:
            self.taken.append(ref)
            if not target.keys() - used - _BARE:
                self.consumed.append((ref, path))


def text_of(value: Any) -> str:
    """A JSON value as the text that MISP stores.

    Objects and lists as JSON, unless they nest too deep for it.
    """
    if isinstance(value, dict | list):
        try:
            return orjson.dumps(
                value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
            ).decode()
        except TypeError:
            return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 1_000:
        return "a number too long to be one"  # no checker takes it
    return value if isinstance(value, str) else str(value)


@lru_cache(maxsize=1024)
def _protocol(value: str) -> str:
    name = value.lower()
    if name in ("ipv4", "ipv6", "ip", "arp", "icmp", "icmpv6", "ipv6-icmp"):
        return "layer3"
    return "layer4" if name in ("tcp", "udp", "sctp", "dccp", "quic") else "layer7"


CHOOSERS: dict[str, Callable[[str], str]] = {"network": kind, "protocol": _protocol, "coin": coin}
