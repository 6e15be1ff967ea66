"""An analyst at work in the web interface, and the comparable content of all events.

Everything here moves timestamps as MISP does for an edit by hand: the part and its event go to now,
the event is unpublished.
"""

import copy
from collections.abc import Callable
from typing import Any

from .capture import store_sighting
from .checks import live_keys
from .edit import apply_attribute
from .events import add_event
from .fields import ATTRIBUTE, check_event, require
from .model import ROLES, Actor, Json, Place
from .store import Store

VOLATILE = frozenset(
    {
        "id", "event_id", "object_id", "org_id", "orgc_id", "attribute_id", "referenced_id",
        "timestamp", "publish_timestamp", "date_sighting", "tag_id", "created", "modified",
        "user_id",
    }
)  # fmt: skip


class Analyst:
    """What an analyst does, with an administrator's rights in the double's organisation."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._actor = Actor(ROLES["admin"], store.org["id"])

    def add_event(self, event: Json) -> str:
        """Add an event with all its parts.

        Raises:
            AssertionError: MISP would not keep all of it, which a test surely did not mean.
        """
        sent = copy.deepcopy(event.get("Event", event))
        check_event(sent)
        before = len(self._store.drops)
        stored = add_event(self._store, self._actor, sent, "")
        assert len(self._store.drops) == before, self._store.drops[before:]
        return str(stored["uuid"])

    def _place(self, uuid: str) -> Place:
        place = self._store.place(uuid)
        assert place is not None, f"no attribute {uuid}"
        return place

    def _touch(self, place: Place) -> None:
        now = str(self._store.clock())
        place.attribute["timestamp"] = now
        if place.object is not None:
            place.object["timestamp"] = now
        self._store.touch(place.event)

    def edit(self, uuid: str, fields: Json) -> None:
        """Change fields of an attribute.

        Raises:
            AssertionError: MISP would refuse it.
        """
        require(fields, ATTRIBUTE, "analyst_edit")
        place = self._place(uuid)
        errors = apply_attribute(
            self._store,
            place.attribute,
            fields,
            in_object=place.object is not None,
            keys=live_keys(place.event),
        )
        assert not errors, errors
        self._touch(place)

    def delete(self, uuid: str) -> None:
        """Soft-delete an attribute."""
        place = self._place(uuid)
        place.attribute["deleted"] = True
        self._touch(place)

    def tag(self, uuid: str, name: str, *, remove: bool = False) -> None:
        """Tag or untag an attribute or event."""
        event = self._store.events.get(uuid.lower())
        place = None if event else self._place(uuid)
        element = event or self._place(uuid).attribute
        tag = self._store.tag({"name": name}, self._actor.role)
        assert tag is not None, "a tag has a name"
        change: Callable[[Json, Json], bool] = self._store.detach if remove else self._store.attach
        if not change(element, tag):
            return
        if place:
            self._touch(place)
        elif event:
            self._store.touch(event)

    def sighting(self, uuid: str, kind: int, source: str) -> None:
        """Add a sighting; no timestamp moves."""
        stored = self._place(uuid).attribute
        store_sighting(
            self._store,
            stored,
            self._actor.org_id,
            {"type": kind, "source": source},
            self._store.new_uuid(),
        )


def snapshot(store: Store) -> Json:
    """The content of all events without what differs between two equal runs.

    Ids, timestamps and server-made UUIDs are left out; lists are sorted by content.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items() if name not in VOLATILE}
        if isinstance(value, list):
            return sorted(
                (plain(item) for item in value),
                key=lambda item: (str(_get(item, "uuid")), repr(item)),
            )
        return None if isinstance(value, str) and value in store.generated else value

    return {uuid: plain(event) for uuid, event in sorted(store.events.items())}


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else None
