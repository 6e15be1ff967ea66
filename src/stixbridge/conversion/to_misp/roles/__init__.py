"""The handlers of the roles.

One small class for each thing that a STIX type can be to the engine.
"""

from __future__ import annotations

from stixbridge.conversion.to_misp.roles.base import Handler
from stixbridge.conversion.to_misp.roles.container import Container
from stixbridge.conversion.to_misp.roles.context import Context
from stixbridge.conversion.to_misp.roles.custom import Custom
from stixbridge.conversion.to_misp.roles.definition import Definition, MarkingDefinition
from stixbridge.conversion.to_misp.roles.detail import Detail
from stixbridge.conversion.to_misp.roles.indicator import Indicator
from stixbridge.conversion.to_misp.roles.misp_record import EventReport, Record
from stixbridge.conversion.to_misp.roles.note import LanguageContent, Note
from stixbridge.conversion.to_misp.roles.observable import Observable
from stixbridge.conversion.to_misp.roles.observed_data import ObservedData
from stixbridge.conversion.to_misp.roles.relationship import Relationship
from stixbridge.conversion.to_misp.roles.sighting import OpinionSighting, Sighting
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.mapping.tables import Role

HANDLERS: dict[Role, type[Handler]] = {
    Role.CONTAINER: Container,
    Role.INDICATOR: Indicator,
    Role.OBSERVABLE: Observable,
    Role.OBSERVED: ObservedData,
    Role.DETAIL: Detail,
    Role.CUSTOM: Custom,
    Role.RECORD: Record,
    Role.EVENT_REPORT: EventReport,
    Role.CONTEXT: Context,
    Role.RELATIONSHIP: Relationship,
    Role.SIGHTING: Sighting,
    Role.SIGHTED: OpinionSighting,
    Role.NOTE: Note,
    Role.TRANSLATION: LanguageContent,
    Role.MARKING: MarkingDefinition,
    Role.DEFINITION: Definition,
}
"""Role -> its handler, in the order in which links are concluded."""


def handlers(workspace: Workspace) -> dict[Role, Handler]:
    """A handler for each role."""
    return {role: handler(workspace) for role, handler in HANDLERS.items()}
