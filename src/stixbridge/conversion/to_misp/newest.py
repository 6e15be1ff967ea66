"""The first stage: one version of each object; what is none, older or double goes to the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.stix.reader import Entry
from stixbridge.stix.versions import digest_of, version_of

StixObject = dict[str, Any]


def newest(
    entries: Iterable[Entry], ledger: Ledger
) -> tuple[dict[str, StixObject], dict[str, list[StixObject]]]:
    """Choose the newest version of each object.

    Unusable, older and double entries go to the ledger.

    Args:
        entries: of all inputs.
        ledger: takes a line for each entry that is not chosen.

    Returns:
        id -> object, in the order of the input; of equal times the greater digest wins, so that the
        order says nothing. And id -> the other texts of a marking-definition: those have no
        versions (STIX 2.1, section 7.2.1), and every text counts.
    """
    objects: dict[str, StixObject] = {}
    others: dict[str, list[StixObject]] = {}
    variants: dict[str, list[StixObject]] = {}
    for entry in entries:
        obj = entry.obj
        if obj is None:
            reason = entry.reason or Reason.INVALID_OBJECT
            ledger.entry(
                entry.id, entry.path, Outcome.INVALID, reason, entry.properties, entry.where
            )
        elif obj["id"] in objects:
            others.setdefault(obj["id"], []).append(obj)
        else:
            objects[obj["id"]] = obj
    for id_, found in others.items():
        versions = [objects[id_], *found]
        keys = [(version_of(obj), digest_of(obj)) for obj in versions]
        best = max(keys)
        chosen = keys.index(best)
        objects[id_] = versions[chosen]
        for at, obj in enumerate(versions):
            if at != chosen:
                reason = Reason.DUPLICATE if keys[at] == best else Reason.SUPERSEDED
                ledger.entry(id_, None, Outcome.DROPPED, reason, len(obj))
                if obj["type"] == "marking-definition" and reason is Reason.SUPERSEDED:
                    variants.setdefault(id_, []).append(obj)
    return objects, variants
