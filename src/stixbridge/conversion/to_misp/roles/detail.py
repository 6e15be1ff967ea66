"""Types with an object template.

Identity, location, vulnerability, infrastructure, malware instance, incident.
"""

from __future__ import annotations

from stixbridge.conversion.to_misp.roles.base import Content, StixObject
from stixbridge.conversion.to_misp.tags import text
from stixbridge.conversion.to_misp.translation import Draft, Translation
from stixbridge.ledger import Outcome, Reason
from stixbridge.mapping.identity import OF_A_PRODUCER
from stixbridge.mapping.vulnerability import NAMED
from stixbridge.misp.values import BadValue, normalise

_COMMENT_LINE = 255


class Detail(Content):
    """An object under a template.

    An identity may be in the output by its name alone, as a producer.
    """

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Translate to the object.

        A vulnerability with nothing but a CVE to the attribute alone.
        """
        if obj["type"] == "vulnerability":
            return self._vulnerability(id_, obj)
        return self.workspace.translator.detail(obj, self.workspace.shapes[id_].table).done()

    def _vulnerability(self, id_: str, obj: StixObject) -> Translation:
        """A vulnerability (STIX 2.1, section 4.18): its CVEs, and its description in an object."""
        draft = Draft()
        translator = self.workspace.translator
        for cve in _cves(obj):
            attribute = translator.value("vulnerability", cve, [], "name")
            if attribute is not None and attribute not in draft.attributes:
                draft.attributes.append(attribute)
        if not draft.attributes:
            return self.workspace.translator.detail(obj, NAMED).done()
        name = obj.get("name") or ""
        if name and name.upper() not in {row.value for row in draft.attributes}:
            draft.comment = name[:_COMMENT_LINE]
            if len(name) > _COMMENT_LINE:
                draft.drops.append(("name", Outcome.PRESERVED, Reason.CUT))
        if not obj.get("description"):
            return draft.done()
        named = {**obj, "name": draft.attributes[0].value}
        draft.objects = translator.detail(named, self.workspace.shapes[id_].table).objects
        return draft.done()

    def settle(self, id_: str, obj: StixObject) -> None:
        """Record an identity that is only named, as a producer: its other properties are lost."""
        if obj["type"] != "identity" or id_ not in self.workspace.markings.named:
            super().settle(id_, obj)
            return
        self.fates.mapped(id_)
        self.workspace.tags.account(id_, obj)
        self.fates.drop(
            id_,
            [(name, Outcome.DROPPED, Reason.NO_PLACE) for name in obj if name not in OF_A_PRODUCER],
        )


def _cves(obj: StixObject) -> list[str]:
    """The CVE ids of a vulnerability: its name, and its external references."""
    candidates = [text(obj.get("name"))]
    candidates.extend(text(row.get("external_id")) for row in obj.get("external_references") or ())
    found: list[str] = []
    for candidate in candidates:
        if candidate is None:
            continue
        try:
            cve = normalise("vulnerability", candidate)
        except BadValue:
            continue
        if cve not in found:
            found.append(cve)
    return found
