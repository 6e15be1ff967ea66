"""Notes, opinions and translations: what is said of objects, put where those are.

A note or opinion is analyst data (MISP 2.5) on each element of what it speaks of, and on the event where that is a
report; what it says of a context object stands in the event report "Notes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stixbridge import times
from stixbridge.conversion.to_misp.event_builder import Element, EventBuilder
from stixbridge.conversion.to_misp.galaxies import Contexts
from stixbridge.conversion.to_misp.grouping import Plan
from stixbridge.conversion.to_misp.markings import Marking, Markings
from stixbridge.conversion.to_misp.tags import text
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.opinion import SCALE
from stixbridge.misp.model import one_line
from stixbridge.misp.values import cut, storable

StixObject = Mapping[str, Any]
Told = tuple[Outcome, Reason | None, str | None]


class Notes:
    """Applies the notes, opinions and translations of one conversion to its events."""

    def __init__(
        self,
        objects: Mapping[str, StixObject],
        plans: Iterable[Plan],
        builders: Mapping[str, EventBuilder],
        contexts: Contexts,
        markings: Markings,
    ) -> None:
        self._objects = objects
        self._builders = builders
        self._contexts = contexts
        self._markings = markings
        self._of_container = {
            str(plan.container["id"]): plan.uuid for plan in plans if plan.container is not None
        }
        self._events_of: dict[str, list[str]] = {}
        for uuid, builder in builders.items():
            for id_ in builder.by_stix:
                self._events_of.setdefault(id_, []).append(uuid)

    def note(self, id_: str, obj: StixObject, marking: Marking) -> Told:
        """Apply a note or an opinion; says what became of it (STIX 2.1, sections 4.13 and 4.15)."""
        kind, fields = self._fields(obj)
        if kind is None:
            return Outcome.INVALID, Reason.INVALID_OBJECT, None
        forms: set[str] = set()
        refs = [*(obj.get("object_refs") or ()), obj.get("object_ref")]
        for ref in dict.fromkeys(ref for ref in refs if isinstance(ref, str)):
            event = self._of_container.get(ref)
            if event is not None:
                self._builders[event].annotate(None, kind, id_, marking, fields)
                forms.add(f"analyst {kind.lower()}")
            elif self._contexts.is_context(ref):
                for uuid in self._contexts.events_of(ref):
                    name = one_line(self._objects[ref].get("name") or ref)
                    told = f"## {name}\n\n{fields.get('note') or fields.get('comment') or ''}\n"
                    joined = marking.joined(self._contexts.marking(ref))
                    self._builders[uuid].tell("Notes", f"{ref} {id_}", told, joined)
                    forms.add("event report")
            else:
                for uuid in self._events_of.get(ref, ()):
                    element = self._main(self._builders[uuid], ref)
                    if element is not None:
                        self._builders[uuid].annotate(
                            element, kind, f"{id_} {ref}", marking, fields
                        )
                        forms.add(f"analyst {kind.lower()}")
        if forms:
            return Outcome.MAPPED, None, ", ".join(sorted(forms))
        return Outcome.DROPPED, Reason.DANGLING, None

    @staticmethod
    def _main(builder: EventBuilder, ref: str) -> Element | None:
        found = builder.elements_of(ref)
        return found[0] if found else None

    def _fields(self, obj: StixObject) -> tuple[str | None, dict[str, Any]]:
        creator = self._objects.get(text(obj.get("created_by_ref")) or "") or {}
        if creator and not self._markings.may_name(creator, self._markings.of(obj)):
            creator = {}
        authors = ", ".join(obj.get("authors") or ()) or str(creator.get("name") or "")
        fields: dict[str, Any] = {}
        if authors:
            fields["authors"] = cut(storable(one_line(authors)), 255)
        for name in ("created", "modified"):
            moment = times.read(obj.get(name))
            if moment is not None:
                fields[name] = times.to_text(moment)[:19].replace("T", " ")
        if obj["type"] in ("x-misp-analyst-note", "x-misp-analyst-opinion"):
            return _analyst(obj, fields)
        if obj["type"] == "note":
            parts = [part for part in (obj.get("abstract"), obj.get("content")) if part]
            if not parts:
                return None, {}
            fields["note"] = cut(storable("\n\n".join(parts)))
            fields["language"] = obj.get("lang") or ""
            return "Note", fields
        exact = obj.get("x_misp_opinion")
        scale = (
            exact
            if isinstance(exact, int) and 0 <= exact <= 100
            else SCALE.get(str(obj.get("opinion")))
        )
        if scale is None:
            return None, {}
        return "Opinion", {
            **fields,
            "opinion": str(scale),
            "comment": cut(storable(obj.get("explanation") or "")),
        }

    def translation(self, id_: str, obj: StixObject, marking: Marking) -> Told:
        """Tell a language-content in each event that holds the object (STIX 2.1, section 7.1)."""
        ref = text(obj.get("object_ref"))
        contents = obj.get("contents")
        if ref is None or not isinstance(contents, dict):
            return Outcome.INVALID, Reason.INVALID_OBJECT, None
        target = self._objects.get(ref)
        if target is None:
            return Outcome.DROPPED, Reason.DANGLING, None
        if ref in self._of_container:
            events = [self._of_container[ref]]
        elif self._contexts.is_context(ref):
            events = self._contexts.events_of(ref)
        else:
            events = self._events_of.get(ref, [])
        name = one_line(target.get("name") or ref)
        marking = marking.joined(self._markings.of(target))
        lines = []
        for language, properties in sorted(contents.items()):
            lines.append(f"## {name} ({one_line(language)})\n")
            pairs = properties.items() if isinstance(properties, dict) else [("", properties)]
            lines.extend(
                f"- {one_line(key)}: {_told(value)}" for key, value in sorted(pairs) if value
            )
            lines.append("")
        for uuid in events:
            self._builders[uuid].tell("Translations", id_, "\n".join(lines), marking)
        if events:
            return Outcome.MAPPED, None, "event report"
        return Outcome.DROPPED, Reason.DANGLING, None


def _analyst(obj: StixObject, fields: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Analyst data as MISP writes it in STIX 2.0."""
    author = text(obj.get("x_misp_author"))
    if author:
        fields["authors"] = cut(storable(one_line(author)), 255)
    note, opinion = text(obj.get("x_misp_note")), obj.get("x_misp_opinion")
    if note is not None:
        return "Note", {
            **fields,
            "note": cut(storable(note)),
            "language": text(obj.get("x_misp_language")) or "",
        }
    number = int(opinion) if isinstance(opinion, int | str) and str(opinion).isdigit() else None
    if number is None or number > 100:
        return None, {}
    return "Opinion", {
        **fields,
        "opinion": str(number),
        "comment": cut(storable(text(obj.get("x_misp_comment")) or "")),
    }


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_told(item) for item in value)
    return one_line(value)
