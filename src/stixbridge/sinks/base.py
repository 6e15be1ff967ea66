"""The base class of sinks: a sink delivers events and tells the result of each.

A sink of your own that takes one event at a time needs one method:

    @sink("csv", CsvSettings)
    class CsvSink(Sink):
        def write(self, event: MispEvent) -> None: ...

`stixbridge.testing.SinkContract` tests what the bridge relies on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any, Self

from stixbridge.envelopes import Delivered, Wanted
from stixbridge.misp.model import MispEvent
from stixbridge.sinks.delivery import OURS, Delivery, Job, Note, State
from stixbridge.sinks.event_diff import event_diff
from stixbridge.sinks.max_tlp import Ceiling
from stixbridge.sinks.withdrawal import emptied


class Sink:
    """A sink of a pipeline.

    A sink of your own needs one method where it takes one event at a time (see `write`); a sink
    that writes several events together overrides `deliver`.

    Args (of the constructor):
        name: of the sink; deliveries are recorded under it.
        max_tlp: events and elements that are marked more strictly stay out; None for no limit.
        settings: the settings that change an event on its way; after a change of them a replay
            offers all events anew.
        place: the name of the sink in notes on what stays out.

    Attributes:
        restores: whether a replay looks for everything, and brings back what the sink has lost.
        dry: whether this is the sink of a dry run, which writes nothing.

    Raises:
        ConfigError: when `max_tlp` is not a TLP level.
    """

    restores: bool = False
    dry: bool = False

    def __init__(
        self,
        name: str,
        *,
        max_tlp: str | None = None,
        settings: str = "",
        place: str | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._ceiling = Ceiling(max_tlp, place or name) if max_tlp is not None else None

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Deliver events.

        An event that fails does not keep the others from being delivered: its delivery has
        `State.FAILED`.

        Args:
            jobs: the events, each with its last delivery.

        Yields:
            The result of each, in the order of the jobs and not before the sink has confirmed it.

        Raises:
            ServerError: when the sink fails as a whole; events that were not yielded are not
                delivered.
        """
        for job in jobs:
            yield self._delivered(job)

    def write(self, event: MispEvent) -> None:
        """Write one event in place of the one with its UUID, whole or not at all.

        Called where the event differs from the one that is there, and never in a dry run. An event
        that is withdrawn comes without parts.

        Raises:
            ServerError: when the event can't be written.
        """
        raise NotImplementedError

    def stored(self, job: Job) -> MispEvent | None:
        """The event of a job as it is in the sink now; None where it is not there.

        A sink that can read its events overrides this; here the record of the last delivery tells.
        """
        if job.last is None or job.last.state not in OURS:
            return None
        allowed = self.allowed(job.last.delivered.as_wanted(), [])
        return None if allowed is None else allowed.event

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted | None:
        """An event without everything that is marked too strictly for this sink. Asks no server.

        Args:
            wanted: the event; it is not changed.
            notes: takes a note on each thing that stays out.

        Returns:
            None where the whole event stays out.
        """
        return wanted if self._ceiling is None else self._ceiling.allowed(wanted, notes)

    def analyst_edits(self, delivered: Delivered, uuids: set[str]) -> dict[str, dict[str, Any]]:
        """Edits of others at some attributes of a delivered event.

        Returns:
            UUID of an attribute -> the fields that they changed, `Tag`, or `deleted`.
        """
        return {}

    def limits(self) -> list[str]:
        """The limits of the rights that the sink has, and what follows, a line each.

        Raises:
            ServerError: when the sink can't be used.
        """
        return []

    def false_positives(self, since: int) -> list[tuple[str, int]] | None:
        """Values that analysts marked as false positives in the sink since a moment (microseconds).

        Returns:
            The values and the times of the marks; None where the sink may not see them.
        """
        return []

    def for_dry_run(self) -> Self:
        """The same sink for a dry run: it writes nothing, and its deliveries tell `changes`."""
        twin = copy(self)
        twin.dry = True
        return twin

    def missing(self, tags: set[str]) -> dict[str, int]:
        """How much a dry run found that the sink has to make first: `new tags`, `new clusters`."""
        return {}

    def close(self) -> None:
        """Close connections."""

    def _delivered(self, job: Job) -> Delivery:
        notes: list[Note] = []
        allowed = self.allowed(job.wanted, notes)
        before = self.stored(job)
        delivery = Delivery(
            job.uuid, State.DELIVERED, Delivered.of(job.wanted), "updated", notes=notes
        )
        if allowed is None:
            delivery.state, delivery.action = State.OUT, "left out"
            if before is None:
                return delivery
            # under its old title: the new one may be what is marked too strictly
            event = emptied(before, keep=())
        else:
            event = allowed.event
            if before is None:
                delivery.action = "created"
        if event == before:
            delivery.action = "unchanged" if delivery.state is State.DELIVERED else delivery.action
        elif self.dry:
            delivery.changes = event_diff(before or {}, event)
        else:
            self.write(event)
        return delivery
