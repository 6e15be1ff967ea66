"""What every content object says, and which are live: the stage between reading and grouping.

An indicator that is revoked or past its `valid_until` is refused, unless it was delivered before: then it stays,
without `to_ids` (law 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge import times
from stixbridge.conversion.to_misp.grouping import CONTENT
from stixbridge.conversion.to_misp.misp_export import Restorer
from stixbridge.conversion.to_misp.options import Options
from stixbridge.conversion.to_misp.tags import text
from stixbridge.conversion.to_misp.translate import Said, Sayer
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping.indicator import HARDLY_DETECTED, MALICIOUS, NEVER_DETECTED
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.values import BadValue, normalise, refang
from stixbridge.stix.pattern import PatternError

StixObject = Mapping[str, Any]
COMMENT_LINE = 255


class Sayings:
    """The outcome of the stage.

    Attributes:
        said: what each content object says.
        live: ids of those that are neither revoked nor expired.
        ended: why the others are not.
        refused: outcome and reason of what is not placed.
        drops: parts of properties that could not be carried over.
        consumed: ids of observables that are said as a part of others.
        recorded: those of them that are part of a record of MISP's.
        carried: custom properties that an event report tells, by id.
    """

    def __init__(
        self,
        objects: Mapping[str, StixObject],
        tables: Mapping[str, Table],
        options: Options,
        knowledge: Knowledge,
    ) -> None:
        self._objects = objects
        self._tables = tables
        self._options = options
        self._sayer = Sayer(knowledge)
        self._restorer = Restorer(objects, knowledge)
        self.said: dict[str, Said] = {}
        self.live: set[str] = set()
        self.ended: dict[str, Reason] = {}
        self.refused: dict[str, tuple[Outcome, Reason]] = {}
        self.drops: dict[str, list[Drop]] = {}
        self.consumed: set[str] = set()
        self.recorded: set[str] = set()
        self.carried: dict[str, frozenset[str]] = {}
        self.say()

    def lone(self, type_: str, value: str, drops: list[Drop], path: str) -> Any:
        """A lone attribute without `to_ids` (links, CVEs), or None with a drop where MISP would refuse it."""
        return self._sayer.value(type_, value, drops, path)

    def say(self) -> None:
        """Say all content objects."""
        options = self._options
        get = self._objects.get
        for id_, obj in self._objects.items():
            table = self._tables[id_]
            role = table.role
            if role not in CONTENT and role is not Role.CONTAINER:
                continue
            ended = self._end_of(obj)
            if ended is not None:
                self.ended[id_] = ended
                if id_ not in options.delivered:
                    self.refused[id_] = (Outcome.DROPPED, ended)
                    continue
            else:
                self.live.add(id_)
            if role is Role.INDICATOR:
                self._say_indicator(id_, obj)
            elif role is Role.OBSERVABLE:
                said = self._sayer.observable(obj, table, get)
                self.consumed.update(said.consumed)
                more = obj.get("x_opencti_description")
                if isinstance(more, str) and more.strip():
                    said.comment = (
                        f"{said.comment}, {more.strip()}" if said.comment else more.strip()
                    )
                self._said(id_, said)
            elif role is Role.DETAIL:
                self._say_detail(id_, obj, table)
            elif role is Role.RECORD:
                self._say_record(id_, obj)
            elif role is Role.CUSTOM:
                if options.custom == "drop":
                    self.refused[id_] = (Outcome.DROPPED, Reason.NO_TABLE)
                else:
                    self._said(id_, self._sayer.custom(obj))

    def _say_record(self, id_: str, obj: StixObject) -> None:
        """A record of MISP's own; of two halves the observed-data says it all."""
        if self._restorer.is_second(id_):
            self.consumed.add(id_)
            return
        try:
            said = self._restorer.say(obj, detects=id_ in self.live)
        except PatternError:
            self.refused[id_] = (Outcome.INVALID, Reason.INVALID_PATTERN)
            return
        self.consumed.update(said.consumed)
        self.recorded.update(said.consumed)
        self._said(id_, said)

    def _said(self, id_: str, said: Said) -> None:
        self.said[id_] = said
        if said.drops:
            self.drops.setdefault(id_, []).extend(said.drops)
        if said.empty:
            self.refused[id_] = (
                Outcome.DROPPED,
                Reason.INVALID_VALUE if said.drops else Reason.NO_VALUE,
            )

    def _end_of(self, obj: StixObject) -> Reason | None:
        if obj.get("revoked") is True:
            return Reason.REVOKED
        if obj["type"] == "indicator" and self._tables[str(obj["id"])].role is Role.INDICATOR:
            until = times.read(obj.get("valid_until"))
            if until is not None and until <= self._options.now:
                return Reason.EXPIRED
        return None

    def _say_indicator(self, id_: str, obj: StixObject) -> None:
        kinds = set(obj.get("indicator_types") or ())
        hardly = bool(kinds & HARDLY_DETECTED) and MALICIOUS not in kinds
        detects = id_ in self.live and not kinds & NEVER_DETECTED and not hardly
        detects = detects and obj.get("x_opencti_detection") is not False
        try:
            said = self._sayer.indicator(obj, detects=detects)
        except PatternError:
            said = Said()
            reason = (
                Reason.INVALID_PATTERN
                if isinstance(obj.get("pattern"), str)
                else Reason.INVALID_OBJECT
            )
            self.refused[id_] = (Outcome.INVALID, reason)
        else:
            if said.empty:
                self.refused[id_] = (Outcome.DROPPED, Reason.INVALID_VALUE)
        drops = list(said.drops)
        comment = _comment_of(obj, said, drops)
        if drops:
            self.drops.setdefault(id_, []).extend(drops)
        said.comment = (
            f"{comment} ({said.comment})" if comment and said.comment else comment or said.comment
        )
        self.said[id_] = said

    def _say_detail(self, id_: str, obj: StixObject, table: Table) -> None:
        said = Said()
        if obj["type"] == "vulnerability":
            for cve in _cves(obj):
                attribute = self._sayer.value("vulnerability", cve, [], "name")
                if attribute is not None and attribute not in said.attributes:
                    said.attributes.append(attribute)
            name = obj.get("name") or ""
            if name and name.upper() not in {row.value for row in said.attributes}:
                said.comment = name[:COMMENT_LINE]
                if len(name) > COMMENT_LINE:
                    self.drops.setdefault(id_, []).append(("name", Outcome.PRESERVED, Reason.CUT))
            if said.attributes and not obj.get("description"):
                self.said[id_] = said
                return
            named = {**obj, "name": said.attributes[0].value if said.attributes else ""}
            detail = self._sayer.detail(
                {name: value for name, value in named.items() if value not in ("", None)}, table
            )
            said.objects = detail.objects
            if said.empty:
                self.refused[id_] = (Outcome.DROPPED, Reason.NO_VALUE)
        else:
            self._said(id_, self._sayer.detail(obj, table))
            return
        self.said[id_] = said


