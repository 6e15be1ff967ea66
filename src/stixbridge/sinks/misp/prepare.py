"""An event as one MISP takes it: its organisation and sharing group, the names of its tags and clusters there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from stixbridge.envelopes import Delivered, Wanted
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.cluster_names import ClusterNames
from stixbridge.sinks.misp.galaxies import PrivateClusters
from stixbridge.sinks.misp.tags import keep_local, markings, tagged
from stixbridge.sinks.storable import as_storable


class Preparation:
    """Prepares events for one MISP. What is known of the MISP is asked for once, whichever event needs it first.

    Args (of the constructor):
        api: the MISP.
        orgc: the organisation that events carry, `name` and `uuid`; None for the key's own.
        clusters: what becomes of what no galaxy knows: `tags`, `private` clusters, or `none`.
        deletes: whether empty events are deleted.
    """

    def __init__(
        self, api: MispApi, orgc: Mapping[str, str] | None, clusters: str, *, deletes: bool
    ) -> None:
        self._api = api
        self._orgc = dict(orgc) if orgc is not None else None
        self._clusters = ClusterNames(api.clusters)
        self._unknown = clusters
        self._deletes = deletes
        self._private = PrivateClusters(api)
        self._lock = threading.Lock()

    def limits(self) -> list[str]:
        """What the key may not do, and what follows, a line each.

        Raises:
            ServerError: for a wrong key, or an answer that is not MISP's.
        """
        with self._lock:
            rights = self._api.rights()
        found = []
        if not rights.tag_editor:
            found.append(
                "this key may not create tags: those that MISP does not have are dropped, and an event whose marking is"
                " one of them is held"
            )
        if not rights.publish:
            found.append("this key may not publish: events stay unpublished")
        if self._orgc is not None and not (rights.sync or rights.site_admin):
            found.append(
                "this key may not say whose an event is (perm_sync): events carry the key's own organisation, and orgc"
                " has no effect"
            )
        if (
            self._orgc is not None
            and rights.publish
            and not rights.site_admin
            and self._orgc["uuid"] != rights.org_uuid
        ):
            found.append(
                "this key may not publish what another organisation made (orgc): such events stay unpublished"
            )
        if self._unknown == "private" and not (rights.galaxy_editor and rights.tag_editor):
            found.append(
                "this key may not make galaxy clusters and their tags (perm_galaxy_editor, perm_tag_editor): what no"
                " galaxy knows stays a plain tag"
            )
        if self._deletes and not self._api.may_unblock():
            found.append(
                "this key may not lift the blocklist (host organisation only): empty events stay, since deleting would"
                " block them for good"
            )
        return found

    def apply(
        self, wanted: Wanted, last: Delivered | None, notes: list[Note]
    ) -> tuple[MispEvent, str | None]:
        """Prepare an event.

        Args:
            wanted: as a pipeline makes it; it is not changed.
            last: the event as it was delivered last; None for a new one.
            notes: takes what a reader should know.

        Returns:
            The event, and why it can't be delivered now: `refused`, `held`, or None.
        """
        event: MispEvent = dict(as_storable(wanted.event, notes))
        with self._lock:
            rights = self._api.rights()
            if self._orgc is not None:
                # unless it is locked, a sync key can't edit what it added itself
                event |= {"Orgc": self._orgc, "locked": True}
            group = wanted.sharing_group
            if group and not self._share(event, group, notes):
                return event, "refused"
            for name in ("Attribute", "Object"):
                if name in event:
                    event[name] = [_copied(part) for part in event[name]]
            self._clusters.apply(event)
            if wanted.clusters:
                base = last.clusters if last is not None else ()
                self._replace_unknown(event, wanted.clusters, base, notes)
            if (
                rights.site_admin or not rights.sync
            ):  # MISP drops the local tags of a sync key in silence
                keep_local(event)
            if not rights.tag_editor and self._absent(event, notes):
                return event, "held"
        return event, None

    def _replace_unknown(
        self,
        event: MispEvent,
        wanted: Sequence[Mapping[str, Any]],
        base: Sequence[Mapping[str, Any]],
        notes: list[Note],
    ) -> None:
        """Put private clusters in the place of plain tags, or leave those out."""
        tags = {tag["name"] for part in tagged(event) for tag in part["Tag"]}
        rows = [row for row in wanted if row["tag"] in tags or row["withheld"]]
        names: dict[str, str | None] = {}
        if self._unknown == "none":
            names = {row["tag"]: None for row in rows}
            for row in (row for row in rows if not row["withheld"]):
                text = f'{row["value"]}: no galaxy knows it, and clusters is "none"'
                notes.append((None, Outcome.DROPPED, Reason.FILTERED, text))
        elif (
            self._unknown == "private"
            and self._api.rights().galaxy_editor
            and self._api.rights().tag_editor
        ):
            names = {**self._private.names(rows, base, notes)}
        for part in tagged(event) if names else ():
            renamed = [{**tag, "name": names.get(tag["name"], tag["name"])} for tag in part["Tag"]]
            part["Tag"] = [tag for tag in renamed if tag["name"] is not None]

    def _absent(self, event: MispEvent, notes: list[Note]) -> bool:
        """Whether a marking of an event can't be stored: the tag is not there and can't be created."""
        needed = markings(event)
        if not self._api.absent_tags(needed, fresh=False):
            return False
        absent = self._api.absent_tags(
            needed, fresh=True
        )  # it may have been created since we looked
        for tag in absent:
            text = f"{tag} does not exist in MISP and this role may not create tags; create it, then run again"
            notes.append((None, Outcome.PRESERVED, Reason.HELD_MARKING, text))
        return bool(absent)

    def _share(self, event: MispEvent, wanted: str, notes: list[Note]) -> bool:
        groups = self._api.sharing_groups()
        for group in groups:
            if wanted in (group.get("uuid"), group.get("name")):
                event["sharing_group_id"] = str(group["id"])
                return True
        names = ", ".join(sorted(str(group.get("name")) for group in groups)) or "none"
        notes.append(
            (
                None,
                Outcome.DROPPED,
                Reason.REFUSED,
                f"no sharing group {wanted!r}; this key sees: {names}",
            )
        )
        return False


def _copied(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part whose lists of tags can be replaced."""
    copy = dict(part)
    if "Attribute" in copy:
        copy["Attribute"] = [dict(inner) for inner in copy["Attribute"]]
    return copy
