"""Types that STIX does not define and no dialect's table knows: custom objects, by policy."""

from __future__ import annotations

from stixbridge.conversion.to_misp.roles.base import Content, StixObject
from stixbridge.conversion.to_misp.translation import Translation
from stixbridge.ledger import Outcome, Reason


class Custom(Content):
    """A custom object, or nothing with `custom = "drop"`."""

    def translation(self, id_: str, obj: StixObject, live: bool) -> Translation | None:
        """Translate a custom object."""
        if self.workspace.options.custom == "drop":
            self.fates.outcome(id_, Outcome.DROPPED, Reason.NO_TABLE)
            return None
        return self.workspace.translator.custom(obj)
