"""The settings of a conversion: those of a pipeline, and of `convert`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stixbridge import tlp
from stixbridge.conversion.to_misp.options import Options
from stixbridge.errors import ConfigError
from stixbridge.mapping.labels import RESERVED, plain
from stixbridge.settings.base import Settings
from stixbridge.settings.checks import FilePath, Group, Tlp, Uuid

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


@dataclass(frozen=True, kw_only=True)
class ConvertSettings(ConversionSettings):
    """The settings of a conversion with those that the source and the sinks of a pipeline decide.

    Attributes:
        default_tlp: the TLP level of an event that nothing marks.
        describe: whether events describe what no galaxy knows, for a sink that makes clusters of
            it.
    """

    default_tlp: Tlp | None = None
    describe: bool = False

    def options(self, now: int, source: str | None, rest: str) -> Options:
        """The options of a conversion at a moment.

        Args:
            now: the reference time, microseconds.
            source: the name of the source.
            rest: what `report` as `group` means for objects in no report. With `input`, which files
                have, expired indicators are kept without `to_ids`; a pipeline (`day`) makes none.

        Raises:
            ConfigError: when the source has a name that MISP acts on.
        """
        if source is not None and (problem := source_name_problem(source)):
            raise ConfigError(f"source: {problem}")
        return Options(
            now=now,
            source=source,
            group=rest if self.group == "report" else self.group,
            default_tlp=tlp.level_of_name(self.default_tlp),
            labels=self.labels,
            uuid_namespace=self.uuid_namespace.lower() if self.uuid_namespace else None,
            galaxies=self.galaxies,
            custom=self.custom,
            preserve=self.preserve,
            keep_expired=rest == "input",
            describe=self.describe,
        )


def source_name_problem(name: str) -> str | None:
    """The problem with the name of a source, or None."""
    if plain(name).strip() in RESERVED:
        return f"{name!r} is a name space of tags that MISP acts on; choose another"
    return None
