"""A JSON Schema of the configuration: draft 7, which editors of TOML know."""

from __future__ import annotations

from typing import Any

from stixbridge.config.reader import Config
from stixbridge.settings.kinds import JsonSchema


def schema() -> JsonSchema:
    """The JSON Schema of a configuration, with the components of all installed packages.

    Returns:
        The schema; it checks what TOML can hold. Names that refer to each other are checked by
        `stixbridge run`.
    """
    definitions: dict[str, Any] = {}
    definition = Config.KIND.definition(definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "stixbridge configuration",
        **definition,
        "required": ["pipelines"],
        "definitions": dict(sorted(definitions.items())),
    }
