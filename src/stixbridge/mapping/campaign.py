"""STIX 2.1, section 4.2."""

from stixbridge.mapping.context import context

TABLE = context("campaign", ("first_seen", "last_seen", "objective"))
