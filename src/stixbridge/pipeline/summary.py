"""What one run did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stixbridge.errors import StixbridgeError
from stixbridge.pipeline.run_ledger import RunLedger
from stixbridge.sinks.delivery import Delivery


@dataclass(slots=True)
class Summary:
    """What one run did.

    Attributes:
        pipeline: its name.
        run: its number, for `undo`.
        pages: pages that came.
        entries: entries in them.
        changed: objects that were new or newer.
        events: events by what became of them, over all sinks: created, updated, unchanged,
            withdrawn, held, …
        ledger: of the changed objects, and notes about events.
        errors: what failed; empty after a good run.
        status: the exit status that this asks for.
        deliveries: (sink, what became of one event), in order; of the body only the title.
        waiting: something was left for the next run.
        volume: in a dry run, what would be sent: attributes, objects, tags, clusters; what of it
            the sink lacks.
    """

    pipeline: str
    run: int = 0
    pages: int = 0
    entries: int = 0
    changed: int = 0
    events: dict[str, int] = field(default_factory=dict)
    ledger: RunLedger = field(default_factory=RunLedger)
    errors: list[str] = field(default_factory=list)
    status: int = 0
    deliveries: list[tuple[str, Delivery]] = field(default_factory=list)
    waiting: bool = False
    volume: dict[str, int] = field(default_factory=dict)

    def fail(self, error: StixbridgeError) -> None:
        """Record an error; its exit status counts where it is the highest."""
        self.errors.append(str(error))
        self.status = max(self.status, error.exit_status)

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON data."""
        return {
            **self._numbers(),
            "changes": self._changes(),
            "volume": self.volume,
            "ledger": self.ledger.to_dict(),
            "errors": self.errors,
        }

    def to_record(self) -> dict[str, Any]:
        """The summary as the store keeps it: counts, without entries."""
        counts = self.ledger.counts()
        del counts["reference_time"]
        return {
            **self._numbers(),
            "ledger": counts,
            "errors": self.errors,
            "reasons": self.ledger.reasons,
        }

    def _numbers(self) -> dict[str, Any]:
        return {
            "pipeline": self.pipeline,
            "run": self.run,
            "pages": self.pages,
            "entries": self.entries,
            "changed": self.changed,
            "events": self.events,
        }

    def _changes(self) -> dict[str, list[str]]:
        """UUID of an event -> what would change in it, in all sinks."""
        result: dict[str, list[str]] = {}
        for _, delivery in self.deliveries:
            if delivery.changes:
                result.setdefault(delivery.event, []).extend(delivery.changes)
        return result
