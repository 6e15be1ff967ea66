"""Recognises what MISP wrote, by the type and labels of each object.

What else is in the input does not matter. A label is judged in its plain form (`mapping.labels`).
Who claims to be MISP changes how an object is read, and nothing of what it may do: markings, limits
and the checks of values hold as for any other object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.mapping import labels
from stixbridge.mapping.dialects import misp_export
from stixbridge.mapping.tables import Table
from stixbridge.misp.clusters import Clusters
from stixbridge.misp.model import plain_tag, uuid_of

StixObject = Mapping[str, Any]

_REPORT_LAYER = 'misp:data-layer="event report"'
_GALAXY = "misp-galaxy:"


def fields_of(obj: StixObject) -> dict[str, str]:
    """The labels `misp:FIELD="VALUE"` of an object."""
    fields = {}
    for label in obj.get("labels") or ():
        if label.startswith("misp:"):
            name, sign, value = label[5:].partition("=")
            if sign:
                fields[name] = value.strip('"')
    if "from_object" in (obj.get("labels") or ()) and "type" in fields:
        # the form of MISP's own exporter, before misp-stix
        fields = {"name": fields["type"], "meta-category": fields.get("category", "misc")}
    return fields


def is_made_by_misp(obj: StixObject) -> bool:
    """Whether a report or grouping says that MISP wrote it.

    Its labels are then the tags of its event.
    """
    return not misp_export.TOOLS.isdisjoint(obj.get("labels") or ())


def table_of(obj: StixObject) -> Table | None:
    """The table of an object that MISP wrote; None where it is STIX like any other."""
    type_ = obj["type"]
    by_type = misp_export.BY_TYPE.get(type_)
    if by_type is not None:
        return by_type
    if type_ == "opinion" and "x_misp_author_ref" in obj:
        return misp_export.SIGHTED
    words = obj.get("labels") or ()
    if type_ in misp_export.NEVER_A_RECORD or not any(word.startswith("misp:") for word in words):
        return None
    if type_ == "note" and any(labels.plain(word) == _REPORT_LAYER for word in words):
        return misp_export.REPORT
    if is_cluster(obj):
        return misp_export.BRANDED if type_ == "vulnerability" else None
    fields = fields_of(obj).keys()
    return misp_export.RECORD if fields >= _ATTRIBUTE or fields >= _OBJECT else None


_ATTRIBUTE, _OBJECT = {"type", "category"}, {"name", "meta-category"}


def is_cluster(obj: StixObject | None) -> bool:
    """Whether an object stands for a galaxy cluster of MISP's."""
    if obj is None:
        return False
    if obj["type"] == "x-misp-galaxy-cluster":
        return True
    fields = fields_of(obj)
    if "galaxy-type" in fields:
        return True
    # before misp-stix: the name of the galaxy, and the tag
    return "name" in fields and "meta-category" not in fields and bool(list(_literal(obj)))


def cluster_tag(obj: StixObject, clusters: Clusters) -> str | None:
    """The tag of a galaxy cluster in an export; None for what is no cluster of an export.

    The tag among the labels is the tag that MISP had. Without it, the cluster is looked up in its
    galaxy, and only one that nobody knows gets a tag made of its name.
    """
    if not is_cluster(obj):
        return None
    galaxy = obj.get("x_misp_type") or fields_of(obj).get("galaxy-type")
    literal = sorted(_literal(obj))
    if literal:
        own = [tag for tag in literal if tag.startswith(f'{_GALAXY}{galaxy}="')]
        return (own or literal)[0]
    value = obj.get("x_misp_value") or obj.get("name")
    if not isinstance(galaxy, str) or not isinstance(value, str) or '"' in galaxy + value:
        return None
    uuid = uuid_of(str(obj["id"])) or ""
    known = clusters.in_galaxy(galaxy, [value], _numbers(obj), uuid)
    if known is not None:
        return known.tag
    # clusters made of STIX are known by their UUID
    return f'{_GALAXY}{galaxy}="{uuid or value if galaxy.startswith("stix-") else value}"'


def _literal(obj: StixObject) -> Iterator[str]:
    """Tags of galaxies among the labels."""
    for label in obj.get("labels") or ():
        if label.startswith(_GALAXY) and label.endswith('"') and '="' in label:
            yield plain_tag(label)


def _numbers(obj: StixObject) -> list[str]:
    """The numbers of a cluster in ATT&CK. CAPEC's numbers find other things."""
    return [
        row["external_id"]
        for row in obj.get("external_references") or ()
        if isinstance(row.get("external_id"), str)
        and str(row.get("source_name", "")).lower().startswith("mitre")
    ]


def is_a_tag(label: str) -> bool:
    """Whether a label of what MISP wrote is a tag that it had.

    Fields of the export, its own labels and marking levels are no such tags.
    """
    text = labels.plain(label)
    if not text or label in misp_export.WRITTEN_BY_THE_EXPORT or text.startswith(_FIELDS):
        return False
    return not text.startswith(_LEVELS) or text in misp_export.TLP_WITHOUT_LEVEL


def lost_labels(obj: StixObject) -> Iterator[Drop]:
    """Labels of what MISP wrote that look like a level and are none.

    No tag of an element may be taken for a marking.
    """
    for at, label in enumerate(obj.get("labels") or ()):
        text = labels.plain(label)
        level = labels.level_of(label) or labels.pap_of(label)
        if text.startswith(_LEVELS) and level is None and not is_a_tag(label):
            yield f"labels[{at}]", Outcome.DROPPED, Reason.FILTERED


_LEVELS = ("tlp:", "pap:")
_FIELDS = tuple(
    f"misp:{name}="
    for name in ("type", "category", "to_ids", "name", "meta-category", "galaxy-type",
                 "galaxy-name", "data-layer", "context-layer")
)  # fmt: skip
