"""The arguments and results of the steps of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from stixbridge.pipeline.make import Plan
from stixbridge.pipeline.summary import Summary
from stixbridge.stix.reader import Entry


@dataclass(slots=True)
class Run:
    """One run of a pipeline.

    Attributes:
        number: of the run.
        moment: the reference time, microseconds.
        summary: what became of it so far.
        replay: ask no source, and make everything that is in the store again.
        full: ask the source for everything, not for what is new.
        confirmed: whatever the guard says.
    """

    number: int
    moment: int
    summary: Summary
    replay: bool = False
    full: bool = False
    confirmed: bool = False


@dataclass(slots=True)
class Work:
    """What is to be done in a run, and up to where the pipeline has come when it is done.

    Attributes:
        plan: the events to make.
        rejected: bad entries that came.
        seq: of the newest object.
        applied: of the newest change of the suppression list; None where it is as it was.
        news: whether there is anything that no run has done.
    """

    plan: Plan
    rejected: list[Entry]
    seq: int
    applied: int | None
    news: bool


@dataclass(slots=True)
class Settling:
    """What became of the events of a batch in all sinks.

    Attributes:
        counts: UUID of an event -> how many sinks have dealt with it.
        staying: UUID of an event -> ids of objects that stay in it, since their new event is not in
            a sink.
        complete: no sink failed.
    """

    counts: dict[str, int]
    staying: dict[str, set[str]] = field(default_factory=dict)
    complete: bool = True
