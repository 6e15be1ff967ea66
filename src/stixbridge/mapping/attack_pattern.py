"""STIX 2.1, section 4.1."""

from stixbridge.mapping.context import context

TABLE = context("attack-pattern", ())
