"""The settings of a conversion: those of a pipeline, and of `convert`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stixbridge.settings.base import Settings
from stixbridge.settings.checks import FilePath, Group, Uuid

Engine = Literal["native", "misp-stix"]
Custom = Literal["drop", "objects", "all"]
Preserve = Literal["none", "source"]


@dataclass(frozen=True, kw_only=True)
class ConversionSettings(Settings):
    r"""How STIX becomes MISP events.

    Attributes:
        group: a report is an event. Objects in no report are collected by `day` (what `report`
            means here), by `input`, by `creator`, or around each object of a type: `type:malware`.
        engine: `native`, or `misp-stix` for the official converter (extra `misp-stix`).
        labels: labels that become tags `SOURCE:label="…"`; `["*"]` takes all, `[]` none.
        galaxies: a JSON file of tags that come before the known galaxies:
            `{"malware:Emotet": "misp-galaxy:malpedia=\"Emotet\""}`.
        custom: what happens to types and properties that no table knows. `drop` leaves them out,
            `objects` makes MISP objects of custom types, `all` also describes custom properties and
            extensions in an event report.
        preserve: `source` attaches to each event the STIX objects behind it, as they came (JSON
            lines under gzip, one attachment for each marking); `preserved_objects(event)` in Python
            reads them back.
        uuid_namespace: derive the UUIDs of all events in this namespace.
    """

    group: Group = "report"
    engine: Engine = "native"
    labels: tuple[str, ...] = ("*",)
    galaxies: FilePath | None = None
    custom: Custom = "objects"
    preserve: Preserve = "none"
    uuid_namespace: Uuid | None = None
