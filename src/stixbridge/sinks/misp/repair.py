"""Parts that MISP did not store are sent one by one: it stores them, or says why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stixbridge.envelopes import AnalystDataChange
from stixbridge.ledger import Outcome, Reason
from stixbridge.misp.model import ANALYST_DATA
from stixbridge.sinks.delivery import Note
from stixbridge.sinks.fields import PARTS, in_lists, normal
from stixbridge.sinks.misp.answers import message_of, table, value_of
from stixbridge.sinks.misp.api import MispApi
from stixbridge.sinks.misp.verify import Unstored

_ALONE = {"Attribute": "attributes/add", "Object": "objects/add"}
_NEVER = "9"
"""A distribution that MISP refuses: it never stores an attribute that is sent with it, and names
all its errors.
"""
_SILENT = "MISP does not say why"


class Repair:
    """Asks one MISP for missing parts.

    Args (of the constructor):
        api: the MISP.
    """

    def __init__(self, api: MispApi) -> None:
        self._api = api

    def parts(
        self, gaps: Iterable[tuple[str, Mapping[str, Any]]], event_id: str, notes: list[Note]
    ) -> set[str]:
        """Ask for missing parts.

        Args:
            gaps: from `missing`.
            event_id: of the event in MISP.
            notes: takes the reasons.

        Returns:
            UUIDs of the parts that are not stored in the end.
        """
        return {
            str(part["uuid"]) for name, part in gaps if not self._part(name, part, event_id, notes)
        }

    def _part(self, name: str, part: Mapping[str, Any], event_id: str, notes: list[Note]) -> bool:
        uuid = str(part["uuid"])
        if name in ("Attribute", "Object.Attribute") and "type" not in part:
            text = "deleted in MISP while it was being changed; stays deleted"
            notes.append((uuid, Outcome.PRESERVED, Reason.CONFLICT, text))
            return False
        label = part.get("value") or part.get("name") or ""
        if name == "Object.Attribute":
            why = self._why(part, event_id)
        elif name in _ALONE:
            answer = self._api.post(f"{_ALONE[name]}/{event_id}", part)
            value = value_of(answer)
            if answer.status == 200 and name in value:
                return True
            why = message_of(value, answer)
        else:
            label, why = name.rpartition(".")[2], _SILENT
        notes.append((uuid, Outcome.DROPPED, Reason.MISP_DROPPED, f"{label}: {why}"))
        return False

    def _why(self, part: Mapping[str, Any], event_id: str) -> str:
        """The errors of an attribute of an object, which can't be added by itself."""
        asked = {
            key: value for key, value in part.items() if key not in ("uuid", "timestamp", "Tag")
        }
        route, body = f"attributes/add/{event_id}", {**asked, "distribution": _NEVER}
        errors = table(value_of(self._api.post(route, body)), "errors")
        texts = (
            f"{name}: {_first(text)}" for name, text in errors.items() if name != "distribution"
        )
        return "; ".join(texts) or _SILENT

    def fields(self, refused: Iterable[Unstored], notes: list[Note]) -> dict[str, set[str]]:
        """Ask for fields that an edit did not change, one at a time.

        MISP refuses all fields of a part for one bad field.

        Args:
            refused: from `unstored`.
            notes: takes the reasons.

        Returns:
            UUID of a part -> its fields that are not changed in the end.
        """
        unchanged: dict[str, set[str]] = {}
        for part in refused:
            for name, value in part.fields.items():
                why = self._field(part, name, value)
                if why is not None:
                    unchanged.setdefault(part.uuid, set()).add(name)
                    text = f"{name} {value!s:.80}: {why}"
                    notes.append((part.uuid, Outcome.DROPPED, Reason.MISP_DROPPED, text))
        return unchanged

    def _field(self, part: Unstored, name: str, value: Any) -> str | None:
        """Ask for one field; None where it is stored, else why not."""
        if part.name != "Attribute":
            return _SILENT
        if name == "deleted":
            answer = self._api.post(f"attributes/delete/{part.uuid}", {})
            return None if answer.status == 200 else message_of(value_of(answer), answer)
        answer = self._api.post(f"attributes/edit/{part.uuid}", {name: value})
        reply = value_of(answer)
        if answer.status != 200 or "Attribute" not in reply:
            return message_of(reply, answer)
        stored = table(reply, "Attribute").get(name)
        if normal(name, stored) == normal(name, value):
            return None
        return f"MISP keeps {stored!s:.80}"

    def analyst_data(
        self, event: str, changes: Iterable[AnalystDataChange], notes: list[Note]
    ) -> list[AnalystDataChange]:
        """Change or delete notes, opinions and relationships of ours.

        MISP ignores them in an event where it has them already.

        Args:
            event: the UUID of the event that they are in.
            changes: from `compare`.
            notes: takes the reasons.

        Returns:
            The changes that MISP did not take.

        Raises:
            ServerError: when MISP fails; the next run sees what was changed.
        """
        refused: list[AnalystDataChange] = []
        for change in changes:
            answer = self._api.change_analyst_data(event, change.kind, change.uuid, change.fields)
            value = value_of(answer)
            if answer.status >= 500 or not value:
                raise self._api.failed("analyst_data", answer, message_of(value, answer))
            if answer.status != 200 and not (answer.status == 404 and change.fields is None):
                refused.append(change)
                text = f"{change.kind.lower()}: {message_of(value, answer)}"
                notes.append((change.uuid, Outcome.DROPPED, Reason.MISP_DROPPED, text))
        return refused


def has_analyst_data(part: Mapping[str, Any]) -> bool:
    """Whether notes, opinions or relationships are in a body: MISP shows them only on request."""
    if any(part.get(kind) for kind in ANALYST_DATA):
        return True
    return any(has_analyst_data(row) for row in in_lists(part, PARTS) if len(row) > 1)


def _first(texts: Any) -> str:
    return str(texts[0]) if isinstance(texts, list) and texts else str(texts)
