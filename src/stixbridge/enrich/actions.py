"""Every action, by its name in rule files. A new one is a small class in one of these modules, and registers itself."""

from . import element_actions, event_actions, tag_actions
from .action import ACTIONS

MODULES = (event_actions, tag_actions, element_actions)

__all__ = ["ACTIONS", "MODULES"]
