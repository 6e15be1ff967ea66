"""STIX 2.1, section 4.3."""

from stixbridge.mapping.context import context

TABLE = context("course-of-action", ())
