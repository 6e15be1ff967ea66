"""The official converter, misp-stix, in memory: `engine = "misp-stix"`.

It is run on one bundle made of the chosen versions; its events get our identities where its own are
random, so that a second poll changes nothing. Its losses are seen only from outside: an object
whose UUID or value is nowhere in the output is `dropped` with the reason `engine`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import orjson

from stixbridge import times
from stixbridge.conversion.to_misp.engine import Conversion
from stixbridge.conversion.to_misp.newest import newest
from stixbridge.conversion.to_misp.options import Options
from stixbridge.errors import ConfigError
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.model import NAMESPACE, Converted, MispEvent, derived_uuid, uuid_of
from stixbridge.stix.reader import Entry

_ENVELOPE = derived_uuid(NAMESPACE, "misp-stix", "bundle")


def convert_entries(entries: Iterable[Entry], options: Options) -> Conversion:
    """Convert with misp-stix.

    Args:
        entries: as for the native engine.
        options: `now`, `source` and `uuid_namespace` matter; grouping is misp-stix's own.

    Raises:
        ConfigError: when the extra is not installed.
    """
    try:
        from misp_stix_converter.tools.stix2_loading_helpers import load_stix2_content
        from misp_stix_converter.tools.stix2_to_misp_helpers import (
            get_stix2_parser,
            is_stix2_from_misp,
        )
    except ImportError:
        raise ConfigError(
            "engine misp-stix: the package is not installed; pip install 'stixbridge[misp-stix]'"
        ) from None
    ledger = Ledger(times.to_text(options.now))
    objects, _ = newest(entries, ledger)
    if not objects:
        return Conversion([], ledger)
    bundle = {"type": "bundle", "id": f"bundle--{_ENVELOPE}", "objects": list(objects.values())}
    if not any(obj.get("spec_version") == "2.1" for obj in objects.values()):
        bundle["spec_version"] = "2.0"
    events: list[MispEvent] = []
    try:
        # it prints, which is not a library's to do
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            loaded = load_stix2_content(bundle)
            from_misp = is_stix2_from_misp(getattr(loaded, "objects", []))
            parser_class, arguments = get_stix2_parser(
                from_misp, 0, None, None, options.source, False, False, False, None, 0, None
            )
            parser = parser_class()
            parser.load_stix_bundle(loaded)
            parser.parse_stix_bundle(**arguments)
            made = parser.misp_events
        made = made if isinstance(made, list) else [made]
        events = [orjson.loads(event.to_json()) for event in made]
    except Exception as error:  # whatever it raises, one bad bundle is a line in the ledger
        ledger.note(
            None,
            None,
            Outcome.DROPPED,
            Reason.ENGINE,
            f"misp-stix failed: {type(error).__name__}: {error}"[:500],
        )
    converted = [_identified(event, objects, options) for event in events]
    said = _said(row.event for row in converted)
    for id_, obj in objects.items():
        uuid = uuid_of(id_)
        value = obj.get("value") or obj.get("name")
        found = (uuid is not None and uuid in said) or (
            isinstance(value, str) and bool(value) and value in said
        )
        if found:
            ledger.account(id_, Outcome.MAPPED, len(obj))
        else:
            ledger.account(id_, Outcome.DROPPED, len(obj), reason=Reason.ENGINE)
    converted.sort(key=lambda row: str(row.event["uuid"]))
    return Conversion(converted, ledger)


def _said(events: Iterable[MispEvent]) -> set[str]:
    """Every UUID and value, and every name of a cluster or object, in some events."""
    found: set[str] = set()
    waiting: list[Any] = list(events)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            found.add(value)
            found.update(value.split("|"))
            if value.endswith('"'):  # a tag: the name of a cluster
                found.add(value.partition('="')[2].removesuffix('"'))
    return found


def _identified(
    event: MispEvent, objects: Mapping[str, Mapping[str, Any]], options: Options
) -> Converted:
    """Give an event our identities where the converter's are random, and fill in open fields."""
    ids = {uuid: id_ for id_ in objects if (uuid := uuid_of(id_))}
    container = ids.get(str(event.get("uuid", "")).lower())
    if options.uuid_namespace or container is None:
        namespace = options.uuid_namespace or NAMESPACE
        event["uuid"] = derived_uuid(
            namespace, "misp-stix", options.source or "", container or "\n".join(sorted(objects))
        )
    event.setdefault("distribution", "0")
    event.setdefault("threat_level_id", "4")
    event["published"] = False
    elements: dict[str, list[str]] = {}
    renamed: dict[str, str] = {}
    event["Attribute"] = event.get("Attribute") or []
    event["Object"] = event.get("Object") or []
    for attribute in event["Attribute"]:
        _rename(
            attribute,
            ids,
            renamed,
            elements,
            str(event["uuid"]),
            str(attribute["type"]),
            str(attribute["value"]),
        )
    for obj in event["Object"]:
        inner = "|".join(
            sorted(f"{row['object_relation']}={row['value']}" for row in obj.get("Attribute") or [])
        )
        _rename(obj, ids, renamed, elements, str(event["uuid"]), str(obj["name"]), inner)
        for attribute in obj.get("Attribute") or []:
            _rename(
                attribute,
                ids,
                renamed,
                {},
                str(obj["uuid"]),
                str(attribute["object_relation"]),
                str(attribute["value"]),
            )
    for obj in event["Object"]:
        for at, reference in enumerate(obj.get("ObjectReference") or []):
            reference["object_uuid"] = obj["uuid"]
            reference["referenced_uuid"] = renamed.get(
                reference["referenced_uuid"], reference["referenced_uuid"]
            )
            reference["uuid"] = derived_uuid(
                str(event["uuid"]),
                "reference",
                str(obj["uuid"]),
                str(reference["referenced_uuid"]),
                str(at),
            )
    names = {
        "report.name": str(event.get("info", "")) if container else "",
        "report.id": container or "",
        "source.name": options.name,
        "event.info": str(event.get("info", "")),
        "event.date": str(event.get("date", "")),
        "event.tlp": "",
        "event.uuid": str(event["uuid"]),
    }
    return Converted(event, container, sorted(objects), sorted(objects), elements, names=names)


def _rename(
    element: dict[str, Any],
    ids: Mapping[str, str],
    renamed: dict[str, str],
    elements: dict[str, list[str]],
    namespace: str,
    *parts: str,
) -> None:
    old = str(element.get("uuid", "")).lower()
    if old not in ids or old in renamed:
        element["uuid"] = derived_uuid(namespace, *parts)
        renamed[old] = element["uuid"]
    elements.setdefault(str(element["uuid"]), []).extend([ids[old]] if old in ids else [])
