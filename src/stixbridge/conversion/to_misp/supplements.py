"""What comes with an object besides its elements: links, long texts, when it was seen, the end of its life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge import times
from stixbridge.conversion.to_misp.event_builder import Element, EventBuilder
from stixbridge.conversion.to_misp.markings import UNMARKED, Marking, Markings
from stixbridge.conversion.to_misp.options import Options
from stixbridge.conversion.to_misp.relationships import EXPIRATION, sighting
from stixbridge.conversion.to_misp.translate import Said
from stixbridge.conversion.to_misp.translations import Sayings, fits_a_comment
from stixbridge.conversion.to_misp.walk import text_of
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping.tables import Role, Table
from stixbridge.misp.model import one_line

StixObject = dict[str, Any]


class Around:
    """Tells what stands around the elements of the objects of one conversion.

    Args (of the constructor):
        objects: the chosen version of each object.
        tables: the table of each.
        options: of the conversion.
        markings: what holds for each object.
        sayings: what objects say; takes what is lost of external references, and what is carried as custom.
        extensions: takes the ids of extension-definitions that an event report tells.
    """

    def __init__(
        self,
        objects: Mapping[str, StixObject],
        tables: Mapping[str, Table],
        options: Options,
        markings: Markings,
        sayings: Sayings,
        extensions: set[str],
    ) -> None:
        self._objects = objects
        self._tables = tables
        self._options = options
        self._markings = markings
        self._sayings = sayings
        self._extensions = extensions

    def tell(
        self, builder: EventBuilder, id_: str, obj: StixObject, marking: Marking, seconds: int
    ) -> None:
        """Tell it of an object whose elements are placed."""
        table = self._tables[id_]
        if obj.get("external_references") and table.role in (
            Role.INDICATOR,
            Role.DETAIL,
            Role.CUSTOM,
        ):
            self._external(builder, id_, obj, marking, seconds)
        if obj["type"] == "indicator" and not fits_a_comment(obj):
            title = one_line(obj.get("name") or id_)
            text_ = f"## {title}\n\n{str(obj.get('description') or '').strip()}\n"
            builder.tell("Descriptions", id_, text_, marking)
        if table.role is Role.RECORD:
            names = (
                ("first_observed", "last_observed")
                if "first_observed" in obj
                else ("valid_from", "valid_until")
            )
            written = times.read(
                obj.get("modified")
            )  # what the export fills in where MISP had no time
            first, last = (
                obj.get(name) if times.read(obj.get(name)) != written else None for name in names
            )
            for element in builder.elements_of(id_):
                seen(element, first, last)
        if table.properties.get("first_seen") == "first_seen":
            for element in builder.elements_of(id_):
                seen(element, obj.get("first_seen"), obj.get("last_seen"))
        if self._options.custom == "all":
            self._tell_custom(builder, id_, obj, table, marking)
        if id_ in self._sayings.ended:
            moment = (
                times.read(obj.get("valid_until"))
                if self._sayings.ended[id_] is Reason.EXPIRED
                else None
            )
            second = (moment or times.read(obj.get("modified")) or self._options.now) // 1_000_000
            for element in builder.elements_of(id_):
                element.sightings.append(
                    sighting(
                        builder.uuid,
                        id_,
                        element.uuid,
                        0,
                        second,
                        self._options.name,
                        type_=EXPIRATION,
                    )
                )

    def tell_container(self, builder: EventBuilder, container: Mapping[str, Any]) -> None:
        """Tell it of the report or grouping of an event."""
        id_ = str(container["id"])
        description = container.get("description")
        if description and description.strip():
            builder.tell("Description", "", description, UNMARKED)
        if container.get("external_references"):
            seconds = (times.read(container.get("modified")) or 0) // 1_000_000
            self._external(builder, id_, dict(container), self._markings.of(container), seconds)

    def _external(
        self, builder: EventBuilder, id_: str, obj: StixObject, marking: Marking, seconds: int
    ) -> None:
        """External references: a URL is a link, a CVE a vulnerability (STIX 2.1, section 2.5)."""
        links = Said()
        drops: list[Drop] = []
        for at, row in enumerate(obj["external_references"]):
            url, external_id = row.get("url"), row.get("external_id")
            found = None
            if isinstance(external_id, str) and external_id.upper().startswith("CVE-"):
                found = self._sayings.lone(
                    "vulnerability", external_id, drops, f"external_references[{at}].external_id"
                )
            elif isinstance(url, str):
                found = self._sayings.lone("link", url, drops, f"external_references[{at}].url")
            if found is not None:
                links.attributes.append(found)
                carried = "external_id" if found.type == "vulnerability" else "url"
                drops.extend(
                    (f"external_references[{at}].{name}", Outcome.DROPPED, Reason.NO_PLACE)
                    for name in row
                    if name != carried
                )
            else:
                drops.append((f"external_references[{at}]", Outcome.DROPPED, Reason.NO_PLACE))
        if drops:
            self._sayings.drops.setdefault(id_, []).extend(drops)
        links.attributes = list(dict.fromkeys(links.attributes))
        if links.attributes:
            held = builder.by_stix.get(id_)
            builder.place(id_, links, marking, set(), seconds, detects=False)
            if held is None:
                del builder.by_stix[id_]
            else:
                del held[-len(links.attributes) :]

    def _tell_custom(
        self, builder: EventBuilder, id_: str, obj: StixObject, table: Table, marking: Marking
    ) -> None:
        """Custom properties and extensions, as they are, in an event report (`custom = "all"`)."""
        if table.role is Role.CUSTOM:
            return
        own = {
            name: value
            for name, value in obj.items()
            if table.fates.get(name, Reason.CUSTOM) is Reason.CUSTOM
        }
        extensions = obj.get("extensions") or {}
        other = {name: value for name, value in extensions.items() if name not in table.extensions}
        if other:
            own["extensions"] = other
        if not own:
            return
        for name in other:
            definition = self._objects.get(name)
            if definition is not None and self._tables[name].role is Role.DEFINITION:
                self._extensions.add(name)
                text_ = f"## {one_line(definition.get('name') or name)}\n\n{definition.get('description') or ''}\n"
                builder.tell("Custom properties", f"0 {name}", text_, self._markings.of(definition))
        self._sayings.carried[id_] = frozenset(own)
        shown = text_of(own)
        text_ = f"## {one_line(obj.get('name') or id_)}\n\n```json\n{shown.replace('`', chr(92) + 'u0060')}\n```\n"
        builder.tell("Custom properties", f"1 {id_}", text_, marking)


def seen(element: Element, first_seen: object, last_seen: object) -> None:
    """Widen the time in which an element was seen; MISP drops times in the wrong order."""
    first, last = times.read(first_seen), times.read(last_seen)
    if first is not None and last is not None and first > last:
        first, last = last, first
    if first is not None:
        text_ = times.to_text(first)
        element.first_seen = min(element.first_seen or text_, text_)
    if last is not None:
        text_ = times.to_text(last)
        element.last_seen = max(element.last_seen or text_, text_)
