"""Observed-data (STIX 2.1, section 4.14).

Says when and how often its observables were seen, wherever they are.
"""

from __future__ import annotations

from stixbridge import times
from stixbridge.conversion.to_misp.roles.base import Handler, StixObject
from stixbridge.conversion.to_misp.supplements import Supplements
from stixbridge.conversion.to_misp.workspace import Workspace
from stixbridge.ledger import Reason


class ObservedData(Handler):
    """It has no element of its own; its observables' elements carry it."""

    default = Reason.DANGLING

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._supplements = Supplements(workspace)

    def translate(self, id_: str, obj: StixObject) -> None:
        """Record whether it lives."""
        if obj.get("revoked") is True:
            self.ends(id_, Reason.REVOKED)
        workspace = self.workspace
        made = times.past(obj.get("created"), workspace.options.now)
        if made is not None:
            for ref in obj.get("object_refs") or ():
                workspace.observed_at[ref] = min(made, workspace.observed_at.get(ref, made))

    def observe(self, id_: str, obj: StixObject) -> None:
        """Put times, count and marking on the elements of its observables, once all are placed."""
        if obj.get("revoked") is True:
            return
        workspace = self.workspace
        refs = obj.get("object_refs") or ()
        marking = workspace.markings.of(obj)
        seconds = workspace.seconds_of(id_, obj)
        count = obj.get("number_observed")
        comment = f"observed {count} times" if isinstance(count, int) and count > 1 else ""
        for uuid in dict.fromkeys(at for ref in refs for at in workspace.events_of.get(ref, ())):
            builder = workspace.builders[uuid]
            elements = {
                element.uuid: element for ref in refs for element in builder.elements_of(ref)
            }
            builder.by_stix[id_] = list(elements)
            builder.observed.add(id_)
            for element in elements.values():
                element.mark(marking)
                element.timestamp = max(element.timestamp, seconds)
                element.seen(obj.get("first_observed"), obj.get("last_observed"))
                if comment:
                    element.comments.append(comment)
                element.stix_ids.append(id_)
            if "external_references" in obj:
                self._supplements.links(builder, id_, obj, marking, seconds)
        workspace.tags.account(id_, obj)
