"""STIX 2.1, section 4.18."""

from stixbridge.mapping.context import context

TABLE = context("tool", ("tool_types", "tool_version"))
