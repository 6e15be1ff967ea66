"""The form of an event in a feed folder: organisation, colours, tombstones, timestamps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge import tlp
from stixbridge.misp.model import ANALYST_DATA, MispEvent
from stixbridge.sinks.fields import PARTS, Part, by_uuid, rows_of
from stixbridge.sinks.misp.answers import number

_COLOURS = {
    "red": "#FF2B2B",
    "amber": "#FFC000",
    "amber+strict": "#FFC000",
    "green": "#33FF00",
    "clear": "#FFFFFF",
}
_COLOUR = "#0088CC"
_TIMES = ("timestamp", "publish_timestamp", "colour")


@dataclass(frozen=True, slots=True)
class FeedForm:
    """Makes the form of one event.

    Attributes:
        stored: the event in the folder; empty where there is none.
        now: seconds.
        listed: the timestamp of the event in the manifest, whose file may be lost; 0 where it is
            not listed.
    """

    stored: MispEvent
    now: int
    listed: int = 0

    def of(self, wanted: MispEvent, orgc: Mapping[str, str]) -> MispEvent:
        """The event as the folder is to hold it.

        Args:
            wanted: the event as it shall be.
            orgc: the organisation that it carries.
        """
        event: MispEvent = {
            key: value for key, value in wanted.items() if not isinstance(value, list)
        }
        # an event of a feed has the distribution that its subscriber gives it
        event.pop("sharing_group_id", None)
        event |= {"Orgc": orgc, "published": True, "Tag": _tags(wanted, self.stored)}
        for name in PARTS:
            event[name] = self._parts(wanted, self.stored, name)
        event |= {kind: wanted[kind] for kind in ANALYST_DATA if wanted.get(kind)}
        event["timestamp"] = event["publish_timestamp"] = str(self._timestamp(wanted, event))
        return event

    def _timestamp(self, wanted: MispEvent, event: MispEvent) -> int:
        if not self.stored:
            return max(int(wanted["timestamp"]), self.listed + 1 if self.listed else 0)
        stored = int(self.stored["timestamp"])
        if same_content(event, self.stored):
            return stored
        return max(int(wanted["timestamp"]), self.now, stored + 1)

    def _parts(self, wanted: Part, stored: Part, name: str) -> list[Part]:
        """The wanted parts, and a tombstone for each that is stored and no longer wanted."""
        before = by_uuid(stored, name)
        rows = [
            self._part(part, before.pop(str(part["uuid"]), None), name)
            for part in rows_of(wanted, name)
        ]
        rows += [self._tombstone(part, name) for part in before.values()]
        return sorted(rows, key=lambda row: str(row["uuid"]))

    def _part(self, part: Part, stored: Part | None, name: str) -> Part:
        row = dict(part)
        known = stored or {}
        if "deleted" in known:
            row["deleted"] = False
        if stored is not None:
            row["Tag"] = _tags(part, stored)
            if not row["Tag"]:
                del row["Tag"]
        if name == "Object":
            row["Attribute"] = self._parts(part, known, "Attribute")
            references = self._parts(part, known, "ObjectReference")
            if references:
                row["ObjectReference"] = references
        if stored is not None:
            row["timestamp"] = str(self._part_timestamp(part, row, stored))
        return row

    def _part_timestamp(self, part: Part, row: Part, stored: Part) -> int:
        before = number(stored.get("timestamp"))
        if same_content(row, stored):
            return before
        return max(int(part.get("timestamp", 0)), self.now, before + 1)

    def _tombstone(self, stored: Part, name: str) -> Part:
        stone = {**stored, "deleted": True}
        if name == "EventReport":
            stone["content"] = ""  # MISP keeps a report that is deleted in a feed
        if name == "Object":
            stone["Attribute"] = [{**row, "deleted": True} for row in rows_of(stored, "Attribute")]
        if not same_content(stone, stored):
            stone["timestamp"] = str(max(self.now, number(stored.get("timestamp")) + 1))
            for row in rows_of(stone, "Attribute"):
                row["timestamp"] = stone["timestamp"]
        return stone


def same_content(part: Part, other: Part) -> bool:
    """Whether two forms of a part differ in times and colours at most."""
    return bool(_content(part) == _content(other))


def _content(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _content(inner)
            for key, inner in value.items()
            if key not in _TIMES and inner not in ([], None)
        }
    if isinstance(value, list):
        return [_content(item) for item in value]
    return value


def _tags(part: Part, stored: Part) -> list[Part]:
    """Tags with colours; a stored one that is no longer wanted stays as deleted."""
    wanted = {str(tag["name"]) for tag in rows_of(part, "Tag")}
    before = {str(tag["name"]) for tag in rows_of(stored, "Tag")}
    rows: list[Part] = [{"name": name, "colour": colour(name)} for name in wanted]
    rows += [{"name": name, "colour": colour(name), "deleted": True} for name in before - wanted]
    return sorted(rows, key=lambda row: str(row["name"]))


def colour(tag: str) -> str:
    """The colour of a tag: TLP's own, else MISP's blue."""
    level = tlp.level_of_name(tag) if tlp.is_tlp_tag(tag) else None
    return _COLOURS[level] if level is not None else _COLOUR
