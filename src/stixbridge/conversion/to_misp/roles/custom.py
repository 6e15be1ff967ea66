"""Types that STIX does not define and no dialect's table knows: custom objects, by policy."""

from __future__ import annotations

from collections.abc import Sequence

from stixbridge.conversion.to_misp.custom_references import Reference, split
from stixbridge.conversion.to_misp.known_clusters import cluster_of_number
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.relationships import Link
from stixbridge.conversion.to_misp.roles.base import Content, StixObject
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.context import NUMBER_PROPERTIES


class ReferringContent(Content):
    """Content whose references no table knows: each is a link, named after its property."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._referring: dict[str, Sequence[Reference]] = {}

    def custom(self, id_: str, obj: StixObject) -> Translation:
        """Translate an object like one of an unknown type."""
        rest = self.refer(id_, obj)
        return self.workspace.translator.custom(rest, refers=bool(self._referring[id_]))

    def refer(self, id_: str, obj: StixObject) -> StixObject:
        """Note the references of an object for `link`; gives the object without them."""
        rest, self._referring[id_] = split(obj)
        return rest

    def link(self, id_: str, obj: StixObject) -> None:
        """Draw the references; one that leads to nothing in MISP is recorded."""
        super().link(id_, obj)
        rows = self._referring.pop(id_, ())
        if not rows or self.fates.refused(id_):
            return
        marking, objects = self.workspace.markings.of(obj), self.workspace.objects
        for path, verb, target in rows:
            reason = Reason.DANGLING
            if target in objects:
                link = Link(id_, id_, verb, target, marking, apart=True)
                if self.links.link(link):
                    continue
                reason = self.links.why_not(link)
            self.fates.drop(id_, [(path, Outcome.DROPPED, reason)])


class Custom(ReferringContent):
    """A custom object, or nothing with `custom = "drop"`."""

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Translate a custom object."""
        if self.workspace.options.custom == "drop":
            self.fates.outcome(id_, Outcome.DROPPED, Reason.NO_TABLE)
            return None
        return self.custom(id_, obj)

    def tags(
        self, id_: str, obj: StixObject, marking: Marking
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The tags of any object, and the clusters whose numbers in ATT&CK it has."""
        clusters = self.workspace.knowledge.clusters
        numbers = (obj[name] for name in NUMBER_PROPERTIES & obj.keys())
        found = (cluster_of_number(text, clusters) for text in numbers if isinstance(text, str))
        more = frozenset(match.tag for match in found if match is not None)
        tags, beside = super().tags(id_, obj, marking)
        return tags | more, beside | more
