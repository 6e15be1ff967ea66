"""The `enrich` settings of a pipeline: title, threat level, analysis, distribution, sharing group, tags, publishing.

Law 2 holds: a TLP tag or a distribution fills where there is none, or tightens; a looser one is refused, with a line
in the ledger.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .. import tlp
from ..checks import enrich_problems
from ..config import EnrichSettings
from ..errors import ConfigError
from ..ledger import Ledger, Outcome, Reason
from ..misp.model import MispEvent, all_attributes, level_of, one_line, set_level, tag_names
from ..misp.values import storable

# The widest distribution that a level allows: 0 own organisation, 1 this community, 2 connected, 3 all communities.
WIDEST = {"red": 0, "amber+strict": 0, "amber": 1, "green": 3, "clear": 3}
SHARING_GROUP = 4


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
    """

    def __post_init__(self) -> None:
        problems = enrich_problems(asdict(self))
        if problems:
            raise ConfigError(problems, "enrich")

    def apply(self, event: MispEvent, names: Mapping[str, str], ledger: Ledger, *, closed: bool = False) -> None:
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
                event["info"] = one_line(storable(title))
        if self.threat_level is not None:
            event["threat_level_id"] = str(self.threat_level)
        if self.analysis is not None:
            event["analysis"] = str(self.analysis)
        for tag in self.tags:
            if closed and tlp.is_tlp_tag(tag) and level_of(event) is None:
                self._refuse(event, "tags", f"{tag}: the event has a marking that is no TLP level", ledger)
            else:
                self._tag(event, tag, ledger)
        if closed and (self.sharing_group is not None or self.distribution):
            self._refuse(event, "distribution", "the event has a marking that holds it at distribution 0", ledger)
        else:
            self._distribute(event, ledger)

    @staticmethod
    def _refuse(event: MispEvent, setting: str, text: str, ledger: Ledger) -> None:
        ledger.note(str(event["uuid"]), f"enrich.{setting}", Outcome.DROPPED, Reason.MARKING, text)

    def _tag(self, event: MispEvent, tag: str, ledger: Ledger) -> None:
        wanted = tlp.level_of_name(tag) if tlp.is_tlp_tag(tag) else None
        if wanted is None:
            if tag not in tag_names(event):
                event["Tag"] = sorted([*(event.get("Tag") or []), {"name": tag}], key=lambda row: str(row["name"]))
            return
        held = level_of(event)
        if held is not None and tlp.RANK[held] >= tlp.RANK[wanted]:
            if held != wanted:
                self._refuse(event, "tags", f"{tag} is looser than {tlp.tag(held)}", ledger)
            return
        set_level(event, wanted)
        for attribute in all_attributes(event):
            level = level_of(attribute)
            if level is not None and tlp.RANK[level] < tlp.RANK[wanted]:
                set_level(attribute, wanted)

    def _distribute(self, event: MispEvent, ledger: Ledger) -> None:
        if self.sharing_group is None and self.distribution is None:
            return
        level = level_of(event)
        widest = WIDEST[level] if level is not None else 3
        if self.sharing_group is not None:
            if level == "red":
                self._refuse(event, "sharing_group", "tlp:red stays at distribution 0", ledger)
                return
            event["distribution"] = str(SHARING_GROUP)
            event["sharing_group"] = self.sharing_group
            return
        wanted = self.distribution or 0
        if wanted > widest:
            self._refuse(event, "distribution", f"{wanted} is wider than tlp:{level} allows", ledger)
        event["distribution"] = str(min(wanted, widest))


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
