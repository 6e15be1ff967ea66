"""The end of a write: MISP's answer is compared with what was sent.

"200 is not stored": MISP drops parts in silence, so every answer is compared with what was sent, by
UUID, and each missing part is asked for by itself, for the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stixbridge.envelopes import Delivered, Edit
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import Delivery, Job, Note, State
from stixbridge.sinks.misp.answers import event_in, message_of, value_of
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.diff import Changes
from stixbridge.sinks.misp.event_write import EventWrite, Sent
from stixbridge.sinks.misp.repair import Repair, has_analyst_data
from stixbridge.sinks.misp.tags import is_marking
from stixbridge.sinks.misp.verify import (
    lost_tags,
    missing,
    stored_otherwise,
    stuck_tags,
    unstored,
    with_old_fields,
    with_parts_back,
    with_tags_back,
    without,
    without_tags,
)

_MUST = frozenset({"to_ids", "distribution", "deleted"})
"""Fields that may not stay as they were."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """The differences between what was sent and what MISP stored.

    Attributes:
        parts: UUIDs of parts that are not stored.
        fields: UUID of a part -> fields that are not changed.
        lost: UUID of a part -> tags that it does not have.
        stuck: UUID of a part -> tags that it still has.
    """

    parts: set[str] = field(default_factory=set)
    fields: dict[str, set[str]] = field(default_factory=dict)
    lost: dict[str, set[str]] = field(default_factory=dict)
    stuck: dict[str, set[str]] = field(default_factory=dict)


class Confirmation:
    """Compares the answers of one MISP with what was sent.

    Args (of the constructor):
        api: the MISP.
        repair: asks it for missing parts.
    """

    def __init__(self, api: MispApi, repair: Repair) -> None:
        self._api = api
        self._repair = repair

    def confirm(self, write: EventWrite, sent: Sent, stored: Mapping[str, Any]) -> Delivery:
        """Compare, and ask for everything that is missing.

        Args:
            write: of the event.
            sent: the changes that were sent.
            stored: the event as MISP has it then; without analyst data where that was the answer
                of a write.

        Returns:
            The delivery; it waits where something has to be tried again at every run.
        """
        body = sent.changes.body
        if has_analyst_data(body):
            stored = self._api.event(write.uuid) or stored
        gaps = self._gaps(sent, stored, write.notes)
        delivered = as_delivered(write.event, sent.changes, sent.before or {}, gaps)
        delivery = Delivery(write.uuid, State.DELIVERED, delivered, sent.action, False, write.notes)
        delivery.incomplete = bool(gaps.lost or gaps.fields or gaps.stuck)
        if any(reason is Reason.HELD_MARKING for _, _, reason, _ in write.notes):
            delivery.state = State.WAITING
            self._keep_narrow(write.job, delivery, sent, stored)
        elif any(fields & _MUST for fields in gaps.fields.values()):
            delivery.state = State.WAITING
        return delivery

    def _gaps(self, sent: Sent, stored: Mapping[str, Any], notes: list[Note]) -> Gaps:
        changes, body = sent.changes, sent.changes.body
        parts = self._repair.parts(missing(body, stored), str(stored["id"]), notes)
        fields: dict[str, set[str]] = {}
        if sent.before is not None:
            fields = self._repair.fields(unstored(body, stored), notes)
            refused = (change for change in changes.refused if change.fields)
            fields |= {change.uuid: set(change.fields or ()) for change in refused}
        changes.stored_values = {**changes.stored_values, **stored_otherwise(body, stored)}
        gaps = Gaps(parts, fields, lost_tags(body, stored), stuck_tags(body, stored))
        notes.extend(_notes_on_tags(gaps))
        return gaps

    def _keep_narrow(
        self, job: Job, delivery: Delivery, sent: Sent, stored: Mapping[str, Any]
    ) -> None:
        """Let only the own organisation read an event whose marking was not stored."""
        if str(stored.get("distribution")) != "0":
            self._narrow(job, delivery.event)
            distribution = "0"
        elif sent.before is not None and "distribution" not in sent.changes.body:
            distribution = sent.before.get("distribution", "0")
        else:
            return
        body = {**delivery.body, "distribution": distribution}
        delivery.delivered = replace(delivery.delivered, body=body)

    def _narrow(self, job: Job, uuid: str) -> None:
        job.begin_edit(Edit({"distribution": "0"}))
        route = f"events/edit/{uuid}"
        answer = self._api.post(route, {"Event": {"distribution": "0"}})
        value = value_of(answer)
        if answer.status != 200 or event_in(value) is None:
            raise self._api.failed(route, answer, message_of(value, answer))


def _notes_on_tags(gaps: Gaps) -> list[Note]:
    notes: list[Note] = []
    for tag in sorted(set().union(*gaps.lost.values())):
        if is_marking(tag):
            text = f"{tag} was not stored; kept at distribution 0"
            notes.append((None, Outcome.PRESERVED, Reason.HELD_MARKING, text))
        else:
            notes.append((None, Outcome.DROPPED, Reason.MISP_DROPPED, f"tag {tag}"))
    if gaps.stuck:
        names = ", ".join(sorted(set().union(*gaps.stuck.values())))
        text = f"still there, and tried again: {names}"
        notes.append((None, Outcome.DROPPED, Reason.MISP_DROPPED, text))
    return notes


def as_delivered(
    event: MispEvent, changes: Changes, before: Mapping[str, Any], gaps: Gaps | None = None
) -> Delivered:
    """The part of a wanted event that is in MISP and from us.

    Args:
        event: as it was wanted.
        changes: the edit; what is in MISP by somebody else's hand is not ours.
        before: the event as it was delivered before.
        gaps: the parts of the edit that MISP did not store.
    """
    gaps = gaps or Gaps()
    tags = dict(changes.others_tags)
    for uuid, names in gaps.lost.items():
        tags[uuid] = tags.get(uuid, set()) | {name.lower() for name in names}
    body = without_tags(with_old_fields(without(event, gaps.parts), gaps.fields, before), tags)
    undeleted = {uuid for uuid, names in gaps.fields.items() if "deleted" in names}
    body = with_parts_back(body, before, undeleted)
    return Delivered(
        with_tags_back(body, gaps.stuck) if gaps.stuck else body,
        analyst_kept={uuid: fields for uuid, fields in changes.analyst_kept.items() if fields},
        deleted_by_analyst=frozenset(changes.deleted_by_analyst),
        stored_values=dict(changes.stored_values),
    )
