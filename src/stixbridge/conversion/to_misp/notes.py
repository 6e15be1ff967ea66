"""Notes, opinions and translations: what is said of objects, put where those are.

A note or opinion is analyst data (MISP 2.5) on each element of what it speaks of, and on the event
where that is a report; what it says of a context object stands in the event report "Notes".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stixbridge import times
from stixbridge.conversion.to_misp.element import Element
from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.tags import text
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.opinion import SCALE
from stixbridge.misp.model import one_line
from stixbridge.misp.values import cut, storable

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]


class Notes:
    """Puts the notes, opinions and translations of one conversion where their objects are."""

    def __init__(self, workspace: Workspace) -> None:
        self._objects = workspace.objects
        self._builders = workspace.builders
        self._contexts = workspace.contexts
        self._markings = workspace.markings
        self._fates = workspace.fates
        self._of_container = workspace.events_of_containers
        self._events_of = workspace.events_of

    def note(self, id_: str, obj: StixObject) -> None:
        """Apply a note or opinion (STIX 2.1, sections 4.13 and 4.15), and record its fate."""
        kind, fields = self._fields(obj)
        if kind is None:
            self._fates.outcome(id_, Outcome.INVALID, Reason.INVALID_OBJECT)
            return
        marking = self._markings.of(obj)
        refs = [*(obj.get("object_refs") or ()), obj.get("object_ref")]
        drawn: list[tuple[str, str]] = []
        for ref in dict.fromkeys(ref for ref in refs if isinstance(ref, str)):
            drawn.extend(self._on(ref, kind, id_, marking, fields))
        if not drawn:
            self._fates.outcome(id_, Outcome.DROPPED, Reason.DANGLING)
            return
        target = ", ".join(sorted({form for form, _ in drawn}))
        self._fates.outcome(id_, Outcome.MAPPED, None, target)
        self._fates.mapped(id_, [key for _, key in drawn])
        if obj.get("authors") and "created_by_ref" in obj:
            self._fates.drop(id_, [("created_by_ref", Outcome.DROPPED, Reason.REDUNDANT)])

    def _on(
        self, ref: str, kind: str, id_: str, marking: Marking, fields: dict[str, Any]
    ) -> Iterator[tuple[str, str]]:
        """Put a note on one object; gives the forms and their evidence."""
        form = f"analyst {kind.lower()}"
        ref = self._contexts.current(ref)
        event = self._of_container.get(ref)
        if event is not None:
            yield form, self._builders[event].annotate(None, kind, id_, marking, fields)
        elif self._contexts.is_context(ref):
            for uuid in self._contexts.events_of(ref):
                name = one_line(self._objects[ref].get("name") or ref)
                section = f"## {name}\n\n{fields.get('note') or fields.get('comment') or ''}\n"
                joined = marking.joined(self._contexts.marking(ref))
                evidence = self._builders[uuid].tell("Notes", f"{ref} {id_}", section, joined)
                yield "event report", evidence
        else:
            for uuid in self._events_of.get(ref, ()):
                element = self._main(self._builders[uuid], ref)
                if element is not None:
                    key = f"{id_} {ref}"
                    yield form, self._builders[uuid].annotate(element, kind, key, marking, fields)

    @staticmethod
    def _main(builder: EventBuilder, ref: str) -> Element | None:
        found = builder.elements_of(ref)
        return found[0] if found else None

    def _fields(self, obj: StixObject) -> tuple[str | None, dict[str, Any]]:
        authors = ", ".join(obj.get("authors") or ())
        if not authors:
            creator = obj.get("created_by_ref")
            authors = self._markings.name(creator, self._markings.of(obj)) or ""
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
            fields["note"] = cut(storable("\n\n".join([*parts, *references_of(obj)])))
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
        explained = [obj["explanation"]] if obj.get("explanation") else []
        return "Opinion", {
            **fields,
            "opinion": str(scale),
            "comment": cut(storable("\n\n".join([*explained, *references_of(obj)]))),
        }

    def translation(self, id_: str, obj: StixObject) -> None:
        """Tell a language-content in each event that holds the object (STIX 2.1, section 7.1)."""
        ref = text(obj.get("object_ref"))
        contents = obj.get("contents")
        if ref is None or not isinstance(contents, dict):
            self._fates.outcome(id_, Outcome.INVALID, Reason.INVALID_OBJECT)
            return
        target = self._objects.get(ref)
        events = self._holding(ref) if target is not None else []
        if target is None or not events:
            self._fates.outcome(id_, Outcome.DROPPED, Reason.DANGLING)
            return
        marking = self._markings.of(obj).joined(self._markings.of(target))
        told = _in_languages(one_line(target.get("name") or ref), contents)
        evidence = [
            self._builders[uuid].tell("Translations", id_, told, marking) for uuid in events
        ]
        self._fates.outcome(id_, Outcome.MAPPED, None, "event report")
        self._fates.mapped(id_, evidence)

    def _holding(self, ref: str) -> list[str]:
        """The events that hold an object."""
        if ref in self._of_container:
            return [self._of_container[ref]]
        if self._contexts.is_context(ref):
            return self._contexts.events_of(ref)
        return self._events_of.get(ref, [])


def references_of(obj: StixObject) -> list[str]:
    """The external references of an object, each in one line."""
    refs = obj.get("external_references")
    texts = (
        " ".join(str(part) for part in row.values() if isinstance(part, str))
        for row in (refs if isinstance(refs, list) else ())
    )
    return [one_line(line) for line in texts if line]


def _in_languages(name: str, contents: Mapping[str, Any]) -> str:
    """The translations of an object's properties, in Markdown."""
    lines = []
    for language, properties in sorted(contents.items()):
        lines.append(f"## {name} ({one_line(language)})\n")
        pairs = properties.items() if isinstance(properties, dict) else [("", properties)]
        lines.extend(
            f"- {one_line(key)}: {_listed(value)}" for key, value in sorted(pairs) if value
        )
        lines.append("")
    return "\n".join(lines)


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


def _listed(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_listed(item) for item in value)
    return one_line(value)
