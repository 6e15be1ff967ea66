"""Supplements: everything that comes with an object besides its elements.

Links, long texts, the times in which something was seen, custom properties, the end of an object's
life.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stixbridge import times
from stixbridge.conversion.to_misp.event_builder import EventBuilder
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking
from stixbridge.conversion.to_misp.sightings import EXPIRATION, sighting_row
from stixbridge.conversion.to_misp.translation import Attribute, Translation
from stixbridge.conversion.to_misp.walk import text_of
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.model import one_line

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]

_WITH_LINKS = frozenset({Role.INDICATOR, Role.OBSERVABLE, Role.DETAIL, Role.CUSTOM})
COMMENT_LINE = 255
"""The most characters of a name and description that a comment holds."""


class Supplements:
    """Adds the supplements of the objects of one conversion."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._fates = workspace.fates
        self._custom = workspace.options.custom == "all"

    def add(
        self, builder: EventBuilder, id_: str, obj: StixObject, translation: Translation
    ) -> None:
        """Add them for an object whose elements are placed.

        Args:
            builder: of the event.
            id_: the STIX id.
            obj: the object.
            translation: of the object.
        """
        marking = translation.marking
        table = self._workspace.shapes[id_].table
        role = table.role
        if role in _WITH_LINKS and obj.get("external_references"):
            self.links(builder, id_, obj, marking, translation.timestamp)
        if role is Role.INDICATOR:
            if not fits_a_comment(obj):
                title = one_line(obj.get("name") or id_)
                text = f"## {title}\n\n{str(obj.get('description') or '').strip()}\n"
                builder.tell("Descriptions", id_, text, marking)
        elif role is Role.RECORD:
            self._seen_in_export(builder, id_, obj)
        elif table.properties.get("first_seen") == "first_seen":
            for element in builder.elements_of(id_):
                element.seen(obj.get("first_seen"), obj.get("last_seen"))
        if self._custom and role is not Role.CUSTOM:
            self._tell_custom(builder, id_, obj, table, marking)
        if id_ in self._workspace.ended:
            self._expire(builder, id_, obj)

    def add_container(self, builder: EventBuilder, container: StixObject) -> None:
        """Add them for the report or grouping of an event."""
        id_ = str(container["id"])
        description = container.get("description")
        if description and description.strip():
            builder.tell("Description", "", description, UNMARKED)
        if container.get("external_references"):
            seconds = (times.read(container.get("modified")) or 0) // 1_000_000
            marking = self._workspace.markings.of(container)
            self.links(builder, id_, container, marking, seconds)

    def links(
        self, builder: EventBuilder, id_: str, obj: StixObject, marking: Marking, seconds: int
    ) -> None:
        """External references: a URL is a link, a CVE a vulnerability (STIX 2.1, section 2.5).

        Args:
            builder: of an event that the object is in.
            id_: the STIX id.
            obj: an object with external references.
            marking: of the object.
            seconds: when it was changed last.
        """
        links: dict[Attribute, None] = {}
        drops: list[Drop] = []
        for at, row in enumerate(obj["external_references"]):
            path = f"external_references[{at}]"
            attribute = self._reference(row, path, drops)
            if attribute is None:
                drops.append((path, Outcome.DROPPED, Reason.NO_PLACE))
                continue
            links[attribute] = None
            carried = "external_id" if attribute.type == "vulnerability" else "url"
            drops.extend(
                (f"{path}.{name}", Outcome.DROPPED, Reason.NO_PLACE)
                for name in row
                if name != carried
            )
        if drops:
            self._fates.drop(id_, drops)
        if links:
            # the links are no elements of the object: nothing is related to them
            placed = builder.by_stix.get(id_)
            elements = list(placed) if placed is not None else None
            translation = Translation(
                attributes=list(links), marking=marking, timestamp=seconds, live=False
            )
            builder.place(id_, translation)
            if elements is None:
                del builder.by_stix[id_]
            else:
                builder.by_stix[id_] = elements

    def _reference(self, row: StixObject, path: str, drops: list[Drop]) -> Attribute | None:
        translator = self._workspace.translator
        url, external_id = row.get("url"), row.get("external_id")
        if isinstance(external_id, str) and external_id.upper().startswith("CVE-"):
            return translator.value("vulnerability", external_id, drops, f"{path}.external_id")
        if isinstance(url, str):
            return translator.value("link", url, drops, f"{path}.url")
        return None

    def _seen_in_export(self, builder: EventBuilder, id_: str, obj: StixObject) -> None:
        """The times of a record; an export fills in `modified` where MISP had no time."""
        observed = "first_observed" in obj
        names = ("first_observed", "last_observed") if observed else ("valid_from", "valid_until")
        written = times.read(obj.get("modified"))
        first, last = (
            obj.get(name) if times.read(obj.get(name)) != written else None for name in names
        )
        for element in builder.elements_of(id_):
            element.seen(first, last)

    def _expire(self, builder: EventBuilder, id_: str, obj: StixObject) -> None:
        """An expiration sighting on what was delivered and has ended (law 4)."""
        workspace = self._workspace
        expired = workspace.ended[id_] is Reason.EXPIRED
        moment = times.read(obj.get("valid_until")) if expired else None
        second = moment or times.read(obj.get("modified")) or workspace.options.now
        for element in builder.elements_of(id_):
            element.sight(
                sighting_row(
                    builder.uuid,
                    id_,
                    element.uuid,
                    second // 1_000_000,
                    workspace.options.name,
                    type_=EXPIRATION,
                )
            )

    def _tell_custom(
        self, builder: EventBuilder, id_: str, obj: StixObject, table: Table, marking: Marking
    ) -> None:
        """Custom properties and extensions, as they are, in an event report (`custom = "all"`)."""
        workspace = self._workspace
        own = {
            name: value
            for name, value in obj.items()
            if table.fates.get(name, Reason.CUSTOM) is Reason.CUSTOM
        }
        extensions = obj.get("extensions") or {}
        unknown = {
            name: value for name, value in extensions.items() if name not in table.extensions
        }
        if unknown:
            own["extensions"] = unknown
        if not own:
            return
        title = "Custom properties"
        for name in unknown:
            definition = workspace.objects.get(name)
            if definition is not None and workspace.role(name) is Role.DEFINITION:
                head = f"## {one_line(definition.get('name') or name)}"
                text = f"{head}\n\n{definition.get('description') or ''}\n"
                evidence = builder.tell(title, f"0 {name}", text, workspace.markings.of(definition))
                self._fates.mapped(name, [evidence])
        self._fates.tell(id_, frozenset(own))
        shown = text_of(own).replace("`", "\\u0060")
        text = f"## {one_line(obj.get('name') or id_)}\n\n```json\n{shown}\n```\n"
        builder.tell(title, f"1 {id_}", text, marking)


def fits_a_comment(obj: StixObject) -> bool:
    """Whether the comment holds an indicator's name and description in full.

    Else an event report tells them.
    """
    description = obj.get("description")
    if not description:
        return len(str(obj.get("name") or "")) + 2 <= COMMENT_LINE
    description = str(description).strip()
    return (
        "\n" not in description
        and len(str(obj.get("name") or "")) + len(description) + 2 <= COMMENT_LINE
    )
