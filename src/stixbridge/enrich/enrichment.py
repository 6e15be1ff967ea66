"""Applies all enrichment to an event, in a fixed order.

The order is: settings (title, levels, tags), mappings, rules, warninglists, modules, plug-ins.
Each step changes the event in place, within the limits of its markings. A failure becomes a line
in the ledger and does not affect the other steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stixbridge import times
from stixbridge.enrich.mappings import apply_mappings, mapping_problems
from stixbridge.enrich.marking_guard import put_tag
from stixbridge.enrich.plugins import Plugin
from stixbridge.enrich.rules.actions.events import Route
from stixbridge.enrich.rules.engine import Rule, Rules, Step, drop
from stixbridge.enrich.settings import Enrich
from stixbridge.enrich.warninglist_policies import Policy, policies
from stixbridge.enrich.warninglists import WarningList
from stixbridge.enrich.warninglists import load as load_warninglists
from stixbridge.errors import ConfigError
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.knowledge import Knowledge, load
from stixbridge.misp.model import Converted, MispEvent, all_attributes

if TYPE_CHECKING:
    from stixbridge.enrich.misp_modules import Module

StixObject = Mapping[str, Any]


class Enrichment:
    """The enrichment of a pipeline, or of a call of `convert`.

    Args (of the constructor):
        settings: see `Enrich`.
        galaxies: a file of tags that take precedence over the known galaxies.
        answers: earlier answers of modules; the caller stores them.
        trace: called with each step of a rule.

    Raises:
        ConfigError: the message lists every mistake in rules, mappings and warninglists, and
            missing plug-ins.
    """

    def __init__(
        self,
        settings: Enrich,
        *,
        galaxies: Path | None = None,
        answers: MutableMapping[str, tuple[int, Any]] | None = None,
        trace: Callable[[Step], None] | None = None,
    ) -> None:
        self.settings = settings
        self._galaxies = galaxies
        problems: list[str] = []

        @contextmanager
        def gathered() -> Iterator[None]:
            try:
                yield
            except ConfigError as error:
                problems.extend(error.problems)

        rules: list[Rule] = []
        with gathered():
            rules = _rules(settings, lambda: self._knowledge)
        self.rules = Rules(rules, lambda: self._knowledge, trace)
        problems.extend(mapping_problems(settings.mappings))
        self._policies: list[Policy] = []
        if settings.warninglists:
            with gathered():
                self._policies = policies(settings.warninglists)
        self._plugins: list[Plugin] = []
        for name in settings.plugins:
            with gathered():
                self._plugins.append(Plugin(name))
        self._modules: list[Module] = []
        if settings.modules:
            from stixbridge.enrich.misp_modules import Module

            for module in settings.modules:
                with gathered():
                    self._modules.append(Module(module, answers))
        if problems:
            raise ConfigError(problems, "enrich")

    def keeping(self, answers: MutableMapping[str, tuple[int, Any]]) -> Enrichment:
        """Return a copy with another store for the answers of modules, for dry runs."""
        if not self._modules:
            return self
        return Enrichment(self.settings, galaxies=self._galaxies, answers=answers)

    @cached_property
    def _knowledge(self) -> Knowledge:
        return load(self._galaxies)

    @property
    def publish(self) -> bool:
        """Whether events are published, unless a rule decides otherwise."""
        return self.settings.publish

    @property
    def reads_objects(self) -> bool:
        """Whether more than the events themselves decides what becomes of them."""
        settings = self.settings
        return bool(settings.rules or settings.mappings or settings.plugins or settings.modules)

    def routes(self) -> set[str]:
        """The names of all sinks in `route` actions."""
        actions = [action for rule in self.rules.rules for action in rule.actions]
        return {name for action in actions if isinstance(action, Route) for name in action.to}

    def close(self) -> None:
        """Close the connections."""
        for module in self._modules:
            module.close()

    def apply(
        self,
        rows: Iterable[Converted],
        objects: Mapping[str, StixObject],
        ledger: Ledger,
        source: str | None,
    ) -> list[Converted]:
        """Change events in place.

        Args:
            rows: the events of a conversion.
            objects: the STIX objects of the conversion, by id.
            ledger: the ledger of the conversion; receives lines.
            source: the name of the source.

        Returns:
            The events without those that a rule drops.
        """
        rows = list(rows)
        now = (times.read(ledger.reference_time) or 0) // 1_000_000
        kept = [row for row in rows if self._shape(row, objects, ledger, source or "", now)]
        self.rules.report(ledger)
        _record_left_out(rows, kept, ledger)
        return kept

    def _shape(
        self,
        row: Converted,
        objects: Mapping[str, StixObject],
        ledger: Ledger,
        source: str,
        now: int,
    ) -> bool:
        """Take one event through all steps; False where a rule or a warninglist leaves it out."""
        self.settings.apply(row.event, row.names, ledger, closed=row.closed)
        if self.settings.mappings:
            apply_mappings(self.settings.mappings, row, objects, ledger, self._knowledge)
        if self.rules and not self.rules.apply(row, objects, ledger, source):
            return False
        if self._policies:
            self._apply_warninglists(row, ledger)
            if row.dropped:
                return False
        for module in self._modules:
            module.apply(row, ledger, self._knowledge, now)
        for plugin in self._plugins:
            plugin.apply(row, ledger)
        if self.rules or self._policies or self._modules or self._plugins:
            _in_order(row.event)
        return True

    def _apply_warninglists(self, row: Converted, ledger: Ledger) -> None:
        """Look every value up in the warninglists, and apply the first policy that fits."""
        lists = load_warninglists()
        dropped: set[str] = set()
        for attribute in all_attributes(row.event):
            hits = lists.hits(attribute["type"], attribute["value"])
            policy = self._policy_for(hits)
            if policy is None:
                continue
            names = ", ".join(hit.name for hit in hits if hit.slug in policy.slugs)
            uuid = str(attribute["uuid"])
            ledger.note(
                uuid,
                f"warninglists: {policy.action}",
                Outcome.DROPPED if policy.action == "drop" else Outcome.MAPPED,
                Reason.WARNINGLIST,
                f"{attribute['value']}: {names}",
            )
            row.touched.append((f"warninglist {names}", uuid, policy.action))
            if policy.action == "drop":
                dropped.add(uuid)
            elif policy.action == "to_ids_off":
                attribute["to_ids"] = False
            elif policy.action == "tag":
                put_tag(attribute, policy.tag)
        if dropped:
            drop(row.event, dropped, row, Reason.WARNINGLIST)

    def _policy_for(self, hits: Sequence[WarningList]) -> Policy | None:
        slugs = {hit.slug for hit in hits}
        return next((policy for policy in self._policies if policy.slugs & slugs), None)


def _record_left_out(rows: list[Converted], kept: list[Converted], ledger: Ledger) -> None:
    """Record the STIX objects that are in no event any more, each with the reason."""
    shown = {id_ for row in kept for id_ in row.stix_ids if id_ not in row.left_out}
    for row in rows:
        for id_, reason in row.left_out.items():
            if id_ not in shown:
                ledger.leave_out(id_, Reason(reason))


def _rules(settings: Enrich, knowledge: Callable[[], Knowledge]) -> list[Rule]:
    """Return all rules from files and tables, in order.

    Raises:
        ConfigError: the message lists every mistake.
    """
    if not settings.rules:
        return []
    from stixbridge.enrich.rules.loader import doubles, inline_rules, read_rules

    found: list[Rule] = []
    problems: list[str] = []
    for at, item in enumerate(settings.rules):
        try:
            if isinstance(item, str):
                found.extend(read_rules(Path(item), knowledge).rules)
            else:
                found.extend(inline_rules([item], f"rules[{at}]", knowledge))
        except ConfigError as error:
            problems.extend(error.problems)
    problems = problems or doubles(found)
    if problems:
        raise ConfigError(problems)
    return found


def _in_order(event: MispEvent) -> None:
    """Sort the parts as a conversion does; the order of additions then has no effect."""
    for name in ("Attribute", "Object"):
        event[name].sort(key=lambda part: str(part["uuid"]))
