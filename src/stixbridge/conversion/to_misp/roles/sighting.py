"""Sightings (STIX 2.1, section 5.2), and opinions that an export of MISP has for them."""

from __future__ import annotations

from stixbridge.conversion.to_misp import misp_export
from stixbridge.conversion.to_misp.roles.base import Handler, StixObject
from stixbridge.conversion.to_misp.sightings import Sightings
from stixbridge.conversion.to_misp.supplements import Supplements
from stixbridge.conversion.to_misp.workspace import Workspace


class Sighting(Handler):
    """A sighting, drawn once all links are: only then is it known where its object is."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._waiting: list[tuple[str, StixObject]] = []

    def translate(self, id_: str, obj: StixObject) -> None:
        """Record that a revoked one does not come out."""
        if not self.revoked(id_, obj):
            self._waiting.append((id_, self.sighting(obj)))

    def link(self, id_: str, obj: StixObject) -> None:
        """Its properties say no relationships."""

    def sighting(self, obj: StixObject) -> StixObject:
        """The object in the form of a sighting."""
        return obj

    def conclude(self) -> None:
        """Put the sightings on the elements."""
        sightings = Sightings(self.workspace)
        supplements = Supplements(workspace := self.workspace)
        for id_, obj in self._waiting:
            for event in sightings.sighting(id_, obj):
                if "external_references" in obj:
                    marking, seconds = workspace.markings.of(obj), workspace.seconds_of(id_, obj)
                    supplements.links(workspace.builders[event], id_, obj, marking, seconds)


class OpinionSighting(Sighting):
    """An opinion of an export of MISP; one who disagrees saw a false positive."""

    def translate(self, id_: str, obj: StixObject) -> None:
        """Note it for the end."""
        self._waiting.append((id_, self.sighting(obj)))

    def sighting(self, obj: StixObject) -> StixObject:
        """The sighting that the opinion stands for."""
        return misp_export.sighting_of(obj, self.workspace.objects)
