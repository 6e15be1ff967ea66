"""The `enrich` settings of a pipeline: title, threat level, distribution, tags, publishing.

Law 2 holds: a TLP tag or a distribution fills where there is none, or tightens; a looser one is
refused, with a line in the ledger.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from stixbridge.enrich.marking_guard import distribute_event, share_event, tag_event
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.model import MispEvent, one_line
from stixbridge.misp.values import cut, storable
from stixbridge.settings.base import Settings
from stixbridge.settings.checks import Check, Count, Seconds, Tag, Template, Tlp, Url, between
from stixbridge.tlp import is_tlp_tag


@dataclass(frozen=True)
class ModuleSettings(Settings):
    """A module of a misp-modules server.

    Attributes:
        name: the name of the module.
        types: the attribute types to ask about; all that the module takes when empty.
        url: the URL of the server.
        timeout: seconds that a question may take.
        concurrency: questions at a time.
        budget: questions in a run.
        keep: seconds that an answer is kept in the store.
        config: settings of the module itself; a value may be a reference to a secret.
        only_to_ids: ask only about attributes with `to_ids`.
        tag: put on what the module adds. Without it, `stixbridge:module="NAME"`.
        max_tlp: values that are marked more strictly are not asked about, since many modules ask
            somebody else.
    """

    name: str
    types: tuple[str, ...] = ()
    url: Url = "http://127.0.0.1:6666"
    timeout: Seconds = 10.0
    concurrency: Count = 4
    budget: int = 1_000
    keep: int = 86_400
    config: Mapping[str, Any] = field(default_factory=dict)
    only_to_ids: bool = False
    tag: str = ""
    max_tlp: Tlp = "tlp:green"


def _hit_tag_problem(value: str) -> str | None:
    return "a TLP tag can't be put on a hit; choose another tag" if is_tlp_tag(value) else None


ALL = ("*",)
"""In place of names: every warninglist."""


@dataclass(frozen=True)
class WarninglistSettings(Settings):
    """What to do with values on some warninglists.

    Attributes:
        lists: names or folders of lists; `["*"]` stands for all of them.
        category: only lists of this category.
        action: `drop` leaves the value out, `to_ids_off` switches `to_ids` off, `tag` adds the tag,
            `report` only adds a line to the ledger.
        tag: for the action `tag`.
    """

    lists: tuple[str, ...] = ALL
    category: str | None = None
    action: Literal["drop", "to_ids_off", "tag", "report"] = "to_ids_off"
    tag: Annotated[Tag, Check("a tag", _hit_tag_problem)] = 'false-positive:risk="medium"'


@dataclass(frozen=True)
class Enrich(Settings):
    """The enrichment of each event.

    Attributes:
        info: a template of the title: `{report.name}`, `{report.id}`, `{source.name}`,
            `{event.info}`, `{event.date}`, `{event.tlp}`, `{event.uuid}`. An event that lacks what
            it names keeps its own title.
        threat_level: 1 high, 2 medium, 3 low, 4 undefined. Without it, events have 4.
        analysis: 0 initial, 1 ongoing, 2 completed. Without it, 2 for a report and 0 for a
            collecting event.
        distribution: 0 own organisation, 1 this community, 2 connected communities, 3 all
            communities. Without it, events have 0.
        sharing_group: UUID or name of a sharing group; goes before `distribution`. An unknown group
            refuses the event: it is never silently widened.
        tags: added to every event. A TLP tag is added only where it does not loosen the marking.
        publish: publish each event once it is complete, without e-mail.
        rules: files of [rules](rules.md), looked for beside the configuration, or rules as tables.
        mappings: [ready-made mappings](rules.md#ready-made-mappings), by name, with their
            settings: `{ admiralty = true, reliability = "b", priority = "high" }`.
        warninglists: what to do with values on MISP's warninglists (extra `warninglists`); the
            first that fits counts: `[{ lists = ["*"], action = "to_ids_off" }]`, see
            [warninglists](#warninglists).
        plugins: Python functions that get each event, `["my_module:my_function"]`, or names of
            entry points of the group `stixbridge.plugins`. A parameter annotated with `MISPEvent`
            gets a `pymisp.MISPEvent`, any other the plain event, which is faster. When a function
            fails, its changes to that event are undone.
        modules: modules of a running misp-modules server to ask, see [modules](#modules).
    """

    PLACE: ClassVar[str] = "enrich"

    info: Template | None = None
    threat_level: Annotated[int, between(1, 4)] | None = None
    analysis: Annotated[int, between(0, 2)] | None = None
    distribution: Annotated[int, between(0, 3)] | None = None
    sharing_group: str | None = None
    tags: Sequence[Tag] = ()
    publish: bool = False
    rules: Sequence[str | Mapping[str, Any]] = ()
    mappings: Mapping[str, Any] = field(default_factory=dict)
    warninglists: Sequence[WarninglistSettings] = ()
    plugins: Sequence[str] = ()
    modules: Sequence[ModuleSettings] = ()

    def apply(
        self, event: MispEvent, names: Mapping[str, str], ledger: Ledger, *, closed: bool = False
    ) -> None:
        """Shape one event in place.

        Args:
            event: the event.
            names: what the template may name.
            ledger: takes a line for each refusal.
            closed: a marking without a TLP level restricts the event: no level and no distribution
                loosens that.
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
    """The title; None where the event lacks a name. Names are looked up, never evaluated."""
    parts: list[str] = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            value = names.get(name, "")
            if not value:
                return None
            parts.append(value)
    return "".join(parts)
