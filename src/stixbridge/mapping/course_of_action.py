"""STIX 2.1, section 4.3."""

from .context import context

TABLE = context("course-of-action", ())
