"""What the double has stored, its indexes, and how MISP shows it."""

import copy
import hashlib
import uuid as uuids
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from .model import Actor, Crash, Json, Place, Role, attributes_of, truthy
from .values import has_four_byte

LIVE: frozenset[bool] = frozenset({False})


class Store:
    """Events in the JSON form MISP gives, with the global UUID registers that make it drop things.

    Soft-deleted parts stay in the events with `"deleted": True`; `Tag` and `Sighting` lists are
    always there.
    """

    def __init__(self, *, clock: Callable[[], int], org: Json, known_tags: Iterable[str],
                 clusters: Mapping[str, Json], sharing_groups: Iterable[Any]) -> None:  # fmt: skip
        self.clock = clock
        self.events: dict[str, Json] = {}
        self.attributes: dict[str, Place] = {}
        self.objects: dict[str, tuple[Json, Json]] = {}
        # An object that lost every attribute is invisible, but its row is there and holds its UUID.
        self.ghosts: dict[str, str] = {}
        self.reports: dict[str, tuple[Json, Json]] = {}
        self.references: dict[str, tuple[Json, Json, Json]] = {}
        self.sightings: set[str] = set()
        self.analyst: dict[str, Json] = {}
        self.blocklist: set[str] = set()
        self.analyst_blocklist: set[str] = set()
        self.lost_tags: set[str] = set()
        self.filling: set[str] = set()
        self.generated: set[str] = set()
        self.drops: list[Json] = []
        self.tags: dict[str, Json] = {}
        self.orgs: dict[str, Json] = {}
        self._ids: dict[str, int] = {}
        self._by_id: dict[tuple[str, str], str] = {}
        self.pause: Callable[[], None] = lambda: None
        self.org = self.add_org(org["name"], org["uuid"])
        self.clusters: dict[str, Json] = {}
        for name, cluster in clusters.items():
            self.add_cluster(name, cluster)
        self.sharing_groups = [
            _sharing_group(number, group) for number, group in enumerate(sharing_groups, 1)
        ]
        for name in known_tags:
            self._new_tag({"name": name})

    # identities

    def next_id(self, kind: str, uuid: str = "") -> str:
        """The next number of a table; `by_id` finds the UUID again."""
        self._ids[kind] = self._ids.get(kind, 0) + 1
        ident = str(self._ids[kind])
        if uuid:
            self._by_id[kind, ident] = uuid
        return ident

    def uuid_of(self, kind: str, ident: object) -> str:
        """The UUID behind an id or UUID as it stands in a path or body."""
        text = str(ident).lower()
        return self._by_id.get((kind, text), text)

    def new_uuid(self) -> str:
        """A UUID that the server made up."""
        made = str(uuids.uuid4())
        self.generated.add(made)
        return made

    def event(self, ident: object) -> Json | None:
        """The event with that id or UUID."""
        return self.events.get(self.uuid_of("Event", ident))

    def place(self, ident: object) -> Place | None:
        """The attribute with that id or UUID, deleted or not."""
        return self.attributes.get(self.uuid_of("Attribute", ident))

    # organisations and rights

    def add_org(self, name: str, uuid: str = "") -> Json:
        """The organisation of that name and UUID; MISP makes one it does not have."""
        if not uuid:
            found = next((org for org in self.orgs.values() if org["name"] == name), None)
            if found:
                return found
            uuid = self.new_uuid()
        uuid = uuid.lower()
        if uuid not in self.orgs:
            if any(org["name"] == name for org in self.orgs.values()):
                name = f"{name}_{zlib.crc32(uuid.encode()) % 9000 + 1000}"
            ident = self.next_id("Organisation", uuid)
            self.orgs[uuid] = {"id": ident, "name": name, "uuid": uuid, "local": ident == "1"}
        return self.orgs[uuid]

    def sharing_group(self, ident: object) -> Json | None:
        """A sharing group by id or UUID."""
        return next(
            (g for g in self.sharing_groups if str(ident).lower() in (g["id"], g["uuid"])), None
        )

    def visible(self, event: Json, actor: Actor) -> bool:
        """Whether the actor's organisation may see the event."""
        return (
            actor.role.site_admin
            or actor.org_id in (event["orgc_id"], event["org_id"])
            or event["distribution"] in ("1", "2", "3", "4")
        )

    def may_modify(self, event: Json, actor: Actor) -> bool:
        """Whether the actor may change parts of the event through the calls other than
        `/events/edit`.
        """
        return actor.role.site_admin or (actor.role.write and event["orgc_id"] == actor.org_id)

    # tags

    def _new_tag(self, tag: Mapping[str, Any]) -> Json:
        if has_four_byte(str(tag["name"])):
            raise Crash("Incorrect string value for column 'name'")
        try:
            name = str(tag["name"]).encode()[:255].decode()
        except UnicodeDecodeError:
            raise Crash(
                "Incorrect string value for column 'name'"
            ) from None  # cut in the middle of a character
        known = self.clusters.get(name.lower())
        name = known["tag_name"] if known else name
        if name.lower() not in self.tags:
            self.tags[name.lower()] = {
                "id": self.next_id("Tag"),
                "name": name,
                "colour": str(tag.get("colour") or _colour(name)),
                "exportable": truthy(tag.get("exportable", True)),
                "user_id": "0",
                "hide_tag": False,
                "numerical_value": None,
                "is_galaxy": name.startswith("misp-galaxy:"),
                "is_custom_galaxy": bool(known and known.get("custom")),
                "local_only": False,
            }
        return self.tags[name.lower()]

    def tag(self, tag: Mapping[str, Any], role: Role) -> Json | None:
        """The tag of that name; made where the role may, else None."""
        name = str(tag.get("name") or "")
        found = self.tags.get(name.lower()) or self.tags.get(
            name.encode()[:255].decode(errors="ignore").lower()
        )
        if name in self.lost_tags:
            return None
        if found or not name:
            return found
        return self._new_tag(tag) if role.tag_editor else None

    def attach(self, element: Json, tag: Json, sent: Mapping[str, Any] | None = None) -> bool:
        """Tag an event or attribute; False when it was tagged so before."""
        sent = sent or {}
        if any(stored["id"] == tag["id"] for stored in element["Tag"]):
            return False
        element["Tag"].append(
            {
                **tag,
                "local": truthy(sent.get("local")),
                "relationship_type": sent.get("relationship_type") or None,
            }
        )
        self._set_galaxies(element)
        return True

    def detach(self, element: Json, tag: Json) -> bool:
        """Untag; False when it was not tagged."""
        kept = [stored for stored in element["Tag"] if stored["id"] != tag["id"]]
        removed = len(kept) != len(element["Tag"])
        element["Tag"] = kept
        self._set_galaxies(element)
        return removed

    def add_cluster(self, tag_name: str, cluster: Mapping[str, Any]) -> Json:
        """Make a galaxy cluster known, so that its tag brings its `Galaxy`."""
        kind = tag_name.removeprefix("misp-galaxy:").partition("=")[0]
        full = {"id": self.next_id("GalaxyCluster"),
                "uuid": str(uuids.uuid5(uuids.NAMESPACE_URL, tag_name)),
                "type": kind, "value": tag_name.partition('="')[2].rstrip('"'),
                "tag_name": tag_name, "description": "", **cluster}  # fmt: skip
        self.clusters[tag_name.lower()] = full
        return full

    def _set_galaxies(self, element: Json) -> None:
        galaxies: dict[str, Json] = {}
        for tag in element["Tag"]:
            if cluster := self.clusters.get(tag["name"].lower()):
                galaxy = galaxies.setdefault(
                    cluster["type"],
                    {"name": cluster["type"], "type": cluster["type"], "GalaxyCluster": []},
                )
                galaxy["GalaxyCluster"].append(
                    {**cluster, "tag_id": tag["id"], "local": tag["local"]}
                )
        element["Galaxy"] = list(galaxies.values())

    # changes

    def touch(self, event: Json, at: int | None = None) -> None:
        """What every single-part call does to its event: unpublished, moved to now."""
        event["published"] = False
        event["timestamp"] = str(self.clock() if at is None else at)

    def drop(
        self, model: str, event: Json, why: Any, data: Mapping[str, Any], action: str = "add"
    ) -> None:
        """Note a silent drop the way MISP's own log does; no client but an admin sees it."""
        short = (
            f"{data.get('category', 'N/A')}/{data.get('type', 'N/A')} {data.get('value', 'N/A')}"
        )
        if model != "Attribute":
            short = str(
                data.get("name") or data.get("uuid") or data.get("referenced_uuid") or "N/A"
            )
        self.drops.append(
            {
                "id": self.next_id("Log"),
                "model": model,
                "action": action,
                "title": (
                    f"{model} dropped due to validation for Event {event['id']} failed: {short}"
                ),
                "change": f"Validation errors: {why} Full {model}: {dict(data)}",
                "created": str(self.clock()),
            }
        )

    def forget_attribute(self, place: Place) -> None:
        """Hard-delete an attribute."""
        holder = place.object or place.event
        holder["Attribute"] = [
            stored for stored in holder["Attribute"] if stored is not place.attribute
        ]
        del self.attributes[place.attribute["uuid"]]

    def forget_event(self, event: Json) -> None:
        """Delete an event with all its parts and block its UUID."""
        del self.events[event["uuid"]]
        self.blocklist.add(event["uuid"])
        self.attributes = {
            u: place for u, place in self.attributes.items() if place.event is not event
        }
        self.objects = {u: pair for u, pair in self.objects.items() if pair[0] is not event}
        self.reports = {u: pair for u, pair in self.reports.items() if pair[0] is not event}
        self.references = {
            u: stored for u, stored in self.references.items() if stored[0] is not event
        }
        self.ghosts = {u: holder for u, holder in self.ghosts.items() if holder != event["uuid"]}
        for _, attribute in attributes_of(event):
            self.sightings -= {sighting["uuid"] for sighting in attribute["Sighting"]}

    # what MISP shows

    def show_attribute(self, attribute: Json, *, full: bool = True, sightings: bool = True) -> Json:
        """An attribute as it stands in an answer; `full=False` is the barer form of the attribute
        calls.
        """
        shown = copy.deepcopy(attribute)
        if not shown["Tag"]:
            del shown["Tag"]
        if not shown["Sighting"] or not full or not sightings:
            del shown["Sighting"]
        if full:
            shown["ShadowAttribute"] = []
        else:
            del shown["Galaxy"]
        return shown

    def show_event(self, event: Json, *, deleted: Collection[bool] = LIVE, metadata: bool = False,
                   sightings: bool = True, analyst_data: bool = False) -> Json:  # fmt: skip
        """An event as `/events/view` gives it, without its `Event` wrapper.

        Args:
            event: What is stored.
            deleted: Which values of `deleted` the parts shown may have.
            metadata: Leave out attributes, objects and reports.
            sightings: Show them with their attributes.
            analyst_data: Show notes, opinions and relationships; answers of writes, and searches,
                do not by themselves.
        """
        parts = ("Attribute", "Object", "EventReport")
        shown = copy.deepcopy({name: value for name, value in event.items() if name not in parts})
        shown["attribute_count"] = str(
            sum(not stored["deleted"] for _, stored in attributes_of(event))
        )
        shown |= {"ShadowAttribute": [], "RelatedEvent": [], "CryptographicKey": []}
        if not shown["Tag"]:
            del shown["Tag"]
        if event["distribution"] == "4":
            shown["SharingGroup"] = self.sharing_group(event["sharing_group_id"])
        if metadata:
            return shown if analyst_data else _without_analyst_data(shown)

        def attributes(holder: Json) -> list[Json]:
            chosen = (stored for stored in holder["Attribute"] if stored["deleted"] in deleted)
            return [self.show_attribute(stored, sightings=sightings) for stored in chosen]

        shown["Attribute"] = attributes(event)
        shown["Object"] = []
        for obj in event["Object"]:
            if obj["deleted"] in deleted and (inner := attributes(obj)):
                shown["Object"].append({**copy.deepcopy(obj), "Attribute": inner})
        shown["EventReport"] = copy.deepcopy(
            [r for r in event["EventReport"] if r["deleted"] in deleted]
        )
        return shown if analyst_data else _without_analyst_data(shown)


def _without_analyst_data(part: Json) -> Json:
    return {
        name: [_without_analyst_data(row) for row in value]
        if name in ("Attribute", "Object", "EventReport")
        else value
        for name, value in part.items()
        if name not in ("Note", "Opinion", "Relationship")
    }


def _colour(name: str) -> str:
    return "#" + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:6]


def _sharing_group(number: int, group: Any) -> Json:
    sent = dict(group) if isinstance(group, Mapping) else {"name": str(group)}
    name = str(sent.get("name", f"group {number}"))
    made = {
        "id": str(number),
        "name": name,
        "uuid": str(uuids.uuid5(uuids.NAMESPACE_URL, name)),
        "active": True,
    }
    return {**made, **sent, "id": str(sent.get("id", number))}