def _comment_of(obj: StixObject, said: Said, drops: list[Drop]) -> str:
    """The comment of an indicator's elements: its name, and the first line of its description (at most 255)."""
    name = obj.get("name") or ""
    if name:
        plain = refang(name.strip()).lower()
        values = {row.value.lower() for row in said.attributes}
        if plain in values or any(plain == part for value in values for part in value.split("|")):
            drops.append(("name", Outcome.DROPPED, Reason.REDUNDANT))
            name = ""
    first = _first_line(obj)
    if first and first == name:
        first = ""
    comment = f"{name}: {first}" if name and first else name or first
    return comment if len(comment) <= COMMENT_LINE else comment[: COMMENT_LINE - 1] + "…"


def _first_line(obj: StixObject) -> str:
    return str(obj.get("description") or "").strip().partition("\n")[0].strip()


def fits_a_comment(obj: StixObject) -> bool:
    """Whether an indicator's name and description are told in full by the comment; else an event report tells them."""
    description = str(obj.get("description") or "").strip()
    return (
        "\n" not in description
        and len(str(obj.get("name") or "")) + len(description) + 2 <= COMMENT_LINE
    )


def _cves(obj: StixObject) -> list[str]:
    """The CVE ids of a vulnerability: its name, and its external references."""
    candidates = [text(obj.get("name"))]
    candidates.extend(text(row.get("external_id")) for row in obj.get("external_references") or ())
    found: list[str] = []
    for candidate in candidates:
        if candidate is None:
            continue
        try:
            cve = normalise("vulnerability", candidate)
        except BadValue:
            continue
        if cve not in found:
            found.append(cve)
    return found
