"""Tags from an object's own properties: producer, confidence, types, labels, kill chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stixbridge import tlp
from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.misp_export_labels import is_a_tag, lost_labels
from stixbridge.conversion.to_misp.translation import NO_TAGS
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping import labels
from stixbridge.mapping.indicator import SAYS_NOTHING
from stixbridge.misp.model import machine_tag, plain_tag
from stixbridge.stix.upgrade import lifted_name

if TYPE_CHECKING:
    from stixbridge.conversion.to_misp.workspace import Workspace

StixObject = Mapping[str, Any]


class Tags:
    """Makes the tags of one conversion. Objects with equal tag-making properties share one set."""

    def __init__(self, workspace: Workspace) -> None:
        self._objects = workspace.objects
        self._shapes = workspace.shapes
        self._fates = workspace.fates
        self._markings = workspace.markings
        self._options = workspace.options
        self._knowledge = workspace.knowledge
        self._producers: dict[str, str] = {}
        self._made: dict[Any, tuple[frozenset[str], frozenset[str], tuple[Drop, ...]]] = {}

    def of(
        self, id_: str, obj: StixObject, marking: Marking, *, from_misp: bool = False
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The tags that an object's own properties ask for; labels that become none are recorded.

        Args:
            id_: of the object.
            obj: the object.
            marking: its own marking.
            from_misp: MISP wrote it: its labels are its tags.

        Returns:
            The tags, and those without the tag of its producer, for an event that names the
            producer already.
        """
        names = self._shapes[id_].tagging
        if not names:
            return NO_TAGS, NO_TAGS
        key: Any = (
            id(names),
            obj.get("spec_version"),
            from_misp,
            marking,
            *[_frozen(obj[name]) for name in names],
        )
        known = self._made.get(key)
        if known is None:
            beside = frozenset(self._tags(obj, from_misp))
            producer = self._producer_of(obj, marking)
            tags = beside | {producer} if producer else beside
            drops = tuple(self._drops(obj, marking, from_misp))
            known = self._made[key] = tags, beside, drops
        if known[2]:
            self._fates.drop(id_, known[2])
        return known[0], known[1]

    def _producer_of(self, obj: StixObject, marking: Marking) -> str | None:
        return self.producer(creator_of(obj), marking)

    def account(self, id_: str, obj: StixObject) -> None:
        """Record the tag-making properties that an object without tags of its own loses."""
        drops = list(self._drops(obj, self._markings.of(obj)))
        if drops:
            self._fates.drop(id_, drops)

    def _tags(self, obj: StixObject, from_misp: bool) -> Iterator[str]:
        confidence = confidence_tag(obj.get("confidence"))
        if confidence:
            yield confidence
        space = self._options.tag_space
        score = obj.get("x_opencti_score")
        if isinstance(score, int) and not isinstance(score, bool):
            yield machine_tag(space, "score", str(score))
        if from_misp:
            # its tags, as they were; those of TLP are markings
            yield from (plain_tag(label) for label in obj.get("labels") or () if is_a_tag(label))
            return
        yield from self._kinds(obj)
        for _, tag, _ in self._labelled(obj):
            if tag is not None:
                yield tag
        for phase in obj.get("kill_chain_phases") or ():
            yield kill_chain_tag(space, phase["kill_chain_name"], phase["phase_name"])

    def _labelled(self, obj: StixObject) -> Iterator[tuple[str, str | None, Reason | None]]:
        """(path, tag, reason) of each label: the tag it becomes, or why it becomes none."""
        marking = self._markings.of(obj)
        public = not marking.restricted and marking.rank < tlp.RANK["amber+strict"]
        count = 0
        for name in ("labels", "x_opencti_labels"):
            for at, label in enumerate(obj.get(name) or ()):
                path = f"{name}[{at}]"
                tag, reason = self._label(label, confidence="confidence" in obj)
                if tag is None:
                    yield path, None, reason
                elif not public and not tag.startswith("misp"):
                    # MISP shows the names of tags to everyone
                    yield path, None, Reason.MARKING
                elif count == labels.MAX_LABELS:
                    yield path, None, Reason.LIMIT
                else:
                    count += 1
                    yield path, tag, None

    def _label(self, label: str, *, confidence: bool) -> tuple[str | None, Reason | None]:
        """The tag that a label becomes.

        Else the reason, or nothing where the label marks its object.
        """
        if labels.level_of(label) or labels.pap_of(label):
            return None, None
        tag = self._cluster(label)
        if tag:
            return tag, None
        percent = labels.confidence_of(label)
        if percent is not None and not confidence:
            return confidence_tag(percent), None
        if not self.label_allowed(label):
            return None, Reason.FILTERED
        if not labels.fits_a_tag(label):
            return None, Reason.NO_PLACE
        return self._known(label) or machine_tag(self._options.tag_space, "label", label), None

    def _kinds(self, obj: StixObject) -> Iterator[str]:
        """The types of an indicator or report, the context of a grouping."""
        space = self._options.tag_space
        type_ = obj["type"]
        kinds = obj.get("indicator_types") if type_ == "indicator" else obj.get("report_types")
        predicate = "indicator-type" if type_ == "indicator" else "report-type"
        for kind in kinds or ():
            if kind and kind not in SAYS_NOTHING and not labels.level_of(kind):
                yield machine_tag(space, predicate, kind)
        if type_ == "grouping" and isinstance(obj.get("context"), str):
            yield machine_tag(space, "context", obj["context"])

    def _drops(self, obj: StixObject, marking: Marking, from_misp: bool = False) -> Iterator[Drop]:
        """Labels, producers and types that make no tag."""
        if from_misp:
            yield from lost_labels(obj)
            return
        for path, _, reason in self._labelled(obj):
            if reason is not None:
                yield path, Outcome.DROPPED, reason
        creator = obj.get("created_by_ref")
        if creator is not None and not self.producer(creator, marking):
            reason = Reason.MARKING if creator in self._objects else Reason.DANGLING
            yield "created_by_ref", Outcome.DROPPED, reason
        if obj["type"] == "indicator" and "indicator_types" in obj:
            name = lifted_name("indicator", "indicator_types", obj)
            for at, kind in enumerate(obj["indicator_types"]):
                if kind in SAYS_NOTHING:
                    yield f"{name}[{at}]", Outcome.DROPPED, Reason.REDUNDANT

    def _cluster(self, label: str) -> str | None:
        """The known galaxy cluster that a label names."""
        technique = labels.technique_of(label)
        if technique is not None:
            return self._knowledge.cluster_tag("attack-pattern", "", [technique], [])
        named = labels.named_in(label)
        return self._knowledge.cluster_tag(named[0], "", [], [named[1]]) if named else None

    def _known(self, label: str) -> str | None:
        """A label that is a tag of a taxonomy of the allow-list, in its spelling."""
        if labels.space_of(label) not in labels.TAXONOMIES:
            return None
        return self._knowledge.taxonomy_tag(labels.plain(label))

    def label_allowed(self, label: str) -> bool:
        """Whether a label becomes a tag."""
        return "*" in self._options.labels or label in self._options.labels

    def producer(self, ref: str | None, told: Marking) -> str | None:
        """The tag that names a producer, by the id of its identity.

        Args:
            ref: the id.
            told: what holds where the tag would stand.

        Returns:
            The tag; None where the input has no such identity, or `told` is looser than the name.
        """
        name = self._markings.name(ref, told)
        if name is None:
            return None
        known = self._producers.get(name)
        if known is None:
            tag = self._knowledge.cluster_tag("producer", "", [], [name])
            known = self._producers[name] = tag or machine_tag("misp-galaxy", "producer", name)
        return known


def creator_of(obj: StixObject) -> str | None:
    """The id of the producer of an object."""
    return text(obj.get("created_by_ref")) or text(obj.get("x_opencti_created_by_ref"))


def _frozen(value: Any) -> Any:
    """A value that can be part of a key; 1 and true are two values, and so are lists and texts."""
    if type(value) is str:
        return value
    try:
        return repr(value)
    except RecursionError:  # nested deeper than anything real: a key of its own
        return id(value)


def text(value: object) -> str | None:
    """A text that is one and not empty, or None."""
    return value if isinstance(value, str) and value else None


def confidence_tag(value: object) -> str | None:
    """MISP's confidence tag for a STIX confidence (0 to 100)."""
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
    """The tag of a kill-chain phase.

    Lockheed's in the taxonomy's spelling, others in the source's name space.
    """
    if chain.lower().startswith("lockheed"):
        known = _LOCKHEED.get(name.lower().replace(" ", "-").replace("_", "-"))
        if known:
            return f"kill-chain:{known}"
    return machine_tag(space, "kill-chain", f"{chain}:{name}")
