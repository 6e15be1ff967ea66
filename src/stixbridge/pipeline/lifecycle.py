"""What of the stored objects takes part in a conversion.

Not what vanished, expired, was revoked or put aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stixbridge import times
from stixbridge.ledger import Reason
from stixbridge.misp.model import Converted, all_attributes, tag_names
from stixbridge.pipeline.affected import CONTAINERS
from stixbridge.pipeline.select import Loaded
from stixbridge.store import Store

_NEEDED = ("marking-definition", "extension-definition", "identity")
"""Types that others need to be understood: they stay though their source has them no longer."""
_TAG = 'stixbridge:source="vanished"'


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of objects whose life has ended.

    Attributes:
        vanished: what the source has no longer: `keep`, `tag`, `to_ids_off`, `delete`.
        expired_after: microseconds after its `valid_until` at which an indicator is left out; None
            for never.
    """

    vanished: str = "keep"
    expired_after: int | None = None


@dataclass(slots=True)
class Lifecycle:
    """Applies a policy, at one moment.

    Attributes:
        store: where the objects are.
        pipeline: its name.
        source: the name of its source.
        policy: what becomes of what.
        now: the reference time, microseconds.
        vanished: ids that it saw and that the source has no longer.
    """

    store: Store
    pipeline: str
    source: str
    policy: Policy
    now: int
    vanished: set[str] = field(default_factory=set)

    @property
    def may_leave_out(self) -> bool:
        """Whether an object may be left out that a container holds, or that another refers to."""
        return (
            self.policy.vanished == "delete"
            or self.policy.expired_after is not None
            or bool(self.store.quarantine.left_out(self.pipeline, self.source))
        )

    def remaining(self, rows: Loaded) -> Loaded:
        """The objects that take part, as they take part."""
        aside = self.store.quarantine.left_out(self.pipeline, self.source)
        # a marking is never left out: what refers to it would come out less restricted
        kept = {
            id_: row
            for id_, row in rows.items()
            if row[0]["type"] == "marking-definition"
            or (id_ not in aside and not self._is_over(row[0]) and not is_revoked_container(row[0]))
        }
        if self.policy.vanished == "keep":
            return kept
        vanished = self.store.objects.vanished(self.source, kept)
        self.vanished |= vanished
        if self.policy.vanished == "delete":
            return {
                id_: row
                for id_, row in kept.items()
                if id_ not in vanished or row[0]["type"] in _NEEDED
            }
        if self.policy.vanished == "to_ids_off":
            for id_ in vanished:
                obj, added = kept[id_]
                if obj["type"] == "indicator":
                    kept[id_] = ({**obj, "revoked": True}, added)
        return kept

    def missing(self, ids: Iterable[str]) -> set[str]:
        """Those of some ids that take no part."""
        wanted = set(ids)
        return wanted - self.remaining(self.store.objects.load(self.source, wanted)).keys()

    def reason(self, id_: str) -> Reason:
        """Why a changed object takes no part."""
        aside = self.store.quarantine.left_out(self.pipeline, self.source)
        if id_ in aside:
            return aside[id_]
        obj = self.store.objects.load(self.source, [id_]).get(id_, ({}, None))[0]
        if is_revoked_container(obj):
            return Reason.REVOKED
        expires = self.policy.expired_after is not None
        return Reason.EXPIRED if expires and id_ not in self.vanished else Reason.VANISHED

    def tag(self, rows: Iterable[Converted]) -> None:
        """Tag what only objects say that the source has no longer, where the policy is to tag."""
        if self.policy.vanished != "tag":
            return
        for row in rows:
            uuids = {
                uuid for uuid, ids in row.elements.items() if ids and self.vanished.issuperset(ids)
            }
            alone = [part for part in row.event["Attribute"] if part["uuid"] in uuids]
            inside = [obj for obj in row.event["Object"] if obj["uuid"] in uuids]
            for attribute in (*alone, *all_attributes({"Object": inside})):
                if _TAG not in tag_names(attribute):
                    attribute["Tag"] = [*(attribute.get("Tag") or []), {"name": _TAG}]

    def _is_over(self, obj: Mapping[str, Any]) -> bool:
        """Whether an indicator expired so long ago that its attributes go."""
        if self.policy.expired_after is None or obj["type"] != "indicator":
            return False
        until = times.read(obj.get("valid_until"))
        return until is not None and until + self.policy.expired_after <= self.now


def is_revoked_container(obj: Mapping[str, Any]) -> bool:
    """Whether a report or grouping is revoked.

    It is no event any more, and what was in it goes elsewhere.
    """
    return obj.get("type") in CONTAINERS and obj.get("revoked") is True
