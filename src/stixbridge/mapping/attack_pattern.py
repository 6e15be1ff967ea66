"""STIX 2.1, section 4.1."""

from .context import context

TABLE = context("attack-pattern", ())
