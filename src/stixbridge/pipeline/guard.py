"""The guard: a run that would change more than expected stops before it writes to a sink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge.misp.model import all_attributes
from stixbridge.settings.base import Settings
from stixbridge.settings.checks import Share


@dataclass(slots=True)
class ChangeCount:
    """How many attributes in a sink a run would change.

    Attributes:
        added: new attributes.
        withdrawn: attributes that it would take away, or take `to_ids` from.
    """

    added: int = 0
    withdrawn: int = 0

    def add(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Count one event, as it was delivered and as it is wanted."""
        old = {str(row["uuid"]): row for row in all_attributes(dict(before))}
        new = {str(row["uuid"]): row for row in all_attributes(dict(after))}
        self.added += len(new.keys() - old.keys())
        self.withdrawn += len(old.keys() - new.keys())
        self.withdrawn += sum(
            bool(old[uuid].get("to_ids")) and not new[uuid].get("to_ids")
            for uuid in old.keys() & new
        )


@dataclass(frozen=True)
class Guard(Settings):
    """The limits of a run that is not confirmed.

    Attributes:
        add: attributes that a run may add, as `"10000"`, or `"10%"` of those that the pipeline has
            in the sink.
        withdraw: attributes that a run may withdraw, or take `to_ids` from.
    """

    add: Share | None = None
    withdraw: Share | None = None

    def problem(self, changes: ChangeCount, existing: int) -> str | None:
        """Why a run has to stop; None where it may go on.

        Args:
            changes: that it would make.
            existing: attributes that the pipeline has; a share of nothing is no limit.
        """
        for verb, limit, count in (
            ("add", self.add, changes.added),
            ("withdraw", self.withdraw, changes.withdrawn),
        ):
            most = _most(limit, existing)
            if limit is not None and most is not None and count > most:
                shown = f"{limit} of {existing:,}" if limit.endswith("%") else f"{most:,}"
                return (
                    f"guard: this run would {verb} {count:,} attributes, more than {shown};"
                    " nothing was written"
                )
        return None


def _most(limit: str | None, existing: int) -> int | None:
    """The number that a limit allows; None for any."""
    if limit is None:
        return None
    if limit.endswith("%"):
        return int(existing * float(limit[:-1]) / 100) if existing else None
    return int(limit)
