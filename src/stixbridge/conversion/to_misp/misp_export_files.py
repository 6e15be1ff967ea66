"""Finds attachments and samples in MISP's exports, each with its name and its own content."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stixbridge.conversion.to_misp.misp_export_observables import Leaf
from stixbridge.mapping.dialects import misp_export

File = tuple[str, str, str | None]
"""(relation, value, content in base64)."""

_FILE = re.compile(
    r"(file:content_ref|artifact(?=:)|email-message:body_multipart\[(?:\d+|\*)\]|.*x_misp_\w+(?:\[\d+\])?(?=\.))"
)
_CONTENT = ("payload_bin", "body_raw_ref.payload_bin", "data")


def is_content(path: str) -> bool:
    """Whether the content of a lone attachment or sample stands at a path."""
    return path in misp_export.CONTENT


def files_in(
    name: str, leaves: list[Leaf], uuid: str, unfolded: Mapping[str, str]
) -> tuple[list[File], list[Leaf]]:
    """The files of a record, and its other values.

    An attachment or sample is the content of the file; `x_misp_…` with value and data is one too;
    of an email, its parts.

    Args:
        name: the template of the record.
        leaves: its values, those of one file beside each other.
        uuid: of the record.
        unfolded: property of an export -> relation.
    """
    files: list[File] = []
    others: list[Leaf] = []
    groups: list[tuple[str, dict[str, str]]] = []
    current: dict[str, dict[str, str]] = {}
    for path, value in leaves:
        if path == "artifact:payload_bin" and name == "artifact":
            files.append(("payload_bin", uuid, value))
            continue
        match = _FILE.match(path)
        if match is None or name == "artifact" or (name == "image" and path.endswith("url")):
            others.append((path, value))
            continue
        part = path[len(match[1]) :].lstrip(".:")
        group = current.get(match[1])
        if group is None or part in group:  # what is said once more is said of another file
            group = current[match[1]] = {}
            groups.append((match[1], group))
        group[part] = value
    for prefix, found in groups:
        files.append(_file(name, prefix, found, unfolded))
    return files, others


def _file(name: str, prefix: str, found: Mapping[str, str], unfolded: Mapping[str, str]) -> File:
    content = next((found[part] for part in _CONTENT if found.get(part)), None)
    if prefix.startswith("email-message"):
        disposition = found.get("content_disposition", "attachment")
        shown = disposition.rpartition("=")[2].strip("'") if "=" in disposition else ""
        value = found.get("body_raw_ref.name") or found.get("body_raw_ref.x_misp_filename") or shown
        return disposition.partition(";")[0], value, content
    if prefix.startswith(("file:content_ref", "artifact")):
        value, md5 = found.get("x_misp_filename", ""), found.get("hashes.MD5")
        sample = md5 or name == "lnk" or found.get("decryption_key") == "infected"
        return (
            "malware-sample" if sample else "attachment",
            f"{value}|{md5}" if md5 else value,
            content,
        )
    wire = prefix.rpartition(":")[2].rpartition(".")[2].partition("[")[0]
    relation = unfolded.get(wire, wire.removeprefix("x_misp_").replace("_", "-"))
    return relation, found.get("value", ""), content
