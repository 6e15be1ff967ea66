"""Reads marking-definitions (STIX 2.1, section 7.2).

TLP, PAP, ACS, AIS and statements, in every form of the field.

A definition can say its level in several places: its id, its definition, its name, an extension, a
property of OpenCTI, the text of a statement. Where they contradict each other, the strictest one
holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge import tlp
from stixbridge.ledger import Drop, Outcome, Reason
from stixbridge.misp.model import machine_tag

PAP_LEVELS = ("CLEAR", "GREEN", "AMBER", "RED")
"""The Permissible Actions Protocol, from the least to the most restricted."""

STATEMENTS = {
    "marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168": "Copyright MITRE (ATT&CK)",
    "marking-definition--17d82bb2-eeeb-4898-bda5-3ddbcd2b799d": "Copyright MITRE (CAPEC)",
}
"""Statement markings that producers refer to without sending them.

A statement restricts nothing.
"""

ACS = "extension-definition--3a65884d-005a-4290-8335-cb2d778a83ce"
"""The extension with Access Control Specification markings of the US government."""

_CONTROLS = (
    "classification",
    "formal_determination",
    "caveat",
    "sensitivity",
    "shareability",
    "entity",
)
_SCOPES = ("permitted_nationalities", "permitted_organizations", "entity", "shareability")
_AIS = {"consent": "AISConsent", "color": "TLPMarking"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a marking-definition means.

    Attributes:
        level: the TLP level, or None.
        tags: other marking tags (PAP, ACS, AIS).
        restricted: whether it restricts readers in a way that no tag expresses, or that nobody can
            rank.
        statement: the text of a statement, or None.
        unranked: whether nobody can rank it: its type is unknown.
        drops: parts of it that are neither a tag nor a level.
    """

    level: str | None = None
    tags: frozenset[str] = frozenset()
    restricted: bool = False
    statement: str | None = None
    unranked: bool = False
    drops: tuple[Drop, ...] = ()


def joined(readings: Iterable[Reading]) -> Reading:
    """The strictest reading of several texts under one id.

    Marking-definitions have no versions (section 7.2.1).
    """
    rows = list(readings)
    if len(rows) == 1:
        return rows[0]
    statements = sorted({row.statement for row in rows if row.statement is not None})
    return Reading(
        tlp.strictest(row.level for row in rows),
        _strictest_pap(tag for row in rows for tag in row.tags),
        any(row.restricted for row in rows),
        "\n\n".join(statements) if statements else None,
        any(row.unranked for row in rows),
        tuple(dict.fromkeys(drop for row in rows for drop in row.drops)),
    )


def reading_of(definition: Mapping[str, Any]) -> Reading:
    """Read a marking-definition; one that the input lacks is a mapping with an `id` alone."""
    id_ = str(definition.get("id", ""))
    texts = list(_texts(definition))
    levels = [tlp.WELL_KNOWN.get(id_), *(level for text in texts if (level := _level(text)))]
    paps = [pap for text in texts if (pap := _pap(text))]
    tags: set[str] = set(paps)
    drops: list[Drop] = []
    closed = False
    inner = definition.get("definition")
    acs = _extension(definition, ACS)
    if acs is not None:
        tags.update(_acs_tags(acs))
        drops.extend(_acs_drops(acs))
        closed = _acs_closed(acs)
    ais = str(definition.get("definition_type")).lower() == "ais" and isinstance(inner, dict)
    if ais and isinstance(inner, dict):
        tags.update(_ais_tags(inner))
        levels.append(tlp.level_of_name(inner.get("color")))
    level = tlp.strictest(levels)
    statement = _statement(definition, texts) or STATEMENTS.get(id_)
    said = level is not None or bool(tags) or acs is not None or ais or statement is not None
    unranked = not said or _unknown_kind(definition, level)
    return Reading(
        level, _strictest_pap(tags), closed or unranked, statement, unranked, tuple(drops)
    )


