"""Every action, by its name in rule files.

A new action is a small class in one of these modules and registers itself.
"""

from stixbridge.enrich.rules.actions import additions, elements, events, tags
from stixbridge.enrich.rules.actions.base import ACTIONS

MODULES = (events, tags, elements, additions)

__all__ = ["ACTIONS", "MODULES"]
