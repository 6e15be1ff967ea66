"""`preserve = "source"`.

An event carries the STIX objects behind it, as they came, so that nothing is given up.

They are attachments of JSON lines under gzip, one for each marking: what is RED is no part of an
attachment that is GREEN. `preserved_objects` reads them back.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.grouping import CONTENT, Plan
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.translation import Attribute
from stixbridge.errors import InputError
from stixbridge.mapping.tables import LINK_TYPES, Role
from stixbridge.stix.references import everything, parts

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]

_NAME = re.compile(r"stix-objects(-[a-z0-9-]+)?\.jsonl\.gz")
_COMMENT = "the STIX objects of this event as they came, JSON lines under gzip"
_CATEGORY = "External analysis"
_MAX_UNPACKED = 500_000_000
_LINKED = CONTENT | {Role.CONTEXT, Role.CONTAINER}
_LISTS = ("object_refs", "object_ref", "sighting_of_ref")


class Preserving:
    """Attaches the originals to the events of one conversion."""

    def __init__(self, workspace: Workspace) -> None:
        self._originals: Mapping[str, StixObject] = workspace.originals
        self._objects = workspace.objects
        self._roles = {id_: shape.table.role for id_, shape in workspace.shapes.items()}
        self._markings = workspace.markings
        self._speaking: dict[str, list[str]] = defaultdict(list)
        for id_, obj in self._objects.items():
            for ref in self._spoken_of(obj):
                self._speaking[ref].append(id_)
        self.kept: set[str] = set()

    def attach(self, plans: Sequence[Plan], builders: Mapping[str, EventBuilder]) -> None:
        """Put the originals behind each event into it; `kept` has their ids afterwards."""
        for plan in plans:
            by_marking: dict[Marking, list[str]] = defaultdict(list)
            for id_ in sorted(self._behind(plan, builders[plan.uuid])):
                by_marking[self._markings.of(self._objects[id_])].append(id_)
            merged: dict[str, tuple[Marking, list[str]]] = {}
            for marking, ids in by_marking.items():
                known = merged.setdefault(_name(marking), (marking, []))
                known[1].extend(ids)
            for name, (marking, ids) in sorted(merged.items()):
                ids.sort()
                lines = {
                    id_: line for id_ in ids if (line := _line(self._originals[id_])) is not None
                }
                ids = list(lines)
                data = b64encode(_packed(lines.values())).decode()
                attribute = Attribute(
                    "attachment", name, _CATEGORY, to_ids=False, correlate=False, data=data
                )
                builders[plan.uuid].attach(attribute, _COMMENT, marking)
                self.kept.update(ids)

    def _behind(self, plan: Plan, builder: EventBuilder) -> set[str]:
        """What an event is made of.

        Its members with all their parts, what links and speaks of them, who made it.
        """
        start = {*plan.members, *builder.by_stix}
        if plan.container is not None:
            start.add(str(plan.container["id"]))
        inside: set[str] = set()
        waiting = [id_ for id_ in start if id_ in self._originals]
        while waiting:
            id_ = waiting.pop()
            if id_ in inside:
                continue
            inside.add(id_)
            if (
                self._roles[id_] is not Role.CONTAINER
                and self._objects[id_]["type"] not in LINK_TYPES
            ):
                waiting.extend(ref for ref in parts(self._objects[id_]) if ref in self._originals)
        found = self._closed(inside | self._linking(inside, inside))
        contexts = {id_ for id_ in found if self._roles[id_] is Role.CONTEXT}
        return self._closed(found | self._linking(contexts, found))

    def _linking(self, ids: set[str], found: set[str]) -> set[str]:
        """What links and speaks of some objects.

        Of the links of a context object those to what was found.
        """
        linking: set[str] = set()
        for ref in ids:
            if self._roles[ref] not in _LINKED:
                continue
            for id_ in self._speaking.get(ref, ()):
                if id_ not in self._originals or id_ in found:
                    continue
                if (
                    self._roles[ref] is Role.CONTEXT
                    and self._objects[id_]["type"] == "relationship"
                ):
                    ends = self._spoken_of(self._objects[id_])
                    joins = len(ends) > 1 and found.issuperset(ends)
                else:
                    joins = True
                if joins:
                    linking.add(id_)
        return linking

    def _closed(self, found: set[str]) -> set[str]:
        """Some objects, and what comes with them."""
        waiting = list(found)
        while waiting:
            for ref in everything(self._objects[waiting.pop()]):
                if ref in self._originals and ref not in found and self._comes_with(ref):
                    found.add(ref)
                    waiting.append(ref)
        return found

    def _comes_with(self, id_: str) -> bool:
        """Whether an object comes with what refers to it.

        Content and reports have events of their own.
        """
        role = self._roles[id_]
        return (role not in CONTENT and role is not Role.CONTAINER) or self._objects[id_][
            "type"
        ] == "identity"

    @staticmethod
    def _spoken_of(obj: StixObject) -> list[str]:
        if obj["type"] == "relationship":
            names: tuple[str, ...] = ("source_ref", "target_ref")
        elif obj["type"] in LINK_TYPES:
            names = _LISTS
        else:
            return []
        values = [obj.get(name) for name in names]
        rows = [ref for value in values for ref in (value if isinstance(value, list) else [value])]
        return [ref for ref in rows if isinstance(ref, str)]


def _name(marking: Marking) -> str:
    """The name of the attachment of a marking; what only statements tell apart is in one."""
    rest = (
        f"{sorted(marking.tags)}{marking.restricted}" if marking.tags or marking.restricted else ""
    )
    words = (marking.level or "", sha256(rest.encode()).hexdigest()[:8] if rest else "")
    return (
        "-".join(("stix-objects", *(word.replace("+", "-") for word in words if word)))
        + ".jsonl.gz"
    )


def _line(obj: StixObject) -> bytes | None:
    """An object as a line in canonical form, keys in order.

    None for one that nests too deep to be written.
    """
    try:
        return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    except (TypeError, RecursionError):
        return None


def _packed(lines: Iterable[bytes]) -> bytes:
    """Lines under gzip; the same bytes at any time."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as file:
        file.writelines(lines)
    return out.getvalue()


