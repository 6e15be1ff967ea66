"""The `enrich` settings of a pipeline: title, threat level, analysis, distribution, sharing group, tags, publishing.

Law 2 holds: a TLP tag or a distribution fills where there is none, or tightens; a looser one is refused, with a line
in the ledger.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from stixbridge.config.checks import enrich_problems
from stixbridge.config.model import EnrichSettings
from stixbridge.enrich.marking_guard import distribute_event, share_event, tag_event
from stixbridge.errors import ConfigError
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.model import MispEvent, one_line
from stixbridge.misp.values import cut, storable


@dataclass(frozen=True)
class Enrich(EnrichSettings):
    """Settings applied to every event of a pipeline.

    Attributes:
        info: template of the title, `{report.name}` and the like (`TEMPLATE_NAMES`); an event without what it names
            keeps its own title.
        threat_level: 1 high, 2 medium, 3 low, 4 undefined.
        analysis: 0 initial, 1 ongoing, 2 completed.
        distribution: 0 own organisation, 1 this community, 2 connected communities, 3 all communities.
        sharing_group: UUID or name of a sharing group; goes before `distribution`.
        tags: added to each event; a TLP tag only where it does not loosen.
        publish: publish in MISP after a complete delivery, without e-mail.
        rules: rule files, or rules as tables.
        mappings: `mappings.MAPPINGS` to apply, by name, with their settings.
        warninglists: what to do with values on warninglists: `{ lists, category, action, tag }`, the first that fits.
        plugins: Python functions to run on each event, `module:function` or names of entry points.
        modules: misp-modules to ask.
    """

    def __post_init__(self) -> None:
        problems = enrich_problems(asdict(self))
        if problems:
            raise ConfigError(problems, "enrich")

    def apply(
        self, event: MispEvent, names: Mapping[str, str], ledger: Ledger, *, closed: bool = False
    ) -> None:
        """Shape one event in place.

        Args:
            event: the event.
            names: what the template may name.
            ledger: takes a line for each refusal.
            closed: a marking that is no TLP level holds the event: no level and no distribution loosens that.
        """
        if self.info is not None:
            title = _render(self.info, names)
            if title:
                event["info"] = cut(one_line(storable(title)))
                if event["info"].endswith("…") and not title.endswith("…"):
                    ledger.note(
                        str(event["uuid"]),
                        "enrich.info",
                        Outcome.DROPPED,
                        Reason.CUT,
                        "longer than MISP holds",
                    )
        if self.threat_level is not None:
            event["threat_level_id"] = str(self.threat_level)
        if self.analysis is not None:
            event["analysis"] = str(self.analysis)
        for tag in self.tags:
            self._told(event, "tags", tag_event(event, tag, closed=closed), ledger)
        if self.sharing_group is not None:
            self._told(
                event,
                "sharing_group",
                share_event(event, self.sharing_group, closed=closed),
                ledger,
            )
        elif self.distribution is not None:
            self._told(
                event,
                "distribution",
                distribute_event(event, self.distribution, closed=closed),
                ledger,
            )

    @staticmethod
    def _told(event: MispEvent, setting: str, refused: str | None, ledger: Ledger) -> None:
        if refused is not None:
            ledger.note(
                str(event["uuid"]), f"enrich.{setting}", Outcome.DROPPED, Reason.MARKING, refused
            )


def _render(template: str, names: Mapping[str, str]) -> str | None:
    """The title; None where a name has no value for this event. Names are looked up, never evaluated."""
    parts: list[str] = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            value = names.get(name, "")
            if not value:
                return None
            parts.append(value)
    return "".join(parts)
