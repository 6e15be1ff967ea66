"""Direct upload of STIX to MISP's own import (`events/upload_stix/2`), which only adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge.envelopes import Delivered
from stixbridge.ledger import Outcome, Reason
from stixbridge.sinks.delivery import Delivery, Job, Note, State
from stixbridge.sinks.misp.answers import message_of, rows, table, value_of
from stixbridge.sinks.misp.api import MispApi

_ORIGINAL = "original-imported-file"
"""The object that MISP's import makes of the file itself, whatever it saves of the content."""


def upload(api: MispApi, job: Job) -> Delivery:
    """Upload the STIX behind an event, and read the answer: 200 without an attribute is a failure.

    Args:
        api: the MISP.
        job: an event that was not uploaded before.

    Returns:
        `State.FOREIGN` where the MISP has the report already.

    Raises:
        ServerError: when MISP fails, or its misp-stix does.
    """
    uuid = job.uuid
    objects = job.stix()
    bundle: dict[str, Any] = {"type": "bundle", "id": f"bundle--{uuid}", "objects": objects}
    if not any(obj.get("spec_version") == "2.1" for obj in objects):
        bundle["spec_version"] = "2.0"
    if job.last is None and api.event(uuid) is not None:
        return _refused(job, Reason.FOREIGN, "MISP has an event of this UUID", State.FOREIGN)
    job.begin(State.ADDING, Delivered.of(job.wanted))
    answer = api.post("events/upload_stix/2", bundle)
    value = value_of(answer)
    if answer.status == 200:
        if _saved_anything(value):
            return Delivery(uuid, State.DELIVERED, Delivered.of(job.wanted), "created")
        return _refused(job, Reason.REFUSED, "MISP answered 200 and saved no attribute")
    message = message_of(value, answer)
    if "already exists" in message:
        return _refused(job, Reason.FOREIGN, message, State.FOREIGN)
    if answer.status == 401 or answer.status >= 500:
        raise api.failed("events/upload_stix/2", answer, message)
    return _refused(job, Reason.REFUSED, message)


def _saved_anything(value: Mapping[str, Any]) -> bool:
    """Whether MISP saved anything but the file itself."""
    return any(
        row.get("name") != _ORIGINAL
        for name in ("Attribute", "Object")
        for row in rows(value, name) or rows(table(value, "Event"), name)
    )


def _refused(job: Job, reason: Reason, text: str, state: State = State.REFUSED) -> Delivery:
    notes: list[Note] = [(None, Outcome.DROPPED, reason, text)]
    return Delivery(job.uuid, state, Delivered.of(job.wanted), "refused", notes=notes)
