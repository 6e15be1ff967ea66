"""An event as one MISP takes it: organisation, sharing group, names of tags and clusters."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from stixbridge.envelopes import Delivered, Wanted
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import VALUES, Part, with_rows
from stixbridge.sinks.misp.api import MispApi, Rights
from stixbridge.sinks.misp.cluster_names import ClusterNames
from stixbridge.sinks.misp.galaxies import Cluster, PrivateClusters
from stixbridge.sinks.misp.tags import keep_local, markings, tagged
from stixbridge.sinks.storable import as_storable


class Preparation:
    """Prepares events for one MISP.

    It asks the MISP once for its tags, galaxies and sharing groups, when an event needs them first.

    Args (of the constructor):
        api: the MISP.
        orgc: the organisation that events carry, `name` and `uuid`; None for the key's own.
        clusters: the form of names that no galaxy knows: `tags`, `private` clusters, or `none`.
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
        """The limits of the key, and what follows, a line each.

        Raises:
            ServerError: for a wrong key, or an answer that is not MISP's.
        """
        with self._lock:
            rights = self._api.rights()
        may_own = rights.sync or rights.site_admin
        checks = [
            (
                rights.tag_editor,
                "this key may not create tags: those that MISP does not have are dropped, and an"
                " event whose marking is one of them is held",
            ),
            (rights.publish, "this key may not publish: events stay unpublished"),
            (
                self._orgc is None or may_own,
                "this key may not say whose an event is (perm_sync): events carry the key's own"
                " organisation, and orgc has no effect",
            ),
            (
                self._may_publish_for_orgc(rights),
                "this key may not publish what another organisation made (orgc): such events stay"
                " unpublished",
            ),
            (
                self._unknown != "private" or (rights.galaxy_editor and rights.tag_editor),
                "this key may not make galaxy clusters and their tags (perm_galaxy_editor,"
                " perm_tag_editor): unknown names stay plain tags",
            ),
            (
                not self._deletes or self._api.may_unblock(),
                "this key may not lift the blocklist (host organisation only): empty events stay,"
                " since deleting would block them for good",
            ),
        ]
        return [text for fine, text in checks if not fine]

    def _may_publish_for_orgc(self, rights: Rights) -> bool:
        """Whether the key may publish events of the configured organisation, if it may publish."""
        if self._orgc is None or not rights.publish or rights.site_admin:
            return True
        return self._orgc["uuid"] == rights.org_uuid

    def apply(
        self, wanted: Wanted, last: Delivered | None, notes: list[Note]
    ) -> tuple[MispEvent, str | None]:
        """Prepare an event.

        Args:
            wanted: as a pipeline makes it; it is not changed.
            last: the event as it was delivered last; None for a new one.
            notes: takes notes for a reader.

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
            event = with_rows(event, VALUES, lambda _, part: _copied(part))
            self._clusters.apply(event)
            if wanted.clusters:
                before = last.clusters if last is not None else ()
                self._replace_unknown(event, wanted.clusters, before, notes)
            if rights.site_admin or not rights.sync:
                # MISP drops the local tags of a sync key in silence
                keep_local(event)
            if not rights.tag_editor and self._lacks_marking(event, notes):
                return event, "held"
        return event, None

    def _replace_unknown(
        self,
        event: MispEvent,
        wanted: Sequence[Cluster],
        delivered: Sequence[Cluster],
        notes: list[Note],
    ) -> None:
        """Put private clusters in the place of plain tags, or leave those out."""
        tags = {tag["name"] for part in tagged(event) for tag in part["Tag"]}
        clusters = [row for row in wanted if row["tag"] in tags or row["withheld"]]
        names = self._names_of(clusters, delivered, notes)
        for part in tagged(event) if names else ():
            renamed = [{**tag, "name": names.get(tag["name"], tag["name"])} for tag in part["Tag"]]
            part["Tag"] = [tag for tag in renamed if tag["name"] is not None]

    def _names_of(
        self, clusters: Sequence[Cluster], delivered: Sequence[Cluster], notes: list[Note]
    ) -> dict[str, str | None]:
        """Plain tag -> the tag in its place; None for no tag."""
        rights = self._api.rights()
        if self._unknown == "none":
            notes.extend(_left_out(row) for row in clusters if not row["withheld"])
            return {row["tag"]: None for row in clusters}
        if self._unknown == "private" and rights.galaxy_editor and rights.tag_editor:
            return {**self._private.names(clusters, delivered, notes)}
        return {}

    def _lacks_marking(self, event: MispEvent, notes: list[Note]) -> bool:
        """Whether a marking of an event can't be stored.

        Its tag is not in MISP, and the key may not create it.
        """
        needed = markings(event)
        if not self._api.absent_tags(needed, fresh=False):
            return False
        # it may have been created since we looked
        absent = self._api.absent_tags(needed, fresh=True)
        for tag in absent:
            text = (
                f"{tag} does not exist in MISP and this role may not create tags; create it, then"
                " run again"
            )
            notes.append((None, Outcome.PRESERVED, Reason.HELD_MARKING, text))
        return bool(absent)

    def _share(self, event: MispEvent, wanted: str, notes: list[Note]) -> bool:
        """Give an event the id of its sharing group; False where the key does not see the group."""
        groups = self._api.sharing_groups()
        for group in groups:
            if wanted in (group.get("uuid"), group.get("name")):
                event["sharing_group_id"] = str(group["id"])
                return True
        names = ", ".join(sorted(str(group.get("name")) for group in groups)) or "none"
        text = f"no sharing group {wanted!r}; this key sees: {names}"
        notes.append((None, Outcome.DROPPED, Reason.REFUSED, text))
        return False


def _left_out(cluster: Cluster) -> Note:
    text = f'{cluster["value"]}: no galaxy knows it, and clusters is "none"'
    return None, Outcome.DROPPED, Reason.FILTERED, text


def _copied(part: Part) -> Part:
    """A part whose lists of tags can be replaced."""
    return with_rows(part, ("Attribute",), lambda _, row: dict(row))
