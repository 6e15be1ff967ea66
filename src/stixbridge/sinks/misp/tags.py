"""The tags of an event that is sent: markings, local tags, and tags that are new in MISP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from stixbridge import tlp
from stixbridge.envelopes import Delivered
from stixbridge.misp.model import MispEvent, tag_names

BOOKKEEPING = "stixbridge:"
"""The name space of tags that say what the bridge did; of no use to anybody else, so local where
that is possible.
"""


def tagged(event: MispEvent) -> Iterator[dict[str, Any]]:
    """The event, and its parts that carry tags."""
    for part in (event, *(event.get("Attribute") or ())):
        if part.get("Tag"):
            yield part
    for obj in event.get("Object") or ():
        for part in (obj, *(obj.get("Attribute") or ())):
            if part.get("Tag"):
                yield part


def markings(event: MispEvent) -> set[str]:
    """The tags of an event and its parts that restrict."""
    names = {name for part in tagged(event) for name in tag_names(part)}
    return {name for name in names if is_marking(name)}


def is_marking(name: str) -> bool:
    """Whether a tag restricts: TLP or PAP."""
    return tlp.is_tlp_tag(name) or name.lower().startswith("pap:")


def with_plain_tags(delivered: Delivered) -> MispEvent:
    """A delivered event with plain tags in the place of private clusters, as it was converted."""
    plain = {
        f'misp-galaxy:{row["galaxy"]}="{row["uuid"]}"': row["tag"] for row in delivered.clusters
    }
    if not plain:
        return delivered.body
    copy: MispEvent = orjson.loads(orjson.dumps(delivered.body))
    for part in tagged(copy):
        part["Tag"] = [{**tag, "name": plain.get(tag["name"], tag["name"])} for tag in part["Tag"]]
    return copy


def keep_local(event: MispEvent) -> None:
    """Make bookkeeping tags local, so that they don't leave with the event.

    Lists are replaced, not changed.
    """
    for part in tagged(event):
        if any(tag["name"].startswith(BOOKKEEPING) for tag in part["Tag"]):
            part["Tag"] = [
                {**tag, "local": True} if tag["name"].startswith(BOOKKEEPING) else tag
                for tag in part["Tag"]
            ]


@dataclass(slots=True)
class Bringing:
    """Whether the event that brings tags arrived."""

    arrived: bool = False


class NewTags:
    """Lets a tag be created once: no two events in flight bring the same one for the first time.

    MISP looks a tag up, then creates it, without a lock: of two requests that bring it at a time
    one fails half-way (500), or loses the tag in silence. So the first event that carries a tag
    goes without others that carry it too.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._coming: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def brought_by(self, event: MispEvent) -> Iterator[Bringing]:
        """Wait until no other event that is being sent brings a new tag of this one.

        The tags are known from then on where it arrived (`Bringing.arrived`).
        """
        names = {name.lower() for part in tagged(event) for name in tag_names(part)}
        with self._changed:
            self._changed.wait_for(lambda: (names - self._known).isdisjoint(self._coming))
            new = names - self._known
            self._coming |= new
        brought = Bringing()
        try:
            yield brought
        finally:
            with self._changed:
                self._coming -= new
                if brought.arrived:
                    self._known |= new
                self._changed.notify_all()
