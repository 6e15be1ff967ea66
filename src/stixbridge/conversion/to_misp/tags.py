"""Tags from an object's own properties: producer, confidence, types, labels, kill chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.markings import Marking, Markings
from stixbridge.conversion.to_misp.options import Options
from stixbridge.mapping.dialects.misp_export import WRITTEN_BY_THE_EXPORT
from stixbridge.mapping.indicator import SAYS_NOTHING
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import machine_tag, plain_tag


class Tagging:
    """Makes the tags of one conversion."""

    def __init__(
        self,
        objects: Mapping[str, Mapping[str, Any]],
        options: Options,
        knowledge: Knowledge,
        markings: Markings,
    ) -> None:
        self._objects = objects
        self._markings = markings
        self._options = options
        self._knowledge = knowledge
        self._producers: dict[str | None, str | None] = {}

    def of(
        self, obj: Mapping[str, Any], event_creator: str | None, *, from_misp: bool = False
    ) -> set[str]:
        """The tags that an object's own properties ask for.

        Args:
            obj: the object.
            event_creator: its producer is not named again where the event names it.
            from_misp: MISP wrote it: its labels are its tags.
        """
        options = self._options
        tags: set[str] = set()
        confidence = confidence_tag(obj.get("confidence"))
        if confidence:
            tags.add(confidence)
        creator = text(obj.get("created_by_ref")) or text(obj.get("x_opencti_created_by_ref"))
        if creator and creator != event_creator:
            producer = self.producer(creator, self._markings.of(obj))
            if producer:
                tags.add(producer)
        space = options.tag_space
        type_ = obj["type"]
        kinds = obj.get("indicator_types") if type_ == "indicator" else obj.get("report_types")
        predicate = "indicator-type" if type_ == "indicator" else "report-type"
        for kind in () if from_misp else kinds or ():
            if kind and kind not in SAYS_NOTHING:
                tags.add(machine_tag(space, predicate, kind))
        if type_ == "grouping" and not from_misp and isinstance(obj.get("context"), str):
            tags.add(machine_tag(space, "context", obj["context"]))
        score = obj.get("x_opencti_score")
        if isinstance(score, int) and not isinstance(score, bool):
            tags.add(machine_tag(space, "score", str(score)))
        if from_misp:
            # its tags, as they were; those of TLP are markings
            tags.update(plain_tag(label) for label in obj.get("labels") or () if is_a_tag(label))
            return tags
        for label in (*(obj.get("labels") or ()), *(obj.get("x_opencti_labels") or ())):
            if label and self.label_allowed(label):
                tags.add(self._known(label) or machine_tag(space, "label", label))
        for phase in obj.get("kill_chain_phases") or ():
            tags.add(kill_chain_tag(space, phase["kill_chain_name"], phase["phase_name"]))
        return tags

    def _known(self, label: str) -> str | None:
        """A label that is a tag of a taxonomy, in its spelling; never one that marks or steers MISP itself."""
        if label.lower().startswith(_NEVER_BY_LABEL):
            return None
        return self._knowledge.taxonomy_tag(label)

    def label_allowed(self, label: str) -> bool:
        """Whether a label becomes a tag."""
        return "*" in self._options.labels or label in self._options.labels

    def producer(self, ref: str | None, told: Marking) -> str | None:
        """The tag that names a producer, by the id of its identity; None where `told` is looser than the name."""
        identity = self._objects.get(ref) if ref else None
        if identity is not None and not self._markings.may_name(identity, told):
            return None
        return self._producer(ref)

    def _producer(self, ref: str | None) -> str | None:
        if ref not in self._producers:
            identity = self._objects.get(ref) if ref else None
            name = text(identity.get("name")) if identity else None
            tag = self._knowledge.cluster_tag("producer", "", [], [name]) if name else None
            self._producers[ref] = tag or (
                machine_tag("misp-galaxy", "producer", name) if name else None
            )
        return self._producers[ref]


_NEVER_BY_LABEL = ("tlp:", "pap:", "misp:", "workflow:", "misp-galaxy:")


def is_a_tag(label: str) -> bool:
    """Whether a label of what MISP wrote is a tag that it had: neither a field, nor the export's own, nor a marking."""
    return (
        bool(label)
        and label not in WRITTEN_BY_THE_EXPORT
        and not label.startswith(_FIELDS)
        and not (tlp.is_tlp_tag(label) and tlp.level_of_name(label))
    )


_FIELDS = tuple(
    f"misp:{name}="
    for name in ("type", "category", "to_ids", "name", "meta-category", "galaxy-type", "galaxy-name", "data-layer",
                 "context-layer")
)  # fmt: skip


def text(value: object) -> str | None:
    """A text that is one and not empty, or None."""
    return value if isinstance(value, str) and value else None


def confidence_tag(value: object) -> str | None:
    """MISP's confidence tag for a STIX confidence (0 to 100), by the floors of the `misp` taxonomy."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    for floor, name in ((100, "completely"), (75, "usually"), (50, "fairly"), (25, "rarely")):
        if value >= floor:
            return f'misp:confidence-level="{name}-confident"'
    return 'misp:confidence-level="unconfident"'


_LOCKHEED = {
    "reconnaissance": "Reconnaissance",
    "weaponization": "Weaponization",
    "weaponisation": "Weaponization",
    "delivery": "Delivery",
    "exploitation": "Exploitation",
    "installation": "Installation",
    "command-and-control": "Command and Control",
    "c2": "Command and Control",
    "actions-on-objectives": "Actions on Objectives",
    "actions-on-objective": "Actions on Objectives",
}


def kill_chain_tag(space: str, chain: str, name: str) -> str:
    """The tag of a kill-chain phase: Lockheed's in the taxonomy's spelling, others in the source's name space."""
    if chain.lower().startswith("lockheed"):
        known = _LOCKHEED.get(name.lower().replace(" ", "-").replace("_", "-"))
        if known:
            return f"kill-chain:{known}"
    return machine_tag(space, "kill-chain", f"{chain}:{name}")
