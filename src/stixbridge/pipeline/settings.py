"""The settings of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from stixbridge.conversion.settings import ConversionSettings
from stixbridge.enrich.settings import Enrich
from stixbridge.pipeline.guard import Guard
from stixbridge.settings.checks import Check, Duration


def _sinks_problem(value: tuple[str, ...]) -> str | None:
    return None if value else "at least one sink is needed"


@dataclass(frozen=True, kw_only=True)
class PipelineSettings(ConversionSettings):
    """A pipeline: it joins a source and its sinks.

    Attributes:
        source: the name of a source.
        sinks: the names of one or more sinks.
        enrich: the enrichment of each event, see [enrich](#enrich).
        guard: `{ add = "10000", withdraw = "20%" }`: a run that would add more attributes, or
            withdraw more or take `to_ids` from more, stops before it writes to a sink. Shares
            refer to the attributes that the pipeline has there. `stixbridge run --confirm` goes
            on. Without it, there is no limit.
        expired_after: so long after its `valid_until`, an indicator's attributes are soft-deleted,
            as `90d`; until then they stay, without `to_ids`. Without it, they stay for good.
        every: with `stixbridge run --watch`: the time from the start of a run to that of the next.
        jitter: how much time is added to `every` at random, at the most.
    """

    source: str
    sinks: Annotated[tuple[str, ...], Check("names of sinks", _sinks_problem, {"minItems": 1})]
    enrich: Enrich = field(default_factory=Enrich)
    guard: Guard | None = None
    expired_after: Duration | None = None
    every: Duration = "15m"
    jitter: Duration = "1m"
