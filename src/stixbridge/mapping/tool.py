"""STIX 2.1, section 4.18."""

from .context import context

TABLE = context("tool", ("tool_types", "tool_version"))