def preserved_objects(event: Any) -> list[dict[str, Any]]:
    """The STIX objects that an event carries (`preserve = "source"`).

    Args:
        event: a MISP event with its attachments: plain, with or without `Event` around it, or a
            `pymisp.MISPEvent`.

    Returns:
        The objects as they came, sorted by id; an empty list where the event carries none.

    Raises:
        InputError: when an attachment of that name holds something else, or unpacks to over 500 MB.
    """
    if hasattr(event, "to_json"):  # a pymisp.MISPEvent
        event = orjson.loads(event.to_json())
    inner = event.get("Event", event) if isinstance(event, Mapping) else None
    rows = inner.get("Attribute") or () if isinstance(inner, Mapping) else None
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError("no MISP event: a mapping with a list Attribute is needed")
    found: dict[str, dict[str, Any]] = {}
    for attribute in rows:
        name = attribute.get("value")
        if (
            attribute.get("type") != "attachment"
            or not isinstance(name, str)
            or not _NAME.fullmatch(name)
        ):
            continue
        if attribute.get("deleted") in (True, "1", 1):
            continue
        try:
            packed = b64decode(attribute.get("data") or "", validate=True)
            if not packed:
                raise EOFError
            with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
                text = file.read(_MAX_UNPACKED + 1)
            if len(text) > _MAX_UNPACKED:
                raise InputError(f"{name}: unpacks to over {_MAX_UNPACKED:,} bytes")
            objects = [orjson.loads(line) for line in text.splitlines()]
            found.update({str(obj["id"]): obj for obj in objects})
        except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error):
            raise InputError(
                f"{name} (attribute {attribute.get('uuid')}): not STIX objects under gzip; "
                "ask MISP for the event with its attachments"
            ) from None
    return [found[id_] for id_ in sorted(found)]
