"""Types that STIX does not define and no dialect's table knows: custom objects, by policy."""

from __future__ import annotations

from stixbridge.conversion.to_misp.markings import Marking
from stixbridge.conversion.to_misp.roles.base import Content, StixObject
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.tables import COMMON


class Custom(Content):
    """A custom object, or nothing with `custom = "drop"`."""

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Translate a custom object."""
        if self.workspace.options.custom == "drop":
            self.fates.outcome(id_, Outcome.DROPPED, Reason.NO_TABLE)
            return None
        own = {name: self._value(id_, name, value) for name, value in obj.items()}
        translation = self.workspace.translator.custom(own)
        if translation.empty and len(own) > len(COMMON & own.keys()):
            # it has nothing but references: its type and id are what others refer to
            translation = self.workspace.translator.custom({**own, "stix-id": id_})
        return translation

    def _value(self, id_: str, name: str, value: object) -> object:
        """The value of a property; references are links, and no texts."""
        if name in COMMON or not name.endswith(("_ref", "_refs")):
            return value
        refs = value if isinstance(value, list) else [value]
        missing = [ref for ref in refs if ref not in self.workspace.objects]
        if missing:
            self.fates.drop(id_, [(name, Outcome.DROPPED, Reason.DANGLING)])
        return None

    def references(self, id_: str, obj: StixObject) -> list[tuple[str, str]]:
        """Every reference is a relationship named by its property."""
        found: list[tuple[str, str]] = []
        for name, value in obj.items():
            if name not in COMMON and name.endswith(("_ref", "_refs")):
                verb = name.removesuffix("_refs").removesuffix("_ref").replace("_", "-")
                refs = value if isinstance(value, list) else [value]
                found.extend((verb, ref) for ref in refs if isinstance(ref, str))
        return found

    def tags(
        self, id_: str, obj: StixObject, marking: Marking
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The tags of the object, and the cluster of an ATT&CK number among its properties."""
        tags, beside = super().tags(id_, obj, marking)
        for name in ("technique_id", "x_mitre_id", "tactic_id"):
            number = obj.get(name)
            known = isinstance(number, str) and self.workspace.knowledge.cluster_tag(
                "attack-pattern", "", [number.strip().upper()], []
            )
            if known:
                tags, beside = tags | {known}, beside | {known}
        return tags, beside