def _extension(definition: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    extensions = definition.get("extensions")
    found = extensions.get(name) if isinstance(extensions, dict) else None
    return found if isinstance(found, dict) else None


def _texts(definition: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a definition that may name a level; TLP markings get `TLP:` in front."""
    kinds = {
        str(definition.get(name) or "").strip().lower()
        for name in ("definition_type", "x_opencti_definition_type")
    }
    space = "TLP" if "tlp" in kinds else "PAP" if "pap" in kinds else ""
    inner = definition.get("definition")
    values: list[tuple[str, object]] = [
        (space, definition.get("name")),
        (space, definition.get("x_opencti_definition")),
    ]
    if isinstance(inner, dict):
        values += [(_space_of(key, space), value) for key, value in inner.items()]
    else:
        values.append((space, inner))
    extensions = definition.get("extensions")
    for extension in extensions.values() if isinstance(extensions, dict) else ():
        if isinstance(extension, dict):
            values.append(("TLP", extension.get("tlp_2_0")))
    for prefix, value in values:
        if isinstance(value, str) and value.strip():
            text = value.strip()
            named = text.lower().startswith(("tlp", "pap"))
            yield text if named or not prefix else f"{prefix}:{text}"


def _space_of(key: object, space: str) -> str:
    name = str(key).upper()
    return name if name in ("TLP", "PAP") else space


def _level(text: str) -> str | None:
    """The TLP level that a whole text is."""
    return tlp.level_of_name(text) if text.lower().startswith("tlp") else None


def _pap(text: str) -> str | None:
    """The PAP tag that a whole text is, in the taxonomy's spelling."""
    name = text.upper().replace(" ", "").replace("-", ":", 1)
    level = name.removeprefix("PAP:").replace("WHITE", "CLEAR")
    return f"PAP:{level}" if name.startswith("PAP:") and level in PAP_LEVELS else None


def _strictest_pap(tags: Iterable[str]) -> frozenset[str]:
    """Tags with the strictest PAP tag alone."""
    found = set(tags)
    paps = [level for level in PAP_LEVELS if f"PAP:{level}" in found]
    return frozenset(found - {f"PAP:{level}" for level in paps[:-1]})


def _statement(definition: Mapping[str, Any], texts: list[str]) -> str | None:
    """The text of a statement (section 7.2.1.3) that is not the name of a level."""
    inner = definition.get("definition")
    if not isinstance(inner, dict) or not isinstance(inner.get("statement"), str):
        return None
    text = str(inner["statement"])
    if _level(text.strip()) or _pap(text.strip()):
        return None
    opencti = definition.get("x_opencti_definition_type")
    if isinstance(opencti, str) and opencti.upper() in ("TLP", "PAP"):
        # OpenCTI's connectors fill in a word where the level stands in a property of theirs
        return None
    return text


def _unknown_kind(definition: Mapping[str, Any], level: str | None) -> bool:
    """Whether a definition has an unknown type, or is a TLP marking without a level."""
    kind = definition.get("definition_type")
    if not isinstance(kind, str):
        return False
    lower = kind.strip().lower()
    opencti = str(definition.get("x_opencti_definition_type") or "").lower()
    if "tlp" in (lower, opencti):
        return level is None
    return lower not in ("statement", "ais", "pap")


# ACS and AIS


def _ais_tags(inner: Mapping[str, Any]) -> Iterator[str]:
    """The tags of the taxonomy `ais-marking`."""
    for name, predicate in _AIS.items():
        if isinstance(inner.get(name), str):
            yield machine_tag("ais-marking", predicate, str(inner[name]).upper())
    if isinstance(inner.get("proprietary"), bool | str):
        yield machine_tag("ais-marking", "CISA_Proprietary", str(inner["proprietary"]).lower())


def _acs_tags(acs: Mapping[str, Any]) -> Iterator[str]:
    """The tags of the taxonomy `acs-marking`."""
    controls = acs.get("control_set")
    for name in _CONTROLS:
        value = controls.get(name) if isinstance(controls, dict) else None
        for item in _items(value):
            yield machine_tag("acs-marking", name, item)
    for row in _rows(acs.get("access_privilege")):
        if row.get("rule_effect") == "permit" and isinstance(row.get("privilege_action"), str):
            yield machine_tag("acs-marking", "privilege_action", row["privilege_action"])


def _acs_drops(acs: Mapping[str, Any]) -> Iterator[Drop]:
    """Parts of an ACS marking that the taxonomy has no tag for.

    They close the element, and are told.
    """
    path = f"extensions.{ACS}"
    for at, row in enumerate(_rows(acs.get("access_privilege"))):
        where = f"{path}.access_privilege[{at}]"
        if row.get("rule_effect") != "permit":
            yield where, Outcome.DROPPED, Reason.MARKING
        scope = row.get("privilege_scope")
        for name in scope if isinstance(scope, dict) else ():
            yield f"{where}.privilege_scope.{name}", Outcome.DROPPED, Reason.MARKING
    if acs.get("further_sharing"):
        yield f"{path}.further_sharing", Outcome.DROPPED, Reason.MARKING
    controls = acs.get("control_set")
    for name in controls if isinstance(controls, dict) else ():
        if name not in _CONTROLS:
            yield f"{path}.control_set.{name}", Outcome.DROPPED, Reason.MARKING
    if acs.get("policy_reference"):
        yield f"{path}.policy_reference", Outcome.DROPPED, Reason.MARKING


def _acs_closed(acs: Mapping[str, Any]) -> bool:
    """Whether an ACS marking is for some readers only: a tag says so, and enforces nothing."""
    controls = acs.get("control_set")
    if not isinstance(controls, dict) or controls.get("classification") != "U":
        return True
    if "PUBREL" not in _items(controls.get("formal_determination")):
        return True
    if "sharedefault=deny" in str(acs.get("policy_reference") or "").lower():
        return True
    if any(not _for_all(row) for row in _rows(acs.get("access_privilege"))):
        return True
    return any(
        row.get("rule_effect") == "deny" or "ALL" not in _items(row.get("sharing_scope"))
        for row in _rows(acs.get("further_sharing"))
    )


def _for_all(privilege: Mapping[str, Any]) -> bool:
    """Whether a privilege is everybody's."""
    if privilege.get("rule_effect") == "deny":
        return False
    scope = privilege.get("privilege_scope")
    if not isinstance(scope, dict):
        return True
    return all("ALL" in _items(scope[name]) for name in _SCOPES if scope.get(name))


def _items(value: object) -> list[str]:
    rows = value if isinstance(value, list) else [value]
    return [item for item in rows if isinstance(item, str) and item]


def _rows(value: object) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
