"""`convert`: STIX in any shape to MISP events, in memory; `stixbridge convert` calls it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from stixbridge import times
from stixbridge.conversion.settings import ConversionSettings, ConvertSettings
from stixbridge.conversion.to_misp.options import Options
from stixbridge.enrich import Enrich, Enrichment
from stixbridge.ledger import Ledger
from stixbridge.misp.model import Converted, MispEvent
from stixbridge.settings.checks import Check
from stixbridge.stix.reader import Document, Entry, read_bytes, read_value

if TYPE_CHECKING:
    from pymisp import MISPEvent

    from stixbridge.conversion.to_misp.engine import Conversion


class Result:
    """What `convert` gives.

    Attributes:
        events: plain MISP events, sorted by UUID.
        ledger: what became of every object.
        converted: the same events with the STIX ids behind each element.
        publish: whether the settings ask for publishing.
    """

    def __init__(
        self, conversion: Conversion, enrich: Enrichment | None = None, source: str | None = None
    ) -> None:
        self.converted: list[Converted] = conversion.converted
        self.ledger: Ledger = conversion.ledger
        self.publish = enrich is not None and enrich.publish
        if enrich is not None:
            self.converted = enrich.apply(
                conversion.converted, conversion.objects, self.ledger, source
            )

    @property
    def events(self) -> list[MispEvent]:
        """Plain events, without `Event` around them."""
        return [row.event for row in self.converted]

    def misp_events(self) -> list[MISPEvent]:
        """The events as `pymisp.MISPEvent`, for scripts that use PyMISP."""
        from pymisp import MISPEvent

        made = []
        for event in self.events:
            misp_event = MISPEvent()
            misp_event.from_dict(**event)
            made.append(misp_event)
        return made


def convert(
    stix: Any,
    now: str | int | datetime | None = None,
    *,
    source: str | None = None,
    group: str = "report",
    engine: str = "native",
    default_tlp: str | None = None,
    enrich: Enrich | None = None,
    labels: Iterable[str] = ("*",),
    uuid_namespace: str | None = None,
    galaxies: Path | None = None,
    custom: str = "objects",
    preserve: str = "none",
) -> Result:
    """Convert STIX 2.0 or 2.1 to MISP events.

    Args:
        stix: a path, JSON as bytes or text, a dict, a list, an open file, a `stix2` Bundle or
            MemoryStore.
        now: the reference time, which decides what has expired: text, a datetime, or microseconds;
            the clock when None.
        source: the name of the source: it names collecting events and tags and is part of derived
            UUIDs.
        group: objects in no report are collected by `input` (what `report` means), `day`, `creator`
            or `type:NAME`.
        engine: `native`, or `misp-stix` for the official converter (the extra `misp-stix`).
        default_tlp: the level of what carries no marking, as `tlp:amber`.
        enrich: settings for every event.
        labels: labels that become tags `SOURCE:label="…"` (`*`: all; an empty list: none).
        uuid_namespace: derive all event UUIDs in this namespace.
        galaxies: a JSON file of tags that go before the known galaxies.
        custom: what becomes of types and properties that no table knows: `drop`, `objects` (custom
            types become MISP objects), `all` (custom properties are told in an event report as
            well).
        preserve: `source` attaches the original objects to each event; `preserved_objects` reads
            them back.

    Returns:
        The events and the ledger.

    Raises:
        InputError: when a path or file can't be read.
        ConfigError: when an argument makes no sense.
    """
    documents = [_document(stix)]
    return convert_documents(
        documents,
        options(
            now=now,
            source=source,
            group=group,
            default_tlp=default_tlp,
            labels=labels,
            uuid_namespace=uuid_namespace,
            galaxies=galaxies,
            custom=custom,
            preserve=preserve,
        ),
        engine=engine,
        enrich=enrich,
    )


def options(
    *,
    now: str | int | datetime | None = None,
    source: str | None = None,
    group: str = "report",
    default_tlp: str | None = None,
    labels: Iterable[str] = ("*",),
    uuid_namespace: str | None = None,
    galaxies: Path | None = None,
    custom: str = "objects",
    preserve: str = "none",
    rest: str = "input",
) -> Options:
    """Check and gather the settings of a conversion; see `convert`.

    Args:
        now: the reference time.
        source: the name of the source.
        group: how objects in no report are collected.
        default_tlp: the level of what carries no marking.
        labels: labels that become tags.
        uuid_namespace: of event UUIDs.
        galaxies: a JSON file of tags.
        custom: what happens to unknown types.
        preserve: whether original objects are attached.
        rest: what `report` as `group` means for objects in no report.

    Raises:
        ConfigError: naming every wrong one.
    """
    given = _Arguments(
        now=times.now() if now is None else now.isoformat() if isinstance(now, datetime) else now,
        group=group,
        default_tlp=default_tlp,
        labels=tuple(labels),
        uuid_namespace=uuid_namespace,
        galaxies=galaxies,
        custom=custom,  # type: ignore[arg-type]  # it is checked there
        preserve=preserve,  # type: ignore[arg-type]
    )
    return given.options(_moment(given.now), source, rest)


def _time_problem(value: str) -> str | None:
    if times.microseconds(value) is not None:
        return None
    return f"{value!r} is not a time; write it as 2026-01-31T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class _Arguments(ConvertSettings):
    """The settings of a conversion with its reference time."""

    now: int | Annotated[str, Check("a time", _time_problem)]


def _moment(now: str | int) -> int:
    moment = now if isinstance(now, int) else times.microseconds(now)
    assert moment is not None, "it was checked"
    return moment


def convert_documents(
    documents: list[Document],
    settings: Options,
    *,
    engine: str = "native",
    enrich: Enrich | Enrichment | None = None,
) -> Result:
    """Convert what a reader gave; several documents are one input.

    Args:
        documents: from `stixbridge.stix.reader` or a source.
        settings: from `options`.
        engine: `native` or `misp-stix`.
        enrich: settings for every event, or what was made of them.
    """
    if isinstance(enrich, Enrich):
        enrich = Enrichment(enrich, galaxies=settings.galaxies)
    bundles = {document.bundle_id for document in documents if document.bundle_id}
    if settings.input_name is None and len(bundles) == 1:
        settings = replace(settings, input_name=bundles.pop())
    entries: list[Entry] = [entry for document in documents for entry in document.entries]
    if ConversionSettings(engine=engine).engine == "native":  # type: ignore[arg-type]
        from stixbridge.conversion.to_misp.engine import convert_entries
        from stixbridge.misp.knowledge import load

        knowledge = load(settings.galaxies)
        with without_collector():
            conversion = convert_entries(entries, settings, knowledge)
    else:
        from stixbridge.conversion.misp_stix import convert_entries as convert_officially

        conversion = convert_officially(entries, settings)
    return Result(conversion, enrich, settings.source)


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python's cycle collector out of a conversion.

    A conversion makes no cycles, and many objects that live to its end.

    The collector walks over all of them again and again: a quarter of the time, and more than
    linear.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _document(stix: Any) -> Document:
    from stixbridge.sources.files import read

    if isinstance(stix, bytes | bytearray | memoryview):
        return read_bytes(bytes(stix))
    if isinstance(stix, os.PathLike):
        return read(Path(stix))
    if isinstance(stix, str):
        if stix.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
            return read_bytes(stix.encode("utf-8", "replace"))
        return read(Path(stix))
    if hasattr(stix, "read"):
        data = stix.read()
        return read_bytes(data.encode("utf-8", "replace") if isinstance(data, str) else data)
    return read_value(stix)
